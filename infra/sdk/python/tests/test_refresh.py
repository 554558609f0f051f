"""When a client refreshes, and what ends its session: each test with threads' client, asyncio's and trio's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from latchkey import Change, LatchkeyError, MemoryStorage
from world import (
    PASSWORD,
    REFRESH,
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
)

LOSSES = [lose_reply, *[answer_after(status) for status in (500, 502, 503, 504)]]


def test_fresh_token_is_used_as_it_is(world: World) -> None:
    client = world.client()
    world.register(client)
    client.me()
    client.get_sessions()
    assert world.network.refreshes == 0


def test_expired_token_is_refreshed_before_the_call(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    client.me()
    assert (world.network.refreshes, world.network.counts["/v1/me"], world.rotation()) == (1, 1, 1)
    client.me()
    assert world.network.refreshes == 1


def test_token_is_refreshed_when_less_than_thirty_seconds_are_left(world: World) -> None:
    client = world.client()
    world.register(client)
    world.time.advance(900 - 32)
    client.me()
    assert world.network.refreshes == 0
    world.time.advance(3)
    client.me()
    assert world.network.refreshes == 1


def test_refused_token_is_refreshed_once_and_the_call_repeated(world: World) -> None:
    client = world.client()
    world.register(client)
    spoil_access_token(world)
    assert world.client().me()["email"] == world.email
    assert (world.network.refreshes, world.network.counts["/v1/me"]) == (1, 2)


def test_second_401_is_raised_and_the_session_kept(world: World) -> None:
    client = world.client()
    world.register(client)
    refused = answer(401, {"code": "invalid_token"})
    world.network.fail("/v1/me", refused, refused)
    with pytest.raises(LatchkeyError) as caught:
        client.me()
    assert (caught.value.code, world.network.refreshes) == ("invalid_token", 1)
    assert client.me()["email"] == world.email


def test_lost_reply_is_asked_for_again_and_gives_the_same_successor(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, lose_reply, lose_reply)
    client.me()
    assert (world.network.refreshes, world.rotation()) == (3, 1)


@pytest.mark.parametrize("lose", LOSSES)
def test_lost_reply_is_over_for_the_caller_at_the_second_attempt(world: World, lose: Any) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, lose)
    assert client.me()["email"] == world.email
    assert (world.network.refreshes, world.rotation()) == (2, 1)


@pytest.mark.parametrize("lose", LOSSES)
def test_lost_reply_to_an_early_refresh_is_asked_for_again_at_once(world: World, lose: Any) -> None:
    """The next call may come after the grace, when the old refresh token counts as stolen."""
    client = world.client()
    world.register(client)
    world.time.advance(900 - 20)
    world.network.fail(REFRESH, lose)
    assert client.me()["email"] == world.email
    assert (world.network.refreshes, world.rotation(), world.time.waits) == (2, 1, [])


@pytest.mark.parametrize("fault", [answer(500, {"code": "internal_error"}), offline, answer(502, "<html>bad gateway</html>")])
def test_early_refresh_that_fails_twice_is_no_concern_of_the_caller(world: World, fault: Any) -> None:
    client = world.client()
    world.register(client)
    world.time.advance(900 - 20)
    world.network.fail(REFRESH, *[fault] * 9)
    assert client.me()["email"] == world.email
    assert (world.network.refreshes, world.rotation(), world.time.waits) == (2, 0, [])


def test_500_of_anything_but_a_refresh_is_not_asked_again(world: World) -> None:
    client = world.client()
    world.register(client)
    world.network.fail("/v1/me", answer(500, {"code": "internal_error"}))
    with pytest.raises(LatchkeyError, match="internal_error"):
        client.me()
    assert world.network.counts["/v1/me"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        busy("0"),
        busy("30"),
        offline,
        answer(429, {"message": "Too Many Requests"}),
        answer(500, {"code": "internal_error"}),
        answer(502, "<html>bad gateway</html>"),
        answer(401, "<html>log in to this network</html>"),
        answer(401, {"code": "invalid_client"}),
        answer(403, {"code": "edge_required"}),
        answer(400, {"code": "invalid_request"}),
        answer(200, "<html>log in to this network</html>"),
        answer(200, {"access_token": None}),
        answer(302, "", location="https://login.example.com/"),
    ],
)
def test_what_does_not_refuse_the_refresh_token_signs_nobody_out(world: World, fault: Any) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, fault, fault, fault)
    with pytest.raises(LatchkeyError) as caught:
        client.me()
    assert not caught.value.signed_out
    world.network._faults.clear()
    world.time.advance(caught.value.retry_after or 0)
    assert client.me()["email"] == world.email
    assert world.rotation() == 1


def test_outage_of_a_minute_signs_nobody_out_and_is_asked_about_rarely(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    began = world.time.jumped
    while world.time.jumped - began < 60:
        world.network.fail(REFRESH, *[busy("2")] * 3)
        with pytest.raises(LatchkeyError) as caught:
            client.me()
        assert (caught.value.code, caught.value.retry_after) == ("temporarily_unavailable", 2)
        world.time.advance(6)
    assert world.network.refreshes <= 20
    client.me()
    assert world.rotation() == 1


def test_token_that_still_lives_is_used_while_the_refresh_fails(world: World) -> None:
    client = world.client()
    world.register(client)
    world.time.advance(900 - 20)
    world.network.fail(REFRESH, offline, busy("9"))
    assert client.me()["email"] == world.email
    assert client.me()["email"] == world.email
    assert (world.network.refreshes, world.time.waits) == (2, [])


def test_long_retry_after_is_the_callers_decision(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, busy("30"))
    with pytest.raises(LatchkeyError) as caught:
        client.me()
    assert (caught.value.retry_after, world.network.refreshes, world.time.waits) == (30, 1, [])


@pytest.mark.parametrize("asked_for", [30, 86_400])
def test_server_that_wants_no_refresh_for_a_while_is_left_alone_for_a_minute_at_most(world: World, asked_for: int) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, full(str(asked_for)))
    pause = min(asked_for, 60)
    for passed in (0, 10, 10):
        world.time.advance(passed)
        with pytest.raises(LatchkeyError) as caught:
            client.me()
        assert caught.value.code == "too_many_requests"
    assert pause - 21 < (caught.value.retry_after or 0) <= pause - 20
    assert (world.network.refreshes, client.signed_in()["user"]["email"]) == (1, world.email)
    world.time.advance(pause - 20)
    assert client.me()["email"] == world.email
    assert (world.network.refreshes, world.rotation()) == (2, 1)


def test_caller_who_needs_a_token_waits_for_the_end_of_a_short_pause(world: World) -> None:
    """The refresh ahead of time was refused a moment before, and the token has expired since."""
    client = world.client()
    world.register(client)
    world.time.advance(900 - 1)
    world.network.fail(REFRESH, full("4"))
    assert client.me()["email"] == world.email
    assert world.time.waits == []
    world.time.advance(2)
    assert client.me()["email"] == world.email
    assert [round(seconds) for seconds in world.time.waits] == [2]
    assert (world.network.refreshes, world.rotation()) == (2, 1)


def test_caller_who_needs_a_token_waits_for_the_last_seconds_of_a_long_pause(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, full("30"))
    with pytest.raises(LatchkeyError, match="too_many_requests"):
        client.me()
    world.time.advance(27)
    assert client.me()["email"] == world.email
    assert [round(seconds) for seconds in world.time.waits] == [3]
    assert (world.network.refreshes, world.rotation()) == (2, 1)


def test_pause_that_ends_for_many_threads_at_once(api: str) -> None:
    """One finds that it has ended, and no other may be surprised by that."""
    world = World(api, "sync")
    client = world.client()
    world.register(client)
    core = client._core
    core._pause = (LatchkeyError("too_many_requests", retry_after=4), core.clock.elapsed())
    elapsed = core.clock.elapsed

    def end_meanwhile() -> float:
        """Another thread sees the end of the pause, and the server asks for another one."""
        core.clock = world.time.clock
        world.time.advance(5)
        assert core._find_pause() is None
        core._pause = (LatchkeyError("too_many_requests", retry_after=30), core.clock.elapsed())
        now: float = elapsed()
        return now

    core.clock = replace(core.clock, elapsed=end_meanwhile)
    core._find_pause()
    found = core._find_pause()
    assert found is not None
    assert round(found.retry_after or 0) == 30


def test_caller_who_has_a_token_does_not_wait_for_a_pause(world: World) -> None:
    client = world.client()
    world.register(client)
    world.time.advance(900 - 20)
    world.network.fail(REFRESH, full("4"))
    for _ in range(3):
        assert client.me()["email"] == world.email
    assert (world.network.refreshes, world.time.waits) == (1, [])


@pytest.mark.parametrize("hours", [1, -1])
def test_wall_clock_that_is_set_changes_nothing(world: World, hours: int) -> None:
    client = world.client()
    world.register(client)
    world.time.wall_offset = hours * 3600
    client.me()
    assert world.network.refreshes == 0
    world.expire()
    client.me()
    client.me()
    assert (world.network.refreshes, world.rotation()) == (1, 1)


@pytest.mark.parametrize("hours", [1, -1])
def test_wrong_wall_clock_is_measured_and_remembered(world: World, hours: int) -> None:
    world.time.wall_offset = hours * 3600
    world.register(world.client())
    restarted = world.client()
    restarted.me()
    assert world.network.refreshes == 0
    world.expire()
    world.client().me()
    assert (world.network.refreshes, world.network.counts["/v1/me"]) == (1, 2)


@pytest.mark.parametrize("hours", [1, -1])
def test_wall_clock_that_was_set_between_two_runs_costs_one_request_at_most(world: World, hours: int) -> None:
    world.register(world.client())
    world.time.advance(1000)
    world.time.wall_offset = hours * 3600
    spoil_access_token(world)  # it has expired at the server too
    restarted = world.client()
    assert restarted.me()["email"] == world.email
    restarted.me()
    assert (world.network.refreshes, world.rotation()) == (1, 1)
    assert world.network.counts["/v1/me"] <= 3


@pytest.mark.parametrize("when", ["before the start", "after the start"])
def test_token_of_another_run_is_judged_by_the_servers_clock(world: World, when: str) -> None:
    world.register(world.client())
    if when == "before the start":
        world.time.wall_offset = -3600
    other = world.client()
    other.me()
    world.time.wall_offset = -3600
    other.me()
    assert world.network.refreshes == 0
    world.expire()
    other.me()
    assert (world.network.refreshes, world.network.counts["/v1/me"]) == (1, 3)


def test_sleep_of_a_night_is_noticed(world: World) -> None:
    client = world.client()
    world.register(client)
    world.time.advance(8 * 3600)
    client.me()
    assert (world.network.refreshes, world.network.counts["/v1/me"]) == (1, 1)


@pytest.mark.parametrize("code", ["invalid_refresh_token", "refresh_token_reused"])
def test_refused_refresh_token_signs_out(world: World, code: str) -> None:
    changes: list[Change] = []
    client = world.client()
    client.on_change(changes.append)
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, answer(401, {"code": code}))
    with pytest.raises(LatchkeyError) as caught:
        client.me()
    assert (caught.value.code, caught.value.signed_out, client.signed_in()) == (code, True, None)
    assert held(world.storage.load()) is None
    assert [(change.kind, change.reason and change.reason.code) for change in changes] == [
        ("signed_in", None),
        ("signed_out", code),
    ]
    with pytest.raises(LatchkeyError, match="not_signed_in"):
        client.me()


def test_session_that_was_ended_elsewhere_signs_out_at_the_next_call(world: World) -> None:
    client, other = world.client(), world.client(storage=MemoryStorage())
    world.register(client)
    other.sign_in(world.email, PASSWORD)
    assert other.revoke_others() == 1
    with pytest.raises(LatchkeyError) as caught:
        client.me()
    assert (caught.value.code, client.signed_in()) == ("invalid_refresh_token", None)


def test_late_refresh_is_not_written_over_a_new_sign_in(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    other = world.client()
    world.network.fail(REFRESH, before_reply(lambda: other.sign_in(world.email, PASSWORD)))
    client.me()
    assert client.signed_in() == other.signed_in()
    assert world.rotation() == 0


def test_late_refresh_does_not_undo_a_sign_out(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    other = world.client()
    world.network.fail(REFRESH, before_reply(other.sign_out))
    with pytest.raises(LatchkeyError, match="not_signed_in"):
        client.me()
    assert held(world.storage.load()) is None


def test_late_password_change_is_not_written_over_another_sign_in(world: World) -> None:
    client, other = world.client(), world.client()
    world.register(client)
    world.network.fail("/v1/me/password", before_reply(lambda: other.register(f"stranger-{world.email}", PASSWORD)))
    with pytest.raises(LatchkeyError, match="not_signed_in"):
        client.change_password(PASSWORD, PASSWORD + "!")
    assert client.signed_in()["user"]["email"] == f"stranger-{world.email}"


def test_late_refusal_does_not_end_a_newer_session(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    other = world.client()

    def refuse_after_sign_in(_: httpx.Request, __: Any) -> httpx.Response:
        in_a_thread(lambda: other.sign_in(world.email, PASSWORD))
        return httpx.Response(401, json={"code": "invalid_refresh_token"})

    world.network.fail(REFRESH, refuse_after_sign_in)
    client.me()
    assert client.signed_in() == other.signed_in()


def test_successor_is_stored_even_if_another_refresh_has_stored_a_younger_access_token(world: World) -> None:
    client = world.client()
    world.register(client)
    world.expire()
    # The other access token comes with the same refresh token.
    world.network.fail(REFRESH, before_reply(lambda: spoil_access_token(world)))
    client.me()
    assert (world.network.refreshes, world.rotation()) == (1, 1)


def test_request_is_not_repeated_for_another_user(world: World) -> None:
    client, other = world.client(), world.client()
    world.register(client)
    stranger = f"stranger-{world.email}"

    def somebody_else_signs_in(_: httpx.Request, __: Any) -> httpx.Response:
        in_a_thread(lambda: other.register(stranger, PASSWORD))
        return httpx.Response(401, json={"code": "invalid_token"})

    world.network.fail("/v1/me", somebody_else_signs_in)
    with pytest.raises(LatchkeyError, match="invalid_token"):
        client.me()
    assert world.network.counts["/v1/me"] == 1
    assert client.me()["email"] == stranger


def test_listener_may_use_the_client_and_may_fail(world: World, caplog: pytest.LogCaptureFixture) -> None:
    client = world.client()
    seen: list[str] = []

    def use(change: Change) -> None:
        seen.append(change.kind)
        in_a_thread(client.signed_in)
        raise ValueError("a listener's fault")

    remove = client.on_change(use)
    world.register(client)
    world.expire()
    client.me()
    client.sign_out()
    assert seen == ["signed_in", "refreshed", "signed_out"]
    assert "a listener of on_change has failed" in caplog.text
    remove()
    client.sign_in(world.email, PASSWORD)
    assert len(seen) == 3


def test_listeners_all_hear_of_one_change_before_the_next(world: World) -> None:
    client = world.client()
    seen: list[str] = []

    def sign_out_at_once(change: Change) -> None:
        if change.kind == "signed_in":
            in_a_thread(client.sign_out)

    def note(change: Change) -> None:
        seen.append(change.kind)

    client.on_change(sign_out_at_once)
    client.on_change(note)
    world.register(client)
    assert seen == ["signed_in", "signed_out"]


def test_listener_that_another_one_has_removed_is_not_called(world: World) -> None:
    client = world.client()
    seen: list[str] = []
    removals: list[Any] = []

    def remove_the_other(_: Change) -> None:
        removals[0]()

    def note(change: Change) -> None:
        seen.append(change.kind)

    client.on_change(remove_the_other)
    removals.append(client.on_change(note))
    world.register(client)
    assert seen == []


def test_listener_that_was_added_twice_is_removed_one_by_one(world: World) -> None:
    client = world.client()
    seen: list[str] = []

    def note(change: Change) -> None:
        seen.append(change.kind)

    remove, _ = client.on_change(note), client.on_change(note)
    remove()
    remove()
    world.register(client)
    assert seen == ["signed_in"]


def test_sign_out_forgets_the_session_even_without_a_network(world: World) -> None:
    client = world.client()
    world.register(client)
    world.network.fail("/v1/auth/logout", offline)
    assert client.sign_out() is False
    assert client.signed_in() is None
    assert client.sign_out() is True


def test_device_is_remembered_after_a_sign_out(world: World) -> None:
    client = world.client()
    world.register(client)
    device = client.get_session()["device_id"]
    client.sign_out()
    client.sign_in(world.email, PASSWORD)
    assert client.get_session()["device_id"] == device
    assert json.loads(world.storage.load() or "")["device_token"]


def spoil_access_token(world: World) -> None:
    """Makes the stored access token one that the server refuses, as if it had expired there."""
    stored = json.loads(world.storage.load() or "")
    stored["held"]["access_token"] = "spoiled"
    world.storage.save(json.dumps(stored))
