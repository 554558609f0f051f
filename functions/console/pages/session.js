// The client of the API that a page has, and who is signed in.

import { LatchkeyError, createClient } from './latchkey.js'
import { basePath } from './page.js'

/** Keeps the refresh token in a cookie that no script can read. */
export const client = createClient({ url: location.origin + basePath, transport: 'cookie' })

/** Whether a session has ended that this page has shown, and why. @returns {import('./words.js').Word | null} */
export function reasonOfEnd() {
  if (client.state.status !== 'signed-out') return null
  switch (client.state.reason) {
    case 'refresh_token_reused':
      return 'ended_reuse'
    case 'invalid_refresh_token':
      return 'ended_elsewhere'
    case 'signed_out':
      return 'ended_here'
    default:
      return null // Nobody was signed in.
  }
}

/** Asks a route that the client has no method for. @param {string} method @param {string} path @param {object} [body] */
export async function request(method, path, body) {
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
