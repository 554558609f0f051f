"""What Latchkey answers with, as the OpenAPI document describes it.

All are dictionaries as they came over the wire: a field that this version does not know is in them all the same. Times
are RFC 3339 in UTC, such as ``2026-03-01T12:00:00.000Z``; ids are UUIDs in lower case.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

KnownCode = Literal[
    "account_disabled",
    "cross_site_request",
    "edge_required",
    "email_not_verified",
    "email_taken",
    "insufficient_scope",
    "internal_error",
    "invalid_client",
    "invalid_credentials",
    "invalid_link",
    "invalid_refresh_token",
    "invalid_request",
    "invalid_token",
    "no_password",
    "password_unchanged",
    "payload_too_large",
    "reauthentication_required",
    "refresh_token_reused",
    "session_not_found",
    "temporarily_unavailable",
    "too_many_requests",
    "unauthorized_client",
    "unsupported_media_type",
    "validation_failed",
    "weak_password",
    "wrong_password",
]
"""The codes that Latchkey answers a user's client with. New ones come: treat an unknown one as its status alone."""


class _SessionBase(TypedDict):
    id: str
    name: str | None
    device_name: str
    device_type: str
    device_id: str | None
    ip_address: str | None
    user_agent: str | None
    location_city: str | None
    location_country: str | None
    created_at: str
    authenticated_at: str | None
    last_used_at: str
    expires_at: str
    is_current: bool


class Session(_SessionBase, total=False):
    """One place where a user is signed in.

    ``name`` is what its owner called it, ``device_name`` what the device said of itself. ``device_type`` is ``desktop``,
    ``mobile``, ``tablet``, ``tv``, ``bot``, ``unknown`` or a later word.
    """

    new_device: bool
    unusual_location: bool


class SessionList(TypedDict):
    """The live sessions of a user, most recently used first, how many there are, and how many may be."""

    sessions: list[Session]
    total: int
    limit: int


class _UserBase(TypedDict):
    id: str
    email: str | None
    created_at: str


class User(_UserBase, total=False):
    """A user. ``id`` never changes, so use it as your key; ``email`` is ``None`` for people who sign in elsewhere."""

    email_verified: bool


class Account(User):
    """The caller's own account. ``roles`` is what they may do in addition to using it."""

    roles: list[str]


class SignedIn(TypedDict):
    """Who is signed in now, and with which session. The tokens are in the storage and nowhere else."""

    session: Session
    user: User | None


class _TokensBase(TypedDict):
    access_token: str
    token_type: str
    expires_in: int
    refresh_expires_in: int
    session: Session


class Tokens(_TokensBase, total=False):
    """The reply to a sign-in, a refresh and their like, as it comes over the wire. Times are in seconds."""

    refresh_token: str
    device_token: str
    user: User


class Revoked(TypedDict):
    """How many sessions ended."""

    revoked: int


class Removed(TypedDict):
    """How many ended sessions were removed for good."""

    removed: int


class ActivityPage(TypedDict):
    """Part of what happened to an account, newest first. ``next_cursor`` asks for the next part; ``None`` ends it."""

    activity: list[dict[str, Any]]
    next_cursor: str | None


class InvalidValue(TypedDict):
    """A value that is not allowed: where it stands in the body (a JSON pointer), why, and the same in words."""

    pointer: str
    code: str
    detail: str
