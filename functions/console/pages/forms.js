// Forms: entries with a place for what is wrong, what can be seen to be wrong, and a button that is not pressed twice.

import { LatchkeyError } from './latchkey.js'
import { make, newId } from './dom.js'
import { explain } from './page.js'
import { say } from './words.js'

/** @typedef {import('./words.js').Word} Word */

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
