// The pages, as people use them. Run by infra/scripts/check-console, which says what the arguments are.

import assert from 'node:assert/strict'
import { open } from './browser.js'
import { checkAdministration } from './administration.js'
import { checkFrame } from './frame.js'
import { checkLinks } from './links.js'
import { checkLooks } from './looks.js'
import { takePictures } from './pictures.js'
import { checkPresence } from './presence.js'
import { checkStepUp } from './step-up.js'

const [executablePath, origin, binary, data, screenshots] = process.argv.slice(2)
const PASSWORD = 'correct horse battery staple'
const NEXT_PASSWORD = 'wrong donkey charger paperclip'
const EMAIL = 'ada@example.com'
const LARGEST = 40_000 // bytes over the wire of the page of devices
const SESSIONS = 4 // that it shows then
const LONG_LIST = 20 // sessions, as many as one may have
const LARGEST_LONG = 48_000 // bytes then
const SLOWEST = 100 // milliseconds from its data to its picture

const began = Date.now()
const say = (what) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${what}`)
const origins = new Set([origin])
const { browser, device, inspect, look, takePicture, wrong } = await open(executablePath, origins, screenshots)

/** A request of another client, without a page. */
const ask = async (method, path, body, token) => {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) }
  const reply = await fetch(origin + path, { method, headers, body: body && JSON.stringify(body) })
  return reply.status === 204 ? null : await reply.json()
}
const signInElsewhere = (device_name, password = PASSWORD) => ask('POST', '/v1/auth/login', { email: EMAIL, password, device_name })
const visit = async (context, path = '/account') => {
  const page = await context.newPage()
  await page.goto(origin + path)
  return page
}
const signIn = async (page, password = PASSWORD) => {
  await page.fill('input[type=email]', EMAIL)
  await page.fill('input[type=password]', password)
  await page.click('button[type=submit]')
}
const rows = (page) => page.locator('li.row:not(.over)')
const other = (page, name) => page.locator('li.row', { hasText: name })
const focused = (page) => page.evaluate(() => document.activeElement?.getAttribute('data-key') ?? document.activeElement?.id)
const announced = (page, text) => page.locator('p[role=status]', { hasText: text }).first().waitFor({ state: 'attached' })
const served = Object.keys((await ask('GET', '/openapi.json')).paths)

try {
  console.log(`Chromium ${browser.version()}`)
  const computer = await device('computer')
  const heard = []
  computer.on('console', (message) => heard.push(message.text()))
  let page = await visit(computer, '/')
  assert.equal(new URL(page.url()).pathname, '/account', 'the bare address leads to the page')
  await page.waitForSelector('form')
  await page.waitForLoadState('networkidle')
  assert.deepEqual(heard, [], 'a first visit leaves the console empty')
  await inspect(page, 'sign-in')
  await page.selectOption('select', 'de')
  await page.getByRole('heading', { name: 'Bei Latchkey anmelden' }).waitFor()
  await inspect(page, 'sign-in-german')
  await page.reload()
  await page.getByRole('heading', { name: 'Bei Latchkey anmelden' }).waitFor()
  await page.selectOption('select', 'en')
  await page.click('button[type=submit]')
  assert.equal(await page.locator('input[aria-invalid]').count(), 2)
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('type')), 'email')
  await signIn(page, 'not the password')
  await page.getByText('do not match').waitFor()
  await inspect(page, 'sign-in-refused')
  say('nobody is signed in: the language is chosen and kept, mistakes are told where they are')

  await page.getByRole('link', { name: 'Create an account' }).click()
  await page.getByRole('heading', { name: 'Create an account' }).waitFor()
  await page.fill('input[type=email]', EMAIL)
  // Where the focus is already, it does not move to the mistake: a screen reader hears an alert, each time anew.
  const alert = page.locator('.field [role=alert]')
  await page.fill('input[type=password]', 'short')
  await page.keyboard.press('Enter')
  await alert.filter({ hasText: '8 characters' }).waitFor()
  await page.evaluate(() => {
    globalThis.said = []
    const hear = () => globalThis.said.push(document.querySelector('.field [role=alert]')?.textContent)
    new MutationObserver(hear).observe(document.querySelector('.view'), { subtree: true, childList: true })
  })
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => globalThis.said[0] === '' && globalThis.said.at(-1)?.includes('8 characters'))
  await page.fill('input[type=password]', 'password1234')
  await page.keyboard.press('Enter')
  await alert.filter({ hasText: 'too easy to guess' }).waitFor()
  await inspect(page, 'register-refused')
  await page.fill('input[type=password]', PASSWORD)
  await page.keyboard.press('Enter')
  await page.waitForSelector('li.row.current')
  await page.getByText('not signed in anywhere else').waitFor()
  await inspect(page, 'devices-one')
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage }) + document.cookie)
  assert.ok(!/rt\+jwt|refresh_token":"/.test(kept), 'no script sees the refresh token')
  say('somebody registers and sees this device alone')

  const telephone = await device('phone', { colorScheme: 'dark', locale: 'de-DE', reducedMotion: 'reduce' })
  const phone = await visit(telephone)
  await phone.waitForSelector('form')
  await inspect(phone, 'phone-sign-in')
  await signIn(phone)
  await phone.getByText('Dieses Gerät').first().waitFor()
  assert.equal(await rows(phone).count(), 2)
  assert.match(await rows(phone).first().innerText(), /Dieses Gerät/, 'the current one is the first')
  await inspect(phone, 'phone-devices')

  await page.evaluate(() => dispatchEvent(new Event('focus')))
  await other(page, 'Safari on iPhone').waitFor()
  // With the keyboard alone: to the button, a new name, and back to the button.
  const rename = page.getByRole('button', { name: 'Rename Safari on iPhone' })
  for (let presses = 0; presses < 30 && !(await rename.evaluate((one) => one === document.activeElement)); presses++) {
    await page.keyboard.press('Tab')
  }
  await page.keyboard.press('Enter')
  await inspect(page, 'devices-rename')
  await page.keyboard.type('شاشة '.repeat(20).trim())
  await page.keyboard.press('Enter')
  await announced(page, 'The name is saved.')
  await other(page, 'شاشة').waitFor()
  assert.match(await focused(page), /^rename /, 'the focus is back')
  await inspect(page, 'devices-long-name')
  say('a second device is there, and is renamed with the keyboard alone')

  const signOut = page.getByRole('button', { name: /^Sign out شاشة/ })
  await signOut.click()
  await page.locator('dialog').waitFor()
  assert.match(await page.locator('dialog').innerText(), /شاشة[\s\S]*127\.0\.0\.1[\s\S]*20\d\d/, 'device, place and time')
  await inspect(page, 'devices-dialog')
  await page.keyboard.press('Escape')
  await page.locator('dialog').waitFor({ state: 'detached' })
  assert.match(await focused(page), /^out /, 'the focus is back')
  await signOut.click()
  await page.locator('dialog button.danger').click()
  await announced(page, 'is signed out.')
  await page.locator('li.row.over', { hasText: 'Signed out' }).waitFor()
  await inspect(page, 'devices-signed-out')
  await page.getByText('not signed in anywhere else').waitFor()
  await phone.evaluate(() => dispatchEvent(new Event('focus')))
  await phone.getByRole('heading', { name: 'Bei Latchkey anmelden' }).waitFor()
  await phone.getByText('anderswo beendet').first().waitFor()
  await inspect(phone, 'phone-ended-elsewhere')
  say('the device is signed out from the other one and says why')

  const gone = await signInElsewhere('The television')
  await page.reload()
  await other(page, 'The television').getByRole('button', { name: /^Sign out/ }).click()
  await ask('POST', '/v1/auth/logout', undefined, gone.access_token)
  await page.locator('dialog button.danger').click()
  await announced(page, 'was already signed out')
  await page.getByText('not signed in anywhere else').waitFor()
  say('a session that has vanished meanwhile is no error')

  for (let n = 1; n < 20; n += 3) await Promise.all([n, n + 1, n + 2].filter((one) => one < 20).map((one) => signInElsewhere(`Device ${one}`)))
  await page.reload()
  await page.getByText('At most 20 are possible').waitFor()
  assert.equal(await rows(page).count(), 20)
  await inspect(page, 'devices-twenty')
  const tab = await visit(computer)
  await tab.waitForSelector('li.row.current')
  await Promise.all([page.reload(), tab.reload()])
  await Promise.all([page, tab].map((one) => one.getByRole('button', { name: 'Sign out 19 others' }).click()))
  await Promise.all([page, tab].map((one) => one.locator('dialog button.danger').click()))
  await Promise.all([page, tab].map((one) => one.getByText('not signed in anywhere else').waitFor()))
  say('two tabs race to sign out 19 others: both show what is true')

  await page.route('**/v1/sessions', (route) => route.fulfill({ status: 500, contentType: 'application/problem+json', json: { code: 'internal_error', request_id: 'a-request' } }))
  await page.reload()
  await page.locator('.failure', { hasText: 'a-request' }).waitFor()
  await inspect(page, 'devices-error')
  await page.unroute('**/v1/sessions')
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.waitForSelector('li.row.current')
  await computer.setOffline(true)
  await page.getByText('You are offline').waitFor()
  await inspect(page, 'devices-offline')
  await computer.setOffline(false)
  let answer = () => {}
  await page.route('**/v1/sessions', async (route) => {
    await new Promise((go) => (answer = go))
    await route.continue()
  })
  await page.reload()
  await page.locator('.view .skeleton').waitFor()
  await inspect(page, 'devices-loading')
  await page.waitForTimeout(50)
  answer()
  await page.waitForSelector('li.row.current')
  await page.unroute('**/v1/sessions')
  say('an error with a way out, a message when offline, bars while loading')

  await page.getByRole('link', { name: 'Settings' }).click()
  await page.waitForSelector('#password')
  await inspect(page, 'settings')
  if (served.includes('/v1/me/activity')) {
    // An entry may name the device that it is about.
    await page.route('**/v1/me/activity*', async (route) => {
      const reply = await route.fetch()
      const list = await reply.json()
      list.activity.find(({ type }) => type === 'session.ended').device_name = 'The lost phone'
      await route.fulfill({ response: reply, json: list })
    })
    await page.getByRole('link', { name: 'Activity' }).click()
    await page.getByRole('heading', { name: 'The lost phone signed out' }).waitFor()
    await inspect(page, 'activity')
    await page.unroute('**/v1/me/activity*')
  }
  await page.goto(`${origin}/account/nowhere`)
  await page.getByRole('heading', { name: 'There is no such page' }).waitFor()
  await inspect(page, 'not-found')
  const led = await fetch(`${origin}/.well-known/change-password`, { redirect: 'manual' })
  assert.deepEqual([led.status, led.headers.get('location')], [302, '/account/password'])
  await page.goto(`${origin}/account/password`)
  await signIn(phone)
  await phone.waitForSelector('li.row.current')
  await page.fill('input[autocomplete=current-password]', 'not the password')
  await page.fill('input[autocomplete=new-password]', NEXT_PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByText('This is not your password.').waitFor()
  assert.equal(await alert.count(), 0, 'what the focus moves to is said once')
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('autocomplete')), 'current-password')
  await page.keyboard.press('Enter')
  await alert.filter({ hasText: 'This is not your password.' }).waitFor()
  await page.fill('input[autocomplete=current-password]', PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByText('Your password is changed').first().waitFor()
  await phone.evaluate(() => dispatchEvent(new Event('focus')))
  await phone.waitForSelector('input[type=email]')
  say('the password is changed, which ends the other device')

  const parts = { device, inspect, look, takePicture, visit, ask, say, binary, data, origin, origins, screenshots, email: EMAIL }
  await Promise.all([checkPresence, checkLinks, checkLooks, checkAdministration, checkStepUp, checkFrame].map((check) => check(parts)))
  if (screenshots) await takePictures(parts)

  // Visits with nothing kept, as the first one of a day; of their times the best, because this machine does other work too.
  await tab.close()
  for (const name of ['One', 'Two', 'Three']) await signInElsewhere(name, NEXT_PASSWORD)
  const measured = await computer.newPage()
  const protocol = await computer.newCDPSession(measured)
  await protocol.send('Network.enable')
  await protocol.send('Network.setCacheDisabled', { cacheDisabled: true })
  let bytes = 0
  protocol.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength))
  /** Loads the page with so many sessions. What came over the wire, and how long after its data it was shown. */
  const load = async (count) => {
    bytes = 0
    await measured.goto(`${origin}/account`, { waitUntil: 'networkidle' })
    await measured.waitForFunction(() => performance.getEntriesByName('latchkey-shown').length > 0)
    assert.equal(await rows(measured).count(), count)
    return measured.evaluate(() => performance.getEntriesByName('latchkey-shown')[0].duration)
  }
  const times = []
  for (let visits = 0; visits < 3; visits++) times.push(await load(SESSIONS))
  const shown = Math.min(...times)
  say(`the page of devices with ${SESSIONS} sessions: ${bytes} bytes over the wire in all, shown ${times.map(Math.round).join(', ')} ms after its data`)
  assert.ok(bytes < LARGEST, `${bytes} bytes`)
  assert.ok(shown < SLOWEST, `${shown} ms`)
  for (let n = SESSIONS; n < LONG_LIST; n += 4) await Promise.all([n, n + 1, n + 2, n + 3].map((one) => signInElsewhere(`Device ${one}`, NEXT_PASSWORD)))
  await load(LONG_LIST)
  say(`with ${LONG_LIST} sessions: ${bytes} bytes`)
  assert.ok(bytes < LARGEST_LONG, `${bytes} bytes`)

  await measured.getByRole('link', { name: 'Settings' }).click()
  await measured.getByRole('button', { name: 'Delete account' }).click()
  await measured.locator('dialog').waitFor()
  await inspect(measured, 'delete-account')
  await measured.fill('dialog input', NEXT_PASSWORD)
  await measured.keyboard.press('Enter')
  await measured.getByText('Your account is deleted.').first().waitFor()
  await page.waitForSelector('input[type=email]')
  say('the account is deleted, and the other tab knows')
} finally {
  if (wrong.length) console.error(wrong.join('\n'))
  await browser.close()
}
assert.deepEqual(wrong, [])
say('no error in a console, no violation of the policy, no request elsewhere')
