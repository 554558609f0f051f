// What the links of mails lead to, and what is offered where there are no links or no new accounts.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { start } from './stack.js'

const EMAIL = 'hedy@example.com'
const PASSWORD = 'correct horse battery staple'
const NEW_PASSWORD = 'wrong donkey charger paperclip'

export async function checkLinks({ device, inspect, visit, ask, say, binary, data, origin, origins }) {
  const registered = await ask('POST', '/v1/auth/register', { email: EMAIL, password: PASSWORD })
  /** The credentials of another service. */
  const addClient = (id, ...options) => {
    const added = execFileSync(binary, ['admin', '--data-dir', data, 'client', 'add', id, '--name', id, '--json', ...options], { stdio: ['ignore', 'pipe', 'ignore'] })
    return `Basic ${Buffer.from(`${id}:${JSON.parse(added).secret}`).toString('base64')}`
  }
  const authorization = addClient('mailer', '--scope', 'links:issue')
  /** The link that a mail would have. */
  const issue = async (purpose, { user } = registered) => {
    const reply = await fetch(`${origin}/v1/service/users/${user.id}/links`, {
      method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify({ purpose }),
    })
    assert.equal(reply.status, 200)
    return (await reply.json()).url
  }
  /** A link to another address, which its user has asked for. */
  const issueChange = async (new_email, { access_token, user, session }) => {
    const asked = await fetch(`${origin}/v1/me/email`, {
      method: 'PUT', headers: { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' }, body: JSON.stringify({ email: new_email, password: PASSWORD }),
    })
    assert.equal(asked.status, 202)
    const reply = await fetch(`${origin}/v1/service/users/${user.id}/links`, {
      method: 'POST', headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ purpose: 'change_email', new_email, email_version: 0, session_id: session.id }),
    })
    assert.equal(reply.status, 200)
    return (await reply.json()).url
  }
  /** The address that the form to sign in has, which the page knows from memory alone. */
  const known = async (page) => {
    await heading(page, 'Sign in to Latchkey')
    const kept = await page.evaluate(() => location.href + JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage }) + document.cookie)
    assert.ok(!kept.includes('@'), 'no address is kept')
    return page.inputValue('input[type=email]')
  }
  const heading = (page, name) => page.getByRole('heading', { name, level: 1 }).waitFor()
  /** The view of a link shows nothing of one, and has nothing to press that uses it. */
  const isForgotten = async (page, name, whose) => {
    await heading(page, name)
    await page.getByText('Open the link in the mail again.').waitFor()
    const shown = await page.locator('.view').evaluate((view) => view.innerText + [...view.querySelectorAll('input')].map(({ value }) => value))
    assert.ok(!shown.includes(whose), shown)
    assert.equal(await page.getByRole('main').getByRole('button').count(), 0)
  }

  const context = await device('phone')
  const page = await visit(context)
  await page.waitForSelector('form')
  const verify = await issue('verify_email')
  assert.ok(verify.startsWith(`${origin}/account/verify-email#token=`), verify)
  await page.goto(verify)
  await heading(page, 'Confirm your e-mail address')
  assert.equal(await page.evaluate(() => location.hash), '', 'the token has left the address')
  assert.equal(await page.title(), 'Confirm your e-mail address · Latchkey')
  await page.getByText(EMAIL).waitFor()
  await inspect(page, 'phone-verify-email')

  // Somebody else may have registered with the address of who opens the link.
  await page.getByRole('button', { name: 'I did not create this account' }).click()
  await heading(page, 'You did not create this account?')
  await inspect(page, 'phone-not-mine')
  await page.selectOption('select', 'de')
  await heading(page, 'Sie haben dieses Konto nicht angelegt?')
  await page.getByRole('button', { name: 'Link senden' }).click()
  await heading(page, 'Prüfen Sie Ihr Postfach')
  const isAsked = async () => {
    const { events } = await ask('GET', '/local/events')
    return events.some(({ type, data }) => type === 'password_reset.requested' && data.email === EMAIL)
  }
  for (let looks = 0; !(await isAsked()); looks++) {
    assert.ok(looks < 50, 'a link was asked for')
    await page.waitForTimeout(100)
  }
  await page.selectOption('select', 'en')

  // A second link, opened in the same tab: only what stands behind the # is another one.
  await page.goto(`${origin}/account/verify-email#token=a.b.c`)
  await page.getByRole('button', { name: 'Confirm' }).click()
  await page.getByText('This link is no longer valid').waitFor()
  await page.getByRole('link', { name: 'Sign in' }).waitFor()
  await inspect(page, 'phone-verify-expired')
  await page.getByRole('link', { name: 'Sign in' }).click()
  assert.equal(await known(page), '', 'the link names nobody')
  await page.goto(verify)
  await page.getByText(EMAIL).waitFor()
  await page.getByRole('button', { name: 'Confirm' }).click()
  await page.locator('.notice', { hasText: 'is confirmed' }).waitFor()
  assert.equal(await known(page), EMAIL, 'after a confirmation')
  await page.goto(await issueChange('mae@example.org', await ask('POST', '/v1/auth/register', { email: 'mae@example.com', password: PASSWORD })))
  await page.getByRole('button', { name: 'Confirm' }).click()
  await page.locator('.notice', { hasText: 'Your new e-mail address is confirmed.' }).waitFor()
  assert.equal(await known(page), 'mae@example.org', 'after a change of the address')
  await page.reload()
  assert.equal(await known(page), '', 'not for who comes next')

  // What a message asks for is done elsewhere.
  const registering = await visit(context, '/account/register')
  await registering.fill('input[type=email]', 'chien@example.com')
  await registering.fill('input[type=password]', PASSWORD)
  await registering.keyboard.press('Enter')
  const asking = registering.locator('.notice', { hasText: 'We have sent you a link' })
  await asking.waitFor()
  const lookAgain = () => registering.evaluate(() => dispatchEvent(new Event('focus')))
  await lookAgain()
  await registering.waitForLoadState('networkidle')
  assert.equal(await asking.count(), 1, 'it stays until then')
  const { user } = await ask('POST', '/v1/auth/login', { email: 'chien@example.com', password: PASSWORD })
  await ask('POST', '/v1/auth/verify-email', { token: new URL(await issue('verify_email', { user })).hash.replace('#token=', '') })
  await registering.waitForTimeout(500)
  await lookAgain()
  await asking.waitFor({ state: 'detached' })
  await registering.getByRole('banner').getByRole('button', { name: 'Sign out' }).click()
  await registering.locator('.notice', { hasText: 'You are signed out.' }).waitFor()
  await registering.close()

  const reset = await issue('reset_password')
  await page.goto(reset)
  await heading(page, 'Choose a new password')
  await page.getByText(EMAIL).waitFor()
  await page.fill('input[autocomplete=new-password]', NEW_PASSWORD)
  await inspect(page, 'phone-reset-password')
  await page.keyboard.press('Enter')
  await page.getByText('Your password is changed').first().waitFor()
  assert.equal(await known(page), EMAIL, 'after a reset')
  await page.goto(reset)
  await page.fill('input[autocomplete=new-password]', PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByText('This link is no longer valid').waitFor()
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H1', 'the focus is at the heading')
  await page.getByRole('link', { name: 'Request a new link' }).click()
  assert.equal(await page.inputValue('input[type=email]'), EMAIL, 'for a new link')

  // The same while somebody is signed in, who asks for a new link.
  await page.goto(`${origin}/account`)
  await page.fill('input[type=email]', EMAIL)
  await page.fill('input[type=password]', NEW_PASSWORD)
  await page.keyboard.press('Enter')
  await page.waitForSelector('li.row.current')
  await page.goto(reset)
  await page.fill('input[autocomplete=new-password]', PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByText('This link is no longer valid').waitFor()
  await page.getByRole('link', { name: 'Request a new link' }).click()
  await heading(page, 'Reset your password')
  await page.getByRole('link', { name: 'Go to your devices' }).waitFor()
  await page.fill('input[type=email]', EMAIL)
  await page.keyboard.press('Enter')
  await heading(page, 'Check your mail')
  await inspect(page, 'phone-check-mail')

  // A link to confirm the address is of no use any more: who is signed in has another one sent.
  const unconfirmed = await visit(await device('phone'))
  const mail = 'emmy@example.com'
  const emmy = await ask('POST', '/v1/auth/register', { email: mail, password: PASSWORD })
  await unconfirmed.fill('input[type=email]', mail)
  await unconfirmed.fill('input[type=password]', PASSWORD)
  await unconfirmed.keyboard.press('Enter')
  await unconfirmed.waitForSelector('li.row.current')
  await unconfirmed.goto(`${origin}/account/verify-email#token=a.b.c`)
  await unconfirmed.getByRole('button', { name: 'Confirm' }).click()
  await unconfirmed.getByRole('button', { name: 'Send the link again' }).click()
  await heading(unconfirmed, 'Check your mail')
  await unconfirmed.getByText(mail).last().waitFor()

  // The links of another account change nothing about who is signed in.
  const lise = await ask('POST', '/v1/auth/register', { email: 'lise@example.com', password: PASSWORD })
  const [verified, changed] = [await issue('verify_email', lise), await issue('reset_password', lise)]
  await unconfirmed.goto(verified)
  await unconfirmed.getByRole('button', { name: 'Confirm' }).click()
  await unconfirmed.locator('.notice', { hasText: 'lise@example.com is confirmed.' }).waitFor()
  await unconfirmed.goBack()
  await isForgotten(unconfirmed, 'Confirm your e-mail address', 'lise')
  await unconfirmed.goto(changed)
  await unconfirmed.fill('input[autocomplete=new-password]', NEW_PASSWORD)
  await unconfirmed.keyboard.press('Enter')
  await unconfirmed.locator('.notice', { hasText: 'The password of lise@example.com is changed.' }).waitFor()
  await unconfirmed.goBack()
  await isForgotten(unconfirmed, 'Choose a new password', 'lise')
  await unconfirmed.getByRole('banner').getByText(mail).waitFor()

  // The address is confirmed elsewhere meanwhile.
  await unconfirmed.getByRole('link', { name: 'Settings' }).click()
  await unconfirmed.getByText('Not confirmed').waitFor()
  const token = new URL(await issue('verify_email', emmy)).hash.slice('#token='.length)
  await ask('POST', '/v1/auth/verify-email', { token })
  await unconfirmed.getByRole('button', { name: 'Send the link again' }).click()
  await unconfirmed.locator('.notice', { hasText: 'already confirmed' }).waitFor()
  await unconfirmed.locator('#email .mark.good').waitFor()

  // The address becomes the new one elsewhere, while it is typed here.
  await unconfirmed.getByRole('button', { name: 'Change address' }).click()
  await unconfirmed.fill('#email input[type=email]', 'emmy@example.org')
  await unconfirmed.fill('#email input[type=password]', PASSWORD)
  const moved = new URL(await issueChange('emmy@example.org', emmy)).hash.slice('#token='.length)
  await ask('POST', '/v1/auth/verify-email', { token: moved })
  await unconfirmed.keyboard.press('Enter')
  await unconfirmed.getByText('This is your address already.').waitFor()

  // Whoever signs out leaves no address of a link in the form, nor one that was typed for a link.
  const signOut = () => unconfirmed.getByRole('banner').getByRole('button', { name: 'Sign out' }).click()
  const signInAgain = async () => {
    await unconfirmed.goto(`${origin}/account`)
    await unconfirmed.fill('input[type=email]', 'emmy@example.org')
    await unconfirmed.fill('input[type=password]', PASSWORD)
    await unconfirmed.keyboard.press('Enter')
    await unconfirmed.waitForSelector('li.row.current')
  }
  await unconfirmed.goto(verified.slice(0, -9)) // as a mail program may break it
  await unconfirmed.getByRole('button', { name: 'Confirm' }).click()
  await unconfirmed.getByText('This link is no longer valid').waitFor()
  await unconfirmed.getByRole('link', { name: 'Go to your devices' }).click()
  await unconfirmed.waitForSelector('li.row.current')
  await signOut()
  assert.equal(await known(unconfirmed), '', "after another account's link to confirm")
  await signInAgain()
  await unconfirmed.goto(changed)
  await unconfirmed.fill('input[autocomplete=new-password]', NEW_PASSWORD)
  await unconfirmed.keyboard.press('Enter')
  await unconfirmed.getByText('This link is no longer valid').waitFor()
  await unconfirmed.getByRole('link', { name: 'Request a new link' }).click()
  await heading(unconfirmed, 'Reset your password')
  await unconfirmed.fill('main input[type=email]', 'lise@example.com')
  await unconfirmed.getByRole('link', { name: 'Go to your devices' }).click()
  await unconfirmed.waitForSelector('li.row.current')
  await signOut()
  assert.equal(await known(unconfirmed), '', "after another account's link to choose a password")

  // Nor does Back, or the view itself, show who comes next a link that nobody has used, wherever the sign-out was.
  const unused = await issue('reset_password', lise)
  const openUnused = async () => {
    await signInAgain()
    await unconfirmed.goto(unused)
    await unconfirmed.getByText('lise@example.com').waitFor()
  }
  await openUnused()
  await unconfirmed.getByRole('link', { name: 'Devices' }).click()
  await unconfirmed.waitForSelector('li.row.current')
  await signOut()
  await heading(unconfirmed, 'Sign in to Latchkey')
  await unconfirmed.goBack()
  await isForgotten(unconfirmed, 'Choose a new password', 'lise')
  await openUnused()
  await signOut()
  await isForgotten(unconfirmed, 'Choose a new password', 'lise')
  await unconfirmed.locator('.notice', { hasText: 'You are signed out.' }).waitFor()
  await openUnused()
  const tab = await visit(unconfirmed.context())
  await tab.getByRole('banner').getByRole('button', { name: 'Sign out' }).click()
  await isForgotten(unconfirmed, 'Choose a new password', 'lise')

  // So does an application of a team on the same origin.
  await openUnused()
  await tab.goto(`${origin}/account/nowhere`)
  await tab.evaluate(async () => {
    const { createClient } = await import(document.querySelector('script[type=module]').src.replace(/[^/]+$/, 'latchkey.js'))
    const application = createClient({ url: location.origin, transport: 'cookie' })
    await application.restore()
    await application.signOut()
  })
  await isForgotten(unconfirmed, 'Choose a new password', 'lise')

  // Whose session was ended elsewhere may finish what is open, also if another tab was told first.
  await openUnused()
  await unconfirmed.fill('input[autocomplete=new-password]', NEW_PASSWORD)
  await tab.goto(`${origin}/account`)
  await tab.waitForSelector('li.row.current')
  const phone = await ask('POST', '/v1/auth/login', { email: 'emmy@example.org', password: PASSWORD })
  await ask('POST', '/v1/sessions/revoke-all', undefined, phone.access_token)
  await tab.evaluate(() => dispatchEvent(new Event('focus')))
  await tab.locator('.notice', { hasText: 'expired or was ended elsewhere' }).waitFor()
  await unconfirmed.getByRole('banner').getByRole('button', { name: 'Sign out' }).waitFor({ state: 'detached' })
  await heading(unconfirmed, 'Choose a new password')
  await unconfirmed.getByText('lise@example.com').waitFor()
  assert.equal(await unconfirmed.inputValue('input[autocomplete=new-password]'), NEW_PASSWORD)

  // What is open is no link on any other view, so that is not kept.
  await openUnused()
  await unconfirmed.getByRole('link', { name: 'Request a new link' }).click()
  await heading(unconfirmed, 'Reset your password')
  await tab.goto(`${origin}/account`)
  await tab.waitForSelector('li.row.current')
  const laptop = await ask('POST', '/v1/auth/login', { email: 'emmy@example.org', password: PASSWORD })
  await ask('POST', '/v1/sessions/revoke-all', undefined, laptop.access_token)
  await tab.evaluate(() => dispatchEvent(new Event('focus')))
  await unconfirmed.getByRole('banner').getByRole('button', { name: 'Sign out' }).waitFor({ state: 'detached' })
  await unconfirmed.goBack()
  await isForgotten(unconfirmed, 'Choose a new password', 'lise')
  await tab.close()

  // Nobody was signed in when a link was opened. The page comes back from the cache of the browser during an outage, after which
  // somebody is.
  await unconfirmed.goto(unused)
  await unconfirmed.getByText('lise@example.com').waitFor()
  await unconfirmed.evaluate((body) => fetch('/v1/auth/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body }), JSON.stringify({ email: 'emmy@example.org', password: PASSWORD, transport: 'cookie' }))
  await unconfirmed.route('**/v1/auth/refresh', (route) => route.abort())
  await unconfirmed.evaluate(() => {
    dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))
    dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))
  })
  await unconfirmed.locator('.failure').waitFor()
  await unconfirmed.unroute('**/v1/auth/refresh')
  await unconfirmed.getByRole('button', { name: 'Try again' }).click()
  await isForgotten(unconfirmed, 'Choose a new password', 'lise')
  await unconfirmed.getByRole('banner').getByText('emmy@example.org').waitFor()
  await signOut()

  // Nobody was signed in when a link was opened, and somebody signs in: only who it is for finds it on the way back.
  const mine = await issue('reset_password', emmy)
  for (const [link, isMine] of [[unused, false], [mine, true]]) {
    await unconfirmed.goto(link)
    await heading(unconfirmed, 'Choose a new password')
    await unconfirmed.getByRole('link', { name: 'Request a new link' }).click()
    await unconfirmed.getByRole('link', { name: 'Back to sign-in' }).click()
    await unconfirmed.fill('input[type=email]', 'emmy@example.org')
    await unconfirmed.fill('input[type=password]', PASSWORD)
    await unconfirmed.keyboard.press('Enter')
    await unconfirmed.waitForSelector('li.row.current')
    await unconfirmed.goBack()
    await heading(unconfirmed, 'Reset your password')
    await unconfirmed.goBack()
    if (isMine) await unconfirmed.getByText('emmy@example.org', { exact: false }).last().waitFor()
    else await isForgotten(unconfirmed, 'Choose a new password', 'lise')
    if (isMine) assert.equal(await unconfirmed.getByRole('button', { name: 'Change password' }).count(), 1)
    await signOut()
    await unconfirmed.locator('.notice', { hasText: 'You are signed out.' }).waitFor()
  }

  // While two versions of the service run side by side, one does not say whether there is a password.
  await unconfirmed.route('**/v1/me', async (route) => {
    const reply = await route.fetch()
    const { has_password: _, ...account } = await reply.json()
    await route.fulfill({ response: reply, json: account })
  })
  await signInAgain()
  await unconfirmed.getByRole('link', { name: 'Settings' }).click()
  await unconfirmed.waitForSelector('#password')
  await unconfirmed.getByRole('button', { name: 'Delete account' }).waitFor()
  await unconfirmed.getByRole('button', { name: 'Change address' }).waitFor()
  await unconfirmed.unroute('**/v1/me')

  await unconfirmed.goto(`${origin}/account/forgot-password`)
  await unconfirmed.fill('main input[type=email]', 'lise@example.com')
  await signOut()
  await unconfirmed.locator('.notice', { hasText: 'You are signed out.' }).waitFor()
  assert.equal(await unconfirmed.inputValue('main input[type=email]'), '', 'an address that was typed for a link')
  await signInAgain()
  await unconfirmed.goto(await issue('reset_password', emmy))
  await unconfirmed.fill('input[autocomplete=new-password]', NEW_PASSWORD)
  await unconfirmed.keyboard.press('Enter')
  await unconfirmed.locator('.notice', { hasText: 'Your password is changed' }).waitFor()
  assert.equal(await known(unconfirmed), 'emmy@example.org', 'who has chosen a new password signs in with it')
  await unconfirmed.context().close()

  // Whoever signs in elsewhere is asked for no password, and is offered no link that does nothing.
  const issued = await fetch(`${origin}/v1/service/sessions`, {
    method: 'POST',
    headers: { authorization: addClient('portal', '--scope', 'sessions:issue', '--issuer', 'https://accounts.example.org'), 'content-type': 'application/json' },
    body: JSON.stringify({ identity: { issuer: 'https://accounts.example.org', subject: 'joan' }, email: 'joan@example.com', amr: ['pwd'] }),
  })
  assert.equal(issued.status, 201)
  const elsewhere = await device('phone')
  const settings = await elsewhere.newPage()
  const protocol = await elsewhere.newCDPSession(settings)
  const cookie = { name: '__Host-latchkey-refresh', value: (await issued.json()).refresh_token, httpOnly: true, secure: true, sameSite: 'Strict' }
  assert.ok((await protocol.send('Network.setCookie', { ...cookie, url: origin })).success)
  await settings.goto(`${origin}/account/settings`)
  await settings.getByRole('main').getByText('joan@example.com').waitFor()
  await settings.getByText('Your account has no password here').waitFor()
  assert.equal(await settings.getByText('Not confirmed').count(), 0)
  assert.deepEqual(await settings.getByRole('main').getByRole('button').allInnerTexts(), ['Download'], 'nothing that would ask for a password')
  await inspect(settings, 'phone-settings-elsewhere')
  await elsewhere.close()
  say('links: whose account it is, another one in the same tab, one that is used up, an account that is not mine or not the one that is signed in')

  const strict = await start(binary, { REQUIRE_VERIFIED_EMAIL: 'true' })
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-brand-'))
  writeFileSync(join(folder, 'brand.css'), ':root { --accent: rgb(11, 107, 79); --on-accent: rgb(255, 255, 255) }')
  writeFileSync(join(folder, 'logo.svg'), '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="32"><rect width="96" height="32" rx="6" fill="#0b6b4f"/></svg>')
  const look = { PAGE_NAME: 'Acme', PAGE_STYLESHEET: '/local/brand/brand.css', PAGE_LOGO: '/local/brand/logo.svg' }
  const closed = await start(binary, { REGISTRATION: 'closed', PAGE_LINKS: 'false', ...look }, ['--brand', folder])
  try {
    for (const { origin } of [strict, closed]) origins.add(origin)
    await page.goto(`${strict.origin}/account/register`)
    await page.fill('input[type=email]', EMAIL)
    await page.fill('input[type=password]', PASSWORD)
    await page.keyboard.press('Enter')
    await heading(page, 'Check your mail')
    await page.getByRole('link', { name: 'Back to sign-in' }).click()
    await heading(page, 'Sign in to Latchkey')
    assert.equal(await page.inputValue('input[type=email]'), EMAIL, 'what was typed is kept')
    await page.fill('input[type=password]', PASSWORD)
    await page.keyboard.press('Enter')
    await page.getByText('You cannot find the link?').waitFor()
    await inspect(page, 'phone-not-verified')
    await page.getByRole('button', { name: 'Send link' }).click()
    await heading(page, 'Check your mail')

    await page.goto(`${closed.origin}/account`)
    await heading(page, 'Sign in to Acme')
    await page.waitForSelector('form')
    assert.deepEqual(await page.getByRole('main').getByRole('link').allInnerTexts(), [], 'neither registration nor reset is offered')
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('button.primary')).backgroundColor), 'rgb(11, 107, 79)')
    assert.ok(await page.locator('header img').evaluate((image) => image.naturalWidth > 0), 'the logo is shown')
    await inspect(page, 'phone-brand')
    for (const [path, text] of [['register', 'New accounts cannot be created here.'], ['forgot-password', 'This service does not send mail.']]) {
      await page.goto(`${closed.origin}/account/${path}`)
      await page.getByText(text).waitFor()
    }
  } finally {
    await Promise.all([strict.stop(), closed.stop()])
    rmSync(folder, { recursive: true })
  }
  say('unconfirmed addresses get another link, what is not offered is not shown, a team has its own look')
  await context.close()
}
