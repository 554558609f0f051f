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
 * A wall clock that was set forward looks like sleep and lengthens it: too early a refresh is harmless.
 */
export function elapsedSince(moment: Moment): number {
  const now = currentMoment()
  return Math.max(now.wall - moment.wall, now.monotonic - moment.monotonic, 0)
}

/** Estimates the server's time. It may be ahead of it by the time that a reply took, and by a second. */
export class ServerClock {
  #server: number | undefined
  #moment: Moment = { wall: 0, monotonic: 0 }

  /** Takes the server's time from a reply whose request was sent at `sentAt`. */
  synchronize(server: number, sentAt: Moment): Anchor {
    this.#server = server
    this.#moment = sentAt
    return { server, wall: sentAt.wall }
  }

  /**
   * The server's time now. Before the first reply it follows from the anchor of a stored record by the wall clock. A wall
   * clock before that anchor was set back; then nothing is known, and every token counts as expired.
   */
  now(anchor: Anchor): number {
    if (this.#server === undefined) {
      const elapsed = Date.now() - anchor.wall
      if (elapsed < 0) return Infinity
      this.synchronize(anchor.server + elapsed, currentMoment())
      return anchor.server + elapsed
    }
    return this.#server + elapsedSince(this.#moment)
  }
}
