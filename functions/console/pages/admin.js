// The page of administrators: find a user, by what is known of them.

import { LatchkeyError } from './latchkey.js'
import { icon, make, own, skeleton, time } from './dom.js'
import { field, form } from './ask.js'
import { basePath, clearNotices, drawHeader, failure, go, link, offers, show, showLoading, showNotFound, start } from './page.js'
import { administer } from './administer.js'
import { account, client, follow, signOutButton } from './session.js'
import { signIn } from './sign-in.js'
import { drawUser } from './admin-user.js'
import { say } from './words.js'
import './admin-words.js'

/** @typedef {import('./admin-user.js').User} User */

const HOME = '/admin'
/** @type {import('./page.js').Link[]} */
const LINKS = [{ path: HOME, word: 'users' }, ...(offers.account ? [{ path: '/account', word: /** @type {const} */ ('devices_title') }] : [])]
const USERS = '/v1/admin/users'
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** The users that were browsed, and by whom: they are there again on the way back. */
let kept = /** @type {{ by: string, users: User[], cursor: string | null } | null} */ (null)

/** @param {User} user as it is now */
function seen(user) {
  if (kept) kept.users = kept.users.map((one) => (one.id === user.id ? user : one))
}

/** Counts the drawings: one that had to wait does not draw over a later one. */
let latest = 0
/** How to leave the view that is shown. */
let leave = () => {}

function drawHead() {
  if (client.state.status === 'signed-in') drawHeader(HOME, LINKS, HOME, [signOutButton()])
  else drawHeader(HOME, [])
}

/** Whose view is at the address: an id, '' for nobody's, null where there is no view. */
function idOfAddress() {
  const below = location.pathname.slice(basePath.length + HOME.length)
  const id = below.replace('/users/', '')
  return !below || (id !== below && ID.test(id)) ? id : null
}

/** Shows the view of the address. */
function draw() {
  leave()
  leave = () => {}
  const turn = ++latest
  drawHead()
  if (idOfAddress() === null) return showNotFound(HOME)
  if (client.state.status !== 'signed-in') return signIn()
  showLoading(say('users'), 2)
  account().then(
    (me) => {
      if (turn === latest) drawFor(me)
    },
    (/** @type {unknown} */ error) => {
      if (turn === latest && client.state.status === 'signed-in') show(say('users'), failure(error, draw))
    },
  )
}

/** @param {import('./latchkey.js').Account} me */
function drawFor(me) {
  const id = idOfAddress()
  if (!me.roles.includes('admin')) return drawRefusal(say('not_admin'), say('not_admin_text', { email: me.email ?? say('without_email') }))
  if (id) leave = drawUser(id, me, refused, seen)
  else drawSearch(me)
}

/** Why one may not be here, and the way back. @param {import('./words.js').Phrase} title @param {import('./words.js').Phrase} text */
function drawRefusal(title, text) {
  const back = offers.account && make('a', { href: `${basePath}/account` }, say('to_devices'))
  show(title, make('p.lead', {}, text), back && make('p', {}, back))
}

/** What is shown to those who may not be here. Whether it was shown. @param {unknown} error */
function refused(error) {
  if (!(error instanceof LatchkeyError)) return false
  // The account has the role, and the access token is older than that.
  if (error.code === 'insufficient_scope') drawRefusal(say('not_admin_yet'), say('not_admin_yet_text'))
  else if (error.code === 'not_found') drawRefusal(say('admin_off'), say('admin_off_text'))
  else return false
  return true
}

