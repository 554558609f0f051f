"""Random sequences of calls by processes that share one storage, judged by rules. No stack is needed.

The cast: ada and bob take turns at one installation, which runs three processes. Each process has a client and its own way to
the shared text, which can fail. A small server keeps the contract of sessions: one conditional rotation, the grace, reuse.
All share one clock, which only the test and the waits of the clients move.

What must hold is in `Installation`: `judge_save` after each write of the text, `judge_reuse` when the server sees a reuse,
`judge_call` after each call, and `judge_end` when all storages have worked again: who is signed in then is decided by the last
sign-in or sign-out, whichever process it was made in. The exceptions stand beside the rules.

``SEQUENCES`` is how many sequences are tried, 800 if it is not set; with it they are new ones each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from latchkey import Client, Clock, LatchkeyError
from latchkey._effects import Yield

API: Final = "http://localhost:3000"
ORDERS: Final = "https://orders.example.com"
GRACE, INTERVAL, LIFE = 30, 35, 900
PROCESSES: Final = ("A", "B", "C")
LONG_RUN: Final = os.environ.get("SEQUENCES")


class Broken(AssertionError):
    """A rule does not hold."""


@dataclass
class ServerSession:
    id: str
    user: str
    device: str
    at: float
    created_at: float
    """When it began by the clock of the function that has made it."""
    rotation: int = 0
    rotated_at: float = 0
    proofs: int = 1
    is_live: bool = True
    # What the installation did with it.
    is_delivered: bool = False
    """Whether a process has received it, and has not ended it because its user had signed out before."""
    known: int = -1
    """The highest rotation of its refresh token that the shared text has held."""
    is_signed_out: bool = False
    """Its user has asked to sign out, whatever was answered."""
    is_forgotten: bool = False
    """What knew of it may be gone: the only process that had it has ended, or one that could not read has written over it."""

    def __repr__(self) -> str:
        return f"<{self.id} of {self.user}>"


@dataclass
class SignOut:
    """The user has signed out in a process that has noted it."""

    process: str
    at: float
    is_forgotten: bool = False
    """As of a session; or no reply has told its process the time, and it ends what was known there alone."""


@dataclass
class Stray:
    """A successor that was made at the server, and that the shared text does not hold."""

    session: ServerSession
    rotation: int
    at: float
    process: str
    is_lost: bool
    """Its reply was lost on the way to a process whose storage works. Otherwise that storage failed."""


class Server:
    """The contract: section 3 of the design, in memory."""

    def __init__(self, now: Callable[[], float], on_reuse: Callable[[ServerSession, int], None]) -> None:
        self.now = now
        self.on_reuse = on_reuse
        self.sessions: dict[str, ServerSession] = {}
        self.passwords = {"ada": "ada-0", "bob": "bob-0"}
        self.wrong_person: str | None = None
        self.ahead: list[float] = []
        """How far the clocks of the functions that make the next sessions are ahead."""
        self._issued = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        body: dict[str, Any] = json.loads(request.content) if request.content else {}
        if path == "/v1/auth/login":
            return self._sign_in(body, request.headers["x-device-id"])
        if path == "/v1/auth/refresh":
            return self._refresh(body["refresh_token"])
        if path == "/v1/auth/logout":
            self.session_of(body["refresh_token"]).is_live = False
            return self._reply(204)
        session = self._authorize(request.headers["authorization"].removeprefix("Bearer "))
        if session is None:
            return self._problem(401, "invalid_token")
        password = body.get("password", body.get("current_password"))
        if password is not None and password != self.passwords[session.user]:
            if not password.startswith(session.user):
                self.wrong_person = f"{password} was sent with a token of {session.user}"
            return self._problem(403, "wrong_password")
        if path == "/v1/sessions/current":
            return self._reply(200, {"id": session.id})
        if path == "/v1/me":
            return self._reply(200, {"id": session.user, "email": session.user})
        if path == "/v1/sessions/revoke-all":
            keep = session.id if request.url.params["keep_current"] == "true" else None
            return self._reply(200, {"revoked": self._end_all(session.user, keep)})
        if path == "/v1/auth/reauthenticate":
            session.proofs += 1
            self._rotate(session)
            return self._tokens(session, with_user=True)
        assert path == "/v1/me/password"
        self.passwords[session.user] = body["new_password"]
        self._end_all(session.user, None)
        return self._tokens(self._start(session.user, session.device), with_user=True)

    def session_of(self, refresh_token: str) -> ServerSession:
        return self.sessions[refresh_token.split(".")[1]]

    def _sign_in(self, body: dict[str, Any], device: str) -> httpx.Response:
        user = body["email"]
        if body["password"] != self.passwords[user]:
            return self._problem(401, "invalid_credentials")
        for session in self.sessions.values():
            if (session.user, session.device) == (user, device):
                session.is_live = False
        return self._tokens(self._start(user, device), with_user=True)

    def _start(self, user: str, device: str) -> ServerSession:
        # No two begin at once.
        at = self.now() + 0.005 * (len(self.sessions) % 16)
        session = ServerSession(f"s{len(self.sessions) + 1}", user, device, at, at + (self.ahead.pop(0) if self.ahead else 0))
        self.sessions[session.id] = session
        return session

    def _end_all(self, user: str, keep: str | None) -> int:
        ended = [one for one in self.sessions.values() if one.user == user and one.is_live and one.id != keep]
        for session in ended:
            session.is_live = False
        return len(ended)

    def _rotate(self, session: ServerSession) -> None:
        if session.rotation == 0 or session.rotated_at <= self.now() - INTERVAL:
            session.rotation += 1
            session.rotated_at = self.now()

    def _refresh(self, token: str) -> httpx.Response:
        session, presented = self.session_of(token), int(token.split(".")[2])
        if not session.is_live:
            return self._problem(401, "invalid_refresh_token")
        if presented == session.rotation:
            self._rotate(session)
        elif presented != session.rotation - 1 or self.now() - session.rotated_at > GRACE:
            session.is_live = False
            self.on_reuse(session, presented)
            return self._problem(401, "refresh_token_reused")
        return self._tokens(session)

    def _authorize(self, access_token: str) -> ServerSession | None:
        _, session_id, _, expires_at = access_token.split(".")
        session = self.sessions[session_id]
        return session if session.is_live and self.now() < float(expires_at.replace("_", ".")) else None

    def _tokens(self, session: ServerSession, *, with_user: bool = False) -> httpx.Response:
        self._issued += 1
        expires_at = str(self.now() + LIFE).replace(".", "_")
        created_at = datetime.fromtimestamp(session.created_at, timezone.utc).isoformat(timespec="milliseconds")
        tokens: dict[str, Any] = {
            "access_token": f"at.{session.id}.{self._issued}.{expires_at}",
            "token_type": "Bearer",
            "expires_in": LIFE,
            "refresh_token": f"rt.{session.id}.{session.rotation}",
            "session": {"id": session.id, "created_at": created_at, "authenticated_at": str(session.proofs)},
        }
        if with_user:
            tokens["user"] = {"id": session.user, "email": session.user, "email_verified": True, "created_at": ""}
            tokens["device_token"] = f"dt.{session.user}"
        return self._reply(200, tokens)

    def _problem(self, status: int, code: str) -> httpx.Response:
        return self._reply(status, {"code": code, "status": status})

    def _reply(self, status: int, body: object = None) -> httpx.Response:
        headers = {"date": formatdate(self.now(), usegmt=True), "x-request-id": "r"}
        return httpx.Response(status, headers=headers, content=b"" if body is None else json.dumps(body).encode())


SAME_TIME: Final = 1.5
"""Seconds by which a client may note a sign-out too late: a ``Date`` has whole ones, and of two at once the end is to win."""

FAULTS: Final[dict[str, tuple[bool, int, str | None]]] = {
    "offline": (False, 0, None),
    "lost": (True, 0, None),
    "busy": (False, 503, None),
    "busy for a minute": (False, 503, "60"),
    "done but 503": (True, 503, None),
    "done but 503 for a minute": (True, 503, "60"),
    "full": (False, 429, "2"),
    "full for a minute": (False, 429, "60"),
}
"""Whether the server acts, the status of the reply that comes instead, or 0 for none, and its ``Retry-After``."""


@dataclass(frozen=True)
class Step:
    """What a process does, or what happens to it."""

    process: str
    action: str
    faults: tuple[str, ...] = ()
    """What its first requests meet, one each; "" is nothing."""
    meanwhile: Step | None = None
    """What another process does when the server has answered the first request, before the reply comes."""

    def __repr__(self) -> str:
        faults = f", {self.faults!r}" if self.faults or self.meanwhile else ""
        meanwhile = f", {self.meanwhile!r}" if self.meanwhile else ""
        return f"Step({self.process!r}, {self.action!r}{faults}{meanwhile})"


class Way(httpx.BaseTransport):
    """What one process has of the world: its way to the server, to the storage and its client."""

    def __init__(self, installation: Installation, name: str, has_lock: bool) -> None:
        self.installation = installation
        self.name = name
        self.can_read = self.can_write = True
        self.is_mute = False
        """Whether it stores and does not say so."""
        self.step: Step | None = None
        self.requests = 0
        self.sleeps = 0
        if has_lock:
            self.try_lock = self._try_lock
        self.restart()

    def restart(self) -> None:
        self.saved_at = 0.0
        clock = Clock(elapsed=self.installation.now, wall=self.installation.wall, sleep=self._sleep)
        self.has_measured = False
        self.client = Client(API, storage=self, origins={ORDERS: ORDERS}, transport=self, clock=clock)

    @property
    def works(self) -> bool:
        return self.can_read and self.can_write and not self.is_mute

    def held(self) -> Any:
        """Who is signed in by the memory of the client: nothing is read."""
        document = self.client._core.vault.document
        return document and document.held

    def _sleep(self, seconds: float) -> None:
        self.sleeps += 1
        if self.sleeps > 2000:
            raise Broken("a call waits for ever")
        self.installation.time += seconds

    # The storage.

    def load(self) -> str | None:
        if not self.can_read:
            raise PermissionError("no")
        return self.installation.text

    def save(self, text: str) -> None:
        if not self.can_write:
            raise OSError("the disk is full")
        try:
            self.installation.judge_save(self, text)
        except Broken as error:  # the client would take it for a failure of the storage
            self.installation.broken = error
        self.installation.text = text
        self.saved_at = self.installation.now()
        if self.is_mute:
            raise TimeoutError("no answer")

    def _try_lock(self) -> Callable[[], None] | None:
        if not self.can_write:
            raise OSError("the disk is full")
        if self.installation.locked_by is not None:
            return None
        self.installation.locked_by = self.name

        def release() -> None:
            self.installation.locked_by = None

        return release

    # The network.

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        installation, step = self.installation, self.step
        self.requests += 1
        if self.requests > 100:
            raise Broken("a call sends for ever")
        faults = step.faults if step else ()
        fault = faults[self.requests - 1] if self.requests <= len(faults) else ""
        is_done, status, retry_after = FAULTS[fault] if fault else (True, 200, None)
        if request.url.path == "/v1/auth/logout" and step is not None and step.action != "sign out":
            nobodys = installation.server.session_of(json.loads(request.content)["refresh_token"])
            nobodys.is_delivered = nobodys.known >= 0
        response = None
        if is_done:
            installation.sender = self
            response = installation.server.answer(request)
        if self.requests == 1 and step is not None and step.meanwhile is not None:
            installation.take(step.meanwhile)
        installation.note_tokens(self, response, is_lost=bool(fault))
        if not fault:
            assert response is not None
            self.has_measured = True
            return response
        if status == 0:
            raise httpx.ReadError("the connection was reset")
        headers = {} if retry_after is None else {"retry-after": retry_after}
        return httpx.Response(status, headers=headers, content=b"")


@dataclass
class Installation:
    """The shared text, the clock, the server, the processes, and the rules."""

    has_lock: bool
    time: float = 1_800_000_000.0
    wall_ahead: float = 0
    """How far the clock of the machine is ahead of the server's."""
    text: str | None = None
    locked_by: str | None = None
    strays: list[Stray] = field(default_factory=lambda: [])
    sign_outs: list[SignOut] = field(default_factory=lambda: [])
    sender: Way | None = None
    broken: Broken | None = None

    def __post_init__(self) -> None:
        self.server = Server(self.now, self.judge_reuse)
        self.ways = {name: Way(self, name, self.has_lock) for name in PROCESSES}

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time + self.wall_ahead

    def stored(self) -> tuple[ServerSession, int] | None:
        """The session in the shared text and the rotation of its refresh token."""
        return self._read(self.text)

    def _read(self, text: str | None) -> tuple[ServerSession, int] | None:
        held = json.loads(text)["held"] if text else None
        return None if held is None else (self.server.sessions[held["session"]["id"]], int(held["refresh_token"].split(".")[2]))

    # What happens.

    def take(self, step: Step) -> None:
        way = self.ways[step.process]
        if step.action.startswith("wait "):
            self.time += float(step.action.removeprefix("wait "))
        elif step.action.startswith("clock "):
            self.wall_ahead += float(step.action.removeprefix("clock "))
        elif step.action.startswith("storage "):
            way.can_read, way.can_write, way.is_mute = {
                "storage works": (True, True, False),
                "storage unreadable": (False, True, False),
                "storage unwritable": (True, False, False),
                "storage cut off": (False, False, False),
                "storage mute": (True, True, True),
            }[step.action]
        elif step.action == "revoke":
            held = way.held()
            if held is not None:  # by the user, at another device
                self.server.sessions[held.session["id"]].is_live = False
        elif step.action == "restart":
            self._note_restart(way)
            way.restart()
        else:
            self._call(way, step)

    def surround_next_request(
        self, process: str, *, before: Callable[[], object] | None = None, after: Callable[[], object] | None = None
    ) -> None:
        """Something happens before the next request of a process reaches the server, or after the answer and before the reply
        comes. If the first raises, there is no answer. Later requests are answered as before."""
        way = self.ways[process]
        handle_request = way.handle_request

        def surround(request: httpx.Request) -> httpx.Response:
            way.handle_request = handle_request  # type: ignore[method-assign]
            if before is not None:
                before()
            response = handle_request(request)
            if after is not None:
                after()
            return response

        way.handle_request = surround  # type: ignore[method-assign]

    def _note_restart(self, way: Way) -> None:
        held, stored = way.held(), self.stored()
        if held is not None and (stored is None or stored[0].id != held.session["id"]):
            self.server.sessions[held.session["id"]].is_forgotten = True
        for one in self.sign_outs:
            one.is_forgotten |= one.process == way.name and one.at > way.saved_at

    def _call(self, way: Way, step: Step) -> None:
        way.step, way.requests, way.sleeps = Step(way.name, "look"), 0, 0
        before = self._look(way)
        if self.broken is not None:
            raise self.broken
        if step.action in ("sign out", "log out all") and before is not None:
            before.is_signed_out = True
        way.step, way.requests, way.sleeps = step, 0, 0
        result, failure, began = None, None, self.time
        try:
            result = self._do(way, step, before)
        except LatchkeyError as error:
            failure = error
        way.step = None
        if step.action == "sign out" and failure is None:
            self.sign_outs.append(SignOut(way.name, began, is_forgotten=not way.has_measured))
        if step.action == "log out all" and failure is None:
            # Somebody may have signed in here meanwhile.
            self.sign_outs.append(SignOut(way.name, began, is_forgotten=way.held() is not None))
        if self.broken is not None:
            raise self.broken
        if self.server.wrong_person:
            raise Broken(self.server.wrong_person)
        self.judge_call(way, step, before, result, failure)

    def _look(self, way: Way) -> ServerSession | None:
        """Who is signed in for this process."""
        try:
            found = way.client.signed_in()
        except LatchkeyError as error:
            if error.code != "storage_failed" or way.can_read:
                raise
            return None
        return self.server.sessions[found["session"]["id"]] if found else None

    def _do(self, way: Way, step: Step, before: ServerSession | None) -> Any:
        client = way.client
        password = self.server.passwords[before.user] if before else "nobody's"
        match step.action:
            case "me":
                return client.me()["email"]
            case "token for orders":
                return client.access_token(ORDERS)
            case "sign in ada" | "sign in bob":
                user = step.action.removeprefix("sign in ")
                return client.sign_in(user, self.server.passwords[user])
            case "sign out":
                return client.sign_out()
            case "reauthenticate":
                return client.reauthenticate(password)
            case "change password":
                user, _, version = password.partition("-")
                return client.change_password(password, f"{user}-{int(version or 0) + 1}" if before else "new")
            case "log out all":
                return client.logout_all()
            case "revoke others":
                return client.revoke_others()
            case _:
                return client.signed_in()

    def note_tokens(self, way: Way, response: httpx.Response | None, *, is_lost: bool) -> None:
        """Follows the tokens of a reply, whether it comes or not."""
        if response is None or b"refresh_token" not in response.content or response.status_code != 200:
            return
        tokens = json.loads(response.content)
        session, rotation = self.server.sessions[tokens["session"]["id"]], int(tokens["refresh_token"].split(".")[2])
        session.is_delivered |= not is_lost
        if rotation > session.known and (is_lost or not way.works):
            self.strays.append(Stray(session, rotation, self.time, way.name, is_lost and way.works))

    # The rules.

    def judge_save(self, way: Way, text: str) -> None:
        """What may replace what in the shared text."""
        old, new = self._read(self.text), self._read(text)
        was_since, since = self._since(self.text), self._since(text)
        # Rule 3: nobody becomes who was signed in before, and a sign-out stays. Who cannot read cannot tell.
        # What follows a sign-out that was noted too late has no time of its own for so long.
        is_vague = old is None or any(self.time - one.at < 2 * SAME_TIME for one in self.sign_outs)
        if since < was_since - (SAME_TIME if is_vague else 0.003):
            if way.can_read:
                raise Broken(f"{way.name} stores {new} over {old}, which is later")
            events: list[ServerSession | SignOut] = [*self.server.sessions.values(), *self.sign_outs]
            for one in events:
                one.is_forgotten |= one.at > since
        if new is not None:
            session, rotation = new
            if not session.is_delivered:
                raise Broken(f"{session} is stored, and was never received")
            if old is not None and old[0] is session and old[1] > rotation:
                raise Broken(f"an earlier token, {rotation}, replaces {old[1]} of {session}")
            session.known = max(session.known, rotation)
            self.strays = [one for one in self.strays if one.session is not session or one.rotation > rotation]
        elif old is not None:
            # Rule 1: only who has signed out, or whose session has ended, or who was followed by somebody else, is gone.
            session = old[0]
            later = [one for at, one, _ in self.events() if at > session.at - SAME_TIME and one is not session]
            if session.is_live and not session.is_signed_out and not later:
                raise Broken(f"{way.name} signs out {session}, which lives")

    def _since(self, text: str | None) -> float:
        """When it came to what the text says, by the time of the server; the client has only measured when somebody has
        signed out."""
        found = self._read(text)
        return found[0].at if found else json.loads(text)["since"] if text else 0

    def events(self) -> list[tuple[float, ServerSession | None, bool]]:
        """The sign-ins that a process has received and the sign-outs: when, who is signed in then, and whether that may be
        forgotten."""
        sessions = [one for one in self.server.sessions.values() if one.is_delivered]
        return [
            *((one.at, one if one.is_live else None, one.is_forgotten) for one in sessions),
            *((one.at, None, one.is_forgotten) for one in self.sign_outs),
        ]

    def judge_reuse(self, session: ServerSession, presented: int) -> None:
        """Rule 4. A process that cannot read may send what it remembers. One that can sends an old token only if no process
        could store a later one: its storage failed, or its reply was lost and it was not asked again in the grace."""
        assert self.sender is not None
        if not self.sender.can_read:
            return
        if session.known > presented:
            raise Broken(f"{self.sender.name} sends {presented} of {session}, although the text has had {session.known}")
        if not any(one.session is session and one.rotation > presented for one in self.strays):
            raise Broken(f"{self.sender.name} sends {presented} of {session}, and no later token has gone astray")

    def judge_call(
        self, way: Way, step: Step, before: ServerSession | None, result: Any, failure: LatchkeyError | None
    ) -> None:
        held, stored = way.held(), self.stored()
        after = self.server.sessions[held.session["id"]] if held else None
        is_alone = step.meanwhile is None
        # Rule 1: while a session lives, only its user ends it here.
        if is_alone and before is not None and after is None and before.is_live and not before.is_signed_out:
            raise Broken(f"{way.name} has lost {before}: {failure}")
        if is_alone and failure is not None and failure.signed_out and before is not None and before.is_live:
            raise Broken(f"{way.name} is told that nobody is signed in: {failure}")
        if is_alone and step.action == "sign out" and not step.faults and before is not None and before.is_live:
            raise Broken(f"{way.name} signs out, and {before} lives at the server")
        # Rule 2.
        if after is not None and after.is_signed_out and after is not before and is_alone:
            raise Broken(f"{way.name} is signed in again with {after}")
        # Rule 3: whose storage works acts as who is signed in there; whose does not, as before.
        if is_alone and way.works and after is not (stored and stored[0]):
            raise Broken(f"{way.name} holds {after}, and the text {stored}")
        if is_alone and step.action == "me" and failure is None and (before is None or result != before.user):
            raise Broken(f"{way.name} acts as {result} for {before}")
        # Rule 4, early: a reply that was lost is asked for again by the next call within the grace.
        if is_alone and way.works and step.action == "me" and failure is None and not step.faults:
            for one in self.strays:
                is_due = one.is_lost and one.process == way.name and 10 < self.time - one.at < GRACE
                if is_due and one.session is before and one.session.is_live:
                    raise Broken(f"{way.name} leaves a lost reply: {one}")

    def judge_end(self) -> None:
        """All storages work, and every process makes a call. Who is signed in last, and lives, is signed in everywhere."""
        self.locked_by = None
        for name in PROCESSES:
            self.take(Step(name, "storage works"))
        for action in ("look", "wait 61", "me", "look"):
            for name in PROCESSES:
                self.take(Step(name, action))
        stored = self.stored()
        for way in self.ways.values():
            held = way.held()
            if (held and held.session["id"]) != (stored and stored[0].id):
                raise Broken(f"{way.name} holds {held}, and the text {stored}")
        # The last event decides. One that may be forgotten may decide, or the one before it.
        expected: list[ServerSession | None] = []
        decided = 0.0
        for at, session, is_forgotten in sorted(self.events(), key=lambda event: -event[0]):
            if at < decided - SAME_TIME:
                break
            expected.append(session)
            if not is_forgotten:
                decided = max(decided, at)
        if not decided:
            expected.append(None)
        if (stored and stored[0]) not in expected:
            raise Broken(f"{stored} is signed in, and not one of {expected}")


