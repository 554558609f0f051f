/** The client: every operation of a user, and `fetch` for the team's own APIs. */

import { DeviceStore } from "./device.js"
import { hasCode, isRefusedToken, LatchkeyError, notSignedIn, unexpectedReply } from "./error.js"
import { Http, repeat, type Method, type RequestParts } from "./http.js"
import { isObject, OWN_AUDIENCE, type Grant } from "./record.js"
import { isSamePerson, SessionKeeper, type State } from "./session.js"
import { listen, LocalStorage, MemoryStorage, RecordStore, TabMemory, type KeyValueStorage } from "./storage.js"
import type { Account, ActivityPage, Credentials, Export, Removed, Revoked, Session, SessionList, Tokens } from "./types.js"

/** An API of the team that may receive access tokens. */
export interface Api {
  /** Such as `https://api.example.com`. */
  readonly origin: string
  /** Its name in Latchkey's setting `AUDIENCES`: its tokens open nothing else. Without it, it gets Latchkey's own token. */
  readonly audience?: string
}

/** What `createClient` takes. */
export interface ClientOptions {
  /** Latchkey's address: its setting `ISSUER`. */
  readonly url: string
  /** Where the sign-in is kept: `memory` (the default), `localStorage`, which outlives the page, or your own. */
  readonly storage?: "memory" | "localStorage" | KeyValueStorage
  /** How the refresh token travels: `body` (the default), or `cookie`, which no script can read. */
  readonly transport?: "body" | "cookie"
  /** The origins, in addition to Latchkey's, to which `fetch` may send a token. */
  readonly apis?: readonly Api[]
  /** A lasting id of this installation, unique to it. Made and kept unless given, but not in memory. */
  readonly deviceId?: string
  /** How long Latchkey's reply may take, in milliseconds. 10,000 unless given. */
  readonly timeout?: number
}

/** Makes a client. It works until the page ends; `dispose` removes its listeners. */
export function createClient(options: ClientOptions): Client {
  return new Client(options)
}

/** Keeps one user signed in, and calls Latchkey and the APIs of the team for them. Made by `createClient`. */
export class Client {
  readonly #http: Http
  readonly #keeper: SessionKeeper
  readonly #storage: KeyValueStorage
  readonly #device: DeviceStore
  readonly #hasCookie: boolean
  readonly #audiences = new Map<string, string>()
  #detach: (() => void) | undefined

