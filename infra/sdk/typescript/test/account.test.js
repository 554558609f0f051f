// Registration, deletion, and the sign-out.

import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { setTimeout as wait } from "node:timers/promises"
import { createClient } from "../dist/latchkey.js"
import { code, make, proxy, sharedStorage, signIn, stack } from "./node.js"
import { PASSWORD, afterAnswer, answer, loseRequest, startStack } from "./stack.js"

describe("operations", () => {
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

  test("sign in twice at once, and stay in the session that lives", async () => {
    // The second ends the first, because both are this installation's. A late reply to the first comes too late.
    const client = await signIn()
    await client.signOut()
    const credentials = { email: client.email, password: PASSWORD }
    let second
    proxy.next("/v1/auth/login", afterAnswer(async () => {
      second = client.signIn(credentials)
      await Promise.race([second, wait(300)])
    }))
    await client.signIn(credentials)
    assert.equal((await second).id, client.state.session.id)
    assert.equal((await client.getSession()).id, client.state.session.id)
    assert.equal(proxy.count(), 0)
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
