"""The requests of each operation and the replies to them, as data. Nothing is sent here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote

from ._errors import LatchkeyError
from ._session import fits_header, read_number
from .types import InvalidValue, Tokens


class Operation(NamedTuple):
    """What is sent, and the statuses of the replies that say that it is done."""

    method: str
    path: str
    done_by: frozenset[int]


_OK, _NO_CONTENT, _ACCEPTED = frozenset({200}), frozenset({204}), frozenset({202})
OPERATIONS: Final = {
    "sign_in": Operation("POST", "/v1/auth/login", _OK),
    "register": Operation("POST", "/v1/auth/register", frozenset({201}) | _ACCEPTED),
    "refresh": Operation("POST", "/v1/auth/refresh", _OK),
    "sign_out": Operation("POST", "/v1/auth/logout", _NO_CONTENT),
    "reauthenticate": Operation("POST", "/v1/auth/reauthenticate", _OK),
    "verify_email": Operation("POST", "/v1/auth/verify-email", _NO_CONTENT),
    "request_password_reset": Operation("POST", "/v1/auth/password-reset", _ACCEPTED),
    "confirm_password_reset": Operation("POST", "/v1/auth/password-reset/confirm", _NO_CONTENT),
    "get_sessions": Operation("GET", "/v1/sessions", _OK),
    "get_session": Operation("GET", "/v1/sessions/current", _OK),
    "rename_session": Operation("PATCH", "/v1/sessions/{id}", _OK),
    "revoke_session": Operation("DELETE", "/v1/sessions/{id}", _NO_CONTENT),
    "revoke_others": Operation("POST", "/v1/sessions/revoke-all", _OK),
    "logout_all": Operation("POST", "/v1/sessions/revoke-all", _OK),
    "remove_expired_sessions": Operation("DELETE", "/v1/sessions/expired", _OK),
    "me": Operation("GET", "/v1/me", _OK),
    "change_password": Operation("PUT", "/v1/me/password", _OK),
    "delete_account": Operation("POST", "/v1/me/delete", _NO_CONTENT),
    "activity": Operation("GET", "/v1/me/activity", _OK),
    "export_data": Operation("GET", "/v1/me/export", _OK),
    "change_email": Operation("PUT", "/v1/me/email", _ACCEPTED),
    "request_email_verification": Operation("POST", "/v1/me/verify-email", _ACCEPTED),
}
"""The operation of each method of the clients. The contract test compares them with the OpenAPI document."""

_CODES_BY_STATUS: Final = {
    429: "too_many_requests",
    500: "internal_error",
    502: "temporarily_unavailable",
    503: "temporarily_unavailable",
    504: "temporarily_unavailable",
}


@dataclass(frozen=True)
class Request:
    """A request to Latchkey. Its representation shows no header and no body, because they hold secrets."""

    operation: Operation
    url: str
    headers: dict[str, str]
    params: dict[str, str]
    json: dict[str, Any] | None

    @property
    def method(self) -> str:
        return self.operation.method

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url}>"

    def with_token(self, access_token: str) -> Request:
        return replace(self, headers={**self.headers, "Authorization": f"Bearer {access_token}"})


@dataclass(frozen=True)
class Reply:
    """A reply as it came. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    fields: dict[str, Any] | None = field(init=False)
    """The JSON object of the body; ``None`` if that is anything else."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", _read_fields(self.body))

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"


def build(
    api: str,
    name: str,
    body: dict[str, Any] | None = None,
    *,
    session_id: str = "",
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Request:
    """The request of an operation. A field of the body whose value is ``...`` is left out."""
    operation = OPERATIONS[name]
    if session_id in {".", "..", "expired"}:  # other routes
        raise ValueError("a session id is a UUID")
    url = api + operation.path.replace("{id}", quote(session_id, safe=""))
    if body is not None:
        body = {field: value for field, value in body.items() if value is not ...}
    return Request(operation, url, headers or {}, params or {}, body)


def check(request: Request, reply: Reply) -> None:
    """Raises unless the reply says, by its documented status, that the request has done its work.

    A firewall in between may answer 202 too, without a body as Latchkey does (the challenge of AWS WAF), but it does not
    name the request.
    """
    if not 200 <= reply.status < 300:
        raise read_problem(reply)
    is_named = not reply.body and "x-request-id" in reply.headers
    if reply.status not in request.operation.done_by or (reply.status == 202 and not is_named):
        raise unexpected(reply)


def is_of_latchkey(reply: Reply) -> bool:
    """Whether it is told by Latchkey, and not by a proxy or a portal in between, which has a clock of its own."""
    if 200 <= reply.status < 300:
        return reply.fields is not None or (reply.status in (202, 204) and not reply.body)
    return reply.fields is not None and isinstance(reply.fields.get("code"), str)


def read_object(reply: Reply) -> dict[str, Any]:
    """The JSON object of a successful reply."""
    if reply.fields is None:
        raise unexpected(reply)
    return reply.fields


def read_count(reply: Reply, field: str) -> int:
    """The number in the JSON object of a successful reply."""
    count = read_object(reply).get(field)
    if not isinstance(count, int):
        raise unexpected(reply)
    return count


def read_tokens(reply: Reply) -> Tokens:
    """The tokens of a successful reply."""
    value = read_object(reply)
    session = value.get("session")
    # What could not be sent or counted with would be stored, and would sign out when it is read again.
    texts = [value.get("access_token"), value.get("refresh_token")]
    if isinstance(session, dict):
        texts.append(cast("dict[str, Any]", session).get("id"))
    if len(texts) < 3 or not all(fits_header(text) for text in texts) or read_number(value.get("expires_in")) is None:
        raise unexpected(reply)
    return cast("Tokens", value)


def unexpected(reply: Reply) -> LatchkeyError:
    """What comes from a proxy or a captive portal in between: it says nothing about the session."""
    return LatchkeyError("unexpected_reply", "This is not a reply of Latchkey.", status=reply.status)


def read_problem(reply: Reply) -> LatchkeyError:
    """The error of an unsuccessful reply. One without a code, such as API Gateway's, has one by its status."""
    problem = reply.fields or {}
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


def _read_fields(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _read_seconds(value: str | None) -> float | None:
    """The seconds of ``Retry-After``. Its other form, a date, is never Latchkey's."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else None
