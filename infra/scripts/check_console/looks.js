// How the pages look where there is little room: long names, an IPv6 address, large text, colours of the system.

import assert from 'node:assert/strict'

const PASSWORD = 'correct horse battery staple'
const EMAIL = `katherine.${'johnson-'.repeat(6)}goble@observatory.example.com`
const NAME = 'The_computer_in_the_observatory_that_nobody_ever_switches_off_because_its_telescope_listens_to_Mars_'
const IPV6 = '2001:db8:85a3:8d3:1319:8a2e:370:7348'

export async function checkLooks({ device, inspect, look, ask, say, origin, screenshots }) {
  for (const [index, device_name] of ['Chrome on Windows', 'Safari on iPad', 'Kitchen television'].entries()) {
    await ask('POST', '/v1/auth/' + (index ? 'login' : 'register'), { email: EMAIL, password: PASSWORD, device_name })
  }
  const types = ['desktop', 'tablet', 'tv']
  /** Places and names as the service gives them where it knows more than an address of this machine. */
  const dress = async (route) => {
    const reply = await route.fetch()
    const list = await reply.json()
    for (const session of list.sessions) {
      const rank = ['Chrome on Windows', 'Safari on iPad', 'Kitchen television'].indexOf(session.device_name)
      if (rank < 0) continue
      session.device_type = types[rank]
      if (rank === 0) Object.assign(session, { name: NAME, ip_address: IPV6 })
      if (rank === 1) Object.assign(session, { location_city: 'Llanfairpwllgwyngyll', location_country: 'GB', unusual_location: true })
      session.last_used_at = new Date(Date.now() - [7_200_000, 162_000_000, 900_000_000][rank]).toISOString()
    }
    await route.fulfill({ response: reply, json: list })
  }
  const ways = [
    ['phone', { colorScheme: 'light' }, 'phone-light'],
    ['computer', { colorScheme: 'dark' }, 'dark'],
    ['phone', { colorScheme: 'light', forcedColors: 'active' }, 'phone-forced-colors'],
    ['phone', { colorScheme: 'dark' }, 'phone-large-text', '200%'],
  ]
  for (const [kind, options, name, fontSize] of ways) {
    const context = await device(kind, { reducedMotion: 'reduce', ...options })
    await context.route('**/v1/sessions', dress)
    const page = await context.newPage()
    if (fontSize) await page.addInitScript((size) => addEventListener('DOMContentLoaded', () => (document.documentElement.style.fontSize = size)), fontSize)
    await page.goto(`${origin}/account`)
    await page.waitForSelector('form')
    if (fontSize) assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('label')).fontSize), '32px')
    await look(page, `look-${name}-sign-in`)
    await page.fill('input[type=email]', EMAIL)
    await page.fill('input[type=password]', PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForSelector('li.row.current')
    await page.getByText(IPV6).waitFor()
    await page.getByText('Active 1 day ago').waitFor() // 45 hours, which is not always yesterday
    const places = await page.locator('.actions').first().evaluate(({ children }) => [...children].map((one) => one.getBoundingClientRect().left))
    assert.deepEqual(places, [...places].sort((a, b) => a - b), 'what is read first is seen first')
    await page.getByRole('banner').getByText(EMAIL).waitFor()
    await (fontSize || name === 'dark' ? inspect : look)(page, `look-${name}-devices`)
    if (!screenshots && !fontSize) {
      await context.close()
      continue
    }
    await page.getByRole('button', { name: /^Rename The_computer/ }).click()
    await look(page, `look-${name}-rename`)
    await page.keyboard.press('Escape')
    await page.getByRole('button', { name: /^Sign out The_computer/ }).click()
    await look(page, `look-${name}-dialog`)
    assert.equal(await page.locator('dialog').evaluate((one) => one.scrollTop), 0, 'a dialog that does not fit shows its beginning')
    await page.keyboard.press('Escape')
    await page.getByRole('link', { name: 'Activity' }).click()
    await page.locator('.slim li.row').first().waitFor()
    await look(page, `look-${name}-activity`)
    await page.getByRole('link', { name: 'Settings' }).click()
    await page.getByRole('button', { name: 'Change address' }).click()
    await look(page, `look-${name}-settings`)
    await context.close()
  }
  say('long names, an IPv6 address, dark, colours of the system and text of 200 % fit in 360 px')
}
