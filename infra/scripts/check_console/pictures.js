// The pictures of infra/guides: the pages with devices and places as they are on AWS, where a laptop knows one address.

import { execFileSync } from 'node:child_process'

const PASSWORD = 'correct horse battery staple'
const EMAIL = 'ada@example.org'
const MINUTE = 60_000
/** What the devices are shown as, by the name with which they sign in. */
const SHOWN = {
  'Safari on iPhone': { device_type: 'mobile', location_city: 'Lisbon', location_country: 'PT', used: 3 * MINUTE, begun: 9_000 * MINUTE, new_device: false },
  'Chrome on Windows': { device_type: 'desktop', name: 'Work laptop', location_city: 'Lisbon', location_country: 'PT', used: 190 * MINUTE, begun: 20_000 * MINUTE, new_device: false },
  'Edge on Windows': { device_type: 'desktop', location_city: 'Toronto', location_country: 'CA', used: 1_500 * MINUTE, begun: 1_520 * MINUTE, new_device: true, unusual_location: true },
}

export async function takePictures({ device, takePicture, ask, origin, binary, data, say }) {
  await ask('POST', '/v1/auth/register', { email: EMAIL, password: PASSWORD, device_name: 'Edge on Windows' })
  for (const device_name of ['Chrome on Windows', 'Safari on iPhone']) await ask('POST', '/v1/auth/login', { email: EMAIL, password: PASSWORD, device_name })
  execFileSync(binary, ['admin', '--data-dir', data, 'grant', EMAIL], { stdio: 'ignore' })
  const dress = async (route) => {
    const reply = await route.fetch()
    const list = await reply.json()
    for (const session of list.sessions) {
      Object.assign(session, { location_city: 'Lisbon', location_country: 'PT', new_device: false })
      const { used = 0, begun = 30_000 * MINUTE, ...shown } = SHOWN[session.device_name] ?? {}
      Object.assign(session, shown, { last_used_at: new Date(Date.now() - used).toISOString(), created_at: new Date(Date.now() - begun).toISOString() })
    }
    await route.fulfill({ response: reply, json: list })
  }
  const open = async (kind, options, path = '/account') => {
    const context = await device(kind, { reducedMotion: 'reduce', ...options })
    await context.route(/\/sessions(\?state=all)?$/, dress)
    const page = await context.newPage()
    await page.goto(origin + path)
    await page.fill('input[type=email]', EMAIL)
    await page.fill('input[type=password]', PASSWORD)
    await page.keyboard.press('Enter')
    await page.getByRole('banner').getByText(EMAIL).waitFor()
    return page
  }

  const page = await open('computer', { viewport: { width: 860, height: 860 } })
  await page.getByText('Toronto').waitFor()
  await takePicture(page, 'guide-devices')
  await page.getByRole('button', { name: 'Sign out Edge on Windows' }).click()
  await page.context().close()

  const phone = await open('phone', { colorScheme: 'dark', locale: 'de-DE', viewport: { width: 360, height: 700 } })
  await phone.getByText('Toronto').waitFor()
  await phone.getByRole('button', { name: 'Edge on Windows abmelden' }).click()
  await takePicture(phone, 'guide-phone-dialog')
  await phone.context().close()

  const admin = await open('computer', { viewport: { width: 860, height: 760 } }, '/admin')
  await admin.getByLabel(/user ID or session ID/).fill(EMAIL)
  await admin.keyboard.press('Enter')
  await admin.getByRole('heading', { name: 'Active sessions' }).waitFor()
  await takePicture(admin, 'guide-admin')
  await admin.context().close()
  say('the pictures of the guides')
}
