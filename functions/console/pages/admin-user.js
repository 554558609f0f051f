// One user, as administrators see them, and what they can do about the account. Each action says what happened.

import { LatchkeyError } from './latchkey.js'
import { fill, icon, make, own, sentence, time } from './dom.js'
import { ask } from './ask.js'
import { failure, focusHeading, focusKey, link, notify, offers, show, showLoading } from './page.js'
import { client } from './session.js'
import { keepTrue } from './keep-true.js'
import { description, nameOf, picture, summary } from './devices.js'
import { entries, some } from './activity.js'
import { administer, peek } from './administer.js'
import { say } from './words.js'

/** @typedef {import('./words.js').Word} Word */
/** @typedef {import('./words.js').Phrase} Phrase */
/** @typedef {{ id: string, email: string | null, email_verified: boolean, identity: { issuer: string, subject: string } | null, status: string, roles: string[], created_at: string, sessions: number }} User */
/** @typedef {import('./latchkey.js').Session & { state: string }} AdminSession */

/** How long what was done is kept back until the page shows it. Milliseconds. */
const PATIENCE = 3_000

/** The view. Returns how to leave it. @param {string} id @param {{ id: string }} me @param {(error: unknown) => boolean} refused shows those out who may not be here @param {(user: User) => void} seen */
export function drawUser(id, me, refused, seen) {
  const path = `/v1/admin/users/${encodeURIComponent(id)}`
  /** The session that was looked for. */
  const wanted = location.hash.slice(1)
  const content = make('div', {})
  const history = make('section', {})
  /** What is shown: an address of whom, and all of it. @type {string | null | undefined} */
  let email
  let shown = ''

  /** The user, the sessions, and what has happened, of which more may be open: it is read again when it is asked for. @param {boolean} isByItself @param {boolean} isWhole */
  const load = async (isByItself, isWhole) => {
    const get = isByItself ? peek : (/** @type {string} */ path) => administer('GET', path)
    /** @type {User} */
    const user = await get(path)
    /** @type {{ sessions: AdminSession[] }} */
    const { sessions } = await get(`${path}/sessions?state=all`)
    return { user, sessions, activity: isWhole ? await activityOf(path, get) : null }
  }
  /** @param {Awaited<ReturnType<typeof load>>} found */
  const draw = ({ user, sessions, activity }) => {
    seen(user)
    if (activity) fill(history, make('h2', {}, say('activity')), ...activity)
    const text = JSON.stringify([user, sessions])
    if (text === shown) return
    shown = text
    const focus = content.contains(document.activeElement) && document.activeElement?.getAttribute('data-key')
    const live = sessions.filter(({ state }) => state === 'live')
    const ended = sessions.filter(({ state }) => state !== 'live')
    const name = user.email ?? say('without_email')
    const isMine = user.id === me.id
    fill(
      content,
      wanted && sessions.every(({ id }) => id !== wanted) && make('p.notice.info', {}, icon('info'), make('span', {}, say('lost_session'))),
      facts(user, isMine),
      make('section', { 'aria-labelledby': 'actions' }, make('h2', { id: 'actions' }, say('actions')), make('div.buttons', {}, actions(user, isMine, name, path, live.length, finish)), isMine && make('p.small.last', {}, say('own_account'))),
      section('live', 'live_sessions', live, wanted, 'no_live', (session) => endButton(session, name, path, finish)),
      section('ended', 'ended_sessions', ended, wanted, 'no_ended', expiry),
    )
    if (email !== user.email) {
      email = user.email
      show(name, outage, content, history)
    } else if (focus && !focusKey(content, focus)) focusHeading()
  }
  /** @param {unknown} error @param {boolean} isFirst */
  const fail = (error, isFirst) => {
    if (error instanceof LatchkeyError && error.code === 'user_not_found') {
      show(say('users'), make('p.empty', {}, say('no_such_user')), make('p', {}, link('/admin', say('admin_title'))))
    } else if (!refused(error)) {
      if (isFirst) show(say('users'), failure(error, again))
      return isFirst
    }
    leave()
    return true
  }
  const again = () => {
    showLoading(say('users'), 3)
    void read()
  }
  /** Says what was done when it is shown, or a little later, unless another view is by then. @param {Phrase} done */
  const finish = async (done) => {
    await Promise.race([read(), new Promise((go) => setTimeout(go, PATIENCE))])
    if (content.isConnected) notify(done)
  }
  // Not every minute: each reading is a line in the audit trail.
  const { outage, read, leave } = keepTrue(load, draw, fail)
  again()
  return leave
}

/** @param {User} user @param {boolean} isMine */
const facts = (user, isMine) =>
  make(
    'div', {},
    make(
      'p.marks', {},
      isMine && make('span.mark', {}, say('your_account')),
      user.status === 'active'
        ? make('span.mark.good', {}, icon('check'), say('state_active'))
        : make('span.mark.warning', {}, icon('warning'), say('state_disabled')),
      user.identity && make('span.mark', {}, say('elsewhere')),
      !user.identity && user.email && (user.email_verified
        ? make('span.mark.good', {}, icon('check'), say('email_verified'))
        : make('span.mark.warning', {}, icon('warning'), say('email_unverified'))),
      user.roles.map((role) => make('span.mark', {}, say('role', { role }))),
    ),
    make(
      'dl.last', {},
      make('dt', {}, say('user_id')), make('dd', {}, user.id),
      user.identity && [make('dt', {}, say('issuer')), make('dd', {}, own(user.identity.issuer)), make('dt', {}, say('subject')), make('dd', {}, own(user.identity.subject))],
      make('dt', {}, say('created')), make('dd', {}, time(user.created_at)),
    ),
  )

