"""Requests that replace the session: their replies are lost or late, or the user signs out before they come."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from latchkey import Clock, FileStorage, LatchkeyError, MemoryStorage
from world import (
    PASSWORD,
    REFRESH,
    MovableClock,
    World,
    answer,
    answer_after,
    before_reply,
    busy,
    full,
    held,
    in_a_thread,
    lose_reply,
    offline,
    rotation,
)

CHANGE, REAUTHENTICATE, SIGN_IN, SIGN_OUT = "/v1/me/password", "/v1/auth/reauthenticate", "/v1/auth/login", "/v1/auth/logout"
OTHER_PASSWORD = "wrong donkey charger paperclip"
ORDERS = "https://orders.example.com"


def code_of(act: Any, *arguments: Any) -> str:
    with pytest.raises(LatchkeyError) as caught:
        act(*arguments)
    return caught.value.code


def test_lost_reply_is_followed_by_a_refresh_at_once(world: World) -> None:
    """The server has replaced the refresh token, and the old one counts for the grace alone."""
    client = world.client()
    world.register(client)
    world.network.fail(REAUTHENTICATE, lose_reply)
    assert code_of(client.reauthenticate, PASSWORD) == "network_error"
    assert (world.network.refreshes, world.rotation()) == (1, 1)
    client.me()
    assert world.network.refreshes == 1


def test_lost_reply_in_an_outage_is_followed_by_a_refresh_when_it_ends(world: World) -> None:
    client, other = world.client(), world.client()
    world.register(client)
    world.network.fail(REAUTHENTICATE, lose_reply)
    world.network.fail(REFRESH, offline, offline, offline)
    assert code_of(client.reauthenticate, PASSWORD) == "network_error"
    assert world.rotation() == 0
    other.me()
    assert (world.network.refreshes, world.rotation()) == (4, 1)
    client.me()
    assert world.network.refreshes == 4


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_reply_with_5xx_may_come_after_the_work_and_is_followed_by_a_refresh(world: World, status: int) -> None:
    client = world.client()
    world.register(client)
    world.network.fail(REAUTHENTICATE, answer_after(status, retry_after="60"))
    with pytest.raises(LatchkeyError) as caught:
        client.reauthenticate(PASSWORD)
    assert caught.value.status == status
    assert (world.network.refreshes, world.rotation()) == (1, 1)
    client.me()
    assert world.network.refreshes == 1


def test_reply_with_429_comes_in_place_of_the_work(world: World) -> None:
    client = world.client()
    world.register(client)
    before = world.storage.load()
    world.network.fail(REAUTHENTICATE, full("60"))
    assert code_of(client.reauthenticate, PASSWORD) == "too_many_requests"
    assert (world.storage.load(), world.network.refreshes) == (before, 0)


def test_refusal_leaves_nothing_behind(world: World) -> None:
    client = world.client()
    world.register(client)
    before = world.storage.load()
    assert code_of(client.reauthenticate, "wrong") == "wrong_password"
    assert (world.storage.load(), world.network.refreshes) == (before, 0)


def test_pause_ends_within_the_grace_after_a_lost_reply(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, lose_reply, busy("60"))
    assert code_of(client.me) == "temporarily_unavailable"
    world.time.advance(4)
    assert code_of(client.me) == "temporarily_unavailable"
    assert world.network.refreshes == 2
    world.time.advance(6)
    client.me()
    assert (world.network.refreshes, world.rotation()) == (3, 1)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_pause_ends_within_the_grace_after_a_5xx(world: World, status: int) -> None:
    """The refresh is done, and the next attempt hears that there are too many."""
    client = world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, answer_after(status, retry_after="0"), full("60"))
    assert code_of(client.me) == "too_many_requests"
    assert world.network.refreshes == 2
    world.time.advance(4)
    with pytest.raises(LatchkeyError) as caught:
        client.me()
    assert caught.value.code == "too_many_requests"
    assert 0 < (caught.value.retry_after or 0) <= 6
    world.time.advance(6)
    client.me()
    assert (world.network.refreshes, world.rotation()) == (3, 1)


def test_pause_ends_within_the_grace_after_an_interrupted_refresh(api: str) -> None:
    world = World(api, "sync")
    client = world.client()
    world.register(client)
    world.expire()

    def interrupt(_: httpx.Request, send: Any) -> httpx.Response:
        send()
        raise KeyboardInterrupt

    world.network.fail(REFRESH, interrupt, full("60"))
    with pytest.raises(KeyboardInterrupt):
        client.me()
    assert code_of(client.me) == "too_many_requests"
    world.time.advance(10)
    client.me()
    assert (world.network.refreshes, world.rotation()) == (3, 1)


def test_pause_ends_within_the_grace_after_a_503_that_asks_for_more(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, answer_after(503, retry_after="60"))
    assert code_of(client.me) == "temporarily_unavailable"
    world.time.advance(10)
    client.me()
    assert (world.network.refreshes, world.rotation()) == (2, 1)


def test_pause_ends_within_the_grace_after_a_lost_reauthentication(world: World) -> None:
    client = world.client()
    world.register(client)
    world.network.fail(REAUTHENTICATE, lose_reply)
    world.network.fail(REFRESH, full("60"))
    assert code_of(client.reauthenticate, PASSWORD) == "network_error"
    assert code_of(client.me) == "too_many_requests"
    world.time.advance(10)
    client.me()
    assert (world.network.refreshes, world.rotation()) == (2, 1)


def test_pause_from_before_a_lost_reauthentication_ends_within_the_grace(world: World) -> None:
    client = world.client()
    world.register(client)
    world.time.advance(900 - 20)
    world.network.fail(REFRESH, full("60"))
    client.me()
    world.network.fail(REAUTHENTICATE, lose_reply)
    assert code_of(client.reauthenticate, PASSWORD) == "network_error"
    world.time.advance(10)
    client.me()
    assert (world.network.refreshes, world.rotation()) == (2, 1)


class Polling(MovableClock):
    """Waits move the clock, and let other threads run a little."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        time.sleep(0.002)

    async def async_sleep(self, seconds: float) -> None:
        await super().async_sleep(seconds)
        time.sleep(0.002)  # noqa: ASYNC251


