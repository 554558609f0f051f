/** Who is signed in, and the refresh: one for all callers and, with the lock, for all tabs. */

import { currentMoment, elapsedSince, ServerClock, type Moment } from "./clock.js"
import { isTransient, LatchkeyError, notSignedIn } from "./error.js"
import { repeat, type Http } from "./http.js"
import { Lock } from "./lock.js"
import { OWN_AUDIENCE, readTokens, type Grant, type SignInRecord } from "./record.js"
import type { RecordStore } from "./storage.js"
import type { Session, User } from "./types.js"

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
  /** The session, as the last reply with tokens described it. */
  readonly session: Session
  /** Whose it is. Null with cookies after a reload, because no reply has told; `me()` asks. */
  readonly user: User | null
}

/** Nobody is signed in. */
export interface SignedOut {
  /** What tells the states apart. */
  readonly status: "signed-out"
  /** The code that ended the session, `signed_out` for a sign-out here, null if it is not known. */
  readonly reason: string | null
}

/** The codes of a refresh that mean that its session is over. Nothing else signs anybody out. */
const ENDING = ["invalid_refresh_token", "refresh_token_reused"]

/** How often a refresh begins again because the storage has changed while it waited for its reply. */
const ROUNDS = 3

/** However long a `Retry-After` is, whoever sent it: a refresh is asked for again after so many seconds. */
const LONGEST_PAUSE = 60

export class SessionKeeper {
  readonly #http: Http
  readonly #store: RecordStore
  readonly #lock: Lock
  readonly #signIns: Lock
  readonly #clock = new ServerClock()
  readonly #hasCookie: boolean
  readonly #refreshes = new Map<string, Promise<Grant>>()
  readonly #listeners = new Set<(state: State) => void>()
  #state: State
  #reason: string | null = null
  /** The session that this tab has ended: another tab's late reply must not bring it back. */
  #endedId: string | undefined
  /** Until when the server wants no refresh, and what it said. */
  #pause: { error: LatchkeyError; since: Moment } | undefined

  constructor(http: Http, store: RecordStore, lockName: string, hasCookie: boolean) {
    this.#http = http
    this.#store = store
    this.#lock = new Lock(lockName)
    this.#signIns = new Lock(`${lockName}:sign-in`)
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
    const access = record?.access[audience]
    const usable = record && access && access.token !== refused ? { token: access.token, record } : undefined
    if (usable && access && this.#clock.now(usable.record.anchor) < access.stale_at) return usable
    let grant: Grant
    try {
      grant = await this.#refresh(audience, refused)
    } catch (error) {
      // An outage costs nothing as long as the token that we have is valid.
      if (usable && access && isTransient(error) && this.#clock.now(usable.record.anchor) < access.expires_at) return usable
      throw error
    }
    // Somebody else may have signed in meanwhile: what one person has asked for is not done as another.
    if (record && !isSamePerson(record, grant.record)) throw notSignedIn()
    return grant
  }

  /**
   * Sends a sign-in or a registration and stores its tokens; null if there are none yet. One after another, because each
   * ends the session that this installation had: the last reply must be that of the last session.
   */
  async signIn(send: () => Promise<unknown>): Promise<{ reply: unknown; record: SignInRecord } | null> {
    try {
      return await this.#signIns.run(async () => {
        const sentAt = currentMoment()
        const reply = await send()
        if (reply === null) return null
        const { record } = readTokens(reply, OWN_AUDIENCE, this.#clock, sentAt, this.#hasCookie)
        this.#reason = null
        this.#store.write(record)
        return { reply, record }
      })
    } finally {
      this.update()
    }
  }

  /** Sends a request that replaces the tokens, while no refresh is under way, and stores those of its reply. */
  async replace(send: (token: string) => Promise<unknown>, refused?: string): Promise<{ reply: unknown; record: SignInRecord }> {
    const { token, record } = await this.obtain(OWN_AUDIENCE, refused)
    try {
      return await this.#lock.run(async () => {
        const sentAt = currentMoment()
        const reply = await send(token)
        const { token: nextToken, record: next } = readTokens(reply, OWN_AUDIENCE, this.#clock, sentAt, this.#hasCookie)
        if (this.#read().record?.session.id !== record.session.id) {
          // The user has signed out, or somebody else has signed in, since it was sent: nobody holds this new session.
          await this.#http.send("POST", "/v1/auth/logout", { token: nextToken }).catch(() => {})
          throw notSignedIn()
        }
        // Tokens for other audiences are left behind: they do not hold this proof of the password.
        const kept = { ...next, user: next.user ?? record.user }
        this.#store.write(kept)
        return { reply, record: kept }
      })
    } catch (error) {
      if (refused !== undefined || !isRefusedToken(error)) throw error
      return await this.replace(send, token)
    } finally {
      this.update()
    }
  }

  /** Forgets the sign-in, here and in the other tabs. Returns what it was. */
  end(reason: string): SignInRecord | null {
    const { record } = this.#forget(reason)
    this.update()
    return record
  }

