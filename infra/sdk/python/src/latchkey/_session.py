"""What is kept about who is signed in: as a value, as text, and what may replace what."""

from __future__ import annotations

import json
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, TypeGuard, TypeVar, cast

from ._errors import LatchkeyError
from .types import Session, SignedIn, User

T = TypeVar("T")

_VERSION: Final = 1
_LONGEST_HEADER: Final = 8192
log: Final = logging.getLogger("latchkey")


@dataclass(frozen=True)
class Held:
    """The tokens of a session and whose they are. Its representation shows no token."""

    access_token: str
    refresh_token: str
    expires_at: float
    """When the access token expires, in epoch seconds of the server's clock."""
    expires_in: float
    """How long the access token lived when it was new, in seconds."""
    session: Session
    user: User | None

    def __repr__(self) -> str:
        return f"<Held session={self.session['id']}>"

    def signed_in(self) -> SignedIn:
        return {"session": self.session, "user": self.user}

    def created_at(self) -> float | None:
        """When the session began, in epoch seconds of the server's clock; ``None`` if that cannot be read."""
        try:
            return datetime.fromisoformat(self.session["created_at"].replace("Z", "+00:00")).timestamp()
        except (KeyError, AttributeError, TypeError, ValueError, OverflowError):
            return None

    def is_of_same_user(self, other: Held) -> bool:
        """Whether a request that was meant for the other may be sent with this one."""
        if self.user is not None and other.user is not None:
            return self.user["id"] == other.user["id"]
        return self.session["id"] == other.session["id"]

    def has_same_token(self, other: Held | None) -> bool:
        """Whether the other is of the same session and has the same refresh token."""
        return other is not None and self.session["id"] == other.session["id"] and self.refresh_token == other.refresh_token

    def is_of_same_proof(self, other: Held) -> bool:
        """Whether it is the same session, and the password was not proved again between the two."""
        mine, others = self.session, other.session
        return mine["id"] == others["id"] and mine.get("authenticated_at") == others.get("authenticated_at")


@dataclass(frozen=True)
class Document:
    """All that is stored. The device's id and token outlive a sign-out."""

    held: Held | None = None
    device_id: str | None = None
    device_token: str | None = None
    clock_skew: float = 0
    """How far the server's clock was ahead of the wall clock when this was written, in seconds."""
    replaced_until: float = 0
    """Until when, by the wall clock, the reply of a request that replaces the session may still come."""
    since: float = 0
    """Since when ``held`` is who is signed in, or the user has signed out, in epoch seconds of the server's clock; 0 if that is
    not known. A refusal ends its session and nothing later, so it leaves the time as it was. What could not be stored is
    compared by it with what another process has stored meanwhile."""
    refused_user_id: str | None = None
    """The user whose session the server has refused, if that is why nobody is signed in, and not a sign-out."""

    def __repr__(self) -> str:
        return f"<Document {self.held}>"


@dataclass(frozen=True)
class Change:
    """What ``on_change`` receives: who is signed in now, and why that changed.

    ``signed_in`` and ``signed_out`` also tell of other processes, at the next call here. ``reason`` is the refusal that
    ended the session; it is ``None`` if the user has signed out.
    """

    kind: Literal["signed_in", "refreshed", "signed_out"]
    session: Session | None
    user: User | None
    reason: LatchkeyError | None = None


def encode(document: Document) -> str:
    held = document.held
    return json.dumps(
        {
            "version": _VERSION,
            "device_id": document.device_id,
            "device_token": document.device_token,
            "clock_skew": document.clock_skew,
            "replaced_until": document.replaced_until,
            "since": document.since,
            "refused_user_id": document.refused_user_id,
            "held": None
            if held is None
            else {
                "access_token": held.access_token,
                "refresh_token": held.refresh_token,
                "expires_at": held.expires_at,
                "expires_in": held.expires_in,
                "session": held.session,
                "user": held.user,
            },
        }
    )


