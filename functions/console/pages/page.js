// The frame around every view: header, notices, what is announced, where the focus is, and how a failure is told.

import { LatchkeyError } from './latchkey.js'
import { fill, icon, make, rewrite, skeleton } from './dom.js'
import { LANGUAGES, chooseLanguage, duration, language, say, wordOf } from './words.js'

/** @typedef {import('./dom.js').Child} Child */
/** @typedef {import('./words.js').Word} Word */
/** @typedef {import('./words.js').Phrase} Phrase */
/** @typedef {{ path: string, word: Word }} Link */

const root = document.documentElement
/** What stands before the paths of this service. */
export const basePath = root.dataset['basePath'] ?? ''
/** What the product is called. */
export const productName = root.dataset['name'] ?? ''
/** Whether this service has the page of people and that of administrators, lets people register, and has links sent to them. */
export const offers = {
  account: root.dataset['account'] === 'on',
  admin: root.dataset['admin'] === 'on',
  registration: root.dataset['registration'] === 'on',
  links: root.dataset['links'] === 'on',
}

const header = make('header')
const user = make('p.user', { hidden: true })
const notices = make('div.notices')
const place = make('div')
const waiting = make('div')
const live = make('p.unseen', { role: 'status', 'aria-live': 'polite' })
const connection = make('p.offline', { role: 'status' })
const main = make('main', { id: 'main', tabindex: -1 }, connection, notices, place, waiting)

/** Puts the frame on the page. */
export function start() {
  const skip = make('a.skip', { href: '#main', onclick: skipToMain }, say('skip'))
  document.body.replaceChildren(skip, header, main, live)
  const tell = () => {
    fill(connection, navigator.onLine ? '' : say('offline'))
  }
  addEventListener('offline', tell)
  addEventListener('online', tell)
  tell()
  keepFocus()
}

/** @param {Event} event */
function skipToMain(event) {
  event.preventDefault()
  main.focus()
}

/** Who has the focus does not lose it with what is taken away: the heading of the view gets it. */
function keepFocus() {
  /** @type {EventTarget | null} */
  let last = null
  addEventListener('focusin', ({ target }) => {
    last = target
  })
  addEventListener('focusout', ({ target }) => {
    // Whether it has gone is known only afterwards.
    setTimeout(() => {
      if (last === target && target instanceof Node && target.isConnected) last = null
    })
  })
  new MutationObserver(() => {
    if (!(last instanceof Node) || last.isConnected || document.activeElement !== document.body) return
    last = null
    focusHeading()
  }).observe(document.body, { childList: true, subtree: true })
}

/** Gives the focus to the heading of the view, where a screen reader reads on. */
export const focusHeading = () => place.querySelector('h1')?.focus({ preventScroll: true })

let wait = 0
/** Hides everything while it is not known whose it is; if that takes long, it is said. @param {boolean} isHidden */
export function hide(isHidden) {
  // What is hidden loses the focus, with which a screen reader would begin again at the head of the page.
  if (isHidden && place.contains(document.activeElement)) main.focus({ preventScroll: true })
  place.hidden = notices.hidden = isHidden
  clearTimeout(wait)
  waiting.replaceChildren()
  if (isHidden) wait = setTimeout(() => waiting.replaceChildren(skeleton(2)), 300)
}

/** Shows in the header who is signed in. @param {Phrase | null} name null for nobody */
export function showUser(name) {
  user.hidden = name === null
  fill(user, make('span.unseen', {}, say('signed_in_as'), ' '), make('bdi', { title: name }, name))
}

/**
 * The header with its links; `current` is the one that is shown.
 * @param {string} home @param {Link[]} links @param {string} [current] @param {Child[]} [more]
 */
export function drawHeader(home, links, current, more = []) {
  const logo = root.dataset['logo']
  const brand = logo ? make('img', { src: logo, alt: productName }) : productName
  const navigation = make(
    'nav',
    { 'aria-label': say('main_navigation') },
    links.map(({ path, word }) =>
      make('a', { href: basePath + path, 'data-key': `to ${path}`, 'aria-current': path === current && 'page' }, say(word)),
    ),
  )
  const choose = make(
    'select',
    { 'aria-label': say('language'), 'data-key': 'language', onchange: (/** @type {Event} */ event) => {
      chooseLanguage(/** @type {any} */ (event.target).value)
      live.textContent = ''
      rewrite(document.body)
      document.title = titleNow()
    } },
    Object.entries(LANGUAGES).map(([tag, name]) => make('option', { value: tag, lang: tag, selected: tag === language }, name)),
  )
  const key = header.contains(document.activeElement) && document.activeElement?.getAttribute('data-key')
  header.replaceChildren(
    make('div.bar-top', {}, make('a.brand', { href: basePath + home }, brand), make('div.tools', {}, choose, more)),
    make('div.bar-low', {}, user, links.length ? navigation : null),
  )
  if (key) focusKey(header, key)
}

