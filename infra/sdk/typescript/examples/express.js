// An API that accepts Latchkey's access tokens, in Express.

import express from "express"
import { createVerifier, readBearerToken, VerificationError } from "latchkey/verify"

const { ISSUER, AUDIENCE, PORT = "0" } = process.env
const verifier = createVerifier({ issuer: ISSUER, audience: AUDIENCE })

/** Lets a request pass whose token meets the requirements; its claims are in `response.locals.claims`. */
const requireToken = (requirements) => async (request, response, next) => {
  response.locals.claims = await verifier.verify(readBearerToken(request.get("authorization")), requirements)
  next()
}

const app = express()

app.get("/orders", requireToken(), (_request, response) => {
  response.json({ orders: [], user: response.locals.claims.sub })
})

// A payment wants a password that was given within the last five minutes.
app.post("/payments", requireToken({ maxAge: 300 }), (_request, response) => {
  response.sendStatus(204)
})

app.use((error, _request, response, next) => {
  if (!(error instanceof VerificationError)) return next(error)
  if (error.challenge) response.set("WWW-Authenticate", error.challenge)
  response.status(error.status).json({ code: error.code })
})

const server = app.listen(Number(PORT), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`))
