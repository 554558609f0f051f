/**
 * Verifies access tokens in a back end, with jose.
 *
 * `verify` goes by the signature: it accepts the last token of a session that has ended until that token expires, up to 15
 * minutes later (`ACCESS_TOKEN_SECONDS`). Where that matters, `verifyLive` asks Latchkey, at one request each time.
 */

import { createLocalJWKSet, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from "jose"

/** What a verifier accepts. */
export interface VerifierOptions {
  /** Latchkey's setting `ISSUER`, character by character. */
  readonly issuer: string
  /** The name of this API in Latchkey's `AUDIENCES`, or Latchkey's own `AUDIENCE`. */
  readonly audience: string
  /** By how many seconds the clocks may differ. 5 unless given. */
  readonly clockTolerance?: number
  /** How long Latchkey's reply may take, in milliseconds. 5,000 unless given. */
  readonly timeout?: number
}

/** What a route asks for in addition. */
export interface Requirements {
  /** Words divided by spaces that the token's `scope` must all have. */
  readonly scope?: string
  /** How many seconds ago the user may have proved who they are (`auth_time`). */
  readonly maxAge?: number
}

/** The claims of an access token (RFC 9068). */
export interface AccessTokenClaims extends JWTPayload {
  /** The issuer. */
  iss: string
  /** The audience. */
  aud: string
  /** Latchkey's setting `CLIENT_ID`. */
  client_id: string
  /** The user. */
  sub: string
  /** The session. */
  sid: string
  /** This token. */
  jti: string
  /** When it was made, in epoch seconds. */
  iat: number
  /** When it expires, in epoch seconds. */
  exp: number
  /** When the user last proved who they are, in epoch seconds. */
  auth_time: number
  /** How they did it (RFC 8176). */
  amr?: string[]
  /** What it allows, words divided by spaces. */
  scope?: string
}

/** Why a token is not accepted. RFC 6750 and RFC 9470 define the first three. */
export type VerificationCode =
  | "invalid_token"
  | "insufficient_scope"
  | "insufficient_user_authentication"
  /** Latchkey cannot be asked, so nothing is known about the token. */
  | "keys_unavailable"

/** A token that is not accepted. Answer with `status` and, if there is one, `challenge` as `WWW-Authenticate`. */
export class VerificationError extends Error {
  /** Always `VerificationError`. */
  override readonly name = "VerificationError"
  /** What to decide by. */
  readonly code: VerificationCode
  /** 401, 403 for the scope, or 503 when it cannot be said: a 401 would sign users out, a 200 let anybody in. */
  readonly status: 401 | 403 | 503
  /** The value of `WWW-Authenticate` (RFC 6750), null with 503. */
  readonly challenge: string | null

  constructor(code: VerificationCode, message: string, details: { cause?: unknown; challenge?: string } = {}) {
    super(message, "cause" in details ? { cause: details.cause } : {})
    this.code = code
    this.status = code === "insufficient_scope" ? 403 : code === "keys_unavailable" ? 503 : 401
    this.challenge = this.status === 503 ? null : (details.challenge ?? `Bearer error="${code}"`)
  }
}

/** Verifies tokens of one issuer for one audience. Made by `createVerifier`. */
export interface Verifier {
  /**
   * The claims of a token that the issuer made for this audience and that has not expired.
   *
   * @throws VerificationError
   */
  verify(token: string, requirements?: Requirements): Promise<AccessTokenClaims>
  /**
   * The same, and the session has not ended: asks `GET /v1/me`. Needs a token with Latchkey's own audience.
   *
   * @throws VerificationError
   */
  verifyLive(token: string, requirements?: Requirements): Promise<AccessTokenClaims>
}

const CLAIMS = ["client_id", "sub", "sid", "jti", "iat", "exp", "auth_time"]

/** How long the key set is used without being read again, as its `Cache-Control` says. Milliseconds, as all that follow. */
const LIFESPAN = 300_000
/** How long it is used while it cannot be read again. A new key is published for longer before it signs. */
const LONGEST_USE = 7_200_000
/** Between two reads at least, whatever tokens arrive: made-up keys must not make us ask each time. */
const PAUSE = 30_000
/** The same while no key set has been read yet. */
const FIRST_PAUSE = 1_000

/**
 * Makes a verifier. Keep it: it keeps the published keys for five minutes, for two hours while they cannot be read again, and
 * reads them again for an unknown key.
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { issuer, audience, clockTolerance = 5, timeout = 5_000 } = options
  const keys = createKeySet(`${issuer}/.well-known/jwks.json`, timeout)

  const verify = async (token: string, requirements: Requirements = {}) => {
    let claims: AccessTokenClaims
    try {
      const verified = await jwtVerify<AccessTokenClaims>(token, keys, {
        algorithms: ["EdDSA", "RS256"], // never taken from the token; each key has one
        typ: "at+jwt", // without this, any token of the same key would pass
        issuer,
        audience,
        requiredClaims: CLAIMS,
        clockTolerance, // seconds by which the clocks may differ
      })
      claims = verified.payload
    } catch (cause) {
      if (cause instanceof VerificationError) throw cause
      throw new VerificationError(cause instanceof errors.JOSEError ? "invalid_token" : "keys_unavailable", String(cause), { cause })
    }
    if (typeof claims.aud !== "string") throw new VerificationError("invalid_token", "The token is for several audiences.")
    checkRequirements(claims, requirements, clockTolerance)
    return claims
  }

  const verifyLive = async (token: string, requirements?: Requirements) => {
    const claims = await verify(token, requirements)
    // Latchkey answers no token that is for another audience alone.
    checkRequirements(claims, { scope: "account" }, clockTolerance)
    let status: number
    let account: unknown
    try {
      const reply = await fetch(`${issuer}/v1/me`, {
        headers: { authorization: `Bearer ${token}` },
        redirect: "error",
        signal: AbortSignal.timeout(timeout),
      })
      status = reply.status
      account = status === 200 ? await reply.json() : await reply.body?.cancel()
    } catch (cause) {
      throw new VerificationError("keys_unavailable", "Latchkey does not reply.", { cause })
    }
    if (status === 401) throw new VerificationError("invalid_token", "The session has ended.")
    const id = (account as { id?: unknown } | null | undefined)?.id
    if (typeof id !== "string") throw new VerificationError("keys_unavailable", `No account came, with the status ${status}.`)
    if (id !== claims.sub) throw new VerificationError("invalid_token", "The session is another user's.")
    return claims
  }

  return { verify, verifyLive }
}

/**
 * The token in an `Authorization` header (RFC 6750 section 2.1).
 *
 * @throws VerificationError `invalid_token`, with a challenge that names no error, if there is none
 */
export function readBearerToken(authorization: string | null | undefined): string {
  const token = /^Bearer +([\w.~+/-]+=*)$/i.exec(authorization ?? "")?.[1]
  if (token === undefined) throw new VerificationError("invalid_token", "There is no bearer token.", { challenge: "Bearer" })
  return token
}

function checkRequirements(claims: AccessTokenClaims, { scope, maxAge }: Requirements, tolerance: number): void {
  const granted = new Set(typeof claims.scope === "string" ? claims.scope.split(" ") : [])
  if (scope?.split(" ").some((word) => !granted.has(word))) {
    const challenge = `Bearer error="insufficient_scope", scope="${scope}"`
    throw new VerificationError("insufficient_scope", `The scope must have: ${scope}.`, { challenge })
  }
  if (maxAge !== undefined && !(claims.auth_time + maxAge + tolerance >= Date.now() / 1000)) {
    const challenge = `Bearer error="insufficient_user_authentication", max_age="${maxAge}"`
    throw new VerificationError("insufficient_user_authentication", "The proof of the password is too old.", { challenge })
  }
}

/** The published keys, read when they are due. While they cannot be, those that were read before count for `LONGEST_USE`. */
function createKeySet(url: string, timeout: number): JWTVerifyGetKey {
  let keys: JWTVerifyGetKey | undefined
  let [readAt, triedAt] = [-Infinity, -Infinity]
  let reading: Promise<void> | undefined
  const age = () => performance.now() - readAt

  const read = async () => {
    let isRead = false
    try {
      const reply = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(timeout) })
      const set = await reply.json()
      if (reply.status === 200 && set.keys.length > 0) {
        keys = createLocalJWKSet(set)
        isRead = true
      }
    } catch {
      // Whether the keys that are there may still be used is decided below.
    }
    triedAt = performance.now()
    if (isRead) readAt = triedAt
    reading = undefined
  }
  /** One reads; those who cannot do without wait for it. */
  const readIfDue = async (isNeeded: boolean) => {
    if (reading) return isNeeded ? reading : undefined
    if (performance.now() - triedAt >= (keys ? PAUSE : FIRST_PAUSE)) await (reading = read())
  }

  return async (header, token) => {
    if (age() >= LIFESPAN) await readIfDue(age() > LONGEST_USE)
    if (!keys || age() > LONGEST_USE) throw new VerificationError("keys_unavailable", "The published keys cannot be read.")
    try {
      return await keys(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      await readIfDue(true)
      if (triedAt > readAt) throw new VerificationError("keys_unavailable", "The key is not known, and the published keys cannot be read.")
      return keys(header, token)
    }
  }
}
