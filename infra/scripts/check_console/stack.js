// Another local stack, with other settings, and in memory unless it has a folder.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** Starts it. Gives its address, and how to stop it. */
export async function start(binary, settings, options = []) {
  const child = spawn(binary, ['--port', '0', ...(options.includes('--data-dir') ? [] : ['--memory']), ...options], {
    env: { ...process.env, ADDRESS_ATTEMPTS_PER_MINUTE: '0', LIST_PER_MINUTE: '0', CHANGE_PER_MINUTE: '0', ...settings },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const stop = async () => {
    child.kill()
    if (child.exitCode === null) await once(child, 'exit')
  }
  for await (const line of createInterface({ input: child.stdout })) {
    const api = /^ *API +(\S+)/.exec(line)
    if (api) return { origin: api[1], stop }
  }
  throw new Error(`the stack with ${JSON.stringify(settings)} did not start`)
}
