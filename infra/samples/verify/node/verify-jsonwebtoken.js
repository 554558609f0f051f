// Verifies Latchkey's access tokens with jsonwebtoken and jwks-rsa, which know no Ed25519: for TOKEN_ALGORITHM=RS256 alone.
// See infra/guides/understand/protect-your-api.md. As a program it works as infra/sdk/typescript/examples/verify.js does,
// without --strict.

import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import jwt from 'jsonwebtoken'
import jwksRsa from 'jwks-rsa'

const CLAIMS = ['iss', 'aud', 'client_id', 'sub', 'sid', 'jti', 'iat', 'exp', 'auth_time']

/** The token is not valid. Answer 401. */
export class Refused extends Error {}

/** Whether the token is valid cannot be said now. Answer 503, never 200. */
export class Unavailable extends Error {}

/** Make one and keep it: it keeps the keys for five minutes. */
export class Verifier {
  constructor(issuer, audience) {
    this.issuer = issuer
    this.audience = audience
    this.keys = jwksRsa({
      jwksUri: issuer + '/.well-known/jwks.json',
      cacheMaxAge: 300_000,
      timeout: 5_000,
      rateLimit: true, // a token with a made-up key must not make it ask each time
    })
  }

  /** The claims of a token that this issuer made for this audience and that has not expired. */
  async verify(token) {
    const header = jwt.decode(token, { complete: true })?.header
    // The type is part of what is signed. Without this check, any token of the same key would pass.
    if (header?.typ !== 'at+jwt' || !header.kid) throw new Refused('not an access token')
    const key = await this.keys.getSigningKey(header.kid).catch((error) => {
      throw error instanceof jwksRsa.SigningKeyNotFoundError ? new Refused(error.message) : new Unavailable(error.message)
    })
    try {
      const claims = jwt.verify(token, key.getPublicKey(), {
        algorithms: ['RS256'], // never taken from the token
        issuer: this.issuer,
        audience: this.audience,
        clockTolerance: 5, // seconds by which the clocks may differ
      })
      const missing = CLAIMS.find((name) => !(name in claims))
      if (missing) throw new Refused(`no ${missing}`)
      return claims
    } catch (error) {
      throw error instanceof Refused ? error : new Refused(error.message)
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const missing = ['ISSUER', 'AUDIENCE'].filter((name) => !process.env[name])
  if (missing.length > 0) {
    console.error(`${missing.join(' and ')} must be set: ISSUER=https://auth.example.com AUDIENCE=https://orders.example.com`)
    process.exit(2)
  }
  const verifier = new Verifier(process.env.ISSUER, process.env.AUDIENCE)
  try {
    const claims = await verifier.verify((await text(process.stdin)).trim())
    console.log('accepted:', claims.sub, claims.sid)
  } catch (reason) {
    const isRefused = reason instanceof Refused
    console.log(isRefused ? 'refused:' : 'unavailable:', reason.message)
    process.exitCode = isRefused ? 1 : 2
  }
}
