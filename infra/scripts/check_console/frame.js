// What every view has around it: a sign-out for who is signed in, a way back where there is nothing, and another language,
// in which nothing is lost that was typed or opened.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'

const PASSWORD = 'correct horse battery staple'
const ADMIN = 'ida@example.com'
const EMAIL = 'joan@example.com'
const TYPED = 'a name that is half typed'

export async function checkFrame(parts) {
  for (const email of [ADMIN, EMAIL]) await parts.ask('POST', '/v1/auth/register', { email, password: PASSWORD, device_name: 'The laptop' })
  for (const email of [ADMIN, EMAIL]) execFileSync(parts.binary, ['admin', '--data-dir', parts.data, 'grant', email], { stdio: 'ignore' })
  await Promise.all([checkSignOut(parts), checkNothing(parts), checkLanguages(parts)])
}

const signIn = async (page, email) => {
  await page.fill('input[type=email]', email)
  await page.fill('input[type=password]', PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByRole('banner').getByText(email).waitFor()
}

/** What has the focus, in words. */
const focused = (page) => page.evaluate(() => document.activeElement?.getAttribute('data-key') ?? document.activeElement?.textContent)

async function checkSignOut({ device, inspect, visit, say, origin }) {
  const context = await device('phone')
  const page = await visit(context)
  await page.waitForSelector('form')
  const button = page.getByRole('banner').getByRole('button', { name: 'Sign out', exact: true })
  assert.equal(await button.count(), 0, 'nobody is signed in')
  await signIn(page, EMAIL)
  const views = ['', '/activity', '/settings', '/password', '/verify-email', '/nowhere'].map((view) => `/account${view}`)
  for (const path of [...views, '/admin', '/admin/nowhere']) {
    await page.goto(origin + path)
    // The header is drawn anew while the page finds out who is signed in.
    const isInSight = () => button.evaluate((one) => {
      const { top, bottom } = one.getBoundingClientRect()
      return top >= 0 && bottom > top && bottom < 130
    })
    for (let looks = 0; !(await isInSight()); looks++) {
      assert.ok(looks < 50, `the sign-out is in sight at ${path}`)
      await page.waitForTimeout(20)
    }
  }
  // In the order in which it is read: the language, the sign-out, the links.
  await page.goto(`${origin}/account/settings`)
  await page.waitForSelector('#password')
  await page.getByRole('navigation').getByRole('link', { name: 'Administration' }).waitFor()
  const order = []
  for (let presses = 0; presses < 8; presses++) {
    await page.keyboard.press('Tab')
    order.push(await focused(page))
  }
  assert.deepEqual(order, ['Skip to content', 'Latchkey', 'language', 'sign-out', 'to /account', 'to /account/activity', 'to /account/settings', 'to /admin'])
  await inspect(page, 'phone-settings')
  await button.focus()
  await page.keyboard.press('Enter')
  await page.locator('.notice', { hasText: 'You are signed out.' }).waitFor()
  await page.waitForSelector('input[type=email]')
  assert.equal(await button.count(), 0)
  assert.equal(await page.inputValue('input[type=email]'), '', 'who comes next does not read the address')
  await signIn(page, EMAIL)
  // A view that is there for everybody stays, without what needs a session.
  await page.goto(`${origin}/account/forgot-password`)
  await button.click()
  await page.locator('.notice', { hasText: 'You are signed out.' }).waitFor()
  await page.getByRole('heading', { name: 'Reset your password' }).waitFor()
  assert.equal(await page.getByRole('banner').getByRole('link').count(), 1, 'the links of the account are gone')
  say('a sign-out is in sight on every view that needs a session')
  await context.close()
}

async function checkNothing({ device, inspect, visit, say, origin }) {
  const context = await device('phone', { locale: 'de-DE' })
  const page = await visit(context, '/account/nowhere/at/all')
  for (const [path, home] of [['/account/nowhere/at/all', '/account'], ['/admin/nowhere', '/admin'], ['/admin/users/nobody', '/admin']]) {
    await page.goto(origin + path)
    await page.getByRole('heading', { name: 'Diese Seite gibt es nicht' }).waitFor()
    assert.equal(await page.getByRole('link', { name: 'Zur Startseite' }).getAttribute('href'), home)
    await page.selectOption('select', 'en')
    await page.getByRole('heading', { name: 'There is no such page' }).waitFor()
    await page.selectOption('select', 'de')
  }
  await inspect(page, 'phone-not-found')
  await page.getByRole('link', { name: 'Zur Startseite' }).click()
  await page.getByRole('heading', { name: 'Bei Latchkey anmelden' }).waitFor()
  await page.getByRole('button', { name: 'Anzeigen: Passwort' }).click()
  const reveal = page.getByRole('button', { name: 'Verbergen: Passwort' })
  const [covers, kept] = await reveal.evaluate((one) => [one.offsetWidth, parseFloat(getComputedStyle(one.parentElement.querySelector('input')).paddingInlineEnd)])
  assert.ok(covers <= kept, `the button covers ${covers} px of a password that keeps ${kept} px free`)
  const reply = await fetch(`${origin}/account/nowhere`, { headers: { accept: 'application/json' } })
  assert.equal((await reply.json()).code, 'not_found', 'a program reads a problem')

  // A slash at the end leads to the view, and a link keeps what stands behind its #.
  const claims = Buffer.from(JSON.stringify({ email: EMAIL })).toString('base64url')
  await page.goto(`${origin}/account/reset-password/#token=e30.${claims}.x`)
  await page.getByRole('heading', { name: 'Neues Passwort wählen' }).waitFor()
  await page.getByText(EMAIL).waitFor()
  assert.equal(page.url(), `${origin}/account/reset-password`)
  for (const path of ['/account', '/account/settings', '/admin']) {
    const led = await fetch(`${origin}${path}/`, { redirect: 'manual' })
    assert.deepEqual([led.status, led.headers.get('location')], [308, path])
  }
  say('where there is nothing, a page says so in both languages; a slash at the end leads on')
  await context.close()
}

const isDrawn = (page) => page.waitForFunction(() => document.querySelector('header bdi')?.textContent && document.querySelector('h1') && !document.querySelector('.skeleton'))

/** Everything that is said on a page, to the eye and to a screen reader. */
const readAll = (page) =>
  page.evaluate(() => {
    const labels = [...document.querySelectorAll('body [aria-label], body [title], body [placeholder]')]
    const texts = labels.flatMap((one) => ['aria-label', 'title', 'placeholder'].map((name) => one.getAttribute(name)))
    const words = document.body.textContent.replaceAll(/\s+/g, ' ')
    return [document.title, document.documentElement.lang, ...texts.filter(Boolean), ...words.split(/(?<=[.?!]) /)]
  })

async function checkLanguages({ device, inspect, visit, say, origin }) {
  const context = await device('computer')
  const page = await visit(context)
  const choose = (tag) => page.selectOption('header select', tag)
  const heading = (name) => page.getByRole('heading', { name, level: 1 }).waitFor()
  /** Whether what was there is there still, and not drawn again. */
  const remember = (selector) => page.evaluate((one) => (globalThis.kept = document.querySelector(one)), selector)
  const isKept = () => page.evaluate(() => globalThis.kept.isConnected)

  await page.waitForSelector('form')
  await page.fill('input[type=email]', 'not an address')
  await page.fill('input[type=password]', PASSWORD)
  await page.getByRole('button', { name: 'Show: Password' }).click()
  await page.keyboard.press('Enter')
  await page.getByText('This is not a complete e-mail address').waitFor()
  await page.focus('header select')
  await choose('de')
  await heading('Bei Latchkey anmelden')
  await page.getByText('Das ist keine vollständige E-Mail-Adresse').waitFor()
  await page.getByRole('button', { name: 'Verbergen: Passwort' }).waitFor()
  assert.deepEqual([await page.inputValue('input[type=email]'), await page.inputValue('input[autocomplete=current-password]')], ['not an address', PASSWORD])
  assert.equal(await focused(page), 'language')
  await choose('en')
  await page.getByRole('button', { name: 'Hide: Password' }).click()
  await page.getByRole('link', { name: 'Forgot your password?' }).click()
  await page.fill('input[type=email]', 'nobody@example.com')
  await page.keyboard.press('Enter')
  await heading('Check your mail')
  await choose('de')
  await heading('Prüfen Sie Ihr Postfach')
  await page.getByText('Falls es ein Konto für nobody@example.com gibt').waitFor()
  await choose('en')
  await page.getByRole('link', { name: 'Back to sign-in' }).click()

  await signIn(page, ADMIN)
  await page.getByRole('button', { name: 'Rename The laptop' }).click()
  await page.fill('form.rename input', TYPED)
  await remember('form.rename input')
  await choose('de')
  await page.getByRole('button', { name: 'Speichern' }).waitFor()
  assert.equal(await page.inputValue('form.rename input'), TYPED)
  assert.ok(await isKept(), 'the form is the same')
  await page.getByRole('button', { name: 'Abbrechen' }).click()

  // A dialog stays, and so does the focus in it. The switch is behind it, where another script of a team may reach it.
  await page.getByRole('button', { name: 'The laptop abmelden' }).click()
  await remember(':focus')
  await page.evaluate(() => {
    const select = document.querySelector('header select')
    select.value = 'en'
    select.dispatchEvent(new Event('change'))
  })
  await page.locator('dialog').getByRole('heading', { name: 'Sign out this device?' }).waitFor()
  assert.match(await page.locator('dialog').innerText(), /Last active: [\s\S]*You will have to sign in/)
  assert.ok(await page.evaluate(() => document.activeElement === globalThis.kept), 'the focus is where it was')
  await page.locator('dialog button.danger').click()
  await page.getByText('not signed in anywhere else').waitFor()

  await page.getByRole('link', { name: 'Settings' }).click()
  await page.getByRole('button', { name: 'Change address' }).click()
  const asked = []
  page.on('request', (request) => asked.push(new URL(request.url()).pathname))
  await page.fill('#email input[type=email]', ` ${ADMIN} `)
  await page.fill('#email input[type=password]', PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByText('This is your address already.').waitFor()
  await inspect(page, 'settings-same-address')
  assert.ok(!asked.some((path) => ['/v1/me/email', '/v1/auth/reauthenticate'].includes(path)), 'nothing was asked')
  await choose('de')
  await page.getByText('Das ist schon Ihre Adresse.').waitFor()
  assert.deepEqual([await page.inputValue('#email input[type=email]'), await page.inputValue('#email input[type=password]')].map((text) => text.trim()), [ADMIN, PASSWORD])

  await page.goto(`${origin}/admin`)
  await page.getByRole('button', { name: 'Alle Personen anzeigen' }).click()
  await page.getByRole('link', { name: EMAIL }).waitFor()
  await page.fill('input[type=text]', TYPED)
  await choose('en')
  await page.getByRole('heading', { name: 'All users' }).waitFor()
  assert.equal(await page.inputValue('input[type=text]'), TYPED)
  const user = await page.getByRole('link', { name: EMAIL }).getAttribute('href')

  // What is written again is what would be drawn: nothing is forgotten, on any view.
  const isComplete = async () => {
    await isDrawn(page)
    // The link of administrators comes when the roles of the account are known.
    await page.locator('nav a[href$="/admin"]').waitFor()
  }
  for (const path of ['/account', '/account/activity', '/account/settings', '/admin', user]) {
    await choose('en')
    await page.goto(origin + path)
    await isComplete()
    const english = await readAll(page)
    await choose('de')
    const written = await readAll(page)
    await page.reload()
    await isComplete()
    assert.deepEqual(written, await readAll(page), `${path} in the other language`)
    assert.notDeepEqual(written, english)
  }
  await page.goto(`${origin}/admin/users/${crypto.randomUUID()}`)
  await page.getByText('Diese Person gibt es nicht.').waitFor()
  say('another language takes nothing away that was typed or opened, and writes everything again')
  await context.close()
}
