// Address, password, data, the end of the account.

import { fill, icon, make, own, skeleton } from './dom.js'
import { askPassword, checkEmail, checkNewPassword, checkPassword, field, form, whileBusy } from './ask.js'
import { announce, clearNotices, failure, focusHeading, focusKey, notify, offers, show } from './page.js'
import { account as accountNow, accountAgain, client, tell } from './session.js'
import { say } from './words.js'
import './account-words.js'

/** The view. Returns how to leave it. @param {'settings' | 'password'} view where the focus goes */
export function settings(view) {
  const content = make('div', {})
  /** @type {HTMLElement | null} */
  let panel = null
  let shown = ''
  /** @param {Account} account */
  const addressOf = (account) => {
    shown = text(account)
    return (panel = address(account, look))
  }
  const draw = async () => {
    content.replaceChildren(skeleton(2))
    try {
      const account = await accountAgain()
      content.replaceChildren(addressOf(account), ...(isWithoutPassword(account) ? [data()] : [password(account), data(), end()]))
      if (view === 'password') content.querySelector('#password input')?.scrollIntoView({ block: 'center' })
    } catch (error) {
      if (client.state.status !== 'signed-out') content.replaceChildren(failure(error, draw))
    }
  }
  /** What has happened to the address elsewhere is shown, but not to somebody who is typing or deciding. */
  const look = async () => {
    const account = await accountNow().catch(() => null)
    if (!account || !panel?.isConnected || text(account) === shown || panel.querySelector('form') || document.querySelector('dialog')) return
    const before = panel
    const hasFocus = before.contains(document.activeElement)
    before.replaceWith(addressOf(account))
    if (hasFocus) focusKey(content, 'change')
    // The name under which password managers keep the password.
    content.querySelector('input[autocomplete=username]')?.setAttribute('value', account.email ?? '')
  }
  show(say('settings_title'), content)
  void draw()
  addEventListener('focus', look)
  document.addEventListener('visibilitychange', look)
  return () => {
    removeEventListener('focus', look)
    document.removeEventListener('visibilitychange', look)
  }
}

/** What is shown of an account's address. @param {Account} account */
const text = ({ email, email_verified }) => `${email} ${email_verified}`

/** @param {import('./words.js').Word} title @param {string} id @param {...(import('./dom.js').Child | import('./dom.js').Child[])} content */
const section = (title, id, ...content) =>
  make('section.panel', { 'aria-labelledby': `${id}-title`, id }, make('h2', { id: `${id}-title` }, say(title)), ...content)

/** @typedef {import('./latchkey.js').Account & { email_verified?: boolean }} Account */

/** Whoever signs in elsewhere has no password here. An older version of the service does not say so. @param {Account} account */
const isWithoutPassword = ({ has_password }) => has_password === false

/** @param {Account} account @param {() => void} look looks at it again */
function address(account, look) {
  const email = account.email
  const state = account.email_verified === undefined || !email || isWithoutPassword(account)
    ? null
    : account.email_verified
      ? make('span.mark.good', {}, icon('check'), say('email_verified'))
      : make('span.mark.warning', {}, icon('warning'), say('email_unverified'))
  const place = make('div', {})
  const open = () => {
    const check = (/** @type {string} */ text) => checkEmail(text) ?? (text.trim() === email ? 'same_email' : null)
    const next = { field: field('new_email', { type: 'email', autocomplete: 'email', autocapitalize: 'none', spellcheck: 'false' }), check }
    const proof = { field: field('password', { type: 'password', autocomplete: 'current-password' }), check: checkPassword }
    const act = async (/** @type {string} */ address, /** @type {string} */ password) => {
      await client.reauthenticate({ password })
      await client.changeEmail({ email: address.trim(), password })
      notify(say('change_sent', { email: address.trim() }), 'info')
      close()
      focusKey(place, 'change')
    }
    const at = { email_taken: 0, validation_failed: 0, wrong_password: 1 }
    place.replaceChildren(make('p', {}, say('change_email_text')), form([next, proof], 'send_link', act, { at, cancel }))
    next.field.input.focus()
  }
  const close = () => {
    const change = make('button', { type: 'button', 'data-key': 'change', onclick: open }, say('change_email'))
    place.replaceChildren(make('div.buttons', {}, change, account.email_verified === false && email && resend(look)))
  }
  const cancel = () => {
    close()
    focusKey(place, 'change')
  }
  // Whoever signs in elsewhere has an address that no link verifies or changes, and nothing that asks for a password.
  if (isWithoutPassword(account)) fill(place, say('no_password'))
  else if (offers.links) close()
  return section('email', 'email', make('p.value', {}, own(email ?? say('without_email')), ' ', state), place)
}

/** @param {() => void} look */
function resend(look) {
  const button = make('button.quiet', { type: 'button' }, say('resend'))
  button.addEventListener('click', () =>
    whileBusy(button, async () => {
      try {
        const { email, email_verified } = /** @type {Account} */ (await accountAgain())
        look()
        if (email_verified) return void notify(say('confirmed_already'))
        await client.requestEmailVerification()
        notify(say('link_sent', { email: email ?? '' }), 'info')
      } catch (error) {
        tell(error)
      }
    }),
  )
  return button
}

/** @param {Account} account */
function password(account) {
  // Password managers keep the new password under this name.
  const name = { field: field('email', { type: 'text', autocomplete: 'username', value: account.email ?? '' }), check: () => null }
  name.field.element.hidden = true
  const current = { field: field('current_password', { type: 'password', autocomplete: 'current-password' }), check: checkPassword }
  const next = { field: field('new_password', { type: 'password', autocomplete: 'new-password' }, say('password_hint')), check: checkNewPassword }
  const act = async (/** @type {string} */ _, /** @type {string} */ current_password, /** @type {string} */ new_password) => {
    await client.changePassword({ current_password, new_password })
    for (const { field } of [current, next]) field.input.value = ''
    notify(say('password_changed'))
    focusHeading()
    scrollTo(0, 0)
  }
  const at = { wrong_password: 1, weak_password: 2, password_unchanged: 2, validation_failed: 2 }
  return section('password', 'password', make('p', {}, say('password_text')), form([name, current, next], 'change_password', act, { at }))
}

function data() {
  const button = make('button', { type: 'button' }, say('export'))
  button.addEventListener('click', () =>
    whileBusy(button, async () => {
      clearNotices()
      try {
        download(await client.exportData())
        announce(say('exported'))
      } catch (error) {
        tell(error)
      }
    }),
  )
  return section('your_data', 'data', make('p', {}, say('export_text')), make('div.buttons', {}, button))
}

/** @param {unknown} value */
function download(value) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: 'application/json' }))
  make('a', { href: url, download: 'account.json' }).click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

function end() {
  const press = async () => {
    await askPassword({
      title: say('delete_title'),
      text: say('delete_text'),
      action: 'delete_for_good',
      danger: true,
      act: async (password) => {
        // A deletion wants a recent proof in addition to the password.
        await client.reauthenticate({ password })
        await client.deleteAccount({ password })
        notify(say('deleted_done'), 'info')
      },
    })
  }
  const button = make('button.danger.plain', { type: 'button', onclick: press }, say('delete_account'))
  return section('delete_account', 'delete', make('p', {}, say('delete_text')), make('div.buttons', {}, button))
}
