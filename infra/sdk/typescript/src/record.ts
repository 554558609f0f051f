/** What is stored about a sign-in: one JSON text, so that it is always replaced as a whole. */

import type { Anchor, Moment, ServerClock } from "./clock.js"
import { unexpectedReply } from "./error.js"
import type { Session, Tokens, User } from "./types.js"

/** An access token and, in the server's time, when it is to be replaced and when it expires. Milliseconds. */
export interface AccessToken {
  readonly token: string
  readonly stale_at: number
  readonly expires_at: number
}

/** A sign-in. `access` holds one token for each audience; the empty one is Latchkey itself. */
export interface SignInRecord {
  readonly version: 1
  /** Null where a cookie holds it. */
  readonly refresh_token: string | null
  readonly session: Session
  /** Null if no reply has told: a refresh with a cookie after a reload. */
  readonly user: User | null
  readonly access: Readonly<Record<string, AccessToken>>
  readonly anchor: Anchor
  /** Until this moment of the wall clock, the reply of a request that replaces the session may still come. */
  readonly replaced_until?: number | undefined
}

/** An access token that can be used now, and the sign-in that it belongs to. */
export interface Grant {
  readonly token: string
  readonly record: SignInRecord
}

/** The audience of Latchkey itself. */
export const OWN_AUDIENCE = ""

/** An access token is replaced this long before it expires, or after half of its life. Milliseconds. */
const MARGIN = 30_000

/**
 * Makes the record of a reply with tokens, and says which access token is the new one. What stays of an earlier record of
 * the same session: the user and the access tokens for other audiences. `hasCookie` says that a cookie has the refresh token.
 *
 * @throws LatchkeyError `unexpected_reply` if the reply has no tokens
 */
export function readTokens(
  reply: unknown,
  clock: ServerClock,
  sentAt: Moment,
  hasCookie: boolean,
  audience = OWN_AUDIENCE,
  before: SignInRecord | null = null,
): Grant & { readonly reply: Tokens } {
  if (!isTokens(reply) || (!hasCookie && !isToken(reply.refresh_token))) throw unexpectedReply()
  // The session ends when its refresh token does, so the two fields together tell the server's time.
  const server = Date.parse(reply.session.expires_at) - reply.refresh_expires_in * 1000
  const life = reply.expires_in * 1000
  const access: AccessToken = {
    token: reply.access_token,
    stale_at: server + life - Math.min(MARGIN, life / 2),
    expires_at: server + life,
  }
  const same = before?.session.id === reply.session.id ? before : null
  const record: SignInRecord = {
    ...same,
    version: 1,
    refresh_token: reply.refresh_token ?? null,
    session: reply.session,
    user: reply.user ?? same?.user ?? null,
    access: { ...same?.access, [audience]: access },
    anchor: clock.synchronize(server, sentAt),
  }
  return { token: access.token, record, reply }
}

/** Reads a record. Null for every other text: what cannot be used means that nobody is signed in. */
export function parseRecord(text: string | null, hasCookie: boolean): SignInRecord | null {
  try {
    // Another structure either fails a condition or throws.
    const value = JSON.parse(text!)
    const { refresh_token, session, user, access, anchor } = value
    const isRecord =
      value.version === 1 &&
      (refresh_token === null ? hasCookie : isToken(refresh_token)) &&
      isToken(session.id) &&
      typeof user === "object" &&
      Number.isFinite(anchor.server + anchor.wall) &&
      Object.values<AccessToken>(access).every((one) => isToken(one.token) && Number.isFinite(one.stale_at + one.expires_at))
    return isRecord ? value : null
  } catch {
    return null
  }
}

/** Every other structure fails a condition. */
function isTokens(value: any): value is Tokens {
  return (
    isToken(value?.access_token) &&
    isToken(value.session?.id) &&
    [value.expires_in, value.refresh_expires_in, Date.parse(value.session.expires_at)].every(Number.isFinite)
  )
}

/** Whether a header can hold the text. Any other would make each request fail, as if there were no network. */
export function isToken(value: unknown): value is string {
  return typeof value === "string" && /^[!-~]{1,8192}$/.test(value)
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
