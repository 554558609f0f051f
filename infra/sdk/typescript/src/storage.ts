/** Where a sign-in is kept, and what is done when the storage fails. */

import { parseRecord, type SignInRecord } from "./record.js"

/** A part of the Web Storage API: `localStorage`, `sessionStorage` or your own. Each method may throw. */
export interface KeyValueStorage {
  /** The value, or null if there is none. */
  getItem(key: string): string | null
  /** Replaces the value. */
  setItem(key: string, value: string): void
  /** Removes the value, if there is one. */
  removeItem(key: string): void
  /** Calls the listener when another tab, or another client on this page, has changed a value. Returns how to stop. */
  subscribe?(listener: () => void): () => void
}

/** For one page, or one process. */
export class MemoryStorage implements KeyValueStorage {
  readonly #values = new Map<string, string>()

  getItem(key: string): string | null {
    return this.#values.get(key) ?? null
  }

  setItem(key: string, value: string): void {
    this.#values.set(key, value)
  }

  removeItem(key: string): void {
    this.#values.delete(key)
  }
}

/** In `localStorage`, which all tabs of an origin share. Reading that property can throw, so each method does it. */
export class LocalStorage implements KeyValueStorage {
  getItem(key: string): string | null {
    return localStorage.getItem(key)
  }

  setItem(key: string, value: string): void {
    localStorage.setItem(key, value)
    this.#tellThisPage()
  }

  removeItem(key: string): void {
    localStorage.removeItem(key)
    this.#tellThisPage()
  }

  subscribe(listener: () => void): () => void {
    if (typeof addEventListener === "undefined") return () => {}
    addEventListener("storage", listener)
    addEventListener(CHANGED, listener)
    return () => {
      removeEventListener("storage", listener)
      removeEventListener(CHANGED, listener)
    }
  }

  /** A browser sends `storage` to the other tabs alone; a second client on this page must hear it too. */
  #tellThisPage(): void {
    if (typeof dispatchEvent !== "undefined") dispatchEvent(new Event(CHANGED))
  }
}

const CHANGED = "latchkey:changed"

/** In the memory of each tab, where no value outlives the tabs; a change is sent to all tabs of the origin. */
export class TabMemory implements KeyValueStorage {
  readonly #values = new Map<string, string>()
  readonly #name: string
  #channel: BroadcastChannel | undefined

  constructor(name: string) {
    this.#name = name
  }

  getItem(key: string): string | null {
    return this.#values.get(key) ?? null
  }

  setItem(key: string, value: string): void {
    this.#values.set(key, value)
    this.#channel?.postMessage([key, value])
  }

  removeItem(key: string): void {
    this.#values.delete(key)
  }

  subscribe(listener: () => void): () => void {
    if (typeof BroadcastChannel === "undefined") return () => {}
    const channel = new BroadcastChannel(this.#name)
    this.#channel = channel
    channel.onmessage = ({ data: [key, value] }: MessageEvent<[string, string]>) => {
      this.#values.set(key, value)
      listener()
    }
    // In Node.js an open channel would keep the process alive.
    if ("unref" in channel && typeof channel.unref === "function") channel.unref()
    // A page from the back-forward cache has missed messages, so what it holds is no longer known to be true.
    const forget = (event: PageTransitionEvent) => {
      if (event.persisted) this.#values.clear()
    }
    globalThis.addEventListener?.("pageshow", forget)
    return () => {
      globalThis.removeEventListener?.("pageshow", forget)
      channel.close()
      this.#channel = undefined
    }
  }
}

/** What a storage holds: the text tells two states apart, the record is null unless the text is one. */
export interface Stored {
  readonly text: string | null
  readonly record: SignInRecord | null
}

/**
 * The record in a storage. A value that could not be written counts in this tab until the storage has a new one: without
 * that, the tab would go back to a replaced refresh token, which looks like a theft.
 */
export class RecordStore {
  readonly #storage: KeyValueStorage
  readonly #key: string
  readonly #hasCookie: boolean
  #last: string | null = null
  #unwritten: { value: string | null; over: string | null } | undefined

  /** With a cookie a sign-out is a text, so that it is told apart from a storage that is empty. */
  constructor(storage: KeyValueStorage, key: string, hasCookie: boolean) {
    this.#storage = storage
    this.#key = key
    this.#hasCookie = hasCookie
  }

  read(): Stored {
    try {
      const found = this.#storage.getItem(this.#key)
      if (this.#unwritten && found === this.#unwritten.over) this.#last = this.#unwritten.value
      else {
        this.#unwritten = undefined
        this.#last = found
      }
    } catch {
      // What was read or written before still counts.
    }
    return { text: this.#last, record: parseRecord(this.#last, this.#hasCookie) }
  }

  write(record: SignInRecord): void {
    this.#replace(JSON.stringify(record))
  }

  clear(): void {
    this.#replace(this.#hasCookie ? "" : null)
  }

  #replace(value: string | null): void {
    const over = this.#unwritten ? this.#unwritten.over : this.#last
    this.#last = value
    try {
      if (value === null) this.#storage.removeItem(this.#key)
      else this.#storage.setItem(this.#key, value)
      this.#unwritten = undefined
    } catch {
      this.#unwritten = { value, over }
    }
  }
}
