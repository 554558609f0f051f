import { createLocalJWKSet, errors, jwtVerify } from "jose";
class VerificationError extends Error {
  /** Always `VerificationError`. */
  name = "VerificationError";
  /** What to decide by. */
  code;
  /** 401, 403 for the scope, or 503 when it cannot be said: a 401 would sign users out, a 200 let anybody in. */
  status;
  /** The value of `WWW-Authenticate` (RFC 6750), null with 503. */
  challenge;
  constructor(code, message, details = {}) {
    super(message, "cause" in details ? { cause: details.cause } : {});
    this.code = code;
    this.status = code === "insufficient_scope" ? 403 : code === "keys_unavailable" ? 503 : 401;
    this.challenge = this.status === 503 ? null : details.challenge ?? `Bearer error="${code}"`;
  }
}
const CLAIMS = ["client_id", "sub", "sid", "jti", "iat", "exp", "auth_time"];
const LIFESPAN = 3e5;
const LONGEST_USE = 72e5;
const PAUSE = 3e4;
const FIRST_PAUSE = 1e3;
function createVerifier(options) {
  const { issuer, audience, clockTolerance = 5, timeout = 5e3 } = options;
  const keys = createKeySet(`${issuer}/.well-known/jwks.json`, timeout);
  const verify = async (token, requirements = {}) => {
    let claims;
    try {
      const verified = await jwtVerify(token, keys, {
        algorithms: ["EdDSA", "RS256"],
        // never taken from the token; each key has one
        typ: "at+jwt",
        // without this, any token of the same key would pass
        issuer,
        audience,
        requiredClaims: CLAIMS,
        clockTolerance
        // seconds by which the clocks may differ
      });
      claims = verified.payload;
    } catch (cause) {
      if (cause instanceof VerificationError) throw cause;
      throw new VerificationError(cause instanceof errors.JOSEError ? "invalid_token" : "keys_unavailable", String(cause), { cause });
    }
    if (typeof claims.aud !== "string") throw new VerificationError("invalid_token", "The token is for several audiences.");
    checkRequirements(claims, requirements, clockTolerance);
    return claims;
  };
  const verifyLive = async (token, requirements) => {
    const claims = await verify(token, requirements);
    checkRequirements(claims, { scope: "account" }, clockTolerance);
    let status;
    let account;
    try {
      const reply = await fetch(`${issuer}/v1/me`, {
        headers: { authorization: `Bearer ${token}` },
        redirect: "error",
        signal: AbortSignal.timeout(timeout)
      });
      status = reply.status;
      account = status === 200 ? await reply.json() : await reply.body?.cancel();
    } catch (cause) {
      throw new VerificationError("keys_unavailable", "Latchkey does not reply.", { cause });
    }
    if (status === 401) throw new VerificationError("invalid_token", "The session has ended.");
    const id = account?.id;
    if (typeof id !== "string") throw new VerificationError("keys_unavailable", `No account came, with the status ${status}.`);
    if (id !== claims.sub) throw new VerificationError("invalid_token", "The session is another user's.");
    return claims;
  };
  return { verify, verifyLive };
}
function readBearerToken(authorization) {
  const token = /^Bearer +([\w.~+/-]+=*)$/i.exec(authorization ?? "")?.[1];
  if (token === void 0) throw new VerificationError("invalid_token", "There is no bearer token.", { challenge: "Bearer" });
  return token;
}
function checkRequirements(claims, { scope, maxAge }, tolerance) {
  const granted = new Set(typeof claims.scope === "string" ? claims.scope.split(" ") : []);
  if (scope?.split(" ").some((word) => !granted.has(word))) {
    const challenge = `Bearer error="insufficient_scope", scope="${scope}"`;
    throw new VerificationError("insufficient_scope", `The scope must have: ${scope}.`, { challenge });
  }
  if (maxAge !== void 0 && !(claims.auth_time + maxAge + tolerance >= Date.now() / 1e3)) {
    const challenge = `Bearer error="insufficient_user_authentication", max_age="${maxAge}"`;
    throw new VerificationError("insufficient_user_authentication", "The proof of the password is too old.", { challenge });
  }
}
function createKeySet(url, timeout) {
  let keys;
  let [readAt, triedAt] = [-Infinity, -Infinity];
  let reading;
  const age = () => performance.now() - readAt;
  const read = async () => {
    let isRead = false;
    try {
      const reply = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(timeout) });
      const set = await reply.json();
      if (reply.status === 200 && set.keys.length > 0) {
        keys = createLocalJWKSet(set);
        isRead = true;
      }
    } catch {
    }
    triedAt = performance.now();
    if (isRead) readAt = triedAt;
    reading = void 0;
  };
  const readIfDue = async (isNeeded) => {
    if (reading) return isNeeded ? reading : void 0;
    if (performance.now() - triedAt >= (keys ? PAUSE : FIRST_PAUSE)) await (reading = read());
  };
  return async (header, token) => {
    if (age() >= LIFESPAN) await readIfDue(age() > LONGEST_USE);
    if (!keys || age() > LONGEST_USE) throw new VerificationError("keys_unavailable", "The published keys cannot be read.");
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await readIfDue(true);
      if (triedAt > readAt) throw new VerificationError("keys_unavailable", "The key is not known, and the published keys cannot be read.");
      return keys(header, token);
    }
  };
}
export {
  VerificationError,
  createVerifier,
  readBearerToken
};
