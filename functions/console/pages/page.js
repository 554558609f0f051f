// The frame around every view: header, notices, what is announced, dialogs, forms, and how a failure is told.

import { LatchkeyError } from './latchkey.js'
import { icon, make } from './dom.js'
import { LANGUAGES, chooseLanguage, duration, language, say, wordOf } from './words.js'

/** @typedef {import('./dom.js').Child} Child */
/** @typedef {import('./words.js').Word} Word */
/** @typedef {{ path: string, word: Word }} Link */

const root = document.documentElement
/** What stands before the paths of this service. */
export const basePath = root.dataset['basePath'] ?? ''
/** What the product is called. */
export const productName = root.dataset['name'] ?? ''

const header = make('header')
const notices = make('div.notices')
const place = make('div')
const live = make('p.unseen', { role: 'status', 'aria-live': 'polite' })
const connection = make('p.offline', { role: 'status' })
const main = make('main', { id: 'main', tabindex: -1 }, connection, notices, place)

/** Puts the frame on the page. @param {() => void} redraw draws everything again, in another language */
export function start(redraw) {
  const skip = make('a.skip', { href: '#main', onclick: skipToMain }, say('skip'))
  document.body.replaceChildren(skip, header, main, live)
  const tell = () => {
    connection.textContent = navigator.onLine ? '' : say('offline')
  }
  addEventListener('offline', tell)
  addEventListener('online', tell)
  tell()
  onLanguage = () => {
    skip.textContent = say('skip')
    tell()
    redraw()
  }
}

let onLanguage = () => {}

/** @param {Event} event */
function skipToMain(event) {
  event.preventDefault()
  main.focus()
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
      make('a', { href: basePath + path, 'aria-current': path === current && 'page' }, say(word)),
    ),
  )
  const choose = make(
    'select',
    { 'aria-label': say('language'), onchange: (/** @type {Event} */ event) => {
      chooseLanguage(/** @type {any} */ (event.target).value)
      onLanguage()
      header.querySelector('select')?.focus()
    } },
    Object.entries(LANGUAGES).map(([tag, name]) => make('option', { value: tag, lang: tag, selected: tag === language }, name)),
  )
  header.replaceChildren(
    make('div.bar-top', {}, make('a.brand', { href: basePath + home }, brand), make('div.tools', {}, choose, more)),
    ...(links.length ? [navigation] : []),
  )
}

/**
 * Shows a view. Its heading gets the focus, so that a screen reader says where one is, but not when it is the first.
 * @param {string} title @param {...(Child | Child[])} content
 */
export function show(title, ...content) {
  document.title = productName ? `${title} · ${productName}` : title
  const heading = make('h1', { tabindex: -1 }, title)
  place.replaceChildren(make('div.view', {}, heading, ...content.flat().map((child) => child || '')))
  if (wasShown) {
    heading.focus({ preventScroll: true })
    scrollTo(0, 0)
  }
  wasShown = true
}

let wasShown = false

/** What a screen reader says, in the place of a look. @param {string} text */
export function announce(text) {
  live.textContent = ''
  // A second time the same text would be no change.
  setTimeout(() => {
    live.textContent = text
  }, 50)
}

/**
 * A message at the head of the page, until the next view. @param {string} text @param {'good' | 'info' | 'warning'} [kind]
 */
