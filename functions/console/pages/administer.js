// The routes of administration.

import { prove } from './devices.js'
import { withProof } from './ask.js'
import { request } from './session.js'

/** Asks a route of administration, which wants a recent proof of who one is. @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
export async function administer(method, path, body) {
  let reply
  await withProof(async () => {
    reply = await request(method, path, body)
  }, prove)
  return reply
}