def run(steps: list[Step], *, has_lock: bool, pause: float = 2) -> Installation:
    installation = Installation(has_lock)
    installation.take(Step("A", "sign in ada"))
    for step in steps:
        installation.take(step)
        installation.time += pause
    installation.judge_end()
    return installation


CALLS: Final = (
    *["me"] * 6,
    "look",
    *["token for orders"] * 2,
    *["sign in ada"] * 2,
    "sign in bob",
    "sign out",
    *["reauthenticate"] * 2,
    *["change password"] * 2,
    "log out all",
    "revoke others",
)
MEANWHILE: Final = ("me", "sign in ada", "sign in bob", "sign out", "reauthenticate", "change password", "log out all")
EVENTS: Final = (
    *["wait 5", "wait 20", "wait 31", "wait 36", "wait 880", "wait 1000", "wait 1000"],
    *["storage works"] * 3,
    *["storage unreadable", "storage unwritable", "storage cut off", "storage mute"],
    *["revoke", "restart", "clock 3600", "clock -3600"],
)
names = st.sampled_from(("A", "A", "A", "B", "B", "C"))
calls = st.sampled_from(CALLS)
events = st.builds(Step, names, st.sampled_from(EVENTS))
faults = st.lists(st.sampled_from(["", "lost", "lost", "lost", *FAULTS]), min_size=1, max_size=3).map(tuple)