def decode(stored: dict[str, Any] | None) -> Document:
    """The document of a stored text that `parse` has read. One that cannot be read says that nobody is signed in."""
    fields = stored or {}
    device_id, device_token = fields.get("device_id"), fields.get("device_token")
    refused_user_id = fields.get("refused_user_id")
    skew, until = read_number(fields.get("clock_skew")), read_number(fields.get("replaced_until"))
    held = _decode_held(fields.get("held")) if fields.get("version") == _VERSION else None
    return Document(
        held=held,
        device_id=device_id if fits_header(device_id) else None,
        device_token=device_token if isinstance(device_token, str) else None,
        clock_skew=skew or 0,
        replaced_until=until or 0,
        refused_user_id=refused_user_id if isinstance(refused_user_id, str) else None,
        since=read_number(fields.get("since")) or (held.created_at() if held else None) or 0,
    )


def parse(text: str | None) -> dict[str, Any] | None:
    """The fields of a stored text; ``None`` if there is none, or one that is broken."""
    try:
        stored = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", stored) if isinstance(stored, dict) else None


def fits_header(text: object) -> TypeGuard[str]:
    """Whether a header can hold the text: a line break, a sign that is not ASCII, or too much of it would stop each request."""
    return isinstance(text, str) and 0 < len(text) <= _LONGEST_HEADER and text.isascii() and text.isprintable()


def read_number(value: object) -> float | None:
    """A number that can be counted with. JSON has longer ones, and Python reads ``NaN`` and ``Infinity`` too."""
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _decode_held(stored: object) -> Held | None:
    if not isinstance(stored, dict):
        return None
    fields = cast("dict[str, Any]", stored)
    access_token, refresh_token = fields.get("access_token"), fields.get("refresh_token")
    expires_at, expires_in = read_number(fields.get("expires_at")), read_number(fields.get("expires_in"))
    session, user = fields.get("session"), fields.get("user")
    if not isinstance(session, dict) or not isinstance(cast("dict[str, Any]", session).get("id"), str):
        return None
    if not isinstance(user, dict) or not isinstance(cast("dict[str, Any]", user).get("id"), str):
        user = None
    if not fits_header(access_token) or not fits_header(refresh_token) or expires_at is None or expires_in is None:
        return None
    return Held(
        access_token,
        refresh_token,
        expires_at,
        expires_in,
        cast(Session, session),
        cast("User | None", user),
    )