@pytest.mark.parametrize("has_lock", [True, False])
def test_slow_password_change_signs_out_no_other_process(world: World, tmp_path: Any, has_lock: bool) -> None:
    """The other one waits 3 seconds for the lock, and is refused then: the new session is still on the way."""

    class Unlocked(FileStorage):
        try_lock = None  # type: ignore[assignment]

    world.storage = (FileStorage if has_lock else Unlocked)(tmp_path / "session.json")
    first, second = world.client(clock=Clock()), world.client(clock=Polling().clock)
    world.register(first)
    calls: list[Future[Any]] = []
    is_refused = threading.Event()

    def reply_after_the_refusal(_: httpx.Request, send: Any) -> httpx.Response:
        response: httpx.Response = send()
        calls.append(pool.submit(second.me))
        assert is_refused.wait(10)
        return response

    def note(_: httpx.Request, send: Any) -> httpx.Response:
        response: httpx.Response = send()
        assert response.status_code == 401
        is_refused.set()
        return response

    world.network.fail(CHANGE, reply_after_the_refusal)
    world.network.fail(REFRESH, note)
    with ThreadPoolExecutor() as pool:
        changed = first.change_password(PASSWORD, OTHER_PASSWORD)
        assert calls[0].result()["email"] == world.email
    assert first.signed_in() == second.signed_in() == changed


def test_process_that_dies_in_a_password_change_delays_a_refusal_and_no_more(api: str) -> None:
    world = World(api, "sync")
    client = world.client()
    world.register(client)

    left: list[str | None] = []
    world.network.fail(CHANGE, before_reply(lambda: left.append(world.storage.load())))
    client.change_password(PASSWORD, OTHER_PASSWORD)
    world.storage.save(left[0] or "")
    other = world.client()
    assert code_of(other.me) == "invalid_refresh_token"
    assert 10 < sum(world.time.waits) < 20
    assert other.signed_in() is None


