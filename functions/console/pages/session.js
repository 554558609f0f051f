// The client of the API that a page has, and who is signed in, as long as the page is open.

import { createClient } from './latchkey.js'
import { make } from './dom.js'
import { closeDialogs, whileBusy } from './ask.js'
import { basePath, clearNotices, explain, failure, hide, notify, productName, show, showUser } from './page.js'
import { say } from './words.js'

/** @typedef {import('./latchkey.js').Account} Account */
/** @typedef {import('./latchkey.js').State} State */

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

/** The address that was typed, or that a link was for, so that it need not be typed again, and the token of a link. */
export const entered = { email: '', token: '' }

/** Who comes next may be somebody else, whose link it is not. @param {string | null} [user] who comes, if that is known */
function forgetEntered(user = null) {
  entered.email = ''
  if (readClaims(entered.token)['sub'] !== user) entered.token = ''
}

/** Stands in the header of every view that needs a session (OWASP ASVS 5.0, 7.4.4). */
export function signOutButton() {
  const button = make('button.quiet', { type: 'button', 'data-key': 'sign-out' }, say('sign_out'))
  button.addEventListener('click', () => whileBusy(button, () => client.signOut().then(() => {}, tell)))
  return button
}

/** Says what has failed, unless the session is over: why, the sign-in says. @param {unknown} error */
export function tell(error) {
  if (client.state.status !== 'signed-out') notify(explain(error), 'warning')
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

/** The session of an administrator. */
let administrators = ''

/** Whether the user who is signed in is known to be an administrator. */
export const isAdministrator = () => client.state.status === 'signed-in' && client.state.session.id === administrators

/** The account of the user who is signed in, asked for once in a session. @returns {Promise<Account>} */
export function account() {
  const session = client.state.status === 'signed-in' ? client.state.session.id : ''
  if (asked?.session !== session) {
    const mine = { session, account: client.me() }
    mine.account.then(
      ({ roles }) => {
        if (client.state.status === 'signed-in' && client.state.session.id === session) administrators = roles?.includes('admin') ? session : ''
      },
      () => {
        if (asked === mine) asked = null
      },
    )
    asked = mine
  }
  return asked.account
}

/** The account as it is now, also in the header. */
export async function accountAgain() {
  asked = null
  const mine = account()
  const now = asked
  const { email } = await mine
  if (client.state.status === 'signed-in' && asked === now) showUser(email ?? say('without_email'))
  return mine
}

/**
 * Finds out who is signed in and draws, and draws again whenever somebody else is, or nobody.
 * @param {() => void} draw @param {() => void} drawHead draws the header alone
 * @param {() => boolean} isForAll whether what is shown does not depend on who is signed in
 * @param {() => boolean} [hasLink] whether what is shown is what a link leads to
 */
export function follow(draw, drawHead, isForAll, hasLink = () => false) {
  /** The session that is shown, and the user: null if nobody is signed in, undefined if nobody knows yet. */
  let session = /** @type {string | null | undefined} */ (undefined)
  let user = /** @type {string | null} */ (null)

  const drawAll = () => {
    closeDialogs()
    draw()
    void showName(drawHead)
  }
  const nameAgain = () => {
    drawHead()
    void showName(drawHead)
  }
  const forgetAll = () => {
    forgetEntered()
    drawAll()
    tellEnd(say('ended_in_browser'))
  }
  /** @param {State} state */
  const changed = async (state) => {
    if (isOpening || state.status === 'unknown') return
    // It was not known who is signed in, because no reply came.
    if (session === undefined) return void open()
    if (state.status === 'signed-out') {
      const hasLeft = reasonOfEnd() === 'ended_here'
      // A sign-out in another tab may be told after the end of the session.
      if (session === null && !(hasLeft && isForAll())) return
      session = user = null
      // Whose session was ended elsewhere may finish what is open; whoever signs out in this browser has gone.
      if (!isForAll() || hasLeft) return forgetAll()
      entered.email = ''
      if (!hasLink()) entered.token = ''
      nameAgain()
      return
    }
    if (state.session.id === session) return
    const before = session
    session = state.session.id
    if (before === null) {
      if (isForAll()) nameAgain()
      else {
        clearNotices()
        drawAll()
      }
      const id = await idOfUser()
      if (session !== state.session.id) return
      user = id
      forgetEntered(id)
      return
    }
    // A new session of the same user follows a change of the password.
    const now = await idOfUser()
    if (session !== state.session.id) return
    if (now === user) return void showName(drawHead)
    user = now
    forgetEntered()
    drawAll()
    notify(say('other_user'), 'info')
  }
  const open = async () => {
    hide(true)
    isOpening = true
    session = undefined
    await client.restore()
    // Why no reply came. If one comes now, it is known who is signed in.
    const error = client.state.status === 'unknown' && (await client.getAccessToken().then(() => null, (/** @type {unknown} */ error) => error))
    isOpening = false
    const { state } = client
    // Nobody knows: no reply came. Then nothing is claimed, neither one nor the other.
    if (state.status === 'unknown') {
      hide(false)
      isDrawn = false
      showUser(null)
      return show(productName, failure(error, () => void open()))
    }
    const shown = user
    session = state.status === 'signed-in' ? state.session.id : null
    user = session ? await idOfUser() : null
    hide(false)
    if (isKnown && user !== shown) forgetEntered(user)
    if (isDrawn && user === shown && user !== null) return
    isKnown = isDrawn = true
    drawAll()
    if (session === null) tellEnd(null)
  }
  /** Whether it was ever known who is signed in, and whether the view is drawn for `user`, not for an outage. */
  let isKnown = false
  let isDrawn = false
  let isOpening = false

  client.onChange((state) => void changed(state))
  addEventListener('pagehide', (event) => event.persisted && hide(true))
  // What a page shows that was kept may be somebody else's by now.
  addEventListener('pageshow', (event) => event.persisted && void open())
  // The address may have been confirmed or changed on another device.
  addEventListener('focus', look)
  document.addEventListener('visibilitychange', look)
  void open()
}

let lookedAt = 0
/** A window that comes back sends several events. */
function look() {
  if (document.visibilityState !== 'visible' || client.state.status !== 'signed-in' || Date.now() - lookedAt < 500) return
  lookedAt = Date.now()
  accountAgain().catch(() => {})
}

/** Whether the service has said that the session is over. */
const wasEnded = () => ![null, 'ended_here'].includes(reasonOfEnd())

/** @param {import('./words.js').Phrase | null} otherwise what is said if nobody knows why */
function tellEnd(otherwise) {
  const reason = reasonOfEnd()
  if (otherwise === null && !wasEnded()) return
  const text = reason ? say(reason) : otherwise
  if (text) notify(text, 'info')
}

/** An outage leaves the name open. */
const idOfUser = () => userId().catch(() => null)

/** Shows in the header who is signed in, and what else an administrator can go to. @param {() => void} drawHead */
async function showName(drawHead) {
  if (client.state.status !== 'signed-in') return showUser(null)
  const { id } = client.state.session
  if (client.state.user?.email) showUser(client.state.user.email)
  try {
    const { email } = await account()
    if (client.state.status !== 'signed-in' || client.state.session.id !== id) return
    showUser(email ?? say('without_email'))
    if (isAdministrator()) drawHead()
  } catch {
    // The view says what is wrong.
  }
}
