// src/error.ts
var LatchkeyError = class extends Error {
  /** Always `LatchkeyError`. */
  name = "LatchkeyError";
  /** What to decide by. */
  code;
  /** The HTTP status of the reply. Null if there is none. */
  status;
  /** Names the request in Latchkey's log. */
  requestId;
  /** Seconds until it may be tried again, if that is known. */
  retryAfter;
  /** With `validation_failed` and `weak_password`: the values that are not allowed. */
  errors;
  constructor(code, message, details = {}) {
    super(message, "cause" in details ? { cause: details.cause } : {});
    this.code = code;
    this.status = details.status ?? null;
    this.requestId = details.requestId ?? null;
    this.retryAfter = details.retryAfter ?? null;
    this.errors = details.errors ?? [];
  }
};
function isTransient(error) {
  if (!(error instanceof LatchkeyError)) return false;
  if (error.status === null) return error.code === "network_error";
  return error.code === "unexpected_reply" || [429, 502, 503, 504].includes(error.status);
}
function notSignedIn() {
  return new LatchkeyError("not_signed_in", "Nobody is signed in here.");
}

// src/record.ts
var OWN_AUDIENCE = "";
var MARGIN = 3e4;
function readTokens(reply, audience, clock, sentAt, hasCookie, before = null) {
  if (!isTokens(reply) || !hasCookie && !isToken(reply.refresh_token)) throw new LatchkeyError("unexpected_reply", "The reply has no tokens.", { status: 200 });
  const server = Date.parse(reply.session.expires_at) - reply.refresh_expires_in * 1e3;
  const anchor = clock.synchronize(server, sentAt);
  const life = reply.expires_in * 1e3;
  const access = {
    token: reply.access_token,
    stale_at: server + life - Math.min(MARGIN, life / 2),
    expires_at: server + life
  };
  const same = before?.session.id === reply.session.id ? before : null;
  const record = {
    version: 1,
    refresh_token: reply.refresh_token ?? null,
    session: reply.session,
    user: reply.user ?? same?.user ?? null,
    access: { ...same?.access, [audience]: access },
    anchor
  };
  return { token: access.token, record };
}
function parseRecord(text, hasCookie) {
  if (text === null) return null;
  try {
    const value = JSON.parse(text);
    return isRecord(value) && (hasCookie || value.refresh_token !== null) ? value : null;
  } catch {
    return null;
  }
}
function isTokens(value) {
  return isObject(value) && isToken(value["access_token"]) && isTime(value["expires_in"]) && isTime(value["refresh_expires_in"]) && isSession(value["session"]) && isTime(Date.parse(value["session"].expires_at));
}
function isRecord(value) {
  return isObject(value) && value["version"] === 1 && (value["refresh_token"] === null || isToken(value["refresh_token"])) && isSession(value["session"]) && (value["user"] === null || isObject(value["user"])) && isObject(value["anchor"]) && isTime(value["anchor"]["server"]) && isTime(value["anchor"]["wall"]) && isObject(value["access"]) && Object.values(value["access"]).every(
    (access) => isObject(access) && isToken(access["token"]) && isTime(access["stale_at"]) && isTime(access["expires_at"])
  );
}
function isToken(value) {
  return typeof value === "string" && /^[!-~]{1,8192}$/.test(value);
}
function isSession(value) {
  return isObject(value) && typeof value["id"] === "string";
}
function isTime(value) {
  return Number.isFinite(value);
}
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// src/device.ts
var DeviceStore = class {
  #storage;
  #key;
  #last = {};
  /** `id` is the installation's id, if the program has one. Without it one is made and kept, unless `isLasting` is false. */
  constructor(storage, key, id, isLasting) {
    this.#storage = storage;
    this.#key = key;
    const made = isLasting ? () => globalThis.crypto?.randomUUID?.() : () => void 0;
    this.#makeId = () => id ?? this.read().id ?? made();
  }
  #makeId;
  read() {
    try {
      const value = JSON.parse(this.#storage.getItem(this.#key) ?? "{}");
      if (isObject(value)) {
        const { id, token } = value;
        this.#last = { ...isToken(id) && { id }, ...isToken(token) && { token } };
      }
    } catch {
    }
    return this.#last;
  }
  /** The id for the next sign-in. The same one each time, if the storage keeps it. */
  prepareId() {
    const id = this.#makeId();
    if (id !== void 0) this.#keep({ ...this.read(), id });
    return id;
  }
  keepToken(token) {
    if (token !== void 0) this.#keep({ ...this.read(), token });
  }
  #keep(device) {
    this.#last = device;
    try {
      this.#storage.setItem(this.#key, JSON.stringify(device));
    } catch {
    }
  }
};

