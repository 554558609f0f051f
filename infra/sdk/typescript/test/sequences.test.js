// Random sequences of what tabs of one browser do while storage and network fail, judged by rules. No stack is needed.
//
// The cast: ada and bob take turns at one browser, which has three tabs. Each has a client and its own way to the shared text,
// which can fail. A small server keeps the contract of sessions: one conditional rotation, the grace, reuse. There are no Web
// Locks, so what one tab does may fall between a request of another one and its reply; but no sign-in falls into another one,
// because with locks it cannot, and people do not sign in twice at once.
//
// The rules are in `Browser`: `judgeReuse` when the server sees a reuse, `judgeStep` after each step, and `judgeEnd` when
// everything has worked again: who is signed in then is decided by the last sign-in or sign-out, whichever tab it was made in.
//
// Not in it: cookies, a wrong password, several callers in one tab, clocks that jump, and a storage that writes and throws.
//
// SEQUENCES is how many sequences are tried, 1,000 if it is not set; with it they are new ones each time.

import assert from "node:assert/strict"
import { after, before, describe, test } from "node:test"
import fc from "fast-check"
import { createClient } from "../dist/latchkey.js"
import { pass, resetTime } from "./time.js"

const TABS = ["A", "B", "C"]
const GRACE = 30_000
const INTERVAL = 35_000
const LIFE = 900_000
const LONG_LIFE = 30 * 86_400_000
const LONG_RUN = process.env.SEQUENCES

class Broken extends Error {}

/** The contract: section 3 of the design, in memory. */
class Server {
  sessions = new Map()
  passwords = { ada: "ada-0", bob: "bob-0" }
  #issued = 0

  constructor(onReuse) {
    this.onReuse = onReuse
  }

  answer(method, path, body, token, device) {
    if (path === "/v1/auth/login") {
      if (body.password !== this.passwords[body.email]) return problem(401, "invalid_credentials")
      for (const one of this.sessions.values()) if (one.user === body.email && one.device === device) one.isLive = false
      return this.#tokens(this.#start(body.email, device), true)
    }
    if (path === "/v1/auth/refresh") return this.#refresh(body.refresh_token)
    if (path === "/v1/auth/logout") {
      const session = body ? this.#sessionOf(body.refresh_token) : this.#authorize(token)
      if (session) session.isLive = false
      return session ? reply(204) : problem(401, "invalid_token")
    }
    const session = this.#authorize(token)
    if (!session) return problem(401, "invalid_token")
    if (path === "/v1/me" && method === "GET") return reply(200, { id: session.user, email: session.user })
    if (path.startsWith("/v1/sessions/")) {
      if (path.endsWith(session.id)) session.isLive = false
      return reply(204)
    }
    const password = body.password ?? body.current_password
    if (password !== this.passwords[session.user]) return problem(403, "wrong_password")
    if (path === "/v1/auth/reauthenticate") {
      this.#rotate(session)
      return this.#tokens(session, true)
    }
    assert.equal(path, "/v1/me/password")
    this.passwords[session.user] = body.new_password
    for (const one of this.sessions.values()) if (one.user === session.user) one.isLive = false
    return this.#tokens(this.#start(session.user, session.device), true)
  }

  #sessionOf(refreshToken) {
    return this.sessions.get(refreshToken.split(".")[1])
  }

  #start(user, device) {
    const id = `s${this.sessions.size + 1}`
    // No two begin at once.
    const session = { id, user, device, at: Date.now() + this.sessions.size, rotation: 0, rotatedAt: 0, isLive: true, known: -1 }
    this.sessions.set(id, session)
    return session
  }

  #rotate(session) {
    if (session.rotation && session.rotatedAt > Date.now() - INTERVAL) return
    session.rotation++
    session.rotatedAt = Date.now()
  }

  #refresh(token) {
    const session = this.#sessionOf(token)
    const presented = Number(token.split(".")[2])
    if (!session.isLive) return problem(401, "invalid_refresh_token")
    if (presented === session.rotation) this.#rotate(session)
    else if (presented !== session.rotation - 1 || Date.now() - session.rotatedAt > GRACE) {
      session.isLive = false
      this.onReuse(session, presented)
      return problem(401, "refresh_token_reused")
    }
    return this.#tokens(session, false)
  }

  #authorize(token) {
    const [, id, , expiresAt] = token.split(".")
    const session = this.sessions.get(id)
    return session.isLive && Date.now() < Number(expiresAt) ? session : undefined
  }

  #tokens(session, hasUser) {
    const now = Date.now()
    return reply(200, {
      access_token: `at.${session.id}.${++this.#issued}.${now + LIFE}`,
      token_type: "Bearer",
      expires_in: LIFE / 1000,
      refresh_token: `rt.${session.id}.${session.rotation}`,
      refresh_expires_in: LONG_LIFE / 1000,
      session: { id: session.id, created_at: new Date(session.at).toISOString(), expires_at: new Date(now + LONG_LIFE).toISOString() },
      ...(hasUser && { user: { id: session.user, email: session.user } }),
    })
  }
}

