// Time that the tests move: both clocks of this process, and what waits.

const real = { date: Date.now, performance: performance.now.bind(performance), setTimeout: globalThis.setTimeout }
let wall = 0
let monotonic = 0

Date.now = () => real.date() + wall
performance.now = () => real.performance() + monotonic

/** How long the client has waited, in milliseconds, without waiting. */
export let waited = 0

/** The client's waits move the clocks instead. Those of Node.js itself, as in fetch, are real. */
globalThis.setTimeout = (callback, delay = 0, ...rest) => {
  if (!new Error().stack.includes("dist/latchkey.js")) return real.setTimeout(callback, delay, ...rest)
  waited += delay
  pass(delay)
  return real.setTimeout(callback, 0, ...rest)
}

/** Time passes. */
export function pass(milliseconds) {
  wall += milliseconds
  monotonic += milliseconds
}

/** The machine sleeps: the monotonic clock stops. */
export function sleep(milliseconds) {
  wall += milliseconds
}

/** Somebody sets the wall clock. */
export function setClock(by) {
  wall += by
}

export function resetTime() {
  wall = monotonic = waited = 0
}
