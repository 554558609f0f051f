"""The requests of each operation and the replies to them, as data. Nothing is sent here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote

from ._errors import LatchkeyError
from .types import InvalidValue, Tokens

OPERATIONS: Final[dict[str, tuple[str, str]]] = {
    "sign_in": ("POST", "/v1/auth/login"),
    "register": ("POST", "/v1/auth/register"),
    "refresh": ("POST", "/v1/auth/refresh"),
    "sign_out": ("POST", "/v1/auth/logout"),
    "reauthenticate": ("POST", "/v1/auth/reauthenticate"),
    "verify_email": ("POST", "/v1/auth/verify-email"),
    "request_password_reset": ("POST", "/v1/auth/password-reset"),
    "confirm_password_reset": ("POST", "/v1/auth/password-reset/confirm"),
    "get_sessions": ("GET", "/v1/sessions"),
    "get_session": ("GET", "/v1/sessions/current"),
    "rename_session": ("PATCH", "/v1/sessions/{id}"),
    "revoke_session": ("DELETE", "/v1/sessions/{id}"),
    "revoke_others": ("POST", "/v1/sessions/revoke-all"),
    "logout_all": ("POST", "/v1/sessions/revoke-all"),
    "remove_expired_sessions": ("DELETE", "/v1/sessions/expired"),
    "me": ("GET", "/v1/me"),
    "change_password": ("PUT", "/v1/me/password"),
    "delete_account": ("POST", "/v1/me/delete"),
    "activity": ("GET", "/v1/me/activity"),
    "export_data": ("GET", "/v1/me/export"),
    "change_email": ("PUT", "/v1/me/email"),
    "request_email_verification": ("POST", "/v1/me/verify-email"),
}
"""Method and path of each method of the clients. The contract test compares them with the OpenAPI document."""

_CODES_BY_STATUS: Final = {429: "too_many_requests", 500: "internal_error", 503: "temporarily_unavailable"}


@dataclass(frozen=True)
class Request:
    """A request to Latchkey. Its representation shows no header and no body, because they hold secrets."""

    method: str
    url: str
    headers: dict[str, str]
    params: dict[str, str]
    json: dict[str, Any] | None

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url}>"

    def with_token(self, access_token: str) -> Request:
        headers = {**self.headers, "Authorization": f"Bearer {access_token}"}
        return Request(self.method, self.url, headers, self.params, self.json)


@dataclass(frozen=True)
class Reply:
    """A reply as it came. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"


def build(
    api: str,
    operation: str,
    body: dict[str, Any] | None = None,
    *,
    session_id: str = "",
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Request:
    """The request of an operation. A field of the body whose value is ``...`` is left out."""
    method, path = OPERATIONS[operation]
    if session_id in {".", ".."}:
        raise ValueError("a session id is a UUID")
    url = api + path.replace("{id}", quote(session_id, safe=""))
    if body is not None:
        body = {name: value for name, value in body.items() if value is not ...}
    return Request(method, url, headers or {}, params or {}, body)


def read_json(reply: Reply) -> Any:
    """The JSON of a successful reply; ``None`` if it has no body."""
    if not reply.body:
        return None
    try:
        return json.loads(reply.body)
    except ValueError:
        raise unexpected(reply) from None


def read_object(reply: Reply) -> dict[str, Any]:
    """The JSON object of a successful reply."""
    value = read_json(reply)
    if not isinstance(value, dict):
        raise unexpected(reply)
    return cast("dict[str, Any]", value)


def read_tokens(reply: Reply) -> Tokens:
    """The tokens of a successful reply."""
    value = read_object(reply)
    session = value.get("session")
    texts = [value.get("access_token"), value.get("refresh_token")]
    if isinstance(session, dict):
        texts.append(cast("dict[str, Any]", session).get("id"))
    if len(texts) < 3 or not all(isinstance(text, str) and text for text in texts):
        raise unexpected(reply)
    if not isinstance(value.get("expires_in"), int):
        raise unexpected(reply)
    return cast("Tokens", value)


def unexpected(reply: Reply) -> LatchkeyError:
    """What comes from a proxy or a captive portal in between: it says nothing about the session."""
    return LatchkeyError("unexpected_reply", "This is not a reply of Latchkey.", status=reply.status)


def read_problem(reply: Reply) -> LatchkeyError:
    """The error of an unsuccessful reply. One without a code, such as API Gateway's, has one by its status."""
    try:
        value = json.loads(reply.body)
    except ValueError:
        value = None
    problem = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    code, detail, request_id = problem.get("code"), problem.get("detail"), problem.get("request_id")
    errors = problem.get("errors")
    return LatchkeyError(
        code if isinstance(code, str) else _CODES_BY_STATUS.get(reply.status, "unexpected_reply"),
        detail if isinstance(detail, str) else f"The reply has the status {reply.status}.",
        status=reply.status,
        request_id=request_id if isinstance(request_id, str) else reply.headers.get("x-request-id"),
        retry_after=_read_seconds(reply.headers.get("retry-after")),
        errors=cast("list[InvalidValue]", errors) if isinstance(errors, list) else (),
    )


def _read_seconds(value: str | None) -> float | None:
    """The seconds of ``Retry-After``. Its other form, a date, is never Latchkey's."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else None