@st.composite
def overtaken(draw: st.DrawFn) -> Step:
    process = draw(names)
    other = draw(st.sampled_from([name for name in PROCESSES if name != process]))
    meanwhile = Step(other, draw(st.sampled_from(MEANWHILE)))
    return Step(process, draw(calls), draw(st.one_of(st.just(()), st.just(()), faults)), meanwhile)


plain = st.builds(Step, names, calls)
steps = st.one_of(plain, plain, plain, events, events, events, st.builds(Step, names, calls, faults), overtaken())


@settings(
    max_examples=int(LONG_RUN or 800),
    derandomize=LONG_RUN is None,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    print_blob=False,
    report_multiple_bugs=False,
)
@given(st.lists(steps, min_size=6, max_size=24), st.booleans(), st.sampled_from([2, 0.1, 0.7]))
def test_no_sequence_breaks_a_rule(sequence: list[Step], has_lock: bool, pause: float) -> None:
    run(sequence, has_lock=has_lock, pause=pause)


@pytest.mark.parametrize("has_lock", [False, True])
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # A sign-in that could not be stored, and somebody else's later one, which was ended.
        (["A cut off", "A sign in ada", "B sign in bob", "B sign out", "A works"], None),
        (["A unwritable", "A sign in ada", "B sign in bob", "B sign out", "A works"], None),
        # The same, and the later one was refused.
        (["A cut off", "A sign in ada", "B sign in bob", "B revoke", "B me", "A works"], None),
        # A sign-out of another process before the sign-in, which has not seen it, and one of its own.
        (["A cut off", "B sign out", "A sign in bob", "A works"], "bob"),
        (["A mute", "A sign out", "A cut off", "A sign in bob", "A works"], "bob"),
        # A sign-out where nobody was signed in, before and after.
        (["B revoke", "B me", "A cut off", "B sign out", "A sign in bob", "A works"], "bob"),
        (["B revoke", "B me", "A cut off", "A sign in bob", "B sign out", "A works"], None),
        # Three that could not be stored.
        (["B look", "A cut off", "B cut off", "A sign in bob", "B sign in ada", "A sign in bob", "B works", "A works"], "bob"),
        (["B look", "A cut off", "B cut off", "A sign in bob", "B sign in ada", "A sign out", "B works", "A works"], None),
    ],
)
def test_last_sign_in_or_sign_out_counts(steps: list[str], expected: str | None, has_lock: bool) -> None:
    storages = ("works", "cut off", "unwritable", "mute")
    taken = [Step("A", "sign in ada"), Step("B", "look")]
    for process, _, action in (step.partition(" ") for step in steps):
        taken.append(Step(process, f"storage {action}" if action in storages else action))
    installation = run([*taken, Step("A", "look"), Step("B", "look")], has_lock=has_lock)
    stored = installation.stored()
    assert (stored and stored[0].user) == expected