  /** @throws TypeError if `url` or an origin is none, or is neither https nor on this machine */
  constructor(options: ClientOptions) {
    const url = readAddress("url", options.url)
    const base = url.origin + url.pathname.replace(/\/+$/, "")
    const key = `latchkey:${base}`
    this.#hasCookie = options.transport === "cookie"
    const { storage = this.#hasCookie ? new TabMemory(key) : "memory" } = options
    this.#storage =
      storage === "memory" ? new MemoryStorage() : storage === "localStorage" ? new LocalStorage() : storage
    const deviceStorage = this.#storage instanceof TabMemory ? new LocalStorage() : this.#storage
    this.#device = new DeviceStore(deviceStorage, `${key}:device`, options.deviceId, storage !== "memory")
    this.#http = new Http(base, options.timeout ?? 10_000)
    const lockName = this.#storage.subscribe && key
    this.#keeper = new SessionKeeper(this.#http, new RecordStore(this.#storage, key, this.#hasCookie), lockName, this.#hasCookie)
    for (const { origin, audience = OWN_AUDIENCE } of options.apis ?? []) {
      const api = readAddress("apis", origin)
      // Latchkey's own origin gets Latchkey's own token, which no other API may see.
      if (api.href !== `${api.origin}/` || (audience && api.origin === url.origin)) {
        throw new TypeError(`apis cannot be ${origin}`)
      }
      this.#audiences.set(api.origin, audience)
    }
    this.#audiences.set(url.origin, OWN_AUDIENCE)
    this.#attach()
  }

  /** Who is signed in, as far as this tab knows, without a request. The same object until it changes. */
  get state(): State {
    return this.#keeper.state
  }

  /** Calls the listener when who is signed in changes, also in another tab. Returns how to stop. Works without its client. */
  readonly onChange = (listener: (state: State) => void): (() => void) => {
    this.#attach()
    return this.#keeper.onChange(listener)
  }

  /**
   * Removes all listeners and stops listening to the page's events. Calls still work, and `onChange` listens again. With cookies
   * it still hears what other tabs send and when the page comes from the back-forward cache, so that it is never the person before.
   */
  dispose(): void {
    this.#detach?.()
    this.#detach = undefined
    this.#keeper.dispose()
  }

  /** Finds out who is signed in, after a reload: with cookies that takes a request. An outage leaves it as it was. */
  async restore(): Promise<State> {
    await this.#keeper.check()
    return this.state
  }

  /**
   * Creates an account and signs in.
   *
   * @returns null if the operator wants verified addresses (`REQUIRE_VERIFIED_EMAIL`): a mail was sent, also if the address
   *   is taken, and nobody new is signed in. After its link is used (`verifyEmail`), `signIn` works
   * @throws LatchkeyError `email_taken`, `registration_closed`, `validation_failed`, `weak_password`, `too_many_requests`
   */
  register(credentials: Credentials): Promise<Session | null> {
    return this.#signIn("/v1/auth/register", credentials)
  }

  /**
   * Signs in. Ends the session that the same user had on this installation, by its lasting id.
   *
   * @throws LatchkeyError `invalid_credentials`, `account_disabled`, `email_not_verified`, `too_many_requests`
   */
  async signIn(credentials: Credentials): Promise<Session> {
    return readObject<Session>(await this.#signIn("/v1/auth/login", credentials))
  }

  /**
   * Signs out, here and in the other tabs. With a stored token that happens at once and also offline, and then Latchkey
   * is told. With cookies only Latchkey can take the cookie away, so nobody is signed out before it has answered.
   *
   * @returns false if Latchkey could not be reached: the session then lives there until it expires or is ended elsewhere
   * @throws LatchkeyError with cookies alone, if Latchkey cannot be reached: the user is still signed in, so call it again
   */
  signOut(): Promise<boolean> {
    return this.#keeper.signOut()
  }

  /** The live sessions of the user, the most recently used first. */
  getSessions(): Promise<SessionList> {
    return this.#call<SessionList>("GET", "/v1/sessions")
  }

  /** This session. */
  getSession(): Promise<Session> {
    return this.#call<Session>("GET", "/v1/sessions/current")
  }

  /**
   * Names a session. Null takes the name away.
   *
   * @throws LatchkeyError `session_not_found`, `validation_failed`
   */
  renameSession(id: string, name: string | null): Promise<Session> {
    return this.#call<Session>("PATCH", `/v1/sessions/${encodeURIComponent(id)}`, { name })
  }

  /**
   * Ends a session. With the id of this one, signs out.
   *
   * @throws LatchkeyError `session_not_found`, `reauthentication_required`
   */
  async revokeSession(id: string): Promise<void> {
    const own = this.#keeper.record?.session.id
    const isOwn = own === id.toLowerCase()
    await this.#callAs("DELETE", `/v1/sessions/${encodeURIComponent(id)}`, undefined, 204).catch((error: unknown) => {
      // The reply to the end of this session was lost, so the repeat was refused.
      if (!isOwn || this.state.status !== "signed-out") throw error
    })
    if (isOwn) this.#keeper.end(own)
  }

  /** Ends all sessions but this one. @throws LatchkeyError `reauthentication_required` */
  revokeOthers(): Promise<Revoked> {
    return this.#call<Revoked>("POST", "/v1/sessions/revoke-all?keep_current=true")
  }

  /** Ends all sessions, this one too, and signs out here. @throws LatchkeyError `reauthentication_required` */
  async logoutAll(): Promise<Revoked> {
    const { sessionId, value } = await this.#callAs("POST", "/v1/sessions/revoke-all?keep_current=false")
    const revoked = readObject<Revoked>(value)
    this.#keeper.end(sessionId)
    return revoked
  }

  /** Removes what is kept of the user's sessions that have ended. */
  removeExpiredSessions(): Promise<Removed> {
    return this.#call<Removed>("DELETE", "/v1/sessions/expired")
  }

  /** The user's account. */
  me(): Promise<Account> {
    return this.#call<Account>("GET", "/v1/me")
  }

  /**
   * Changes the password. All sessions end; this client continues in a new one.
   *
   * @throws LatchkeyError `wrong_password`, `weak_password`, `password_unchanged`, `no_password`, `too_many_requests`
   */
  changePassword(passwords: { current_password: string; new_password: string }): Promise<Session> {
    return this.#replace("PUT", "/v1/me/password", passwords)
  }

