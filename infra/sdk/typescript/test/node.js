// Clients in Node.js against a local stack with a proxy before it. Two clients over one storage stand for two tabs.

import assert from "node:assert/strict"
import { after, before, beforeEach } from "node:test"
import { createClient, LatchkeyError } from "../dist/latchkey.js"
import { PASSWORD, startProxy, startStack } from "./stack.js"
import { pass, resetTime } from "./time.js"

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
/** The audience that the stack knows in addition to its own. */
export const ORDERS = "https://orders.example.com"

/** Both are there while the tests of the importing file run. */
export let stack, proxy
let number = 0

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
export const sharedStorage = (values = new Map()) => ({
  values,
  getItem: (key) => values.get(key) ?? null,
  setItem: (key, value) => void values.set(key, value),
  removeItem: (key) => void values.delete(key),
})
/** Two tabs over one storage. What the first one stores, the second one is shown a moment later, as tabs are by `localStorage`. */
export function lateStorages(delay = 150) {
  const values = new Map()
  const before = { text: null, until: 0 }
  const first = sharedStorage(values)
  const second = sharedStorage(values)
  first.setItem = (name, value) => {
    if (name === key() && Date.now() >= before.until) Object.assign(before, { text: values.get(name) ?? null, until: Date.now() + delay })
    values.set(name, value)
  }
  second.getItem = (name) => (name === key() && Date.now() < before.until ? before.text : (values.get(name) ?? null))
  second.setItem = (name, value) => {
    before.until = 0
    values.set(name, value)
  }
  return [first, second]
}
export const make = (storage = sharedStorage(), options = {}) => createClient({ url: proxy.url, storage, ...options })
/** An address that nobody has yet. */
export const nextEmail = () => `user${++number}@example.com`
/** A client whose user is signed in, by a new account. Its first refresh is due when its token is stale. */
export async function signIn(client = make(), email = nextEmail()) {
  await client.register({ email, password: PASSWORD })
  proxy.reset()
  return Object.assign(client, { email })
}
/** Where a client keeps its record. */
export const key = () => `latchkey:${proxy.url}`
export const read = (storage) => JSON.parse(storage.getItem(key()))
export const makeStale = () => pass(15 * MINUTE)
export const code = (wanted) => (error) => error instanceof LatchkeyError && error.code === wanted
export const isSignedIn = async (client) => {
  assert.ok((await client.me()).id)
  assert.equal(client.state.status, "signed-in")
}
