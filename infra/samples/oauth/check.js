// Runs introspect.js against the service that LATCHKEY_API names, as the clients that the script has made.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { Latchkey } from './introspect.js'

const { LATCHKEY_API: api, CLIENT_SECRET: secret, INTROSPECTING_SECRET: introspecting } = process.env
const missing = ['LATCHKEY_API', 'CLIENT_SECRET', 'INTROSPECTING_SECRET'].filter((name) => !process.env[name])
if (missing.length > 0) {
  console.error(`${missing.join(' and ')} must be set: see infra/scripts/check-oauth, which makes the clients`)
  process.exit(2)
}
const latchkey = new Latchkey(api, 'orders-api', secret)

async function post(path, body, headers = {}) {
  const reply = await fetch(api + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  const text = await reply.text()
  return { status: reply.status, body: text ? JSON.parse(text) : null }
}

const credentials = { email: `ada-${process.pid}@example.com`, password: 'correct horse battery staple' }
const ada = (await post('/v1/auth/register', credentials)).body

const claims = await latchkey.accessToken(ada.access_token)
assert.equal(claims.sub, ada.user.id)
assert.equal(claims.sid, ada.session.id)
assert.equal(claims.scope, 'account')
assert.equal(claims.aud, 'latchkey')
assert.equal(await latchkey.accessToken(ada.refresh_token), null, 'a refresh token opens no API')
assert.equal(await latchkey.accessToken('nonsense'), null)

await latchkey.revoke(ada.refresh_token)
assert.equal(await latchkey.accessToken(ada.access_token), null, 'the session has ended')
await latchkey.revoke(ada.refresh_token)
await latchkey.revoke('nonsense')
assert.equal((await post('/v1/auth/refresh', { refresh_token: ada.refresh_token })).status, 401)

// What is refused comes as the errors that the library knows.
const refused = async (client, ask, error, status) => {
  await assert.rejects(ask(client), (found) => {
    if (status === 401) {
      assert(found instanceof oauth.WWWAuthenticateChallengeError, String(found))
      assert.equal(found.cause[0].scheme, 'basic')
    } else {
      assert(found instanceof oauth.ResponseBodyError, String(found))
      assert.equal(found.error, error)
    }
    assert.equal(found.status, status)
    return true
  })
}
const introspect = (client) => client.accessToken(ada.access_token)
const revoke = (client) => client.revoke(ada.access_token)
for (const ask of [introspect, revoke]) {
  await refused(new Latchkey(api, 'orders-api', 'wrong'), ask, 'invalid_client', 401)
  await refused(new Latchkey(api, 'nobody', secret), ask, 'invalid_client', 401)
}
await refused(new Latchkey(api, 'reports', introspecting), revoke, 'unauthorized_client', 400)
assert.equal(await new Latchkey(api, 'reports', introspecting).accessToken('x'), null)
console.log('oauth4webapi: introspection and revocation do what the RFCs say')
