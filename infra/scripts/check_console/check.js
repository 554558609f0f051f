// The pages, as people use them. Run by infra/scripts/check-console, which says what the arguments are.

import assert from 'node:assert/strict'
import { open } from './browser.js'
import { checkAdministration } from './administration.js'
import { checkFrame } from './frame.js'
import { checkLinks } from './links.js'
import { checkLooks } from './looks.js'
import { checkPeople, EMAIL, NEXT_PASSWORD, rows } from './people.js'
import { takePictures } from './pictures.js'
import { checkPresence } from './presence.js'
import { checkStepUp } from './step-up.js'

const [executablePath, origin, binary, data, screenshots] = process.argv.slice(2)
const LARGEST = 40_000 // bytes over the wire of the page of devices, however many it shows
const SESSIONS = 4 // that it shows at first
const LONG_LIST = 20 // sessions, as many as one may have
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
const signInElsewhere = (device_name) => ask('POST', '/v1/auth/login', { email: EMAIL, password: NEXT_PASSWORD, device_name })
const visit = async (context, path = '/account') => {
  const page = await context.newPage()
  await page.goto(origin + path)
  return page
}

try {
  console.log(`Chromium ${browser.version()}`)
  const parts = { device, inspect, look, takePicture, visit, ask, say, binary, data, origin, origins, screenshots, email: EMAIL }
  // Administrators look at the person of the story, who has had more devices and more to tell than one page holds.
  const story = checkPeople(parts).then(async (shown) => {
    await checkAdministration(parts)
    return shown
  })
  const [{ computer, page, tab }] = await Promise.all([story, ...[checkPresence, checkLinks, checkLooks, checkStepUp, checkFrame].map((check) => check(parts))])
  if (screenshots) await takePictures(parts)

  // Visits with nothing kept, as the first one of a day; of their times the best, because this machine does other work too.
  await tab.close()
  for (const name of ['One', 'Two', 'Three']) await signInElsewhere(name)
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
  for (let n = SESSIONS; n < LONG_LIST; n += 4) await Promise.all([n, n + 1, n + 2, n + 3].map((one) => signInElsewhere(`Device ${one}`)))
  await load(LONG_LIST)
  say(`with ${LONG_LIST} sessions: ${bytes} bytes`)
  assert.ok(bytes < LARGEST, `${bytes} bytes`)

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