  /** Finds out who is signed in and tells the listeners, if that has changed. Never called while the lock is held. */
  update(): void {
    const state = this.#findState()
    if (state.status === "signed-in") this.#reason = null // why the session before this one has ended
    if (isSame(state, this.#state)) return
    this.#state = state
    for (const listener of [...this.#listeners]) {
      try {
        listener(state)
      } catch (error) {
        // A listener's fault is the page's to report, and no reason to stop here.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  #refresh(audience: string, refused: string | undefined): Promise<Grant> {
    const running = this.#refreshes.get(audience)
    if (running) return running
    const refresh = this.#refreshUntilAnswered(audience, refused).finally(() => {
      this.#refreshes.delete(audience)
      this.update()
    })
    this.#refreshes.set(audience, refresh)
    return refresh
  }

  async #refreshUntilAnswered(audience: string, refused: string | undefined): Promise<Grant> {
    try {
      return await repeat(() => this.#lock.run(() => this.#refreshOnce(audience, refused)))
    } catch (error) {
      if (isTransient(error) && error.retryAfter !== null) this.#pause ??= { error, since: currentMoment() }
      throw error
    }
  }

  /** Reads again, asks, and stores. Runs under the lock. */
  async #refreshOnce(audience: string, refused: string | undefined): Promise<Grant> {
    for (let round = 0; round < ROUNDS; round++) {
      const { text, record } = this.#read()
      if (!record && !this.#isUnknown(text)) throw notSignedIn()
      const access = record?.access[audience]
      if (record && access && access.token !== refused && this.#clock.now(record.anchor) < access.stale_at) {
        return { token: access.token, record } // another tab was faster
      }
      this.#obeyPause()
      const sentAt = currentMoment()
      let reply: unknown
      try {
        reply = await this.#http.send("POST", "/v1/auth/refresh", this.#describeRefresh(record, audience))
      } catch (error) {
        if (this.#read().text !== text) continue // the refusal is about a sign-in that is no longer here
        if (this.#isEnding(error)) this.#forget(error.status === 401 ? error.code : null)
        throw error
      }
      const next = readTokens(reply, audience, this.#clock, sentAt, this.#hasCookie, record)
      if (this.#read().text !== text) continue // a late result is never written over a newer one
      this.#store.write(next.record)
      return next
    }
    throw new LatchkeyError("network_error", "The stored sign-in changed each time it was refreshed.")
  }

  #describeRefresh(record: SignInRecord | null, audience: string) {
    const body = {
      ...(!this.#hasCookie && { refresh_token: record?.refresh_token }),
      ...(audience !== OWN_AUDIENCE && { audience }),
    }
    return { body, withCookies: this.#hasCookie }
  }

  /** Whether a reply to a refresh means that nobody is signed in. Without any cookie the request is incomplete. */
  #isEnding(error: unknown): error is LatchkeyError {
    if (!(error instanceof LatchkeyError)) return false
    if (error.status === 401) return ENDING.includes(error.code)
    return this.#hasCookie && error.status === 400 && error.code === "invalid_request"
  }

  #obeyPause(): void {
    if (!this.#pause) return
    const { error, since } = this.#pause
    const left = Math.min(error.retryAfter ?? 0, LONGEST_PAUSE) - elapsedSince(since) / 1000
    if (left > 0) throw new LatchkeyError(error.code, error.message, { ...error, retryAfter: left, cause: error })
    this.#pause = undefined
  }

  #read() {
    const stored = this.#store.read()
    if (!stored.record || stored.record.session.id !== this.#endedId) return stored
    this.#store.clear()
    return this.#store.read()
  }

  #forget(reason: string | null) {
    const stored = this.#read()
    this.#reason = reason
    this.#endedId = stored.record?.session.id ?? this.#endedId
    this.#store.clear()
    return stored
  }

  /** With cookies and nothing stored, only the server knows. */
  #isUnknown(text: string | null): boolean {
    return this.#hasCookie && text === null
  }

  #findState(): State {
    const { text, record } = this.#read()
    if (record) return { status: "signed-in", session: record.session, user: record.user }
    return this.#isUnknown(text) ? { status: "unknown" } : { status: "signed-out", reason: this.#reason }
  }
}

/** Whether Latchkey has refused the access token, so that a new one may help. */
export function isRefusedToken(error: unknown): boolean {
  return error instanceof LatchkeyError && error.status === 401 && error.code === "invalid_token"
}

/** Whether it is still the same person: the same session, or a new one of the same user after a password change. */
export function isSamePerson(one: SignInRecord, other: SignInRecord): boolean {
  return one.session.id === other.session.id || (one.user !== null && one.user.id === other.user?.id)
}

function isSame(one: State, other: State): boolean {
  if (one.status === "signed-in" && other.status === "signed-in") {
    return one.session.id === other.session.id && one.user?.id === other.user?.id
  }
  if (one.status === "signed-out" && other.status === "signed-out") return one.reason === other.reason
  return one.status === other.status
}
