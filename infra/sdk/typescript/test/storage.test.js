// Storage that fails, is full, holds something broken, or outlives a sign-out.

import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { code, isSignedIn, key, make, makeStale, proxy, read, sharedStorage, signIn } from "./node.js"
import { PASSWORD, claimsOf } from "./stack.js"

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

  test("that is full for a longer record gets the refresh token alone, so that no other tab uses the one before", async () => {
    const storage = sharedStorage()
    const client = await signIn(make(storage))
    const tab = make(storage)
    const { length } = storage.getItem(key())
    const { setItem } = storage
    storage.setItem = (name, value) => {
      if (value.length > length - 100) throw new DOMException("full", "QuotaExceededError")
      setItem(name, value)
    }
    makeStale()
    await isSignedIn(client)
    assert.deepEqual(read(storage).access, {})
    await isSignedIn(tab)
    const sent = proxy.seen.filter((one) => one.path === "/v1/auth/refresh").map((one) => JSON.parse(one.body).refresh_token)
    assert.equal(new Set(sent.slice(-2)).size, 2, "the other tab has used the replaced token")
    proxy.reset()
    await isSignedIn(tab)
    assert.equal(proxy.count(), 0, "what has no room in the storage counts in this tab")
  })

  for (const isShared of [false, true]) {
    test(`takes Web Locks ${isShared ? "if tabs share it" : "no more than a storage that nobody shares: those of Node.js are the process's"}`, async () => {
      const names = []
      const locks = { request: (name, _options, task) => (names.push(name), task()) }
      Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true })
      try {
        const client = await signIn(make({ ...sharedStorage(), ...(isShared && { subscribe: () => () => {} }) }))
        makeStale()
        await isSignedIn(client)
        assert.deepEqual(names, isShared ? Array(2).fill(key()) : [])
      } finally {
        delete globalThis.navigator
      }
    })
  }

  const record = { version: 1, refresh_token: "x", session: { id: "s" }, user: null, access: {}, anchor: { server: 0, wall: 0 } }
  const broken = ["", "null", "[]", "{", '"text"', "{}", "undefined", JSON.stringify({ ...record, version: 2 }),
    JSON.stringify({ ...record, access: { "": { token: 1 } } }), JSON.stringify({ ...record, anchor: null }),
    JSON.stringify({ ...record, session: 1 }), JSON.stringify({ ...record, refresh_token: {} }),
    JSON.stringify({ ...record, refresh_token: null }), JSON.stringify({ ...record, refresh_token: "" }),
    JSON.stringify({ ...record, refresh_token: "x".repeat(20_000) }),
    JSON.stringify({ ...record, access: { "": { token: "a\nb", stale_at: 1e15, expires_at: 1e15 } } }),
    JSON.stringify({ id: "a\nb", token: {} }), JSON.stringify({ id: "\u2603" }), JSON.stringify({ id: "x".repeat(20_000) })]
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