// src/http.ts
var WAITS = [250, 1e3];
var LONGEST_WAIT = 5e3;
var Http = class {
  #base;
  #timeout;
  /** `timeout` is how long a reply may take, in milliseconds. */
  constructor(base, timeout) {
    this.#base = base;
    this.#timeout = timeout;
  }
  /**
   * Sends one request.
   *
   * @returns the JSON of the reply; undefined if it has no body; null for a 202, whose work a mail or a link completes
   * @throws LatchkeyError for every other reply, and for none
   */
  async send(method, path, parts = {}) {
    const headers = {};
    if (parts.body) headers["content-type"] = "application/json";
    if (parts.token !== void 0) headers["authorization"] = `Bearer ${parts.token}`;
    if (parts.deviceId !== void 0) headers["x-device-id"] = parts.deviceId;
    let reply;
    let text;
    try {
      reply = await fetch(this.#base + path, {
        method,
        headers,
        body: parts.body ? JSON.stringify(parts.body) : null,
        credentials: parts.withCookies ? "include" : "omit",
        cache: "no-store",
        redirect: "error",
        keepalive: parts.keepalive ?? false,
        signal: AbortSignal.timeout(this.#timeout)
      });
      text = await reply.text();
    } catch (cause) {
      throw new LatchkeyError("network_error", "No reply came.", { cause });
    }
    const value = parseJson(text);
    if (!reply.ok) throw readProblem(reply, value);
    if (text !== "" && value === void 0) {
      throw new LatchkeyError("unexpected_reply", "The reply is not JSON.", { status: reply.status });
    }
    return reply.status === 202 ? null : value ?? void 0;
  }
};
async function repeat(task) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await task(attempt);
    } catch (error) {
      if (!isTransient(error)) throw error;
      const wait = error.retryAfter === null ? WAITS[attempt] : error.retryAfter * 1e3;
      if (wait === void 0 || wait > LONGEST_WAIT || attempt === WAITS.length) throw error;
      await new Promise((wake) => setTimeout(wake, wait));
    }
  }
}
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return void 0;
  }
}
function readProblem(reply, body) {
  const problem = isObject(body) ? body : {};
  const text = (name) => typeof problem[name] === "string" ? problem[name] : void 0;
  return new LatchkeyError(
    text("code") ?? CODES[reply.status] ?? "unexpected_reply",
    text("detail") ?? `The status is ${reply.status}.`,
    {
      status: reply.status,
      requestId: text("request_id") ?? reply.headers.get("x-request-id"),
      retryAfter: readRetryAfter(reply.headers.get("retry-after")),
      ...Array.isArray(problem["errors"]) && { errors: problem["errors"] }
    }
  );
}
var CODES = {
  429: "too_many_requests",
  500: "internal_error",
  502: "temporarily_unavailable",
  503: "temporarily_unavailable",
  504: "temporarily_unavailable"
};
function readRetryAfter(value) {
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1e3;
  return Number.isFinite(seconds) ? Math.max(seconds, 0) : null;
}

// src/clock.ts
function currentMoment() {
  return { wall: Date.now(), monotonic: performance.now() };
}
function elapsedSince(moment) {
  const now = currentMoment();
  return Math.max(now.wall - moment.wall, now.monotonic - moment.monotonic, 0);
}
var TOLERANCE = 5e3;
var ServerClock = class {
  #measurement;
  /** Takes the server's time from a reply whose request was sent at `sentAt`. */
  synchronize(server, sentAt) {
    const anchor = { server, wall: sentAt.wall };
    this.#measurement = { anchor, estimate: server, monotonic: sentAt.monotonic };
    return anchor;
  }
  /**
   * The server's time now. `anchor` is what the tab measured that wrote the stored record. A wall clock before it was set
   * back; without a measurement of our own nothing is known then, and every token counts as expired.
   */
  now(anchor) {
    const { wall, monotonic } = currentMoment();
    const estimate = anchor.server + wall - anchor.wall;
    if (wall >= anchor.wall && this.#isBetter(anchor, estimate, monotonic)) this.#measurement = { anchor, estimate, monotonic };
    const known = this.#measurement;
    if (!known) return Infinity;
    return Math.max(known.anchor.server + wall - known.anchor.wall, known.estimate + monotonic - known.monotonic);
  }
  /** Whether another tab measured later than we know of. Time that has passed for us must have passed for it too. */
  #isBetter(anchor, estimate, monotonic) {
    const known = this.#measurement;
    if (!known) return true;
    const earliest = known.anchor.server + monotonic - known.monotonic;
    return anchor.wall > known.anchor.wall && estimate > earliest - TOLERANCE;
  }
};

