// Who is signed in, as long as a page is open: other tabs and devices change it, and a page may come back from a cache.

import { closeDialogs } from './dialogs.js'
import { failure, hide, notify, productName, show, showUser } from './page.js'
import { account, client, forgetCookie, reasonOfEnd, userId } from './session.js'
import { say } from './words.js'

/** @typedef {import('./latchkey.js').State} State */

/**
 * Finds out who is signed in and draws, and draws again whenever somebody else is, or nobody.
 * @param {() => void} draw @param {() => boolean} isForAll whether what is shown does not depend on who is signed in
 */
export function follow(draw, isForAll = () => false) {
  /** The session that is shown, and the user: null if nobody is signed in, undefined if nobody knows yet. */
  let session = /** @type {string | null | undefined} */ (undefined)
  let user = /** @type {string | null} */ (null)

  const drawAll = () => {
    closeDialogs()
    void showName()
    draw()
  }
  /** @param {State} state */
  const changed = async (state) => {
    if (isOpening || state.status === 'unknown') return
    // It was not known who is signed in, because no reply came.
    if (session === undefined) return void open()
    if (state.status === 'signed-out') {
      if (session === null) return
      session = user = null
      if (isForAll()) return void showName()
      drawAll()
      tellEnd(say('ended_in_browser'))
      return
    }
    if (state.session.id === session) return
    const before = session
    session = state.session.id
    if (before === null) {
      if (isForAll()) void showName()
      else drawAll()
      user = await idOfUser()
      return
    }
    // A new session of the same user follows a change of the password.
    const now = await idOfUser()
    if (now === user || session !== state.session.id) return
    user = now
    drawAll()
    notify(say('other_user'), 'info')
  }
  const open = async () => {
    hide(true)
    isOpening = true
    session = undefined
    await client.restore()
    isOpening = false
    const { state } = client
    // Nobody knows: no reply came. Then nothing is claimed, neither one nor the other.
    if (state.status === 'unknown') {
      hide(false)
      isOpen = false
      showUser(null)
      return show(productName, failure(await client.getAccessToken().catch((/** @type {unknown} */ error) => error), () => void open()))
    }
    const shown = user
    session = state.status === 'signed-in' ? state.session.id : null
    user = session ? await idOfUser() : null
    hide(false)
    if (isOpen && user === shown && user !== null) return
    isOpen = true
    drawAll()
    if (session === null) tellEnd(null)
  }
  let isOpen = false
  let isOpening = false

  client.onChange((state) => void changed(state))
  addEventListener('pagehide', (event) => event.persisted && hide(true))
  // What a page shows that was kept may be somebody else's by now.
  addEventListener('pageshow', (event) => event.persisted && void open())
  void open()
}

/** @param {string | null} otherwise what is said if nobody knows why */
function tellEnd(otherwise) {
  const reason = reasonOfEnd()
  if (reason && reason !== 'ended_here') forgetCookie()
  else if (otherwise === null) return
  const text = reason ? say(reason) : otherwise
  if (text) notify(text, 'info')
}

/** An outage leaves the name open. */
const idOfUser = () => userId().catch(() => null)

/** Shows in the header who is signed in. */
async function showName() {
  if (client.state.status !== 'signed-in') return showUser(null)
  const { id } = client.state.session
  if (client.state.user?.email) showUser(client.state.user.email)
  try {
    const { email } = await account()
    if (client.state.status === 'signed-in' && client.state.session.id === id) showUser(email ?? say('without_email'))
  } catch {
    // The view says what is wrong.
  }
}
