// Tabs of Chromium, against the local stack: Web Locks, localStorage, cookies and the events of pages are the real ones.

import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { after, before, beforeEach, describe, test } from "node:test"
import { chromium } from "playwright-core"
import { afterAnswer, answer, claimsOf, listen, loseReply, loseRequest, OTHER_PASSWORD, PASSWORD, startProxy, startStack } from "./stack.js"

const MINUTE = 60_000
const sdk = readFileSync(new URL("../dist/latchkey.js", import.meta.url))
let stack, proxy, pages, browser, context, number = 0

before(async () => {
  pages = await listen((request, response) => {
    const isScript = request.url === "/latchkey.js"
    response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" })
    response.end(isScript ? sdk : "<!doctype html><title>page</title>")
  })
  stack = await startStack({ COOKIE_TRANSPORT: "true", ALLOWED_ORIGINS: pages.origin })
  proxy = await startProxy(stack.api)
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--no-proxy-server"],
  })
})
after(async () => {
  await browser?.close()
  await Promise.all([pages?.stop(), proxy?.stop()])
  await stack?.stop()
})
beforeEach(() => proxy.reset())
async function makeContext() {
  await context?.close()
  context = await browser.newContext()
  // The wall clock of a page can be moved, as by a sleep or by people. The server's clock stays as it is.
  await context.addInitScript(() => {
    const now = Date.now
    globalThis.moved = 0
    Date.now = () => now() + globalThis.moved
  })
}

/** A tab with a client in `client`; its state changes are in `seen`. */
async function open(options = { storage: "localStorage" }) {
  const tab = await context.newPage()
  await tab.goto(`${pages.origin}/`)
  await load(tab, options)
  return tab
}
const load = (tab, options = { storage: "localStorage" }) =>
  tab.evaluate(async (options) => {
    const { createClient } = await import("/latchkey.js")
    globalThis.seen = []
    globalThis.client = createClient(options)
    globalThis.client.onChange((state) => globalThis.seen.push(state.status))
  }, { url: proxy.url, ...options })
/** The same tabs as a new person finds them: nothing stored, right clocks, new clients. */
async function restart(tabs, options) {
  await Promise.all(tabs.map((tab) => tab.evaluate(() => globalThis.client?.dispose())))
  await context.clearCookies()
  await tabs[0].evaluate(() => localStorage.clear())
  await Promise.all(tabs.map((tab) => tab.evaluate(() => (moved = 0))))
  await Promise.all(tabs.map((tab) => load(tab, options)))
}
const openTabs = (count, options) => Promise.all(Array.from({ length: count }, () => open(options)))
async function signIn(tab) {
  const email = `tab${++number}@example.com`
  await tab.evaluate((credentials) => client.register(credentials), { email, password: PASSWORD })
  proxy.reset()
  return email
}
/** Three callers in each tab at once. What each got: the address of its user, or the code of its error. */
const callAll = async (tabs) => {
  const call = () => Promise.all([1, 2, 3].map(() => client.me().then((me) => me.email, (error) => error.code)))
  return (await Promise.all(tabs.map((tab) => tab.evaluate(call)))).flat()
}
const sleep = (tabs, time) => Promise.all(tabs.map((tab) => tab.evaluate((time) => (moved += time), time)))
const statusOf = (tab) => tab.evaluate(() => client.state.status)
const waitFor = (tab, status) => tab.waitForFunction((status) => client.state.status === status, status, { timeout: 5_000 })
const lockName = () => `latchkey:${proxy.url}`

// The tab that gets the lock next may be handed it before it is shown what the one before has stored: one refresh more,
// which rotates nothing. Without the lock there are six.
const ALMOST_ONE = 2

