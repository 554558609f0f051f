// What is shown stays true while a page is open, whoever is signed in; and the focus is never lost.

import assert from 'node:assert/strict'
import { start } from './stack.js'

const PASSWORD = 'correct horse battery staple'
const EMAIL = 'mary@example.com'
const OTHER = 'anne@example.com'
const LOST = 3 // requests of one refresh, with its repetitions

export async function checkPresence(parts) {
  await Promise.all([checkWho, checkHeld, checkEnd, checkOffline].map((check) => check(parts)))
}

/** A page of somebody who registers, and the session of another device of theirs, called The radio. */
async function begin({ device, visit, ask }, email) {
  const radio = await ask('POST', '/v1/auth/register', { email, password: PASSWORD, device_name: 'The radio' })
  const context = await device('computer')
  const page = await visit(context)
  await page.fill('input[type=email]', email)
  await page.fill('input[type=password]', PASSWORD)
  await page.keyboard.press('Enter')
  await page.waitForSelector('li.row.current')
  return { context, page, radio }
}

/** Nothing is taken from under somebody who is typing or deciding, and what was due then comes when they are done. */
async function checkHeld(parts) {
  const email = 'rosalind@example.com'
  const { context, page } = await begin(parts, email)
  for (const device_name of ['The lamp', 'The oven']) await parts.ask('POST', '/v1/auth/login', { email, password: PASSWORD, device_name })
  await page.reload()
  const over = page.locator('li.row.over')
  const row = (name) => page.locator('li.row', { hasText: name })
  const press = (name) => page.getByRole('button', { name }).click()
  const ways = [['The lamp', 'Rename The radio'], ['The oven', 'Sign out everywhere']]
  for (const [name, open] of ways) {
    await press(`Sign out ${name}`)
    await page.locator('dialog button.danger').click()
    await over.waitFor()
    await press(open)
    await page.waitForTimeout(2_500)
    assert.equal(await over.count(), 1, `${open} is open`)
    await page.keyboard.press('Escape')
    await row(name).waitFor({ state: 'detached', timeout: 5_000 })
  }

  // Of two forms one is saved: what its buttons are called is new, and the other form stays.
  await press('Rename The radio')
  const current = page.locator('li.row.current')
  await current.getByRole('button', { name: /^Rename/ }).click()
  await page.locator('form.rename input').nth(1).fill('The wireless')
  const drawn = page.waitForResponse((reply) => reply.url().endsWith('/v1/sessions') && reply.request().method() === 'GET')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Sign out The wireless' }).waitFor({ timeout: 5_000 })
  await drawn
  await page.waitForTimeout(200)
  assert.equal(await page.locator('form.rename').count(), 1)
  parts.say('what was due while somebody was typing or deciding comes when they are done')
  await context.close()
}

/** A session was ended elsewhere: whatever one presses then leads to the sign-in with that reason, and nothing else is said. */
async function checkEnd(parts) {
  for (const [index, button] of ['Download', 'Send the link again'].entries()) {
    const { context, page, radio } = await begin(parts, `barbara${index}@example.com`)
    await page.getByRole('link', { name: 'Settings' }).click()
    await page.getByRole('button', { name: button }).waitFor()
    await parts.ask('POST', '/v1/sessions/revoke-all', undefined, radio.access_token)
    await page.getByRole('button', { name: button }).click()
    await page.waitForSelector('input[type=email]')
    await page.waitForTimeout(200)
    assert.match(await page.locator('.notices').innerText(), /this session has expired or was ended elsewhere/, button)
    assert.match(await page.locator('body > p[role=status]').textContent(), /ended elsewhere/)
    await context.close()
  }
  parts.say('whatever is pressed after the end of a session, the sign-in says why')
}