const headers = { "x-request-id": "r", "content-type": "application/json" }
const reply = (status, body) => new Response(body ? JSON.stringify(body) : null, { status, headers })
const problem = (status, code) => reply(status, { status, code })

/** What a request can meet: whether the server acts, and the status that comes in place of its reply, or 0 for none. */
const FAULTS = {
  offline: { isDone: false, status: 0 },
  lost: { isDone: true, status: 0 },
  busy: { isDone: false, status: 503 },
  "done, but 503": { isDone: true, status: 503 },
}

/** How a tab reaches the storage: what it can do, and whether there is room for a text beside the one that is there. */
const WAYS = {
  works: { read: true, hasRoom: () => true, remove: true },
  full: { read: true, hasRoom: (text, before) => text.length <= (before?.length ?? 0), remove: true },
  "full but for 60 characters": { read: true, hasRoom: (text, before) => text.length <= (before?.length ?? 0) + 60, remove: true },
  "takes nothing": { read: true, hasRoom: () => false, remove: true },
  "read only": { read: true, hasRoom: () => false, remove: false },
  gone: { read: false, hasRoom: () => false, remove: false },
}

const settled = () => new Promise((wake) => setImmediate(wake))

/** One browser: the text that its tabs share, the server that they call, and the rules. */
class Browser {
  text = null
  /** What the text has been. */
  texts = []
  tabs = new Map()
  /** What decides who is signed in: a session, or null after a sign-out. */
  last = null
  signOuts = 0
  /** Why nothing can be demanded at the end; undefined if something can. */
  excuse
  /** The tab whose request the server answers. */
  sender
  broken

  /** `hasOneDevice` is false if the storage had no room for the id of the installation when the tabs were opened. */
  constructor(hasOneDevice) {
    this.hasOneDevice = hasOneDevice
    this.server = new Server((session, presented) => this.judgeReuse(session, presented))
    for (const name of TABS) {
      this.tabs.set(name, { name, way: WAYS.works, listeners: new Set() })
      this.open(name)
    }
  }

  /** Opens a tab, or loads its page again. */
  open(name) {
    const tab = this.tabs.get(name)
    tab.client?.dispose()
    tab.latest = undefined
    const demand = (isAllowed) => {
      if (!isAllowed) throw new DOMException("refused", "QuotaExceededError")
    }
    const isDevice = (key) => key.endsWith(":device")
    const change = (text) => {
      this.text = text
      this.texts.push(text)
      for (const other of this.tabs.values()) if (other !== tab) for (const listener of other.listeners) listener()
    }
    const storage = {
      getItem: (key) => {
        demand(tab.way.read)
        return isDevice(key) ? null : this.text
      },
      setItem: (key, value) => {
        if (isDevice(key)) return
        demand(tab.way.hasRoom(value, this.text))
        this.note(value)
        change(value)
      },
      removeItem: () => {
        demand(tab.way.remove)
        change(null)
      },
      subscribe: (listener) => {
        tab.listeners.add(listener)
        return () => tab.listeners.delete(listener)
      },
    }
    tab.client = createClient({ url: `http://localhost:3000/${name}`, storage, deviceId: this.hasOneDevice ? "browser" : name })
  }

  /** The highest rotation that the shared text has held. */
  note(text) {
    const token = JSON.parse(text).refresh_token
    if (!token) return
    const [, id, rotation] = token.split(".")
    const session = this.server.sessions.get(id)
    session.known = Math.max(session.known, Number(rotation))
  }