describe("six tabs with three callers each", () => {
  let tabs
  before(async () => {
    await makeContext()
    tabs = await openTabs(6)
  })
  beforeEach(() => restart(tabs))

  test("refresh once", async () => {
    const email = await signIn(tabs[0])
    await Promise.all(tabs.map((tab) => waitFor(tab, "signed-in")))
    await sleep(tabs, 15 * MINUTE)
    assert.deepEqual(await callAll(tabs), Array(18).fill(email))
    assert.ok(proxy.count() <= ALMOST_ONE, `${proxy.count()} refreshes`)
    assert.equal(proxy.successors(), 1)
  })

  test("lose replies, and stay signed in with one rotation", async () => {
    const email = await signIn(tabs[0])
    await sleep(tabs, 15 * MINUTE)
    proxy.next("/v1/auth/refresh", loseReply, loseReply, loseRequest, loseReply)
    assert.deepEqual(new Set(await callAll(tabs)), new Set([email]))
    assert.equal(proxy.successors(), 1)
  })

  test("stay signed in without Web Locks, with one rotation", async () => {
    await Promise.all(tabs.map((tab) => tab.evaluate(() => Object.defineProperty(navigator, "locks", { value: undefined, configurable: true }))))
    const email = await signIn(tabs[0])
    await sleep(tabs, 15 * MINUTE)
    assert.deepEqual(await callAll(tabs), Array(18).fill(email))
    assert.ok(proxy.count() <= 6)
    assert.equal(proxy.successors(), 1)
    await Promise.all(tabs.map((tab) => tab.evaluate(() => delete navigator.locks)))
  })

  test("stay signed in while the server answers 503 for a minute", async () => {
    const email = await signIn(tabs[0])
    await sleep(tabs, 15 * MINUTE)
    proxy.always = answer(503, { "retry-after": "60", "content-type": "application/problem+json" }, JSON.stringify({ code: "temporarily_unavailable" }))
    for (let second = 0; second < 54; second += 18) {
      assert.deepEqual(await callAll(tabs), Array(18).fill("temporarily_unavailable"))
      await sleep(tabs, 18_000)
    }
    assert.ok(proxy.count() <= 18, `${proxy.count()} refreshes`) // one for each tab and ten seconds
    proxy.always = undefined
    await sleep(tabs, 6_000)
    assert.deepEqual(await callAll(tabs), Array(18).fill(email))
    assert.equal(proxy.successors(), 1)
  })

  for (const [what, by] of [
    ["clock jumps an hour forward", 60 * MINUTE],
    ["clock jumps an hour back", -60 * MINUTE],
    ["laptop sleeps for a night", 600 * MINUTE],
  ]) {
    test(`stay signed in when the ${what}`, async () => {
        const email = await signIn(tabs[0])
      await sleep(tabs, by)
      assert.deepEqual(await callAll(tabs), Array(18).fill(email))
      assert.ok(proxy.count() <= ALMOST_ONE, `${proxy.count()} refreshes`)
      assert.ok(proxy.successors() <= 1)
    })
  }

  test("share an orphaned lock, and wait three seconds for it", { timeout: 30_000 }, async () => {
    const email = await signIn(tabs[0])
    await sleep(tabs, 15 * MINUTE)
    const orphan = await open()
    await orphan.evaluate((name) => void navigator.locks.request(name, () => new Promise(() => {})), lockName())
    const start = Date.now()
    assert.deepEqual(await callAll(tabs), Array(18).fill(email))
    assert.ok(Date.now() - start < 6_000, `${Date.now() - start} ms`)
    await orphan.close()
    assert.equal(proxy.successors(), 1)
  })

  test("with cookies share the access token, and rotate once", async () => {
    await restart(tabs, { transport: "cookie" })
    const email = await signIn(tabs[0])
    await Promise.all(tabs.map((tab) => waitFor(tab, "signed-in")))
    assert.deepEqual(await callAll(tabs), Array(18).fill(email))
    await sleep(tabs, 15 * MINUTE)
    assert.deepEqual(await callAll(tabs), Array(18).fill(email))
    assert.ok(proxy.count() <= 6, `${proxy.count()} refreshes`)
    assert.equal(proxy.successors(), 1)
  })
})

