/** One request to Latchkey and its reply, as a value or as a `LatchkeyError`. */

import { LatchkeyError, isTransient } from "./error.js"
import { isObject } from "./record.js"

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE"

/** What a request holds in addition to method and path. */
export interface RequestParts {
  readonly body?: object | undefined
  readonly token?: string | undefined
  readonly deviceId?: string | undefined
  /** Sends cookies and takes those of the reply. */
  readonly withCookies?: boolean
  /** Outlives the page. */
  readonly keepalive?: boolean
}

/** Waits between attempts, unless the server says how long. Milliseconds. */
const WAITS = [250, 1_000]

/** A longer `Retry-After` is the caller's to wait for. Milliseconds. */
const LONGEST_WAIT = 5_000

export class Http {
  readonly #base: string
  readonly #timeout: number

  /** `timeout` is how long a reply may take, in milliseconds. */
  constructor(base: string, timeout: number) {
    this.#base = base
    this.#timeout = timeout
  }

  /**
   * Sends one request.
   *
   * @returns the JSON of the reply; undefined if it has no body; null for a 202, whose work a mail or a link completes
   * @throws LatchkeyError for every other reply, and for none
   */
  async send(method: Method, path: string, parts: RequestParts = {}): Promise<unknown> {
    const headers: Record<string, string> = {}
    if (parts.body) headers["content-type"] = "application/json"
    if (parts.token !== undefined) headers["authorization"] = `Bearer ${parts.token}`
    if (parts.deviceId !== undefined) headers["x-device-id"] = parts.deviceId
    let reply: Response
    let text: string
    try {
      reply = await fetch(this.#base + path, {
        method,
        headers,
        body: parts.body ? JSON.stringify(parts.body) : null,
        credentials: parts.withCookies ? "include" : "omit",
        cache: "no-store",
        redirect: "error",
        keepalive: parts.keepalive ?? false,
        signal: AbortSignal.timeout(this.#timeout),
      })
      text = await reply.text()
    } catch (cause) {
      throw new LatchkeyError("network_error", "No reply came.", { cause })
    }
    const value = parseJson(text)
    if (!reply.ok) throw readProblem(reply, value)
    if (text !== "" && value === undefined) {
      throw new LatchkeyError("unexpected_reply", "The reply is not JSON.", { status: reply.status })
    }
    return reply.status === 202 ? null : (value ?? undefined)
  }
}

/** Runs a request that may be sent again: at most three times, after the wait that the reply asks for. */
export async function repeat<Result>(task: (attempt: number) => Promise<Result>): Promise<Result> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await task(attempt)
    } catch (error) {
      if (!isTransient(error)) throw error
      const wait = error.retryAfter === null ? WAITS[attempt] : error.retryAfter * 1000
      if (wait === undefined || wait > LONGEST_WAIT || attempt === WAITS.length) throw error
      await new Promise((wake) => setTimeout(wake, wait))
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A problem (RFC 9457), or what a gateway, a firewall or a proxy says in place of one. */
function readProblem(reply: Response, body: unknown): LatchkeyError {
  const problem = isObject(body) ? body : {}
  const text = (name: string) => (typeof problem[name] === "string" ? problem[name] : undefined)
  return new LatchkeyError(
    text("code") ?? CODES[reply.status] ?? "unexpected_reply",
    text("detail") ?? `The status is ${reply.status}.`,
    {
      status: reply.status,
      requestId: text("request_id") ?? reply.headers.get("x-request-id"),
      retryAfter: readRetryAfter(reply.headers.get("retry-after")),
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

/** Seconds, from seconds or from a date (RFC 9110 section 10.2.3). */
function readRetryAfter(value: string | null): number | null {
  if (value === null) return null
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  return Number.isFinite(seconds) ? Math.max(seconds, 0) : null
}
