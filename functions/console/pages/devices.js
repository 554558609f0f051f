// Where one is signed in: the list of devices, and what one can do about each.

import { LatchkeyError } from './latchkey.js'
import { deviceIcon, fill, icon, make, newId, own, sentence, skeleton, time } from './dom.js'
import { ask, field, whileBusy, withProof } from './ask.js'
import { keepTrue } from './keep-true.js'
import { announce, explain, failure, focusKey, notify, show } from './page.js'
import { client } from './session.js'
import { absolute, country, live, say, wordOf } from './words.js'

/** @typedef {import('./latchkey.js').Session} Session */
/** @typedef {Session & { new_device?: boolean | null, unusual_location?: boolean | null }} MarkedSession */

/** So near to the limit there is a warning. */
const NEAR = 2
/** How long a row that was ended is still shown. Milliseconds. */
const FAREWELL = 1_800
/** How often the list is read again while it is looked at. Milliseconds. */
const EVERY = 60_000

/** What a device is called, by its owner or by itself. @param {Session} session */
export const nameOf = (session) =>
  session.name ?? (session.device_name === 'Unknown device' ? say('unknown_device') : session.device_name)

/** Where it was last, as well as is known. @param {Pick<Session, 'location_city' | 'location_country' | 'ip_address'>} session */
export function placeOf(session) {
  const { location_city: city, location_country: code, ip_address: address } = session
  if (!city && !code) return address || say('unknown_place')
  return live(() => [city, code && country(code)].filter(Boolean).join(', '))
}

/** What tells sessions apart: the name, what the device is, the place, when. @param {MarkedSession} session @param {import('./dom.js').Child[]} [marks] @param {boolean} [isLive] */
export function description(session, marks = [], isLive = true) {
  const named = session.name !== null
  const active = time(session.last_used_at, (ago, seconds) => {
    if (isLive && (session.is_current || seconds < 60)) return say('active_now')
    return say(isLive ? 'active' : 'last_tried', { time: ago })
  })
  return make(
    'div.about',
    {},
    make('h3', {}, own(nameOf(session))),
    make('p.marks', {}, marks, session.new_device && !session.is_current && mark('new_device'), session.unusual_location && mark('unusual_place')),
    named && make('p', {}, own(session.device_name)),
    make('p', {}, own(placeOf(session)), ' · ', active),
    make('p.small', {}, time(session.created_at, (ago) => say('signed_in', { time: ago }))),
  )
}

/** @param {'new_device' | 'unusual_place'} word */
const mark = (word) => make('span.mark.warning', {}, icon('warning'), say(word))

/** The icon of a device, and what it is in words. @param {Session} session */
export const picture = (session) =>
  make('span.icon', {}, deviceIcon(session.device_type), make('span.unseen', {}, say(wordOf(`type_${session.device_type}`, 'type_unknown'))))