/** @param {import('./latchkey.js').Account} me */
function drawSearch(me) {
  const results = make('section', {})
  const what = { field: field('search_label', { type: 'text', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' }), check: checkSearch }
  const find = form([what], 'find', async (/** @type {string} */ text) => {
    clearNotices()
    const id = await search(text.trim()).catch((/** @type {unknown} */ error) => {
      if (!(error instanceof LatchkeyError) || error.status !== 400) throw error
      what.field.refuse(say('search_wrong'))
    })
    if (id === undefined) return
    if (id) go(`${HOME}/users/${id}`)
    else results.replaceChildren(make('p.empty', { role: 'status' }, say('nobody_found', { what: text.trim() })))
  })
  find.setAttribute('role', 'search')
  // What was found, or not, belongs to the search before.
  find.addEventListener('submit', () => results.querySelector('[role=status].empty')?.remove())
  const browse = make('button', { type: 'button', onclick: () => void list(results, me.id, null) }, say('browse'))
  show(say('admin_title'), make('p.lead', {}, say('admin_text')), make('div.panel', {}, find, make('div.buttons', {}, browse)), results)
  if (kept?.by === me.id) drawList(results, kept)
}

/** @param {string} text @returns {import('./words.js').Word | null} */
const checkSearch = (text) => (text.includes('@') || ID.test(text.trim()) ? null : 'search_wrong')

/** The id of the user whose address, id or session it is, with that session behind a `#`. @param {string} text @returns {Promise<string | null>} */
async function search(text) {
  try {
    if (text.includes('@')) {
      const { users } = await administer('GET', `${USERS}?email=${encodeURIComponent(text)}`)
      return users[0]?.id ?? null
    }
    const user = await found(`${USERS}/${text}`)
    if (user) return user.id
    const owned = await found(`/v1/admin/sessions/${text}`)
    return owned && `${owned.user.id}#${owned.session.id}`
  } catch (error) {
    if (refused(error)) return null
    throw error
  }
}

/** @param {string} path */
async function found(path) {
  try {
    return await administer('GET', path)
  } catch (error) {
    if (error instanceof LatchkeyError && ['user_not_found', 'session_not_found'].includes(error.code)) return null
    throw error
  }
}

/** Users, a page of them. One may be empty although there are more. @param {HTMLElement} results @param {string} myId @param {string | null} cursor */
async function list(results, myId, cursor) {
  results.querySelector('.buttons')?.remove()
  if (!cursor) results.replaceChildren(make('h2', {}, say('all_users')))
  const before = (cursor && kept?.users) || []
  const loading = skeleton(2)
  results.append(loading)
  try {
    const page = await administer('GET', cursor ? `${USERS}?cursor=${encodeURIComponent(cursor)}` : USERS)
    if (!results.isConnected) return
    kept = { by: myId, users: [...before, ...page.users], cursor: page.next_cursor }
    drawList(results, kept)
    // Reading goes on at what is new: the button that was pressed may be gone.
    const next = cursor ? results.querySelectorAll('a')[before.length] : null
    ;(next ?? results.querySelector('h2'))?.focus()
  } catch (error) {
    loading.remove()
    if (!refused(error)) results.append(failure(error, () => void list(results, myId, cursor)))
  }
}

/** @param {HTMLElement} results @param {NonNullable<typeof kept>} list */
function drawList(results, { by, users, cursor }) {
  const more = make('button', { type: 'button', onclick: () => void list(results, by, cursor) }, say('more'))
  results.replaceChildren(
    make('h2', { tabindex: -1 }, say('all_users')),
    users.length ? make('ul.rows', {}, users.map((user) => row(user, by))) : make('p.empty', {}, say('no_users')),
    cursor ? make('div.buttons.last', {}, more) : '',
  )
}

/** @param {User} user @param {string} myId */
const row = (user, myId) =>
  make(
    'li.row', {}, make('span.icon', {}, icon('user')),
    make(
      'div.about', {}, make('h3', {}, link(`${HOME}/users/${user.id}`, own(user.email ?? say('without_email')))),
      make(
        'p.marks', {}, user.id === myId && make('span.mark', {}, say('your_account')),
        user.status === 'disabled' && make('span.mark.warning', {}, icon('warning'), say('state_disabled')),
      ),
      make('p', {}, say('sessions_n', { n: user.sessions }), ' · ', say('created'), ' ', time(user.created_at)),
    ),
  )

start()
addEventListener('popstate', draw)
drawHeader(HOME, [])
follow(draw, drawHead, () => idOfAddress() === null)
