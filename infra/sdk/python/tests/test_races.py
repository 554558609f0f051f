"""What replaces tokens, while other threads, tasks and event loops call: nobody is signed out, or acts as somebody else."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from latchkey import AsyncClient, Clock, FileStorage, LatchkeyError
from world import PASSWORD, REFRESH, HeldReply, World, answer, before_reply, held, overtaking

CHANGE, SIGN_IN, SIGN_OUT = "/v1/me/password", "/v1/auth/login", "/v1/auth/logout"
OTHER_PASSWORD = "wrong donkey charger paperclip"


def test_call_that_is_refused_while_the_password_changes_waits_for_the_new_session(world: World) -> None:
    """The old session has ended, and its successor is still on the way: a refresh with the old token would sign out."""
    client = world.client()
    world.register(client)
    with overtaking(world.network, CHANGE, client.me) as me:
        changed = client.change_password(PASSWORD, OTHER_PASSWORD)
    assert me.result()["email"] == world.email
    assert client.signed_in() == changed
    assert world.network.refreshes == 0


def test_password_changes_after_the_refresh_that_is_under_way(world: World) -> None:
    """Otherwise that refresh would be refused, because its session has ended, and sign out."""
    client = world.client()
    world.register(client)
    changes: list[Future[Any]] = []
    is_changed, is_refreshed = threading.Event(), threading.Event()
    with ThreadPoolExecutor() as pool:

        def change_before_it_is_sent(_: httpx.Request, send: Any) -> httpx.Response:
            changes.append(pool.submit(client.change_password, PASSWORD, OTHER_PASSWORD))
            is_changed.wait(0.3)
            response: httpx.Response = send()
            return response

        def reply_later(_: httpx.Request, send: Any) -> httpx.Response:
            response: httpx.Response = send()
            is_changed.set()
            is_refreshed.wait(0.3)
            return response

        world.network.fail("/v1/me", answer(401, {"code": "invalid_token"}))
        world.network.fail(REFRESH, change_before_it_is_sent)
        world.network.fail(CHANGE, reply_later)
        assert client.me()["email"] == world.email
        is_refreshed.set()
        assert changes[0].result() == client.signed_in()


def test_tasks_of_one_loop_wait_for_a_password_change(tasks: World) -> None:
    emails: list[str | None] = []
    reply = HeldReply()

    async def scenario() -> None:
        client = AsyncClient(tasks.api, clock=tasks.time.clock, transport=tasks.network.async_transport())
        await client.register(tasks.email, PASSWORD)
        tasks.network.fail(CHANGE, reply)

        async def poll() -> None:
            emails.append((await client.me())["email"])

        async with anyio.create_task_group() as group:
            group.start_soon(client.change_password, PASSWORD, OTHER_PASSWORD)
            await anyio.to_thread.run_sync(reply.is_given.wait)
            for _ in range(5):
                group.start_soon(poll)
            await anyio.sleep(0.3)
            reply.may_pass.set()

    anyio.run(scenario, backend=tasks.kind)
    assert emails == [tasks.email] * 5


@pytest.fixture(params=["asyncio", "trio"])
def tasks(api: str, request: pytest.FixtureRequest) -> World:
    return World(api, request.param)


def test_sign_ins_at_once_leave_the_session_that_lives(world: World) -> None:
    """The second ends the first, because both are this device's. A late reply to the first must not be stored over it."""
    client = world.client()
    world.register(client)
    client.sign_out()
    with overtaking(world.network, SIGN_IN, client.sign_in, world.email, PASSWORD) as second:
        client.sign_in(world.email, PASSWORD)
    assert second.result() == client.signed_in()
    world.expire()
    assert client.me()["email"] == world.email


def test_call_does_not_continue_as_somebody_else_who_signs_in_during_its_refresh(world: World) -> None:
    client, other = world.client(), world.client()
    world.register(client)
    world.expire()
    world.network.fail(REFRESH, before_reply(lambda: other.register(f"stranger-{world.email}", PASSWORD)))
    with pytest.raises(LatchkeyError, match="not_signed_in"):
        client.logout_all()
    assert client.me()["email"] == f"stranger-{world.email}"


def test_session_of_a_password_change_that_a_sign_out_has_outrun_is_ended(world: World) -> None:
    client, other = world.client(), world.client()
    world.register(client)
    world.network.fail(CHANGE, before_reply(client.sign_out))
    with pytest.raises(LatchkeyError, match="not_signed_in"):
        client.change_password(PASSWORD, OTHER_PASSWORD)
    assert held(world.storage.load()) is None
    other.sign_in(world.email, OTHER_PASSWORD)
    assert other.get_sessions()["total"] == 1
    assert world.network.counts[SIGN_OUT] == 2


def test_processes_that_share_a_file_sign_in_one_after_another(world: World, tmp_path: Path) -> None:
    """Two clients that share nothing but the file stand for two processes."""
    world.storage = FileStorage(tmp_path / "session.json")
    first, second = world.client(clock=Clock()), world.client(clock=Clock())
    world.register(first)
    first.sign_out()
    with overtaking(world.network, SIGN_IN, second.sign_in, world.email, PASSWORD) as signed_in:
        first.sign_in(world.email, PASSWORD)
    assert signed_in.result() == first.signed_in()
    assert first.me()["email"] == world.email
    assert world.network.refreshes == 0


def test_call_of_another_process_waits_for_a_password_change(world: World, tmp_path: Path) -> None:
    world.storage = FileStorage(tmp_path / "session.json")
    first, second = world.client(clock=Clock()), world.client(clock=Clock())
    world.register(first)
    with overtaking(world.network, CHANGE, second.me) as me:
        changed = first.change_password(PASSWORD, OTHER_PASSWORD)
    assert me.result()["email"] == world.email
    assert second.signed_in() == changed
    assert world.network.refreshes == 0