/** The view. Returns how to leave it. */
export function devices() {
  const content = make('div', {})
  /** @type {string | null} What is shown, so that what is the same is not drawn again. */
  let shown = null
  /** However many rows are ended, the list is read once. */
  let farewells = 0
  const again = () => {
    content.replaceChildren(skeleton(3))
    shown = null
    void read()
  }

  /** @param {import('./latchkey.js').SessionList} list */
  const draw = (list) => {
    const text = JSON.stringify(list)
    if (text === shown) return
    shown = text
    const focus = content.contains(document.activeElement) && document.activeElement?.getAttribute('data-key')
    const { sessions, total, limit } = list
    const others = sessions.filter((session) => !session.is_current)
    const current = sessions.filter((session) => session.is_current)
    performance.mark('latchkey-data')
    fill(
      content,
      total > limit - NEAR && others.length && nearLimit(total, limit),
      make('section', { 'aria-labelledby': 'this' }, make('h2', { id: 'this' }, say('this_device')), make('ul.rows', {}, current.map(row))),
      make(
        'section',
        { 'aria-labelledby': 'others' },
        make('div.head', {}, make('h2', { id: 'others', tabindex: -1, 'data-key': 'others-title' }, say('other_devices')), others.length > 0 && signOutOthers(others.length)),
        others.length ? make('ul.rows', {}, others.map(row)) : make('p.empty', {}, say('no_others')),
      ),
      make('p.small', {}, say('count_of_limit', { n: total, limit }), '. ', say('not_you')),
      make('div.buttons.last', {}, signOutEverywhere()),
    )
    if (focus && !focusKey(content, focus)) focusKey(content, 'others-title')
    requestAnimationFrame(() => requestAnimationFrame(() => performance.measure('latchkey-shown', 'latchkey-data')))
  }

  /** @param {Session} session */
  const row = (session) => {
    const element = make('li.row', { 'data-session': session.id })
    const fill = () => {
      const name = nameOf(session)
      const rename = make('button.quiet.square', { type: 'button', 'data-key': `rename ${session.id}`, title: say('rename'), 'aria-label': say('rename_of', { device: name }), onclick: () => edit() }, icon('pencil'))
      const out = make('button', { type: 'button', 'data-key': `out ${session.id}`, 'aria-label': say('sign_out_of', { device: name }), onclick: () => (session.is_current ? signOutHere() : signOut(session, element)) }, say('sign_out'))
      const marks = session.is_current ? [make('span.mark.good', {}, icon('check'), say('this_device'))] : []
      element.replaceChildren(picture(session), description(session, marks), make('div.actions', {}, rename, out))
      element.classList.toggle('current', session.is_current)
    }
    const edit = () => {
      const stop = () => {
        fill()
        element.querySelector('button')?.focus()
      }
      element.replaceChildren(picture(session), renaming(session, stop, read, () => { shown = null }))
      element.querySelector('input')?.select()
    }
    fill()
    return element
  }

  /** @param {Session} session @param {HTMLElement} element */
  const signOut = async (session, element) => {
    const device = nameOf(session)
    let had = false
    const done = await ask({
      title: say('sign_out_title'),
      text: [summary(session), make('p', {}, say('sign_out_text'))],
      action: 'sign_out',
      danger: true,
      act: async () => {
        try {
          await withProof(() => client.revokeSession(session.id), prove)
        } catch (error) {
          if (!(error instanceof LatchkeyError) || error.code !== 'session_not_found') throw error
          had = true
        }
      },
    })
    if (!done) return
    farewell(element)
    focusKey(content, 'others-title')
    announce(say(had ? 'already_out' : 'signed_out_of', { device }))
  }

  /** @param {HTMLElement} element */
  const farewell = (element) => {
    element.classList.add('over')
    element.querySelector('.actions')?.replaceChildren(make('span.mark.good', {}, icon('check'), say('signed_out')))
    content.querySelector('[data-key=others]')?.toggleAttribute('disabled', true)
    shown = null
    clearTimeout(farewells)
    farewells = setTimeout(read, FAREWELL, true)
  }

  const signOutHere = async () => {
    const act = async () => void (await client.signOut())
    await ask({ title: say('sign_out_here_title'), text: make('p', {}, say('sign_out_here_text')), action: 'sign_out', act })
  }

  /** @param {number} n */
  const signOutOthers = (n) =>
    make('button', { type: 'button', 'data-key': 'others', onclick: async () => {
      let revoked = 0
      const act = () => withProof(async () => { revoked = (await client.revokeOthers()).revoked }, prove)
      const done = await ask({ title: say('sign_out_others_title', { n }), text: make('p', {}, say('sign_out_others_text')), action: 'sign_out', danger: true, act })
      if (!done) return
      for (const element of content.querySelectorAll('.row:not(.current)')) farewell(/** @type {HTMLElement} */ (element))
      focusKey(content, 'others-title')
      announce(say('others_out', { n: revoked }))
    } }, say('sign_out_others', { n }))

  const signOutEverywhere = () =>
    make('button.danger.plain', { type: 'button', 'data-key': 'everywhere', onclick: async () => {
      let ended = Promise.resolve(false)
      const act = async () => {
        ended = withProof(async () => void (await client.logoutAll()), prove).then(() => true)
        await ended
      }
      await ask({ title: say('sign_out_everywhere_title'), text: make('p', {}, say('sign_out_everywhere_text')), action: 'sign_out_everywhere', danger: true, act })
      // The end closes every dialog, so this one may not know.
      if (await ended.catch(() => false)) notify(say('ended_everywhere'), 'info')
    } }, say('sign_out_everywhere'))

  const { outage, read, leave } = keepTrue(() => client.getSessions(), draw, (error, isFirst) => isFirst && fill(content, failure(error, again)), EVERY)
  show(say('devices_title'), make('p.lead', {}, say('devices_text')), outage, content)
  again()
  return leave
}

/** @param {string} password */
export const prove = (password) => client.reauthenticate({ password })

/** @param {number} n @param {number} limit */
const nearLimit = (n, limit) => make('p.notice.warning', {}, icon('warning'), make('span', {}, say('near_limit', { n, limit })))

/** What a dialog says of a session. @param {Session} session */
export const summary = (session) =>
  make(
    'p.summary', {}, make('strong', {}, own(nameOf(session))), make('br'), own(placeOf(session)), ' · ',
    sentence(say('last_active_at', { time: '{time}' }), { time: make('time', { datetime: session.last_used_at }, absolute(new Date(session.last_used_at))) }),
  )

/** @param {Session} session @param {() => void} stop @param {() => Promise<void>} read @param {() => void} forget */
function renaming(session, stop, read, forget) {
  const name = field('name', { type: 'text', maxlength: 100, autocomplete: 'off' }, say('name_hint'))
  name.input.value = session.name ?? ''
  name.input.placeholder = session.device_name
  const save = make('button.primary', { type: 'submit' }, say('save'))
  const form = make('form.rename', { novalidate: true, id: newId('rename'), 'aria-label': say('rename_of', { device: nameOf(session) }) }, name.element, make('div.buttons', {}, save, make('button', { type: 'button', onclick: stop }, say('cancel'))))
  form.addEventListener('keydown', (event) => event.key === 'Escape' && stop())
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    void whileBusy(save, async () => {
      try {
        const renamed = await client.renameSession(session.id, name.input.value.trim() || null)
        Object.assign(session, renamed)
        announce(say('renamed'))
      } catch (error) {
        if (!(error instanceof LatchkeyError)) throw error
        if (error.code !== 'session_not_found') {
          return name.refuse(error.code === 'validation_failed' ? say('invalid_name') : explain(error))
        }
        announce(say('already_out', { device: nameOf(session) }))
      }
      stop()
      forget()
      await read()
    })
  })
  return form
}
