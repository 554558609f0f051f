// The routes of administration.

import { LatchkeyError } from './latchkey.js'
import { withProof } from './ask.js'
import { prove } from './devices.js'
import { basePath } from './page.js'
import { client } from './session.js'

/** Asks a route of administration, which wants a recent proof of who one is. @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
export async function administer(method, path, body) {
  let reply
  await withProof(async () => {
    reply = await request(method, path, body)
  }, prove)
  return reply
}

/** Asks a route that the client has no method for. @param {string} method @param {string} path @param {object} [body] */
async function request(method, path, body) {
  /** @type {Record<string, string>} */
  const headers = body ? { 'content-type': 'application/json' } : {}
  let reply
  try {
    reply = await client.fetch(basePath + path, { method, headers, body: body ? JSON.stringify(body) : null, credentials: 'omit' })
  } catch (error) {
    if (error instanceof LatchkeyError) throw error
    throw new LatchkeyError('network_error', 'No reply came.', { cause: error })
  }
  if (reply.ok) {
    const text = await reply.text()
    return text ? JSON.parse(text) : undefined
  }
  const problem = await reply.json().catch(() => ({}))
  const retryAfter = Number(reply.headers.get('retry-after') ?? Number.NaN)
  throw new LatchkeyError(problem.code ?? 'unexpected_reply', problem.detail ?? '', {
    status: reply.status,
    requestId: reply.headers.get('x-request-id'),
    retryAfter: Number.isNaN(retryAfter) ? null : retryAfter,
  })
}
