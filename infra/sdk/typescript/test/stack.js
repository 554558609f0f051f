// A local stack for the tests, and a proxy before it that can lose, delay and replace replies.

import { spawn } from "node:child_process"
import http from "node:http"
import { createInterface } from "node:readline"

export const PASSWORD = "correct horse battery staple"
export const OTHER_PASSWORD = "wrong donkey charger paperclip"

/** Starts the binary that LATCHKEY names, in memory and without limits. Stops with `stop`. */
export async function startStack(settings = {}) {
  const limits = { ADDRESS_ATTEMPTS_PER_MINUTE: "0", LIST_PER_MINUTE: "0", CHANGE_PER_MINUTE: "0", PURGE_PER_MINUTE: "0" }
  const child = spawn(process.env.LATCHKEY, ["--port", "0", "--memory"], {
    env: { PATH: process.env.PATH, ...limits, ...settings },
    stdio: ["ignore", "pipe", "pipe"],
  })
  process.once("exit", () => child.kill()) // also when a test has failed
  let log = ""
  child.stderr.on("data", (data) => (log += data))
  for await (const line of createInterface({ input: child.stdout })) {
    const api = /^ *API +(http\S+)/.exec(line)?.[1]
    if (!api) continue
    child.stdout.resume()
    return { api, stop: () => new Promise((ended) => child.once("exit", ended).kill()) }
  }
  throw new Error(`the local stack did not start:\n${log}`)
}

/** Listens on a free port of this machine. */
export function listen(handler) {
  const server = http.createServer(handler)
  return new Promise((ready) =>
    server.listen(0, "127.0.0.1", () => {
      const stop = () => new Promise((ended) => (server.close(ended), server.closeAllConnections()))
      ready({ origin: `http://127.0.0.1:${server.address().port}`, stop })
    }),
  )
}

/** The payload of one of our tokens. */
export const claimsOf = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"))

/**
 * A proxy before a stack. A fault replaces what happens to a request: it gets the reply of the stack by `forward`, and
 * returns the reply to give, or nothing to close the connection.
 */
export async function startProxy(api) {
  const target = new URL(api)
  const faults = new Map()
  const proxy = {
    /** Every request: method, path, status that the client got, its authorization, its body. */
    seen: [],
    /** The fault of every request, if there is one. */
    always: undefined,
    /** Gives the next requests for a path these faults, one each. */
    next: (path, ...list) => faults.set(path, [...(faults.get(path) ?? []), ...list]),
    reset: () => {
      proxy.seen.length = 0
      proxy.always = undefined
      faults.clear()
      tokens.clear()
    },
    count: (path = "/v1/auth/refresh") => proxy.seen.filter((one) => one.path === path && one.method !== "OPTIONS").length,
    /** How many different refresh tokens the stack has given out at refreshes: at most one for each interval. */
    successors: () => tokens.size,
  }
  const tokens = new Set()
  const forward = (request, body) =>
    new Promise((resolve, reject) => {
      const options = { host: target.hostname, port: target.port, path: request.url, method: request.method, headers: request.headers }
      const onward = http.request(options, (reply) => {
        const parts = []
        reply.on("data", (part) => parts.push(part))
        reply.on("end", () => {
          const content = Buffer.concat(parts)
          if (request.method === "POST" && request.url === "/v1/auth/refresh" && reply.statusCode === 200) {
            const cookie = reply.headers["set-cookie"]?.find((one) => one.startsWith("__Host-latchkey-refresh="))
            const token = JSON.parse(content).refresh_token ?? cookie?.split(/[=;]/)[1]
            if (token) tokens.add(claimsOf(token).jti)
          }
          resolve({ status: reply.statusCode, headers: reply.headers, body: content })
        })
      })
      onward.on("error", reject)
      onward.end(body)
    })
  const server = await listen(async (request, response) => {
    const parts = []
    for await (const part of request) parts.push(part)
    const body = Buffer.concat(parts)
    const path = request.url.split("?")[0]
    const entry = { method: request.method, path, url: request.url, authorization: request.headers.authorization, body: String(body), status: 0 }
    proxy.seen.push(entry)
    const fault = request.method === "OPTIONS" ? undefined : (proxy.always ?? faults.get(path)?.shift())
    const reply = await (fault ?? ((forward) => forward()))(() => forward(request, body), request)
    if (!reply) return response.destroy()
    entry.status = reply.status
    const cors = { "access-control-allow-origin": request.headers.origin ?? "*", "access-control-allow-credentials": "true", "access-control-expose-headers": "retry-after" }
    response.writeHead(reply.status, reply.headers ?? cors)
    response.end(reply.body)
  })
  return Object.assign(proxy, { url: server.origin, stop: server.stop })
}

/** Lets the stack answer, and loses its reply. */
export const loseReply = async (forward) => void (await forward())
/** Loses the request. */
export const loseRequest = async () => undefined
/** Answers in place of the stack. CORS headers are added, so that a page can read it. */
export const answer = (status, headers = {}, body = "") => async (_forward, request) => ({
  status,
  headers: {
    ...headers,
    "access-control-allow-origin": request.headers.origin ?? "*",
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "retry-after",
  },
  body,
})
/** Lets the stack answer, and gives another answer in place of its own. */
export const answerAfter = (...reply) => async (forward, request) => {
  await forward()
  return answer(...reply)(forward, request)
}
/** Does something between the stack's answer and its arrival. */
export const afterAnswer = (act) => async (forward) => {
  const reply = await forward()
  await act(reply)
  return reply
}