  /** What `fetch` is while a sequence runs. */
  async fetch(address, { method, headers, body }) {
    const [, name, path] = /^http:\/\/localhost:3000\/(\w)(.*)$/.exec(address)
    this.sender = this.tabs.get(name)
    const { step } = this.sender
    const fault = FAULTS[step?.faults.shift()]
    const token = headers.authorization?.slice("Bearer ".length)
    const parts = [method, path, body && JSON.parse(body), token, headers["x-device-id"]]
    const answer = fault?.isDone === false ? undefined : this.server.answer(...parts)
    const meanwhile = step?.meanwhile
    if (meanwhile) {
      step.meanwhile = undefined
      await this.run(meanwhile)
    }
    if (fault?.status === 0) throw new TypeError("fetch failed")
    return fault ? problem(fault.status, "temporarily_unavailable") : answer
  }

  /** Does a step, and those that fall into it. */
  async run({ tab: name, action, faults = [], meanwhile, way, wait, text }) {
    const tab = this.tabs.get(name)
    if (tab.step) return // it is waiting for a reply, and the person for the tab
    if (action === "wait") return pass(wait)
    if (action === "storage") {
      tab.way = WAYS[way]
      for (const listener of tab.listeners) listener() // what it could not read before
      return settled()
    }
    if (action === "end it elsewhere") {
      const session = this.server.sessions.get(tab.client.state.session?.id)
      if (session) session.isLive = false
      return
    }
    if (action === "deafen") return tab.listeners.clear()
    if (action === "put back") {
      this.text = this.texts[text]
      return
    }
    if (action === "open") {
      if (this.last && tab.client.state.session?.id === this.last.id && this.last.known < 0) this.excuse = "the tab that alone knew of it is gone"
      return this.open(name)
    }
    tab.step = { faults: [...faults], meanwhile }
    const seeing = [...this.tabs.values()].filter(({ way }) => way.read)
    const shown = seeing.map(({ name, client }) => [name, client, this.server.sessions.get(client.state.session?.id)])
    const { signOuts } = this
    const error = await this.call(tab, action).then(() => undefined, (error) => error)
    tab.step = undefined
    await settled() // the other tabs hear what was stored
    const isPlain = action === "use" && !faults.length && !meanwhile
    if (signOuts === this.signOuts) this.judgeStep(shown, tab, isPlain ? error : undefined)
    if (error instanceof Broken) throw error
    if (this.broken) throw new Broken(this.broken)
  }

  async call(tab, action) {
    const { client } = tab
    const user = client.state.user?.id
    if (action.startsWith("sign in")) {
      const who = action.slice("sign in ".length)
      const { id } = await client.signIn({ email: who, password: this.server.passwords[who] })
      this.last = this.server.sessions.get(id)
      this.excuse = this.blindness
    } else if (action === "sign out") {
      const before = client.state.session?.id
      if (before || this.text !== null) {
        this.last = null
        this.signOuts++
        // What the tab could neither remove nor tell stays as it is for the others.
        this.excuse = tab.way.remove ? this.blindness : "the sign-out could not be stored"
        if (this.text === null) this.excuse = "nothing was stored, so no other tab hears of it"
      }
      const isTold = await client.signOut()
      if (!this.last && client.state.status !== "signed-out") throw new Broken(`${tab.name} has signed out and is ${client.state.status}`)
      if (isTold && before && this.server.sessions.get(before).isLive) throw new Broken(`${before} was signed out and is live`)
    } else if (action === "change the password") {
      const before = this.last
      const next = `${user}-${this.server.sessions.size}`
      const { id } = await client.changePassword({ current_password: this.server.passwords[user] ?? "", new_password: next })
      const session = this.server.sessions.get(id)
      if (before && !this.last && !this.excuse) throw new Broken(`a sign-out came before the reply, and ${tab.name} has ${id}`)
      // Somebody may have signed in while it was under way.
      if (!(this.last?.at > session.at)) {
        this.last = session
        this.excuse ??= this.blindness
      }
    } else if (action === "reauthenticate") {
      await client.reauthenticate({ password: this.server.passwords[user] ?? "" })
    } else {
      const { id } = await client.me()
      if (user && id !== user) throw new Broken(`${tab.name} has asked as ${user} and was answered as ${id}`)
    }
  }

  /** A sign-out is an empty storage, which tells no time: who could not read cannot know whether it was before a sign-in. */
  get blindness() {
    return [...this.tabs.values()].every(({ way }) => way.read) ? undefined : "a tab cannot read"
  }