describe("a sign-out", () => {
  beforeEach(makeContext)

  for (const options of [{ storage: "localStorage" }, { transport: "cookie" }]) {
    test(`reaches the other tabs (auth0-spa-js#136, better-auth#8120): ${Object.values(options)}`, async () => {
      const [one, other] = await openTabs(2, options)
      await signIn(one)
      await waitFor(other, "signed-in")
      await other.evaluate(() => client.signOut())
      await waitFor(one, "signed-out")
      assert.deepEqual(await callAll([one, other]), Array(6).fill("not_signed_in"))
      assert.deepEqual((await one.evaluate(() => seen)).slice(-2), ["signed-in", "signed-out"])
      assert.equal(await one.evaluate(() => client.restore().then((state) => state.status)), "signed-out")
    })
  }

  test("reaches a second client on the same page", async () => {
    const tab = await open()
    await signIn(tab)
    const status = await tab.evaluate(async (url) => {
      const { createClient } = await import("/latchkey.js")
      const second = createClient({ url, storage: "localStorage" })
      await client.signOut()
      return second.state.status
    }, proxy.url)
    assert.equal(status, "signed-out")
  })

  test("with cookies ends the session also when the browser has lost the cookie", async () => {
    const [tab, other] = await openTabs(2, { transport: "cookie" })
    const email = await signIn(tab)
    await context.clearCookies()
    assert.equal(await tab.evaluate(() => client.signOut()), true)
    assert.equal(await statusOf(tab), "signed-out")
    await other.evaluate((credentials) => client.signIn(credentials), { email, password: PASSWORD })
    assert.equal(await other.evaluate(() => client.getSessions().then(({ total }) => total)), 1)
  })

  test("with cookies is told as one to the other tabs, also when a new one has asked who is signed in", async () => {
    const [tab, other] = await openTabs(2, { transport: "cookie" })
    const told = { status: "signed-out", reason: "signed_out" }
    for (const end of [() => client.signOut(), () => client.logoutAll()]) {
      await signIn(tab)
      await waitFor(other, "signed-in")
      await other.evaluate(() => void (globalThis.seen.length = 0))
      await tab.evaluate(end)
      await waitFor(other, "signed-out")
      const late = await open({ transport: "cookie" })
      assert.equal(await late.evaluate(() => client.restore().then((state) => state.status)), "signed-out")
      await other.evaluate(() => new Promise((wake) => setTimeout(wake, 100)))
      assert.deepEqual(await Promise.all([tab, other].map((tab) => tab.evaluate(() => client.state))), [told, told])
      assert.deepEqual(await other.evaluate(() => globalThis.seen), ["signed-out"])
      await late.close()
    }
    await signIn(tab)
    await waitFor(other, "signed-in")
    await context.clearCookies()
    await sleep([tab], 15 * MINUTE)
    await tab.evaluate(() => client.me().catch(() => {}))
    await waitFor(other, "signed-out")
    assert.deepEqual(await other.evaluate(() => client.state), { ...told, reason: null }, "an end that nobody wanted is no sign-out")
  })

  test("with cookies comes after the sign-in that is under way", async () => {
    const tab = await open({ transport: "cookie" })
    const email = await signIn(tab)
    await tab.evaluate(() => client.signOut())
    proxy.next("/v1/auth/login", afterAnswer(() => void tab.evaluate(() => (globalThis.out = client.signOut()))))
    const got = await tab.evaluate((credentials) => client.signIn(credentials).catch((error) => error.code), { email, password: PASSWORD })
    assert.ok(got === "not_signed_in" || got.id)
    await tab.evaluate(() => globalThis.out)
    assert.equal(await statusOf(tab), "signed-out")
    assert.deepEqual((await context.cookies(proxy.url)).map((cookie) => cookie.name), ["__Host-latchkey-device"])
  })

  test("with cookies signs nobody out while the cookie is still there, and can be repeated", async () => {
    const tab = await open({ transport: "cookie" })
    await signIn(tab)
    for (const [fault, code] of [[loseRequest, "network_error"], [answer(202), "unexpected_reply"], [answer(200, {}, "{}"), "unexpected_reply"]]) {
      proxy.always = fault
      assert.equal(await tab.evaluate(() => client.signOut().catch((error) => error.code)), code)
      assert.equal(await statusOf(tab), "signed-in")
    }
    proxy.always = undefined
    await tab.evaluate(() => client.signOut())
    assert.equal(await statusOf(tab), "signed-out")
    assert.deepEqual((await context.cookies(proxy.url)).map((cookie) => cookie.name), ["__Host-latchkey-device"])
  })
})

