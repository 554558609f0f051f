// The refresh: one for all callers of a tab and for all tabs, and what its late results may do.

import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { MINUTE, code, isSignedIn, key, make, makeStale, nextEmail, proxy, read, sharedStorage, signIn } from "./node.js"
import { PASSWORD, afterAnswer, answer, loseReply, loseRequest } from "./stack.js"
import { pass, sleep, waited } from "./time.js"

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

  test("is not followed by a call as somebody else who has signed in meanwhile", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const other = make(storage)
    makeStale()
    proxy.next("/v1/auth/refresh", afterAnswer(() => other.register({ email: nextEmail(), password: PASSWORD })))
    await assert.rejects(client.logoutAll(), code("not_signed_in"))
    assert.equal(proxy.count("/v1/sessions/revoke-all"), 0)
    await isSignedIn(client)
    assert.equal(client.state.user.id, other.state.user.id)
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
    assert.deepEqual(Object.keys(read(storage)), ["session"], "nothing but when the session began that is over")
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

  test("says why its own session has ended, and not why one before it has", async () => {
    const storage = sharedStorage()
    const [client, tab] = [await signIn(make(storage)), make(storage)]
    const other = make()
    await other.signIn({ email: client.email, password: PASSWORD })
    await other.revokeOthers()
    await assert.rejects(client.me(), code("invalid_refresh_token"))
    await tab.signIn({ email: client.email, password: PASSWORD })
    assert.equal((await client.restore()).status, "signed-in")
    await tab.signOut()
    assert.deepEqual(await client.restore(), { status: "signed-out", reason: null })
  })
})
