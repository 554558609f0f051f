"""Verifies Latchkey's access tokens in a service of yours: by the published keys, without a call for each request.

Needs the extra ``verify``, which brings PyJWT.

**A verified token tells nothing about revocation.** A session that has ended is out at Latchkey at once, but its last
access token is accepted here until it expires: up to 15 minutes later (``ACCESS_TOKEN_SECONDS``), and ``leeway`` seconds
more. Where that matters, before a payment or a download of everything, call ``verify_now``, which asks Latchkey. The guide
"Protect your own API" (infra/guides/understand/protect-your-api.md) compares the ways.

    verifier = Verifier("https://auth.example.com", audience="https://orders.example.com")
    claims = verifier.verify(token)
    print(claims["sub"])
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, TypedDict, cast

import anyio
import httpx

from ._clock import read_elapsed
from ._errors import LatchkeyError
from ._transport import ForkGuard

try:
    import jwt
except ImportError as error:  # pragma: no cover
    raise ImportError("latchkey.verify needs PyJWT: install the extra, latchkey-sessions[verify]") from error

__all__ = ["AsyncVerifier", "Claims", "VerificationError", "Verifier", "challenge", "read_bearer"]

ALGORITHMS: Final = ("EdDSA", "RS256")
LIFESPAN: Final = 300.0
"""Seconds for which the key set is used without being read again, as its ``Cache-Control`` says."""
PAUSE: Final = 30.0
"""Seconds between two reads of the key set at least, whatever tokens arrive."""
FIRST_PAUSE: Final = 1.0
"""The same while no key set has been read yet."""
LONGEST_USE: Final = 7200.0
"""Seconds for which the keys are used while they cannot be read again. A new key is published for longer before it signs."""
# What a token must allow for Latchkey to answer whether its session is live.
_ASKABLE: Final = frozenset({"account"})
_REQUIRED: Final = ["iss", "aud", "client_id", "sub", "sid", "jti", "iat", "exp", "auth_time"]


class VerificationError(LatchkeyError):
    """A token that is not accepted. Answer with ``status`` and the headers of `challenge`.

    ==================================  =======================================================================
    ``invalid_token``                   401
    ``insufficient_scope``              403
    ``insufficient_user_authentication``  401: the password was given too long ago (RFC 9470)
    ``keys_unavailable``                503: it cannot be said; a 401 would sign users out, a 200 let anybody in
    ==================================  =======================================================================
    """

    challenge: str | None
    """The value of ``WWW-Authenticate`` (RFC 6750); ``None`` with 503."""

    def __init__(self, code: str, detail: str, *, status: int = 401, challenge: str | None = None) -> None:
        super().__init__(code, detail, status=status)
        self.challenge = None if status == 503 else challenge or f'Bearer error="{code}"'


class _ClaimsBase(TypedDict):
    iss: str
    aud: str
    client_id: str
    sub: str
    sid: str
    jti: str
    iat: int
    exp: int
    auth_time: int


class Claims(_ClaimsBase, total=False):
    """What a token says (RFC 9068). ``sub`` is the user, ``sid`` the session; times are epoch seconds.

    ``auth_time`` is when the user last gave the password, ``amr`` how they did, ``scope`` what the token allows at Latchkey
    itself: a token for your API alone has none.
    """

    amr: list[str]
    scope: str


class _Rules:
    """What a token must be. Reads no keys and asks nobody."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        algorithms: Sequence[str],
        scope: str | None,
        max_age: float | None,
        leeway: float,
    ) -> None:
        if not set(algorithms) <= set(ALGORITHMS) or not algorithms:
            raise ValueError(f"algorithms are some of {', '.join(ALGORITHMS)}")
        self.issuer = issuer
        self.audience = audience
        self.algorithms = list(algorithms)
        self.scopes = frozenset((scope or "").split())
        self.max_age = max_age
        self.leeway = leeway

    def read_key_id(self, token: str) -> str:
        """The name of the key in the header, which is not verified yet."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _refuse(str(error)) from error
        # The type is part of what is signed. Without this check, any token of the same key would pass.
        if header.get("typ") != "at+jwt":
            raise _refuse("This is not an access token.")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise _refuse("The token names no key.")
        return kid

    def check(self, token: str, key: jwt.PyJWK | None) -> Claims:
        """The claims of a token that this key has signed."""
        if key is None:
            raise _refuse("The token is signed with an unknown key.")
        try:
            decoded: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=self.algorithms,
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.leeway,
                options={"require": _REQUIRED, "strict_aud": True},
            )
        except jwt.PyJWTError as error:
            raise _refuse(str(error)) from error
        claims = cast(Claims, decoded)
        _require(self.scopes, claims)
        if self.max_age is not None:
            proved = decoded["auth_time"]
            if not isinstance(proved, int) or time.time() - proved > self.max_age + self.leeway:
                code = "insufficient_user_authentication"
                words = f'Bearer error="{code}", max_age="{int(self.max_age)}"'
                raise VerificationError(code, "The password was given too long ago.", challenge=words)
        return claims

    def check_account(self, claims: Claims, response: httpx.Response) -> Claims:
        """The claims, if ``GET /v1/me`` says that the session is live at this moment."""
        if response.status_code == 401:
            raise _refuse("The session has ended.")
        try:
            user_id = json.loads(response.content)["id"] if response.status_code == 200 else None
        except (ValueError, TypeError, KeyError, RecursionError):
            user_id = None
        if user_id is None:
            raise _unavailable(f"The session cannot be asked for: status {response.status_code}.")
        if user_id != claims["sub"]:
            raise _refuse("The token is another user's.")
        return claims


class _KeySet:
    """The published keys, how old they are, and whether it is time to read them again. Reads nothing."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None

    def is_due(self, kid: str) -> bool:
        """Whether to read them for a token of this key."""
        now = self._elapsed()
        # Without any key, a failed read must not turn all tokens away for the whole pause.
        pause = FIRST_PAUSE if self._read_at is None else PAUSE
        if self._tried_at is not None and now - self._tried_at < pause:
            return False
        return self._read_at is None or now - self._read_at >= LIFESPAN or kid not in self._keys

    def is_needed(self, kid: str) -> bool:
        """Whether a token of this key cannot be judged before the read that is under way has ended."""
        return self._read_at is None or self._elapsed() - self._read_at > LONGEST_USE or kid not in self._keys

    def find(self, kid: str) -> jwt.PyJWK | None:
        if self._read_at is None or self._elapsed() - self._read_at > LONGEST_USE:
            raise _unavailable("The published keys cannot be read.")
        if kid not in self._keys and self._tried_at is not None and self._tried_at > self._read_at:
            raise _unavailable("The key is not known, and the published keys cannot be read.")
        return self._keys.get(kid)

    def take(self, response: httpx.Response | None) -> None:
        """Replaces the keys by those of the reply; a reply that holds none changes nothing. Notes that a read has ended."""
        self._tried_at = self._elapsed()
        if response is None or response.status_code != 200:
            return
        try:
            keys = jwt.PyJWKSet.from_dict(json.loads(response.content)).keys
        except (ValueError, TypeError, AttributeError, RecursionError, jwt.PyJWTError):
            return
        self._keys = {key.key_id: key for key in keys if key.key_id is not None}
        self._read_at = self._tried_at