def test_interrupted_reauthentication_is_followed_by_a_refresh_at_the_next_call(api: str) -> None:
    """Ctrl-C, when the server has replaced the refresh token: the old one counts for the grace alone."""
    world = World(api, "sync")
    client = world.client()
    world.register(client)

    def interrupt(_: httpx.Request, send: Any) -> httpx.Response:
        send()
        raise KeyboardInterrupt

    world.network.fail(REAUTHENTICATE, interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.reauthenticate(PASSWORD)
    for one in (client, world.client()):
        assert one.me()["email"] == world.email
        assert (world.network.refreshes, world.rotation(), world.time.waits) == (1, 1, [])


def test_interrupt_while_the_reply_to_a_reauthentication_is_stored_loses_nothing(api: str) -> None:
    world = World(api, "sync")
    interrupted: list[str] = []

    class Interrupted(MemoryStorage):
        def save(self, text: str) -> None:
            if rotation(text) == 1 and not interrupted:
                interrupted.append(text)
                raise KeyboardInterrupt
            super().save(text)

    world.storage = Interrupted()
    client = world.client()
    world.register(client)
    with pytest.raises(KeyboardInterrupt):
        client.reauthenticate(PASSWORD)
    assert len(interrupted) == 1
    for one in (world.client(), client):  # the other process first, because this one stores what it could not
        assert one.me()["email"] == world.email
        assert (world.network.refreshes, world.rotation()) == (0, 1)


def test_sign_in_does_not_outlive_a_sign_out_that_came_later(world: World) -> None:
    client, other = world.client(), world.client(storage=MemoryStorage())
    world.register(client)
    client.sign_out()
    world.network.fail(SIGN_IN, before_reply(client.sign_out))
    assert code_of(client.sign_in, world.email, PASSWORD) == "not_signed_in"
    assert held(world.storage.load()) is None
    other.sign_in(world.email, PASSWORD)
    assert other.get_sessions()["total"] == 1


def test_sign_in_does_not_outlive_a_sign_out_that_comes_while_it_waits_for_the_storage(world: World) -> None:
    client, other = world.client(), world.client(storage=MemoryStorage())
    world.register(client)
    client.sign_out()
    core = client._core if world.kind == "sync" else client._client._core
    update = core.vault.update

    def sign_out_first(loaded: Any, decide: Any, *rest: Any, **options: Any) -> Any:
        """A sign-out that has counted itself, and has found nobody, before this sign-in has the storage."""
        if options.get("is_blind"):
            core._sign_outs += 1
        return update(loaded, decide, *rest, **options)

    core.vault.update = sign_out_first
    assert code_of(client.sign_in, world.email, PASSWORD) == "not_signed_in"
    core.vault.update = update
    assert held(world.storage.load()) is None
    other.sign_in(world.email, PASSWORD)
    assert other.get_sessions()["total"] == 1


def test_refresh_that_gives_another_session_is_not_stored(world: World) -> None:
    client, other = world.client(), world.client(storage=MemoryStorage())
    world.register(client)
    other.register(f"stranger-{world.email}", PASSWORD)
    stranger = held(other._storage.load() if world.kind == "sync" else other._client._storage.load())
    assert stranger is not None
    tokens = {"access_token": "a", "refresh_token": "r", "expires_in": 900, "session": stranger["session"]}
    world.expire()
    before = client.signed_in()
    world.network.fail(REFRESH, *[answer(200, tokens)] * 3)
    assert code_of(client.me) == "unexpected_reply"
    assert client.signed_in() == before
    assert client.me()["email"] == world.email


def test_token_for_an_api_is_renewed_after_the_password_was_proved(world: World) -> None:
    client = world.client()
    world.register(client)
    before = client.access_token(ORDERS)
    assert client.access_token(ORDERS) == before
    client.reauthenticate(PASSWORD)
    assert client.access_token(ORDERS) != before


def test_token_for_an_api_is_renewed_once_after_a_proof_that_only_it_has_brought(world: World) -> None:
    """The process that proved the password has died before the reply, so the storage has the session from before."""
    client = world.client()
    world.register(client)
    client.access_token(ORDERS)
    text, copy = world.storage.load(), MemoryStorage()
    assert text is not None
    copy.save(text)
    other = world.client(storage=copy)
    world.network.fail(REAUTHENTICATE, lose_reply)
    world.network.fail(REFRESH, offline, offline, offline)
    assert code_of(other.reauthenticate, PASSWORD) == "network_error"
    world.expire()
    tokens = {client.access_token(ORDERS) for _ in range(3)}
    assert (len(tokens), world.network.refreshes) == (1, 5)


@pytest.mark.parametrize(
    ("what", "path", "passwords"),
    [("reauthenticate", REAUTHENTICATE, [PASSWORD]), ("change_password", CHANGE, [PASSWORD, OTHER_PASSWORD])],
)
def test_proof_of_the_password_is_not_repeated_as_another(world: World, what: str, path: str, passwords: list[str]) -> None:
    """Somebody else signs in, in another process, before the refusal of the access token comes."""
    client, other = world.client(), world.client()
    world.register(client)
    next_email = f"next-{world.email}"

    def refuse(request: httpx.Request, send: Any) -> Any:
        in_a_thread(lambda: other.register(next_email, OTHER_PASSWORD))
        return answer(401, {"code": "invalid_token", "status": 401})(request, send)

    world.network.fail(path, refuse)
    assert code_of(getattr(client, what), *passwords) == "invalid_token"
    assert world.network.counts[path] == 1
    assert client.me()["email"] == other.me()["email"] == next_email
