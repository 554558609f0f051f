// The views of somebody who is not signed in: sign in, register, and what the links of mails lead to.

import { own, make, sentence } from './dom.js'
import {
  checkEmail, checkNewPassword, checkPassword, clearNotices, drawHeader, field, form, go, link, notify, productName, show,
} from './page.js'
import { client } from './session.js'
import { say } from './words.js'

/** @typedef {import('./page.js').Field} Field */

const email = () => ({
  field: field('email', { type: 'email', name: 'email', autocomplete: 'username', inputmode: 'email', autocapitalize: 'none', spellcheck: 'false' }),
  check: checkEmail,
})

/** @param {import('./words.js').Word} label */
const newPassword = (label) => ({
  field: field(label, { type: 'password', name: 'new-password', autocomplete: 'new-password' }, say('password_hint')),
  check: checkNewPassword,
})

/** What was typed, so that it need not be typed again on the next view. */
let typed = ''

/** @param {string} title @param {...(import('./dom.js').Child | import('./dom.js').Child[])} content */
function card(title, ...content) {
  drawHeader('/account', [])
  show(title, make('div.card', {}, ...content))
}

/** Asks for address and password. @param {() => void} signedIn */
export function signIn(signedIn, title = say('sign_in_to', { name: productName })) {
  const address = email()
  const password = { field: field('password', { type: 'password', name: 'password', autocomplete: 'current-password' }), check: checkPassword }
  address.field.input.value = typed
  card(
    title,
    form([address, password], 'sign_in', async (email, password) => {
      typed = email
      clearNotices()
      await client.signIn({ email: email.trim(), password })
      typed = ''
      signedIn()
    }),
    make('p.links', {}, link('/account/forgot-password', say('forgot'))),
    make('p.links', {}, say('new_here'), ' ', link('/account/register', say('create'))),
  )
}

/** @param {() => void} signedIn */
export function register(signedIn) {
  const address = email()
  const act = async (/** @type {string} */ email, /** @type {string} */ password) => {
    typed = email
    const session = await client.register({ email: email.trim(), password })
    if (!session) return checkMail(email.trim())
    typed = ''
    signedIn()
    notify(say('registered'))
  }
  const at = { email_taken: 0, validation_failed: 0, weak_password: 1 }
  card(
    say('create'),
    form([address, newPassword('password')], 'create', act, { at }),
    make('p.links', {}, say('have_account'), ' ', link('/account/sign-in', say('sign_in'))),
  )
}

/** @param {string} email */
function checkMail(email) {
  card(say('check_mail'), make('p', {}, sentence(say('check_mail_text', { email: '{email}' }), { email: own(email) })), backToSignIn())
}

const backToSignIn = () => make('p.links', {}, link('/account/sign-in', say('back_to_sign_in')))

export function forgotPassword() {
  const address = email()
  address.field.input.value = typed
  const act = async (/** @type {string} */ email) => {
    await client.requestPasswordReset({ email: email.trim() })
    const sent = sentence(say('forgot_sent', { email: '{email}' }), { email: own(email.trim()) })
    card(say('check_mail'), make('p', { role: 'status' }, sent), backToSignIn())
  }
  card(say('forgot_title'), make('p', {}, say('forgot_text')), form([address], 'send_link', act, { at: { validation_failed: 0 } }), backToSignIn())
}

/** @param {string | null} token */
export function resetPassword(token) {
  if (!token) return incomplete('/account/forgot-password')
  const act = async (/** @type {string} */ _, /** @type {string} */ new_password) => {
    await client.confirmPasswordReset({ token, new_password })
    go('/account/sign-in')
    notify(say('password_reset_done'))
  }
  // A password manager stores the password under this name; the link alone does not tell it.
  const hidden = { field: field('email', { type: 'text', autocomplete: 'username' }), check: () => null }
  hidden.field.element.hidden = true
  const wanted = newPassword('new_password')
  card(
    say('choose_password'),
    make('p', {}, say('choose_password_text')),
    form([hidden, wanted], 'change_password', act, { at: { weak_password: 1 } }),
    make('p.links', {}, link('/account/forgot-password', say('new_link'))),
  )
}

/** A press, because some mail programs open every link to look at it. @param {string | null} token */
export function verifyEmail(token) {
  if (!token) return incomplete('/account')
  const act = async () => {
    await client.verifyEmail({ token })
    go('/account')
    notify(say('email_confirmed'))
  }
  card(say('confirm_email'), make('p', {}, say('confirm_email_text')), form([], 'confirm', act))
}

/** @param {string} way */
function incomplete(way) {
  card(say('confirm_email'), make('p', {}, say('link_incomplete')), make('p.links', {}, link(way, say('continue'))))
}