/** What has happened to the user; nothing where the service keeps none. @param {string} path @param {typeof peek} get */
async function activityOf(path, get) {
  try {
    const next = ({ cursor = '' }) => administer('GET', `${path}/activity?cursor=${encodeURIComponent(cursor)}`)
    return entries(await some(await get(`${path}/activity`), next), next, 'h3', 'h4')
  } catch (error) {
    if (error instanceof LatchkeyError && error.code === 'not_found') return null
    throw error
  }
}

/** @param {User} user @param {boolean} isMine @param {Phrase} name @param {string} path @param {number} live @param {(done: Phrase) => Promise<void>} finish */
function actions(user, isMine, name, path, live, finish) {
  /** @param {Word} word @param {Word} title @param {Word} text @param {() => Promise<Phrase>} act @param {boolean} [danger] @param {boolean} [isEnd] of the session of this page too */
  const action = (word, title, text, act, danger = true, isEnd = false) =>
    make(danger ? 'button.danger.plain' : 'button', { type: 'button', 'data-key': word === 'enable' ? 'disable' : word, onclick: async () => {
      /** @type {Phrase} */
      let done = ''
      const question = { title: say(title, { user: name }), text: make('p', {}, say(text)), action: word, danger }
      if (!(await ask({ ...question, act: async () => { done = await act() } }))) return
      if (isEnd) return signOutHere()
      await finish(done)
    } }, say(word))
  const setStatus = (/** @type {string} */ status, /** @type {Word} */ done) => async () => {
    await administer('PATCH', path, { status })
    return say(done)
  }
  return [
    live > 0 && action('end_all', isMine ? 'sign_out_everywhere_title' : 'end_all_title', isMine ? 'sign_out_everywhere_text' : 'end_all_text', async () => say('ended_n', { n: (await administer('POST', `${path}/sessions/revoke-all`)).revoked }), true, isMine),
    // Nobody locks themselves out.
    !isMine && (user.status === 'active'
      ? action('disable', 'disable_title', 'disable_text', setStatus('disabled', 'disabled_done'))
      : action('enable', 'enable_title', 'enable_text', setStatus('active', 'enabled_done'), false)),
    user.email && !user.identity && offers.links && action('send_reset', 'send_reset_title', 'send_reset_text', async () => {
      await administer('POST', `${path}/password-reset`, undefined, 202)
      return say('reset_sent')
    }, false),
  ]
}

/** Whether it is the session of this page. @param {AdminSession} session */
const isOwn = ({ id }) => client.state.status === 'signed-in' && client.state.session.id === id

/** The session of this page is over: it says so, as after a sign-out here. */
const signOutHere = () => client.signOut().catch(() => {})

/** @param {AdminSession} session @param {string} wanted */
const marks = (session, wanted) => [
  session.id === wanted && make('span.mark', {}, icon('info'), say('found_session')),
  isOwn(session) && make('span.mark.good', {}, icon('check'), say('this_device')),
]

/** @param {string} id @param {Word} title @param {AdminSession[]} sessions @param {string} wanted @param {Word} none @param {(session: AdminSession) => HTMLElement | null} button */
const section = (id, title, sessions, wanted, none, button) =>
  make(
    'section', { 'aria-labelledby': id }, make('h2', { id }, say(title)),
    sessions.length
      ? make('ul.rows', {}, sessions.map((session) => make('li.row', { 'aria-current': session.id === wanted && 'true' }, picture(session), description({ ...session, is_current: false }, marks(session, wanted), session.state === 'live'), make('div.actions', {}, button(session)))))
      : make('p.empty', {}, say(none)),
  )

/** When a session has expired. When and why another one has ended, the activity says. @param {AdminSession} session */
const expiry = ({ state, expires_at }) => (state === 'expired' ? make('p.small', {}, time(expires_at, (ago) => say('expired', { time: ago }))) : null)

/** @param {AdminSession} session @param {Phrase} user @param {string} path @param {(done: Phrase) => Promise<void>} finish */
const endButton = (session, user, path, finish) =>
  make('button', { type: 'button', 'data-key': `end ${session.id}`, 'aria-label': say('end_of', { device: nameOf(session) }), onclick: async () => {
    let had = false
    const act = async () => {
      try {
        await administer('DELETE', `${path}/sessions/${session.id}`, undefined, 204)
      } catch (error) {
        if (!(error instanceof LatchkeyError) || error.code !== 'session_not_found') throw error
        had = true
      }
    }
    const isHere = isOwn(session)
    const what = isHere ? say('sign_out_here_text') : sentence(say('end_text', { user: '{user}' }), { user: own(user) })
    const title = say(isHere ? 'sign_out_here_title' : 'end_title')
    if (!(await ask({ title, text: [summary(session), make('p', {}, what)], action: 'end', danger: true, act }))) return
    if (isHere) return signOutHere()
    await finish(had ? say('already_out', { device: nameOf(session) }) : say('ended_n', { n: 1 }))
  } }, say('end'))