def test_sign_out_just_after_a_sign_in_that_could_not_be_stored_ends_it() -> None:
    """The client's measure of the server's time may be half a second behind."""
    installation = Installation(has_lock=True)
    for step in [
        Step("A", "sign in ada"),
        Step("B", "look"),
        Step("B", "wait 2.9"),
        Step("A", "storage cut off"),
        Step("A", "sign in bob"),
        Step("B", "me"),
        Step("B", "wait 0.3"),
        Step("B", "sign out"),
    ]:
        installation.take(step)
    installation.judge_end()
    assert installation.stored() is None


def test_sign_in_just_after_a_sign_out_counts() -> None:
    installation = Installation(has_lock=True)
    for step in [Step("A", "sign in ada"), Step("A", "sign out"), Step("A", "sign in bob")]:
        installation.take(step)
    assert installation.ways["B"].client.me()["email"] == "bob"


@pytest.mark.parametrize("is_same_person", [True, False])
def test_reply_of_an_overtaken_sign_in_gives_way(is_same_person: bool) -> None:
    """Another process has signed in after it, and has stored that before. Nobody holds the session of the late reply."""
    installation = Installation(has_lock=False)
    installation.take(Step("A", "sign in ada", meanwhile=Step("B", "sign in ada" if is_same_person else "sign in bob")))
    first, second = installation.server.sessions.values()
    assert not first.is_live
    stored = installation.stored()
    assert stored is not None
    assert stored[0] is second


