// What the links of mails lead to, and how one asks for them. Nobody needs to be signed in, and somebody may be.

import { LatchkeyError } from './latchkey.js'
import { fill, make, own, sentence } from './dom.js'
import { form } from './ask.js'
import { go, link, notify, offers, productName } from './page.js'
import { accountAgain, client, entered, userId } from './session.js'
import { backToSignIn, card, emailEntry, mailSent, newPasswordEntry, remember } from './sign-in.js'
import { say } from './words.js'

/** @typedef {{ value: string, claims: Record<string, string> } | null} Token */
/** @typedef {import('./words.js').Word} Word */

/** A sentence about an address. @param {Word} word @param {string} email */
const about = (word, email) => make('p', {}, sentence(say(word, { email: '{email}', name: productName }), { email: make('strong', {}, own(email)) }))

/** Whether a link is used up, expired or broken. @param {unknown} error */
const isInvalid = (error) => error instanceof LatchkeyError && (error.code === 'invalid_link' || error.code === 'invalid_request')

/** Whether somebody else is signed in here than the one whose link it is. @param {string} [sub] */
const isOthers = async (sub) => client.state.status === 'signed-in' && sub !== undefined && sub !== (await userId().catch(() => sub))

export function forgotPassword() {
  if (!offers.links) return card(say('forgot_title'), make('p', {}, say('no_links')), backToSignIn())
  const mine = client.state.status === 'signed-in' ? client.state.user?.email : null
  const address = mine ? emailEntry(mine) : emailEntry()
  const act = async (/** @type {string} */ email) => {
    await client.requestPasswordReset({ email: email.trim() })
    mailSent(email.trim(), 'forgot_sent')
  }
  card(say('forgot_title'), make('p', {}, say('forgot_text')), form([address], 'send_link', act, { at: { validation_failed: 0 } }), backToSignIn())
}

/** @param {Token} token */
export function resetPassword(token) {
  const title = say('choose_password')
  if (!token) return card(title, make('p', {}, say('link_incomplete')), newLink())
  const { email, sub } = token.claims
  const act = async (/** @type {string} */ _, /** @type {string} */ new_password) => {
    const isOther = await isOthers(sub)
    try {
      await client.confirmPasswordReset({ token: token.value, new_password })
    } catch (error) {
      if (!isInvalid(error)) throw error
      remember(email)
      return card(title, make('p', { role: 'alert' }, say('invalid_link')), newLink())
    }
    entered.token = ''
    // The session of this page has ended with all others, unless somebody else is signed in here.
    if (client.state.status === 'signed-in') await client.getSession().catch(() => {})
    remember(email)
    go('/account/sign-in')
    notify(isOther && email ? say('password_changed_of', { email }) : say('password_reset_done'))
  }
  // A password manager stores the password under this name.
  const name = emailEntry(email ?? '')
  name.field.element.hidden = true
  const wanted = newPasswordEntry('new_password')
  card(
    title,
    email ? about('choose_password_for', email) : null,
    make('p', {}, say('choose_password_text')),
    form([{ ...name, check: () => null }, wanted], 'change_password', act, { at: { weak_password: 1 } }),
    newLink(),
  )
}

const newLink = () => (offers.links ? make('p.links', {}, link('/account/forgot-password', say('new_link'))) : backToSignIn())

/** A press, because some mail programs open every link to look at it. @param {Token} token */
export function verifyEmail(token) {
  const title = say('confirm_email')
  if (!token) return card(title, make('p', {}, say('link_incomplete')), backToSignIn())
  const { email, typ, sub } = token.claims
  const isChange = typ === 'change-email+jwt'
  const act = async () => {
    const isOther = await isOthers(sub)
    try {
      await client.verifyEmail({ token: token.value })
    } catch (error) {
      if (!isInvalid(error)) throw error
      // The address of a change that was not made is no account's.
      if (!isChange) remember(email)
      return expired(isChange, sub)
    }
    entered.token = ''
    if (client.state.status === 'signed-in') await accountAgain().catch(() => {})
    remember(email)
    go('/account')
    notify(isOther && email ? say('confirmed_of', { email }) : say(isChange ? 'email_changed' : 'email_confirmed'))
  }
  card(
    title,
    email ? about(isChange ? 'change_email_to' : 'confirm_email_of', email) : null,
    make('p', {}, say(isChange ? 'change_email_press' : 'confirm_email_text')),
    form([], 'confirm', act),
    !isChange && email && offers.links && make('div.buttons', {}, make('button.quiet', { type: 'button', onclick: () => notMine(email, token) }, say('not_mine'))),
  )
}

/** Another person may have registered with this address, and would keep their password if it were confirmed. @param {string} email @param {Token} token */
function notMine(email, token) {
  const act = async () => {
    await client.requestPasswordReset({ email })
    mailSent(email, 'forgot_sent')
  }
  card(
    say('not_mine_title'),
    about('not_mine_text', email),
    make('p', {}, say('not_mine_reset')),
    form([], 'send_link', act, { cancel: () => verifyEmail(token) }),
    make('p.links', {}, say('not_mine_nothing')),
  )
}

/** A link that is of no use any more, and how its user gets another. @param {boolean} isChange @param {string} [user] whose it was */
async function expired(isChange, user) {
  const title = say('confirm_email')
  const text = make('p', { role: 'alert' }, say('invalid_link'))
  if (client.state.status !== 'signed-in') {
    const way = offers.links && [make('p', {}, say(isChange ? 'sign_in_for_change' : 'sign_in_for_link')), make('p.links', {}, link('/account/settings', say('sign_in')))]
    return card(title, text, way, offers.links && make('p.links', {}, link('/account/forgot-password', say('forgot'))))
  }
  if (isChange) return card(title, text, make('p.links', {}, link('/account/settings', say('to_settings'))))
  const isMine = user === undefined || user === (await userId().catch(() => null))
  const problem = make('p.wrong', { role: 'alert' })
  const send = async () => {
    const { email, email_verified } = await accountAgain()
    if (email_verified || !email) {
      fill(problem, say('confirmed_already'))
      return
    }
    await client.requestEmailVerification()
    card(say('check_mail'), about('link_sent', email), backToSignIn())
  }
  return card(title, text, offers.links && isMine && form([], 'resend', send), problem, backToSignIn())
}