  /**
   * Proves the password again, for what answers `reauthentication_required`. Then repeat that.
   *
   * @throws LatchkeyError `wrong_password`, `no_password`, `too_many_requests`
   */
  reauthenticate(proof: { password: string }): Promise<Session> {
    return this.#replace("POST", "/v1/auth/reauthenticate", proof)
  }

  /**
   * Deletes the account and everything about it, and signs out.
   *
   * @throws LatchkeyError `reauthentication_required`, `wrong_password`, `no_password`, `too_many_requests`
   */
  async deleteAccount(proof: { password: string }): Promise<void> {
    const { sessionId } = await this.#callAs("POST", "/v1/me/delete", proof, 204)
    this.#keeper.end(sessionId)
  }

  /** What has happened to the account, the newest first. `cursor` is the `next_cursor` of the page before. */
  activity(page: { cursor?: string | null | undefined; limit?: number | undefined } = {}): Promise<ActivityPage> {
    const given = Object.entries(page).filter(([, value]) => value != null)
    return this.#call<ActivityPage>("GET", `/v1/me/activity?${new URLSearchParams(given as [string, string][])}`)
  }

  /** Everything that is stored about the user. */
  exportData(): Promise<Export> {
    return this.#call<Export>("GET", "/v1/me/export")
  }

  /**
   * Sends a link to a new address, which becomes the user's when the link is used. The link is valid as long as this session.
   *
   * @throws LatchkeyError `reauthentication_required`, `wrong_password`, `email_taken`, `no_password`, `validation_failed`
   */
  async changeEmail(request: { email: string; password: string }): Promise<void> {
    await this.#callAs("PUT", "/v1/me/email", request, 202)
  }

  /** Sends the link again that verifies the user's address. @throws LatchkeyError `no_password` */
  async requestEmailVerification(): Promise<void> {
    await this.#callAs("POST", "/v1/me/verify-email", undefined, 202)
  }

  /** Uses the link of a mail. Nobody needs to be signed in. @throws LatchkeyError `invalid_link`, `email_taken` */
  async verifyEmail(link: { token: string }): Promise<void> {
    await this.#http.send("POST", "/v1/auth/verify-email", { body: link, status: 204 })
  }

  /** Sends a link that sets a new password. The reply is the same for an address that nobody has. */
  async requestPasswordReset(request: { email: string }): Promise<void> {
    await this.#http.send("POST", "/v1/auth/password-reset", { body: request, status: 202 })
  }

  /** Uses that link. All sessions of the user end, and nobody is signed in. @throws LatchkeyError `invalid_link`, `weak_password` */
  async confirmPasswordReset(reset: { token: string; new_password: string }): Promise<void> {
    await this.#http.send("POST", "/v1/auth/password-reset/confirm", { body: reset, status: 204 })
  }

  /**
   * An access token that is valid now, for what `fetch` cannot do, such as a WebSocket. Ask again for each use.
   *
   * @param audience one of Latchkey's `AUDIENCES`; Latchkey itself unless given
   * @throws LatchkeyError `not_signed_in`, or why it cannot be refreshed
   */
  async getAccessToken(audience: string = OWN_AUDIENCE): Promise<string> {
    return (await this.#keeper.obtain(audience)).token
  }

  /**
   * `fetch` with the access token, for Latchkey and the origins of `apis`. After a 401 it refreshes once and sends the
   * request once more, unless its body can be read only once, as a stream. Returns every reply, whatever its status.
   *
   * @throws LatchkeyError `origin_refused`, `not_signed_in`, or why there is no token; and what `fetch` throws
   */
  async fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const request = input instanceof Request ? input : undefined
    const url = new URL(request?.url ?? (input as string | URL), globalThis.location?.href)
    const audience = this.#audiences.get(url.origin)
    if (audience === undefined) throw new LatchkeyError("origin_refused", `${url.origin} is not among apis.`)
    const signal = init.signal ?? request?.signal
    const send = ({ token }: Grant) => {
      const headers = new Headers(init.headers ?? request?.headers)
      headers.set("authorization", `Bearer ${token}`)
      return fetch(request?.clone() ?? url, { ...init, headers })
    }
    const first = await orAborted(this.#keeper.obtain(audience), signal)
    const reply = await send(first)
    if (reply.status !== 401 || !isRepeatable(init.body) || asksForPassword(reply)) return reply
    await reply.body?.cancel()
    const second = await orAborted(this.#keeper.obtain(audience, first.token), signal)
    if (!isSamePerson(first.record, second.record)) throw notSignedIn()
    return send(second)
  }

  async #signIn(path: string, credentials: Credentials): Promise<Session | null> {
    const { token } = this.#device.read()
    const body = this.#hasCookie
      ? { ...credentials, transport: "cookie" }
      : { ...credentials, device_token: token }
    const parts = { body, deviceId: this.#device.prepareId(), withCookies: this.#hasCookie }
    const reply = await this.#keeper.signIn(() => this.#http.send("POST", path, parts))
    return reply && this.#accept(reply)
  }

  async #replace(method: Method, path: string, body: object): Promise<Session> {
    const withCookies = this.#hasCookie
    return this.#accept(await this.#keeper.replace((token) => this.#http.send(method, path, { body, token, withCookies })))
  }

  #accept({ device_token, session }: Tokens): Session {
    this.#device.keepToken(device_token)
    return session
  }