@pytest.mark.parametrize("ahead", [[0, 0], [5, 0], [0, 5]])
@pytest.mark.parametrize("is_first", [True, False])
def test_of_sign_ins_at_once_that_one_is_kept_which_lives(ahead: list[float], is_first: bool) -> None:
    """The server has made ours before the other's, or after, and the clocks of its functions differ by seconds."""
    installation = Installation(has_lock=False)
    installation.server.ahead = list(ahead)
    other = Step("B", "sign in ada")
    if is_first:
        installation.take(Step("A", "sign in ada", meanwhile=other))
    else:
        installation.surround_next_request("A", before=lambda: installation.take(other))
        installation.take(Step("A", "sign in ada"))
    installation.judge_end()
    stored = installation.stored()
    assert stored is not None
    assert stored[0].is_live


def test_refusal_of_the_other_sign_in_ends_no_sign_in_that_lives() -> None:
    """Another process has stored what the server has replaced by ours, and is refused before our reply comes."""
    installation = Installation(has_lock=False)
    installation.server.ahead = [5, 0]
    installation.surround_next_request(
        "A",
        before=lambda: installation.take(Step("B", "sign in ada")),
        after=lambda: installation.take(Step("B", "me")),
    )
    assert installation.ways["A"].client.sign_in("ada", "ada-0")["session"]["id"] == "s2"
    assert installation.ways["B"].client.me()["email"] == "ada"


