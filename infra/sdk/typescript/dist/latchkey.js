// src/error.ts
var LatchkeyError = class extends Error {
  /** Always `LatchkeyError`. */
  name = "LatchkeyError";
  constructor(code, message, details = {}) {
    super(message, details);
    this.code = code;
    this.status = details.status ?? null;
    this.requestId = details.requestId ?? null;
    this.retryAfter = details.retryAfter ?? null;
    this.errors = details.errors ?? [];
  }
};
function isLost(error) {
  return hasCode(error, "network_error", "unexpected_reply") || error.status >= 500;
}
function isTransient(error, isRefresh = false) {
  return isLost(error) ? isRefresh || error.status !== 500 : error.status === 429;
}
function hasCode(error, ...codes) {
  return codes.includes(error.code);
}
function isRefusedToken(error) {
  return hasCode(error, "invalid_token");
}
function notSignedIn() {
  return new LatchkeyError("not_signed_in", "Not signed in.");
}
function unexpectedReply(status = 200) {
  return new LatchkeyError("unexpected_reply", "No reply of Latchkey.", { status });
}

// src/record.ts
var OWN_AUDIENCE = "";
var MARGIN = 3e4;
function readTokens(reply, clock, sentAt, hasCookie, audience = OWN_AUDIENCE, before = null) {
  if (!isTokens(reply) || !hasCookie && !isToken(reply.refresh_token)) throw unexpectedReply();
  const server = Date.parse(reply.session.expires_at) - reply.refresh_expires_in * 1e3;
  const life = reply.expires_in * 1e3;
  const access = {
    token: reply.access_token,
    stale_at: server + life - Math.min(MARGIN, life / 2),
    expires_at: server + life
  };
  const same = before?.session.id === reply.session.id ? before : null;
  const record = {
    ...same,
    version: 1,
    refresh_token: reply.refresh_token ?? null,
    session: reply.session,
    user: reply.user ?? same?.user ?? null,
    access: { ...same?.access, [audience]: access },
    anchor: clock.synchronize(server, sentAt)
  };
  return { token: access.token, record, reply };
}
function parseRecord(text, hasCookie) {
  try {
    const value = JSON.parse(text);
    const { refresh_token, session, user, access, anchor } = value;
    const isRecord = value.version === 1 && (refresh_token === null ? hasCookie : isToken(refresh_token)) && isToken(session.id) && typeof user === "object" && Number.isFinite(anchor.server + anchor.wall) && Object.values(access).every((one) => isToken(one.token) && Number.isFinite(one.stale_at + one.expires_at));
    return isRecord ? value : null;
  } catch {
    return null;
  }
}
function isTokens(value) {
  return isToken(value?.access_token) && isToken(value.session?.id) && [value.expires_in, value.refresh_expires_in, Date.parse(value.session.expires_at)].every(Number.isFinite);
}
function isToken(value) {
  return typeof value === "string" && /^[!-~]{1,8192}$/.test(value);
}
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// src/device.ts
var DeviceStore = class {
  #storage;
  #key;
  #id;
  #isLasting;
  #last = {};
  /** `id` is the installation's id, if the program has one. Without it one is made and kept, unless `isLasting` is false. */
  constructor(storage, key, id, isLasting) {
    this.#storage = storage;
    this.#key = key;
    this.#id = id;
    this.#isLasting = isLasting;
  }
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
    const id = this.#id ?? this.read().id ?? (this.#isLasting && globalThis.crypto?.randomUUID?.());
    if (id) this.#keep({ ...this.read(), id });
    return id;
  }
  keepToken(token) {
    if (token) this.#keep({ ...this.read(), token });
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
var LONGEST_WAIT = 5e3;
var Http = class {
  #base;
  /** How long a reply may take, in milliseconds. */
  timeout;
  constructor(base, timeout) {
    this.#base = base;
    this.timeout = timeout;
  }
  /**
   * Sends one request.
   *
   * @returns the object in the reply; the status if there is none, and for a 202, whose work a mail or a link completes
   * @throws LatchkeyError for every other reply, for one with another status than `parts` wants, and for none
   */
  async send(method, path, parts = {}) {
    const { body, token, deviceId } = parts;
    const headers = {
      ...body && { "content-type": "application/json" },
      ...token && { authorization: `Bearer ${token}` },
      ...deviceId && { "x-device-id": deviceId }
    };
    let reply;
    let text;
    try {
      reply = await fetch(this.#base + path, {
        method,
        headers,
        body: JSON.stringify(body),
        credentials: parts.withCookies ? "include" : "omit",
        cache: "no-store",
        redirect: "error",
        keepalive: !!parts.status,
        signal: AbortSignal.timeout(this.timeout)
      });
      text = await reply.text();
    } catch (cause) {
      throw new LatchkeyError("network_error", `No reply of ${this.#base}.`, { cause });
    }
    let value;
    try {
      value = JSON.parse(text);
    } catch {
    }
    if (!reply.ok) throw readProblem(reply, value);
    const { status } = reply;
    const isForeign = status === 202 && !reply.headers.has("x-request-id");
    if (isForeign || text && value === void 0 || status !== (parts.status ?? status)) throw unexpectedReply(status);
    return status !== 202 && isObject(value) ? value : status;
  }
};
async function repeat(task, isRefresh = false) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await task(attempt);
    } catch (error) {
      if (attempt > 1 || !isTransient(error, isRefresh)) throw error;
      const wait = (error.retryAfter ?? 4 ** attempt / 4) * 1e3;
      if (wait > LONGEST_WAIT) throw error;
      await pass(wait);
    }
  }
}
function pass(milliseconds) {
  return new Promise((wake) => setTimeout(wake, milliseconds));
}
function readProblem(reply, body) {
  const problem = isObject(body) ? body : {};
  const text = (name) => typeof problem[name] === "string" ? problem[name] : void 0;
  const seconds = reply.headers.get("retry-after");
  return new LatchkeyError(
    text("code") ?? CODES[reply.status] ?? "unexpected_reply",
    text("detail") ?? `Status ${reply.status}.`,
    {
      status: reply.status,
      requestId: text("request_id") ?? reply.headers.get("x-request-id"),
      retryAfter: /^\d+$/.test(seconds) ? Number(seconds) : null,
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

// src/clock.ts
function currentMoment() {
  return { wall: Date.now(), monotonic: performance.now() };
}
function elapsedSince(moment) {
  const now = currentMoment();
  return Math.max(now.wall - moment.wall, now.monotonic - moment.monotonic);
}
var TOLERANCE = 5e3;
var ServerClock = class {
  #measurement;
  /** Takes the server's time from a reply whose request was sent at `sentAt`. */
  synchronize(server, sentAt) {
    this.#measurement = { ...sentAt, server, estimate: server };
    return { server, wall: sentAt.wall };
  }
  /**
   * The server's time now. `anchor` is what the tab measured that wrote the stored record. A wall clock before it was set
   * back; without a measurement of our own nothing is known then, and every token counts as expired.
   */
  now(anchor) {
    const { wall, monotonic } = currentMoment();
    const estimate = anchor.server + wall - anchor.wall;
    let known = this.#measurement;
    const isLater = known && anchor.wall > known.wall && estimate > known.server + monotonic - known.monotonic - TOLERANCE;
    if (wall >= anchor.wall && (!known || isLater)) known = this.#measurement = { ...anchor, estimate, monotonic };
    return known ? Math.max(known.server + wall - known.wall, known.estimate + monotonic - known.monotonic) : Infinity;
  }
};

// src/lock.ts
var Lock = class {
  #name;
  #last = Promise.resolve();
  /** What a task has begun and the next one waits for, in any tab, although that task has its result already. */
  rest;
  /** Without a name for this client alone: the locks of Node.js are those of the whole process. */
  constructor(name) {
    this.#name = name;
  }
  /**
   * Runs a task that ends soon. A task must not call listeners, wait for people or take this lock again. After `patience`,
   * in milliseconds, it no longer waits for another tab and runs without the lock.
   */
  run(task, patience) {
    return new Promise((resolve) => {
      let held;
      const hold = async () => {
        await (held ??= task()).catch(() => {
        });
        if (this.rest) resolve(held);
        await this.rest;
      };
      this.#last = this.#last.then(async () => {
        try {
          if (this.#name) await globalThis.navigator?.locks?.request(this.#name, { signal: AbortSignal.timeout(patience) }, hold);
        } catch {
        }
        await hold();
        resolve(held);
        this.rest = void 0;
      });
    });
  }
};

// src/session.ts
var SIGNED_OUT = "signed_out";
var ROUNDS = 3;
var LONGEST_PAUSE = 60;
var LONGEST_DOUBT = 10;
var PATIENCE = 3e3;
var POLL = 250;
var SessionKeeper = class {
  #http;
  #store;
  #lock;
  #clock = new ServerClock();
  #hasCookie;
  #refreshes = /* @__PURE__ */ new Map();
  #listeners = /* @__PURE__ */ new Set();
  /** The changes that listeners have not all heard of. */
  #changes = [];
  #state;
  #reason = null;
  /** The session that this tab has ended: another tab's late reply must not bring it back. */
  #endedId = "";
  /** How often this client has signed out: a sign-in that began before must not sign in after it. */
  #signOuts = 0;
  /** Whether the server may have replaced the refresh token in a reply that has not come. */
  #isDoubtful = false;
  /** Until when the server wants no refresh, and what it said. */
  #pause;
  /** `lockName` is undefined unless others share the storage. */
  constructor(http, store, lockName, hasCookie) {
    this.#http = http;
    this.#store = store;
    this.#lock = new Lock(lockName);
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
    const fresh = this.#find(record, audience, refused, "stale_at");
    if (fresh) return fresh;
    const usable = this.#find(record, audience, refused, "expires_at");
    const grant = await this.#refresh(audience, refused)[usable ? 0 : 1].catch((error) => {
      if (usable && isTransient(error, true)) return usable;
      throw error;
    });
    if (record && !isSamePerson(record, grant.record)) throw notSignedIn();
    return grant;
  }
  /**
   * Sends a sign-in or a registration and stores its tokens; null if there are none yet. Under the lock: one after another,
   * and no late reply to a refresh brings the cookie of the person before back.
   */
  async signIn(send) {
    const signOuts = this.#signOuts;
    return this.#change(async () => {
      const sentAt = currentMoment();
      const received = await send();
      if (received === 202) return null;
      const { token, record, reply } = readTokens(received, this.#clock, sentAt, this.#hasCookie);
      if (signOuts !== this.#signOuts) return this.#abandon(token);
      this.#store.write(record);
      return reply;
    });
  }
  /** Sends a request that replaces the tokens, while no refresh is under way, and stores those of its reply. */
  async replace(send, refused, who) {
    const { token, record } = await this.obtain(OWN_AUDIENCE, refused);
    try {
      return await this.#change(async () => {
        await pass(POLL);
        const before = this.record;
        if (!before || !isSamePerson(before, who ?? record)) throw notSignedIn();
        const sentAt = currentMoment();
        this.#store.write({ ...before, replaced_until: sentAt.wall + this.#http.timeout });
        try {
          const next = readTokens(await send(token), this.#clock, sentAt, this.#hasCookie);
          if (this.record?.session.id !== before.session.id) return await this.#abandon(next.token);
          this.#store.write({ ...next.record, user: next.record.user ?? before.user });
          return next.reply;
        } catch (error) {
          const now = this.record;
          this.#isDoubtful ||= isLost(error);
          if (now?.session.id === before.session.id) {
            this.#store.write({ ...now, replaced_until: void 0, ...isLost(error) && { access: {} } });
          }
          throw error;
        }
      });
    } catch (error) {
      if (isLost(error)) await this.#refresh(OWN_AUDIENCE)[1].catch(() => {
      });
      if (refused !== void 0 || !isRefusedToken(error)) throw error;
      return await this.replace(send, token, record);
    }
  }
  /** Signs out and tells the server. Returns whether it knows. With cookies it throws unless it does, because it must. */
  async signOut() {
    this.#signOuts++;
    const logout = (parts) => repeat(() => this.#logout(parts));
    if (!this.#hasCookie) {
      const refresh_token = this.#forget(SIGNED_OUT)?.refresh_token;
      this.update();
      return !refresh_token || logout({ body: { refresh_token } }).then(() => true, () => false);
    }
    return this.#change(async () => {
      await logout({ withCookies: true }).catch((error) => {
        const token = this.record?.access[OWN_AUDIENCE]?.token;
        if (!isWithoutCookie(error)) throw error;
        return token && logout({ token });
      });
      this.#forget(SIGNED_OUT);
      return true;
    });
  }
  /** Forgets a session that the user has ended, here and in the other tabs, unless another one has begun. */
  end(sessionId) {
    const record = this.record;
    if (record?.session.id !== sessionId) return;
    this.#forget(SIGNED_OUT);
    this.update();
    if (this.#hasCookie) void this.#change(async () => this.record || this.#removeCookie(record));
  }
  /**
   * Does what begins, replaces or ends the session, or refreshes it: one after another. With cookies it waits for another tab
   * as long as that may wait for `replies`, each of which may bring a cookie or take one. A sign-out asks three times.
   */
  #change(task, replies = 4) {
    return this.#lock.run(task, this.#hasCookie ? replies * this.#http.timeout : PATIENCE).finally(() => this.update());
  }
  #logout(parts) {
    return this.#http.send("POST", "/v1/auth/logout", { status: 204, ...parts });
  }
  /** Ends a session that nobody holds. */
  async #abandon(token) {
    await this.#logout({ token }).catch(() => {
    });
    throw notSignedIn();
  }
  /**
   * Finds out who is signed in and tells the listeners, if that has changed. No task under the lock calls it: `#change` does
   * when its task has ended. With cookies, what takes the cookie of an ended session away may hold the lock still.
   */
  update() {
    const state = this.#findState();
    if (state.status === "signed-in") this.#reason = null;
    if (describe(state) === describe(this.#state)) return;
    this.#state = state;
    if (this.#changes.push(state) > 1) return;
    for (let change; change = this.#changes[0]; this.#changes.shift()) {
      for (const listener of [...this.#listeners]) {
        try {
          if (this.#listeners.has(listener)) listener(change);
        } catch (error) {
          queueMicrotask(() => {
            throw error;
          });
        }
      }
    }
  }
  #refresh(audience, refused) {
    const running = this.#refreshes.get(audience);
    if (running) return running;
    const ask = () => this.#change(() => this.#refreshOnce(audience, refused), 1);
    const first = ask();
    const end = repeat((attempt) => attempt ? ask() : first, true).catch((error) => {
      if (isTransient(error, true) && error.retryAfter !== null) this.#pause ??= { error, since: currentMoment() };
      throw error;
    }).finally(() => this.#refreshes.delete(audience));
    end.catch(() => {
    });
    const refresh = [first, end];
    this.#refreshes.set(audience, refresh);
    return refresh;
  }
  /** Reads again, asks, and stores. Runs under the lock. */
  async #refreshOnce(audience, refused) {
    for (let round = 0; round < ROUNDS; round++) {
      const { text, record } = this.#read();
      if (!record && !this.#isUnknown(text)) throw notSignedIn();
      const fresh = this.#find(record, audience, refused, "stale_at");
      if (fresh) return fresh;
      this.#obeyPause();
      const sentAt = currentMoment();
      const body = {
        refresh_token: record?.refresh_token,
        // null where a cookie has it
        cookie_optional: this.#hasCookie,
        audience: audience || void 0
        // none for OWN_AUDIENCE
      };
      let next;
      try {
        const reply = await this.#http.send("POST", "/v1/auth/refresh", { body, withCookies: this.#hasCookie });
        if (this.#hasCookie && reply === 204) throw notSignedIn();
        next = readTokens(reply, this.#clock, sentAt, this.#hasCookie, audience, record);
        this.#isDoubtful = false;
      } catch (error) {
        this.#isDoubtful ||= isLost(error);
        const isRefused = hasCode(error, "invalid_refresh_token", "refresh_token_reused");
        const isEnding = isRefused || this.#hasCookie && isWithoutCookie(error);
        if (isEnding) await this.#waitForReplacement();
        if (this.#read().text !== text) continue;
        if (isEnding) this.#forget(isRefused ? error.code : null, isRefused);
        throw error;
      }
      if (this.#read().text !== text) continue;
      if (record && next.record.session.id !== record.session.id) {
        if (this.#hasCookie) this.#store.clear(null);
        throw notSignedIn();
      }
      this.#store.write(next.record);
      return next;
    }
    throw new LatchkeyError("network_error", "Storage changes.");
  }
  /** The access token for an audience, if it is not the refused one and this moment of it has not come. */
  #find(record, audience, refused, end) {
    const access = record?.access[audience];
    if (record && access && access.token !== refused && this.#clock.now(record.anchor) < access[end]) {
      return { token: access.token, record };
    }
    return void 0;
  }
  /** Another tab may have sent what ends this session and brings the next one. Its reply is waited for. */
  async #waitForReplacement() {
    for (let waited = 0; waited < this.#http.timeout && Date.now() < (this.record?.replaced_until ?? 0); waited += POLL) {
      await pass(POLL);
    }
  }
  #obeyPause() {
    if (!this.#pause) return;
    const { error, since } = this.#pause;
    const longest = this.#isDoubtful ? LONGEST_DOUBT : LONGEST_PAUSE;
    const left = Math.min(error.retryAfter, longest) - elapsedSince(since) / 1e3;
    if (left > 0) throw new LatchkeyError(error.code, error.message, { ...error, retryAfter: left, cause: error });
    this.#pause = void 0;
  }
  #read() {
    const stored = this.#store.read();
    if (stored.record?.session.id !== this.#endedId) return stored;
    this.#store.clear("", stored.record);
    return this.#store.read();
  }
  /** If the session was refused, the browser may have its cookie still, which goes before any tab can get the next one. */
  #forget(reason, isRefused) {
    const record = this.record;
    this.#reason = reason;
    if (record) this.#endedId = record.session.id;
    this.#store.clear(reason ?? "", isRefused ? record : null);
    if (this.#hasCookie && isRefused) this.#removeCookie(record);
    return record;
  }
  /** It does not outlive the page as a sign-out does: the lock goes with the page, and a late reply takes another's cookie. */
  #removeCookie(record) {
    const token = record?.access[OWN_AUDIENCE]?.token;
    this.#lock.rest = this.#http.send("POST", "/v1/auth/logout", { withCookies: true, token }).catch(() => {
    });
  }
  /** With cookies and nothing stored, only the server knows. */
  #isUnknown(text) {
    return this.#hasCookie && text === null;
  }
  #findState() {
    const { text, record } = this.#read();
    if (text === SIGNED_OUT) this.#reason = text;
    if (record) return { status: "signed-in", session: record.session, user: record.user };
    return this.#isUnknown(text) ? { status: "unknown" } : { status: "signed-out", reason: this.#reason };
  }
};
function isWithoutCookie(error) {
  return hasCode(error, "invalid_request", "not_signed_in");
}
function isSamePerson(one, other) {
  return one.session.id === other.session.id || one.user !== null && one.user.id === other.user?.id;
}
function describe(state) {
  return JSON.stringify(state, ["status", "reason", "session", "user", "id", "authenticated_at"]);
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
    return listen(globalThis, ["storage", CHANGED], listener);
  }
  /** A browser sends `storage` to the other tabs alone; a second client on this page must hear it too. */
  #tellThisPage() {
    globalThis.dispatchEvent?.(new Event(CHANGED));
  }
};
var CHANGED = "latchkey";
function listen(target, events, listener) {
  for (const event of events) target?.addEventListener?.(event, listener);
  return () => {
    for (const event of events) target?.removeEventListener?.(event, listener);
  };
}
var TabMemory = class extends MemoryStorage {
  #key;
  #channel;
  #listener;
  constructor(key) {
    super();
    this.#key = key;
  }
  setItem(key, value) {
    super.setItem(key, value);
    this.#channel?.postMessage(value);
  }
  /** Who has stopped listening still takes what other tabs send, so that it never is the person before. */
  subscribe(listener) {
    if (!this.#channel && globalThis.BroadcastChannel) {
      const channel = this.#channel = new BroadcastChannel(this.#key);
      channel.onmessage = ({ data }) => {
        super.setItem(this.#key, data);
        this.#listener?.();
      };
      channel.unref?.();
      listen(globalThis, ["pageshow"], (event) => {
        if (event.persisted) this.removeItem(this.#key);
      });
    }
    this.#listener = listener;
    return () => this.#listener = void 0;
  }
};
var RecordStore = class {
  #storage;
  #key;
  #hasCookie;
  /** What the storage held when it was last seen. */
  #found = null;
  /** What counts in its place, because it could not be written. */
  #unwritten;
  /** With a cookie a sign-out is a text, so that it is told apart from a storage that is empty. */
  constructor(storage, key, hasCookie) {
    this.#storage = storage;
    this.#key = key;
    this.#hasCookie = hasCookie;
  }
  read() {
    const before = this.#found;
    try {
      this.#found = this.#storage.getItem(this.#key);
    } catch {
    }
    if (this.#found !== before && !(beginning(this.#found) < beginning(this.#unwritten))) this.#unwritten = void 0;
    const text = this.#unwritten === void 0 ? this.#found : this.#unwritten;
    return { text, record: parseRecord(text, this.#hasCookie) };
  }
  /** A storage that is full often has room for less, and it is the refresh token that the other tabs must not miss. */
  write(record) {
    this.#replace(JSON.stringify(record), JSON.stringify({ ...record, access: {} }));
  }
  /**
   * A refused session leaves when it began, because another tab may hold a later one that it could not write. If the
   * storage holds another session, which this tab could not write over, it stays. Otherwise nothing is left without a
   * cookie; with one, the text says that nobody is signed in, and why, if that is known, because without the text only the
   * server could tell.
   */
  clear(text = "", refused = null) {
    const ended = refused && JSON.stringify(refused, ["session", "created_at"]);
    if (!ended) this.#replace(this.#hasCookie ? text : null);
    else if (beginning(this.#found) === beginning(ended)) this.#replace(ended);
    else this.#unwritten = ended;
  }
  #replace(value, shorter = value) {
    for (const text of [value, shorter]) {
      try {
        if (text === null) this.#storage.removeItem(this.#key);
        else this.#storage.setItem(this.#key, text);
        this.#found = text;
        this.#unwritten = text === value ? void 0 : value;
        return;
      } catch {
      }
    }
    this.read();
    this.#unwritten = value;
  }
};
function beginning(text) {
  try {
    return JSON.parse(text).session.created_at;
  } catch {
  }
}

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
  #audiences = /* @__PURE__ */ new Map();
  #detach;
  /** @throws TypeError if `url` or an origin is none, or is neither https nor on this machine */
  constructor(options) {
    const url = readAddress("url", options.url);
    const base = url.origin + url.pathname.replace(/\/+$/, "");
    const key = `latchkey:${base}`;
    this.#hasCookie = options.transport === "cookie";
    const { storage = this.#hasCookie ? new TabMemory(key) : "memory" } = options;
    this.#storage = storage === "memory" ? new MemoryStorage() : storage === "localStorage" ? new LocalStorage() : storage;
    const deviceStorage = this.#storage instanceof TabMemory ? new LocalStorage() : this.#storage;
    this.#device = new DeviceStore(deviceStorage, `${key}:device`, options.deviceId, storage !== "memory");
    this.#http = new Http(base, options.timeout ?? 1e4);
    const lockName = this.#storage.subscribe && key;
    this.#keeper = new SessionKeeper(this.#http, new RecordStore(this.#storage, key, this.#hasCookie), lockName, this.#hasCookie);
    for (const { origin, audience = OWN_AUDIENCE } of options.apis ?? []) {
      const api = readAddress("apis", origin);
      if (api.href !== `${api.origin}/` || audience && api.origin === url.origin) {
        throw new TypeError(`apis cannot be ${origin}`);
      }
      this.#audiences.set(api.origin, audience);
    }
    this.#audiences.set(url.origin, OWN_AUDIENCE);
    this.#attach();
  }
  /** Who is signed in, as far as this tab knows, without a request. The same object until it changes. */
  get state() {
    return this.#keeper.state;
  }
  /** Calls the listener when who is signed in changes, also in another tab. Returns how to stop. Works without its client. */
  onChange = (listener) => {
    this.#attach();
    return this.#keeper.onChange(listener);
  };
  /**
   * Removes all listeners and stops listening to the page's events. Calls still work, and `onChange` listens again. With cookies
   * it still hears what other tabs send and when the page comes from the back-forward cache, so that it is never the person before.
   */
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
  register(credentials) {
    return this.#signIn("/v1/auth/register", credentials);
  }
  /**
   * Signs in. Ends the session that the same user had on this installation, by its lasting id.
   *
   * @throws LatchkeyError `invalid_credentials`, `account_disabled`, `email_not_verified`, `too_many_requests`
   */
  async signIn(credentials) {
    return readObject(await this.#signIn("/v1/auth/login", credentials));
  }
  /**
   * Signs out, here and in the other tabs. With a stored token that happens at once and also offline, and then Latchkey
   * is told. With cookies only Latchkey can take the cookie away, so nobody is signed out before it has answered.
   *
   * @returns false if Latchkey could not be reached: the session then lives there until it expires or is ended elsewhere
   * @throws LatchkeyError with cookies alone, if Latchkey cannot be reached: the user is still signed in, so call it again
   */
  signOut() {
    return this.#keeper.signOut();
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
    const isOwn = own === id.toLowerCase();
    await this.#callAs("DELETE", `/v1/sessions/${encodeURIComponent(id)}`, void 0, 204).catch((error) => {
      if (!isOwn || this.state.status !== "signed-out") throw error;
    });
    if (isOwn) this.#keeper.end(own);
  }
  /** Ends all sessions but this one. @throws LatchkeyError `reauthentication_required` */
  revokeOthers() {
    return this.#call("POST", "/v1/sessions/revoke-all?keep_current=true");
  }
  /** Ends all sessions, this one too, and signs out here. @throws LatchkeyError `reauthentication_required` */
  async logoutAll() {
    const { sessionId, value } = await this.#callAs("POST", "/v1/sessions/revoke-all?keep_current=false");
    const revoked = readObject(value);
    this.#keeper.end(sessionId);
    return revoked;
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
  changePassword(passwords) {
    return this.#replace("PUT", "/v1/me/password", passwords);
  }
  /**
   * Proves the password again, for what answers `reauthentication_required`. Then repeat that.
   *
   * @throws LatchkeyError `wrong_password`, `no_password`, `too_many_requests`
   */
  reauthenticate(proof) {
    return this.#replace("POST", "/v1/auth/reauthenticate", proof);
  }
  /**
   * Deletes the account and everything about it, and signs out.
   *
   * @throws LatchkeyError `reauthentication_required`, `wrong_password`, `no_password`, `too_many_requests`
   */
  async deleteAccount(proof) {
    const { sessionId } = await this.#callAs("POST", "/v1/me/delete", proof, 204);
    this.#keeper.end(sessionId);
  }
  /** What has happened to the account, the newest first. `cursor` is the `next_cursor` of the page before. */
  activity(page = {}) {
    const given = Object.entries(page).filter(([, value]) => value != null);
    return this.#call("GET", `/v1/me/activity?${new URLSearchParams(given)}`);
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
    await this.#callAs("PUT", "/v1/me/email", request, 202);
  }
  /** Sends the link again that verifies the user's address. @throws LatchkeyError `no_password` */
  async requestEmailVerification() {
    await this.#callAs("POST", "/v1/me/verify-email", void 0, 202);
  }
  /** Uses the link of a mail. Nobody needs to be signed in. @throws LatchkeyError `invalid_link`, `email_taken` */
  async verifyEmail(link) {
    await this.#http.send("POST", "/v1/auth/verify-email", { body: link, status: 204 });
  }
  /** Sends a link that sets a new password. The reply is the same for an address that nobody has. */
  async requestPasswordReset(request) {
    await this.#http.send("POST", "/v1/auth/password-reset", { body: request, status: 202 });
  }
  /** Uses that link. All sessions of the user end, and nobody is signed in. @throws LatchkeyError `invalid_link`, `weak_password` */
  async confirmPasswordReset(reset) {
    await this.#http.send("POST", "/v1/auth/password-reset/confirm", { body: reset, status: 204 });
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
   * request once more, unless its body can be read only once, as a stream. Returns every reply, whatever its status.
   *
   * @throws LatchkeyError `origin_refused`, `not_signed_in`, or why there is no token; and what `fetch` throws
   */
  async fetch(input, init = {}) {
    const request = input instanceof Request ? input : void 0;
    const url = new URL(request?.url ?? input, globalThis.location?.href);
    const audience = this.#audiences.get(url.origin);
    if (audience === void 0) throw new LatchkeyError("origin_refused", `${url.origin} is not among apis.`);
    const signal = init.signal ?? request?.signal;
    const send = ({ token }) => {
      const headers = new Headers(init.headers ?? request?.headers);
      headers.set("authorization", `Bearer ${token}`);
      return fetch(request?.clone() ?? url, { ...init, headers });
    };
    const first = await orAborted(this.#keeper.obtain(audience), signal);
    const reply = await send(first);
    if (reply.status !== 401 || !isRepeatable(init.body) || asksForPassword(reply)) return reply;
    await reply.body?.cancel();
    const second = await orAborted(this.#keeper.obtain(audience, first.token), signal);
    if (!isSamePerson(first.record, second.record)) throw notSignedIn();
    return send(second);
  }
  async #signIn(path, credentials) {
    const { token } = this.#device.read();
    const body = this.#hasCookie ? { ...credentials, transport: "cookie" } : { ...credentials, device_token: token };
    const parts = { body, deviceId: this.#device.prepareId(), withCookies: this.#hasCookie };
    const reply = await this.#keeper.signIn(() => this.#http.send("POST", path, parts));
    return reply && this.#accept(reply);
  }
  async #replace(method, path, body) {
    const withCookies = this.#hasCookie;
    return this.#accept(await this.#keeper.replace((token) => this.#http.send(method, path, { body, token, withCookies })));
  }
  #accept({ device_token, session }) {
    this.#device.keepToken(device_token);
    return session;
  }
  async #call(method, path, body) {
    return readObject((await this.#callAs(method, path, body)).value);
  }
  /** Calls Latchkey as the user, with one refresh and one repeat after a refused token. Says whose session it was. */
  async #callAs(method, path, body, status) {
    const first = await this.#keeper.obtain(OWN_AUDIENCE);
    const send = async ({ token, record }) => {
      return { value: await this.#send(method, path, { body, token, status }), sessionId: record.session.id };
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
    return repeat(
      (attempt) => this.#http.send(method, path, parts).catch((error) => {
        if (!attempt || method !== "DELETE" || !hasCode(error, "session_not_found")) throw error;
      })
    );
  }
  /** Listens to what may have changed who is signed in, or ended a sleep. */
  #attach() {
    if (this.#detach) return;
    const page = globalThis.document;
    const check = () => {
      if (page?.visibilityState !== "hidden") void this.#keeper.check();
    };
    const stops = [
      // Later, because a storage may call while it is written to, which is under the lock.
      this.#storage.subscribe?.(() => setTimeout(() => this.#keeper.update())),
      listen(page, ["visibilitychange"], check),
      listen(page && globalThis, ["pageshow", "online"], check)
    ];
    this.#detach = () => {
      for (const stop of stops) stop?.();
    };
    this.#keeper.update();
  }
};
function readAddress(option, text) {
  const url = new URL(text);
  if (!/^https:|^http:..(localhost|127\.0\.0\.1|\[::1])(:|$)/.test(url.origin)) throw new TypeError(`${option} cannot be ${text}`);
  return url;
}
function readObject(value) {
  if (!isObject(value)) throw unexpectedReply();
  return value;
}
function isRepeatable(body) {
  return !(body instanceof ReadableStream || body?.[Symbol.asyncIterator]);
}
function asksForPassword(reply) {
  return reply.headers.get("www-authenticate")?.includes("insufficient_user_authentication");
}
function orAborted(work, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal?.aborted) abort();
    work.then(resolve, reject).finally(listen(signal, ["abort"], abort));
  });
}
export {
  LatchkeyError,
  createClient
};