  async #call<Value>(method: Method, path: string, body?: object): Promise<Value> {
    return readObject<Value>((await this.#callAs(method, path, body)).value)
  }

  /** Calls Latchkey as the user, with one refresh and one repeat after a refused token. Says whose session it was. */
  async #callAs(method: Method, path: string, body?: object, status?: number): Promise<{ value: unknown; sessionId: string }> {
    const first = await this.#keeper.obtain(OWN_AUDIENCE)
    const send = async ({ token, record }: Grant) => {
      return { value: await this.#send(method, path, { body, token, status }), sessionId: record.session.id }
    }
    try {
      return await send(first)
    } catch (error) {
      if (!isRefusedToken(error)) throw error
      const second = await this.#keeper.obtain(OWN_AUDIENCE, first.token)
      if (!isSamePerson(first.record, second.record)) throw notSignedIn()
      return await send(second)
    }
  }

  /** Sends again after no reply, and after a 503, if that changes nothing. */
  async #send(method: Method, path: string, parts: RequestParts): Promise<unknown> {
    if (method === "POST" || method === "PUT") return this.#http.send(method, path, parts)
    return repeat((attempt) =>
      this.#http.send(method, path, parts).catch((error: unknown) => {
        // The deletion before this one had worked, and only its reply was lost.
        if (!attempt || method !== "DELETE" || !hasCode(error, "session_not_found")) throw error
      }),
    )
  }

  /** Listens to what may have changed who is signed in, or ended a sleep. */
  #attach(): void {
    if (this.#detach) return
    const page = globalThis.document
    const check = () => {
      if (page?.visibilityState !== "hidden") void this.#keeper.check()
    }
    const stops = [
      // Later, because a storage may call while it is written to, which is under the lock.
      this.#storage.subscribe?.(() => setTimeout(() => this.#keeper.update())),
      listen(page, ["visibilitychange"], check),
      listen(page && globalThis, ["pageshow", "online"], check),
    ]
    this.#detach = () => {
      for (const stop of stops) stop?.()
    }
    this.#keeper.update()
  }
}

/** The address in an option. Tokens are sent over https, or to this machine. */
function readAddress(option: string, text: string): URL {
  const url = new URL(text)
  if (!/^https:|^http:..(localhost|127\.0\.0\.1|\[::1])(:|$)/.test(url.origin)) throw new TypeError(`${option} cannot be ${text}`)
  return url
}

/** The value of a reply that must have one. */
function readObject<Value>(value: unknown): Value {
  if (!isObject(value)) throw unexpectedReply()
  return value as Value
}

/** Whether a body can be read again. Of those that `fetch` takes, only streams and what Node.js makes one of cannot. */
function isRepeatable(body: unknown): boolean {
  return !(body instanceof ReadableStream || (body as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator])
}

/** Whether a server wants the password again (RFC 9470): a refresh would not help. */
function asksForPassword(reply: Response): boolean | undefined {
  return reply.headers.get("www-authenticate")?.includes("insufficient_user_authentication")
}

/** Waits for work that others wait for too, so a caller who gives up leaves it running. */
function orAborted<Result>(work: Promise<Result>, signal: AbortSignal | undefined): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal!.reason)
    if (signal?.aborted) abort()
    work.then(resolve, reject).finally(listen(signal, ["abort"], abort))
  })
}
