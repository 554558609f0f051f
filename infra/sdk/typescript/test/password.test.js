// The operations that replace the tokens: a proof and a change of the password.

import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { setTimeout as wait } from "node:timers/promises"
import { LatchkeyError } from "../dist/latchkey.js"
import { code, isSignedIn, key, lateStorages, make, makeStale, nextEmail, ORDERS, proxy, read, sharedStorage, signIn } from "./node.js"
import { OTHER_PASSWORD, PASSWORD, afterAnswer, answer, answerAfter, loseReply, loseRequest } from "./stack.js"
import { pass } from "./time.js"

describe("operations", () => {
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
    // Nobody holds the session that the change has made, so it has ended too.
    const other = make()
    await other.signIn({ email: client.email, password: OTHER_PASSWORD })
    assert.equal((await other.getSessions()).total, 1)
  })

  test("are followed by a refresh, if their reply is lost: the old tokens count for the grace alone", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const { refresh_token } = read(storage)
    proxy.next("/v1/auth/reauthenticate", loseReply)
    await assert.rejects(client.reauthenticate({ password: PASSWORD }), code("network_error"))
    assert.equal(proxy.count(), 1)
    assert.notEqual(read(storage).refresh_token, refresh_token)
    assert.equal(read(storage).replaced_until, undefined)
    await isSignedIn(client)
  })

  for (const status of [500, 502, 503, 504]) {
    test(`are followed by a refresh after a ${status}, which may come after the work is done`, async () => {
      const storage = sharedStorage()
      const client = await signIn(make(storage))
      const { refresh_token } = read(storage)
      proxy.next("/v1/auth/reauthenticate", answerAfter(status, { "retry-after": "60" }))
      await assert.rejects(client.reauthenticate({ password: PASSWORD }), LatchkeyError)
      assert.equal(proxy.count(), 1)
      assert.notEqual(read(storage).refresh_token, refresh_token)
      await isSignedIn(client)
    })
  }

  test("are followed by no refresh after a 429, which comes in place of the work", async () => {
    const client = await signIn()
    proxy.next("/v1/auth/reauthenticate", answer(429))
    await assert.rejects(client.reauthenticate({ password: PASSWORD }), code("too_many_requests"))
    await isSignedIn(client)
    assert.equal(proxy.count(), 0)
  })

  test("whose reply is lost stop this client for ten seconds at most, because the grace would end", async () => {
    const client = await signIn()
    proxy.next("/v1/auth/reauthenticate", loseReply)
    proxy.next("/v1/auth/refresh", answer(429, { "retry-after": "60" }))
    await assert.rejects(client.reauthenticate({ password: PASSWORD }), code("network_error"))
    await assert.rejects(client.me(), code("too_many_requests"))
    pass(10_001)
    await isSignedIn(client)
    assert.equal(proxy.successors(), 1)
  })

  test("whose reply is lost in an outage are followed by a refresh when it ends, in any tab", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const { refresh_token } = read(storage)
    proxy.next("/v1/auth/reauthenticate", loseReply)
    proxy.next("/v1/auth/refresh", loseRequest, loseRequest, loseRequest)
    await assert.rejects(client.reauthenticate({ password: PASSWORD }), code("network_error"))
    assert.equal(read(storage).refresh_token, refresh_token)
    await isSignedIn(make(storage))
    assert.notEqual(read(storage).refresh_token, refresh_token)
    await isSignedIn(client)
  })

  test("whose reply is lost while another tab refreshes are followed by a refresh all the same", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const other = make(storage)
    makeStale()
    await client.getAccessToken()
    let token
    proxy.next("/v1/auth/reauthenticate", async (forward) => {
      proxy.next("/v1/me", answer(401, {}, JSON.stringify({ code: "invalid_token" })))
      await isSignedIn(other)
      token = read(storage).access[""].token
      await forward()
    })
    await assert.rejects(client.reauthenticate({ password: PASSWORD }), code("network_error"))
    assert.notEqual(read(storage).access[""].token, token)
    assert.equal(read(storage).replaced_until, undefined)
  })

  test("leave nothing behind when they are refused", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const before = storage.getItem(key())
    await assert.rejects(client.reauthenticate({ password: "wrong" }), code("wrong_password"))
    assert.equal(storage.getItem(key()), before)
  })

  test("write nothing old over the refresh token that another tab has stored a moment before", async () => {
    const [storage, late] = lateStorages()
    const client = await signIn(make(storage))
    const { refresh_token } = read(storage)
    pass(1_000)
    const other = make(late)
    await isSignedIn(other)
    await client.getAccessToken(ORDERS)
    await assert.rejects(other.reauthenticate({ password: "wrong" }), code("wrong_password"))
    assert.equal(proxy.successors(), 1)
    assert.notEqual(read(storage).refresh_token, refresh_token)
    assert.ok(read(storage).access[ORDERS])
  })

  test("write nobody over the person who has signed in in another tab a moment before", async () => {
    const [storage, late] = lateStorages()
    const client = await signIn(make(storage))
    pass(1_000)
    const other = make(late)
    await isSignedIn(other)
    const email = nextEmail()
    await client.register({ email, password: PASSWORD })
    await assert.rejects(other.reauthenticate({ password: PASSWORD }), code("not_signed_in"))
    assert.equal(read(storage).user.email, email)
    assert.equal((await client.me()).email, email)
  })

  for (const [what, path] of [["reauthenticate", "/v1/auth/reauthenticate"], ["changePassword", "/v1/me/password"]]) {
    test(`are not repeated as somebody else who signs in in another tab before the refusal comes: ${what}`, async () => {
      const storage = sharedStorage()
      const client = await signIn(make(storage))
      const email = nextEmail()
      proxy.next(path, async (...request) => {
        await make(storage).register({ email, password: OTHER_PASSWORD })
        return answer(401, {}, JSON.stringify({ code: "invalid_token" }))(...request)
      })
      const passwords = { password: PASSWORD, current_password: PASSWORD, new_password: OTHER_PASSWORD }
      await assert.rejects(client[what](passwords), code("not_signed_in"))
      assert.equal(proxy.count(path), 1)
      assert.equal((await client.me()).email, email)
    })
  }

  test("continue in the session that another tab has got for the same person by a password change", async () => {
    const [storage, late] = lateStorages()
    const client = await signIn(make(storage))
    pass(1_000)
    const other = make(late)
    await isSignedIn(other)
    const { id } = await client.changePassword({ current_password: PASSWORD, new_password: OTHER_PASSWORD })
    assert.equal((await other.reauthenticate({ password: OTHER_PASSWORD })).id, id)
    assert.equal(read(storage).session.id, id)
    await isSignedIn(client)
  })

  test("renew the state, with the moment of the proof", async () => {
    const client = await signIn()
    const before = client.state.session.authenticated_at
    const seen = []
    client.onChange((state) => seen.push(state.session.authenticated_at))
    const { authenticated_at } = await client.reauthenticate({ password: PASSWORD })
    assert.notEqual(authenticated_at, before)
    assert.equal(client.state.session.authenticated_at, authenticated_at)
    assert.deepEqual(seen, [authenticated_at])
  })

  test("refresh a refused token before they prove the password", async () => {
    const client = await signIn()
    proxy.next("/v1/auth/reauthenticate", answer(401, {}, JSON.stringify({ code: "invalid_token" })))
    await client.reauthenticate({ password: PASSWORD })
    assert.equal(proxy.count(), 1)
    assert.equal(proxy.count("/v1/auth/reauthenticate"), 2)
  })
})
