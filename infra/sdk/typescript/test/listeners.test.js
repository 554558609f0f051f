// Listeners, and clients that are disposed.

import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { code, isSignedIn, make, makeStale, nextEmail, proxy, sharedStorage, signIn } from "./node.js"
import { PASSWORD, afterAnswer } from "./stack.js"

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

  test("all hear of one change before the next, which one of them has caused", async () => {
    const client = make()
    const seen = []
    client.onChange((state) => {
      if (state.status === "signed-in") void client.signOut()
    })
    client.onChange((state) => seen.push(state.status))
    await client.register({ email: nextEmail(), password: PASSWORD })
    assert.deepEqual(seen, ["signed-in", "signed-out"])
  })

  test("that another one has removed are not called any more", async () => {
    const client = make()
    const [stops, seen] = [[], []]
    client.onChange(() => stops[0]())
    stops.push(client.onChange((state) => seen.push(state.status)))
    await signIn(client)
    assert.deepEqual(seen, [])
  })

  test("are taken without the client, as useSyncExternalStore does", async () => {
    const client = make()
    const seen = []
    const { onChange } = client
    onChange((state) => seen.push(state.status))
    await signIn(client)
    assert.deepEqual(seen, ["signed-in"])
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
