// Keeps what a view shows true for as long as it is shown.

import { icon, make, sentence, time } from './dom.js'
import { UNKNOWN, announce, explain } from './page.js'
import { client } from './session.js'
import { say } from './words.js'

/** Looks that come sooner after the one before are one: a window that comes back sends several events. Milliseconds. */
const APART = 500

/** Whether somebody is typing or deciding: nothing is taken from under them. */
const isDeciding = () => document.querySelector('main form, dialog') !== null

/**
 * Keeps a view true: asks when it is told to, by itself when somebody looks at it again or the connection is back, and every so
 * often. What is due while they type or decide is asked for when they are done.
 * @template T @param {(isByItself: boolean, isWhole: boolean) => Promise<T>} ask @param {(value: T) => void} draw
 * @param {(error: unknown, isFirst: boolean) => unknown} fail whether it has told it @param {number} [every] milliseconds
 */
export function keepTrue(ask, draw, fail, every) {
  const outage = make('div', { role: 'status' })
  let isOver = false
  let soon = 0
  /** When it was read last, and the latest attempt: an older reply is not drawn over a newer one. */
  let readAt = 0
  let lookedAt = 0
  let attempts = 0
  /** Readings under way that were asked for: those that come by themselves do not overtake them. */
  let asked = 0
  /** Whether a reading that was asked for was not drawn: the next one is as whole, but asks nobody anything. */
  let isOwed = false

  const read = async (isByItself = false) => {
    if (isOver) return
    if (isByItself && (asked || isDeciding())) return wait()
    clearTimeout(soon)
    const isAsked = !isByItself || isOwed
    const attempt = ++attempts
    lookedAt = Date.now()
    if (isAsked) asked++
    try {
      const value = await ask(isByItself, isAsked)
      if (isOver || attempt !== attempts) return
      isOwed = isAsked && isDeciding()
      outage.replaceChildren()
      if (isDeciding()) return wait()
      clearTimeout(soon)
      readAt = Date.now()
      draw(value)
    } catch (error) {
      if (isOver || attempt !== attempts || client.state.status === 'signed-out') return
      isOwed ||= isAsked
      // What was read before stays: an outage changes nothing about who is signed in.
      if (fail(error, !readAt)) return
      if (outage.childElementCount) isByItself || announce(explain(error))
      else if (navigator.onLine) outage.replaceChildren(stale(error))
    } finally {
      if (isAsked) asked--
    }
  }
  const wait = () => {
    clearTimeout(soon)
    soon = setTimeout(read, APART, true)
  }
  /** @param {unknown} error */
  const stale = (error) => {
    const why = explain(error)
    const text = sentence(say('stale', { time: '{time}' }), { time: time(new Date(readAt)) })
    return make(
      'div.notice.warning', {}, icon('warning'),
      make('div.outage', {}, make('p', {}, text, why !== UNKNOWN && [' ', why]), make('button', { type: 'button', onclick: () => void read() }, say('try_again'))),
    )
  }
  const look = () => {
    clearTimeout(soon)
    if (document.visibilityState === 'visible') soon = setTimeout(read, lookedAt + APART - Date.now(), true)
  }
  const timer = every && setInterval(look, every)
  addEventListener('online', look)
  addEventListener('focus', look)
  document.addEventListener('visibilitychange', look)
  const leave = () => {
    isOver = true
    clearTimeout(soon)
    clearInterval(timer)
    removeEventListener('online', look)
    removeEventListener('focus', look)
    document.removeEventListener('visibilitychange', look)
  }
  return { outage, read, leave }
}
