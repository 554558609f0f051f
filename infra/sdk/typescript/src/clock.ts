/** The server's time, from what its replies say and from how long ago that was. All times are milliseconds. */

/** A moment on both clocks of this machine: `wall` can be set by people, `monotonic` stops while the machine sleeps. */
export interface Moment {
  readonly wall: number
  readonly monotonic: number
}

/** The server's time at a moment of the wall clock, which the tabs of a browser share. */
export interface Anchor {
  readonly server: number
  readonly wall: number
}

export function currentMoment(): Moment {
  return { wall: Date.now(), monotonic: performance.now() }
}

/**
 * How long ago a moment was. A wall clock that was set back does not shorten it, nor does a monotonic clock that slept.
 * A wall clock that was set forward looks like sleep and lengthens it.
 */
export function elapsedSince(moment: Moment): number {
  const now = currentMoment()
  return Math.max(now.wall - moment.wall, now.monotonic - moment.monotonic)
}

/** How far apart two measurements of the server's time may be: replies tell it in whole seconds, and take time. */
const TOLERANCE = 5_000

interface Measurement extends Anchor {
  /** The server's time at `monotonic`, as far as the wall clock tells. */
  readonly estimate: number
  readonly monotonic: number
}

/**
 * Estimates the server's time. It is never behind it by more than a second, but ahead of it after the wall clock was set
 * forward, until the next reply: then a token is replaced too early, which is harmless.
 */
export class ServerClock {
  #measurement: Measurement | undefined

  /** Takes the server's time from a reply whose request was sent at `sentAt`. */
  synchronize(server: number, sentAt: Moment): Anchor {
    this.#measurement = { ...sentAt, server, estimate: server }
    return { server, wall: sentAt.wall }
  }

  /**
   * The server's time now. `anchor` is what the tab measured that wrote the stored record. A wall clock before it was set
   * back; without a measurement of our own nothing is known then, and every token counts as expired.
   */
  now(anchor: Anchor): number {
    const { wall, monotonic } = currentMoment()
    const estimate = anchor.server + wall - anchor.wall
    let known = this.#measurement
    // Another tab may have measured later than we know of. Time that has passed for us must have passed for it too.
    const isLater = known && anchor.wall > known.wall && estimate > known.server + monotonic - known.monotonic - TOLERANCE
    if (wall >= anchor.wall && (!known || isLater)) known = this.#measurement = { ...anchor, estimate, monotonic }
    return known ? Math.max(known.server + wall - known.wall, known.estimate + monotonic - known.monotonic) : Infinity
  }
}
