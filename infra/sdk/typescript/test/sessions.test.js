// The operations on sessions, and what is sent again after a lost reply.

import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { code, make, proxy, signIn } from "./node.js"
import { PASSWORD, answer, loseReply, loseRequest } from "./stack.js"

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

  test("leave out what is not given", async () => {
    const client = await signIn()
    assert.ok((await client.activity({ cursor: undefined, limit: 1 })).activity)
    assert.ok((await client.activity({ cursor: null })).activity)
  })

  test("repeat what changes nothing, and nothing else", async () => {
    const client = await signIn()
    proxy.next("/v1/sessions", loseReply, answer(503, { "retry-after": "0" }))
    assert.equal((await client.getSessions()).total, 1)
    proxy.next("/v1/me/delete", loseRequest)
    await assert.rejects(client.deleteAccount({ password: PASSWORD }), code("network_error"))
    assert.equal(proxy.count("/v1/me/delete"), 1)
  })
})
