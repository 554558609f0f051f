// A browser whose pages may do nothing wrong: no error in the console, no violation of the policy, no request elsewhere.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium } from 'playwright-core'

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

/** What a device sends as its User-Agent, by a name for it. */
export const DEVICES = {
  computer: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  phone: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
}

/** Neither Firefox nor Safari sends client hints. */
const NO_HINTS = { 'sec-ch-ua': '', 'sec-ch-ua-mobile': '', 'sec-ch-ua-platform': '' }

/** `origins` are those that a page may ask; more may come. */
export async function open(executablePath, origins, screenshots) {
  const browser = await chromium.launch({
    executablePath,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--no-proxy-server',
    ],
  })
  const wrong = []
  if (screenshots) mkdirSync(screenshots, { recursive: true })

  /** A context: another device. */
  const device = async (kind, options = {}) => {
    const size = kind === 'phone' ? { width: 360, height: 740 } : { width: 1100, height: 800 }
    const context = await browser.newContext({ viewport: size, userAgent: DEVICES[kind], extraHTTPHeaders: NO_HINTS, locale: 'en-GB', ...options })
    context.setDefaultTimeout(20_000)
    await context.addInitScript(() =>
      addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)),
    )
    context.on('page', (page) => {
      page.on('pageerror', (error) => wrong.push(`${page.url()}: ${error}`))
      page.on('console', (message) => {
        // Chromium says of each status over 399 that it could not be loaded; `response` below judges these.
        if (message.type() !== 'error' && message.type() !== 'warning') return
        if (!message.text().startsWith('Failed to load resource')) wrong.push(`${page.url()}: ${message.text()}`)
      })
      page.on('request', (request) => {
        if (!origins.has(new URL(request.url()).origin)) wrong.push(`a request to ${request.url()}`)
      })
      page.on('response', (response) => {
        const isOurs = new URL(response.url()).pathname.startsWith('/v1/')
        if (response.status() >= 400 && !isOurs && !response.url().includes('/nowhere')) wrong.push(`${response.status()} ${response.url()}`)
      })
    })
    return context
  }

  /** What axe finds on a page as it is, in every state that is given to it. Its legacy mode opens no tab for each report. */
  const inspect = async (page, state) => {
    const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).withTags(RULES).analyze()
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`)
    assert.deepEqual(found, [], `axe on ${state}`)
    await look(page, state)
  }

  /** A picture of a page, if they are wanted. Nothing may be wider than the window, or be cut off in a list. */
  const look = async (page, state) => {
    const wide = await page.evaluate(() => {
      const lists = [...document.querySelectorAll('.rows')].map((list) => list.scrollWidth - list.clientWidth)
      return Math.max(document.documentElement.scrollWidth - innerWidth, ...lists)
    })
    assert.ok(wide <= 0, `${state} is ${wide} px too wide`)
    if (screenshots) await page.screenshot({ path: `${screenshots}/${state}.png`, fullPage: true })
  }

  /** A picture of what is in the window, as the guides show it. */
  const takePicture = async (page, name) => {
    const protocol = await page.context().newCDPSession(page)
    const { data } = await protocol.send('Page.captureScreenshot', { format: 'webp', quality: 82 })
    writeFileSync(`${screenshots}/${name}.webp`, Buffer.from(data, 'base64'))
  }

  return { browser, device, inspect, look, takePicture, wrong }
}