@pytest.mark.parametrize("faults", [("", "lost"), ("", "full"), ("", "lost", "busy", "busy")])
def test_question_which_sign_in_lives_is_repeated_and_then_the_later_counts(faults: tuple[str, ...]) -> None:
    run([Step("A", "sign in ada", faults, Step("B", "sign in ada")), Step("B", "me"), Step("A", "me")], has_lock=False)


@pytest.mark.parametrize("is_before", [True, False])
def test_sign_in_whose_first_read_failed_gives_way_to_a_later_sign_out_alone(is_before: bool) -> None:
    installation = Installation(has_lock=False)
    way, load = installation.ways["A"], installation.ways["A"].load
    installation.take(Step("B", "sign in bob"))

    def fail_once() -> str | None:
        way.load = load  # type: ignore[method-assign]
        raise OSError("busy")

    def sign_out_later() -> None:
        installation.time += 10
        installation.ways["B"].client.sign_out()

    way.load = fail_once  # type: ignore[method-assign]
    if is_before:
        installation.ways["B"].client.sign_out()
        installation.time += 0.4
        assert way.client.sign_in("ada", "ada-0")
        assert installation.ways["B"].client.me()["email"] == "ada"
    else:
        installation.surround_next_request("A", after=sign_out_later)
        with pytest.raises(LatchkeyError, match="signed out"):
            way.client.sign_in("ada", "ada-0")
        assert not any(one.is_live for one in installation.server.sessions.values())
        assert installation.stored() is None