class Verifier:
    """Verifies access tokens, for services with threads. Make one and keep it, because it keeps the keys.

    Args:
        issuer: Latchkey's ``ISSUER``, character by character: ``https://auth.example.com``.
        audience: The name of your API in Latchkey's ``AUDIENCES``, or its ``AUDIENCE`` if it has none.
        algorithms: ``EdDSA``, ``RS256`` or both; each published key also names its own, and no other is accepted for it.
        scope: Words that the token's ``scope`` must hold, divided by spaces. None if not given.
        max_age: How many seconds ago the user may have given the password (``auth_time``). Any time if not given.
        leeway: Seconds by which the clocks may differ. A token is accepted for so much longer.
        http: Reads the keys and asks for the session. It is not closed with the verifier.
        elapsed: For tests: seconds that pass.

    ``verify`` and ``verify_now`` raise `VerificationError`.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        algorithms: Sequence[str] = ALGORITHMS,
        scope: str | None = None,
        max_age: float | None = None,
        leeway: float = 5,
        http: httpx.Client | None = None,
        elapsed: Callable[[], float] = read_elapsed,
    ) -> None:
        self._rules = _Rules(issuer, audience, algorithms=algorithms, scope=scope, max_age=max_age, leeway=leeway)
        self._keys = _KeySet(elapsed)
        self._callers_http = http
        self._start_in_this_process()
        self._fork_guard = ForkGuard(self._start_in_this_process)

    def _start_in_this_process(self) -> None:
        self._lock = threading.Lock()
        self._http = self._callers_http or httpx.Client(timeout=5)

    def verify(self, token: str) -> Claims:
        """The claims of a token that this issuer made for this audience and that has not expired."""
        self._fork_guard.check()
        kid = self._rules.read_key_id(token)
        # One reads. Whoever cannot do without waits for it.
        if self._keys.is_due(kid) and self._lock.acquire(blocking=self._keys.is_needed(kid)):
            try:
                if self._keys.is_due(kid):
                    self._read_keys()
            finally:
                self._lock.release()
        return self._rules.check(token, self._keys.find(kid))

    def verify_now(self, token: str) -> Claims:
        """The same, and the session has not ended: asks Latchkey, which costs a request.

        It needs a token with Latchkey's own audience: one for your API alone may ask nothing there, and is
        ``insufficient_scope``.
        """
        claims = self.verify(token)
        _require(_ASKABLE, claims)
        try:
            response = self._http.get(f"{self._rules.issuer}/v1/me", headers=_bearer(token), follow_redirects=False)
        except httpx.HTTPError as error:
            raise _unavailable(f"{type(error).__name__}: {error}") from error
        return self._rules.check_account(claims, response)

    def _read_keys(self) -> None:
        response = None
        with contextlib.suppress(httpx.HTTPError):  # find() says whether the keys that are there may still be used
            response = self._http.get(f"{self._rules.issuer}/.well-known/jwks.json")
        self._keys.take(response)

    def close(self) -> None:
        """Closes the connections."""
        if self._callers_http is None:
            self._http.close()

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class AsyncVerifier:
    """Verifies access tokens, for services with asyncio or trio. See `Verifier`. One event loop uses one verifier."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        algorithms: Sequence[str] = ALGORITHMS,
        scope: str | None = None,
        max_age: float | None = None,
        leeway: float = 5,
        http: httpx.AsyncClient | None = None,
        elapsed: Callable[[], float] = read_elapsed,
    ) -> None:
        self._rules = _Rules(issuer, audience, algorithms=algorithms, scope=scope, max_age=max_age, leeway=leeway)
        self._keys = _KeySet(elapsed)
        self._lock = anyio.Lock()
        self._callers_http = http
        self._http = http or httpx.AsyncClient(timeout=5)

    async def verify(self, token: str) -> Claims:
        """The claims of a token that this issuer made for this audience and that has not expired."""
        kid = self._rules.read_key_id(token)
        if self._keys.is_due(kid) and (self._keys.is_needed(kid) or not self._lock.statistics().locked):
            async with self._lock:
                if self._keys.is_due(kid):
                    await self._read_keys()
        return self._rules.check(token, self._keys.find(kid))

    async def verify_now(self, token: str) -> Claims:
        """The same, and the session has not ended: asks Latchkey, which costs a request.

        It needs a token with Latchkey's own audience: one for your API alone may ask nothing there, and is
        ``insufficient_scope``.
        """
        claims = await self.verify(token)
        _require(_ASKABLE, claims)
        try:
            response = await self._http.get(f"{self._rules.issuer}/v1/me", headers=_bearer(token), follow_redirects=False)
        except httpx.HTTPError as error:
            raise _unavailable(f"{type(error).__name__}: {error}") from error
        return self._rules.check_account(claims, response)

    async def _read_keys(self) -> None:
        response = None
        with contextlib.suppress(httpx.HTTPError):  # find() says whether the keys that are there may still be used
            response = await self._http.get(f"{self._rules.issuer}/.well-known/jwks.json")
        self._keys.take(response)

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._callers_http is None:
            await self._http.aclose()

    async def __aenter__(self) -> AsyncVerifier:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def read_bearer(authorization: str | None) -> str:
    """The token of an ``Authorization`` header (RFC 6750). Raises ``invalid_token`` if it holds none."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise VerificationError("invalid_token", "Send an access token.", challenge="Bearer")
    return token.strip()


def challenge(error: LatchkeyError) -> dict[str, str]:
    """The headers to answer a refusal with: ``WWW-Authenticate`` (RFC 6750 section 3, RFC 9470), ``Retry-After`` for 503."""
    if isinstance(error, VerificationError) and error.challenge is not None:
        return {"WWW-Authenticate": error.challenge}
    return {"Retry-After": "1"} if error.status == 503 else {}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _refuse(detail: str) -> VerificationError:
    return VerificationError("invalid_token", detail)


def _require(scopes: frozenset[str], claims: Claims) -> None:
    held: object = claims.get("scope")
    if not scopes <= set(held.split() if isinstance(held, str) else ()):
        wanted = " ".join(sorted(scopes))
        challenge = f'Bearer error="insufficient_scope", scope="{wanted}"'
        raise VerificationError("insufficient_scope", f"The scope must have: {wanted}.", status=403, challenge=challenge)


def _unavailable(detail: str) -> VerificationError:
    return VerificationError("keys_unavailable", detail, status=503)
