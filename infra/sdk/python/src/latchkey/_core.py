"""The client without input and output: what to send, when to refresh, and what a reply means for the session.

Each operation is a generator that yields what it needs done (an `Effect`) and receives the result. `latchkey.Client` and
`latchkey.AsyncClient` do it, one with threads and one with tasks, and decide nothing. The rules are those of the guide
"Writing a client": infra/guides/understand/clients.md.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeVar, cast

import httpx

from ._clock import Clock, ServerTime
from ._effects import Flow, Send, Share, Sleep, TryLock, Turns, Update, Yield
from ._errors import SIGNED_OUT, LatchkeyError
from ._requests import Reply, Request, build, check, is_of_latchkey, read_count, read_object, read_tokens, unexpected
from ._session import Document, Held, Vault, begin, end_by_user, fits_header, log, store_refresh_token, store_successor
from .types import Account, ActivityPage, Export, Session, SessionList, SignedIn

T = TypeVar("T")

MARGIN: Final = 30
"""An access token with fewer seconds left (or with less than half of its life, if that is less) is refreshed."""
ATTEMPTS: Final = 3
"""How often a refresh and a GET are sent in all, before a failure that may pass is raised."""
EARLY_ATTEMPTS: Final = 2
"""The same of a refresh ahead of time whose reply is lost. Its caller has a token, so nobody waits for a third."""
LONGEST_WAIT: Final = 5.0
"""If `Retry-After` asks for more seconds, they are not waited for."""
LONGEST_PAUSE: Final = 60.0
"""However long `Retry-After` is, whoever sent it: a refresh is asked for again after so many seconds."""
LONGEST_DOUBT: Final = 10.0
"""The same after a reply that may have been lost: the old refresh token counts for the grace, 30 seconds, and no longer."""
LOCK_PATIENCE: Final = 3.0
"""Seconds to wait for another process that refreshes; then we refresh too, which costs a request and nothing else."""
REPLACEMENT_PATIENCE: Final = 15.0
"""Seconds for which the reply of a request that replaces the session may still come, so that a refusal is not final."""
DATE_PRECISION: Final = 1.0
"""Seconds by which the measured time of the server may be wrong, because a ``Date`` has whole ones."""
_QUESTIONS: Final = 2
"""How often the server is asked which of two sign-ins lives."""
_LOCK_POLL: Final = 0.02
_REPLACEMENT_POLL: Final = 0.1
_TURN_POLL: Final = 0.01
_UNREAD: Final = frozenset({"network_error", "unexpected_reply"})
"""Codes of a reply that did not come, or that is not one of Latchkey's."""
_MAY_PASS: Final = _UNREAD | {"temporarily_unavailable", "too_many_requests"}


def is_lost(failure: LatchkeyError) -> bool:
    """Whether the request may have done its work although its reply says nothing, as every 5xx may. A 429 comes in place
    of it."""
    return failure.code in _UNREAD or (failure.status or 0) >= 500


def _is_short(failure: LatchkeyError) -> bool:
    """Whether it is waited for until the request may be sent again. If not, the caller gets the failure and decides."""
    return (failure.retry_after or 0) <= LONGEST_WAIT


def _give_back(release: Callable[[], None]) -> None:
    """Gives back the lock of the storage. What was done under it is done, whatever becomes of the lock."""
    try:
        release()
    except Exception as error:
        log.warning("the lock of the storage could not be given back: %s", type(error).__name__)


def origin(url: httpx.URL | str) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454); a scheme's own port is ``None``."""
    url = httpx.URL(url)
    return url.scheme, url.raw_host.decode("ascii"), url.port


def check_address(option: str, address: str) -> tuple[str, str, int | None]:
    """The origin of the address in an option. Tokens are sent over https, or to this machine."""
    scheme, host, port = origin(address)
    if scheme != "https" and not (scheme == "http" and host in {"localhost", "127.0.0.1", "[::1]", "::1"}):
        raise ValueError(f"{option}: {address}: tokens are sent over https only, or to this machine")
    return scheme, host, port


@dataclass(frozen=True)
class Call:
    """When a call that ends a session has begun."""

    elapsed: float
    """By elapsed time."""
    at_server: float
    """By the server's time; 0 if that was not known then."""


