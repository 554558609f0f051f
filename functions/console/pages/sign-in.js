// The views of somebody who is not signed in: sign in and register.

import { LatchkeyError } from './latchkey.js'
import { fill, make, own, sentence } from './dom.js'
import { checkEmail, checkNewPassword, checkPassword, field, form, whileBusy } from './ask.js'
import { clearNotices, explain, link, notify, offers, productName, show } from './page.js'
import { account, client, entered } from './session.js'
import { say } from './words.js'
import './account-words.js'

/** Keeps the address of a link for the form to sign in. Who is signed in may be somebody else. @param {string | undefined} email */
export function remember(email) {
  if (email && client.state.status === 'signed-out') entered.email = email
}

/** @param {string} value */
export function emailEntry(value = entered.email) {
  const entry = field('email', {
    type: 'email', name: 'email', autocomplete: 'username', inputmode: 'email', autocapitalize: 'none', spellcheck: 'false', value,
  })
  entry.input.addEventListener('input', () => {
    entered.email = entry.input.value
  })
  return { field: entry, check: checkEmail }
}

/** @param {import('./words.js').Word} label */
export const newPasswordEntry = (label) => ({
  field: field(label, { type: 'password', name: 'new-password', autocomplete: 'new-password' }, say('password_hint')),
  check: checkNewPassword,
})

/** @param {import('./words.js').Phrase} title @param {...(import('./dom.js').Child | import('./dom.js').Child[])} content */
export const card = (title, ...content) => show(title, make('div.card', {}, ...content))

/** Asks for address and password. Who is signed in then sees what stands at the address. */
export function signIn() {
  const address = emailEntry()
  const password = { field: field('password', { type: 'password', name: 'password', autocomplete: 'current-password' }), check: checkPassword }
  const help = make('div.help', {})
  const act = async (/** @type {string} */ email, /** @type {string} */ password) => {
    help.replaceChildren()
    clearNotices()
    try {
      await client.signIn({ email: email.trim(), password })
    } catch (error) {
      if (error instanceof LatchkeyError && error.code === 'email_not_verified' && offers.links) help.replaceChildren(...lostLink(email.trim()))
      throw error
    }
    entered.email = ''
  }
  const canRegister = offers.account && offers.registration
  card(
    say('sign_in_to', { name: productName }),
    form([address, password], 'sign_in', act),
    help,
    offers.account && offers.links && make('p.links', {}, link('/account/forgot-password', say('forgot'))),
    canRegister && make('p.links', {}, say('new_here'), ' ', link('/account/register', say('create'))),
  )
}

/** The link to confirm the address may be lost; one to choose a password confirms it too. @param {string} email */
function lostLink(email) {
  const problem = make('p.wrong', { role: 'alert' })
  const button = make('button', { type: 'button' }, say('send_link'))
  button.addEventListener('click', () =>
    whileBusy(button, async () => {
      try {
        await client.requestPasswordReset({ email })
        mailSent(email, 'forgot_sent')
      } catch (error) {
        fill(problem, explain(error))
      }
    }),
  )
  return [make('p', {}, say('lost_link')), problem, button]
}

export function register() {
  if (!offers.registration) return card(say('create'), make('p', {}, say('registration_closed')), backToSignIn())
  const address = emailEntry()
  const act = async (/** @type {string} */ email, /** @type {string} */ password) => {
    const session = await client.register({ email: email.trim(), password })
    if (!session) return mailSent(email.trim(), 'check_mail_text')
    entered.email = ''
    const told = notify(say(offers.links ? 'registered_confirm' : 'registered'))
    if (offers.links) untilConfirmed(told)
  }
  const at = { email_taken: 0, validation_failed: 0, weak_password: 1 }
  card(
    say('create'),
    form([address, newPasswordEntry('password')], 'create', act, { at }),
    make('p.links', {}, say('have_account'), ' ', link('/account/sign-in', say('sign_in'))),
  )
}

/** Takes a message away when the address was confirmed, here or on another device. @param {HTMLElement} told */
function untilConfirmed(told) {
  const look = async () => {
    const { email_verified } = /** @type {import('./settings.js').Account} */ (await account().catch(() => ({})))
    if (told.isConnected && !email_verified) return
    told.remove()
    removeEventListener('focus', look)
    document.removeEventListener('visibilitychange', look)
  }
  addEventListener('focus', look)
  document.addEventListener('visibilitychange', look)
}

/** @param {string} email @param {'forgot_sent' | 'check_mail_text'} word */
export function mailSent(email, word) {
  card(say('check_mail'), make('p', {}, sentence(say(word, { email: '{email}' }), { email: own(email) })), backToSignIn())
}

/** The way on, which leads to the devices of who is signed in. */
export const backToSignIn = () =>
  make('p.links', {}, client.state.status === 'signed-in' ? link('/account', say('to_devices')) : link('/account/sign-in', say('back_to_sign_in')))
