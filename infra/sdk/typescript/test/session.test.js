// The session layer in Node.js, against the local stack. Two clients over one storage stand for two tabs.

import assert from "node:assert/strict"
import { setTimeout as wait } from "node:timers/promises"
import { after, before, beforeEach, describe, test } from "node:test"
import { createClient, LatchkeyError } from "../dist/latchkey.js"
import { afterAnswer, answer, claimsOf, listen, loseReply, loseRequest, OTHER_PASSWORD, PASSWORD, startProxy, startStack } from "./stack.js"
import { pass, resetTime, setClock, sleep, waited } from "./time.js"

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const ORDERS = "https://orders.example.com"
let stack, proxy, number = 0

before(async () => {
  stack = await startStack({ AUDIENCES: ORDERS })
  proxy = await startProxy(stack.api)
})
after(async () => {
  await proxy.stop()
  await stack.stop()
})
beforeEach(() => {
  resetTime()
  proxy.reset()
})

/** Storage as tabs share it. */
const sharedStorage = (values = new Map()) => ({
  values,
  getItem: (key) => values.get(key) ?? null,
  setItem: (key, value) => void values.set(key, value),
  removeItem: (key) => void values.delete(key),
})
const make = (storage = sharedStorage(), options = {}) => createClient({ url: proxy.url, storage, ...options })
/** A client whose user is signed in, by a new account. Its first refresh is due when its token is stale. */
async function signIn(client = make(), email = `user${++number}@example.com`) {
  await client.register({ email, password: PASSWORD })
  proxy.reset()
  return Object.assign(client, { email })
}
const key = () => `latchkey:${proxy.url}`
const read = (storage) => JSON.parse(storage.getItem(key()))
const makeStale = () => pass(15 * MINUTE)
const code = (wanted) => (error) => error instanceof LatchkeyError && error.code === wanted
const isSignedIn = async (client) => {
  assert.ok((await client.me()).id)
  assert.equal(client.state.status, "signed-in")
}

describe("the refresh", () => {
  test("is not made while the token is fresh", async () => {
    const client = await signIn()
    pass(14 * MINUTE)
    await isSignedIn(client)
    assert.equal(proxy.count(), 0)
    pass(MINUTE / 2 + 1)
    await isSignedIn(client)
    assert.equal(proxy.count(), 1)
  })

  test("is one for all callers of a tab", async () => {
    const client = await signIn()
    makeStale()
    await Promise.all(Array.from({ length: 9 }, () => isSignedIn(client)))
    assert.equal(proxy.count(), 1)
    assert.equal(proxy.successors(), 1)
  })

  test("signs out no loser of a race of tabs without a lock (nocturne#391, auth-js#213)", async () => {
    const storage = sharedStorage()
    const tabs = [await signIn(make(storage)), ...Array.from({ length: 5 }, () => make(storage))]
    makeStale()
    await Promise.all(tabs.flatMap((tab) => [isSignedIn(tab), isSignedIn(tab), isSignedIn(tab)]))
    assert.ok(proxy.count() <= 6, `${proxy.count()} refreshes`)
    assert.equal(proxy.successors(), 1)
    for (const tab of tabs) await isSignedIn(tab)
  })

  test("of another tab is used, without a request", async () => {
    const storage = sharedStorage()
    const [one, other] = [await signIn(make(storage)), make(storage)]
    makeStale()
    await isSignedIn(one)
    await isSignedIn(other)
    assert.equal(proxy.count(), 1)
  })

  test("is asked for again after a lost reply, and gets the same successor", async () => {
    const client = await signIn()
    makeStale()
    proxy.next("/v1/auth/refresh", loseReply, loseRequest)
    await isSignedIn(client)
    assert.equal(proxy.count(), 3)
    assert.equal(proxy.successors(), 1)
    assert.ok(waited < 2_000)
  })

  test("is asked for again after a reply that was cut off", async () => {
    const client = await signIn()
    makeStale()
    proxy.next("/v1/auth/refresh", async (forward) => {
      const { status, body, headers } = await forward()
      return { status, headers: { ...headers, "content-length": 40 }, body: body.subarray(0, 40) }
    })
    await isSignedIn(client)
    assert.equal(proxy.successors(), 1)
  })

  test("never takes a late result for a newer sign-in (clerk#9284)", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const other = make(storage)
    makeStale()
    let later
    proxy.next("/v1/auth/refresh", afterAnswer(async () => {
      await other.signIn({ email: client.email, password: PASSWORD })
      later = storage.getItem(key())
    }))
    await client.getSession()
    assert.equal(storage.getItem(key()), later)
    await isSignedIn(client)
  })

  test("never takes a late refusal for one of a newer sign-in", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const other = make(storage)
    sleep(15 * MINUTE)
    proxy.next("/v1/auth/refresh", async (forward) => {
      await other.signIn({ email: client.email, password: PASSWORD })
      return forward()
    })
    await isSignedIn(client)
    assert.deepEqual(proxy.seen.filter((one) => one.path === "/v1/auth/refresh").map((one) => one.status), [401])
  })

  test("never brings back what was signed out while it waited", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    makeStale()
    proxy.next("/v1/auth/refresh", afterAnswer(() => client.signOut()))
    await assert.rejects(client.me(), code("not_signed_in"))
    assert.equal(storage.getItem(key()), null)
    assert.deepEqual(client.state, { status: "signed-out", reason: "signed_out" })
  })

  test("by another tab that has missed the sign-out does not undo it", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const text = storage.getItem(key())
    await client.signOut()
    storage.setItem(key(), text)
    await assert.rejects(client.me(), code("not_signed_in"))
    assert.equal(storage.getItem(key()), null)
  })

  test("is repeated once after a refused token, also when the token looked fresh", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    proxy.next("/v1/me", answer(401, {}, JSON.stringify({ code: "invalid_token" })))
    await isSignedIn(client)
    assert.equal(proxy.count(), 1)
    assert.equal(proxy.count("/v1/me"), 2)
  })

  test("ends with its session, and says why", async () => {
    const client = await signIn()
    const other = await make()
    await other.signIn({ email: client.email, password: PASSWORD })
    await other.revokeOthers()
    const states = []
    client.onChange((state) => states.push(state))
    await assert.rejects(client.me(), code("invalid_refresh_token"))
    assert.deepEqual(states, [{ status: "signed-out", reason: "invalid_refresh_token" }])
    await assert.rejects(client.me(), code("not_signed_in"))
  })
})