export function notify(text, kind = 'good') {
  const picture = kind === 'good' ? 'check' : kind
  notices.replaceChildren(make(`p.notice.${kind}`, {}, icon(picture), make('span', {}, text)))
  announce(text)
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

/** A failure in words. @param {unknown} error */
export function explain(error) {
  if (!(error instanceof LatchkeyError)) {
    console.warn(error)
    return say('failed')
  }
  const wait = { time: duration(error.retryAfter ?? 1) }
  if (error.status === 429) return say('too_many', wait)
  if (error.status === 503) return say('busy', wait)
  if (!error.status) return say('failed_offline')
  if (error.code === 'validation_failed') return say(INVALID[error.errors[0]?.pointer ?? ''] ?? 'invalid_value')
  if (error.code === 'not_found') return say('not_available')
  return say(wordOf(error.code, error.status === 404 ? 'not_available' : 'failed'))
}

/** A failure with a way out. @param {unknown} error @param {() => void} again */
export function failure(error, again) {
  const id = error instanceof LatchkeyError && error.status ? error.requestId : null
  const text = explain(error)
  return make(
    'div.failure',
    { role: 'alert' },
    icon('warning'),
    make('p', {}, make('strong', {}, say('failed_load')), text === say('failed') ? '' : ` ${text}`),
    id && make('p.small', {}, say('request', { id })),
    make('button', { type: 'button', onclick: again }, say('try_again')),
  )
}

/** Keeps a button from being pressed twice while something is done. @param {HTMLButtonElement} button @param {() => Promise<void>} act */
export async function whileBusy(button, act) {
  if (button.getAttribute('aria-disabled') === 'true') return
  button.setAttribute('aria-disabled', 'true')
  button.classList.add('busy')
  try {
    await act()
  } finally {
    button.removeAttribute('aria-disabled')
    button.classList.remove('busy')
  }
}

let lastId = 0
/** @param {string} what */
export const newId = (what) => `${what}-${++lastId}`

/**
 * An entry of a form, with a place for what is wrong with it.
 * @param {Word} label @param {import('./dom.js').Properties} properties @param {string} [hint]
 */
export function field(label, properties, hint) {
  const id = newId('field')
  const input = make('input', { id, 'aria-describedby': `${id}-hint ${id}-wrong`, ...properties })
  const wrong = make('p.wrong', { id: `${id}-wrong` })
  const entry = make('span.entry', {}, input)
  if (properties['type'] === 'password') entry.append(reveal(input, say(label)))
  const element = make(
    'div.field', {}, make('label', { for: id }, say(label)), entry, make('p.hint', { id: `${id}-hint` }, hint), wrong,
  )
  /** @param {string} text */
  const complain = (text) => {
    wrong.textContent = text
    input.toggleAttribute('aria-invalid', false)
    if (text) input.setAttribute('aria-invalid', 'true')
  }
  input.addEventListener('input', () => complain(''))
  return { element, input, complain }
}

/** @param {HTMLInputElement} input @param {string} label */
function reveal(input, label) {
  const button = make('button.reveal', { type: 'button', 'aria-pressed': 'false', 'aria-label': `${say('show_password')}: ${label}` }, say('show'))
  button.addEventListener('click', () => {
    const hidden = input.type === 'password'
    input.type = hidden ? 'text' : 'password'
    button.setAttribute('aria-pressed', String(hidden))
    button.textContent = say(hidden ? 'hide' : 'show')
    input.focus()
  })
  return button
}

/** @typedef {ReturnType<typeof field>} Field */

/** What is wrong with an e-mail address, by eye; the service decides. @param {string} text @returns {Word | null} */
export const checkEmail = (text) =>
  !text.trim() ? 'required_email' : /^[^@\s]+@[^@\s]+$/.test(text.trim()) ? null : 'invalid_email'

/** What is wrong with a new password, as far as a page can say. @param {string} text @returns {Word | null} */
export function checkNewPassword(text) {
  const length = [...text].length
  return !length ? 'required_password' : length < 8 ? 'short_password' : length > 128 ? 'long_password' : null
}

/** @param {string} text @returns {Word | null} */
export const checkPassword = (text) => (text ? null : 'required_password')

/**
 * A form. `act` gets what was entered, unless a check finds something wrong, which stands at its entry then. So does a failure
 * whose code is in `at`; another stands below the form.
 * @param {Array<{ field: Field, check: (text: string) => Word | null }>} entries
 * @param {Word} action @param {(...texts: string[]) => Promise<void>} act
 * @param {{ at?: Record<string, number>, kind?: string, cancel?: () => void }} [options]
 */
export function form(entries, action, act, { at = {}, kind = 'primary', cancel } = {}) {
  const problem = make('p.wrong', { role: 'alert' })
  const button = make(/** @type {'button'} */ (`button.${kind}`), { type: 'submit' }, say(action))
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault()
    problem.textContent = ''
    const wrong = entries.filter(({ field, check }) => {
      const word = check(field.input.value)
      field.complain(word ? say(word) : '')
      return word
    })
    if (wrong[0]) return wrong[0].field.input.focus()
    await whileBusy(button, async () => {
      try {
        await act(...entries.map(({ field }) => field.input.value))
      } catch (error) {
        const place = error instanceof LatchkeyError ? entries[at[error.code] ?? -1] : undefined
        if (!place) {
          problem.textContent = explain(error)
          return
        }
        place.field.complain(explain(error))
        place.field.input.focus()
      }
    })
  }
  return make(
    'form',
    { novalidate: true, onsubmit: submit },
    entries.map(({ field }) => field.element),
    problem,
    make('div.buttons', {}, button, cancel && make('button', { type: 'button', onclick: cancel }, say('cancel'))),
  )
}

