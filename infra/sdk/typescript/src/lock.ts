/** One at a time: within this client, and across the tabs of an origin where Web Locks exist and the storage is shared. */

/** How long to wait for another tab. After it the task runs without the lock, which costs a request and nothing else. */
const PATIENCE = 3_000

export class Lock {
  readonly #name: string | undefined
  #last: Promise<unknown> = Promise.resolve()

  /** Without a name for this client alone: the locks of Node.js are those of the whole process. */
  constructor(name: string | undefined) {
    this.#name = name
  }

  /** Runs a task that ends soon. A task must not call listeners, wait for people or take this lock again. */
  run<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(() => this.#runAcrossTabs(task))
    this.#last = result.catch(() => {})
    return result
  }

  async #runAcrossTabs<Result>(task: () => Promise<Result>): Promise<Result> {
    const locks = globalThis.navigator?.locks
    if (!locks || !this.#name) return task()
    let running: Promise<Result> | undefined
    try {
      return await locks.request(this.#name, { signal: AbortSignal.timeout(PATIENCE) }, () => (running = task()))
    } catch {
      // The task's own failure, a lock that was stolen while it ran, or a lock that we did not get.
      return running ?? task()
    }
  }
}
