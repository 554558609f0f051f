// latchkey/verify against the local stack with both algorithms, and the examples. infra/scripts/check-verify forges tokens.

import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { after, before, beforeEach, describe, test } from "node:test"
import { exportJWK, generateKeyPair, SignJWT } from "jose"
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
      const order = await client.getAccessToken(ORDERS)
      assert.equal((await orders.verify(order)).sub, claims.sub)
      // Latchkey would refuse it, whether or not its session is live.
      const scope = 'Bearer error="insufficient_scope", scope="account"'
      await assert.rejects(orders.verifyLive(order), refused("insufficient_scope", 403, scope))
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

/** A key set of one key and what it signs, behind a server that can fail. */
async function startIssuer() {
  const { publicKey, privateKey } = await generateKeyPair("EdDSA")
  const keys = [{ ...(await exportJWK(publicKey)), kid: "k", alg: "EdDSA", use: "sig" }]
  const issuer = { reads: 0, keys: [200, JSON.stringify({ keys })], account: [200, JSON.stringify({ id: "ada" })] }
  const server = await listen((request, response) => {
    if (request.url === "/v1/me") return response.writeHead(issuer.account[0]).end(issuer.account[1])
    issuer.reads++
    response.writeHead(issuer.keys[0]).end(issuer.keys[1])
  })
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: server.origin, aud: "orders", sub: "ada", sid: "s", client_id: "c", jti: "j", iat: now, exp: now + 900, auth_time: now }
  const sign = (changes = {}, kid = "k") =>
    new SignJWT({ ...claims, ...changes }).setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid }).sign(privateKey)
  return Object.assign(issuer, { sign, stop: server.stop, make: () => createVerifier({ issuer: server.origin, audience: "orders" }) })
}

describe("the published keys", () => {
  let issuer, elapsed
  before(async () => (issuer = await startIssuer()))
  after(() => issuer.stop())
  beforeEach((context) => {
    elapsed = 0
    issuer.reads = 0
    const { now } = performance
    context.mock.method(performance, "now", () => now.call(performance) + elapsed)
  })

  test("are read once for all who ask at the same time", async () => {
    const [verifier, token] = [issuer.make(), await issuer.sign()]
    const all = await Promise.all(Array.from({ length: 20 }, () => verifier.verify(token)))
    assert.ok(all.every(({ sub }) => sub === "ada"))
    assert.equal(issuer.reads, 1)
  })

  test("outlive an outage of two hours, and are asked for twice a minute at most", async () => {
    const [verifier, token, unknown] = [issuer.make(), await issuer.sign(), await issuer.sign({}, "unknown")]
    const { keys } = issuer
    await verifier.verify(token)
    for (const failure of [[503, ""], [200, "<html>"], [200, '{"keys": []}'], [200, "null"]]) {
      issuer.keys = failure
      elapsed += 301_000
      for (let count = 0; count < 5; count++) await verifier.verify(token)
    }
    assert.equal(issuer.reads, 5)
    await assert.rejects(verifier.verify(unknown), refused("keys_unavailable", 503, null))
    elapsed = 7_201_000
    await assert.rejects(verifier.verify(token), refused("keys_unavailable", 503, null))
    issuer.keys = keys
    elapsed += 30_000
    await verifier.verify(token)
    await assert.rejects(verifier.verify(unknown), refused("invalid_token", 401))
  })

  test("are asked for again for an unknown key, rarely", async () => {
    const [verifier, token, unknown] = [issuer.make(), await issuer.sign(), await issuer.sign({}, "unknown")]
    await verifier.verify(token)
    for (let count = 0; count < 3; count++) await assert.rejects(verifier.verify(unknown), refused("invalid_token", 401))
    assert.equal(issuer.reads, 1)
    elapsed = 31_000
    for (let count = 0; count < 3; count++) await assert.rejects(verifier.verify(unknown), refused("invalid_token", 401))
    assert.equal(issuer.reads, 2)
  })

  test("that could not be read at the first time are asked for again after a second", async () => {
    const [verifier, token] = [issuer.make(), await issuer.sign()]
    const { keys } = issuer
    issuer.keys = [503, ""]
    for (let count = 0; count < 3; count++) await assert.rejects(verifier.verify(token), refused("keys_unavailable", 503))
    assert.equal(issuer.reads, 1)
    issuer.keys = keys
    elapsed = 1_001
    await verifier.verify(token)
  })

  test("do not help a token for several audiences, nor a scope that is no text", async () => {
    const verifier = issuer.make()
    await assert.rejects(verifier.verify(await issuer.sign({ aud: ["orders", "other"] })), refused("invalid_token", 401))
    await assert.rejects(verifier.verify(await issuer.sign({ scope: ["account"] }), { scope: "account" }), refused("insufficient_scope", 403))
  })

  test("are not all that verifyLive reads, and it takes nothing else for an account", async () => {
    const [verifier, token, { account }] = [issuer.make(), await issuer.sign({ scope: "account" }), issuer]
    assert.equal((await verifier.verifyLive(token)).sub, "ada")
    for (const [status, body, ...wanted] of [
      [401, "", "invalid_token", 401],
      [200, "null", "keys_unavailable", 503],
      [200, "[]", "keys_unavailable", 503],
      [204, "", "keys_unavailable", 503],
      [200, '{"id": "eve"}', "invalid_token", 401],
    ]) {
      issuer.account = [status, body]
      await assert.rejects(verifier.verifyLive(token), refused(...wanted), body)
    }
    issuer.account = account
  })
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