  /** Nobody is taken for a thief while the shared text has the token that counts, and can be read. */
  judgeReuse(session, presented) {
    if (this.sender.way.read && session.known >= session.rotation) this.broken ??= `${session.id}: ${presented} was sent, the text had ${session.known}`
  }

  /**
   * Whoever sees that they are signed in, in a session that is live, is not refused while the network works, and is not signed
   * out by a step without a sign-out. Nobody goes back to a session that began before, which may be another person's. `shown`
   * is which session each tab that can read has shown before the step.
   */
  judgeStep(shown, tab, error) {
    for (const [name, client, session] of shown) {
      const one = this.tabs.get(name)
      const now = this.server.sessions.get(client.state.session?.id)
      if (now?.at < one.latest?.at) throw new Broken(`${name} has had ${one.latest.id}, and goes back to ${now.id}`)
      one.latest = now ?? one.latest
      if (!session?.isLive || one.client !== client) continue // its page was loaded again
      if (error && name === tab.name) throw new Broken(`${name} has ${session.id}, which is live, and was refused: ${error.code}`)
      const { status, reason } = client.state
      if (status === "signed-out") throw new Broken(`${session.id} is live, but ${name} is signed out (${reason})`)
    }
  }

  /** Everything works again. */
  async settle() {
    for (const tab of this.tabs.values()) tab.way = WAYS.works
    for (let round = 0; round < 3; round++) {
      pass(16 * 60_000)
      for (const tab of this.tabs.values()) {
        await tab.client.me().catch(() => {})
        await settled()
      }
    }
  }

  async judgeEnd() {
    await this.settle()
    if (this.broken) throw new Broken(this.broken)
    if (this.excuse) return
    for (const { name, client } of this.tabs.values()) {
      const { state } = client
      if (this.last === null && state.status !== "signed-out") throw new Broken(`nobody is signed in, but ${name} has ${state.session.id}`)
      if (this.last?.isLive && state.session?.id !== this.last.id) {
        throw new Broken(`${this.last.id} is live, but ${name} has ${state.session?.id ?? `nobody (${state.reason})`}`)
      }
    }
  }
}

const tab = fc.constantFrom(...TABS)
const faults = fc.oneof({ weight: 4, arbitrary: fc.constant([]) }, fc.array(fc.constantFrom(...Object.keys(FAULTS)), { maxLength: 4 }))
const simple = fc.oneof(
  { weight: 3, arbitrary: fc.record({ tab, action: fc.constantFrom("use", "use", "sign out"), faults }) },
  { weight: 2, arbitrary: fc.record({ tab, action: fc.constant("storage"), way: fc.constantFrom(...Object.keys(WAYS)) }) },
  { weight: 2, arbitrary: fc.record({ tab, action: fc.constant("wait"), wait: fc.constantFrom(1, 1_000, 40_000, 470_000, 910_000) }) },
  { weight: 1, arbitrary: fc.record({ tab, action: fc.constantFrom("open", "end it elsewhere") }) },
)
const beginning = fc.record({ tab, action: fc.constantFrom("sign in ada", "sign in ada", "sign in bob"), faults, meanwhile: fc.option(simple, { nil: undefined }) })
const use = fc.record({
  tab,
  action: fc.constantFrom("use", "use", "use", "change the password", "reauthenticate", "sign out"),
  faults,
  meanwhile: fc.option(fc.oneof(simple, beginning), { nil: undefined }),
})
const sequences = fc.array(fc.oneof({ weight: 3, arbitrary: beginning }, { weight: 4, arbitrary: use }, { weight: 5, arbitrary: simple }), { maxLength: 13 })

async function play(first, steps, hasOneDevice = true) {
  resetTime()
  const browser = new Browser(hasOneDevice)
  globalThis.fetch = (address, init) => browser.fetch(address, init)
  for (const step of [first, ...steps]) await browser.run(structuredClone(step))
  await browser.judgeEnd()
  for (const { client } of browser.tabs.values()) client.dispose()
}

