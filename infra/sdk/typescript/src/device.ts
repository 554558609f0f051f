/** What this installation keeps for the next sign-in, also after a sign-out. It opens nothing. */

import { isObject, isToken } from "./record.js"
import type { KeyValueStorage } from "./storage.js"

interface Device {
  readonly id?: string
  readonly token?: string
}

/** The id of this installation, and the device token, so that other people's guesses do not make its user wait. */
export class DeviceStore {
  readonly #storage: KeyValueStorage
  readonly #key: string
  readonly #id: string | undefined
  readonly #isLasting: boolean
  #last: Device = {}

  /** `id` is the installation's id, if the program has one. Without it one is made and kept, unless `isLasting` is false. */
  constructor(storage: KeyValueStorage, key: string, id: string | undefined, isLasting: boolean) {
    this.#storage = storage
    this.#key = key
    this.#id = id
    this.#isLasting = isLasting
  }

  read(): Device {
    try {
      const value: unknown = JSON.parse(this.#storage.getItem(this.#key) ?? "{}")
      if (isObject(value)) {
        const { id, token } = value
        this.#last = { ...(isToken(id) && { id }), ...(isToken(token) && { token }) }
      }
    } catch {
      // A storage that fails, or a broken value: what this page knows still counts.
    }
    return this.#last
  }

  /** The id for the next sign-in. The same one each time, if the storage keeps it. */
  prepareId(): string | undefined {
    const id = this.#id ?? this.read().id ?? (this.#isLasting ? globalThis.crypto?.randomUUID?.() : undefined)
    if (id) this.#keep({ ...this.read(), id })
    return id
  }

  keepToken(token: string | undefined): void {
    if (token) this.#keep({ ...this.read(), token })
  }

  #keep(device: Device): void {
    this.#last = device
    try {
      this.#storage.setItem(this.#key, JSON.stringify(device))
    } catch {
      // The next sign-in of another page makes a new id: one more row in the list of sessions.
    }
  }
}