describe("an outage", () => {
  const answers = {
    "503 (supabase-js#2436)": answer(503, { "retry-after": "1" }, JSON.stringify({ code: "temporarily_unavailable" })),
    "500": answer(500, {}, JSON.stringify({ code: "internal_error" })),
    "a gateway's 429": answer(429, {}, JSON.stringify({ message: "Too Many Requests" })),
    "a gateway's 502": answer(502, {}, "<html>"),
    "a captive portal's 200": answer(200, { "content-type": "text/html" }, "<html>sign in to the Wi-Fi</html>"),
    "a captive portal's 401": answer(401, { "content-type": "text/html" }, "<html>"),
    "an object that is no reply of Latchkey's": answer(200, {}, "{}"),
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
    proxy.always = answer(503, { "retry-after": "60" }, JSON.stringify({ code: "temporarily_unavailable", request_id: "r" }))
    for (let second = 0; second < 55; second += 5) {
      await assert.rejects(client.me(), (error) => {
        assert.equal(error.code, "temporarily_unavailable")
        assert.equal(error.status, 503)
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

  test("of the refresh alone does not stop a token that is still valid", async () => {
    const client = await signIn()
    pass(15 * MINUTE - 20_000)
    proxy.next("/v1/auth/refresh", answer(503, { "retry-after": "60" }))
    await isSignedIn(client)
    assert.equal(proxy.count(), 1)
  })
})

describe("clocks", () => {
  // The time limits of a test are real, so the stack's clock stands still while ours move.
  for (const [what, by] of [["an hour forward", HOUR], ["an hour back", -HOUR]]) {
    test(`set ${what} sign nobody out and rotate once at most (authkit-nextjs#470)`, async () => {
      const storage = sharedStorage()
      const client = await signIn(make(storage))
      setClock(by)
      await isSignedIn(client)
      await isSignedIn(make(storage))
      assert.ok(proxy.count() <= 1)
      assert.ok(proxy.successors() <= 1)
    })
  }

  test("set back do not serve an expired token, in this tab or after a reload (authkit-nextjs#470)", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const { token } = read(storage).access[""]
    pass(20 * MINUTE)
    setClock(-HOUR)
    assert.notEqual(await make(storage).getAccessToken(), token)
    storage.setItem(key(), storage.getItem(key()))
    const second = await client.getAccessToken()
    assert.notEqual(second, token)
    pass(20 * MINUTE)
    assert.notEqual(await client.getAccessToken(), second)
  })

  test("that are wrong by a year do not matter, because the server's time counts", async () => {
    setClock(365 * 24 * HOUR)
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    await isSignedIn(client)
    await isSignedIn(make(storage))
    assert.equal(proxy.count(), 0)
    const { anchor, access } = read(storage)
    assert.ok(Math.abs(anchor.server - (Date.now() - 365 * 24 * HOUR)) < 5_000)
    assert.ok(Math.abs(access[""].expires_at - anchor.server - 900_000) < 1_000)
  })

  test("that stop while a laptop sleeps do not serve an expired token (hypothesis/client#384)", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const { token } = read(storage).access[""]
    sleep(8 * HOUR)
    assert.notEqual(await client.getAccessToken(), token)
    assert.equal(proxy.count(), 1)
    assert.equal(waited, 0)
  })
})

describe("storage", () => {
  const failing = (methods) => {
    const storage = sharedStorage()
    const fail = () => {
      throw new DOMException("refused", "SecurityError")
    }
    return { ...storage, ...Object.fromEntries(methods.map((name) => [name, fail])) }
  }
  for (const methods of [["getItem"], ["setItem"], ["removeItem"], ["getItem", "setItem", "removeItem"]]) {
    test(`whose ${methods.join(", ")} throws keeps this tab signed in`, async () => {
      const client = await signIn(make(failing(methods)))
      await isSignedIn(client)
      makeStale()
      await isSignedIn(client)
      makeStale()
      await isSignedIn(client)
      assert.equal(proxy.count(), 2)
      await client.signOut()
      await assert.rejects(client.me(), code("not_signed_in"))
    })
  }

  test("that is full does not bring back a replaced refresh token", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const { setItem } = storage
    storage.setItem = () => {
      throw new DOMException("full", "QuotaExceededError")
    }
    makeStale()
    await isSignedIn(client)
    makeStale()
    await isSignedIn(client)
    const sent = proxy.seen.filter((one) => one.path === "/v1/auth/refresh").map((one) => JSON.parse(one.body).refresh_token)
    assert.notEqual(sent[0], sent[1])
    // As soon as there is room again, the others get it.
    storage.setItem = setItem
    makeStale()
    await isSignedIn(client)
    await isSignedIn(make(storage))
    // What another tab has written counts, also if this one could not write.
    storage.setItem = () => {
      throw new DOMException("full", "QuotaExceededError")
    }
    makeStale()
    await isSignedIn(client)
    storage.removeItem(key())
    await assert.rejects(client.me(), code("not_signed_in"))
  })

  const record = { version: 1, refresh_token: "x", session: { id: "s" }, user: null, access: {}, anchor: { server: 0, wall: 0 } }
  const broken = ["", "null", "[]", "{", '"text"', "{}", "undefined", JSON.stringify({ ...record, version: 2 }),
    JSON.stringify({ ...record, access: { "": { token: 1 } } }), JSON.stringify({ ...record, anchor: null }),
    JSON.stringify({ ...record, session: 1 }), JSON.stringify({ ...record, refresh_token: {} })]
  for (const text of broken) {
    test(`with a broken value means signed out, and a sign-in works: ${text.slice(0, 60)} (auth0-spa-js#449)`, async () => {
      const storage = sharedStorage(new Map([[key(), text], [`${key()}:device`, text]]))
      const client = make(storage)
      assert.equal(client.state.status, "signed-out")
      await assert.rejects(client.me(), code("not_signed_in"))
      assert.equal((await client.restore()).status, "signed-out")
      await isSignedIn(await signIn(client))
    })
  }

  test("with a token that nobody has made means signed out", async () => {
    const storage = sharedStorage(new Map([[key(), JSON.stringify(record)]]))
    const client = make(storage)
    assert.equal(client.state.status, "signed-in")
    await assert.rejects(client.me(), code("invalid_refresh_token"))
    assert.equal(client.state.status, "signed-out")
    await isSignedIn(await signIn(client))
  })

  test("keeps the device, so that a second sign-in replaces the first, and its token for the next one", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    await client.signOut()
    const other = make(storage)
    await other.signIn({ email: client.email, password: PASSWORD, device_name: "Ada's laptop" })
    const { device_token } = JSON.parse(proxy.seen.find((one) => one.path === "/v1/auth/login").body)
    assert.equal(claimsOf(device_token).sub, other.state.user.id)
    await other.signIn({ email: client.email, password: PASSWORD })
    assert.equal((await other.getSessions()).total, 1)
    assert.ok((await other.getSession()).device_id)
  })
})

