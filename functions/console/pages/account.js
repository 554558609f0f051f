// The page of people: which view is shown at which address, and to whom.

import { make } from './dom.js'
import { basePath, closeDialogs, drawHeader, failure, link, notify, show, start } from './page.js'
import { client, reasonOfEnd } from './session.js'
import { devices } from './devices.js'
import { say } from './words.js'

const HOME = '/account'
const LINKS = [
  { path: HOME, word: /** @type {const} */ ('devices') },
  { path: `${HOME}/activity`, word: /** @type {const} */ ('activity') },
  { path: `${HOME}/settings`, word: /** @type {const} */ ('settings') },
]

/** How to leave the view that is shown. */
let leave = () => {}
/** The token of the link that has opened this page. */
const token = takeToken()
/** Counts the drawings: one that had to wait for its script does not draw over a later one. */
let latest = 0

/** The token of a link stands behind the `#`, which no server is sent; it leaves the address at once. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token')
  if (location.hash) history.replaceState(null, '', location.pathname)
  return token
}

/** Shows the view of the address. */
async function draw() {
  leave()
  leave = () => {}
  const path = location.pathname.slice(basePath.length)
  const view = path.slice(HOME.length + 1)
  const turn = ++latest
  if (client.state.status !== 'signed-in' || view === 'reset-password' || view === 'verify-email') {
    const views = await import('./sign-in.js')
    if (turn === latest) drawSignedOut(view, views)
    return
  }
  drawHeader(HOME, LINKS, view === 'password' ? `${HOME}/settings` : path)
  switch (view) {
    case '':
    case 'sign-in':
    case 'register':
    case 'forgot-password':
      if (view) history.replaceState(null, '', basePath + HOME)
      drawHeader(HOME, LINKS, HOME)
      leave = devices(() => void draw())
      return
    case 'activity': {
      const { activity } = await import('./activity.js')
      if (turn === latest) leave = activity()
      return
    }
    case 'settings':
    case 'password': {
      const { settings } = await import('./settings.js')
      if (turn === latest) settings(view)
      return
    }
    default:
      return show(say('not_found'), make('p', {}, say('not_found_text')), make('p', {}, link(HOME, say('to_devices'))))
  }
}

/** @param {string} view @param {typeof import('./sign-in.js')} views */
function drawSignedOut(view, views) {
  switch (view) {
    case 'reset-password':
      return views.resetPassword(token)
    case 'verify-email':
      return views.verifyEmail(token)
    case 'register':
      return views.register(() => void draw())
    case 'forgot-password':
      return views.forgotPassword()
    default:
      return views.signIn(() => void draw())
  }
}

/** Whether somebody is signed in, and who: another tab or another device may change it at any time. */
let wasSignedIn = false
/** @param {import('./latchkey.js').State} state */
function changed(state) {
  if (state.status === 'unknown') return
  const isSignedIn = state.status === 'signed-in'
  if (isSignedIn === wasSignedIn) return
  const reason = reasonOfEnd()
  wasSignedIn = isSignedIn
  // What a link leads to does not depend on who is signed in.
  if (/\/(reset-password|verify-email)$/.test(location.pathname)) return
  closeDialogs()
  void draw()
  if (!isSignedIn && reason) notify(say(reason), 'info')
}

async function open() {
  drawHeader(HOME, [])
  try {
    await client.restore()
  } finally {
    const { status } = client.state
    // Nobody knows: no reply came. Then nothing is claimed, neither one nor the other.
    if (status === 'unknown') {
      show(productTitle(), failure(await client.getAccessToken().catch((/** @type {unknown} */ error) => error), () => void open()))
    } else {
      wasSignedIn = status === 'signed-in'
      void draw()
      const reason = reasonOfEnd()
      if (reason && reason !== 'ended_here' && !token) notify(say(reason), 'info')
    }
  }
}

const productTitle = () => say('devices_title')

start(() => void draw())
addEventListener('popstate', () => void draw())
client.onChange(changed)
void open()
