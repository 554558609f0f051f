/** Who is signed in, and the refresh: one for all callers and, with the lock, for all tabs. */

import { currentMoment, elapsedSince, ServerClock, type Moment } from "./clock.js"
import { hasCode, isLost, isRefusedToken, isTransient, LatchkeyError, notSignedIn } from "./error.js"
import { pass, repeat, type Http, type RequestParts } from "./http.js"
import { Lock } from "./lock.js"
import { OWN_AUDIENCE, readTokens, type Grant, type SignInRecord } from "./record.js"
import type { RecordStore } from "./storage.js"
import type { Session, Tokens, User } from "./types.js"

/** Who is signed in, as far as this tab knows. The same object until it changes. */
export type State = Unknown | SignedIn | SignedOut

/** Only with cookies, before the first refresh: ask with `restore()`. */
export interface Unknown {
  /** What tells the states apart. */
  readonly status: "unknown"
}

/** Somebody is signed in. */
export interface SignedIn {
  /** What tells the states apart. */
  readonly status: "signed-in"
  /** The session, as it was when it began or when the password was last proved. `getSession()` asks for the rest. */
  readonly session: Session
  /** Whose it is. Null with cookies after a reload, because no reply has told; `me()` asks. */
  readonly user: User | null
}

/** Nobody is signed in. */
export interface SignedOut {
  /** What tells the states apart. */
  readonly status: "signed-out"
  /** The code that ended the session, `signed_out` for a sign-out here (with cookies in any tab), null if it is not known. */
  readonly reason: string | null
}

/** The reason of a sign-out, which is also what is stored of it in place of a sign-in whose refresh token is a cookie. */
const SIGNED_OUT = "signed_out"

/** How often a refresh begins again because the storage has changed while it waited for its reply. */
const ROUNDS = 3

/** However long a `Retry-After` is, whoever sent it: a refresh is asked for again after so many seconds. */
const LONGEST_PAUSE = 60

/** The same after a reply that may have been lost: the old refresh token counts for the grace, 30 seconds, and no longer. */
const LONGEST_DOUBT = 10

/** How long to wait for another tab. After it a task runs without the lock, which without cookies costs a request. */
const PATIENCE = 3_000

/** How often to look whether another tab has stored what it waits for. Milliseconds. */
const POLL = 250

/** One refresh for all who ask meanwhile: its first attempt, which is all that who has a valid token waits for, and its end. */
type Refresh = readonly [first: Promise<Grant>, end: Promise<Grant>]

export class SessionKeeper {
  readonly #http: Http
  readonly #store: RecordStore
  readonly #lock: Lock
  readonly #clock = new ServerClock()
  readonly #hasCookie: boolean
  readonly #refreshes = new Map<string, Refresh>()
  readonly #listeners = new Set<(state: State) => void>()
  /** The changes that listeners have not all heard of. */
  readonly #changes: State[] = []
  #state: State
  #reason: string | null = null
  /** The session that this tab has ended: another tab's late reply must not bring it back. */
  #endedId = ""
  /** How often this client has signed out: a sign-in that began before must not sign in after it. */
  #signOuts = 0
  /** Whether the server may have replaced the refresh token in a reply that has not come. */
  #isDoubtful = false
  /** Until when the server wants no refresh, and what it said. */
  #pause: { error: LatchkeyError; since: Moment } | undefined

  /** `lockName` is undefined unless others share the storage. */
  constructor(http: Http, store: RecordStore, lockName: string | undefined, hasCookie: boolean) {
    this.#http = http
    this.#store = store
    this.#lock = new Lock(lockName)
    this.#hasCookie = hasCookie
    this.#state = this.#findState()
  }

  get state(): State {
    return this.#state
  }