class Vault:
    """The storage as the client sees it: what it held when it was last read, and what could not be written.

    The storage is the truth, because others may share it. Memory counts only while the storage fails: what was received
    and could not be stored is kept here, and written when the storage can be read and still holds what it replaces.
    """

    def __init__(self) -> None:
        self.document: Document | None = None
        self.changes: deque[Change] = deque()
        self._text: str | None = None
        self.is_unsaved = False
        """Whether memory has what the storage has not taken."""
        # What could not be stored has replaced these, one after another. Others may have stored any of them, so all are
        # kept: a thousand, in 4 MB, are the refreshes of ten days.
        self._replaced: deque[Held] = deque(maxlen=1000)
        self._ended_id: str | None = None

    def end(self, session_id: str) -> None:
        """Notes that the user has ended a session: what another process stores of it afterwards does not bring it back."""
        self._ended_id = session_id

    def update(
        self,
        loaded: str | Exception | None,
        decide: Callable[[Document], tuple[Document, T]],
        reason: LatchkeyError | None = None,
        *,
        is_blind: bool = False,
    ) -> tuple[T, str | None]:
        """Decides on what the storage holds. Returns the result and the text to store, if there is one to store.

        While the storage cannot be read, only what ``is_blind`` says is stored: somebody else may have signed in there, or
        another process may have stored a later token. All else waits until it is known what the storage holds.

        Nothing else may read or write the storage between ``loaded`` and the end of ``settle``.
        """
        before = self._read(loaded, is_blind=is_blind)
        after, result = decide(before)
        if after != before:
            if before.held is not None and not before.held.has_same_token(after.held):
                self._replaced.append(before.held)
            self._become(after, reason)
            self.is_unsaved = True
        is_due = (is_blind and after != before) or not isinstance(loaded, Exception)
        return result, encode(after) if self.is_unsaved and is_due else None

    def settle(self, text: str, error: Exception | None) -> None:
        """Notes whether the text could be stored."""
        if error is None:
            self._text, self.is_unsaved = text, False
            self._replaced.clear()
        else:
            log.warning("the session could not be stored and is kept in memory: %s", type(error).__name__)

    def _read(self, loaded: str | Exception | None, *, is_blind: bool) -> Document:
        if isinstance(loaded, Exception):
            if self.document is None and is_blind:
                return Document()
            if self.document is None:
                raise LatchkeyError("storage_failed", f"The storage cannot be read: {type(loaded).__name__}.") from loaded
            return self.document
        if self.document is not None and loaded == self._text:
            return self.document
        fields = parse(loaded)
        is_broken = loaded is not None and fields is None
        if self.document is not None and is_broken and (self.is_unsaved or (loaded or "").strip() not in ("", "null")):
            return self.document  # A storage may fail halfway, and a text that is being written says nothing.
        stored = found = decode(fields)
        if found.held is not None and found.held.session["id"] == self._ended_id:
            # Another process has written it by mistake, over our sign-out or over what has followed that.
            found = _take(self.document or Document(), found)
        merged = found
        if self.document is not None and self.is_unsaved:
            merged = self._merge_unsaved(self.document, found)
        self._text, self.is_unsaved = loaded, merged != stored
        if merged == found:
            self._replaced.clear()
        self._become(merged, None)
        return merged

    def _merge_unsaved(self, ours: Document, found: Document) -> Document:
        """What to go on with when the storage holds another text than it did, and we have what could not be stored.

        Of two tokens of one session, the one that has replaced the other counts. Otherwise the later counts, by the time of
        the server: of two sign-ins, and of a sign-in and a sign-out.
        """
        stored, theirs = decode(parse(self._text)), found.held
        if (ours.held, ours.since) == (stored.held, stored.since):
            return found  # It is a note, and not about who is signed in.
        if theirs is None and not found.since:
            is_ours = ours.since > stored.since  # Who removes the text ends what it has held.
        else:
            is_replaced = theirs is not None and any(theirs.has_same_token(one) for one in (ours.held, *self._replaced))
            is_ours = is_replaced or ours.since > found.since
        return _take(ours, found) if is_ours else found

    def _become(self, after: Document, reason: LatchkeyError | None) -> None:
        is_first = self.document is None
        old, new = (self.document or Document()).held, after.held
        self.document = after
        if new is None:
            if old is not None:
                self.changes.append(Change("signed_out", None, None, reason))
        elif old is None or old.session["id"] != new.session["id"]:
            if not is_first:
                self.changes.append(Change("signed_in", new.session, new.user))
        elif old.access_token != new.access_token:
            self.changes.append(Change("refreshed", new.session, new.user))


def _take(ours: Document, found: Document) -> Document:
    """What is found, with who is signed in by ours."""
    return replace(found, held=ours.held, since=ours.since, refused_user_id=ours.refused_user_id)


def begin(document: Document, held: Held) -> Document:
    """What to store of a session that has just begun and follows what the document says."""
    return replace(document, held=held, since=_later(held.created_at() or 0, document), refused_user_id=None)


def end_by_user(document: Document, now: float) -> Document:
    """What is left when the user has signed out. ``now`` is the server's time, or 0 if that is not known: it ends what the
    document says, then, and nothing that could not be stored before."""
    return replace(document, held=None, since=_later(now, document), refused_user_id=None)


def _later(moment: float, document: Document) -> float:
    """Clocks differ, and what follows something is later than it all the same (Lamport)."""
    return max(moment, document.since + 0.001)


def store_successor(document: Document, began_with: Held, received: Held) -> Document:
    """What to store of a refresh, a reauthentication or a password change that began with ``began_with``.

    Whoever has signed out or signed in again meanwhile is not overwritten, nor is a later refresh token by an earlier
    one. The refresh tokens are compared, not the access tokens: two refreshes within the interval give two access tokens
    and one refresh token, and the successor must win over both.
    """
    stored = document.held
    if stored is None or stored.session["id"] != began_with.session["id"]:
        return document
    held = replace(received, user=received.user or stored.user)
    if received.session["id"] != began_with.session["id"]:
        return begin(document, held)
    if stored.refresh_token in (began_with.refresh_token, received.refresh_token):
        return replace(document, held=held)
    return document


def store_refresh_token(document: Document, began_with: Held, received: Held) -> Document:
    """What to store of a refresh whose access token is for another API: all but that token, by the same rule."""
    after = store_successor(document, began_with, received)
    if after == document or document.held is None:
        return document
    return replace(document, held=replace(document.held, refresh_token=received.refresh_token, session=received.session))
