// The client of the API that a page has, and who is signed in.

import { LatchkeyError, createClient } from './latchkey.js'
import { basePath } from './page.js'

/** @typedef {import('./latchkey.js').Account} Account */

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
      return null // Nobody was signed in, or another tab knows why.
  }
}

/** The cookie of a session that has ended goes, so that its end is not told again at each visit. */
let forgetting = Promise.resolve()
export function forgetCookie() {
  const request = fetch(`${basePath}/v1/auth/logout`, { method: 'POST', credentials: 'same-origin' })
  forgetting = request.then(() => {}, () => {})
}

/** Signs in; not before the old cookie has gone, or the new one would go with it. @param {{ email: string, password: string }} credentials */
export async function signInWith(credentials) {
  await forgetting
  return client.signIn(credentials)
}

/** What a token says, unchecked: it may be shown, and nothing follows from it. @param {string} token @returns {Record<string, string>} */
export function readClaims(token) {
  try {
    const [head = '', claims = ''] = token.split('.')
    return { ...read(claims), typ: read(head).typ }
  } catch {
    return {} // The service says what is wrong with it.
  }
}

/** @param {string} text in base64url */
function read(text) {
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0))
  return JSON.parse(new TextDecoder().decode(bytes))
}

/** The id of the user who is signed in. */
export async function userId() {
  return readClaims(await client.getAccessToken())['sub'] ?? null
}

/** @type {{ session: string, account: Promise<Account> } | null} */
let asked = null

/** The account of the user who is signed in, asked for once in a session. @returns {Promise<Account>} */
export function account() {
  const session = client.state.status === 'signed-in' ? client.state.session.id : ''
  if (asked?.session !== session) {
    const mine = { session, account: client.me() }
    mine.account.catch(() => {
      if (asked === mine) asked = null
    })
    asked = mine
  }
  return asked.account
}

/** The account as it is now. */
export function accountAgain() {
  asked = null
  return account()
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
