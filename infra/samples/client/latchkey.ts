export type Tokens = { access_token: string; refresh_token: string; fresh_until: number }
export type Storage = { read(): Tokens | null; write(tokens: Tokens | null): void }
export class SignedOut extends Error {}
export class Unavailable extends Error {}

/** Keeps a user signed in. infra/guides/understand/clients.md says why it does what it does. */
export class Client {
  private refreshing: Promise<Tokens> | null = null
  constructor(private api: string, private storage: Storage, private origins = [new URL(api).origin]) {}

  /** Stores the tokens in a reply to a sign-in, a registration, a password change or a refresh. */
  keep(reply: { access_token: string; refresh_token: string; expires_in: number }): Tokens {
    const { access_token, refresh_token, expires_in } = reply
    const seconds = Math.max(expires_in - 30, expires_in / 2)
    const tokens = { access_token, refresh_token, fresh_until: Date.now() + seconds * 1000 }
    this.storage.write(tokens)
    return tokens
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const url = new URL(path.startsWith('/') ? this.api + path : path)
    if (!this.origins.includes(url.origin)) throw new Error(`no token for ${url.origin}`)
    const held = this.storage.read()
    if (!held) throw new SignedOut()
    const send = ({ access_token }: Tokens) => {
      const headers = new Headers(init.headers)
      headers.set('authorization', `Bearer ${access_token}`)
      return fetch(url, { ...init, headers })
    }
    const usable = Date.now() < held.fresh_until ? held : await this.refresh(held)
    const reply = await send(usable)
    return reply.status === 401 ? send(await this.refresh(usable)) : reply
  }

  private refresh(old: Tokens): Promise<Tokens> {
    return (this.refreshing ??= this.exchange(old).finally(() => (this.refreshing = null)))
  }

  private async exchange(old: Tokens): Promise<Tokens> {
    for (let attempt = 1; ; attempt++) {
      const held = this.storage.read()
      if (!held) throw new SignedOut()
      if (held.access_token !== old.access_token) return held // another tab was faster
      const request = { method: 'POST', headers: { 'content-type': 'application/json' } }
      const body = JSON.stringify({ refresh_token: held.refresh_token })
      const reply = await fetch(`${this.api}/v1/auth/refresh`, { ...request, body }).catch(() => null)
      const tokens = reply?.ok ? await reply.json().catch(() => null) : null
      if (this.storage.read()?.access_token !== held.access_token) continue // changed while we waited
      if (tokens) return this.keep(tokens)
      if (reply?.status === 401) {
        this.storage.write(null)
        throw new SignedOut()
      }
      if (attempt === 3) throw new Unavailable()
      const seconds = Number(reply?.headers.get('retry-after') ?? 1)
      await new Promise((wake) => setTimeout(wake, seconds * 1000))
    }
  }
}
