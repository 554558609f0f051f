// The routes of administration.

import { LatchkeyError } from './latchkey.js'
import { withProof } from './ask.js'
import { prove } from './devices.js'
import { basePath } from './page.js'
import { client } from './session.js'

/**
 * Asks a route of administration, which wants a recent proof of who one is.
 * @param {string} method @param {string} path @param {object} [body] @param {number} [status] which one says that it is done
 * @returns {Promise<any>} the value of a 200
 */
export async function administer(method, path, body, status = 200) {
  let reply
  await withProof(async () => {
    reply = await request(method, path, body, status)
  }, prove)
  return reply
}

/** Reads without asking anybody for a proof. @param {string} path @returns {Promise<any>} */
export const peek = (path) => request('GET', path, undefined, 200)

/** Asks a route that the client has no method for. @param {string} method @param {string} path @param {object | undefined} body @param {number} status */
async function request(method, path, body, status) {
  /** @type {Record<string, string>} */
  const headers = body ? { 'content-type': 'application/json' } : {}
  let reply
  try {
    reply = await client.fetch(basePath + path, { method, headers, body: body ? JSON.stringify(body) : null, credentials: 'omit', signal: AbortSignal.timeout(30_000) })
  } catch (error) {
    if (error instanceof LatchkeyError) throw error
    throw new LatchkeyError('network_error', 'No reply came.', { cause: error })
  }
  if (reply.ok) {
    const value = status === 200 ? await reply.json().catch(() => null) : {}
    // A firewall's challenge is a 202 without a body, as ours is, but only ours has the id.
    if (value && reply.status === status && (status !== 202 || reply.headers.has('x-request-id'))) return value
    throw new LatchkeyError('unexpected_reply', 'No reply of Latchkey.', { status: reply.status })
  }
  const problem = await reply.json().catch(() => ({}))
  const retryAfter = Number(reply.headers.get('retry-after') ?? Number.NaN)
  throw new LatchkeyError(problem.code ?? 'unexpected_reply', problem.detail ?? '', {
    status: reply.status,
    requestId: reply.headers.get('x-request-id'),
    retryAfter: Number.isNaN(retryAfter) ? null : retryAfter,
  })
}
