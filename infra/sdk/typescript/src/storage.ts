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
  /**
   * Calls the listener when another tab, or another client on this page, has changed a value. Returns how to stop. A storage
   * with this method is taken for one that tabs share: they take turns then, by Web Locks.
   */
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
    return listen(globalThis, ["storage", CHANGED], listener)
  }

  /** A browser sends `storage` to the other tabs alone; a second client on this page must hear it too. */
  #tellThisPage(): void {
    globalThis.dispatchEvent?.(new Event(CHANGED))
  }
}

const CHANGED = "latchkey"

/** Listens to events, where there are any. Returns how to stop. */
export function listen(target: Partial<EventTarget> | undefined, events: string[], listener: (event: Event) => void): () => void {
  for (const event of events) target?.addEventListener?.(event, listener)
  return () => {
    for (const event of events) target?.removeEventListener?.(event, listener)
  }
}

/** One value in the memory of each tab, where it does not outlive the tabs; a change is sent to all tabs of the origin. */
export class TabMemory extends MemoryStorage {
  readonly #key: string
  #channel: BroadcastChannel | undefined
  #listener: (() => void) | undefined

  constructor(key: string) {
    super()
    this.#key = key
  }

  override setItem(key: string, value: string): void {
    super.setItem(key, value)
    this.#channel?.postMessage(value)
  }

  /** Who has stopped listening still takes what other tabs send, so that it never is the person before. */
  subscribe(listener: () => void): () => void {
    if (!this.#channel && globalThis.BroadcastChannel) {
      const channel: BroadcastChannel & { unref?(): void } = (this.#channel = new BroadcastChannel(this.#key))
      channel.onmessage = ({ data }: MessageEvent<string>) => {
        super.setItem(this.#key, data)
        this.#listener?.()
      }
      channel.unref?.() // in Node.js an open channel would keep the process alive
      // A page from the back-forward cache has missed messages, so what it holds is no longer known to be true.
      listen(globalThis, ["pageshow"], (event) => {
        if ((event as PageTransitionEvent).persisted) this.removeItem(this.#key)
      })
    }
    this.#listener = listener
    return () => (this.#listener = undefined)
  }
}

/** What a storage holds: the text tells two states apart, the record is null unless the text is one. */
export interface Stored {
  readonly text: string | null
  readonly record: SignInRecord | null
}

/**
 * The record in a storage. A value that could not be written counts in this tab until the storage has a later one: without
 * that, the tab would go back to a replaced refresh token, which looks like a theft.
 */
export class RecordStore {
  readonly #storage: KeyValueStorage
  readonly #key: string
  readonly #hasCookie: boolean
  /** What the storage held when it was last seen. */
  #found: string | null = null
  /** What counts in its place, because it could not be written. */
  #unwritten: string | null | undefined

  /** With a cookie a sign-out is a text, so that it is told apart from a storage that is empty. */
  constructor(storage: KeyValueStorage, key: string, hasCookie: boolean) {
    this.#storage = storage
    this.#key = key
    this.#hasCookie = hasCookie
  }

  read(): Stored {
    const before = this.#found
    try {
      this.#found = this.#storage.getItem(this.#key)
    } catch {
      // What was read or written before still counts.
    }
    if (this.#found !== before && !(beginning(this.#found) < beginning(this.#unwritten))) this.#unwritten = undefined
    const text = this.#unwritten === undefined ? this.#found : this.#unwritten
    return { text, record: parseRecord(text, this.#hasCookie) }
  }

  /** A storage that is full often has room for less, and it is the refresh token that the other tabs must not miss. */
  write(record: SignInRecord): void {
    this.#replace(JSON.stringify(record), JSON.stringify({ ...record, access: {} }))
  }

  /**
   * A refused session leaves when it began, because another tab may hold a later one that it could not write. If the
   * storage holds another session, which this tab could not write over, it stays. Otherwise nothing is left without a
   * cookie; with one, the text says that nobody is signed in, and why, if that is known, because without the text only the
   * server could tell.
   */
  clear(text: string | null = "", refused: SignInRecord | null = null): void {
    const ended = refused && JSON.stringify(refused, ["session", "created_at"])
    if (!ended) this.#replace(this.#hasCookie ? text : null)
    else if (beginning(this.#found) === beginning(ended)) this.#replace(ended)
    else this.#unwritten = ended
  }

  #replace(value: string | null, shorter: string | null = value): void {
    for (const text of [value, shorter]) {
      try {
        if (text === null) this.#storage.removeItem(this.#key)
        else this.#storage.setItem(this.#key, text)
        this.#found = text
        this.#unwritten = text === value ? undefined : value
        return
      } catch {
        // This tab works from its memory.
      }
    }
    this.read() // what is there by now is not later
    this.#unwritten = value
  }
}

/** When the session began that a text is about, in a form that sorts by time. Undefined if it tells of none: a sign-out, or something broken. */
function beginning(text: string | null | undefined): any {
  try {
    return JSON.parse(text!).session.created_at
  } catch {}
}