// src/lock.ts
var PATIENCE = 3e3;
var Lock = class {
  #name;
  #last = Promise.resolve();
  constructor(name) {
    this.#name = name;
  }
  /** Runs a task that ends soon. A task must not call listeners, wait for people or take this lock again. */
  run(task) {
    const result = this.#last.then(() => this.#runAcrossTabs(task));
    this.#last = result.catch(() => {
    });
    return result;
  }
  async #runAcrossTabs(task) {
    const locks = globalThis.navigator?.locks;
    if (!locks) return task();
    let running;
    try {
      return await locks.request(this.#name, { signal: AbortSignal.timeout(PATIENCE) }, () => running = task());
    } catch {
      return running ?? task();
    }
  }
};

// src/session.ts
var ENDING = ["invalid_refresh_token", "refresh_token_reused"];
var ROUNDS = 3;
var LONGEST_PAUSE = 60;
var SessionKeeper = class {
  #http;
  #store;
  #lock;
  #signIns;
  #clock = new ServerClock();
  #hasCookie;
  #refreshes = /* @__PURE__ */ new Map();
  #listeners = /* @__PURE__ */ new Set();
  #state;
  #reason = null;
  /** The session that this tab has ended: another tab's late reply must not bring it back. */
  #endedId;
  /** Until when the server wants no refresh, and what it said. */
  #pause;
  constructor(http, store, lockName, hasCookie) {
    this.#http = http;
    this.#store = store;
    this.#lock = new Lock(lockName);
    this.#signIns = new Lock(`${lockName}:sign-in`);
    this.#hasCookie = hasCookie;
    this.#state = this.#findState();
  }
  get state() {
    return this.#state;
  }
  /** Calls the listener at each change of who is signed in. Returns how to stop. */
  onChange(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  dispose() {
    this.#listeners.clear();
  }
  /** What is stored. Null if nobody is signed in, or if it is not known. */
  get record() {
    return this.#read().record;
  }
  /** Looks at the storage again, and refreshes if the token for Latchkey is due. Never throws. */
  async check() {
    this.update();
    if (this.#state.status !== "signed-out") await this.obtain(OWN_AUDIENCE).catch(() => {
    });
  }
  /**
   * An access token for an audience.
   *
   * @param refused the token that a server has refused, so that another one is needed
   * @throws LatchkeyError `not_signed_in`; the code that ended the session; or an error that signs nobody out
   */
  async obtain(audience, refused) {
    const { text, record } = this.#read();
    if (!record && !this.#isUnknown(text)) {
      this.update();
      throw notSignedIn();
    }
    const access = record?.access[audience];
    const usable = record && access && access.token !== refused ? { token: access.token, record } : void 0;
    if (usable && access && this.#clock.now(usable.record.anchor) < access.stale_at) return usable;
    let grant;
    try {
      grant = await this.#refresh(audience, refused);
    } catch (error) {
      if (usable && access && isTransient(error) && this.#clock.now(usable.record.anchor) < access.expires_at) return usable;
      throw error;
    }
    if (record && !isSamePerson(record, grant.record)) throw notSignedIn();
    return grant;
  }
  /**
   * Sends a sign-in or a registration and stores its tokens; null if there are none yet. One after another, because each
   * ends the session that this installation had: the last reply must be that of the last session.
   */
  async signIn(send) {
    try {
      return await this.#signIns.run(async () => {
        const sentAt = currentMoment();
        const reply = await send();
        if (reply === null) return null;
        const { record } = readTokens(reply, OWN_AUDIENCE, this.#clock, sentAt, this.#hasCookie);
        this.#reason = null;
        this.#store.write(record);
        return { reply, record };
      });
    } finally {
      this.update();
    }
  }
  /** Sends a request that replaces the tokens, while no refresh is under way, and stores those of its reply. */
  async replace(send, refused) {
    const { token, record } = await this.obtain(OWN_AUDIENCE, refused);
    try {
      return await this.#lock.run(async () => {
        const sentAt = currentMoment();
        const reply = await send(token);
        const { token: nextToken, record: next } = readTokens(reply, OWN_AUDIENCE, this.#clock, sentAt, this.#hasCookie);
        if (this.#read().record?.session.id !== record.session.id) {
          await this.#http.send("POST", "/v1/auth/logout", { token: nextToken }).catch(() => {
          });
          throw notSignedIn();
        }
        const kept = { ...next, user: next.user ?? record.user };
        this.#store.write(kept);
        return { reply, record: kept };
      });
    } catch (error) {
      if (refused !== void 0 || !isRefusedToken(error)) throw error;
      return await this.replace(send, token);
    } finally {
      this.update();
    }
  }
  /** Forgets the sign-in, here and in the other tabs. Returns what it was. */
  end(reason) {
    const { record } = this.#forget(reason);
    this.update();
    return record;
  }
  /** Finds out who is signed in and tells the listeners, if that has changed. Never called while the lock is held. */
  update() {
    const state = this.#findState();
    if (state.status === "signed-in") this.#reason = null;
    if (isSame(state, this.#state)) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) {
      try {
        listener(state);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
  #refresh(audience, refused) {
    const running = this.#refreshes.get(audience);
    if (running) return running;
    const refresh = this.#refreshUntilAnswered(audience, refused).finally(() => {
      this.#refreshes.delete(audience);
      this.update();
    });
    this.#refreshes.set(audience, refresh);
    return refresh;
  }
  async #refreshUntilAnswered(audience, refused) {
    try {
      return await repeat(() => this.#lock.run(() => this.#refreshOnce(audience, refused)));
    } catch (error) {
      if (isTransient(error) && error.retryAfter !== null) this.#pause ??= { error, since: currentMoment() };
      throw error;
    }
  }
  /** Reads again, asks, and stores. Runs under the lock. */
  async #refreshOnce(audience, refused) {
    for (let round = 0; round < ROUNDS; round++) {
      const { text, record } = this.#read();
      if (!record && !this.#isUnknown(text)) throw notSignedIn();
      const access = record?.access[audience];
      if (record && access && access.token !== refused && this.#clock.now(record.anchor) < access.stale_at) {
        return { token: access.token, record };
      }
      this.#obeyPause();
      const sentAt = currentMoment();
      let reply;
      try {
        reply = await this.#http.send("POST", "/v1/auth/refresh", this.#describeRefresh(record, audience));
      } catch (error) {
        if (this.#read().text !== text) continue;
        if (this.#isEnding(error)) this.#forget(error.status === 401 ? error.code : null);
        throw error;
      }
      const next = readTokens(reply, audience, this.#clock, sentAt, this.#hasCookie, record);
      if (this.#read().text !== text) continue;
      this.#store.write(next.record);
      return next;
    }
    throw new LatchkeyError("network_error", "The stored sign-in changed each time it was refreshed.");
  }
  #describeRefresh(record, audience) {
    const body = {
      ...!this.#hasCookie && { refresh_token: record?.refresh_token },
      ...audience !== OWN_AUDIENCE && { audience }
    };
    return { body, withCookies: this.#hasCookie };
  }
  /** Whether a reply to a refresh means that nobody is signed in. Without any cookie the request is incomplete. */
  #isEnding(error) {
    if (!(error instanceof LatchkeyError)) return false;
    if (error.status === 401) return ENDING.includes(error.code);
    return this.#hasCookie && error.status === 400 && error.code === "invalid_request";
  }
  #obeyPause() {
    if (!this.#pause) return;
    const { error, since } = this.#pause;
    const left = Math.min(error.retryAfter ?? 0, LONGEST_PAUSE) - elapsedSince(since) / 1e3;
    if (left > 0) throw new LatchkeyError(error.code, error.message, { ...error, retryAfter: left, cause: error });
    this.#pause = void 0;
  }
  #read() {
    const stored = this.#store.read();
    if (!stored.record || stored.record.session.id !== this.#endedId) return stored;
    this.#store.clear();
    return this.#store.read();
  }
  #forget(reason) {
    const stored = this.#read();
    this.#reason = reason;
    this.#endedId = stored.record?.session.id ?? this.#endedId;
    this.#store.clear();
    return stored;
  }
  /** With cookies and nothing stored, only the server knows. */
  #isUnknown(text) {
    return this.#hasCookie && text === null;
  }
  #findState() {
    const { text, record } = this.#read();
    if (record) return { status: "signed-in", session: record.session, user: record.user };
    return this.#isUnknown(text) ? { status: "unknown" } : { status: "signed-out", reason: this.#reason };
  }
};
function isRefusedToken(error) {
  return error instanceof LatchkeyError && error.status === 401 && error.code === "invalid_token";
}
function isSamePerson(one, other) {
  return one.session.id === other.session.id || one.user !== null && one.user.id === other.user?.id;
}
function isSame(one, other) {
  if (one.status === "signed-in" && other.status === "signed-in") {
    return one.session.id === other.session.id && one.user?.id === other.user?.id;
  }
  if (one.status === "signed-out" && other.status === "signed-out") return one.reason === other.reason;
  return one.status === other.status;
}

