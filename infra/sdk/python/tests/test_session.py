"""What may replace what in the storage, for orders of events that take minutes on a real stack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from latchkey._session import Document, Held, decode, encode, store_refresh_token, store_successor
from latchkey.types import User


def held(session_id: str, refresh_token: str, access_token: str) -> Held:
    session: Any = {"id": session_id}
    ada: User = {"id": "ada", "email": None, "email_verified": False, "created_at": ""}
    return Held(access_token, refresh_token, 0, 900, session, ada)


BEGAN = held("s", "r1", "a1")


@pytest.mark.parametrize(
    ("stored", "received", "expected"),
    [
        # The usual case, and a young token that came back as it was.
        (BEGAN, held("s", "r2", "a2"), ("r2", "a2")),
        (BEGAN, held("s", "r1", "a2"), ("r1", "a2")),
        # Another one has stored the same successor, or a new access token alone.
        (held("s", "r2", "a3"), held("s", "r2", "a2"), ("r2", "a2")),
        (held("s", "r1", "a3"), held("s", "r2", "a2"), ("r2", "a2")),
        # Another one has gone further: an old refresh token must not come back.
        (held("s", "r3", "a3"), held("s", "r2", "a2"), ("r3", "a3")),
        (held("s", "r2", "a3"), held("s", "r1", "a2"), ("r2", "a3")),
        # Somebody has signed out, or in again.
        (None, held("s", "r2", "a2"), None),
        (held("t", "r9", "a9"), held("s", "r2", "a2"), ("r9", "a9")),
        # A password change gives a new session, also if the old one was refreshed meanwhile.
        (held("s", "r3", "a3"), held("n", "r1", "a1"), ("r1", "a1")),
        (held("t", "r9", "a9"), held("n", "r1", "a1"), ("r9", "a9")),
    ],
)
def test_late_results(stored: Held | None, received: Held, expected: tuple[str, str] | None) -> None:
    after = store_successor(Document(stored), BEGAN, received).held
    assert (after and (after.refresh_token, after.access_token)) == expected


def test_refresh_for_an_audience_replaces_the_refresh_token_alone() -> None:
    after = store_refresh_token(Document(BEGAN), BEGAN, held("s", "r2", "for orders")).held
    assert after == replace(BEGAN, refresh_token="r2")
    later = Document(held("s", "r3", "a3"))
    assert store_refresh_token(later, BEGAN, held("s", "r2", "for orders")) == later
    assert store_refresh_token(Document(), BEGAN, held("s", "r2", "for orders")) == Document()


def test_text_and_back() -> None:
    document = Document(BEGAN, "device", "token", -3600.5)
    assert decode(encode(document)) == document
    assert decode(encode(Document())) == Document()
