// Verifies Latchkey's access tokens with aws-jwt-verify: infra/guides/understand/protect-your-api.md. As a program it works
// as infra/sdk/typescript/examples/verify.js does, without --strict.

import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { JwtVerifier } from 'aws-jwt-verify'
import * as errors from 'aws-jwt-verify/error'
import { SimpleJwksCache } from 'aws-jwt-verify/jwk'

const CLAIMS = ['iss', 'aud', 'client_id', 'sub', 'sid', 'jti', 'iat', 'exp', 'auth_time']

/** The token is not valid. Answer 401. */
export class Refused extends Error {}

/** Whether the token is valid cannot be said now. Answer 503, never 200. */
export class Unavailable extends Error {}

/** The library's own fetcher takes https alone, and a local stack answers over http. */
const fetcher = {
  async fetch(uri) {
    const reply = await fetch(uri, { signal: AbortSignal.timeout(5_000) })
    if (!reply.ok) throw new Unavailable(`status ${reply.status}`)
    return reply.arrayBuffer()
  },
}

/** Make one and keep it: it keeps the keys, and reads them again when a token names one that it does not know. */
export class Verifier {
  constructor(issuer, audience) {
    this.verifier = JwtVerifier.create(
      {
        issuer,
        audience,
        jwksUri: issuer + '/.well-known/jwks.json',
        graceSeconds: 5, // by which the clocks may differ
        customJwtCheck({ header, payload }) {
          // The type is part of what is signed. Without this check, any token of the same key would pass.
          if (header.typ !== 'at+jwt') throw new Refused('not an access token')
          const missing = CLAIMS.find((name) => !(name in payload))
          if (missing) throw new Refused(`no ${missing}`)
        },
      },
      { jwksCache: new SimpleJwksCache({ fetcher }) },
    )
  }

  /** The claims of a token that this issuer made for this audience and that has not expired. */
  async verify(token) {
    try {
      // The algorithm is that of the published key: its `alg`, which this library compares with the token's.
      return await this.verifier.verify(token)
    } catch (error) {
      throw error instanceof errors.JwtBaseError && !isOfTheKeys(error) ? new Refused(error.message) : asIs(error)
    }
  }
}

/** Whether the keys are at fault: out of reach, no key set, or not yet to be asked for again. */
function isOfTheKeys(error) {
  return [errors.FetchError, errors.JwksValidationError, errors.WaitPeriodNotYetEndedJwkError].some(
    (kind) => error instanceof kind,
  )
}

function asIs(error) {
  return error instanceof Refused ? error : new Unavailable(error.message)
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