/** A script that did not come needs a new page, which would be the browser's own as long as nothing is reached. */
async function checkOffline(parts) {
  const { context, page } = await begin(parts, 'vera@example.com')
  await page.evaluate(() => {
    globalThis.kept = true
  })
  await context.setOffline(true)
  await page.getByRole('link', { name: 'Activity' }).click()
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.waitForTimeout(500)
  assert.equal(await page.evaluate(() => globalThis.kept), true, 'the page stays')
  await page.locator('.failure').waitFor()
  // Each try that fails says so: the first one is made when the connection is back.
  await page.route('**/account/activity', (route) => route.abort())
  const tried = page.waitForRequest('**/account/activity')
  await context.setOffline(false)
  await tried
  await page.waitForTimeout(500)
  const failure = await page.locator('.failure').elementHandle()
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.waitForFunction((failure) => !failure.isConnected, failure)
  await page.locator('.failure').waitFor()
  assert.equal(await page.evaluate(() => globalThis.kept), true, 'the page stays')
  await page.unroute('**/account/activity')
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.locator('ul.slim li.row').first().waitFor()
  parts.say('without a connection the page stays, and goes on when it is back')
  await context.close()
}

/** Who is signed in, and how old it is what one sees of it. */
async function checkWho({ device, inspect, visit, ask, say, binary, origin, origins }) {
  for (const email of [EMAIL, OTHER]) await ask('POST', '/v1/auth/register', { email, password: PASSWORD, device_name: 'The laptop' })
  const context = await device('computer')
  const focus = (page) => page.evaluate(() => document.activeElement?.getAttribute('data-key') ?? document.activeElement?.tagName)
  /** The focus, when everything that was under way is over. */
  const focused = async (page, expected) => {
    await page.waitForFunction((key) => [document.activeElement?.getAttribute('data-key'), document.activeElement?.tagName].includes(key), expected).catch(async () => assert.equal(await focus(page), expected))
  }
  const refresh = (page) => page.evaluate(() => dispatchEvent(new Event('focus')))
  const other = (page, name) => page.locator('li.row:not(.over)', { hasText: name })
  const isBack = (page) => page.waitForSelector('li.row.current')
  const signIn = async (page, email) => {
    await page.fill('input[type=email]', email)
    await page.fill('input[type=password]', PASSWORD)
    await page.keyboard.press('Enter')
    await isBack(page)
  }

  const page = await context.newPage()
  await page.clock.install()
  await page.goto(`${origin}/account`)
  await page.waitForSelector('form')
  await page.fill('input[type=email]', EMAIL)
  await page.focus('select')
  await page.selectOption('select', 'de')
  await page.getByRole('heading', { name: 'Bei Latchkey anmelden' }).waitFor()
  await focused(page, 'language')
  assert.equal(await page.inputValue('input[type=email]'), EMAIL, 'what was typed is kept in the other language')
  await page.selectOption('select', 'en')
  await signIn(page, EMAIL)
  await page.getByRole('banner').getByText(EMAIL).waitFor()
  await focused(page, 'H1')

  await other(page, 'The laptop').getByText('Active now').waitFor()
  const again = page.waitForResponse('**/v1/sessions')
  await page.clock.fastForward('05:00')
  await other(page, 'The laptop').getByText('Active 5 minutes ago').waitFor()
  // A look that comes while a reading is under way is dropped with it, so its end is waited for.
  await (await again).finished()
  await page.clock.resume()

  await page.route('**/v1/sessions', (route) => route.abort())
  await refresh(page)
  await page.getByText('The list could not be refreshed').waitFor()
  assert.equal(await page.locator('li.row').count(), 2, 'what is known stays')
  await inspect(page, 'devices-outage')
  await page.unroute('**/v1/sessions')
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.getByText('The list could not be refreshed').waitFor({ state: 'detached' })
  await focused(page, 'H1')

  await page.route('**/settings.js', (route) => route.abort())
  await page.getByRole('link', { name: 'Settings' }).click()
  await page.getByRole('heading', { name: 'Settings', level: 1 }).waitFor()
  await page.locator('.failure').waitFor()
  await inspect(page, 'settings-without-script')
  await page.unroute('**/settings.js')
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.waitForSelector('#password')
  assert.equal(await page.title(), 'Settings · Latchkey')
  await page.getByRole('button', { name: 'Change address' }).click()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await focused(page, 'change')
  await page.getByRole('link', { name: 'Devices' }).click()
  await isBack(page)
  await focused(page, 'H1')
  say('times grow old, outages are told and have a way out, the header says who is signed in')

  const laptop = other(page, 'The laptop')
  await laptop.getByRole('button', { name: /^Rename/ }).click()
  await page.keyboard.press('Escape')
  assert.match(await focus(page), /^rename /)
  await laptop.getByRole('button', { name: /^Rename/ }).click()
  await page.keyboard.type('The old laptop')
  await page.keyboard.press('Enter')
  await other(page, 'The old laptop').waitFor()
  assert.match(await focus(page), /^rename /)
  await other(page, 'The old laptop').getByRole('button', { name: /^Sign out/ }).click()
  await page.locator('dialog button.danger').click()
  await page.getByText('not signed in anywhere else').waitFor()
  await focused(page, 'others-title')
  say('the focus is where the work goes on')

  // A page comes back from the cache of the browser, and somebody else has signed in meanwhile.
  const { status } = await page.evaluate(async ([email, password]) => {
    const reply = await fetch('/v1/auth/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email, password, transport: 'cookie' }) })
    return { status: reply.status }
  }, [OTHER, PASSWORD])
  assert.equal(status, 200)
  await page.evaluate(() => {
    dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))
  })
  assert.equal(await page.locator('li.row').first().isVisible(), false, 'nothing is shown from the cache')
  let answer = () => {}
  await page.route('**/v1/auth/refresh', async (route) => {
    await new Promise((go) => (answer = go))
    await route.continue()
  }, { times: 1 })
  const asked = page.waitForRequest('**/v1/auth/refresh')
  await page.evaluate(() => {
    dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))
  })
  await asked
  assert.equal(await page.locator('li.row').first().isVisible(), false, 'nothing is shown before it is known whose it is')
  answer()
  await page.getByRole('banner').getByText(OTHER).waitFor()
  await other(page, 'The laptop').waitFor()
  assert.equal(await page.getByText(EMAIL).count(), 0)

  const tab = await visit(context)
  await isBack(tab)
  await other(tab, 'This device').getByRole('button', { name: /^Sign out/ }).click()
  await tab.locator('dialog button.primary').click()
  await tab.waitForSelector('form')
  await page.locator('.notice', { hasText: 'You are signed out.' }).waitFor()

  // The reason is told once.
  await signIn(tab, EMAIL)
  await isBack(page)
  assert.equal(await page.locator('.notice').count(), 0, 'nobody is told of a sign-out who is signed in')
  const elsewhere = await ask('POST', '/v1/auth/login', { email: EMAIL, password: PASSWORD })
  await tab.goto('about:blank')
  await page.goto('about:blank')
  await ask('POST', '/v1/sessions/revoke-all', undefined, elsewhere.access_token)
  await page.goto(`${origin}/account`)
  const told = page.locator('.notice', { hasText: 'expired or was ended elsewhere' })
  await told.waitFor()
  await page.waitForLoadState('networkidle')
  await page.reload()
  await page.waitForSelector('form')
  assert.equal(await told.count(), 0, 'the end of a session is told once')
  await signIn(page, EMAIL)
  await page.getByRole('banner').getByText(EMAIL).waitFor()

  // Somebody else signs in in another tab, without a sign-out before.
  await tab.goto(`${origin}/account`)
  await isBack(tab)
  await tab.evaluate(async ([email, password]) => {
    const { client } = await import(document.querySelector('script[type=module]').src.replace(/[^/]+$/, 'session.js'))
    await client.signIn({ email, password })
  }, [OTHER, PASSWORD])
  for (const one of [page, tab]) {
    await one.locator('.notice', { hasText: 'Another account is signed in' }).waitFor()
    await one.getByRole('banner').getByText(OTHER).waitFor()
    assert.equal(await one.getByText(EMAIL).count(), 0)
  }
  say('another user in the same browser sees nothing of the one before, and an end is told once')

  // No reply comes until the page has nearly given up. A token that comes then is told to no console.
  let attempts = 0
  const heard = []
  tab.on('console', (message) => heard.push(message.text()))
  await tab.route('**/v1/auth/refresh', (route) => (++attempts <= LOST ? route.abort() : route.continue()))
  await tab.reload()
  await tab.getByText('Loading').first().waitFor({ state: 'attached' })
  await isBack(tab)
  assert.ok(attempts > LOST, 'the page has asked again')
  assert.ok(!heard.some((text) => text.includes('eyJ')), 'no token is in the console')
  say('a sign-in that is found late is found, and no console hears of a token')

  // Whoever tries again keeps the focus in the page while the reply is waited for.
  await tab.unroute('**/v1/auth/refresh')
  await tab.route('**/v1/auth/refresh', (route) => route.abort())
  await tab.reload()
  await tab.locator('.failure').waitFor()
  await tab.unroute('**/v1/auth/refresh')
  await tab.route('**/v1/auth/refresh', async (route) => {
    await new Promise((go) => (answer = go))
    await route.continue()
  })
  const held = tab.waitForRequest('**/v1/auth/refresh')
  await tab.getByRole('button', { name: 'Try again' }).click()
  await held
  assert.equal(await focus(tab), 'MAIN')
  answer()
  await isBack(tab)
  await focused(tab, 'H1')
  await tab.unroute('**/v1/auth/refresh')

  // Of two messages at once a screen reader says the last one alone.
  await tab.evaluate(() => {
    const live = document.querySelector('body > p[role=status]')
    globalThis.said = []
    new MutationObserver(() => live.textContent && globalThis.said.push(live.textContent)).observe(live, { childList: true })
  })
  await tab.getByRole('button', { name: 'Sign out everywhere' }).click()
  await tab.locator('dialog button.danger').click()
  await tab.locator('.notice', { hasText: 'You are signed out on all devices.' }).waitFor()
  await tab.waitForFunction(() => globalThis.said.at(-1)?.includes('on all devices'))
  assert.deepEqual(await tab.evaluate(() => globalThis.said), ['You are signed out on all devices.'])
  say('two messages at once are said as one')

  // What people have ended themselves is over at the next visit too, and nothing says that somebody else has ended it.
  const kept = async () => (await context.cookies()).map(({ name }) => name).filter((name) => name === '__Host-latchkey-refresh')
  const isOver = async () => {
    for (let looks = 0; (await kept()).length; looks++) {
      assert.ok(looks < 50, 'the cookie is taken away')
      await tab.waitForTimeout(100)
    }
    heard.length = 0
    await tab.reload()
    await tab.waitForSelector('input[type=email]')
    await tab.waitForLoadState('networkidle')
    assert.deepEqual(heard, [], 'the console is empty')
    assert.equal(await tab.locator('.notice').count(), 0, 'nothing has ended that was not ended here')
    assert.deepEqual(await kept(), [])
  }
  await isOver()
  // A link to a new password, used where one is signed in.
  await signIn(tab, OTHER)
  await tab.evaluate(async () => {
    const { client } = await import(document.querySelector('script[type=module]').src.replace(/[^/]+$/, 'session.js'))
    await client.revokeSession(client.state.session.id)
  })
  await tab.waitForSelector('input[type=email]')
  await isOver()
  await signIn(tab, OTHER)
  await tab.goto(`${origin}/account/settings`)
  await tab.getByRole('button', { name: 'Delete account' }).click()
  await tab.fill('dialog input', PASSWORD)
  await tab.keyboard.press('Enter')
  await tab.getByText('Your account is deleted.').first().waitFor()
  await isOver()
  say('what people have ended is over, and the next visit says nothing of it')
  await context.close()

  // The same after a proof of the password, whose dialog the end closes too.
  const wary = await start(binary, { REAUTHENTICATE_TO_REVOKE: 'true', REAUTHENTICATE_WITHIN_SECONDS: '3' })
  const proving = await device('phone')
  try {
    origins.add(wary.origin)
    const one = await proving.newPage()
    await one.goto(`${wary.origin}/account/register`)
    await signIn(one, EMAIL)
    await one.waitForTimeout(3_500)
    await one.getByRole('button', { name: 'Sign out everywhere' }).click()
    await one.locator('dialog button.danger').click()
    await one.getByRole('heading', { name: 'Confirm that it is you' }).waitFor()
    await inspect(one, 'phone-proof')
    await one.getByRole('button', { name: 'Cancel' }).last().click()
    await one.locator('dialog [role=alert]', { hasText: 'This needs your password.' }).waitFor()
    await one.locator('dialog button.danger').click()
    await one.fill('dialog input[type=password]', PASSWORD)
    await one.keyboard.press('Enter')
    await one.waitForSelector('input[type=email]')
    await one.locator('.notice', { hasText: 'You are signed out on all devices.' }).waitFor()
    assert.equal(await one.locator('dialog').count(), 0)
    say('an end everywhere that wants the password says what it did')
  } finally {
    await proving.close()
    await wary.stop()
  }
}