describe("two tabs", () => {
  let one, other, email
  beforeEach(async () => {
    await makeContext()
    ;[one, other] = await openTabs(2)
    email = await signIn(one)
    await waitFor(other, "signed-in")
  })

  test("change the password in one, and stay signed in in the other, which calls before the reply has come", async () => {
    let called
    proxy.next("/v1/me/password", afterAnswer(async () => {
      called = other.evaluate(() => client.me().then((me) => me.email, (error) => error.code))
      await Promise.race([called, new Promise((wake) => setTimeout(wake, 300))])
    }))
    const passwords = { current_password: PASSWORD, new_password: OTHER_PASSWORD }
    const { id } = await one.evaluate((passwords) => client.changePassword(passwords), passwords)
    assert.equal(await called, email)
    assert.equal(await other.evaluate(() => client.state.session.id), id)
    assert.ok(proxy.count() < ALMOST_ONE, `${proxy.count()} refreshes`)
  })

  for (const [what, hasLocks, delay] of [["without Web Locks", false, 500], ["for longer than a lock is waited for", true, 4_000]]) {
    test(`change the password in one ${what}, and stay signed in in both`, { timeout: 30_000 }, async () => {
      if (!hasLocks) {
        const hide = () => Object.defineProperty(navigator, "locks", { value: undefined, configurable: true })
        await Promise.all([one.evaluate(hide), other.evaluate(hide)])
      }
      let called
      proxy.next("/v1/me/password", afterAnswer(async () => {
        called = other.evaluate(() => client.me().then((me) => me.email, (error) => error.code))
        await new Promise((wake) => setTimeout(wake, delay)) // slow, as seen by the browser
      }))
      const passwords = { current_password: PASSWORD, new_password: OTHER_PASSWORD }
      const { id } = await one.evaluate((passwords) => client.changePassword(passwords), passwords)
      assert.equal(await called, email)
      assert.deepEqual(await Promise.all([one, other].map((tab) => tab.evaluate(() => client.state.session.id))), [id, id])
      assert.deepEqual(await callAll([one, other]), Array(6).fill(email))
    })
  }

  test("sign in one after another, and stay in the session that lives", async () => {
    const credentials = { email, password: PASSWORD }
    await one.evaluate(() => client.signOut())
    let second
    proxy.next("/v1/auth/login", afterAnswer(async () => {
      second = other.evaluate((credentials) => client.signIn(credentials), credentials)
      await Promise.race([second, new Promise((wake) => setTimeout(wake, 500))])
    }))
    await one.evaluate((credentials) => client.signIn(credentials), credentials)
    const { id } = await second
    await one.waitForFunction((id) => client.state.session?.id === id, id)
    assert.deepEqual(await callAll([one, other]), Array(6).fill(email))
    assert.ok(proxy.count() < ALMOST_ONE, `${proxy.count()} refreshes`)
  })
})

