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
  await inspect(page, 'admin-user')
  await page.getByRole('button', { name: 'End The television' }).click()
  await inspect(page, 'admin-end')
  await isNotDone('**/v1/admin/users/*/sessions/*', [202, 200])
  await page.locator('dialog button.danger').click()
  await page.getByText('1 session was ended.').first().waitFor()
  const me = await fetch(`${origin}/v1/me`, { headers: { authorization: `Bearer ${elsewhere.access_token}` } })
  assert.equal(me.status, 401)

  await ask('POST', '/v1/auth/register', { email: 'bob@example.com', password: PASSWORD })
  await page.getByRole('link', { name: 'Users' }).click()
  await search.fill('bob@example.com')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Send a password reset link' }).click()
  await isNotDone('**/password-reset', [202, 200, 204])
  await page.locator('dialog button.primary').click()
  await page.getByText('The link is on its way.').first().waitFor()
  await page.getByRole('button', { name: 'Disable account' }).click()
  await isNotDone(/\/v1\/admin\/users\/[^/]+$/, [202, 200, 204])
  await page.locator('dialog button.danger').click()
  await page.getByText('The account is disabled.').first().waitFor()
  await page.getByText('This user is not signed in anywhere.').waitFor()
  await page.getByRole('button', { name: 'Enable account' }).click()
  await page.locator('dialog button.primary').click()
  await page.getByText('The account is enabled.').first().waitFor()
  await inspect(page, 'admin-enabled')

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
  await page.getByRole('link', { name: CLERK }).click()
  await page.locator('section[aria-labelledby=live] li.row', { hasText: 'This device' }).getByRole('button').click()
  await page.getByRole('heading', { name: 'Sign out here?' }).waitFor()
  await page.locator('dialog button.danger').click()
  await page.locator('.notice', { hasText: 'You are signed out.' }).waitFor()
  say('an administrator finds users, ends a session, disables and enables an account, and ends the own session')
  await context.close()
}
