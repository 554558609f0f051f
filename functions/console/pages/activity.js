// What has happened to the account, by days.

import { icon, make, own, sentence, skeleton } from './dom.js'
import { whileBusy } from './ask.js'
import { announce, failure, show } from './page.js'
import { client } from './session.js'
import { placeOf } from './devices.js'
import { absolute, say, wordOf, written } from './words.js'
import './account-words.js'

/** @typedef {import('./latchkey.js').ActivityEntry} Entry */

/** The icon of each kind, by how its name begins. @type {[string, import('./dom.js').Icon][]} */
const PICTURES = [
  ['session.created', 'in'], ['session.ended', 'out'], ['session.renamed', 'pencil'], ['session.moved', 'warning'],
  ['sign_in', 'warning'], ['user.password', 'key'], ['password', 'key'], ['user.reauthenticated', 'key'],
  ['user.email', 'mail'], ['user', 'user'],
]

/** The view. Returns how to leave it. */
export function activity() {
  const content = make('div', {})
  let isOver = false
  const draw = async () => {
    content.replaceChildren(skeleton(4))
    try {
      const next = client.activity.bind(client)
      const page = await some(await next(), next)
      if (!isOver) content.replaceChildren(...entries(page, next))
    } catch (error) {
      if (!isOver && client.state.status !== 'signed-out') content.replaceChildren(failure(error, draw))
    }
  }
  show(say('activity_title'), make('p.lead', {}, say('activity_text')), content)
  void draw()
  return () => {
    isOver = true
  }
}

/** @typedef {import('./latchkey.js').ActivityPage} Page */
/** @typedef {(page: { cursor: string }) => Promise<Page>} Next */

/** A page that has entries, if there is one: a page may be empty although there are more. @param {Page} page @param {Next} next */
export async function some(page, next) {
  while (!page.activity.length && page.next_cursor) page = await next({ cursor: page.next_cursor })
  return page
}

/**
 * Entries by days, and a button for more of them.
 * @param {Page} first @param {Next} next @param {'h2' | 'h3'} [dayHeading] @param {'h3' | 'h4'} [heading] of an entry
 */
export function entries(first, next, dayHeading = 'h2', heading = 'h3') {
  if (!first.activity.length) return [make('p.empty', {}, say('no_activity'))]
  const list = make('div', {})
  let lastDay = ''
  /** @type {HTMLElement | undefined} */
  let rows
  /** @param {Entry[]} more */
  const add = (more) => {
    for (const entry of more) {
      const date = new Date(entry.time)
      if (date.toDateString() !== lastDay || !rows) {
        lastDay = date.toDateString()
        rows = make('ul.rows.slim', {})
        list.append(make('section', {}, make(dayHeading, {}, day(date)), rows))
      }
      rows.append(row(entry, heading))
    }
  }
  add(first.activity)
  let cursor = first.next_cursor
  const button = make('button', { type: 'button', hidden: !cursor }, say('more'))
  button.addEventListener('click', () =>
    whileBusy(button, async () => {
      try {
        const page = await some(await next({ cursor: cursor ?? '' }), next)
        const before = list.querySelectorAll(heading).length
        add(page.activity)
        cursor = page.next_cursor
        button.hidden = !cursor
        // Reading goes on at the first new entry, also where the button is gone.
        list.querySelectorAll(heading)[before]?.focus()
      } catch (error) {
        if (client.state.status !== 'signed-out') announce(say('failed_load'))
        list.nextElementSibling?.querySelector('.failure')?.remove()
        button.before(failure(error, () => {
          list.nextElementSibling?.querySelector('.failure')?.remove()
          button.focus()
          button.click()
        }))
      }
    }),
  )
  return [list, make('div.buttons', {}, button)]
}

/** The day, with the two last ones by their names. @param {Date} time */
function day(time) {
  const midnight = new Date()
  midnight.setHours(0, 0, 0, 0)
  if (time >= midnight) return say('today')
  midnight.setDate(midnight.getDate() - 1)
  if (time >= midnight) return say('yesterday')
  return written(time, { dateStyle: 'full' })
}

/** @param {Entry} entry @param {'h3' | 'h4'} heading */
function row(entry, heading) {
  const kind = PICTURES.find(([begin]) => entry.type.startsWith(begin))
  const reason = entry.reason ? wordOf(`reason_${entry.reason}`, 'event_other') : null
  const date = new Date(entry.time)
  const details = describe(entry)
  const warn = (/** @type {import('./words.js').Word} */ word) => make('span.mark.warning', {}, icon('warning'), say(word))
  return make(
    'li.row',
    {},
    make('span.icon', {}, icon(kind ? kind[1] : 'info')),
    make(
      'div.about',
      {},
      make(heading, { tabindex: -1 }, titleOf(entry), reason && reason !== 'event_other' ? say(reason) : ''),
      make(
        'p.marks', {}, entry.is_current_session === true && make('span.mark.good', {}, icon('check'), say('this_device')),
        entry.new_device === true && warn('new_device'), entry.unusual_location === true && warn('unusual_place'),
      ),
      make('p', {}, ...details, details.length ? ' · ' : '', make('time', { datetime: entry.time, title: absolute(date) }, written(date, { timeStyle: 'short' }))),
    ),
  )
}

/** What has happened, with the device that it has happened to where that is another one than the one that did it. @param {Entry} entry */
function titleOf(entry) {
  const word = wordOf(`event_${entry.type.replaceAll('.', '_')}`, 'event_other')
  const device = nameOfDevice(entry)
  const named = wordOf(`${word}_of`, word)
  if (!device || named === word) return say(word)
  return sentence(say(named, { device: '{device}' }), { device: own(device) })
}

/** What its owner called the device, or what it is. @param {Entry & { name?: unknown }} entry */
const nameOfDevice = ({ name, device_name }) => (typeof name === 'string' && name ? name : device_name === 'Unknown device' ? say('unknown_device') : device_name)

/** Device and place, as far as an entry has them. @param {Entry} entry */
function describe(entry) {
  const { location_city, location_country, ip_address } = entry
  const place = (location_city || location_country || ip_address) && placeOf(entry)
  const isInTitle = ['session.ended', 'session.renamed'].includes(entry.type)
  const parts = [isInTitle ? null : nameOfDevice(entry), place].flatMap((part) => part || [])
  return parts.flatMap((part, index) => (index ? [' · ', own(part)] : [own(part)]))
}
