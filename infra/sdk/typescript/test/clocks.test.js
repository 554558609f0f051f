// Clocks that are set, wrong, or stopped by sleep.

import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { HOUR, MINUTE, isSignedIn, key, make, proxy, read, sharedStorage, signIn } from "./node.js"
import { pass, setClock, sleep, waited } from "./time.js"

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