describe("the cookie", () => {
  beforeEach(makeContext)

  test("of the person before does not come back with a late reply to a refresh", async () => {
    const tab = await open({ transport: "cookie" })
    await signIn(tab)
    await sleep([tab], 15 * MINUTE)
    const next = { email: `tab${++number}@example.com`, password: PASSWORD }
    proxy.next("/v1/auth/refresh", afterAnswer(async () => {
      const signedIn = tab.evaluate((next) => (globalThis.next = client.register(next)).then(() => {}), next)
      await Promise.race([signedIn, new Promise((wake) => setTimeout(wake, 500))])
    }))
    await tab.evaluate(() => client.me().catch(() => {}))
    await tab.evaluate(() => globalThis.next)
    await sleep([tab], 15 * MINUTE)
    assert.deepEqual(await callAll([tab]), Array(3).fill(next.email))
    await tab.reload()
    await load(tab, { transport: "cookie" })
    assert.deepEqual(await callAll([tab]), Array(3).fill(next.email))
  })

  test("of a session that has ended goes at once, and the late reply to that takes no newer one along", { timeout: 60_000 }, async () => {
    const [tab, other] = await openTabs(2, { transport: "cookie" })
    const names = async () => (await context.cookies(proxy.url)).map((cookie) => cookie.name)
    const ends = [
      ["invalid_refresh_token", async (email) => {
        const headers = { "content-type": "application/json" }
        const login = await fetch(`${proxy.url}/v1/auth/login`, { method: "POST", headers, body: JSON.stringify({ email, password: PASSWORD }) })
        const { access_token } = await login.json()
        await fetch(`${proxy.url}/v1/sessions/revoke-all`, { method: "POST", headers: { authorization: `Bearer ${access_token}` } })
        await tab.evaluate(() => client.me().catch(() => {}))
      }],
      ["signed_out", () => tab.evaluate(() => client.logoutAll())],
      ["signed_out", () => tab.evaluate(() => client.revokeSession(client.state.session.id.toUpperCase()))],
      ["signed_out", () => tab.evaluate((password) => client.deleteAccount({ password }), PASSWORD)],
    ]
    for (const [reason, end] of ends) {
      const email = await signIn(tab)
      await waitFor(other, "signed-in")
      const next = { email: `tab${++number}@example.com`, password: PASSWORD }
      // Longer than a tab waits for another one without cookies.
      proxy.next("/v1/auth/logout", afterAnswer(() => new Promise((wake) => setTimeout(wake, 3_500))))
      const began = Date.now()
      await end(email)
      assert.ok(Date.now() - began < 3_000, "nobody waits for that reply")
      assert.deepEqual(await tab.evaluate(() => client.state), { status: "signed-out", reason })
      await waitFor(other, "signed-out")
      await other.evaluate((next) => client.register(next).then(() => {}), next)
      assert.ok(Date.now() - began > 3_000, "but who signs in")
      assert.ok((await names()).includes("__Host-latchkey-refresh"))
      assert.equal(proxy.count("/v1/auth/logout"), 1)
      await other.reload()
      await load(other, { transport: "cookie" })
      assert.deepEqual(await callAll([other]), Array(3).fill(next.email))
      await other.evaluate(() => client.logoutAll())
    }
    await other.evaluate((name) => navigator.locks.request(name, () => {}), lockName())
    assert.deepEqual(await names(), ["__Host-latchkey-device"])
  })

  test("that nobody takes away keeps nobody from signing in, and leaves done what is done", async () => {
    const [tab, other] = await openTabs(2, { transport: "cookie", timeout: 1_000 })
    for (const one of [tab, other]) {
      const email = await signIn(tab)
      proxy.next("/v1/auth/logout", () => new Promise(() => {}))
      assert.deepEqual(await tab.evaluate(() => client.logoutAll()), { revoked: 1 })
      assert.equal(await statusOf(tab), "signed-out")
      const began = Date.now()
      await one.evaluate((credentials) => client.signIn(credentials).then(() => {}), { email, password: PASSWORD })
      assert.ok(Date.now() - began < 2_500)
      assert.equal(await statusOf(one), "signed-in")
      await one.evaluate(() => client.signOut())
      await waitFor(tab, "signed-out")
    }
  })

  test("is not taken from a newer sign-in by a tab that was closed meanwhile", { timeout: 60_000 }, async () => {
    const [tab, other] = await openTabs(2, { transport: "cookie" })
    await signIn(tab)
    await waitFor(other, "signed-in")
    let answered
    const late = new Promise((wake) => (answered = wake))
    proxy.next("/v1/auth/logout", afterAnswer(() => late))
    await tab.evaluate(() => client.logoutAll())
    await waitFor(other, "signed-out")
    await tab.close()
    const next = { email: `tab${++number}@example.com`, password: PASSWORD }
    await other.evaluate((next) => client.register(next).then(() => {}), next)
    answered()
    await other.reload()
    await load(other, { transport: "cookie" })
    assert.deepEqual(await callAll([other]), Array(3).fill(next.email))
  })

  test("keeps nobody signed in whose sessions have all ended, although another tab's refresh hangs", { timeout: 60_000 }, async () => {
    const [tab, other] = await openTabs(2, { transport: "cookie", timeout: 2_000 })
    await signIn(tab)
    await waitFor(other, "signed-in")
    let hanging
    await new Promise((asked) => {
      proxy.next("/v1/auth/refresh", () => new Promise(() => asked()))
      hanging = other.evaluate(() => client.getAccessToken("https://orders.example.com").catch(() => {}))
    })
    const began = Date.now()
    await tab.evaluate(() => client.logoutAll())
    assert.ok(Date.now() - began < 1_500)
    assert.deepEqual(await tab.evaluate(() => client.state), { status: "signed-out", reason: "signed_out" })
    await hanging
  })

  test("of somebody else makes nobody somebody else: the page is told to ask", async () => {
    const tab = await open({ transport: "cookie" })
    await signIn(tab)
    const next = { email: `tab${++number}@example.com`, password: PASSWORD, transport: "cookie" }
    await tab.evaluate(([url, next]) => fetch(`${url}/v1/auth/register`, { method: "POST", credentials: "include", body: JSON.stringify(next), headers: { "content-type": "application/json" } }), [proxy.url, next])
    await sleep([tab], 15 * MINUTE)
    assert.equal(await tab.evaluate(() => client.me().catch((error) => error.code)), "not_signed_in")
    assert.equal(await statusOf(tab), "unknown")
    assert.equal(await tab.evaluate(() => client.restore().then((state) => state.status)), "signed-in")
    assert.deepEqual(await callAll([tab]), Array(3).fill(next.email))
    assert.deepEqual(await tab.evaluate(() => seen), ["signed-in", "unknown", "signed-in"])
  })
})

