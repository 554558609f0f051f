// How a person is asked: forms, with a place for what is wrong in them, and dialogs, before something is done.

import { LatchkeyError } from './latchkey.js'
import { fill, make, newId, rewrite } from './dom.js'
import { clearNotices, explain, focusHeading } from './page.js'
import { live, say } from './words.js'

/** @typedef {import('./dom.js').Child} Child */
/** @typedef {import('./words.js').Word} Word */
/** @typedef {import('./words.js').Phrase} Phrase */

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
 * @param {Word} label @param {import('./dom.js').Properties} properties @param {Phrase} [hint]
 */
export function field(label, properties, hint) {
  const id = newId('field')
  const input = make('input', { id, 'aria-describedby': `${id}-hint ${id}-wrong`, ...properties })
  const wrong = make('p.wrong', { id: `${id}-wrong` })
  const entry = make('span.entry', {}, input)
  if (properties['type'] === 'password') entry.append(reveal(input, label))
  const element = make(
    'div.field', {}, make('label', { for: id }, say(label)), entry, make('p.hint', { id: `${id}-hint` }, hint), wrong,
  )
  let soon = 0
  /** @param {Phrase} text @param {boolean} [isAlert] */
  const complain = (text, isAlert = false) => {
    clearTimeout(soon)
    wrong.removeAttribute('role')
    if (isAlert) wrong.setAttribute('role', 'alert')
    fill(wrong, text)
    input.toggleAttribute('aria-invalid', false)
    if (text) input.setAttribute('aria-invalid', 'true')
  }
  /** Complains, and gives the focus, with which it is read. Who has the focus already hears an alert. @param {Phrase} text */
  const refuse = (text) => {
    const isHere = document.activeElement === input
    const isSame = wrong.textContent === String(text)
    complain(isHere && isSame ? '' : text, isHere)
    input.focus()
    // A second time the same text would be no change.
    if (isHere && isSame) soon = setTimeout(() => complain(text, true), 50)
  }
  input.addEventListener('input', () => complain(''))
  return { element, input, complain, refuse }
}

/** @param {HTMLInputElement} input @param {Word} label */
function reveal(input, label) {
  const action = live(() => String(say(input.type === 'password' ? 'show' : 'hide')))
  const button = make('button.reveal', { type: 'button', 'aria-label': live(() => `${action}: ${say(label)}`) }, action)
  button.addEventListener('click', () => {
    input.type = input.type === 'password' ? 'text' : 'password'
    rewrite(button)
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
    fill(problem)
    let isRight = true
    for (const { field, check } of entries) {
      const word = check(field.input.value)
      if (word && isRight) field.refuse(say(word))
      else field.complain(word ? say(word) : '')
      isRight &&= !word
    }
    if (!isRight) return
    await whileBusy(button, async () => {
      try {
        await act(...entries.map(({ field }) => field.input.value))
      } catch (error) {
        const place = error instanceof LatchkeyError ? entries[at[error.code] ?? -1] : undefined
        if (!place) {
          fill(problem, explain(error))
          return
        }
        place.field.refuse(explain(error))
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
 * @param {{ title: Phrase, text: Child | Child[], action: Word, danger?: boolean, act: () => Promise<void> }} question
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
          fill(problem, explain(error))
        }
      }),
    )
    const cancel = make('button', { type: 'button', autofocus: true, onclick: () => close(false) }, say('cancel'))
    return [make('div', {}, text), problem, make('div.buttons', {}, button, cancel)]
  })
}

/**
 * Asks for the password in a dialog.
 * @param {{ title: Phrase, text: Phrase, action: Word, danger?: boolean, act: (password: string) => Promise<void> }} question
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

/** @param {Phrase} title @param {(close: (done: boolean) => void) => Child[]} contentOf @returns {Promise<boolean>} */
function open(title, contentOf) {
  clearNotices()
  return new Promise((resolve) => {
    const id = newId('dialog')
    let done = false
    const dialog = make('dialog', { 'aria-labelledby': id, 'aria-describedby': `${id}-text` })
    // What was confirmed is under way: it cannot be called back, so nothing may look as if it was.
    const isBusy = () => dialog.querySelector('.busy') !== null && !('over' in dialog.dataset)
    const close = (/** @type {boolean} */ isDone) => {
      if (!isDone && isBusy()) return
      done = isDone
      dialog.dataset['over'] = ''
      dialog.close()
    }
    const heading = make('h2', { id, tabindex: -1 }, title)
    dialog.append(heading, ...make('div', {}, contentOf(close)).childNodes)
    heading.nextElementSibling?.setAttribute('id', `${id}-text`)
    dialog.addEventListener('cancel', (event) => isBusy() && event.preventDefault())
    dialog.addEventListener('close', () => {
      // A second Escape closes it whatever is said to the first.
      if (isBusy()) return dialog.showModal()
      // The browser has given the focus back, unless what had it is gone.
      dialog.remove()
      if (document.activeElement === document.body) focusHeading()
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
    // One that does not fit shows what it is about, not the button at its end that has the focus.
    if (dialog.scrollHeight > dialog.clientHeight + 1) {
      heading.focus()
      dialog.scrollTop = 0
    }
  })
}

// A dialog is about its view. One whose action is under way stays: nothing may look as if that was called back.
addEventListener('popstate', () => {
  if (!document.querySelector('dialog:last-of-type .busy')) closeDialogs()
})

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
