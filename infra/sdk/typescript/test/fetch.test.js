// `fetch` for the team's own APIs.

import assert from "node:assert/strict"
import { after, before, beforeEach, describe, test } from "node:test"
import { setTimeout as wait } from "node:timers/promises"
import { ORDERS, code, isSignedIn, make, makeStale, nextEmail, proxy, sharedStorage, signIn } from "./node.js"
import { PASSWORD, afterAnswer, claimsOf, listen } from "./stack.js"

describe("fetch", () => {
  let orders, received, replies
  before(async () => {
    orders = await listen(async (request, response) => {
      const parts = []
      for await (const part of request) parts.push(part)
      received.push({ url: request.url, method: request.method, token: request.headers.authorization?.slice(7), body: String(Buffer.concat(parts)), extra: request.headers["x-extra"] })
      const [status, headers = {}] = replies.shift() ?? [200]
      response.writeHead(status, headers).end("reply")
    })
  })
  after(() => orders.stop())
  beforeEach(() => {
    received = []
    replies = []
  })
  const makeWithOrders = (audience = {}) => make(sharedStorage(), { apis: [{ origin: orders.origin, ...audience }] })

  test("adds the token, and keeps what the caller gave", async () => {
    const client = await signIn(makeWithOrders())
    const reply = await client.fetch(`${orders.origin}/orders`, { method: "POST", body: "new", headers: { "x-extra": "1" } })
    assert.equal(await reply.text(), "reply")
    const [{ token, ...rest }] = received
    assert.deepEqual(rest, { url: "/orders", method: "POST", body: "new", extra: "1" })
    assert.equal(token, await client.getAccessToken())
    await client.fetch(new Request(`${orders.origin}/orders`, { method: "PUT", body: "old", headers: { "x-extra": "2" } }))
    assert.deepEqual([received[1].method, received[1].body, received[1].extra], ["PUT", "old", "2"])
  })

  for (const wrap of [(url, init) => [url, init], (url, init) => [new Request(url, init)], (url, init) => [new URL(url), init]]) {
    test("refreshes once and repeats once after a 401, with its body", async () => {
      const client = await signIn(makeWithOrders())
      replies = [[401], [401]]
      const reply = await client.fetch(...wrap(`${orders.origin}/orders`, { method: "POST", body: "new" }))
      assert.equal(reply.status, 401)
      assert.equal(proxy.count(), 1)
      assert.deepEqual(received.map((one) => one.body), ["new", "new"])
      assert.notEqual(received[0].token, received[1].token)
      assert.equal(client.state.status, "signed-in")
    })
  }

  test("does not repeat a stream, nor what asks for the password (RFC 9470)", async () => {
    const client = await signIn(makeWithOrders())
    replies = [[401], [401, { "www-authenticate": 'Bearer error="insufficient_user_authentication", max_age="300"' }]]
    const body = new Blob(["new"]).stream()
    assert.equal((await client.fetch(`${orders.origin}/orders`, { method: "POST", body, duplex: "half" })).status, 401)
    assert.equal((await client.fetch(`${orders.origin}/payments`)).status, 401)
    assert.equal(proxy.count(), 0)
    assert.equal(received.length, 2)
  })

  test("does not repeat what can be read only once, as an iterable of Node.js", async () => {
    const client = await signIn(makeWithOrders())
    replies = [[401]]
    const body = (async function* () {
      yield Buffer.from("new")
    })()
    assert.equal((await client.fetch(`${orders.origin}/orders`, { method: "POST", body, duplex: "half" })).status, 401)
    assert.deepEqual(received.map((one) => one.body), ["new"])
  })

  for (const [what, body] of [["bytes", Buffer.from("new")], ["a blob", new Blob(["new"])], ["a query", new URLSearchParams("new")]]) {
    test(`repeats ${what}`, async () => {
      const client = await signIn(makeWithOrders())
      replies = [[401]]
      assert.equal((await client.fetch(`${orders.origin}/orders`, { method: "POST", body })).status, 200)
      assert.equal(received[1].body.replace("=", ""), "new")
    })
  }

  test("sends no token to an origin that is not listed, in any spelling", async () => {
    const client = await signIn(makeWithOrders())
    const port = new URL(orders.origin).port
    for (const url of [`http://localhost:${port}/`, `https://127.0.0.1:${port}/`, "https://example.com/", `http://127.0.0.1:${port}@example.com/`, "data:,x"]) {
      await assert.rejects(client.fetch(url), code("origin_refused"), url)
    }
    await assert.rejects(make(sharedStorage()).fetch(orders.origin), code("origin_refused"))
    assert.equal(received.length, 0)
    assert.equal((await client.fetch(`${proxy.url}/v1/me`)).status, 200)
  })

  test("loses the token when a listed origin redirects to another", async () => {
    const tokens = []
    const elsewhere = await listen((request, response) => {
      tokens.push(request.headers.authorization)
      response.end()
    })
    const client = await signIn(makeWithOrders())
    replies = [[307, { location: `${elsewhere.origin}/` }]]
    await client.fetch(`${orders.origin}/orders`)
    await elsewhere.stop()
    assert.deepEqual(tokens, [undefined])
  })

  test("does not continue a call as somebody else", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage, { apis: [{ origin: orders.origin }] }))
    replies = [[401]]
    proxy.next("/v1/auth/refresh", afterAnswer(() => make(storage).register({ email: nextEmail(), password: PASSWORD })))
    await assert.rejects(client.fetch(`${orders.origin}/orders`, { method: "POST", body: "mine" }), code("not_signed_in"))
    assert.equal(received.length, 1)
  })

  test("gives an API that has a name a token for it alone", async () => {
    const client = await signIn(makeWithOrders({ audience: ORDERS }))
    await Promise.all([client.fetch(orders.origin), client.fetch(orders.origin), isSignedIn(client)])
    await client.fetch(orders.origin)
    const { aud, scope } = claimsOf(received[0].token)
    assert.deepEqual([aud, scope], [ORDERS, undefined])
    assert.equal(claimsOf(await client.getAccessToken()).aud, "latchkey")
    assert.equal(proxy.count(), 1)
    makeStale()
    await Promise.all([client.fetch(orders.origin), isSignedIn(client)])
    assert.equal(proxy.successors(), 1)
    await assert.rejects(client.getAccessToken("https://unknown.example.com"), code("validation_failed"))
    assert.equal(client.state.status, "signed-in")
  })

  test("lets one caller give up without the others", async () => {
    const client = await signIn(makeWithOrders())
    makeStale()
    const controller = new AbortController()
    let given, isEarly
    proxy.next("/v1/auth/refresh", afterAnswer(async () => {
      controller.abort()
      isEarly = await Promise.race([given.catch(() => true), wait(500, false)])
    }))
    given = client.fetch(orders.origin, { signal: controller.signal })
    const kept = client.fetch(orders.origin)
    await assert.rejects(given, { name: "AbortError" })
    assert.equal((await kept).status, 200)
    assert.ok(isEarly, "the caller has waited for the refresh")
    assert.equal(proxy.count(), 1)
    assert.equal(received.length, 1)
  })
})
