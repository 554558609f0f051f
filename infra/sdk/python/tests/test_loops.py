"""Event loops: how one ends while a refresh is under way, and what tasks that start at once must not break."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import Any

import anyio
import httpx
import pytest

from latchkey import AsyncClient, LatchkeyError
from latchkey._requests import Reply
from world import PASSWORD, REFRESH, World


@pytest.fixture(params=["asyncio", "trio"])
def tasks(api: str, request: pytest.FixtureRequest) -> World:
    return World(api, request.param)


def client_of(world: World) -> AsyncClient:
    return AsyncClient(world.api, storage=world.storage, clock=world.time.clock, transport=world.network.async_transport())


def test_close_waits_for_the_refresh_whose_caller_is_gone(tasks: World) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def slow(_: httpx.Request, send: Any) -> httpx.Response:
        response: httpx.Response = send()
        asked.set()
        may_answer.wait(5)
        return response

    async def scenario() -> None:
        client = client_of(tasks)
        await client.register(tasks.email, PASSWORD)
        tasks.expire()
        tasks.network.fail(REFRESH, slow)
        async with anyio.create_task_group() as group:
            group.start_soon(client.me)
            await anyio.to_thread.run_sync(asked.wait)
            group.cancel_scope.cancel()
        threading.Timer(0.1, may_answer.set).start()
        await client.aclose()
        assert tasks.rotation() == 1

    anyio.run(scenario, backend=tasks.kind)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_tasks_that_start_at_once(api: str) -> None:
    world = World(api, "asyncio")

    async def scenario() -> None:
        factory = getattr(asyncio, "eager_task_factory")  # noqa: B009
        asyncio.get_running_loop().set_task_factory(factory)
        client = client_of(world)
        await client.register(world.email, PASSWORD)
        for _ in range(2):
            world.expire()
            assert {(await one)["email"] for one in [asyncio.create_task(client.me()) for _ in range(5)]} == {world.email}
        await client.aclose()

    asyncio.run(scenario())
    assert world.network.refreshes == 2


def test_flight_that_ends_before_it_is_waited_for(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with an eager task, whatever the version of Python: the work ends inside of the call that starts it."""
    world = World(api, "asyncio")

    async def scenario() -> None:
        client = client_of(world)
        await client.register(world.email, PASSWORD)
        world.expire()
        loop = asyncio.get_running_loop()

        def run_at_once(work: Any, **options: Any) -> Any:
            try:
                work.send(None)
            except StopIteration:
                return None
            raise AssertionError("the work of this test does not wait")

        async def refuse(_: Any) -> Reply:
            return Reply(503, {"retry-after": "60"}, b"")

        monkeypatch.setattr(client, "_send", refuse)
        monkeypatch.setattr(loop, "create_task", run_at_once)
        try:
            await client.access_token()
        finally:
            monkeypatch.undo()

    with pytest.raises(LatchkeyError, match="temporarily_unavailable"):
        asyncio.run(scenario())


def test_loops_that_have_ended_are_forgotten(tasks: World) -> None:
    client = client_of(tasks)
    anyio.run(lambda: client.register(tasks.email, PASSWORD), backend=tasks.kind)
    for _ in range(3):
        anyio.run(client.me, backend=tasks.kind)
        gc.collect()
    assert len(client._loops) == 1
