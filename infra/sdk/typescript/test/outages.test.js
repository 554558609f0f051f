// What an outage, a captive portal or a firewall answers signs nobody out.

import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { LatchkeyError } from "../dist/latchkey.js"
import { MINUTE, code, isSignedIn, key, make, makeStale, proxy, read, sharedStorage, signIn } from "./node.js"
import { answer, answerAfter, loseReply, loseRequest } from "./stack.js"
import { pass, waited } from "./time.js"

describe("an outage", () => {
  const answers = {
    "503 (supabase-js#2436)": answer(503, { "retry-after": "1" }, JSON.stringify({ code: "temporarily_unavailable" })),
    "500": answer(500, {}, JSON.stringify({ code: "internal_error" })),
    "a gateway's 429": answer(429, {}, JSON.stringify({ message: "Too Many Requests" })),
    "a gateway's 502": answer(502, {}, "<html>"),
    "a captive portal's 200": answer(200, { "content-type": "text/html" }, "<html>sign in to the Wi-Fi</html>"),
    "a captive portal's 401": answer(401, { "content-type": "text/html" }, "<html>"),
    "an object that is no reply of Latchkey's": answer(200, {}, "{}"),
    "202 of a firewall's challenge": answer(202, { "x-amzn-waf-action": "challenge" }),
    "203 of a proxy that has emptied it": answer(203),
    "204, which nobody has asked for": answer(204),
    "403 of a firewall": answer(403, {}, ""),
    "404 of a wrong deployment": answer(404, {}, JSON.stringify({ code: "not_found" })),
    "no reply": loseRequest,
  }
  for (const [what, fault] of Object.entries(answers)) {
    test(`signs nobody out: ${what}`, async () => {
      const storage = sharedStorage()
      const client = await signIn(make(storage))
      makeStale()
      const before = storage.getItem(key())
      proxy.always = fault
      await assert.rejects(client.me(), LatchkeyError)
      assert.equal(storage.getItem(key()), before)
      assert.equal(client.state.status, "signed-in")
      proxy.always = undefined
      pass(2_000)
      await isSignedIn(client)
      assert.equal(proxy.successors(), 1)
    })
  }

  test("is none if a proxy has changed the reply, and says so by a 203", async () => {
    const client = await signIn()
    makeStale()
    proxy.next("/v1/auth/refresh", async (forward) => ({ ...(await forward()), status: 203 }))
    await isSignedIn(client)
    assert.deepEqual([proxy.count(), proxy.successors()], [1, 1])
  })

  test("is tried for all callers of a tab together, three times", async () => {
    const client = await signIn()
    makeStale()
    proxy.always = loseRequest
    const results = await Promise.allSettled(Array.from({ length: 9 }, () => client.me()))
    assert.ok(results.every(({ reason }) => code("network_error")(reason)))
    assert.equal(proxy.count(), 3)
  })

  test("of a minute asks the server no more often than it wants", async () => {
    const client = await signIn()
    makeStale()
    proxy.always = answer(429, { "retry-after": "60" }, JSON.stringify({ code: "too_many_requests", request_id: "r" }))
    for (let second = 0; second < 55; second += 5) {
      await assert.rejects(client.me(), (error) => {
        assert.equal(error.code, "too_many_requests")
        assert.equal(error.status, 429)
        assert.equal(error.requestId, "r")
        assert.ok(Math.abs(error.retryAfter - (60 - second)) < 2, `${error.retryAfter} after ${second}`)
        return true
      })
      pass(5_000)
    }
    assert.equal(proxy.count(), 1)
    assert.equal(client.state.status, "signed-in")
    proxy.always = undefined
    pass(5_000)
    await isSignedIn(client)
    assert.equal(proxy.successors(), 1)
  })

  test("never stops this client for longer than a minute, however long somebody wants", async () => {
    const client = await signIn()
    makeStale()
    proxy.always = answer(429, { "retry-after": "86400" }, "<html>too much for the Wi-Fi</html>")
    await assert.rejects(client.me(), (error) => error.retryAfter === 86_400)
    proxy.always = undefined
    pass(MINUTE + 1)
    await isSignedIn(client)
  })

  test("never stops this client for longer than ten seconds after a lost reply, because the grace would end", async () => {
    const client = await signIn()
    makeStale()
    proxy.next("/v1/auth/refresh", loseReply, answer(503, { "retry-after": "60" }, JSON.stringify({ code: "temporarily_unavailable" })))
    await assert.rejects(client.me(), code("temporarily_unavailable"))
    pass(4_000)
    await assert.rejects(client.me(), (error) => code("temporarily_unavailable")(error) && error.retryAfter <= 6)
    assert.equal(proxy.count(), 2)
    pass(6_001)
    await isSignedIn(client)
    assert.equal(proxy.successors(), 1)
  })

  for (const status of [500, 502, 503, 504]) {
    test(`never stops this client for longer than ten seconds after a ${status}, which may come after the work is done`, async () => {
      const client = await signIn()
      makeStale()
      proxy.next("/v1/auth/refresh", answerAfter(status, { "retry-after": "0" }), answer(429, { "retry-after": "60" }))
      await assert.rejects(client.me(), code("too_many_requests"))
      assert.equal(proxy.count(), 2)
      pass(4_000)
      await assert.rejects(client.me(), (error) => code("too_many_requests")(error) && error.retryAfter <= 6)
      pass(6_001)
      await isSignedIn(client)
      assert.equal(proxy.successors(), 1)
    })
  }

  const losses = {
    "no reply": loseReply,
    ...Object.fromEntries([500, 502, 503, 504].map((status) => [status, answerAfter(status)])),
  }
  for (const [what, lose] of Object.entries(losses)) {
    test(`that loses the reply to a refresh is over for the caller, who has it at the second attempt: ${what}`, async () => {
      const client = await signIn()
      makeStale()
      proxy.next("/v1/auth/refresh", lose)
      await isSignedIn(client)
      assert.deepEqual([proxy.count(), proxy.successors()], [2, 1])
      assert.ok(waited < 2_000)
    })

    test(`stops nobody whose token is still valid, and the lost reply is asked for again meanwhile: ${what}`, { timeout: 5_000 }, async () => {
      const storage = sharedStorage()
      const client = await signIn(make(storage))
      const { refresh_token } = read(storage)
      pass(15 * MINUTE - 20_000)
      let goOn
      const isCalled = new Promise((begun) => {
        const isOver = new Promise((over) => (goOn = over))
        proxy.next("/v1/auth/refresh", lose, (forward) => (begun(), isOver.then(forward)))
      })
      await isSignedIn(client)
      await isCalled // nobody has called again
      await isSignedIn(client) // nor is anybody stopped
      assert.equal(read(storage).refresh_token, refresh_token)
      pass(20_001)
      const joined = isSignedIn(client)
      goOn()
      await joined
      assert.deepEqual([proxy.count(), proxy.successors()], [2, 1])
    })

    test(`that loses the reply to an early refresh is no error of a caller who needs one and shares it: ${what}`, async () => {
      const client = await signIn()
      pass(15 * MINUTE - 20_000)
      let joined
      proxy.next("/v1/auth/refresh", (...given) => {
        pass(20_001)
        joined = isSignedIn(client)
        return lose(...given)
      })
      await client.getSessions()
      await joined
      assert.deepEqual([proxy.count(), proxy.successors()], [2, 1])
    })
  }

  test("is not one of anything but a refresh, if it is a 500: that is asked for once", async () => {
    const client = await signIn()
    proxy.next("/v1/me", answer(500, {}, JSON.stringify({ code: "internal_error" })))
    await assert.rejects(client.me(), code("internal_error"))
    assert.equal(proxy.count("/v1/me"), 1)
  })

  test("is told with the address that does not reply", async () => {
    proxy.next("/v1/auth/login", loseRequest)
    await assert.rejects(make().signIn({ email: "x@example.com", password: "x" }), (error) => error.message.includes(proxy.url))
  })

  test("of the refresh alone does not stop a token that is still valid", async () => {
    const client = await signIn()
    pass(15 * MINUTE - 20_000)
    proxy.next("/v1/auth/refresh", answer(503, { "retry-after": "60" }))
    await isSignedIn(client)
    assert.equal(proxy.count(), 1)
  })
})