/** Gives the focus to what is drawn again under the same key. Whether it is there. @param {Element} within @param {string} key */
export function focusKey(within, key) {
  const element = /** @type {HTMLElement | null} */ (within.querySelector(`[data-key="${CSS.escape(key)}"]`))
  element?.focus({ preventScroll: true })
  return element !== null
}

/**
 * Shows a view. Its heading gets the focus, so that a screen reader says where one is, but not when it is the first.
 * @param {Phrase} title @param {...(Child | Child[])} content
 */
export function show(title, ...content) {
  titleNow = () => (productName && title !== productName ? `${title} · ${productName}` : String(title))
  document.title = titleNow()
  const heading = make('h1', { tabindex: -1 }, title)
  live.textContent = ''
  fill(place, make('div.view', {}, heading, ...content))
  if (isShown) {
    heading.focus({ preventScroll: true })
    scrollTo(0, 0)
  }
  isShown = true
}

let titleNow = () => document.title
let isShown = false

/** Shows that a view comes, which is the first if none was there. @param {Phrase} title @param {number} rows */
export function showLoading(title, rows) {
  const before = isShown
  show(title, skeleton(rows))
  isShown = before
}

/** Says that there is nothing at the address. @param {string} home the way back */
export const showNotFound = (home) =>
  show(say('not_found'), make('div.card', {}, make('p', {}, say('not_found_text')), make('p.links', {}, link(home, say('to_start')))))

let soon = 0
/** What a screen reader says, in the place of a look. @param {Phrase} text */
export function announce(text) {
  live.textContent = ''
  clearTimeout(soon)
  // A second time the same text would be no change. Of two texts at once the last one is said.
  soon = setTimeout(() => {
    live.textContent = String(text)
  }, 50)
}

/**
 * A message at the head of the page, until the next view. @param {Phrase} text @param {'good' | 'info' | 'warning'} [kind]
 */
export function notify(text, kind = 'good') {
  const picture = kind === 'good' ? 'check' : kind
  const element = make(`p.notice.${kind}`, {}, icon(picture), make('span', {}, text))
  fill(notices, element)
  notices.scrollIntoView({ block: 'nearest' })
  announce(text)
  return element
}

/** Takes the message away. */
export const clearNotices = () => notices.replaceChildren()

/** Goes to a view of this page. @param {string} path below the base path */
export function go(path) {
  if (location.pathname !== basePath + path) history.pushState(null, '', basePath + path)
  dispatchEvent(new PopStateEvent('popstate'))
}

/** A link to a view of this page. @param {string} path @param {...(Child | Child[])} children */
export const link = (path, ...children) => make('a', { href: basePath + path }, ...children)

addEventListener('click', (event) => {
  const target = event.target instanceof Element ? event.target.closest('a') : null
  if (!target || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return
  const area = location.pathname.slice(basePath.length).split('/')[1]
  const below = `${basePath}/${area}`
  if (target.origin !== location.origin || target.hasAttribute('download')) return
  if (target.pathname !== below && !target.pathname.startsWith(`${below}/`)) return
  if (target.hash) return
  event.preventDefault()
  clearNotices()
  go(target.pathname.slice(basePath.length))
})

/** What is said of a value that the service does not allow, by its place in the body. @type {Record<string, Word>} */
const INVALID = { '#/email': 'invalid_email', '#/name': 'invalid_name' }

/** A failure of which nothing is known. */
export const UNKNOWN = say('failed')

/** A failure in words. @param {unknown} error @returns {Phrase} */
export function explain(error) {
  if (!(error instanceof LatchkeyError)) {
    if (error instanceof Error) console.warn(error)
    return UNKNOWN
  }
  const wait = { time: duration(error.retryAfter ?? 1) }
  if (error.status === 429) return say('too_many', wait)
  if (error.status === 503) return say('busy', wait)
  if (!error.status) return say('failed_offline')
  const wrong = error.errors[0]
  if (error.code === 'validation_failed') return say(wrong?.code === 'unchanged' ? 'same_email' : INVALID[wrong?.pointer ?? ''] ?? 'invalid_value')
  if (error.code === 'not_found') return say('not_available')
  const word = wordOf(error.code, error.status === 404 ? 'not_available' : 'failed')
  return word === 'failed' ? UNKNOWN : say(word)
}

/** A failure with a way out. @param {unknown} error @param {() => void} again */
export function failure(error, again) {
  const id = error instanceof LatchkeyError && error.status ? error.requestId : null
  const text = explain(error)
  const element = make(
    'div.failure',
    { role: 'alert' },
    icon('warning'),
    make('p', {}, make('strong', {}, say('failed_load')), text !== UNKNOWN && [' ', text]),
    id && make('p.small', {}, say('request', { id })),
    make('button', { type: 'button', onclick: again }, say('try_again')),
  )
  addEventListener('online', () => element.isConnected && again(), { once: true })
  return element
}
