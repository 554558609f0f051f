/** The one error class, and every code that it can have. */

import type { InvalidValue } from "./types.js"

/** The codes of Latchkey's own replies that a user's client can meet. infra/guides/understand/clients.md says what to do on each. */
export type ProblemCode =
  // The request is wrong: a fault in the program.
  | "invalid_request"
  | "not_found"
  | "method_not_allowed"
  | "payload_too_large"
  | "uri_too_long"
  | "headers_too_large"
  | "unsupported_media_type"
  | "cross_site_request"
  | "edge_required"
  // The person must enter something else.
  | "validation_failed"
  | "weak_password"
  | "password_unchanged"
  | "email_taken"
  | "invalid_credentials"
  | "wrong_password"
  | "invalid_link"
  // The person may not, or not yet.
  | "account_disabled"
  | "registration_closed"
  | "email_not_verified"
  | "no_password"
  | "insufficient_scope"
  | "reauthentication_required"
  // The session has ended.
  | "invalid_token"
  | "invalid_refresh_token"
  | "refresh_token_reused"
  | "session_not_found"
  // Later, or not at all.
  | "too_many_requests"
  | "temporarily_unavailable"
  | "internal_error"

/** The codes of this package. */
export type ClientCode =
  /** Nobody is signed in here, no longer, or somebody else than when the call began. */
  | "not_signed_in"
  /** No reply came: offline, a timeout, a lost connection. Whether the request did its work is not known. */
  | "network_error"
  /** The reply is not one of Latchkey's, such as the page of a captive portal. */
  | "unexpected_reply"
  /** `fetch` of the client: the address is not among `apis`, so no token was sent. */
  | "origin_refused"

/** What went wrong. New codes come: treat one that you do not know as its status alone. */
export type ErrorCode = ProblemCode | ClientCode | (string & {})

/** What a `LatchkeyError` is made of. The fields are those of the error. */
export interface ErrorDetails {
  /** The HTTP status. */
  status?: number | null
  /** The id of the request. */
  requestId?: string | null
  /** Seconds. */
  retryAfter?: number | null
  /** The values that are not allowed. */
  errors?: readonly InvalidValue[]
  /** What `fetch` threw. */
  cause?: unknown
}

/** A request that did not do what it should. Decide by `code`; `message` is for developers and may change. */
export class LatchkeyError extends Error {
  /** Always `LatchkeyError`. */
  override readonly name = "LatchkeyError"
  /** What to decide by. */
  declare readonly code: ErrorCode
  /** The HTTP status of the reply. Null if there is none. */
  declare readonly status: number | null
  /** Names the request in Latchkey's log. */
  declare readonly requestId: string | null
  /** Seconds until it may be tried again, if that is known. */
  declare readonly retryAfter: number | null
  /** With `validation_failed` and `weak_password`: the values that are not allowed. */
  declare readonly errors: readonly InvalidValue[]

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details)
    this.code = code
    this.status = details.status ?? null
    this.requestId = details.requestId ?? null
    this.retryAfter = details.retryAfter ?? null
    this.errors = details.errors ?? []
  }
}

/** Whether the request may have done its work although its reply says nothing, as every 5xx may. A 429 comes in place of it. */
export function isLost(error: unknown): error is LatchkeyError {
  return hasCode(error, "network_error", "unexpected_reply") || Number((error as LatchkeyError).status) >= 500
}

/** Whether the same request may succeed later. A 500 is a fault of Latchkey's, but the token of a refresh is at stake. */
export function isTransient(error: unknown, isRefresh = false): error is LatchkeyError {
  return isLost(error) ? isRefresh || error.status !== 500 : (error as LatchkeyError).status === 429
}

/** Whether an error has one of these codes. */
export function hasCode(error: unknown, ...codes: (ProblemCode | ClientCode)[]): error is LatchkeyError {
  return (codes as string[]).includes((error as LatchkeyError).code)
}

/** Whether Latchkey has refused the access token, so that a new one may help. */
export function isRefusedToken(error: unknown): boolean {
  return hasCode(error, "invalid_token")
}

export function notSignedIn(): LatchkeyError {
  return new LatchkeyError("not_signed_in", "Nobody is signed in.")
}

/** What a proxy or a captive portal answers in place of Latchkey. */
export function unexpectedReply(status = 200): LatchkeyError {
  return new LatchkeyError("unexpected_reply", "No reply of Latchkey.", { status })
}
