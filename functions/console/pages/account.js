// The page of people: which view is shown at which address, and to whom.

import { LatchkeyError } from './latchkey.js'
import { basePath, drawHeader, failure, offers, productName, show, showLoading, showNotFound, start } from './page.js'
import { client, entered, follow, isAdministrator, readClaims, signOutButton } from './session.js'
import { devices } from './devices.js'
import { say } from './words.js'

const HOME = '/account'
const LINKS = [
  { path: HOME, word: /** @type {const} */ ('devices') },
  { path: `${HOME}/activity`, word: /** @type {const} */ ('activity') },
  { path: `${HOME}/settings`, word: /** @type {const} */ ('settings') },
]

const ADMIN = { path: '/admin', word: /** @type {const} */ ('administration') }

/**
 * A script that comes with the first view that needs it.
 * @template Script @param {() => Promise<Script>} load
 */
const later = (load) => ({ load, script: /** @type {Script | null} */ (null) })

const signInViews = later(() => import('./sign-in.js'))
const linkViews = later(() => import('./links.js'))
const activityView = later(() => import('./activity.js'))
const settingsView = later(() => import('./settings.js'))

/** How to leave the view that is shown. */
let leave = () => {}
/** Counts the drawings: one that had to wait for its script does not draw over a later one. */
let latest = 0

/** The token of a link stands behind the `#`, which no server is sent; it leaves the address at once. */
function takeToken() {
  if (!location.hash) return
  entered.token = new URLSearchParams(location.hash.slice(1)).get('token') ?? ''
  history.replaceState(null, '', location.pathname)
}

/** @param {string} path */
function viewOf(path) {
  return `${path.slice(basePath.length)}/`.startsWith(`${HOME}/`) ? path.slice(basePath.length + HOME.length + 1) : 'not-found'
}

/** Views that depend on who is signed in. */
const PERSONAL = ['', 'sign-in', 'register', 'activity', 'settings', 'password']
const isForAll = () => !PERSONAL.includes(viewOf(location.pathname))
const hasLink = () => ['reset-password', 'verify-email'].includes(viewOf(location.pathname))

/**
 * Draws a view with its script, at once if that has come: nothing of the view before can be typed into meanwhile.
 * @template Script
 * @param {{ load: () => Promise<Script>, script: Script | null }} part @param {import('./words.js').Phrase} title @param {(script: Script) => void} use
 */
function drawWith(part, title, use) {
  const turn = latest
  if (part.script) return use(part.script)
  showLoading(title, 2)
  part.load().then(
    (script) => {
      part.script = script
      if (turn === latest) use(script)
    },
    (/** @type {unknown} */ cause) => {
      const error = new LatchkeyError('network_error', 'A script did not come.', { cause })
      // A script that has failed comes only with a new page, and where nothing is reached that would be the browser's own.
      const fail = () => {
        if (turn === latest) show(title, failure(error, again))
      }
      const again = () =>
        void fetch(location.href, { signal: AbortSignal.timeout(10_000) }).then(({ ok }) => {
          if (!ok) fail()
          else if (turn === latest) location.reload()
        }, fail)
      fail()
    },
  )
}

function drawHead() {
  if (client.state.status !== 'signed-in') return drawHeader(HOME, [])
  const path = location.pathname.slice(basePath.length)
  const links = offers.admin && isAdministrator() ? [...LINKS, ADMIN] : LINKS
  drawHeader(HOME, links, path === `${HOME}/password` ? `${HOME}/settings` : path, [signOutButton()])
}

/** Shows the view of the address. */
function draw() {
  leave()
  leave = () => {}
  latest++
  const view = viewOf(location.pathname)
  const isSignedIn = client.state.status === 'signed-in'
  // Nobody who is signed in is asked who they are.
  if (isSignedIn && (view === 'sign-in' || view === 'register')) history.replaceState(null, '', basePath + HOME)
  drawHead()
  if (isForAll()) return drawForAll(view)
  if (!isSignedIn) {
    if (view === 'register') return drawWith(signInViews, say('create'), (script) => script.register())
    return drawWith(signInViews, say('sign_in_to', { name: productName }), (script) => script.signIn())
  }
  switch (view) {
    case 'activity':
      return drawWith(activityView, say('activity_title'), (script) => {
        leave = script.activity()
      })
    case 'settings':
    case 'password':
      return drawWith(settingsView, say('settings_title'), (script) => {
        leave = script.settings(view)
      })
    case '':
    case 'sign-in':
    case 'register':
      leave = devices()
  }
}

/** @param {string} view */
function drawForAll(view) {
  switch (view) {
    case 'reset-password':
      return drawWith(linkViews, say('choose_password'), (script) => script.resetPassword(opened()))
    case 'verify-email':
      return drawWith(linkViews, say('confirm_email'), (script) => script.verifyEmail(opened()))
    case 'forgot-password':
      return drawWith(linkViews, say('forgot_title'), (script) => script.forgotPassword())
    default:
      return showNotFound(HOME)
  }
}

/** What the link has brought, until it is used, somebody signs out, or somebody else signs in. */
const opened = () => (entered.token ? { value: entered.token, claims: readClaims(entered.token) } : null)

/** Another address, or another link that was opened in this tab. */
function move() {
  takeToken()
  draw()
}

takeToken()
start()
addEventListener('popstate', move)
addEventListener('hashchange', () => location.hash && move())
drawHeader(HOME, [])
follow(draw, drawHead, isForAll, hasLink)
