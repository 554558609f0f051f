// Refresh tokens in cookies, in Chromium itself: from a page of another subdomain that is allowed, from one that is not,
// from another site, and over http on this machine. Run by infra/scripts/check-cookies, which says what the arguments are.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { chromium } from 'playwright-core'

const [executablePath, stack, localStack, folder, localPagePort] = process.argv.slice(2)
const COOKIE = '__Host-latchkey-refresh'
const PASSWORD = 'correct horse battery staple'

/** What reached the API by way of the proxy: path, status, and whether the cookie came with it. */
const seen = []

const page = (_, response) => {
  response.setHeader('content-type', 'text/html')
  response.end('<!doctype html><title>page</title>')
}

/** One server for all names: the API's name leads to the local stack, every other one has an empty page. */
const proxy = https.createServer(
  { key: readFileSync(`${folder}/key.pem`), cert: readFileSync(`${folder}/cert.pem`) },
  (request, response) => {
    if (request.headers.host !== 'auth.latchkey.test') return page(request, response)
    const { port } = new URL(stack)
    const options = { host: '127.0.0.1', port, path: request.url, method: request.method, headers: request.headers }
    const onward = http.request(options, (reply) => {
      const withCookie = (request.headers.cookie ?? '').includes(`${COOKIE}=`)
      seen.push({ method: request.method, path: request.url, withCookie, status: reply.statusCode })
      response.writeHead(reply.statusCode, reply.headers)
      reply.pipe(response)
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  },
)
await new Promise((ready) => proxy.listen(0, '127.0.0.1', ready))
const localPages = http.createServer(page)
await new Promise((ready) => localPages.listen(Number(localPagePort), '127.0.0.1', ready))

const browser = await chromium.launch({
  executablePath,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--no-proxy-server', '--ignore-certificate-errors',
    `--host-resolver-rules=MAP *.test 127.0.0.1:${proxy.address().port}, EXCLUDE 127.0.0.1`,
  ],
})

/** A page's own request, and what the page can see of the reply. */
const ask = (tab, url, options = {}) =>
  tab.evaluate(
    async ([url, options]) => {
      try {
        const reply = await fetch(url, { method: 'POST', credentials: 'include', ...options })
        const body = await reply.text()
        return { status: reply.status, body: body ? JSON.parse(body) : null, cookie: document.cookie }
      } catch (error) {
        return { failed: String(error) }
      }
    },
    [url, options],
  )
const json = (body) => ({ headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
const lastAtApi = () => seen.filter((one) => one.method === 'POST').at(-1)
const say = (what) => console.log(`chromium  ${what}`)

try {
  console.log(`Chromium ${browser.version()}`)
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  const api = 'https://auth.latchkey.test'
  const stored = async () => (await context.cookies(api)).find((cookie) => cookie.name === COOKIE)
  const tab = await context.newPage()
  await tab.goto('https://app.latchkey.test/')

  const entered = await ask(tab, `${api}/v1/auth/register`, json({ email: 'ada@example.com', password: PASSWORD, transport: 'cookie' }))
  assert.equal(entered.status, 201, JSON.stringify(entered))
  assert.equal('refresh_token' in entered.body, false)
  assert.equal(entered.cookie, '')
  const first = await stored()
  assert.equal(first.httpOnly && first.secure, true)
  assert.deepEqual([first.sameSite, first.path, first.domain], ['Strict', '/', 'auth.latchkey.test'])
  say('an allowed subdomain signs in; no script sees the token')

  await tab.reload()
  const refreshed = await ask(tab, `${api}/v1/auth/refresh`)
  assert.equal(refreshed.status, 200, JSON.stringify(refreshed))
  assert.notEqual((await stored()).value, first.value)
  const bearer = { authorization: `Bearer ${refreshed.body.access_token}` }
  const me = await ask(tab, `${api}/v1/me`, { method: 'GET', credentials: 'omit', headers: bearer })
  assert.equal(me.body.email, 'ada@example.com')
  say('after a reload it refreshes with the cookie alone')

  const proved = await ask(tab, `${api}/v1/auth/reauthenticate`, { headers: { ...bearer, 'content-type': 'application/json' }, body: JSON.stringify({ password: PASSWORD }) })
  assert.equal(proved.status, 200, JSON.stringify(proved))
  assert.equal('refresh_token' in proved.body, false)
  say('it authenticates again, and the token stays in the cookie')

  const own = await context.newPage()
  await own.goto(`${api}/docs`)
  assert.equal((await ask(own, '/v1/auth/refresh')).status, 200)
  say('so does a page of the API itself')

  const before = (await stored()).value
  for (const [origin, cookieComes] of [['https://blog.latchkey.test', true], ['https://evil.test', false]]) {
    const other = await context.newPage()
    await other.goto(`${origin}/`)
    const byCors = await ask(other, `${api}/v1/auth/refresh`)
    assert.match(byCors.failed ?? '', /Failed to fetch/, `${origin} reads a reply`)
    for (const path of ['/v1/auth/refresh', '/v1/auth/logout']) {
      // What needs no preflight is sent, though the page cannot read the reply.
      await other.evaluate(
        (url) => fetch(url, { method: 'POST', credentials: 'include', mode: 'no-cors' }).then(() => null, () => null),
        api + path,
      )
      const arrived = lastAtApi()
      assert.deepEqual([arrived.path, arrived.withCookie], [path, cookieComes], JSON.stringify(arrived))
      assert.ok(arrived.status >= 400 && arrived.status < 500, JSON.stringify(arrived))
      if (cookieComes) assert.equal(arrived.status, 403, JSON.stringify(arrived))
    }
    // A form takes the browser itself to the API.
    await Promise.all([
      other.waitForNavigation(),
      other.evaluate((action) => {
        const form = document.createElement('form')
        Object.assign(form, { method: 'post', action })
        document.body.append(form)
        form.submit()
      }, `${api}/v1/auth/logout`),
    ])
    assert.ok(lastAtApi().status >= 400, JSON.stringify(lastAtApi()))
    assert.equal((await stored()).value, before)
    say(`${origin} neither refreshes nor signs out${cookieComes ? ', though the cookie comes with its requests' : ', and no cookie comes'}`)
  }
  assert.equal((await ask(tab, `${api}/v1/auth/refresh`)).status, 200)

  assert.equal((await ask(tab, `${api}/v1/auth/logout`)).status, 204)
  assert.equal(await stored(), undefined)
  assert.equal((await ask(tab, `${api}/v1/auth/refresh`)).status >= 400, true)
  say('a sign-out takes the cookie away')

  const local = await (await browser.newContext()).newPage()
  await local.goto(`http://127.0.0.1:${localPagePort}/`)
  const there = await ask(local, `${localStack}/v1/auth/register`, json({ email: 'ada@example.com', password: PASSWORD, transport: 'cookie' }))
  assert.equal(there.status, 201, JSON.stringify(there))
  assert.equal((await ask(local, `${localStack}/v1/auth/refresh`)).status, 200)
  say('over http on 127.0.0.1 it works too')
} finally {
  await browser.close()
  proxy.close()
  localPages.close()
}