  /** Calls the listener at each change of who is signed in. Returns how to stop. */
  onChange(listener: (state: State) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  dispose(): void {
    this.#listeners.clear()
  }

  /** What is stored. Null if nobody is signed in, or if it is not known. */
  get record(): SignInRecord | null {
    return this.#read().record
  }

  /** Looks at the storage again, and refreshes if the token for Latchkey is due. Never throws. */
  async check(): Promise<void> {
    this.update()
    if (this.#state.status !== "signed-out") await this.obtain(OWN_AUDIENCE).catch(() => {})
  }

  /**
   * An access token for an audience.
   *
   * @param refused the token that a server has refused, so that another one is needed
   * @throws LatchkeyError `not_signed_in`; the code that ended the session; or an error that signs nobody out
   */
  async obtain(audience: string, refused?: string): Promise<Grant> {
    const { text, record } = this.#read()
    if (!record && !this.#isUnknown(text)) {
      this.update()
      throw notSignedIn()
    }
    const fresh = this.#find(record, audience, refused, "stale_at")
    if (fresh) return fresh
    const usable = this.#find(record, audience, refused, "expires_at")
    const grant = await this.#refresh(audience, refused)[usable ? 0 : 1].catch((error: unknown) => {
      // An outage costs nothing as long as the token that we have is valid.
      if (usable && isTransient(error, true)) return usable
      throw error
    })
    // Somebody else may have signed in meanwhile: what one person has asked for is not done as another.
    if (record && !isSamePerson(record, grant.record)) throw notSignedIn()
    return grant
  }

  /**
   * Sends a sign-in or a registration and stores its tokens; null if there are none yet. Under the lock: one after another,
   * and no late reply to a refresh brings the cookie of the person before back.
   */
  async signIn(send: () => Promise<unknown>): Promise<Tokens | null> {
    const signOuts = this.#signOuts
    return this.#change(async () => {
      const sentAt = currentMoment()
      const received = await send()
      if (received === 202) return null
      const { token, record, reply } = readTokens(received, this.#clock, sentAt, this.#hasCookie)
      if (signOuts !== this.#signOuts) return this.#abandon(token)
      this.#store.write(record)
      return reply
    })
  }