@pytest.mark.parametrize(
    ("process", "storage", "seconds"), [("A", "works", 0.7), ("A", "cut off", 0.7), ("B", "works", 0.7), ("B", "cut off", 4)]
)
def test_sign_in_while_the_reply_to_a_sign_out_is_slow_stays(process: str, storage: str, seconds: float) -> None:
    """No reply has told the time before. It is told at the end of the slow one."""
    installation = Installation(has_lock=False)
    for step in [Step("A", "sign in ada"), Step("A", "restart"), Step("A", "look"), Step("B", "look")]:
        installation.take(step)
    installation.take(Step(process, f"storage {storage}"))

    def sign_in() -> None:
        installation.time += seconds
        assert installation.ways[process].client.sign_in("bob", "bob-0")
        installation.time += 4

    installation.surround_next_request("A", before=sign_in)
    assert installation.ways["A"].client.sign_out()
    installation.take(Step(process, "storage works"))
    assert [installation.ways[name].client.me()["email"] for name in (process, "A", "B")] == ["bob"] * 3


def change_password_unseen() -> Installation:
    """A minute ago, one process has changed the password while another, A, could not read the storage."""
    installation = Installation(has_lock=False)
    for step in [Step("B", "sign in ada"), Step("A", "look"), Step("A", "storage unreadable"), Step("B", "change password")]:
        installation.take(step)
    installation.time += 60
    return installation


def test_sign_out_whose_reply_tells_the_time_ends_what_could_not_be_seen() -> None:
    """The storage can be read again when the reply comes."""
    installation = change_password_unseen()
    installation.surround_next_request("A", before=lambda: installation.take(Step("A", "storage works")))
    assert installation.ways["A"].client.sign_out()
    assert installation.stored() is None
    assert not any(one.is_live for one in installation.server.sessions.values())


def test_sign_out_says_whether_the_server_has_ended_all_that_it_has_found() -> None:
    installation = change_password_unseen()

    def fail() -> None:
        raise httpx.ReadError("reset")

    installation.surround_next_request(
        "A",
        before=lambda: installation.take(Step("A", "storage works")),
        after=lambda: installation.surround_next_request("A", before=fail),
    )
    assert not installation.ways["A"].client.sign_out()
    assert installation.stored() is None


@pytest.mark.parametrize("is_refused", [True, False])
def test_end_of_all_sessions_is_dated_whatever_another_process_stores_meanwhile(is_refused: bool) -> None:
    installation = Installation(has_lock=False)
    steps = [Step("A", "sign in ada"), Step("B", "me"), Step("C", "me"), Step("C", "storage cut off"), Step("C", "wait 60")]
    for step in [*steps, Step("C", "sign in bob"), Step("C", "wait 60")]:
        installation.take(step)
    if is_refused:
        installation.take(Step("A", "log out all", meanwhile=Step("B", "reauthenticate")))
    else:
        installation.surround_next_request("A", before=lambda: installation.take(Step("B", "reauthenticate")))
        installation.ways["A"].client.logout_all()
    installation.take(Step("C", "storage works"))
    assert [installation.ways[name].client.signed_in() for name in PROCESSES] == [None, None, None]


@pytest.mark.parametrize("operation", ["change password", "reauthenticate"])
def test_storage_that_breaks_its_text_signs_nobody_out(operation: str) -> None:
    installation = Installation(has_lock=False)
    installation.take(Step("A", "sign in ada"))
    way, save, before = installation.ways["A"], installation.ways["A"].save, json.loads(installation.text or "")

    def break_text(text: str) -> None:
        installation.text = ""
        raise OSError("the disk is full")

    way.save, way.can_write = break_text, False  # type: ignore[method-assign]
    installation.take(Step("A", operation))
    assert way.client.me()["email"] == "ada"
    way.save, way.can_write = save, True  # type: ignore[method-assign]
    installation.take(Step("A", "me"))
    after = json.loads(installation.text or "")
    assert (after["device_id"], after["device_token"]) == (before["device_id"], before["device_token"])
    assert installation.ways["B"].client.me()["email"] == "ada"


def test_refusal_of_somebody_else_does_not_hide_a_sign_out_before_it() -> None:
    installation = Installation(has_lock=False)
    for step in [Step("A", "sign in ada"), Step("B", "look"), Step("A", "wait 60")]:
        installation.take(step)

    def follow() -> None:
        for action in ("wait 3", "sign out", "wait 3", "sign in bob", "revoke", "me"):
            installation.take(Step("B", action))

    installation.surround_next_request("A", after=follow)
    with pytest.raises(LatchkeyError, match="signed out"):
        installation.ways["A"].client.sign_in("ada", "ada-0")


