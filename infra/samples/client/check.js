// Runs the client against a running stack: LATCHKEY_API=http://127.0.0.1:3000 node check.js. See infra/scripts/check-client.

import assert from 'node:assert/strict'
import { Client, SignedOut, Unavailable } from './latchkey.js'

const api = process.env.LATCHKEY_API
if (!api) {
  console.error('LATCHKEY_API must be set to the address of a running stack: LATCHKEY_API=http://127.0.0.1:3000 node check.js')
  process.exit(2)
}
const real = globalThis.fetch
let refreshes = 0
/** What happens to the next refreshes, instead of or after the real one. */
let faults = []
globalThis.fetch = async (url, init) => {
  if (!String(url).endsWith('/v1/auth/refresh')) return real(url, init)
  refreshes++
  return (faults.shift() ?? real)(url, init)
}
const busy = async () => new Response('{}', { status: 503, headers: { 'retry-after': '0' } })
const offline = async () => { throw new TypeError('fetch failed') }
const lostReply = async (url, init) => { await real(url, init); throw new TypeError('fetch failed') }

const stored = () => {
  let text = null // text, as in localStorage, which all tabs share
  return { read: () => JSON.parse(text), write: (tokens) => { text = JSON.stringify(tokens) } }
}
const post = async (path, body, headers = {}) => {
  const init = { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } }
  const reply = await real(api + path, init)
  assert.ok(reply.ok, await reply.clone().text())
  return reply.status === 204 ? null : reply.json()
}
const credentials = { email: 'ada@example.com', password: 'correct horse battery staple' }
await post('/v1/auth/register', credentials)
const storage = stored()
const [tab, otherTab] = [new Client(api, storage), new Client(api, storage)]
const signIn = async () => tab.keep(await post('/v1/auth/login', credentials, { 'x-device-id': 'check' }))
const stale = () => storage.write({ ...storage.read(), fresh_until: 0 })
const counted = async (expected, act) => {
  refreshes = 0
  await act()
  assert.equal(refreshes, expected)
}
const works = async (client = tab) => assert.equal((await client.fetch('/v1/me')).status, 200)

const scenes = {
  'a fresh token is used as it is': () => counted(0, works),
  'many calls at once refresh once': async () => {
    stale()
    await counted(1, () => Promise.all(Array.from({ length: 5 }, () => works())))
  },
  'two tabs at once both stay signed in': async () => {
    stale()
    await Promise.all([works(tab), works(otherTab)])
    await counted(0, () => works(otherTab))
  },
  'a refused token is refreshed once, as after a wrong clock': async () => {
    storage.write({ ...storage.read(), access_token: 'x' })
    await counted(1, works)
  },
  'a 503 is asked again after Retry-After': async () => {
    stale()
    faults = [busy, busy]
    await counted(3, works)
  },
  'a lost reply gets its successor again': async () => {
    await signIn() // the first rotation of a session is due at once
    stale()
    const before = storage.read().refresh_token
    faults = [lostReply]
    await counted(2, works)
    assert.notEqual(storage.read().refresh_token, before)
  },
  'an outage signs nobody out': async () => {
    stale()
    faults = [offline, busy, busy]
    await assert.rejects(tab.fetch('/v1/me'), Unavailable)
    await works()
  },
  'a result that comes late is not written over a new sign-in': async () => {
    stale()
    let later
    faults = [async (url, init) => { const reply = await real(url, init); await signIn(); later = storage.read(); return reply }]
    await works()
    assert.deepEqual(storage.read(), later)
  },
  'a session that was ended elsewhere signs out': async () => {
    const reply = await tab.fetch('/v1/sessions/revoke-all?keep_current=false', { method: 'POST' })
    assert.equal(reply.status, 200)
    await assert.rejects(tab.fetch('/v1/me'), SignedOut)
    assert.equal(storage.read(), null)
    await assert.rejects(otherTab.fetch('/v1/me'), SignedOut)
  },
  'no token goes to another origin': () => assert.rejects(tab.fetch('https://example.com/'), /no token for/),
}
await signIn()
for (const [what, scene] of Object.entries(scenes)) {
  await scene()
  console.log('ok:', what)
}
