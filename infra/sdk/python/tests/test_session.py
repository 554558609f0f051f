"""What may replace what in the storage, for orders of events that take minutes on a real stack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from latchkey._session import Document, Held, Vault, decode, encode, store_refresh_token, store_successor
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


UNREADABLE = PermissionError("no")


def store(vault: Vault, loaded: str | Exception | None, after: Held | None, *, is_blind: bool = False) -> str | None:
    """What a client writes that wants to store this; all that it writes is stored."""
    _, text = vault.update(loaded, lambda document: (replace(document, held=after), None), is_blind=is_blind)
    if text is not None:
        vault.settle(text, None)
    return text


def read(vault: Vault, loaded: str | Exception | None) -> tuple[Held | None, str | None]:
    """Whom a client finds, and what it writes."""
    return vault.update(loaded, lambda document: (document, document.held))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # Older than ours: what was there before, and what another one has stored of the first of our refreshes.
        ("r1", "r3"),
        ("r2", "r3"),
        ("r3", "r3"),
        ("r4", "r4"),
        (None, None),
    ],
)
def test_tokens_that_could_not_be_stored_replace_older_ones_alone(found: str | None, expected: str | None) -> None:
    vault = Vault()
    assert read(vault, encode(Document(BEGAN))) == (BEGAN, None)
    assert store(vault, UNREADABLE, held("s", "r2", "a2")) is None
    assert store(vault, UNREADABLE, held("s", "r3", "a3")) is None
    after, _ = read(vault, encode(Document(held("s", found, "a9") if found else None, device_id="noted")))
    assert (after and after.refresh_token) == expected


@pytest.mark.parametrize(
    ("ours", "found", "expected"),
    [
        # A password change gives a new session, also if the old one was refreshed meanwhile.
        (held("n", "r1", "a1"), BEGAN, "n"),
        (held("n", "r1", "a1"), held("s", "r2", "a2"), "n"),
        (held("n", "r1", "a1"), held("t", "r1", "a1"), "t"),
        # A refusal is about the token that was sent.
        (None, BEGAN, None),
        (None, held("s", "r2", "a2"), "s"),
        (None, held("t", "r1", "a1"), "t"),
    ],
)
def test_what_could_not_be_stored_ends_the_session_before_alone(ours: Held | None, found: Held, expected: str | None) -> None:
    vault = Vault()
    read(vault, encode(Document(BEGAN)))
    assert store(vault, UNREADABLE, ours) is None
    after, _ = read(vault, encode(Document(found, device_id="noted")))
    assert (after and after.session["id"]) == expected


def test_only_a_sign_in_is_written_while_the_text_cannot_be_read() -> None:
    vault = Vault()
    read(vault, encode(Document(BEGAN)))
    assert store(vault, UNREADABLE, held("s", "r2", "a2")) is None
    assert store(vault, UNREADABLE, held("s", "r2", "a2"), is_blind=True) is None, "a sign-in that the user has taken back"
    assert store(vault, UNREADABLE, None) is None
    signed_in = store(vault, UNREADABLE, held("t", "r1", "a1"), is_blind=True)
    assert signed_in is not None
    other = held("u", "r1", "a1")
    assert store(vault, UNREADABLE, held("t", "r2", "a2")) is None
    assert read(vault, encode(Document(other))) == (other, None)


@pytest.mark.parametrize("is_stored", [True, False])
def test_sign_out_of_another_counts_although_nobody_was_signed_in_before(is_stored: bool) -> None:
    """The sign-in was stored, or has given way to somebody else's: what it has replaced is of no concern any more."""
    vault = Vault()
    assert read(vault, encode(Document())) == (None, None)
    vault.update(encode(Document()), lambda document: (replace(document, held=BEGAN), None))
    if is_stored:
        vault.settle(encode(Document(BEGAN)), None)
        found = BEGAN
    else:
        found = held("t", "r1", "a1")
    assert read(vault, encode(Document(found))) == (found, None)
    assert store(vault, UNREADABLE, replace(found, refresh_token="r2")) is None
    assert read(vault, encode(Document())) == (None, None)


def test_session_that_the_user_has_ended_does_not_come_back() -> None:
    vault = Vault()
    read(vault, encode(Document(BEGAN)))
    vault.end("s")
    store(vault, encode(Document(BEGAN)), None)
    vault.changes.clear()
    after, text = read(vault, encode(Document(held("s", "r2", "a2"))))
    assert after is None
    assert text is not None
    assert decode(text).held is None
    assert not vault.changes
    other = held("t", "r1", "a1")
    assert read(vault, encode(Document(other))) == (other, None)


def test_text_and_back() -> None:
    document = Document(BEGAN, "device", "token", -3600.5)
    assert decode(encode(document)) == document
    assert decode(encode(Document())) == Document()