  /** Sends a request that replaces the tokens, while no refresh is under way, and stores those of its reply. */
  async replace(send: (token: string) => Promise<unknown>, refused?: string, who?: SignInRecord): Promise<Tokens> {
    const { token, record } = await this.obtain(OWN_AUDIENCE, refused)
    try {
      return await this.#change(async () => {
        await pass(POLL) // a tab may get the lock before it is shown what the one before has stored
        const before = this.record
        if (!before || !isSamePerson(before, who ?? record)) throw notSignedIn()
        const sentAt = currentMoment()
        // Whoever is refused until then, with or without the lock, waits for what this brings.
        this.#store.write({ ...before, replaced_until: sentAt.wall + this.#http.timeout })
        try {
          const next = readTokens(await send(token), this.#clock, sentAt, this.#hasCookie)
          // The user has signed out, or somebody else has signed in, since it was sent: nobody holds this new session.
          if (this.record?.session.id !== before.session.id) return await this.#abandon(next.token)
          // Tokens for other audiences are left behind: they do not hold this proof of the password.
          this.#store.write({ ...next.record, user: next.record.user ?? before.user })
          return next.reply
        } catch (error) {
          // After a lost reply no access token counts as fresh, so that the next use, in any tab, fetches what it brought.
          const now = this.record
          this.#isDoubtful ||= isLost(error)
          if (now?.session.id === before.session.id) {
            this.#store.write({ ...now, replaced_until: undefined, ...(isLost(error) && { access: {} }) })
          }
          throw error
        }
      })
    } catch (error) {
      if (isLost(error)) await this.#refresh(OWN_AUDIENCE)[1].catch(() => {})
      if (refused !== undefined || !isRefusedToken(error)) throw error
      return await this.replace(send, token, record)
    }
  }

  /** Signs out and tells the server. Returns whether it knows. With cookies it throws unless it does, because it must. */
  async signOut(): Promise<boolean> {
    this.#signOuts++
    const logout = (parts: RequestParts) => repeat(() => this.#logout(parts))
    if (!this.#hasCookie) {
      const refresh_token = this.#forget(SIGNED_OUT)?.refresh_token
      this.update()
      return !refresh_token || logout({ body: { refresh_token } }).then(() => true, () => false)
    }
    return this.#change(async () => {
      await logout({ withCookies: true }).catch((error: unknown) => {
        // The access token ends the session whose cookie the browser has lost.
        const token = this.record?.access[OWN_AUDIENCE]?.token
        if (!isWithoutCookie(error)) throw error
        return token && logout({ token })
      })
      this.#forget(SIGNED_OUT)
      return true
    })
  }

  /** Forgets a session that the user has ended, here and in the other tabs, unless another one has begun. */
  end(sessionId: string): void {
    const record = this.record
    if (record?.session.id !== sessionId) return
    this.#forget(SIGNED_OUT)
    this.update()
    // Whoever signs in meanwhile has another cookie.
    if (this.#hasCookie) void this.#change(async () => this.record || this.#removeCookie(record))
  }

  /**
   * Does what begins, replaces or ends the session, or refreshes it: one after another. With cookies it waits for another tab
   * as long as that may wait for `replies`, each of which may bring a cookie or take one. A sign-out asks three times.
   */
  #change<Result>(task: () => Promise<Result>, replies = 4): Promise<Result> {
    return this.#lock.run(task, this.#hasCookie ? replies * this.#http.timeout : PATIENCE).finally(() => this.update())
  }

  #logout(parts: RequestParts): Promise<unknown> {
    return this.#http.send("POST", "/v1/auth/logout", { status: 204, ...parts })
  }

  /** Ends a session that nobody holds. */
  async #abandon(token: string): Promise<never> {
    await this.#logout({ token }).catch(() => {})
    throw notSignedIn()
  }

  /**
   * Finds out who is signed in and tells the listeners, if that has changed. No task under the lock calls it: `#change` does
   * when its task has ended. With cookies, what takes the cookie of an ended session away may hold the lock still.
   */
  update(): void {
    const state = this.#findState()
    if (state.status === "signed-in") this.#reason = null // why the session before this one has ended
    if (describe(state) === describe(this.#state)) return
    this.#state = state
    if (this.#changes.push(state) > 1) return // a listener has caused it: all hear of the change before it first
    for (let change; (change = this.#changes[0]); this.#changes.shift()) {
      for (const listener of [...this.#listeners]) {
        try {
          if (this.#listeners.has(listener)) listener(change)
        } catch (error) {
          // A listener's fault is the page's to report, and no reason to stop here.
          queueMicrotask(() => {
            throw error
          })
        }
      }
    }
  }

  #refresh(audience: string, refused?: string): Refresh {
    const running = this.#refreshes.get(audience)
    if (running) return running
    const ask = () => this.#change(() => this.#refreshOnce(audience, refused), 1)
    const first = ask()
    const end = repeat((attempt) => (attempt ? ask() : first), true)
      .catch((error) => {
        if (isTransient(error, true) && error.retryAfter !== null) this.#pause ??= { error, since: currentMoment() }
        throw error
      })
      .finally(() => this.#refreshes.delete(audience))
    end.catch(() => {}) // where nobody waits for it
    const refresh = [first, end] as const
    this.#refreshes.set(audience, refresh)
    return refresh
  }

  /** Reads again, asks, and stores. Runs under the lock. */
  async #refreshOnce(audience: string, refused: string | undefined): Promise<Grant> {
    for (let round = 0; round < ROUNDS; round++) {
      const { text, record } = this.#read()
      if (!record && !this.#isUnknown(text)) throw notSignedIn()
      const fresh = this.#find(record, audience, refused, "stale_at")
      if (fresh) return fresh // another tab was faster
      this.#obeyPause()
      const sentAt = currentMoment()
      const body = {
        refresh_token: record?.refresh_token, // null where a cookie has it
        cookie_optional: this.#hasCookie,
        audience: audience || undefined, // none for OWN_AUDIENCE
      }
      let next: Grant
      try {
        const reply = await this.#http.send("POST", "/v1/auth/refresh", { body, withCookies: this.#hasCookie })
        if (this.#hasCookie && reply === 204) throw notSignedIn() // there is no cookie
        next = readTokens(reply, this.#clock, sentAt, this.#hasCookie, audience, record)
        this.#isDoubtful = false
      } catch (error) {
        this.#isDoubtful ||= isLost(error)
        // The codes that mean that the session is over. Nothing else signs anybody out.
        const isRefused = hasCode(error, "invalid_refresh_token", "refresh_token_reused")
        const isEnding = isRefused || (this.#hasCookie && isWithoutCookie(error))
        if (isEnding) await this.#waitForReplacement()
        if (this.#read().text !== text) continue // the refusal is about a sign-in that is no longer here
        if (isEnding) this.#forget(isRefused ? error.code : null, isRefused)
        throw error
      }
      if (this.#read().text !== text) continue // a late result is never written over a newer one
      if (record && next.record.session.id !== record.session.id) {
        // The cookie is of another sign-in. Nobody becomes somebody else: the page asks who is signed in.
        if (this.#hasCookie) this.#store.clear(null)
        throw notSignedIn()
      }
      this.#store.write(next.record)
      return next
    }
    throw new LatchkeyError("network_error", "Storage changes.")
  }

  /** The access token for an audience, if it is not the refused one and this moment of it has not come. */
  #find(record: SignInRecord | null, audience: string, refused: string | undefined, end: "stale_at" | "expires_at"): Grant | undefined {
    const access = record?.access[audience]
    if (record && access && access.token !== refused && this.#clock.now(record.anchor) < access[end]) {
      return { token: access.token, record }
    }
    return undefined
  }

  /** Another tab may have sent what ends this session and brings the next one. Its reply is waited for. */
  async #waitForReplacement(): Promise<void> {
    for (let waited = 0; waited < this.#http.timeout && Date.now() < (this.record?.replaced_until ?? 0); waited += POLL) {
      await pass(POLL)
    }
  }

  #obeyPause(): void {
    if (!this.#pause) return
    const { error, since } = this.#pause
    const longest = this.#isDoubtful ? LONGEST_DOUBT : LONGEST_PAUSE
    const left = Math.min(error.retryAfter!, longest) - elapsedSince(since) / 1000
    if (left > 0) throw new LatchkeyError(error.code, error.message, { ...error, retryAfter: left, cause: error })
    this.#pause = undefined
  }

  #read() {
    const stored = this.#store.read()
    if (stored.record?.session.id !== this.#endedId) return stored
    this.#store.clear("", stored.record)
    return this.#store.read()
  }

  /** If the session was refused, the browser may have its cookie still, which goes before any tab can get the next one. */
  #forget(reason: string | null, isRefused?: boolean) {
    const record = this.record
    this.#reason = reason
    if (record) this.#endedId = record.session.id
    this.#store.clear(reason ?? "", isRefused ? record : null)
    if (this.#hasCookie && isRefused) this.#removeCookie(record)
    return record
  }

  /** It does not outlive the page as a sign-out does: the lock goes with the page, and a late reply takes another's cookie. */
  #removeCookie(record: SignInRecord | null): void {
    const token = record?.access[OWN_AUDIENCE]?.token
    this.#lock.rest = this.#http.send("POST", "/v1/auth/logout", { withCookies: true, token }).catch(() => {})
  }

  /** With cookies and nothing stored, only the server knows. */
  #isUnknown(text: string | null): boolean {
    return this.#hasCookie && text === null
  }

  #findState(): State {
    const { text, record } = this.#read()
    if (text === SIGNED_OUT) this.#reason = text // perhaps in another tab
    if (record) return { status: "signed-in", session: record.session, user: record.user }
    return this.#isUnknown(text) ? { status: "unknown" } : { status: "signed-out", reason: this.#reason }
  }
}

/** Whether a request that needs the cookie came without one: it is incomplete then, unless it asks whether there is one. */
function isWithoutCookie(error: unknown): boolean {
  return hasCode(error, "invalid_request", "not_signed_in")
}

/** Whether it is still the same person: the same session, or a new one of the same user after a password change. */
export function isSamePerson(one: SignInRecord, other: SignInRecord): boolean {
  return one.session.id === other.session.id || (one.user !== null && one.user.id === other.user?.id)
}

/** What listeners are told of: a state with the same text is the same. */
function describe(state: State): string {
  return JSON.stringify(state, ["status", "reason", "session", "user", "id", "authenticated_at"])
}