describe("listeners", () => {
  test("may call the client and wait for it (supabase-js#2013, #2344, auth-js#762)", async () => {
    const client = make()
    const seen = []
    let inner
    client.onChange((state) => {
      seen.push(state.status)
      if (state.status === "signed-in") inner = client.me().then(() => client.getSession())
    })
    await signIn(client)
    assert.ok((await inner).is_current)
    makeStale()
    client.onChange(() => (inner = client.restore()))
    const other = make()
    await other.signIn({ email: client.email, password: PASSWORD })
    await other.revokeOthers()
    await assert.rejects(client.me(), code("invalid_refresh_token"))
    await inner
    assert.deepEqual(seen, ["signed-in", "signed-out"])
  })

  test("that throw stop neither the client nor other listeners, and the page hears of it", async (context) => {
    const client = make()
    const { queueMicrotask } = globalThis
    const reports = []
    context.mock.method(globalThis, "queueMicrotask", (task) => {
      if (new Error().stack.includes("dist/latchkey.js")) reports.push(task)
      else queueMicrotask(task)
    })
    const seen = []
    client.onChange(() => {
      throw new Error("a listener's fault")
    })
    client.onChange((state) => seen.push(state.status))
    await signIn(client)
    assert.equal(reports.length, 1)
    assert.throws(reports[0], /a listener's fault/)
    assert.deepEqual(seen, ["signed-in"])
    await isSignedIn(client)
  })

  test("are not called for a refresh, and the state stays the same object", async () => {
    const client = await signIn()
    const { state } = client
    client.onChange(() => assert.fail("nothing has changed"))
    makeStale()
    await isSignedIn(client)
    assert.equal(client.state, state)
  })

  test("of a disposed client are gone, and it still works: StrictMode mounts twice", async () => {
    const client = await signIn()
    client.onChange(() => assert.fail("disposed"))
    client.dispose()
    client.dispose()
    makeStale()
    await isSignedIn(client)
    const seen = []
    const stop = client.onChange((state) => seen.push(state.status))
    await client.signOut()
    stop()
    assert.deepEqual(seen, ["signed-out"])
  })

  test("hear nothing of a refresh that a disposed client had begun, and its result is kept", async () => {
    const storage = sharedStorage()
    const first = await signIn(make(storage))
    makeStale()
    let second
    proxy.next("/v1/auth/refresh", afterAnswer(() => {
      first.dispose()
      second = make(storage)
    }))
    await isSignedIn(first)
    await isSignedIn(second)
    assert.equal(proxy.count(), 1)
  })
})

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
    const client = await signIn(makeWithOrders())
    replies = [[401]]
    proxy.next("/v1/auth/refresh", afterAnswer(() => client.register({ email: `other${++number}@example.com`, password: PASSWORD })))
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

describe("operations", () => {
  test("see, name and end sessions", async () => {
    const [laptop, phone] = [await signIn(), make()]
    await phone.signIn({ email: laptop.email, password: PASSWORD, device_name: "Phone" })
    const { sessions, total, limit } = await laptop.getSessions()
    assert.deepEqual([total, limit], [2, 20])
    const lost = sessions.find((session) => !session.is_current)
    assert.equal((await laptop.renameSession(lost.id, "Lost")).name, "Lost")
    assert.equal((await laptop.renameSession(lost.id, null)).name, null)
    await assert.rejects(laptop.renameSession(lost.id, " "), (error) => code("validation_failed")(error) && error.errors[0].pointer === "#/name")
    await laptop.revokeSession(lost.id)
    await assert.rejects(laptop.revokeSession(lost.id), code("session_not_found"))
    await assert.rejects(phone.me(), code("invalid_refresh_token"))
    assert.deepEqual(await laptop.removeExpiredSessions(), { removed: 1 })
    await phone.signIn({ email: laptop.email, password: PASSWORD })
    assert.deepEqual(await laptop.revokeOthers(), { revoked: 1 })
    await laptop.revokeSession((await laptop.getSession()).id.toUpperCase())
    assert.equal(laptop.state.status, "signed-out")
  })

  test("end everything", async () => {
    const client = await signIn()
    assert.deepEqual(await client.logoutAll(), { revoked: 1 })
    assert.deepEqual(client.state, { status: "signed-out", reason: "signed_out" })
  })

  test("take a deletion whose reply was lost for done", async () => {
    const [laptop, phone] = [await signIn(), make()]
    const lost = await phone.signIn({ email: laptop.email, password: PASSWORD })
    proxy.next(`/v1/sessions/${lost.id}`, loseReply)
    await laptop.revokeSession(lost.id)
    assert.equal(proxy.count(`/v1/sessions/${lost.id}`), 2)
  })

  test("take the end of this session whose reply was lost for a sign-out", async () => {
    const client = await signIn()
    const { id } = client.state.session
    proxy.next(`/v1/sessions/${id}`, loseReply)
    await client.revokeSession(id)
    assert.equal(client.state.status, "signed-out")
  })

  test("repeat what changes nothing, and nothing else", async () => {
    const client = await signIn()
    proxy.next("/v1/sessions", loseReply, answer(503, { "retry-after": "0" }))
    assert.equal((await client.getSessions()).total, 1)
    proxy.next("/v1/me/delete", loseRequest)
    await assert.rejects(client.deleteAccount({ password: PASSWORD }), code("network_error"))
    assert.equal(proxy.count("/v1/me/delete"), 1)
  })

  test("prove the password and change it", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const session = await client.getSession()
    await assert.rejects(client.reauthenticate({ password: "wrong" }), code("wrong_password"))
    assert.equal((await client.reauthenticate({ password: PASSWORD })).id, session.id)
    makeStale()
    const [changed] = await Promise.all([
      client.changePassword({ current_password: PASSWORD, new_password: OTHER_PASSWORD }),
      isSignedIn(client),
      client.getSessions(),
    ])
    assert.notEqual(changed.id, session.id)
    assert.equal(client.state.status, "signed-in")
    assert.equal(client.state.user.email, client.email)
    await isSignedIn(client)
    await assert.rejects(client.changePassword({ current_password: OTHER_PASSWORD, new_password: "short" }), code("weak_password"))
  })

  test("let no refresh come between a password change and its tokens", async () => {
    const client = await signIn()
    let inner
    proxy.next("/v1/me/password", afterAnswer(async () => {
      makeStale()
      inner = isSignedIn(client)
      await wait(100) // as long as a refresh with the old token would take to be refused
    }))
    await client.changePassword({ current_password: PASSWORD, new_password: OTHER_PASSWORD })
    await inner
    assert.equal(client.state.status, "signed-in")
  })

  test("do not sign in again whom a password change has outlived", async () => {
    const client = await signIn()
    proxy.next("/v1/me/password", afterAnswer(() => client.signOut()))
    const change = client.changePassword({ current_password: PASSWORD, new_password: OTHER_PASSWORD })
    await assert.rejects(change, code("not_signed_in"))
    assert.equal(client.state.status, "signed-out")
  })

  test("refresh a refused token before they prove the password", async () => {
    const client = await signIn()
    proxy.next("/v1/auth/reauthenticate", answer(401, {}, JSON.stringify({ code: "invalid_token" })))
    await client.reauthenticate({ password: PASSWORD })
    assert.equal(proxy.count(), 1)
    assert.equal(proxy.count("/v1/auth/reauthenticate"), 2)
  })

  test("delete the account", async () => {
    const client = await signIn()
    await client.deleteAccount({ password: PASSWORD })
    assert.equal(client.state.status, "signed-out")
    await assert.rejects(client.signIn({ email: client.email, password: PASSWORD }), (error) => {
      assert.deepEqual([error.name, error.code, error.status, error.retryAfter], ["LatchkeyError", "invalid_credentials", 401, null])
      assert.match(error.requestId, /^[0-9a-f-]{36}$/)
      return true
    })
  })

  test("register without tokens, where an address must be verified first", async () => {
    const strict = await startStack({ REQUIRE_VERIFIED_EMAIL: "true" })
    try {
      const client = createClient({ url: strict.api })
      const credentials = { email: "x@example.com", password: PASSWORD }
      assert.equal(await client.register(credentials), null)
      assert.equal(client.state.status, "signed-out")
      assert.equal(await client.register(credentials), null, "a taken address is not told")
      await assert.rejects(client.signIn(credentials), code("email_not_verified"))
    } finally {
      await strict.stop()
    }
  })

  test("register without tokens says nothing of a mail, unless Latchkey has accepted it", async () => {
    for (const body of ["", "{}", "null"]) {
      proxy.next("/v1/auth/register", answer(200, {}, body))
      await assert.rejects(make().register({ email: "x@example.com", password: PASSWORD }), code("unexpected_reply"), body)
    }
  })

  test("sign out at once and offline, and tell the server when they can", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const other = make(storage)
    proxy.always = loseRequest
    const signedOut = client.signOut()
    assert.equal(client.state.status, "signed-out")
    await signedOut
    await assert.rejects(other.me(), code("not_signed_in"))
    assert.equal(other.state.status, "signed-out")
    proxy.always = undefined
    const again = await signIn()
    const token = await again.getAccessToken()
    await again.signOut()
    const reply = await fetch(`${stack.api}/v1/me`, { headers: { authorization: `Bearer ${token}` } })
    assert.equal(reply.status, 401)
  })
})