class Core:
    """All rules of a client, for one storage."""

    def __init__(
        self,
        url: str,
        *,
        origins: Iterable[str] | Mapping[str, str | None] = (),
        device_id: str | None = None,
        device_name: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(origins, str):
            raise TypeError("origins: give a list or a mapping, not one string")
        self.api = url.rstrip("/")
        # The audience of the tokens for each origin; `None` is Latchkey's own.
        self._audiences: dict[tuple[str, str, int | None], str | None] = {check_address("url", self.api): None}
        named = cast("Mapping[str, str | None]", origins) if isinstance(origins, Mapping) else dict.fromkeys(origins)
        for address, audience in named.items():
            found = check_address("origins", address)
            # Latchkey's own origin gets Latchkey's own token, which no other API may see.
            if audience is not None and found == origin(self.api):
                raise ValueError(f"origins: {address} is Latchkey's own, so it cannot have an audience")
            if httpx.URL(address).raw_path not in (b"", b"/"):
                raise ValueError(f"origins: {address} has a path, which an origin has not")
            self._audiences[found] = audience
        self.clock = clock or Clock()
        self.vault = Vault()
        self.turns = Turns()
        self.time = ServerTime(self.clock)
        if device_id and not fits_header(device_id):
            raise ValueError("device_id: a header cannot hold it: give printable ASCII")
        self._device_id = device_id
        self._device_name = device_name
        # When the newest access token for each audience that we have received here expires, by elapsed time.
        self._deadlines: dict[str | None, tuple[str, float]] = {}
        # What the server said when it wanted no refresh for a while, and when, by elapsed time.
        self._pause: tuple[LatchkeyError, float] | None = None
        # Whether the server may have replaced the refresh token in a reply that has not come.
        self._is_doubtful = False
        # How often this client has signed out: a sign-in that began before must not sign in after it.
        self._sign_outs = 0
        # How often a sign-in has begun here: a sign-out that began before must not end it when its reply comes.
        self._sign_ins = 0
        self._is_forked = False
        # Tokens for the audiences of other APIs. They are not stored: each process asks for its own.
        self._held_for: dict[str, Held] = {}

    def start_in_this_process(self) -> None:
        """Starts again in a forked child: what only the memory of its parent holds is the parent's."""
        self._is_forked = True
        self.turns = Turns()
        self.vault = Vault()
        self._held_for.clear()

    # The token of a request.

    def url(self, path_or_url: str) -> str:
        """The address of a path of Latchkey's API; another address as it is."""
        return self.api + path_or_url if path_or_url.startswith("/") else path_or_url

    def find_audience(self, url: httpx.URL) -> str | None:
        """The audience of the token that the address receives. Raises unless it may receive one."""
        if origin(url) not in self._audiences:
            address = f"{url.scheme}://{url.netloc.decode('ascii')}"
            raise LatchkeyError("origin_refused", f"{address} is not one of `origins`, so it receives no token.")
        return self._audiences[origin(url)]

    def authorize(self, refused: Held | None = None, audience: str | None = None) -> Flow[Held]:
        """A session whose access token can be used. ``refused`` is the one whose token has just got a 401."""
        held = yield from self._read()
        if held is None:
            hint = " A forked process shares the sign-in of its parent by a FileStorage." if self._is_forked else ""
            raise LatchkeyError("not_signed_in", f"Nobody is signed in. Sign in first.{hint}")
        current = self._find_for(audience, held)
        is_usable = False
        if current is not None and (refused is None or current.access_token != refused.access_token):
            seconds_left = self._seconds_left(current)
            if seconds_left > min(MARGIN, current.expires_in / 2):
                return current
            is_usable = seconds_left > 0
        try:
            if current is None or not is_usable:
                shared = yield from self._share_refresh(current, audience)
            else:
                shared = (yield Share(self._refresh(current, audience, is_early=True), audience)) or current
            if not shared.is_of_same_user(held):
                raise LatchkeyError("not_signed_in", "Somebody else has signed in.")
            return shared
        except LatchkeyError as error:
            # The token was refreshed ahead of time. While that fails and the token still lives, there is no need.
            if current is not None and is_usable and not error.signed_out:
                return current
            raise

    def _find_for(self, audience: str | None, held: Held) -> Held | None:
        """The session with its access token for an audience; ``None`` if there is none yet, or only one from before the
        password was proved again."""
        if audience is None:
            return held
        found = self._held_for.get(audience)
        return found if found is not None and found.is_of_same_proof(held) else None

    def _seconds_left(self, held: Held) -> float:
        for access_token, deadline in tuple(self._deadlines.values()):
            if access_token == held.access_token:
                return deadline - self.clock.elapsed()
        # The token is from an earlier run or from another process.
        return held.expires_at - self.time.now()

    def _share_refresh(self, stale: Held | None, audience: str | None) -> Flow[Held]:
        """A refresh for who needs its token, with all who ask meanwhile."""
        for attempt in itertools.count(1):
            pause = self._find_pause()
            if pause is not None and _is_short(pause):
                yield from self._wait(pause, attempt, ATTEMPTS)
            shared: Held | None = yield Share(self._refresh(stale, audience), audience)
            if shared is not None:
                return shared
            # It met a pause, or another caller had begun it ahead of time and gave up: the next one is sent three times.
        raise AssertionError("unreachable")

    def _refresh(self, stale: Held | None, audience: str | None, *, is_early: bool = False) -> Flow[Held | None]:
        """Exchanges the refresh token, unless another one has done so. Only a refusal of the token signs out. ``None`` if
        it met a pause that its caller may wait for, or was ahead of time and has failed in a way that may pass."""
        return (yield from self._in_turn("refresh", self._refresh_until_answered(stale, audience, is_early)))

    def _in_turn(self, kind: Literal["refresh", "replace", "sign_in"], flow: Flow[T]) -> Flow[T]:
        """Runs a flow that replaces tokens: not while one runs that it would disturb, in this process or in another."""
        turns = self.turns
        while not turns.try_begin(kind):
            yield Yield(_TURN_POLL)
        try:
            release = yield from self._lock()
            try:
                return (yield from flow)
            finally:
                if release is not None:
                    _give_back(release)
        finally:
            turns.end(kind)

    def _refresh_until_answered(self, stale: Held | None, audience: str | None, is_early: bool) -> Flow[Held | None]:
        for attempt in itertools.count(1):
            held = yield from self._read()
            if held is None:
                raise LatchkeyError("not_signed_in", "The user has signed out.")
            current = self._find_for(audience, held)
            is_other = current is not None and (stale is None or current.access_token != stale.access_token)
            if current is not None and is_other and self._seconds_left(current) > 0:
                return current
            pause = self._find_pause()
            if pause is not None:
                if is_early or _is_short(pause):
                    return None
                raise pause
            try:
                received = yield from self._exchange(held, audience)
                self._is_doubtful = False
                return (yield from self._store_refreshed(audience, held, received))
            except LatchkeyError as error:
                failure = error
            is_doubtful = is_lost(failure)
            self._is_doubtful |= is_doubtful
            if failure.code in SIGNED_OUT:
                yield from self._wait_for_replacement()
                if (yield from self._drop(held.refresh_token, failure)):
                    raise failure
                continue  # The storage has a newer token: another process was faster.
            if not is_doubtful and failure.code not in _MAY_PASS:
                yield from self._expire_after_doubt(held, audience)
                raise failure
            attempts = ATTEMPTS
            if is_early:  # nobody is to wait, but the old refresh token may count for the grace alone
                attempts = EARLY_ATTEMPTS if is_doubtful else 1
            try:
                yield from self._wait(failure, attempt, attempts, 0.0 if is_early else 1.0)
            except LatchkeyError:
                if failure.retry_after is not None:
                    self._pause = (failure.copy(), self.clock.elapsed())
                yield from self._expire_after_doubt(held, audience)
                if is_early:
                    return None
                raise
        raise AssertionError("unreachable")

    def _store_refreshed(self, audience: str | None, held: Held, received: Held) -> Flow[Held]:
        def store() -> Flow[Held]:
            return self._store(held, received) if audience is None else self._store_for(audience, held, received)

        return (yield from self._store_in_any_case(store))

    def _store_in_any_case(self, store: Callable[[], Flow[T]]) -> Flow[T]:
        """Stores what came, again if an interrupt comes meanwhile: its refresh token is the only one that counts after the
        grace."""
        try:
            return (yield from store())
        except (LatchkeyError, GeneratorExit):
            raise
        except BaseException:
            with contextlib.suppress(LatchkeyError):
                yield from store()
            raise

    def _find_pause(self) -> LatchkeyError | None:
        """What the server said when it wanted no refresh for a while, with the seconds that are left of it."""
        pause = self._pause  # read once, because other threads set it
        if pause is None:
            return None
        failure, since = pause
        longest = LONGEST_DOUBT if self._is_doubtful else LONGEST_PAUSE
        left = since + min(failure.retry_after or 0, longest) - self.clock.elapsed()
        return failure.copy(retry_after=left) if left > 0 else None

    def _exchange(self, held: Held, audience: str | None) -> Flow[Held]:
        sent = self.clock.elapsed()
        body = {"refresh_token": held.refresh_token, "audience": audience or ...}
        try:
            reply = yield from self._send(build(self.api, "refresh", body))
        except (LatchkeyError, GeneratorExit):
            raise
        except BaseException:
            self._is_doubtful = True  # an interrupt loses the reply too
            with contextlib.suppress(LatchkeyError):
                yield from self._expire_after_doubt(held, audience)
            raise
        received = self._receive(reply, sent, audience)[0]
        if received.session["id"] != held.session["id"]:
            raise unexpected(reply)
        return received

    def _expire_after_doubt(self, lost: Held, audience: str | None) -> Flow[None]:
        """After a refresh for another API whose reply is lost, Latchkey's own token may live for minutes, and the old refresh
        token counts for the grace alone: the next call refreshes, whatever its audience is."""
        if audience is None or not self._is_doubtful:
            return
        self._deadlines.pop(None, None)

        def decide(document: Document) -> tuple[Document, None]:
            held = document.held
            if held is not None and held.refresh_token == lost.refresh_token:
                return replace(document, held=replace(held, expires_at=0)), None
            return document, None

        yield Update(decide)

    def _wait_for_replacement(self) -> Flow[None]:
        """Another process may have sent what ends this session and brings the next one. Its reply is waited for."""
        began = self.clock.elapsed()
        while self.clock.elapsed() - began < REPLACEMENT_PATIENCE:
            until: float = yield Update(lambda document: (document, document.replaced_until))
            if self.clock.wall() >= until:
                return
            yield Sleep(_REPLACEMENT_POLL)

    def _lock(self) -> Flow[Callable[[], None] | None]:
        began = self.clock.elapsed()
        while True:
            try:
                release: Callable[[], None] | None = yield TryLock()
            except Exception as error:
                log.warning("the lock of the storage could not be taken: %s", type(error).__name__)
                return None
            if release is not None or self.clock.elapsed() - began >= LOCK_PATIENCE:
                return release
            yield Sleep(_LOCK_POLL)

    # Reading and writing who is signed in.

    def _read(self) -> Flow[Held | None]:
        def decide(document: Document) -> tuple[Document, Held | None]:
            self.time.assume_skew(document.clock_skew)
            return document, document.held

        held: Held | None = yield Update(decide)
        return held

    def _receive(self, reply: Reply, sent: float, audience: str | None = None) -> tuple[Held, str | None]:
        """The session and the device token of a reply with tokens whose request was sent at a moment of elapsed time."""
        tokens = read_tokens(reply)
        lives = tokens["expires_in"]
        expires_at = self.time.now() - (self.clock.elapsed() - sent) + lives
        self._deadlines[audience] = (tokens["access_token"], sent + lives)
        held = Held(
            tokens["access_token"],
            tokens.get("refresh_token", ""),
            expires_at,
            lives,
            tokens["session"],
            tokens.get("user"),
        )
        return held, tokens.get("device_token")

    def _store(self, began_with: Held, received: Held, device_token: str | None = None) -> Flow[Held]:
        """Stores the tokens of a reply unless the storage has gone further, and returns what is stored then."""

        def decide(document: Document) -> tuple[Document, Held | None]:
            after = store_successor(document, began_with, received)
            if after != document:
                after = replace(after, clock_skew=self.time.skew(), device_token=device_token or document.device_token)
            return after, after.held

        stored: Held | None = yield Update(decide)
        if stored is None:
            raise LatchkeyError("not_signed_in", "The user has signed out.")
        return stored

    def _store_for(self, audience: str, began_with: Held, received: Held) -> Flow[Held]:
        """Keeps the access token for an audience in memory, and stores what came with it: the refresh token and the session."""

        def decide(document: Document) -> tuple[Document, Held | None]:
            after = store_refresh_token(document, began_with, received)
            return after, after.held

        stored: Held | None = yield Update(decide)
        if stored is None or stored.session["id"] != received.session["id"]:
            raise LatchkeyError("not_signed_in", "The user has signed out, or signed in again.")
        found = self._held_for[audience] = replace(received, user=stored.user)
        return found

    def _drop(self, refresh_token: str, reason: LatchkeyError | None = None) -> Flow[bool]:
        """Forgets the session if the storage still holds this refresh token; returns whether it did."""

        def decide(document: Document) -> tuple[Document, bool]:
            if document.held is None:
                return document, True
            if document.held.refresh_token == refresh_token:
                user_id = document.held.user["id"] if document.held.user else None
                return replace(document, held=None, refused_user_id=user_id), True
            return document, False

        dropped: bool = yield Update(decide, reason)
        return dropped

    def _drop_session(self, session_id: str, call: Call) -> Flow[None]:
        """Forgets a session that the user has ended if it is still this one, whatever its tokens are now. Where another
        process was refused with the session meanwhile, its end is dated."""

        def decide(document: Document) -> tuple[Document, None]:
            self.vault.end(session_id)
            moment = self._moment(call)
            if document.held is None:
                return replace(document, since=max(document.since, moment), refused_user_id=None), None
            if document.held.session["id"] == session_id:
                return end_by_user(document, moment), None
            return document, None

        yield Update(decide)

    def _date_call(self) -> Call:
        return Call(self.clock.elapsed(), self._now_at_most())

    def _moment(self, call: Call) -> float:
        """When the server has done what a call has asked for, and has just answered: rather too early, because the reply may
        have been slow, and the time is measured by its middle. But not before the call, if it is known when that was."""
        return max(self._now_at_most() - 1.5 * (self.clock.elapsed() - call.elapsed), call.at_server)

    def _now_at_most(self) -> float:
        """The server's time of a sign-out: of what another process does at the same moment, it is to be the later. 0 until a
        reply has told it, because a wrong one would end who signs in later."""
        return self.time.now() + DATE_PRECISION if self.time.is_measured else 0

    # Sending.

    def _send(self, request: Request) -> Flow[Reply]:
        """Sends a request and returns the reply that says that it is done. Raises for every other one, and for none."""
        sent = self.clock.elapsed()
        reply: Reply = yield Send(request)
        received, is_told = self.clock.elapsed(), is_of_latchkey(reply)
        try:
            check(request, reply)
        except LatchkeyError as error:
            is_told &= error.code != "unexpected_reply"
            raise
        finally:
            if is_told:
                self.time.measure(reply.headers.get("date"), sent, received)
        return reply

    def _wait(self, failure: LatchkeyError, attempt: int, attempts: int, seconds: float = 1.0) -> Flow[None]:
        """Waits before the next attempt, ``seconds`` unless the reply says how long. Raises the failure if there is to be
        none."""
        if failure.retry_after is not None:
            seconds = failure.retry_after
        if attempt >= attempts or not _is_short(failure):
            raise failure
        if seconds > 0:
            yield Sleep(seconds)

    def _call_as(
        self,
        held: Held,
        operation: str,
        body: dict[str, Any] | None = None,
        *,
        session_id: str = "",
        params: dict[str, str] | None = None,
    ) -> Flow[tuple[Held, Reply]]:
        """Calls an operation for a session. Returns the session that was used, and the reply.

        After a 401 the token is refreshed and the request repeated, once; a GET also after a failure that may pass.
        """
        request = build(self.api, operation, body, session_id=session_id, params=params)
        attempts = ATTEMPTS if request.method == "GET" else 1
        is_refreshed = False
        attempt = 1
        while True:
            try:
                reply = yield from self._send(request.with_token(held.access_token))
                return held, reply
            except LatchkeyError as error:
                failure = error
            if failure.status == 401 and not is_refreshed:
                is_refreshed = True
                successor = yield from self.authorize(held)
                if not successor.is_of_same_user(held):
                    raise failure
                held = successor
                continue
            if failure.code not in _MAY_PASS:
                raise failure
            yield from self._wait(failure, attempt, attempts)
            attempt += 1

    def _call(
        self,
        operation: str,
        body: dict[str, Any] | None = None,
        *,
        session_id: str = "",
        params: dict[str, str] | None = None,
    ) -> Flow[tuple[Held, Reply]]:
        held = yield from self.authorize()
        return (yield from self._call_as(held, operation, body, session_id=session_id, params=params))

    def _call_without_token(self, operation: str, body: dict[str, Any]) -> Flow[None]:
        yield from self._send(build(self.api, operation, body))

    # The operations, named as the methods of the clients.

    def signed_in(self) -> Flow[SignedIn | None]:
        held = yield from self._read()
        return held.signed_in() if held else None

    def sign_in(self, operation: str, email: str, password: str, device_name: str | None) -> Flow[SignedIn | None]:
        """Signs in or registers; ``None`` if the registration waits for the user to open a mail."""
        body = {"email": email, "password": password, "device_name": device_name or self._device_name or ...}
        return (yield from self._in_turn("sign_in", self._sign_in_in_turn(operation, body, self._sign_outs)))

    def _sign_in_in_turn(self, operation: str, body: dict[str, Any], sign_outs: int) -> Flow[SignedIn | None]:
        self._sign_ins += 1

        def identify(document: Document) -> tuple[Document, Document]:
            document = replace(document, device_id=self._device_id or document.device_id or str(uuid.uuid4()))
            return document, document

        known: Document | None = None
        with contextlib.suppress(LatchkeyError):
            known = yield Update(identify)
        # If the storage cannot be read, this installation is another one.
        device_id = known.device_id if known and known.device_id else self._device_id or str(uuid.uuid4())
        body["device_token"] = known.device_token if known and known.device_token else ...
        sent = self.clock.elapsed()
        reply = yield from self._send(build(self.api, operation, body, headers={"X-Device-Id": device_id}))
        if reply.status == 202:
            return None
        held, device_token = self._receive(reply, sent)
        loser: Held | None = None

        def keep(document: Document) -> tuple[Document, Held | None]:
            # A sign-out counts itself before it reads the storage, so it either is seen here or finds what is stored here.
            if sign_outs != self._sign_outs:
                return document, None
            found, was = document.held, known and known.held
            if found and found.is_of_same_user(held) and not (was and was.session["id"] == found.session["id"]):
                is_overtaken = not found.has_same_token(loser)
            else:
                doubt = 0 if known else 2 * DATE_PRECISION  # a sign-out just before is told from one after it by its text
                is_refused = held.user is not None and document.refused_user_id == held.user["id"]
                is_overtaken = not is_refused and document.since > begin(known or Document(), held).since + doubt
            if is_overtaken:
                return document, found
            after = replace(begin(document, held), device_id=document.device_id or device_id, clock_skew=self.time.skew())
            return replace(after, device_token=device_token or document.device_token, replaced_until=0), held

        def store() -> Flow[Held | None]:
            kept: Held | None = yield Update(keep, is_blind=True)
            return kept

        stored = yield from self._store_in_any_case(store)
        while stored and stored is not held and stored.is_of_same_user(held):
            # Of sign-ins at once the server keeps one, whatever their times and the order of their replies say.
            rival, is_later = stored, (held.created_at() or 0) >= (stored.created_at() or 0)
            try:
                is_kept = yield from self._is_live(held)
            except (LatchkeyError, GeneratorExit):
                raise
            except BaseException:  # an interrupt
                if is_later:
                    loser = rival
                    yield from store()
                raise
            if not (is_later if is_kept is None else is_kept):
                break
            loser = rival
            stored = yield from self._store_in_any_case(store)
        if stored is not held:
            yield from self._abandon(held)
        if stored is None or not stored.is_of_same_user(held):
            raise LatchkeyError("not_signed_in", "The user has signed out, or somebody else in, before the reply came.")
        return stored.signed_in()

    def _is_live(self, held: Held) -> Flow[bool | None]:
        """Whether the server still has a session that has just begun; ``None`` if it does not tell."""
        for attempt in itertools.count(1):
            try:
                yield from self._send(build(self.api, "get_session").with_token(held.access_token))
                return True
            except LatchkeyError as error:
                if error.status == 401 and error.code not in _UNREAD:
                    return False
                if error.code in _MAY_PASS:
                    with contextlib.suppress(LatchkeyError):
                        yield from self._wait(error, attempt, _QUESTIONS)
                        continue
                return None
        raise AssertionError("unreachable")

    def _abandon(self, held: Held) -> Flow[None]:
        """Ends a session that nobody holds."""
        yield from self._end_at_server(held)

    def sign_out(self) -> Flow[bool]:
        self._sign_outs += 1
        call, sign_ins = self._date_call(), self._sign_ins
        # Also where nobody is signed in: what another process could not store before has ended too.
        held = yield from self._end_at(call.at_server)
        is_stored = not self.vault.is_unsaved
        if held is None:
            return True
        is_done = yield from self._end_at_server(held)
        if not call.at_server and self.time.is_measured and sign_ins == self._sign_ins:
            # The reply has told when it was. What could not be seen then, and is not later, has ended too.
            found = yield from self._end_at(self._moment(call), is_late=True, is_stored=is_stored)
            if found is not None:
                is_done &= yield from self._end_at_server(found)
        return is_done

    def _end_at(self, moment: float, *, is_late: bool = False, is_stored: bool = False) -> Flow[Held | None]:
        """Signs out at a moment of the server's time, and returns who was signed in. ``is_late`` says that the moment is some
        time ago, so that what has followed it stays: what is later, and who is found although the sign-out was stored."""

        def end(document: Document) -> tuple[Document, Held | None]:
            if is_late and (document.since > moment or (is_stored and document.held is not None)):
                return document, None
            if document.held is not None:
                self.vault.end(document.held.session["id"])
            return end_by_user(document, moment), document.held

        held: Held | None = yield Update(end)
        return held

    def _end_at_server(self, held: Held) -> Flow[bool]:
        try:
            yield from self._call_without_token("sign_out", {"refresh_token": held.refresh_token})
        except LatchkeyError:
            return False
        return True

    def _renew(self, operation: str, body: dict[str, Any]) -> Flow[SignedIn]:
        """An operation that answers with tokens of this or of a new session."""
        held = yield from self.authorize()
        try:
            stored = yield from self._replace_in_turn(held, operation, body)
        except LatchkeyError as error:
            if error.status != 401:
                raise
            successor = yield from self.authorize(held)
            if not successor.is_of_same_user(held):
                raise  # the password was that of the user before
            stored = yield from self._replace_in_turn(successor, operation, body)
        return stored.signed_in()

    def _replace_in_turn(self, held: Held, operation: str, body: dict[str, Any]) -> Flow[Held]:
        try:
            return (yield from self._in_turn("replace", self._replace(held, operation, body)))
        except LatchkeyError as error:
            if is_lost(error):
                # The tokens may have been replaced, and the old ones count for the grace alone.
                with contextlib.suppress(LatchkeyError):
                    current = yield from self._read()
                    yield from self._share_refresh(current, None)
            raise

    def _replace(self, held: Held, operation: str, body: dict[str, Any]) -> Flow[Held]:
        current = yield from self._read()  # A refresh may have been faster.
        if current is None or not current.is_of_same_user(held):
            raise LatchkeyError("not_signed_in", "The user has signed out.")
        # Whoever is refused until then, with or without the lock, waits for what this brings.
        yield from self._expect_replacement(self.clock.wall() + REPLACEMENT_PATIENCE)
        try:
            sent = self.clock.elapsed()
            reply = yield from self._send(build(self.api, operation, body).with_token(current.access_token))
            received, device_token = self._receive(reply, sent)
        except GeneratorExit:
            raise  # nobody does any more what is asked for
        except BaseException as error:
            # An interrupt (Ctrl-C, the end of an event loop) loses the reply too.
            is_unknown = not isinstance(error, LatchkeyError) or is_lost(error)
            self._is_doubtful |= is_unknown
            with contextlib.suppress(LatchkeyError):
                yield from self._expect_no_replacement(current if is_unknown else None)
            raise
        with contextlib.suppress(LatchkeyError):
            stored = yield from self._store_in_any_case(lambda: self._store_replacement(current, received, device_token))
            if stored.session["id"] == received.session["id"]:
                return stored
        # The user has signed out, or somebody else in, before the reply came: nobody holds this new session.
        yield from self._abandon(received)
        raise LatchkeyError("not_signed_in", "It was done, but the user has signed out meanwhile.")

    def _store_replacement(self, current: Held, received: Held, device_token: str | None) -> Flow[Held]:
        stored = yield from self._store(current, received, device_token)
        if stored.session["id"] == received.session["id"]:
            yield from self._expect_no_replacement(None)
        return stored

    def _expect_replacement(self, until: float) -> Flow[None]:
        yield Update(lambda document: (replace(document, replaced_until=until), None))

    def _expect_no_replacement(self, lost: Held | None) -> Flow[None]:
        """``lost`` is the session whose reply did not come: its next use, in any process, refreshes."""
        if lost is not None:
            self._deadlines.pop(None, None)

        def decide(document: Document) -> tuple[Document, None]:
            held = document.held
            if lost is not None and held is not None and held.session["id"] == lost.session["id"]:
                held = replace(held, expires_at=0)
            return replace(document, held=held, replaced_until=0), None

        yield Update(decide)

    def reauthenticate(self, password: str) -> Flow[SignedIn]:
        return self._renew("reauthenticate", {"password": password})

    def change_password(self, current_password: str, new_password: str) -> Flow[SignedIn]:
        return self._renew("change_password", {"current_password": current_password, "new_password": new_password})

    def get_sessions(self) -> Flow[SessionList]:
        _, reply = yield from self._call("get_sessions")
        return cast(SessionList, read_object(reply))

    def get_session(self) -> Flow[Session]:
        _, reply = yield from self._call("get_session")
        return cast(Session, read_object(reply))

    def rename_session(self, session_id: str, name: str | None) -> Flow[Session]:
        _, reply = yield from self._call("rename_session", {"name": name}, session_id=session_id)
        return cast(Session, read_object(reply))

    def revoke_session(self, session_id: str) -> Flow[None]:
        call = self._date_call()
        held, _ = yield from self._call("revoke_session", session_id=session_id)
        if session_id.lower() == held.session["id"].lower():
            yield from self._drop_session(held.session["id"], call)

    def revoke_others(self) -> Flow[int]:
        _, reply = yield from self._call("revoke_others", params={"keep_current": "true"})
        return read_count(reply, "revoked")

    def logout_all(self) -> Flow[int]:
        call = self._date_call()
        held, reply = yield from self._call("logout_all", params={"keep_current": "false"})
        count = read_count(reply, "revoked")
        yield from self._drop_session(held.session["id"], call)
        return count

    def remove_expired_sessions(self) -> Flow[int]:
        _, reply = yield from self._call("remove_expired_sessions")
        return read_count(reply, "removed")

    def me(self) -> Flow[Account]:
        _, reply = yield from self._call("me")
        return cast(Account, read_object(reply))

    def delete_account(self, password: str) -> Flow[None]:
        call = self._date_call()
        held, _ = yield from self._call("delete_account", {"password": password})
        yield from self._drop_session(held.session["id"], call)

    def activity(self, cursor: str | None, limit: int | None) -> Flow[ActivityPage]:
        params = {"cursor": cursor, "limit": None if limit is None else str(limit)}
        given = {name: value for name, value in params.items() if value is not None}
        _, reply = yield from self._call("activity", params=given)
        return cast(ActivityPage, read_object(reply))

    def export_data(self) -> Flow[Export]:
        _, reply = yield from self._call("export_data")
        return cast(Export, read_object(reply))

    def change_email(self, email: str, password: str) -> Flow[None]:
        yield from self._call("change_email", {"email": email, "password": password})

    def request_email_verification(self) -> Flow[None]:
        yield from self._call("request_email_verification")

    def verify_email(self, token: str) -> Flow[None]:
        return self._call_without_token("verify_email", {"token": token})

    def request_password_reset(self, email: str) -> Flow[None]:
        return self._call_without_token("request_password_reset", {"email": email})

    def confirm_password_reset(self, token: str, new_password: str) -> Flow[None]:
        return self._call_without_token("confirm_password_reset", {"token": token, "new_password": new_password})