describe("a page", () => {
  beforeEach(makeContext)

  test("is signed in after a reload: with localStorage at once, with cookies after a refresh", async () => {
    for (const options of [{ storage: "localStorage" }, { transport: "cookie" }]) {
      const tab = await open(options)
      const email = await signIn(tab)
      await tab.reload()
      await load(tab, options)
      assert.equal(await statusOf(tab), options.transport ? "unknown" : "signed-in")
      assert.equal(await tab.evaluate(() => client.restore().then((state) => state.status)), "signed-in")
      assert.deepEqual(await callAll([tab]), Array(3).fill(email))
      assert.equal(proxy.count(), options.transport ? 1 : 0)
    }
  })

  test("with cookies learns that nobody is signed in, and the console of the browser stays empty", async () => {
    const tab = await open({ transport: "cookie" })
    const heard = []
    tab.on("console", (message) => heard.push(message.text()))
    assert.deepEqual(await tab.evaluate(() => client.restore()), { status: "signed-out", reason: null })
    assert.deepEqual(await callAll([tab]), Array(3).fill("not_signed_in"))
    assert.equal(proxy.count(), 1)
    assert.deepEqual(heard, [])
  })

  test("with cookies learns it of nothing but a 204", async () => {
    const [tab, other] = await openTabs(2, { transport: "cookie" })
    const email = await signIn(tab)
    await waitFor(other, "signed-in")
    const challenge = answer(202, { "x-amzn-waf-action": "challenge" })
    for (const replies of [
      [challenge, challenge, challenge],
      ["null", "false", "204"].map((body) => answer(200, {}, body)),
      [203, 205, 206].map((status) => answer(status)),
    ]) {
      await sleep([tab, other], 15 * MINUTE)
      proxy.next("/v1/auth/refresh", ...replies)
      assert.equal(await tab.evaluate(() => client.me().catch((error) => error.code)), "unexpected_reply")
      assert.deepEqual([await statusOf(tab), await statusOf(other)], ["signed-in", "signed-in"])
      assert.deepEqual(await callAll([tab, other]), Array(6).fill(email))
    }
    await sleep([tab, other], 15 * MINUTE)
    proxy.reset()
    proxy.next("/v1/auth/refresh", async (forward) => ({ ...(await forward()), status: 203 }))
    assert.deepEqual(await callAll([tab, other]), Array(6).fill(email))
    assert.equal(proxy.successors(), 1)
  })

  test("with cookies learns it of a service that does not know the question, too", async () => {
    const tab = await open({ transport: "cookie" })
    const problem = JSON.stringify({ code: "invalid_request", request_id: "a-request" })
    proxy.next("/v1/auth/refresh", answer(400, { "content-type": "application/problem+json" }, problem))
    assert.deepEqual(await tab.evaluate(() => client.restore()), { status: "signed-out", reason: null })
  })

  for (const event of ["visibilitychange", "pageshow", "online"]) {
    test(`refreshes on ${event}, if the token is due`, async () => {
      const tab = await open()
      await signIn(tab)
      const dispatch = (event) => (event === "visibilitychange" ? document : window).dispatchEvent(new Event(event))
      await tab.evaluate(dispatch, event)
      await tab.evaluate(() => client.me())
      assert.equal(proxy.count(), 0)
      await tab.evaluate(() => (moved += 3_600_000))
      const refreshed = tab.waitForResponse((response) => response.url().endsWith("/v1/auth/refresh"))
      await tab.evaluate(dispatch, event)
      await refreshed
      await tab.evaluate(() => client.me())
      assert.equal(proxy.count(), 1)
      await tab.evaluate(() => client.dispose())
      await tab.evaluate(() => (moved += 3_600_000))
      await tab.evaluate(dispatch, event)
      await tab.evaluate(() => new Promise((wake) => setTimeout(wake, 50)))
      assert.equal(proxy.count(), 1)
    })
  }

  test("that comes back from the cache with cookies trusts nothing that it held", async () => {
    const tab = await open({ transport: "cookie" })
    await signIn(tab)
    await context.clearCookies()
    await tab.evaluate(() => window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })))
    await waitFor(tab, "signed-out")
  })

  test("that was disposed of with cookies knows who has signed in when it listens again", async () => {
    const options = { transport: "cookie" }
    const [tab, other] = await openTabs(2, options)
    await signIn(tab)
    await waitFor(other, "signed-in")
    await other.evaluate(() => client.dispose())
    await tab.evaluate(() => client.signOut())
    const next = { email: `tab${++number}@example.com`, password: PASSWORD }
    await tab.evaluate((next) => client.register(next).then(() => {}), next)
    await other.evaluate(() => void client.onChange((state) => seen.push(state.status)))
    const subject = (tab) => tab.evaluate(() => client.getAccessToken()).then((token) => claimsOf(token).sub)
    assert.equal(await subject(other), await subject(tab))
    assert.deepEqual(await callAll([tab, other]), Array(6).fill(next.email))
  })

  for (const [what, path] of [["reauthenticate", "/v1/auth/reauthenticate"], ["changePassword", "/v1/me/password"]]) {
    test(`that was disposed of with cookies and listens again during ${what} stays signed in`, async () => {
      const [tab] = await openTabs(1, { transport: "cookie" })
      const email = await signIn(tab)
      proxy.next(path, afterAnswer(() => tab.evaluate(() => (client.dispose(), void client.onChange(() => {})))))
      await tab.evaluate(([what, password, next]) =>
        (what === "reauthenticate" ? client.reauthenticate({ password }) : client.changePassword({ current_password: password, new_password: next })).then(() => {}),
      [what, PASSWORD, OTHER_PASSWORD])
      assert.deepEqual(await callAll([tab]), Array(3).fill(email))
    })
  }

  test("that listens again knows at once that another tab has signed out meanwhile", async () => {
    const [tab, other] = await openTabs(2)
    await signIn(tab)
    await waitFor(other, "signed-in")
    await other.evaluate(() => client.dispose())
    await tab.evaluate(() => client.signOut())
    await other.waitForFunction(() => Object.keys(localStorage).every((name) => name.endsWith(":device")))
    assert.equal(await other.evaluate(() => (client.onChange(() => {}), client.state.status)), "signed-out")
  })

  test("mounts twice in StrictMode, in the middle of a refresh", async () => {
    const tab = await open()
    const email = await signIn(tab)
    await tab.evaluate(() => (moved += 900_000))
    const got = await tab.evaluate(async (url) => {
      const { createClient } = await import("/latchkey.js")
      const mount = () => {
        const mounted = createClient({ url, storage: "localStorage" })
        return { me: mounted.me(), unmount: () => mounted.dispose(), mounted }
      }
      const first = mount()
      first.unmount()
      const second = mount()
      return [(await first.me).email, (await second.me).email, second.mounted.state.status]
    }, proxy.url)
    assert.deepEqual(got, [email, email, "signed-in"])
    assert.equal(proxy.count(), 1)
  })

  test("never calls a listener while it holds the lock (supabase-js#2013, #2344, auth-js#762)", { timeout: 30_000 }, async () => {
    const [tab, other] = await openTabs(2)
    const email = await signIn(tab)
    await waitFor(other, "signed-in")
    await tab.evaluate((name) => {
      globalThis.got = []
      client.onChange((state) => {
        // A listener that takes the lock itself and waits for the client, and does not end before.
        const lock = navigator.locks.request(name, () => performance.now()).then((got) => got - start)
        const start = performance.now()
        globalThis.got.push(lock)
        return state.status === "signed-in" ? lock.then(() => client.me()) : lock
      })
    }, lockName())
    await other.evaluate((credentials) => client.signIn(credentials).then(() => client.revokeOthers()), { email, password: PASSWORD })
    const id = await other.evaluate(() => client.state.session.id)
    await tab.waitForFunction((id) => client.state.session.id === id, id)
    await tab.evaluate(() => client.changePassword({ current_password: "correct horse battery staple", new_password: "wrong donkey charger paperclip" }))
    await tab.evaluate(() => client.logoutAll())
    const got = await tab.evaluate(() => Promise.all(globalThis.got))
    assert.ok(got.length >= 3)
    assert.ok(got.every((milliseconds) => milliseconds < 1_000), String(got))
    const left = await tab.evaluate(() => navigator.locks.query().then(({ held, pending }) => held.length + pending.length))
    assert.equal(left, 0)
  })

  test("calls the listeners of its other clients when the lock is free", async () => {
    const tab = await open()
    await tab.evaluate(async (url) => {
      const { createClient } = await import("/latchkey.js")
      globalThis.held = []
      const second = createClient({ url, storage: "localStorage" })
      for (const one of [client, second]) one.onChange(() => held.push(navigator.locks.query().then(({ held }) => held.length)))
    }, proxy.url)
    await signIn(tab)
    await tab.evaluate((passwords) => client.changePassword(passwords), { current_password: PASSWORD, new_password: OTHER_PASSWORD })
    await tab.waitForFunction(() => held.length === 4)
    assert.deepEqual(await tab.evaluate(() => Promise.all(held)), [0, 0, 0, 0])
  })

  test("whose localStorage throws signs in and stays signed in", async () => {
    await context.addInitScript(() => {
      for (const name of ["getItem", "setItem", "removeItem"]) {
        Storage.prototype[name] = () => {
          throw new DOMException("refused", "SecurityError")
        }
      }
    })
    const tab = await open()
    const email = await signIn(tab)
    await sleep([tab], 15 * MINUTE)
    assert.deepEqual(await callAll([tab]), Array(3).fill(email))
    assert.equal(proxy.count(), 1)
  })

  test("of another origin that redirects gets no token", async () => {
    const tokens = []
    const elsewhere = await listen((request, response) => {
      tokens.push(request.headers.authorization)
      response.writeHead(204, { "access-control-allow-origin": "*", "access-control-allow-headers": "authorization" }).end()
    })
    const orders = await listen((request, response) => {
      const cors = { "access-control-allow-origin": "*", "access-control-allow-headers": "authorization" }
      if (request.method === "OPTIONS") response.writeHead(204, cors).end()
      else response.writeHead(307, { ...cors, location: `${elsewhere.origin}/` }).end()
    })
    const tab = await open({ storage: "localStorage", apis: [{ origin: orders.origin }] })
    await signIn(tab)
    await tab.evaluate((url) => client.fetch(url).catch(() => {}), orders.origin)
    await Promise.all([elsewhere.stop(), orders.stop()])
    assert.deepEqual(tokens.filter(Boolean), [])
  })
})
