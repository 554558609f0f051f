// latchkey/verify against the local stack with both algorithms, and the examples. infra/scripts/check-verify forges tokens.

import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { after, before, describe, test } from "node:test"
import { createClient } from "../dist/latchkey.js"
import { createVerifier, readBearerToken, VerificationError } from "../dist/verify.js"
import { listen, PASSWORD, startStack } from "./stack.js"

const ORDERS = "https://orders.example.com"
const refused = (code, status, challenge) => (error) => {
  assert.ok(error instanceof VerificationError, String(error))
  assert.deepEqual([error.code, error.status], [code, status])
  if (challenge !== undefined) assert.equal(error.challenge, challenge)
  return true
}

for (const algorithm of ["EdDSA", "RS256"]) {
  describe(algorithm, () => {
    let stack, client, verifier, token
    before(async () => {
      stack = await startStack({ TOKEN_ALGORITHM: algorithm, AUDIENCES: ORDERS })
      client = createClient({ url: stack.api })
      await client.register({ email: "ada@example.com", password: PASSWORD })
      token = await client.getAccessToken()
      verifier = createVerifier({ issuer: stack.api, audience: "latchkey" })
    })
    after(() => stack.stop())

    test("accepts a genuine token, and says whose it is", async () => {
      const claims = await verifier.verify(token, { scope: "account", maxAge: 60 })
      assert.equal(JSON.parse(Buffer.from(token.split(".")[0], "base64url")).alg, algorithm)
      assert.deepEqual([claims.sub, claims.sid], [client.state.user.id, client.state.session.id])
      assert.deepEqual(await verifier.verifyLive(token), claims)
      const orders = createVerifier({ issuer: stack.api, audience: ORDERS })
      assert.equal((await orders.verify(await client.getAccessToken(ORDERS))).sub, claims.sub)
    })

    test("refuses every other", async () => {
      const [header, payload, signature] = token.split(".")
      const forged = { ...JSON.parse(Buffer.from(payload, "base64url")), sub: "somebody" }
      for (const other of ["", "x", `${header}.${Buffer.from(JSON.stringify(forged)).toString("base64url")}.${signature}`, await client.getAccessToken(ORDERS)]) {
        await assert.rejects(verifier.verify(other), refused("invalid_token", 401, 'Bearer error="invalid_token"'))
      }
      const elsewhere = createVerifier({ issuer: `${stack.api}/`, audience: "latchkey" })
      await assert.rejects(elsewhere.verify(token), VerificationError)
    })

    test("asks for scope and age", async (context) => {
      const scope = 'Bearer error="insufficient_scope", scope="account admin"'
      await assert.rejects(verifier.verify(token, { scope: "account admin" }), refused("insufficient_scope", 403, scope))
      const { auth_time } = await verifier.verify(token)
      context.mock.method(Date, "now", () => (auth_time + 65) * 1000)
      assert.ok(await verifier.verify(token, { maxAge: 60 }))
      context.mock.method(Date, "now", () => (auth_time + 65) * 1000 + 1)
      const age = 'Bearer error="insufficient_user_authentication", max_age="60"'
      await assert.rejects(verifier.verify(token, { maxAge: 60 }), refused("insufficient_user_authentication", 401, age))
    })

    test("accepts the token of a session that has ended, unless it asks Latchkey", async () => {
      const other = createClient({ url: stack.api })
      await other.signIn({ email: "ada@example.com", password: PASSWORD })
      const last = await other.getAccessToken()
      await other.signOut()
      assert.ok(await verifier.verify(last))
      await assert.rejects(verifier.verifyLive(last), refused("invalid_token", 401))
    })
  })
}

test("does not know while the keys are out of reach, or Latchkey is", async () => {
  const stack = await startStack()
  const client = createClient({ url: stack.api })
  await client.register({ email: "ada@example.com", password: PASSWORD })
  const token = await client.getAccessToken()
  const verifier = createVerifier({ issuer: stack.api, audience: "latchkey" })
  await verifier.verify(token)
  await stack.stop()
  assert.ok(await verifier.verify(token), "the keys are kept")
  await assert.rejects(verifier.verifyLive(token), refused("keys_unavailable", 503, null))
  const fresh = createVerifier({ issuer: stack.api, audience: "latchkey" })
  await assert.rejects(fresh.verify(token), refused("keys_unavailable", 503, null))
  for (const [status, body] of [[500, "{}"], [200, "{}"], [200, "<html>"]]) {
    const server = await listen((_request, response) => response.writeHead(status, { "content-type": "application/json" }).end(body))
    const broken = createVerifier({ issuer: server.origin, audience: "latchkey" })
    await assert.rejects(broken.verify(token), refused("keys_unavailable", 503, null))
    await server.stop()
  }
})

test("reads the header", () => {
  assert.equal(readBearerToken("Bearer a.b-c_d"), "a.b-c_d")
  assert.equal(readBearerToken("bearer a.b.c"), "a.b.c")
  for (const header of [undefined, null, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer a,b"]) {
    assert.throws(() => readBearerToken(header), refused("invalid_token", 401, "Bearer"))
  }
})

for (const example of ["express", "hono"]) {
  test(`the example for ${example} guards its routes`, async () => {
    const stack = await startStack({ AUDIENCES: ORDERS, ACCESS_TOKEN_SECONDS: "3600" })
    const run = async (options = []) => {
      const child = spawn(process.execPath, [...options, `examples/${example}.js`], {
        cwd: new URL("..", import.meta.url),
        env: { PATH: process.env.PATH, ISSUER: stack.api, AUDIENCE: ORDERS },
        stdio: ["ignore", "pipe", "inherit"],
      })
      process.once("exit", () => child.kill())
      for await (const line of createInterface({ input: child.stdout })) {
        return { origin: line, stop: () => new Promise((ended) => child.once("exit", ended).kill()) }
      }
    }
    const later = `data:text/javascript,${encodeURIComponent("const now = Date.now; Date.now = () => now() + 600_000")}`
    const [now, inTenMinutes] = [await run(), await run(["--import", later])]
    try {
      const apis = [now, inTenMinutes].map(({ origin }) => ({ origin, audience: ORDERS }))
      const client = createClient({ url: stack.api, apis })
      await client.register({ email: "ada@example.com", password: PASSWORD })
      assert.deepEqual(await (await client.fetch(`${now.origin}/orders`)).json(), { orders: [], user: client.state.user.id })
      assert.equal((await client.fetch(`${now.origin}/payments`, { method: "POST" })).status, 204)
      const old = await client.fetch(`${inTenMinutes.origin}/payments`, { method: "POST" })
      assert.equal(old.status, 401)
      assert.match(old.headers.get("www-authenticate"), /insufficient_user_authentication.*max_age="300"/)
      const without = await fetch(`${now.origin}/orders`)
      assert.deepEqual([without.status, without.headers.get("www-authenticate")], [401, "Bearer"])
      const own = await fetch(`${now.origin}/orders`, { headers: { authorization: `Bearer ${await client.getAccessToken()}` } })
      assert.deepEqual([own.status, await own.json()], [401, { code: "invalid_token" }])
    } finally {
      await Promise.all([now.stop(), inTenMinutes.stop(), stack.stop()])
    }
  })
}
