// The page of administrators: find a user, by what is known of them.

import { LatchkeyError } from './latchkey.js'
import { icon, make, own, skeleton, time } from './dom.js'
import { basePath, clearNotices, closeDialogs, drawHeader, explain, failure, field, form, go, link, notify, productName, show, start } from './page.js'
import { administer } from './administer.js'
import { client, reasonOfEnd } from './session.js'
import { signIn } from './sign-in.js'
import { drawUser } from './admin-user.js'
import { say } from './words.js'
import './admin-words.js'

/** @typedef {import('./admin-user.js').User} User */

const HOME = '/admin'
const USERS = '/v1/admin/users'
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Shows the view of the address. */
async function draw() {
  if (client.state.status !== 'signed-in') return signIn(() => void draw(), say('sign_in_to', { name: productName }))
  const out = make('button.quiet', { type: 'button', onclick: () => void client.signOut().catch((error) => notify(explain(error), 'warning')) }, say('sign_out'))
  drawHeader(HOME, [{ path: HOME, word: 'users' }], HOME, [out])
  const path = location.pathname.slice(basePath.length)
  const id = path.startsWith(`${HOME}/users/`) ? path.slice(`${HOME}/users/`.length) : null
  if (id !== null) return drawUser(id, refused)
  if (path !== HOME) return show(say('not_found'), make('p', {}, say('not_found_text')), make('p', {}, link(HOME, say('users'))))
  drawSearch()
}

/** What is shown to those who may not be here. Whether it was shown. @param {unknown} error */
function refused(error) {
  if (!(error instanceof LatchkeyError)) return false
  const [title, text] = error.code === 'insufficient_scope'
    ? [say('not_admin'), say('not_admin_text')]
    : error.code === 'not_found' ? [say('admin_off'), say('admin_off_text')] : []
  if (!title) return false
  show(title, make('p.lead', {}, text))
  return true
}

function drawSearch() {
  const results = make('div', {})
  const what = { field: field('search_label', { type: 'text', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' }), check: checkSearch }
  const find = form([what], 'find', async (/** @type {string} */ text) => {
    clearNotices()
    const id = await search(text.trim())
    if (id) go(`${HOME}/users/${id}`)
    else results.replaceChildren(make('p.empty', { role: 'status' }, say('nobody_found', { what: text.trim() })))
  })
  find.setAttribute('role', 'search')
  const browse = make('button', { type: 'button', onclick: () => void list(results, null) }, say('browse'))
  show(say('admin_title'), make('p.lead', {}, say('admin_text')), make('div.panel', {}, find, make('div.buttons', {}, browse)), results)
}

/** @param {string} text @returns {import('./words.js').Word | null} */
const checkSearch = (text) => (text.includes('@') || ID.test(text.trim()) ? null : 'search_wrong')

/** The id of the user whose address, id or session it is. @param {string} text @returns {Promise<string | null>} */
async function search(text) {
  try {
    if (text.includes('@')) {
      const { users } = await administer('GET', `${USERS}?email=${encodeURIComponent(text)}`)
      return users[0]?.id ?? null
    }
    return (await found(`${USERS}/${text}`))?.id ?? (await found(`/v1/admin/sessions/${text}`))?.user.id ?? null
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

/** Users, a page of them. One may be empty although there are more. @param {HTMLElement} results @param {string | null} cursor */
async function list(results, cursor) {
  const more = results.querySelector('.buttons')
  more?.remove()
  if (!cursor) results.replaceChildren(make('h2', {}, say('all_users')), make('ul.rows', { hidden: true }))
  const loading = skeleton(2)
  results.append(loading)
  try {
    const page = await administer('GET', cursor ? `${USERS}?cursor=${encodeURIComponent(cursor)}` : USERS)
    loading.remove()
    const rows = results.querySelector('ul')
    rows?.append(...page.users.map(row))
    rows?.toggleAttribute('hidden', !rows.childElementCount)
    if (!rows?.childElementCount) results.append(make('p.empty', {}, say('no_users')))
    else results.querySelector('p.empty')?.remove()
    if (page.next_cursor) {
      results.append(make('div.buttons.last', {}, make('button', { type: 'button', onclick: () => void list(results, page.next_cursor) }, say('more'))))
    }
  } catch (error) {
    loading.remove()
    if (!refused(error)) results.append(failure(error, () => void list(results, cursor)))
  }
}

/** @param {User} user */
const row = (user) =>
  make(
    'li.row', {}, make('span.icon', {}, icon('user')),
    make(
      'div.about', {}, make('h3', {}, link(`${HOME}/users/${user.id}`, own(user.email ?? say('without_email')))),
      make('p.marks', {}, user.status === 'disabled' && make('span.mark.warning', {}, icon('warning'), say('state_disabled'))),
      make('p', {}, say('sessions_n', { n: user.sessions }), ' · ', say('created'), ' ', time(user.created_at)),
    ),
  )

let wasSignedIn = false
/** @param {import('./latchkey.js').State} state */
function changed(state) {
  if (state.status === 'unknown' || (state.status === 'signed-in') === wasSignedIn) return
  wasSignedIn = state.status === 'signed-in'
  const reason = reasonOfEnd()
  closeDialogs()
  void draw()
  if (!wasSignedIn && reason) notify(say(reason), 'info')
}

async function open() {
  drawHeader(HOME, [])
  await client.restore()
  if (client.state.status === 'unknown') {
    show(say('users'), failure(await client.getAccessToken().catch((/** @type {unknown} */ error) => error), () => void open()))
    return
  }
  wasSignedIn = client.state.status === 'signed-in'
  void draw()
}

start(() => void draw())
addEventListener('popstate', () => void draw())
client.onChange(changed)
void open()
