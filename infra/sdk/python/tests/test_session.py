"""What may replace what in the storage, for orders of events that take minutes on a real stack."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from latchkey._session import (
    Document,
    Held,
    Vault,
    begin,
    decode,
    encode,
    end_by_user,
    parse,
    store_refresh_token,
    store_successor,
)
from latchkey.types import User

AT = {letter: 1_772_366_400.0 + number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
BOB: User = {"id": "bob", "email": None, "email_verified": False, "created_at": ""}


def held(session_id: str, refresh_token: str, access_token: str) -> Held:
    """The later a session's letter, the later it began."""
    created_at = datetime.fromtimestamp(AT[session_id], timezone.utc).isoformat(timespec="milliseconds")
    session: Any = {"id": session_id, "created_at": created_at.replace("+00:00", "Z")}
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
        (held("u", "r9", "a9"), held("s", "r2", "a2"), ("r9", "a9")),
        # A password change gives a new session, also if the old one was refreshed meanwhile.
        (held("s", "r3", "a3"), held("t", "r1", "a1"), ("r1", "a1")),
        (held("u", "r9", "a9"), held("t", "r1", "a1"), ("r9", "a9")),
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

    def decide(document: Document) -> tuple[Document, None]:
        is_new = after is not None and (document.held is None or document.held.session["id"] != after.session["id"])
        return begin(document, after) if after and is_new else replace(document, held=after), None

    _, text = vault.update(loaded, decide, is_blind=is_blind)
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
        (held("t", "r1", "a1"), BEGAN, "t"),
        (held("t", "r1", "a1"), held("s", "r2", "a2"), "t"),
        (held("t", "r1", "a1"), held("u", "r1", "a1"), "u"),
        # A refusal is about the token that was sent.
        (None, BEGAN, None),
        (None, held("s", "r2", "a2"), "s"),
        (None, held("u", "r1", "a1"), "u"),
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


BEFORE = begin(Document(), BEGAN)
NEXT = replace(held("t", "r1", "a1"), user=BOB)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # Another process: has signed out before, and after; was refused; was refused as somebody who is later.
        (end_by_user(BEFORE, AT["t"] - 5), "t"),
        (end_by_user(BEFORE, AT["t"] + 5), None),
        (replace(BEFORE, held=None), "t"),
        (replace(begin(BEFORE, held("u", "r1", "a1")), held=None), None),
        # It has signed somebody in before, and after.
        (begin(Document(), held("q", "r1", "a1")), "t"),
        (begin(BEFORE, held("u", "r1", "a1")), "u"),
        # Somebody has removed the text, or an older version has signed out, both at a time that is not known.
        (None, "t"),
        (Document(), "t"),
    ],
)
def test_of_a_sign_in_that_could_not_be_stored_and_what_is_found_the_later_counts(
    found: Document | None, expected: str | None
) -> None:
    vault = Vault()
    read(vault, encode(BEFORE))
    assert store(vault, UNREADABLE, NEXT) is None
    after, _ = read(vault, encode(found) if found else None)
    assert (after and after.session["id"]) == expected


@pytest.mark.parametrize(("found", "expected"), [("s", None), ("t", "t")])
def test_of_a_sign_out_that_could_not_be_stored_and_what_is_found_the_later_counts(found: str, expected: str | None) -> None:
    vault = Vault()
    read(vault, encode(begin(Document(), BEGAN)))
    vault.update(UNREADABLE, lambda document: (end_by_user(document, AT["s"] + 0.5), None))
    after, _ = read(vault, encode(begin(Document(), held(found, "r7", "a7"))))
    assert (after and after.session["id"]) == expected


def test_sign_out_where_nobody_was_signed_in_ends_what_another_could_not_store_before() -> None:
    vault = Vault()
    read(vault, encode(Document()))
    vault.update(UNREADABLE, lambda document: (end_by_user(document, AT["s"] + 0.5), None))
    assert read(vault, encode(begin(Document(), BEGAN)))[0] is None


@pytest.mark.parametrize("text", [None, encode(Document())])
def test_note_of_another_ends_no_sign_in_that_could_not_be_stored(text: str | None) -> None:
    vault = Vault()
    read(vault, text)
    store(vault, UNREADABLE, NEXT)
    assert read(vault, encode(Document(device_id="noted")))[0] == NEXT


