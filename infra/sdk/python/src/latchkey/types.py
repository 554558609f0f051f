"""What Latchkey answers with, as the OpenAPI document describes it.

All are dictionaries as they came over the wire: a field that this version does not know is in them all the same. Times
are RFC 3339 in UTC, such as ``2026-03-01T12:00:00.000Z``; ids are UUIDs in lower case.
"""

from __future__ import annotations

from typing import Literal, TypedDict

KnownCode = Literal[
    "account_disabled",
    "cross_site_request",
    "edge_required",
    "email_not_verified",
    "email_taken",
    "headers_too_large",
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
    "registration_closed",
    "session_not_found",
    "temporarily_unavailable",
    "too_many_requests",
    "unauthorized_client",
    "unsupported_media_type",
    "uri_too_long",
    "validation_failed",
    "weak_password",
    "wrong_password",
]
"""The codes that Latchkey answers a user's client with. New ones come: treat an unknown one as its status alone."""


class Session(TypedDict):
    """One place where a user is signed in.

    ``name`` is what its owner called it, ``device_name`` what the device said of itself. ``device_type`` is ``desktop``,
    ``mobile``, ``tablet``, ``tv``, ``bot``, ``unknown`` or a later word. ``new_device`` and ``unusual_location`` say that
    the sign-in was out of the ordinary.
    """

    id: str
    name: str | None
    device_name: str
    device_type: str
    device_id: str | None
    ip_address: str | None
    user_agent: str | None
    location_city: str | None
    location_country: str | None
    new_device: bool
    unusual_location: bool
    created_at: str
    authenticated_at: str | None
    last_used_at: str
    expires_at: str
    is_current: bool


class SessionList(TypedDict):
    """The live sessions of a user, most recently used first, how many there are, and how many may be."""

    sessions: list[Session]
    total: int
    limit: int


class User(TypedDict):
    """A user. ``id`` never changes, so use it as your key; ``email`` may be ``None`` for people who sign in elsewhere."""

    id: str
    email: str | None
    email_verified: bool
    created_at: str


class Account(User):
    """The caller's own account. ``roles`` is what they may do in addition to using it.

    Where ``has_password`` is false, the user signs in elsewhere: do not ask for a password, which is 409 ``no_password``.
    """

    has_password: bool
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


class ActivityEntry(TypedDict):
    """Something that happened to an account. What is not known is ``None``.

    ``type`` and ``reason`` are words of the events; new ones come, so show one that you do not know as it is. ``actor`` says
    by whom: ``owner``, ``admin``, ``client``, ``operator``, ``system``, ``link``, ``nobody`` or a later word.
    """

    id: str
    type: str
    time: str
    session_id: str | None
    is_current_session: bool
    device_name: str | None
    device_type: str | None
    name: str | None
    ip_address: str | None
    location_city: str | None
    location_country: str | None
    reason: str | None
    actor: str | None
    new_device: bool | None
    unusual_location: bool | None


class ActivityPage(TypedDict):
    """Part of what happened to an account, newest first. ``next_cursor`` asks for the next part; ``None`` ends it."""

    activity: list[ActivityEntry]
    next_cursor: str | None


class Identity(TypedDict):
    """Who a user is to the identity provider that they sign in with."""

    issuer: str
    subject: str


class ExportedPassword(TypedDict):
    """That a password is set. ``version`` is 1 for that of the registration, and 1 more after each change."""

    version: int


class ExportedAccount(Account):
    """An account with everything that is stored of it. Either ``password`` or ``identity`` is ``None``."""

    password: ExportedPassword | None
    email_verified_at: str | None
    email_changes: int
    devices_since: str | None
    identity: Identity | None


class ExportedSession(Session):
    """A session with everything that is stored of it. ``state`` is ``live``, ``ended``, ``expired`` or a later word."""

    state: str
    created_ip_address: str | None
    coordinates: str | None
    renamed_at: str | None
    authentication_methods: list[str]
    refreshes: int
    refreshed_at: str
    absolute_expires_at: str
    deleted_after: str


class ExportedRefusedSignIn(TypedDict):
    """The last refused sign-in of those that are counted together. ``reason`` is a word of the event ``sign_in.failed``."""

    time: str
    reason: str
    known_device: bool
    device_name: str
    device_type: str
    ip_address: str | None
    location_city: str | None
    location_country: str | None
    attempts: int
    blocked_until: str | None


class Export(TypedDict):
    """Everything that is stored about a user. ``has_more_sessions`` and ``has_more_activity`` say what did not fit."""

    exported_at: str
    account: ExportedAccount
    sessions: list[ExportedSession]
    has_more_sessions: bool
    refused_sign_ins: list[ExportedRefusedSignIn]
    activity: list[ActivityEntry]
    has_more_activity: bool


class InvalidValue(TypedDict):
    """A value that is not allowed: where it stands in the body (a JSON pointer), why, and the same in words."""

    pointer: str
    code: str
    detail: str