/**
 * Asks in a dialog. It is done when `act` is; a failure is told in the dialog. The browser gives the focus back to where it
 * was, if that is still there.
 * @param {{ title: string, text: Child | Child[], action: Word, danger?: boolean, act: () => Promise<void> }} question
 * @returns {Promise<boolean>} whether it was done
 */
export function ask({ title, text, action, danger, act }) {
  return open(title, (close) => {
    const problem = make('p.wrong', { role: 'alert' })
    const button = make(/** @type {'button'} */ (danger ? 'button.danger' : 'button.primary'), { type: 'button' }, say(action))
    button.addEventListener('click', () =>
      whileBusy(button, async () => {
        try {
          await act()
          close(true)
        } catch (error) {
          problem.textContent = explain(error)
        }
      }),
    )
    const cancel = make('button', { type: 'button', autofocus: true, onclick: () => close(false) }, say('cancel'))
    return [make('div', {}, text), problem, make('div.buttons', {}, button, cancel)]
  })
}

/**
 * Asks for the password in a dialog.
 * @param {{ title: string, text: string, action: Word, danger?: boolean, act: (password: string) => Promise<void> }} question
 * @returns {Promise<boolean>} whether it was done
 */
export function askPassword({ title, text, action, danger, act }) {
  return open(title, (close) => {
    const password = field('password', { type: 'password', autocomplete: 'current-password', autofocus: true })
    const entries = [{ field: password, check: checkPassword }]
    /** @param {string} text */
    const done = async (text) => {
      await act(text)
      close(true)
    }
    const options = { at: { wrong_password: 0 }, kind: danger ? 'danger' : 'primary', cancel: () => close(false) }
    return [make('p', {}, text), form(entries, action, done, options)]
  })
}

/** @param {string} title @param {(close: (done: boolean) => void) => Child[]} fill @returns {Promise<boolean>} */
function open(title, fill) {
  clearNotices()
  return new Promise((resolve) => {
    const id = newId('dialog')
    let done = false
    const dialog = make('dialog', { 'aria-labelledby': id })
    // What was confirmed is under way: it cannot be called back, so nothing may look as if it was.
    const isBusy = () => dialog.querySelector('.busy') !== null && !('over' in dialog.dataset)
    const close = (/** @type {boolean} */ isDone) => {
      if (!isDone && isBusy()) return
      done = isDone
      dialog.dataset['over'] = ''
      dialog.close()
    }
    dialog.append(make('h2', { id }, title), ...make('div', {}, fill(close)).childNodes)
    dialog.addEventListener('cancel', (event) => isBusy() && event.preventDefault())
    dialog.addEventListener('close', () => {
      // A second Escape closes it whatever is said to the first.
      if (isBusy()) return dialog.showModal()
      dialog.remove()
      resolve(done)
    })
    // A press on what is behind it closes it, as Escape does.
    dialog.addEventListener('mousedown', (event) => {
      const { left, right, top, bottom } = dialog.getBoundingClientRect()
      const isOutside = event.clientX < left || event.clientX > right || event.clientY < top || event.clientY > bottom
      if (event.target === dialog && isOutside) close(false)
    })
    document.body.append(dialog)
    dialog.showModal()
  })
}

/** Closes every dialog, whatever it is about. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.dataset['over'] = ''
    dialog.close()
  }
}

/** Does something that may need a recent proof of who one is, and asks for the password then. @param {() => Promise<void>} act @param {(password: string) => Promise<unknown>} prove */
export async function withProof(act, prove) {
  try {
    await act()
  } catch (error) {
    if (!(error instanceof LatchkeyError) || error.code !== 'reauthentication_required') throw error
    const proved = await askPassword({
      title: say('prove_title'),
      text: say('prove_text'),
      action: 'continue',
      act: async (password) => {
        await prove(password)
        await act()
      },
    })
    if (!proved) throw error
  }
}