@pytest.mark.parametrize(
    ("text", "stored", "unsaved"),
    [("", None, "r2"), ("null", None, "r2"), ('{"version": 1, "he', "r2", "r2"), ("[]", "r2", "r2"), (None, None, None)],
)
def test_text_that_breaks_says_nothing_and_one_that_is_removed_or_emptied_signs_out(
    text: str | None, stored: str | None, unsaved: str | None
) -> None:
    """An empty one says nothing either where the storage may just have failed halfway. The device is kept."""
    before = encode(begin(Document(device_id="device", device_token="token"), BEGAN))
    for is_stored, expected in [(True, stored), (False, unsaved)]:
        vault = Vault()
        read(vault, before)
        store(vault, before if is_stored else UNREADABLE, held("s", "r2", "a2"))
        found, after = read(vault, text)
        assert (found and found.refresh_token) == expected
        assert after is None if is_stored or not expected else decode(parse(after)).device_id == "device"
    vault = Vault()
    read(vault, before)
    vault.update(before, lambda document: (replace(document, replaced_until=1.0), None))
    assert read(vault, "")[0] == BEGAN, "a note that the storage has not taken"


def test_old_text_of_an_ended_session_ends_nobody_who_has_signed_in_since() -> None:
    vault = Vault()
    old = encode(begin(Document(), BEGAN))
    read(vault, old)
    vault.end("s")
    _, text = vault.update(old, lambda document: (begin(end_by_user(document, AT["s"] + 0.5), NEXT), None))
    assert text
    vault.settle(text, None)
    found, text = read(vault, old)
    assert found == NEXT
    assert decode(parse(text)).held == NEXT


def test_sign_in_after_a_sign_out_is_not_lost_to_the_session_before() -> None:
    """Neither could be stored, and another process has refreshed the session before."""
    vault = Vault()
    read(vault, encode(begin(Document(), BEGAN)))
    vault.end("s")
    vault.update(UNREADABLE, lambda document: (end_by_user(document, AT["s"] + 0.5), None))
    store(vault, UNREADABLE, NEXT)
    found, text = read(vault, encode(begin(Document(), held("s", "r2", "a2"))))
    assert found == NEXT
    assert decode(parse(text)).held == NEXT


def test_storage_is_the_truth_for_who_has_only_a_note_to_store() -> None:
    vault, copied = Vault(), begin(Document(), held("b", "r1", "a1"))
    read(vault, encode(begin(Document(), BEGAN)))
    vault.update(UNREADABLE, lambda document: (replace(document, device_id="noted"), None))
    assert read(vault, encode(copied))[0] == copied.held


def test_what_follows_is_later_whatever_the_clocks_say() -> None:
    began = begin(Document(), NEXT)
    ended = end_by_user(began, AT["s"])
    again = begin(ended, BEGAN)
    assert began.since < ended.since < again.since < began.since + 1


def test_session_that_the_user_has_ended_does_not_come_back() -> None:
    vault = Vault()
    read(vault, encode(Document(BEGAN)))
    vault.end("s")
    store(vault, encode(Document(BEGAN)), None)
    vault.changes.clear()
    after, text = read(vault, encode(Document(held("s", "r2", "a2"))))
    assert after is None
    assert text is not None
    assert decode(parse(text)).held is None
    assert not vault.changes
    other = held("t", "r1", "a1")
    assert read(vault, encode(Document(other))) == (other, None)


def test_session_that_comes_back_by_mistake_does_not_hide_the_time_of_its_end() -> None:
    """Another process had read before the sign-out and writes after it. A third has an older sign-in to store."""
    vault, third = Vault(), Vault()
    read(third, encode(begin(Document(), held("a", "r1", "a1"))))
    store(third, UNREADABLE, BEGAN)
    mistaken = encode(begin(Document(), held("b", "r1", "a1")))
    read(vault, mistaken)
    vault.end("b")
    _, ended = vault.update(mistaken, lambda document: (end_by_user(document, AT["t"]), None))
    assert ended
    vault.settle(ended, None)
    assert read(third, read(vault, mistaken)[1] or "")[0] is None


def test_text_and_back() -> None:
    document = Document(BEGAN, "device", "token", -3600.5, 1_772_366_500.5, 1_772_366_420.25)
    assert decode(parse(encode(document))) == document
    ended = replace(document, held=None)
    assert decode(parse(encode(ended))) == ended
    without = json.dumps({name: value for name, value in json.loads(encode(document)).items() if name != "since"})
    assert decode(parse(without)).since == BEGAN.created_at() == 1_772_366_418
    assert decode(parse(encode(Document()))) == Document()