// src/storage.ts
var MemoryStorage = class {
  #values = /* @__PURE__ */ new Map();
  getItem(key) {
    return this.#values.get(key) ?? null;
  }
  setItem(key, value) {
    this.#values.set(key, value);
  }
  removeItem(key) {
    this.#values.delete(key);
  }
};
var LocalStorage = class {
  getItem(key) {
    return localStorage.getItem(key);
  }
  setItem(key, value) {
    localStorage.setItem(key, value);
    this.#tellThisPage();
  }
  removeItem(key) {
    localStorage.removeItem(key);
    this.#tellThisPage();
  }
  subscribe(listener) {
    if (typeof addEventListener === "undefined") return () => {
    };
    addEventListener("storage", listener);
    addEventListener(CHANGED, listener);
    return () => {
      removeEventListener("storage", listener);
      removeEventListener(CHANGED, listener);
    };
  }
  /** A browser sends `storage` to the other tabs alone; a second client on this page must hear it too. */
  #tellThisPage() {
    if (typeof dispatchEvent !== "undefined") dispatchEvent(new Event(CHANGED));
  }
};
var CHANGED = "latchkey:changed";
var TabMemory = class {
  #values = /* @__PURE__ */ new Map();
  #name;
  #channel;
  constructor(name) {
    this.#name = name;
  }
  getItem(key) {
    return this.#values.get(key) ?? null;
  }
  setItem(key, value) {
    this.#values.set(key, value);
    this.#channel?.postMessage([key, value]);
  }
  removeItem(key) {
    this.#values.delete(key);
  }
  subscribe(listener) {
    if (typeof BroadcastChannel === "undefined") return () => {
    };
    const channel = new BroadcastChannel(this.#name);
    this.#channel = channel;
    channel.onmessage = ({ data: [key, value] }) => {
      this.#values.set(key, value);
      listener();
    };
    if ("unref" in channel && typeof channel.unref === "function") channel.unref();
    const forget = (event) => {
      if (event.persisted) this.#values.clear();
    };
    globalThis.addEventListener?.("pageshow", forget);
    return () => {
      globalThis.removeEventListener?.("pageshow", forget);
      channel.close();
      this.#channel = void 0;
    };
  }
};
var RecordStore = class {
  #storage;
  #key;
  #hasCookie;
  #last = null;
  #unwritten;
  /** With a cookie a sign-out is a text, so that it is told apart from a storage that is empty. */
  constructor(storage, key, hasCookie) {
    this.#storage = storage;
    this.#key = key;
    this.#hasCookie = hasCookie;
  }
  read() {
    try {
      const found = this.#storage.getItem(this.#key);
      if (this.#unwritten && found === this.#unwritten.over) this.#last = this.#unwritten.value;
      else {
        this.#unwritten = void 0;
        this.#last = found;
      }
    } catch {
    }
    return { text: this.#last, record: parseRecord(this.#last, this.#hasCookie) };
  }
  write(record) {
    this.#replace(JSON.stringify(record));
  }
  clear() {
    this.#replace(this.#hasCookie ? "" : null);
  }
  #replace(value) {
    const over = this.#unwritten ? this.#unwritten.over : this.#last;
    this.#last = value;
    try {
      if (value === null) this.#storage.removeItem(this.#key);
      else this.#storage.setItem(this.#key, value);
      this.#unwritten = void 0;
    } catch {
      this.#unwritten = { value, over };
    }
  }
};

// src/client.ts
function createClient(options) {
  return new Client(options);
}
var Client = class {
  #http;
  #keeper;
  #storage;
  #device;
  #hasCookie;
  #audiences;
  #detach;
  /** @throws TypeError if `url` or an origin is not an absolute address */
  constructor(options) {
    const url = new URL(options.url);
    const base = url.origin + url.pathname.replace(/\/+$/, "");
    const key = `latchkey:${base}`;
    this.#hasCookie = options.transport === "cookie";
    const { storage = this.#hasCookie ? new TabMemory(key) : "memory" } = options;
    this.#storage = storage === "memory" ? new MemoryStorage() : storage === "localStorage" ? new LocalStorage() : storage;
    const deviceStorage = this.#storage instanceof TabMemory ? new LocalStorage() : this.#storage;
    this.#device = new DeviceStore(deviceStorage, `${key}:device`, options.deviceId, storage !== "memory");
    this.#http = new Http(base, options.timeout ?? 1e4);
    this.#keeper = new SessionKeeper(this.#http, new RecordStore(this.#storage, key, this.#hasCookie), key, this.#hasCookie);
    const apis = [{ origin: url.origin, audience: OWN_AUDIENCE }, ...options.apis ?? []];
    this.#audiences = new Map(apis.map(({ origin, audience }) => [new URL(origin).origin, audience ?? OWN_AUDIENCE]));
    this.#attach();
  }
  /** Who is signed in, as far as this tab knows, without a request. The same object until it changes. */
  get state() {
    return this.#keeper.state;
  }
  /** Calls the listener when who is signed in changes, also in another tab. Returns how to stop. */
  onChange(listener) {
    this.#attach();
    return this.#keeper.onChange(listener);
  }
  /** Removes all listeners and stops listening to the page's events. Calls still work, and `onChange` listens again. */
  dispose() {
    this.#detach?.();
    this.#detach = void 0;
    this.#keeper.dispose();
  }
  /** Finds out who is signed in, after a reload: with cookies that takes a request. An outage leaves it as it was. */
  async restore() {
    await this.#keeper.check();
    return this.state;
  }
  /**
   * Creates an account and signs in.
   *
   * @returns null if the operator wants verified addresses (`REQUIRE_VERIFIED_EMAIL`): a mail was sent, also if the address
   *   is taken, and nobody new is signed in. After its link is used (`verifyEmail`), `signIn` works
   * @throws LatchkeyError `email_taken`, `registration_closed`, `validation_failed`, `weak_password`, `too_many_requests`
   */
  async register(credentials) {
    return this.#signIn("/v1/auth/register", credentials);
  }
  /**
   * Signs in. Ends the session that this installation had before.
   *
   * @throws LatchkeyError `invalid_credentials`, `account_disabled`, `email_not_verified`, `too_many_requests`
   */
  async signIn(credentials) {
    const session = await this.#signIn("/v1/auth/login", credentials);
    if (!session) throw new LatchkeyError("unexpected_reply", "The reply has no tokens.");
    return session;
  }
  /**
   * Signs out, here and in the other tabs. With a stored token that happens at once and also offline, and then Latchkey
   * is told. With cookies only Latchkey can take the cookie away, so nobody is signed out before it has answered.
   *
   * @throws LatchkeyError with cookies alone, if Latchkey cannot be reached: the user is still signed in, so call it again
   */
  async signOut() {
    const parts = { withCookies: this.#hasCookie, keepalive: true };
    const logout = (body) => repeat(() => this.#http.send("POST", "/v1/auth/logout", { ...parts, body }));
    if (this.#hasCookie) {
      await logout();
      this.#keeper.end("signed_out");
      return;
    }
    const token = this.#keeper.end("signed_out")?.refresh_token;
    if (token != null) await logout({ refresh_token: token }).catch(() => void 0);
  }
  /** The live sessions of the user, the most recently used first. */
  getSessions() {
    return this.#call("GET", "/v1/sessions");
  }
  /** This session. */
  getSession() {
    return this.#call("GET", "/v1/sessions/current");
  }
  /**
   * Names a session. Null takes the name away.
   *
   * @throws LatchkeyError `session_not_found`, `validation_failed`
   */
  renameSession(id, name) {
    return this.#call("PATCH", `/v1/sessions/${encodeURIComponent(id)}`, { name });
  }
  /**
   * Ends a session. With the id of this one, signs out.
   *
   * @throws LatchkeyError `session_not_found`, `reauthentication_required`
   */
  async revokeSession(id) {
    const own = this.#keeper.record?.session.id;
    try {
      await this.#call("DELETE", `/v1/sessions/${encodeURIComponent(id)}`);
    } catch (error) {
      if (own === id.toLowerCase() && this.state.status === "signed-out") return;
      throw error;
    }
    if (own === id.toLowerCase()) this.#endIfStill(own);
  }
  /** Ends all sessions but this one. @throws LatchkeyError `reauthentication_required` */
  revokeOthers() {
    return this.#call("POST", "/v1/sessions/revoke-all?keep_current=true");
  }
  /** Ends all sessions, this one too, and signs out here. @throws LatchkeyError `reauthentication_required` */
  async logoutAll() {
    const { sessionId, value } = await this.#callAs("POST", "/v1/sessions/revoke-all?keep_current=false");
    this.#endIfStill(sessionId);
    return value;
  }
  /** Removes what is kept of the user's sessions that have ended. */
  removeExpiredSessions() {
    return this.#call("DELETE", "/v1/sessions/expired");
  }
  /** The user's account. */
  me() {
    return this.#call("GET", "/v1/me");
  }
  /**
   * Changes the password. All sessions end; this client continues in a new one.
   *
   * @throws LatchkeyError `wrong_password`, `weak_password`, `password_unchanged`, `no_password`, `too_many_requests`
   */
  async changePassword(passwords) {
    return this.#replace("PUT", "/v1/me/password", passwords);
  }
  /**
   * Proves the password again, for what answers `reauthentication_required`. Then repeat that.
   *
   * @throws LatchkeyError `wrong_password`, `no_password`, `too_many_requests`
   */
  async reauthenticate(proof) {
    return this.#replace("POST", "/v1/auth/reauthenticate", proof);
  }
  /**
   * Deletes the account and everything about it, and signs out.
   *
   * @throws LatchkeyError `reauthentication_required`, `wrong_password`, `no_password`, `too_many_requests`
   */
  async deleteAccount(proof) {
    const { sessionId } = await this.#callAs("POST", "/v1/me/delete", proof);
    this.#endIfStill(sessionId);
  }
  /** What has happened to the account, the newest first. `cursor` is the `next_cursor` of the page before. */
  activity(page = {}) {
    const given = Object.entries(page).flatMap(([name, value]) => value == null ? [] : [[name, String(value)]]);
    const query = new URLSearchParams(given).toString();
    return this.#call("GET", `/v1/me/activity${query && `?${query}`}`);
  }
  /** Everything that is stored about the user. */
  exportData() {
    return this.#call("GET", "/v1/me/export");
  }
  /**
   * Sends a link to a new address, which becomes the user's when the link is used. The link is valid as long as this session.
   *
   * @throws LatchkeyError `reauthentication_required`, `wrong_password`, `email_taken`, `no_password`, `validation_failed`
   */
  async changeEmail(request) {
    await this.#call("PUT", "/v1/me/email", request);
  }
  /** Sends the link again that verifies the user's address. */
  async requestEmailVerification() {
    await this.#call("POST", "/v1/me/verify-email");
  }
  /** Uses the link of a mail. Nobody needs to be signed in. @throws LatchkeyError `invalid_link`, `email_taken` */
  async verifyEmail(link) {
    await this.#http.send("POST", "/v1/auth/verify-email", { body: link });
  }
  /** Sends a link that sets a new password. The reply is the same for an address that nobody has. */
  async requestPasswordReset(request) {
    await this.#http.send("POST", "/v1/auth/password-reset", { body: request });
  }
  /** Uses that link. All sessions of the user end, and nobody is signed in. @throws LatchkeyError `invalid_link`, `weak_password` */
  async confirmPasswordReset(reset) {
    await this.#http.send("POST", "/v1/auth/password-reset/confirm", { body: reset });
  }
  /**
   * An access token that is valid now, for what `fetch` cannot do, such as a WebSocket. Ask again for each use.
   *
   * @param audience one of Latchkey's `AUDIENCES`; Latchkey itself unless given
   * @throws LatchkeyError `not_signed_in`, or why it cannot be refreshed
   */
  async getAccessToken(audience = OWN_AUDIENCE) {
    return (await this.#keeper.obtain(audience)).token;
  }
  /**
   * `fetch` with the access token, for Latchkey and the origins of `apis`. After a 401 it refreshes once and sends the
   * request once more, unless its body is a stream. Returns every reply, whatever its status.
   *
   * @throws LatchkeyError `origin_refused`, `not_signed_in`, or why there is no token; and what `fetch` throws
   */
  async fetch(input, init = {}) {
    const request = input instanceof Request ? input : void 0;
    const url = new URL(request ? request.url : String(input), globalThis.location?.href);
    const audience = this.#audiences.get(url.origin);
    if (audience === void 0) throw new LatchkeyError("origin_refused", `No token for ${url.origin}: it is not among apis.`);
    const signal = init.signal ?? request?.signal ?? null;
    const send = ({ token }) => {
      const headers = new Headers(init.headers ?? request?.headers);
      headers.set("authorization", `Bearer ${token}`);
      return fetch(request ? request.clone() : url, { ...init, headers });
    };
    const first = await orAborted(this.#keeper.obtain(audience), signal);
    const reply = await send(first);
    if (reply.status !== 401 || init.body instanceof ReadableStream || asksForPassword(reply)) return reply;
    await reply.body?.cancel();
    const second = await orAborted(this.#keeper.obtain(audience, first.token), signal);
    if (!isSamePerson(first.record, second.record)) throw notSignedIn();
    return send(second);
  }
  async #signIn(path, credentials) {
    const { token } = this.#device.read();
    const body = this.#hasCookie ? { ...credentials, transport: "cookie" } : { ...credentials, ...token !== void 0 && { device_token: token } };
    const parts = { body, deviceId: this.#device.prepareId(), withCookies: this.#hasCookie };
    const accepted = await this.#keeper.signIn(() => this.#http.send("POST", path, parts));
    if (!accepted) return null;
    this.#device.keepToken(accepted.reply.device_token);
    return accepted.record.session;
  }
  async #replace(method, path, body) {
    const { reply, record } = await this.#keeper.replace(
      (token) => this.#http.send(method, path, { body, token, withCookies: this.#hasCookie })
    );
    this.#device.keepToken(reply.device_token);
    return record.session;
  }
  async #call(method, path, body) {
    return (await this.#callAs(method, path, body)).value;
  }
  /** Calls Latchkey as the user, with one refresh and one repeat after a refused token. Says whose session it was. */
  async #callAs(method, path, body) {
    const first = await this.#keeper.obtain(OWN_AUDIENCE);
    const send = async ({ token, record }) => {
      return { value: await this.#send(method, path, { body, token }), sessionId: record.session.id };
    };
    try {
      return await send(first);
    } catch (error) {
      if (!isRefusedToken(error)) throw error;
      const second = await this.#keeper.obtain(OWN_AUDIENCE, first.token);
      if (!isSamePerson(first.record, second.record)) throw notSignedIn();
      return await send(second);
    }
  }
  /** Sends again after no reply, and after a 503, if that changes nothing. */
  async #send(method, path, parts) {
    if (method === "POST" || method === "PUT") return this.#http.send(method, path, parts);
    return repeat(async (attempt) => {
      try {
        return await this.#http.send(method, path, parts);
      } catch (error) {
        const isDone = attempt > 0 && method === "DELETE" && error instanceof LatchkeyError && error.code === "session_not_found";
        if (!isDone) throw error;
        return void 0;
      }
    });
  }
  #endIfStill(sessionId) {
    if (this.#keeper.record?.session.id === sessionId) this.#keeper.end("signed_out");
  }
  /** Listens to what may have changed who is signed in, or ended a sleep. */
  #attach() {
    if (this.#detach) return;
    const stop = this.#storage.subscribe?.(() => this.#keeper.update());
    const page = globalThis.document;
    const check = () => {
      if (page?.visibilityState !== "hidden") void this.#keeper.check();
    };
    const targets = [
      [page, "visibilitychange"],
      [page && globalThis.window, "pageshow"],
      [page && globalThis.window, "online"]
    ];
    for (const [target, event] of targets) target?.addEventListener(event, check);
    this.#detach = () => {
      stop?.();
      for (const [target, event] of targets) target?.removeEventListener(event, check);
    };
  }
};
function asksForPassword(reply) {
  return reply.headers.get("www-authenticate")?.includes("insufficient_user_authentication") ?? false;
}
function orAborted(work, signal) {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
export {
  LatchkeyError,
  createClient
};
