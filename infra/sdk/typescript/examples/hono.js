// An API that accepts Latchkey's access tokens, in Hono: in Node.js here, and the same on Workers, Deno and Bun.

import { serve } from "@hono/node-server"
import { Hono } from "hono"
import { createVerifier, readBearerToken, VerificationError } from "latchkey/verify"

const { ISSUER, AUDIENCE, PORT = "0" } = process.env
const verifier = createVerifier({ issuer: ISSUER, audience: AUDIENCE })

/** Lets a request pass whose token meets the requirements; its claims are the variable `claims`. */
const requireToken = (requirements) => async (context, next) => {
  const token = readBearerToken(context.req.header("authorization"))
  context.set("claims", await verifier.verify(token, requirements))
  await next()
}

const app = new Hono()

app.get("/orders", requireToken(), (context) => context.json({ orders: [], user: context.get("claims").sub }))

// A payment wants a password that was given within the last five minutes.
app.post("/payments", requireToken({ maxAge: 300 }), (context) => context.body(null, 204))

app.onError((error, context) => {
  if (!(error instanceof VerificationError)) throw error
  if (error.challenge) context.header("WWW-Authenticate", error.challenge)
  return context.json({ code: error.code }, error.status)
})

serve({ fetch: app.fetch, hostname: "127.0.0.1", port: Number(PORT) }, ({ port }) => console.log(`http://127.0.0.1:${port}`))