describe("sequences", () => {
  const { fetch, setTimeout } = globalThis
  before(() => {
    Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true })
    globalThis.setTimeout = (callback, delay = 0) => {
      pass(delay)
      setImmediate(callback)
    }
  })
  after(() => {
    Object.assign(globalThis, { fetch, setTimeout })
    delete globalThis.navigator
  })

  const orders = {
    "a refusal of the session before does not end what could not be written": [
      { tab: "A", action: "sign in ada" },
      { tab: "A", action: "storage", way: "takes nothing" },
      { tab: "B", action: "storage", way: "takes nothing" },
      { tab: "A", action: "sign in ada" },
      { tab: "B", action: "use" },
      { tab: "A", action: "use" },
    ],
    "nor does what another tab stores of that session": [
      { tab: "A", action: "sign in ada" },
      { tab: "B", action: "storage", way: "takes nothing" },
      { tab: "C", action: "use", meanwhile: { tab: "B", action: "sign in bob" } },
      { tab: "C", action: "reauthenticate" },
      { tab: "B", action: "use" },
    ],
    "nor does an old text of it that comes back": [
      { tab: "A", action: "sign in ada" },
      { tab: "B", action: "storage", way: "takes nothing" },
      { tab: "B", action: "sign in ada" },
      { tab: "A", action: "use" },
      { tab: "C", action: "put back", text: 0 },
      { tab: "A", action: "use" },
    ],
    "nor does the end of another one that could not be written": [
      { tab: "A", action: "sign in ada" },
      { tab: "B", action: "storage", way: "takes nothing" },
      { tab: "B", action: "sign in bob" },
      { tab: "B", action: "storage", way: "works" },
      { tab: "B", action: "end it elsewhere" },
      { tab: "B", action: "wait", wait: 910_000 },
      { tab: "B", action: "use" },
      { tab: "A", action: "use" },
      { tab: "A", action: "wait", wait: 910_000 },
      { tab: "A", action: "use" },
      { tab: "B", action: "use" },
    ],
    "nor does it where nobody could write": [
      { tab: "A", action: "storage", way: "full but for 60 characters" },
      { tab: "B", action: "storage", way: "full but for 60 characters" },
      { tab: "A", action: "sign in ada" },
      { tab: "B", action: "sign in bob" },
      { tab: "B", action: "end it elsewhere" },
      { tab: "B", action: "use" },
      { tab: "A", action: "use" },
    ],
    "a refresh by another tab counts, however it began": [
      { tab: "A", action: "sign in ada" },
      { tab: "A", action: "wait", wait: 40_000 },
      { tab: "A", action: "storage", way: "takes nothing" },
      { tab: "A", action: "reauthenticate" },
      { tab: "A", action: "wait", wait: 1_000 },
      { tab: "B", action: "reauthenticate" },
      { tab: "A", action: "wait", wait: 910_000 },
      { tab: "B", action: "use" },
      { tab: "A", action: "wait", wait: 40_000 },
      { tab: "A", action: "use" },
    ],
    "a refusal that comes when another tab has stored a later session ends nothing": [
      { tab: "A", action: "sign in ada" },
      { tab: "A", action: "storage", way: "read only" },
      { tab: "A", action: "sign in ada" },
      { tab: "A", action: "storage", way: "works" },
      { tab: "A", action: "wait", wait: 910_000 },
      { tab: "B", action: "use", meanwhile: { tab: "A", action: "use" } },
    ],
    "a sign-in that cannot be written counts after a sign-out that came before its reply, heard or not": [
      { tab: "A", action: "sign in ada" },
      { tab: "B", action: "storage", way: "takes nothing" },
      { tab: "B", action: "deafen" },
      { tab: "B", action: "sign in ada", meanwhile: { tab: "A", action: "sign out" } },
    ],
    "a sign-out ends what another tab could not write": [
      { tab: "A", action: "sign in ada" },
      { tab: "B", action: "storage", way: "takes nothing" },
      { tab: "B", action: "sign in ada" },
      { tab: "A", action: "sign out" },
    ],
    "a sign-in as somebody else ends what another tab could not write": [
      { tab: "B", action: "storage", way: "read only" },
      { tab: "B", action: "sign in ada" },
      { tab: "A", action: "sign in bob" },
    ],
  }
  for (const [name, [first, ...steps]] of Object.entries(orders)) test(name, () => play(first, steps))

  test("of what tabs do: the last sign-in or sign-out decides", async () => {
    const runs = LONG_RUN ? { numRuns: Number(LONG_RUN) } : { numRuns: 1_000, seed: 1 }
    await fc.assert(fc.asyncProperty(beginning, sequences, fc.boolean(), play), { ...runs, timeout: undefined })
  })
})
