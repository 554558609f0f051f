import { createRemoteJWKSet, errors, jwtVerify } from "jose";
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
function createVerifier(options) {
  const { issuer, audience, clockTolerance = 5, timeout = 5e3 } = options;
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), {
    cacheMaxAge: 3e5,
    cooldownDuration: 3e4,
    // made-up keys must not make us ask each time
    timeoutDuration: timeout
  });
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
      throw new VerificationError(isTokensFault(cause) ? "invalid_token" : "keys_unavailable", String(cause), { cause });
    }
    checkRequirements(claims, requirements, clockTolerance);
    return claims;
  };
  const verifyLive = async (token, requirements) => {
    const claims = await verify(token, requirements);
    let reply;
    let account;
    try {
      reply = await fetch(`${issuer}/v1/me`, {
        headers: { authorization: `Bearer ${token}` },
        redirect: "error",
        signal: AbortSignal.timeout(timeout)
      });
      account = await reply.json();
    } catch (cause) {
      throw new VerificationError("keys_unavailable", "Latchkey does not reply.", { cause });
    }
    if (reply.status === 401) throw new VerificationError("invalid_token", "The session has ended.");
    if (reply.status !== 200) throw new VerificationError("keys_unavailable", `The status is ${reply.status}.`);
    if (account.id !== claims.sub) throw new VerificationError("invalid_token", "The session is another user's.");
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
  const granted = new Set(claims.scope?.split(" "));
  if (scope?.split(" ").some((word) => !granted.has(word))) {
    const challenge = `Bearer error="insufficient_scope", scope="${scope}"`;
    throw new VerificationError("insufficient_scope", `The scope must have: ${scope}.`, { challenge });
  }
  if (maxAge !== void 0 && !(claims.auth_time + maxAge + tolerance >= Date.now() / 1e3)) {
    const challenge = `Bearer error="insufficient_user_authentication", max_age="${maxAge}"`;
    throw new VerificationError("insufficient_user_authentication", "The proof of the password is too old.", { challenge });
  }
}
function isTokensFault(error) {
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return false;
  return error instanceof errors.JOSEError && error.constructor !== errors.JOSEError;
}
export {
  VerificationError,
  createVerifier,
  readBearerToken
};
