// Reads one access token from standard input and exits with 0 if it is accepted, with 1 if it is refused, with 2 if that
// cannot be said:
//
//   ISSUER=https://auth.example.com AUDIENCE=https://orders.example.com node examples/verify.js [--strict] < token
//
// --strict asks Latchkey whether the session has ended, and needs a token with Latchkey's own audience.

import { text } from "node:stream/consumers"
import { createVerifier } from "latchkey/verify"

const { ISSUER, AUDIENCE } = process.env
const verifier = createVerifier({ issuer: ISSUER, audience: AUDIENCE })
const token = (await text(process.stdin)).trim()
try {
  const claims = await (process.argv.includes("--strict") ? verifier.verifyLive(token) : verifier.verify(token))
  console.log("accepted:", claims.sub, claims.sid)
} catch (error) {
  console.log(error.status === 503 ? "unavailable:" : "refused:", error.message)
  process.exitCode = error.status === 503 ? 2 : 1
}