@pytest.mark.parametrize(
    ("status", "content", "is_measured"),
    [
        (200, b"<html>blocked", False),
        (302, b"", False),
        (503, b"<html>blocked", False),
        (503, b"{}", False),
        (503, b'{"code": "temporarily_unavailable"}', True),
        (200, b'{"id": "ada", "email": "ada"}', True),
        (204, b"", False),
    ],
)
def test_time_is_measured_by_what_latchkey_answers_alone(status: int, content: bytes, is_measured: bool) -> None:
    installation = Installation(has_lock=True)
    installation.take(Step("A", "sign in ada"))
    way = installation.ways["A"]
    way.restart()
    headers = {"date": formatdate(installation.now() + 3600, usegmt=True), "x-request-id": "a proxy's"}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, content=content)

    way.handle_request = answer  # type: ignore[method-assign]
    with contextlib.suppress(LatchkeyError):
        way.client.me()
    assert way.client._core.time.is_measured == is_measured


def test_end_of_all_sessions_with_a_slow_reply_counts_from_its_call() -> None:
    installation = Installation(has_lock=False)
    for step in [Step("A", "sign in ada"), Step("B", "look"), Step("A", "wait 1000"), Step("B", "storage unwritable")]:
        installation.take(step)
    for step in [Step("B", "sign in bob"), Step("A", "wait 3")]:
        installation.take(step)
    installation.ways["A"].client.me()
    installation.surround_next_request("A", after=lambda: installation.take(Step("A", "wait 8")))
    installation.take(Step("A", "log out all"))
    installation.take(Step("B", "storage works"))
    assert [one.client.signed_in() for one in installation.ways.values()] == [None] * 3


@pytest.mark.parametrize("user", ["ada", "bob"])
def test_end_of_all_sessions_with_a_slow_reply_ends_no_sign_in_that_began_after_it(user: str) -> None:
    """Another process was refused meanwhile, and somebody signs in there: that reply comes last."""
    installation = Installation(has_lock=False)
    for step in [Step("A", "sign in ada"), Step("B", "look"), Step("A", "wait 60")]:
        installation.take(step)
    other = installation.ways["B"].client
    is_ended, may_come = threading.Event(), threading.Event()

    def hold_reply() -> None:
        is_ended.set()
        assert may_come.wait(10)

    def release_reply() -> None:
        installation.time += 2
        may_come.set()
        ending.join(10)
        assert not ending.is_alive()

    installation.surround_next_request("A", after=hold_reply)
    ending = threading.Thread(target=installation.ways["A"].client.logout_all)
    ending.start()
    assert is_ended.wait(10)
    with pytest.raises(LatchkeyError, match="invalid_refresh_token"):
        other.me()
    installation.time += 2
    installation.surround_next_request("B", after=release_reply)
    other.sign_in(user, f"{user}-0")
    assert other.me()["email"] == user


@pytest.mark.parametrize(("status", "code", "count"), [(503, "temporarily_unavailable", 2), (403, "edge_required", 1)])
def test_question_which_sign_in_lives_is_asked_twice_at_most(status: int, code: str, count: int) -> None:
    installation = Installation(has_lock=False)
    way, handle_request, asked = installation.ways["A"], installation.ways["A"].handle_request, 0

    def refuse_to_tell(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.url.path != "/v1/sessions/current":
            return handle_request(request)
        asked += 1
        return httpx.Response(status, json={"code": code})

    way.handle_request = refuse_to_tell  # type: ignore[method-assign]
    installation.take(Step("A", "sign in ada", meanwhile=Step("B", "sign in ada")))
    assert asked == count


def test_threads_that_sign_in_one_after_another_do_so_in_that_order() -> None:
    """The second began to wait before the first was answered, by a function whose clock is ahead."""
    installation = Installation(has_lock=False)
    installation.server.ahead = [5, 0]
    client, core = installation.ways["A"].client, installation.ways["A"].client._core
    second = core.sign_in("sign_in", "bob", "bob-0", None)
    assert core.turns.try_begin("sign_in")
    assert isinstance(next(second), Yield)
    core.turns.end("sign_in")
    client.sign_in("ada", "ada-0")
    client._drive(second)
    assert client.me()["email"] == "bob"


@pytest.mark.parametrize("ahead", [3600, -3600, 365 * 86400])
def test_sign_out_before_any_reply_has_told_the_time_counts_from_that_reply(ahead: float) -> None:
    """The machine's clock was set since the skew was stored. What another process could not store before has ended, and who
    signs in later where the storage fails stays signed in."""
    for is_before in (True, False):
        installation = Installation(has_lock=True)
        steps = [Step("A", "sign in ada"), Step("B", "look"), Step("B", "storage cut off"), Step("B", "wait 60")]
        out = [Step("C", f"clock {ahead}"), Step("C", "restart"), Step("C", "sign out"), Step("C", "wait 60")]
        into = [Step("B", "sign in bob"), Step("C", "wait 60")]
        for step in [*steps, *(into if is_before else out), *(out if is_before else into)]:
            installation.take(step)
        installation.judge_end()
        stored = installation.stored()
        assert (stored and stored[0].user) == (None if is_before else "bob")


def test_lost_refresh_for_an_api_is_followed_by_a_refresh_at_the_next_call() -> None:
    """The access token for Latchkey lives for minutes, and the old refresh token counts for the grace alone."""
    steps = [
        Step("A", "token for orders", ("lost", "busy for a minute")),
        Step("A", "wait 20"),
        Step("A", "me"),
        Step("A", "wait 1000"),
        Step("A", "me"),
    ]
    run(steps, has_lock=True)
