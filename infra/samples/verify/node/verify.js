// Verifies Latchkey's access tokens, for an API of yours: infra/guides/understand/protect-your-api.md.
//
// As a program it reads one token from standard input and exits with 0 if it is accepted, with 1 if it is refused, with 2
// if that cannot be said:
//
//   ISSUER=https://auth.example.com AUDIENCE=https://orders.example.com node verify.js [--strict] < token
//
// AUDIENCE is the name of your API in Latchkey's setting AUDIENCES. --strict needs a token with Latchkey's own audience,
// because it asks Latchkey with it.

import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'

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
    // A token with an unknown key makes it ask again, at most every 30 seconds.
    this.keys = createRemoteJWKSet(new URL(issuer + '/.well-known/jwks.json'), {
      cacheMaxAge: 300_000,
      cooldownDuration: 30_000,
      timeoutDuration: 5_000,
    })
  }

  /** The claims of a token that this issuer made for this audience and that has not expired. */
  async verify(token) {
    try {
      const { payload } = await jwtVerify(token, this.keys, {
        algorithms: ['EdDSA', 'RS256'], // never taken from the token; each key has one
        typ: 'at+jwt', // without this, any token of the same key would pass
        issuer: this.issuer,
        audience: this.audience,
        requiredClaims: CLAIMS,
        clockTolerance: 5, // seconds by which the clocks may differ
      })
      return payload
    } catch (error) {
      throw isOfTheToken(error) ? new Refused(error.message) : new Unavailable(error.message)
    }
  }

  /** The same, and the session has not ended: asks Latchkey, which costs one request. */
  async verifyNow(token) {
    const claims = await this.verify(token)
    let reply, account
    try {
      reply = await fetch(this.issuer + '/v1/me', {
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(5_000),
      })
      account = await reply.json()
    } catch (error) {
      throw new Unavailable(error.message)
    }
    if (reply.status === 401) throw new Refused('the session has ended')
    if (reply.status !== 200) throw new Unavailable(`status ${reply.status}`)
    if (account.id !== claims.sub) throw new Refused('another user')
    return claims
  }
}

/** Whether a token is at fault. The keys may be out of reach, too slow, or no key set. */
function isOfTheToken(error) {
  const ofTheKeys = [errors.JWKSTimeout, errors.JWKSInvalid].some((kind) => error instanceof kind)
  return error instanceof errors.JOSEError && error.constructor !== errors.JOSEError && !ofTheKeys
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const missing = ['ISSUER', 'AUDIENCE'].filter((name) => !process.env[name])
  if (missing.length > 0) {
    console.error(`${missing.join(' and ')} must be set: ISSUER=https://auth.example.com AUDIENCE=https://orders.example.com`)
    process.exit(2)
  }
  const verifier = new Verifier(process.env.ISSUER, process.env.AUDIENCE)
  const token = (await text(process.stdin)).trim()
  try {
    const claims = await (process.argv.includes('--strict') ? verifier.verifyNow(token) : verifier.verify(token))
    console.log('accepted:', claims.sub, claims.sid)
  } catch (reason) {
    const isRefused = reason instanceof Refused
    console.log(isRefused ? 'refused:' : 'unavailable:', reason.message)
    process.exitCode = isRefused ? 1 : 2
  }
}
