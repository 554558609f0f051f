// What wants a recent proof of who one is asks for the password, and is done then.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { start } from './stack.js'

const PERSON = 'joan@example.com'
const CLERK = 'ida@example.com'
const PASSWORD = 'correct horse battery staple'
const WITHIN = 5 // seconds that a proof counts

export async function checkStepUp({ device, inspect, say, binary, origins }) {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-'))
  const data = join(folder, 'data')
  const { origin, stop } = await start(binary, { REAUTHENTICATE_TO_REVOKE: 'true', REAUTHENTICATE_WITHIN_SECONDS: String(WITHIN) }, ['--data-dir', data])
  const [desk, sofa] = [await device('computer'), await device('phone')]
  try {
    origins.add(origin)
    const ask = async (path, body) => {
      const reply = await fetch(origin + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
      return reply.json()
    }
    const isLive = async ({ access_token }) => (await fetch(`${origin}/v1/me`, { headers: { authorization: `Bearer ${access_token}` } })).status === 200
    const signIn = async (context, path, email) => {
      const page = await context.newPage()
      await page.goto(origin + path)
      await page.fill('input[type=email]', email)
      await page.fill('input[type=password]', PASSWORD)
      await page.keyboard.press('Enter')
      return page
    }
    /** Waits until the proofs of both pages no longer count. */
    const grow = (page) => page.waitForTimeout(WITHIN * 1_000 + 200)
    const proof = (page) => page.locator('dialog', { hasText: 'Confirm that it is you' })
    const prove = async (page, password) => {
      await proof(page).locator('input[type=password]').fill(password)
      await page.keyboard.press('Enter')
    }
    const other = { email: PERSON, password: PASSWORD, device_name: 'The television' }
    const television = await ask('/v1/auth/register', other)
    const radio = await ask('/v1/auth/login', { ...other, device_name: 'The radio' })
    await ask('/v1/auth/register', { email: CLERK, password: PASSWORD })
    execFileSync(binary, ['admin', '--data-dir', data, 'grant', CLERK], { stdio: 'ignore' })
    const [page, phone] = await Promise.all([signIn(desk, '/admin', CLERK), signIn(sofa, '/account', PERSON)])
    const search = page.getByLabel(/user ID or session ID/)
    await search.waitFor()
    await phone.waitForSelector('li.row.current')
    await grow(page)

    await phone.getByRole('button', { name: 'Sign out The television' }).click()
    await phone.locator('dialog button.danger').click()
    await proof(phone).waitFor()
    await inspect(phone, 'phone-step-up')
    await prove(phone, 'not the password')
    await proof(phone).getByText('This is not your password.').waitFor()
    assert.ok(await isLive(television), 'nothing is done before the proof')
    await prove(phone, PASSWORD)
    await phone.locator('li.row.over', { hasText: 'The television' }).waitFor()
    assert.equal(await phone.locator('dialog').count(), 0)
    assert.equal(await isLive(television), false)

    await search.fill(television.user.id)
    await page.keyboard.press('Enter')
    await proof(page).waitFor()
    await inspect(page, 'admin-step-up')
    await prove(page, PASSWORD)
    await page.getByRole('heading', { name: PERSON, level: 1 }).waitFor()
    await grow(page)
    await page.evaluate(() => dispatchEvent(new Event('focus')))
    await page.locator('.notice', { hasText: 'This needs your password.' }).waitFor()
    assert.equal(await page.locator('dialog').count(), 0, 'who only comes back is not asked')
    await inspect(page, 'admin-not-refreshed')
    await page.getByRole('button', { name: 'End all sessions' }).click()
    await page.locator('dialog button.danger').click()
    await proof(page).waitFor()
    assert.ok(await isLive(radio), 'nothing is done before the proof')
    await prove(page, PASSWORD)
    await page.getByText('2 sessions were ended.').first().waitFor()
    await page.getByText('This user is not signed in anywhere.').waitFor()
    assert.equal(await isLive(radio), false)
    say('what wants a recent proof asks for the password, of people and of administrators')
  } finally {
    await Promise.all([desk, sofa].map((context) => context.close()))
    await stop()
    rmSync(folder, { recursive: true, force: true })
  }
}
