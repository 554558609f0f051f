// Dialogs: what is asked before something is done, and the password where a recent proof is needed.

import { LatchkeyError } from './latchkey.js'
import { make, newId } from './dom.js'
import { checkPassword, field, form, whileBusy } from './forms.js'
import { clearNotices, explain, focusHeading } from './page.js'
import { say } from './words.js'

/** @typedef {import('./dom.js').Child} Child */
/** @typedef {import('./words.js').Word} Word */

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
