/** One at a time: within this client, and across the tabs of an origin where Web Locks exist and the storage is shared. */

export class Lock {
  readonly #name: string | undefined
  #last: Promise<unknown> = Promise.resolve()
  /** What a task has begun and the next one waits for, in any tab, although that task has its result already. */
  rest: Promise<unknown> | undefined

  /** Without a name for this client alone: the locks of Node.js are those of the whole process. */
  constructor(name: string | undefined) {
    this.#name = name
  }

  /**
   * Runs a task that ends soon. A task must not call listeners, wait for people or take this lock again. After `patience`,
   * in milliseconds, it no longer waits for another tab and runs without the lock.
   */
  run<Result>(task: () => Promise<Result>, patience: number): Promise<Result> {
    return new Promise((resolve) => {
      let held: Promise<Result> | undefined
      const hold = async () => {
        await (held ??= task()).catch(() => {})
        if (this.rest) resolve(held)
        await this.rest
      }
      this.#last = this.#last.then(async () => {
        try {
          if (this.#name) await globalThis.navigator?.locks?.request(this.#name, { signal: AbortSignal.timeout(patience) }, hold)
        } catch {
          // A lock that was stolen while the task ran, one that we did not get, or a patience that is no time.
        }
        await hold()
        resolve(held!)
        this.rest = undefined
      })
    })
  }
}
