// Registration, deletion, and the sign-out.

import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { describe, test } from "node:test"
import { setTimeout as wait } from "node:timers/promises"
import { createClient } from "../dist/latchkey.js"
import { code, key, make, proxy, sharedStorage, signIn, stack } from "./node.js"
import { PASSWORD, afterAnswer, answer, loseRequest, startStack } from "./stack.js"

/** What somebody else may answer in place of Latchkey's 204, or of its 202: the last is the challenge of a firewall. */
const NO_204 = [[200, ""], [200, "{}"], [201, ""], [205, ""], [202, "{}"], [202, ""]]
const NO_202 = [[200, ""], [200, "{}"], [204, ""], [202, "{}"], [202, ""]]

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
    // A 202 without the id of a request is the challenge of a firewall.
    const replies = [[200, ""], [200, "{}"], [200, "null"], [200, "202"], [202, ""], [202, "{}"], [203, ""], [204, ""], [205, ""]]
    for (const [status, body] of replies) {
      proxy.next("/v1/auth/register", answer(status, {}, body))
      await assert.rejects(make().register({ email: "x@example.com", password: PASSWORD }), code("unexpected_reply"), `${status} ${body}`)
    }
  })

  test("sign out, as far as Latchkey knows, by its 204 alone", async () => {
    for (const [status, body] of NO_204) {
      const client = await signIn()
      const other = make()
      await other.signIn({ email: client.email, password: PASSWORD })
      proxy.next("/v1/auth/logout", ...Array(3).fill(answer(status, {}, body)))
      assert.equal(await client.signOut(), false, `${status} ${body}`)
      assert.equal((await other.getSessions()).total, 2)
    }
  })

  test("take no other status for done than the documented one", async () => {
    const client = await signIn()
    const { id } = client.state.session
    const [password, token, email] = [PASSWORD, "a", "x@example.com"]
    const acts = [
      [`/v1/sessions/${id}`, 3, NO_204, () => client.revokeSession(id)],
      ["/v1/me/delete", 1, NO_204, () => client.deleteAccount({ password })],
      ["/v1/sessions/revoke-all", 1, [[200, ""], [200, "[]"], [202, ""], [204, ""]], () => client.logoutAll()],
      ["/v1/auth/verify-email", 1, NO_204, () => client.verifyEmail({ token })],
      ["/v1/auth/password-reset/confirm", 1, NO_204, () => client.confirmPasswordReset({ token, new_password: PASSWORD })],
      ["/v1/auth/password-reset", 1, NO_202, () => client.requestPasswordReset({ email })],
      ["/v1/me/email", 1, NO_202, () => client.changeEmail({ email, password })],
      ["/v1/me/verify-email", 1, NO_202, () => client.requestEmailVerification()],
    ]
    for (const [path, attempts, replies, act] of acts) {
      for (const [status, body] of replies) {
        proxy.next(path, ...Array(attempts).fill(answer(status, {}, body)))
        const isRefused = (error) => code("unexpected_reply")(error) && error.status >= 200
        await assert.rejects(act(), isRefused, `${path} ${status} ${body}`)
        assert.equal(client.state.status, "signed-in")
      }
    }
    await client.requestPasswordReset({ email })
    await client.requestEmailVerification()
    await client.deleteAccount({ password })
    assert.equal(client.state.status, "signed-out")
  })

  test("do not sign in after a sign-out that came later", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    await client.signOut()
    proxy.next("/v1/auth/login", afterAnswer(() => client.signOut()))
    await assert.rejects(client.signIn({ email: client.email, password: PASSWORD }), code("not_signed_in"))
    assert.deepEqual([client.state.status, storage.getItem(key())], ["signed-out", null])
    const other = make()
    await other.signIn({ email: client.email, password: PASSWORD })
    assert.equal((await other.getSessions()).total, 1)
  })

  test("take no reply that is empty or a list for a value", async () => {
    const client = await signIn()
    for (const body of ["", "[]", "null", "1"]) {
      proxy.next("/v1/me", answer(200, {}, body))
      await assert.rejects(client.me(), code("unexpected_reply"), body)
    }
  })

  test("sign out at once and offline, and tell the server when they can", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const other = make(storage)
    proxy.always = loseRequest
    const signedOut = client.signOut()
    assert.equal(client.state.status, "signed-out")
    assert.equal(await signedOut, false, "the session lives on at the server")
    await assert.rejects(other.me(), code("not_signed_in"))
    assert.equal(other.state.status, "signed-out")
    proxy.always = undefined
    const again = await signIn()
    const token = await again.getAccessToken()
    assert.equal(await again.signOut(), true)
    const reply = await fetch(`${stack.api}/v1/me`, { headers: { authorization: `Bearer ${token}` } })
    assert.equal(reply.status, 401)
  })
})

describe("options", () => {
  const url = "https://auth.example.com"
  for (const [name, options] of [
    ["url", { url: "localhost:3000" }],
    ["url", { url: "http://auth.example.com" }],
    ["url", { url: "http://localhost:80@auth.example.com" }],
    ["url", { url: "ftp://localhost" }],
    ["apis", { url, apis: [{ origin: "localhost:8080" }] }],
    ["apis", { url, apis: [{ origin: "http://api.example.com" }] }],
    ["apis", { url, apis: [{ origin: "https://api.example.com/v1" }] }],
    ["apis", { url, apis: [{ origin: url, audience: "https://orders.example.com" }] }],
  ]) {
    test(`are refused that would send tokens astray: ${JSON.stringify(options)}`, () => {
      assert.throws(() => createClient(options), { name: "TypeError", message: new RegExp(`^${name} cannot be `) })
    })
  }

  test("that are safe are accepted", () => {
    for (const safe of [url, `${url}/path/`, "http://localhost:3000", "http://127.0.0.1", "http://[::1]:3000"]) {
      createClient({ url: safe, apis: [{ origin: url }, { origin: "https://api.example.com", audience: "orders" }] })
    }
  })
})

test("Node.js ends when there is nothing left to do, with each transport", async () => {
  for (const options of [{}, { transport: "cookie" }]) {
    const code = `import { createClient } from "./dist/latchkey.js"
      const client = createClient(${JSON.stringify({ url: proxy.url, ...options })})
      client.onChange(() => {})
      await client.restore().catch(() => {})
      await client.me().catch(() => {})`
    const child = spawn(process.execPath, ["--input-type=module", "--eval", code], { cwd: new URL("..", import.meta.url), timeout: 10_000 })
    assert.deepEqual(await once(child, "exit"), [0, null])
  }
})
