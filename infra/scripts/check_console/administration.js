// The page of administrators, as one of them uses it.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'

const CLERK = 'grace@example.com'
const PASSWORD = 'wrong donkey charger paperclip'

export async function checkAdministration({ device, inspect, visit, ask, say, binary, data, origin, email }) {
  const context = await device('computer')
  await ask('POST', '/v1/auth/register', { email: CLERK, password: PASSWORD })
  const page = await visit(context, '/admin')
  const signIn = async () => {
    await page.fill('input[type=email]', CLERK)
    await page.fill('input[type=password]', PASSWORD)
    await page.keyboard.press('Enter')
  }
  /** Presses the button of a dialog: nothing but the reply of the service counts as done, and a firewall may answer too. */
  const isNotDone = async (path, statuses) => {
    for (const status of statuses) {
      await page.route(path, (route) => route.fulfill({ status }), { times: 1 })
      const answered = page.waitForResponse(path)
      await page.locator('dialog button').first().click()
      await answered
      await page.locator('dialog [role=alert]', { hasText: 'That did not work.' }).waitFor()
      assert.equal(await page.locator('dialog .busy').count(), 0)
    }
  }
  const live = page.locator('section[aria-labelledby=live]')
  /** Confirms in the dialog. What was done is said after everything is drawn again, so that a screen reader says it to the end. */
  const isSaid = async (text, focus) => {
    const drawn = page.waitForResponse(/\/activity$/)
    await page.locator('dialog button').first().click()
    await drawn
    await page.locator('.notice', { hasText: text }).waitFor()
    await page.waitForTimeout(200)
    assert.equal(await page.locator('body > p[role=status]').textContent(), text)
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('data-key') ?? document.activeElement?.tagName), focus, text)
  }
  await page.waitForSelector('form')
  await signIn()
  await page.getByRole('heading', { name: 'This account is not an administrator' }).waitFor()
  await page.getByText(`You are signed in as ${CLERK}.`).waitFor()
  assert.equal(await page.getByRole('link', { name: 'Go to your devices' }).getAttribute('href'), '/account')
  await inspect(page, 'admin-refused')

  execFileSync(binary, ['admin', '--data-dir', data, 'grant', CLERK], { stdio: 'ignore' })
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForSelector('input[type=email]')
  await signIn()
  const search = page.getByLabel(/user ID or session ID/)
  await search.waitFor()
  await inspect(page, 'admin-search')
  // The two pages lead to each other.
  await page.getByRole('navigation').getByRole('link', { name: 'Your devices' }).click()
  await page.waitForSelector('li.row.current')
  await page.getByRole('navigation').getByRole('link', { name: 'Activity' }).click()
  await page.getByRole('heading', { name: 'Your activity' }).waitFor()
  await inspect(page, 'activity-administrator')
  await page.getByRole('navigation').getByRole('link', { name: 'Administration' }).click()
  await search.waitFor()
  await search.fill('nobody@example.com')
  await page.keyboard.press('Enter')
  await page.getByText('Nobody was found').waitFor()
  await search.fill('nobody')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').filter({ hasText: /./ }).waitFor()
  assert.equal(await page.getByText('Nobody was found').count(), 0, 'that was the search before')
  assert.equal(await page.getByRole('navigation', { name: 'Main menu' }).count(), 1)
  await page.getByRole('button', { name: 'Browse all users' }).click()
  await page.getByRole('link', { name: email }).waitFor()
  await page.locator('li.row', { hasText: CLERK }).getByText('Your account').waitFor()
  await page.waitForFunction(() => document.activeElement?.textContent === 'All users')
  await inspect(page, 'admin-browse')
  await page.getByRole('link', { name: CLERK }).click()
  await page.getByText('You cannot disable your own account.').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Disable account' }).count(), 0)
  assert.equal(await page.locator('section[aria-labelledby=live] li.row', { hasText: 'This device' }).count(), 1, 'the own session is marked')
  await inspect(page, 'admin-own-account')
  await page.getByRole('link', { name: 'Users' }).click()
  await page.getByRole('heading', { name: 'All users' }).waitFor()

  const elsewhere = await ask('POST', '/v1/auth/login', { email, password: PASSWORD, device_name: 'The television' })
  await page.route('**/sessions?state=all', async (route) => {
    const reply = await route.fetch()
    const list = await reply.json()
    Object.assign(list.sessions.at(-1), { state: 'expired', expires_at: new Date(Date.now() - 7_260_000).toISOString() })
    await route.fulfill({ response: reply, json: list })
  }, { times: 1 })
  await search.fill(elsewhere.session.id)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: email, level: 1 }).waitFor()
  assert.match(new URL(page.url()).pathname, /^\/admin\/users\/[0-9a-f-]{36}$/)
  await page.locator('section[aria-labelledby=ended]').getByText('Expired 2 hours ago').waitFor()
  const found = page.locator('li.row[aria-current=true]')
  await found.filter({ hasText: 'The television' }).getByText('The session that you looked for').waitFor()
  assert.equal(await found.count(), 1)
  await inspect(page, 'admin-user')
  await page.getByRole('button', { name: 'End The television' }).click()
  await inspect(page, 'admin-end')
  await isNotDone('**/v1/admin/users/*/sessions/*', [202, 200])
  await isSaid('1 session was ended.', 'H1')
  const ended = page.locator('section[aria-labelledby=ended] li.row', { hasText: 'The television' })
  // A token that is tried later than its session ended moves the time too, so nobody is said to have been active.
  await ended.getByText('Last used or tried just now').waitFor()
  const me = await fetch(`${origin}/v1/me`, { headers: { authorization: `Bearer ${elsewhere.access_token}` } })
  assert.equal(me.status, 401)

  // A session that its user has ended meanwhile.
  const meanwhile = await ask('POST', '/v1/auth/login', { email, password: PASSWORD, device_name: 'The radio' })
  await page.getByRole('link', { name: 'Users' }).click()
  await search.fill(meanwhile.session.id)
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'End The radio' }).click()
  await ask('POST', '/v1/auth/logout', undefined, meanwhile.access_token)
  await page.locator('dialog button.danger').click()
  await page.locator('.notice', { hasText: 'The radio was already signed out.' }).waitFor()

  // The activity, page by page; reading goes on at the first entry of the next one.
  const entries = page.locator('ul.slim li.row')
  await entries.first().waitFor()
  const count = await entries.count()
  await page.getByRole('button', { name: 'Show more' }).click()
  await entries.nth(count).waitFor()
  await page.waitForFunction((count) => document.activeElement === document.querySelectorAll('ul.slim h4')[count], count)
  const times = await page.locator('ul.slim time').evaluateAll((all) => all.map((time) => time.dateTime))
  assert.deepEqual(times, [...times].sort().reverse(), 'older ones follow, none a second time')

  const bob = await ask('POST', '/v1/auth/register', { email: 'bob@example.com', password: PASSWORD })
  await ask('POST', '/v1/auth/login', { email: 'bob@example.com', password: PASSWORD })
  await page.getByRole('link', { name: 'Users' }).click()
  await search.fill(bob.user.id)
  await page.keyboard.press('Enter')
  const endAll = page.getByRole('button', { name: 'End all sessions' })
  await endAll.focus()

  // What happens elsewhere is shown when somebody looks at the page again, but not to somebody who is deciding.
  const look = () => page.evaluate(() => dispatchEvent(new Event('focus')))
  const radio = await ask('POST', '/v1/auth/login', { email: 'bob@example.com', password: PASSWORD, device_name: 'The radio' })
  await look()
  await live.getByText('The radio').waitFor()
  assert.ok(await endAll.evaluate((one) => one === document.activeElement), 'the focus stays')
  await endAll.click()
  await ask('POST', '/v1/auth/logout', undefined, radio.access_token)
  await look()
  await page.waitForTimeout(700)
  assert.equal(await live.getByText('The radio').count(), 1)
  await page.keyboard.press('Escape')
  await live.getByText('The radio').waitFor({ state: 'detached', timeout: 5_000 })

  // A dialog is about its view: on the way back it is closed, and is not asked over another user.
  await endAll.click()
  await page.goBack()
  await page.locator('dialog').waitFor({ state: 'detached' })
  await page.goForward()
  await endAll.waitFor()

  await endAll.click()
  await isNotDone('**/sessions/revoke-all', [202, 204])
  await isSaid('2 sessions were ended.', 'H1')
  await page.getByText('This user is not signed in anywhere.').waitFor()
  const after = await fetch(`${origin}/v1/me`, { headers: { authorization: `Bearer ${bob.access_token}` } })
  assert.equal(after.status, 401)
  await page.getByRole('button', { name: 'Send a password reset link' }).click()
  await isNotDone('**/password-reset', [202, 200, 204])
  await isSaid('The link is on its way.', 'send_reset')
  const isSent = async () => (await ask('GET', '/local/events')).events.some(({ type, data }) => type === 'password_reset.requested' && data.email === 'bob@example.com')
  for (let looks = 0; !(await isSent()); looks++) {
    assert.ok(looks < 50, 'the link was asked for')
    await page.waitForTimeout(100)
  }
  await page.getByRole('button', { name: 'Disable account' }).click()
  await isNotDone(/\/v1\/admin\/users\/[^/]+$/, [202, 200, 204])
  await isSaid('The account is disabled.', 'disable')
  await page.getByText('This user is not signed in anywhere.').waitFor()
  await page.getByRole('button', { name: 'Enable account' }).click()
  await isSaid('The account is enabled.', 'disable')
  await inspect(page, 'admin-enabled')

  // Replies are slow, and a window that comes back looks again: the reading that was asked for is drawn whole.
  const user = /\/v1\/admin\/users\/[^/]+(\/(sessions|activity).*)?$/
  let delay = () => page.waitForTimeout(700)
  await page.route(user, async (route) => {
    if (route.request().method() === 'GET') await delay()
    await route.continue()
  })
  const activity = page.getByRole('heading', { name: 'Activity', exact: true })
  const open = async () => {
    await page.getByRole('link', { name: 'Users' }).click()
    await search.fill(bob.user.id)
    const asked = page.waitForRequest('**/sessions?state=all')
    await page.keyboard.press('Enter')
    await asked
  }
  await open()
  await look()
  await activity.waitFor({ timeout: 10_000 })
  // One that has failed is made up for, whole, by the next look, which asks nobody for a password.
  delay = async () => {}
  let isRefused = false
  await page.route('**/v1/admin/users/*/activity', (route) => {
    const proof = { status: 403, contentType: 'application/problem+json', body: '{"code":"reauthentication_required"}' }
    return route.fulfill(isRefused ? proof : { status: 503 })
  }, { times: 2 })
  await open()
  await page.locator('.failure').waitFor()
  isRefused = true
  const refused = page.waitForResponse('**/v1/admin/users/*/activity')
  await look()
  await refused
  await page.waitForTimeout(200)
  assert.equal(await page.locator('dialog').count(), 0)
  await look()
  await activity.waitFor({ timeout: 10_000 })
  // What was done is said in any case, and what is asked for while a dialog is open comes after it.
  let release = () => {}
  const released = new Promise((go) => (release = go))
  delay = () => released
  await page.getByRole('button', { name: 'Disable account' }).click()
  await page.locator('dialog button').first().click()
  await page.locator('.notice', { hasText: 'The account is disabled.' }).waitFor({ timeout: 6_000 })
  await page.getByRole('button', { name: 'Send a password reset link' }).click()
  const replied = page.waitForResponse(/\/activity$/)
  release()
  await replied
  await page.waitForTimeout(200)
  assert.equal(await page.getByRole('button', { name: 'Enable account' }).count(), 0, 'nothing is drawn under a dialog')
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Enable account' }).waitFor({ timeout: 5_000 })
  await page.locator('ul.slim li.row').first().getByText(/disabled/).waitFor()

  // Whoever signs in elsewhere has no password to reset, and an address that was verified there or nowhere.
  const added = execFileSync(binary, ['admin', '--data-dir', data, 'client', 'add', 'intranet', '--name', 'intranet', '--json', '--scope', 'sessions:issue', '--issuer', 'https://idp.example.org'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const authorization = `Basic ${btoa(`intranet:${JSON.parse(added).secret}`)}`
  const issued = await fetch(`${origin}/v1/service/sessions`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ identity: { issuer: 'https://idp.example.org', subject: 'dorothy' }, email: 'dorothy@example.com', amr: ['pwd'] }),
  })
  assert.equal(issued.status, 201)
  await page.getByRole('link', { name: 'Users' }).click()
  await search.fill((await issued.json()).session.id)
  await page.keyboard.press('Enter')
  await page.getByText('Signs in elsewhere').waitFor()
  await page.getByText('https://idp.example.org').waitFor()
  await page.getByText('dorothy', { exact: true }).waitFor()
  assert.equal(await page.getByText('Not confirmed').count(), 0)
  assert.equal(await page.getByRole('button', { name: 'Send a password reset link' }).count(), 0)
  await inspect(page, 'admin-elsewhere')

  await page.getByRole('link', { name: 'Users' }).click()
  await search.fill(CLERK)
  await page.keyboard.press('Enter')
  await page.locator('section[aria-labelledby=live] li.row', { hasText: 'This device' }).getByRole('button').click()
  await page.getByRole('heading', { name: 'Sign out here?' }).waitFor()
  await page.locator('dialog button.danger').click()
  await page.locator('.notice', { hasText: 'You are signed out.' }).waitFor()
  say('an administrator finds users, pages their activity, ends one session and all, sends a link, disables and enables an account, and ends the own session')
  await context.close()
}
