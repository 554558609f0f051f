/** One request to Latchkey and its reply, as a value or as a `LatchkeyError`. */

import { LatchkeyError, isTransient, unexpectedReply } from "./error.js"
import { isObject } from "./record.js"

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE"

/** What a request holds in addition to method and path. */
export interface RequestParts {
  readonly body?: object | undefined
  readonly token?: string | undefined
  readonly deviceId?: string | false | undefined
  /** Sends cookies and takes those of the reply. */
  readonly withCookies?: boolean
  /** The status that says that it is done, where the reply has no value that would. Such a request outlives the page. */
  readonly status?: number | undefined
}

/** A longer `Retry-After` is the caller's to wait for. Milliseconds. */
const LONGEST_WAIT = 5_000

export class Http {
  readonly #base: string
  /** How long a reply may take, in milliseconds. */
  readonly timeout: number

  constructor(base: string, timeout: number) {
    this.#base = base
    this.timeout = timeout
  }

  /**
   * Sends one request.
   *
   * @returns the object in the reply; the status if there is none, and for a 202, whose work a mail or a link completes
   * @throws LatchkeyError for every other reply, for one with another status than `parts` wants, and for none
   */
  async send(method: Method, path: string, parts: RequestParts = {}): Promise<unknown> {
    const { body, token, deviceId } = parts
    const headers: Record<string, string> = {
      ...(body && { "content-type": "application/json" }),
      ...(token && { authorization: `Bearer ${token}` }),
      ...(deviceId && { "x-device-id": deviceId }),
    }
    let reply: Response
    let text: string
    try {
      reply = await fetch(this.#base + path, {
        method,
        headers,
        body: JSON.stringify(body),
        credentials: parts.withCookies ? "include" : "omit",
        cache: "no-store",
        redirect: "error",
        keepalive: !!parts.status,
        signal: AbortSignal.timeout(this.timeout),
      })
      text = await reply.text()
    } catch (cause) {
      throw new LatchkeyError("network_error", `No reply of ${this.#base}.`, { cause })
    }
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      // An empty reply, or none of Latchkey's.
    }
    if (!reply.ok) throw readProblem(reply, value)
    const { status } = reply
    // A firewall's challenge is a 202 without a body, as ours is, but only ours has the id.
    const isForeign = status === 202 && !reply.headers.has("x-request-id")
    if (isForeign || (text && value === undefined) || status !== (parts.status ?? status)) throw unexpectedReply(status)
    return status !== 202 && isObject(value) ? value : status
  }
}

/** Runs a request that may be sent again: at most three times, after the wait that the reply asks for, 250 ms or a second. */
export async function repeat<Result>(task: (attempt: number) => Promise<Result>, isRefresh = false): Promise<Result> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await task(attempt)
    } catch (error) {
      if (attempt > 1 || !isTransient(error, isRefresh)) throw error
      const wait = (error.retryAfter ?? 4 ** attempt / 4) * 1000
      if (wait > LONGEST_WAIT) throw error
      await pass(wait)
    }
  }
}

/** Lets so many milliseconds pass. */
export function pass(milliseconds: number): Promise<unknown> {
  return new Promise((wake) => setTimeout(wake, milliseconds))
}

/** A problem (RFC 9457), or what a gateway, a firewall or a proxy says in place of one. */
function readProblem(reply: Response, body: unknown): LatchkeyError {
  const problem = isObject(body) ? body : {}
  const text = (name: string) => (typeof problem[name] === "string" ? problem[name] : undefined)
  // The other form of `Retry-After`, a date, is never Latchkey's.
  const seconds = reply.headers.get("retry-after") as string
  return new LatchkeyError(
    text("code") ?? CODES[reply.status] ?? "unexpected_reply",
    text("detail") ?? `Status ${reply.status}.`,
    {
      status: reply.status,
      requestId: text("request_id") ?? reply.headers.get("x-request-id"),
      retryAfter: /^\d+$/.test(seconds) ? Number(seconds) : null,
      ...(Array.isArray(problem["errors"]) && { errors: problem["errors"] }),
    },
  )
}

const CODES: Readonly<Record<number, string>> = {
  429: "too_many_requests",
  500: "internal_error",
  502: "temporarily_unavailable",
  503: "temporarily_unavailable",
  504: "temporarily_unavailable",
}
