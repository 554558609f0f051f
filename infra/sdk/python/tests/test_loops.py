"""Event loops: how one ends while a refresh is under way, and what tasks that start at once must not break."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup

from latchkey import AsyncClient, AsyncStorage, FileStorage, LatchkeyError, _async
from latchkey._requests import Reply
from world import PASSWORD, REFRESH, HeldReply, LoopStorage, World, held, rotation


@pytest.fixture(params=["asyncio", "trio"])
def tasks(api: str, request: pytest.FixtureRequest) -> World:
    return World(api, request.param)


def client_of(world: World, storage: AsyncStorage | None = None) -> AsyncClient:
    return AsyncClient(
        world.api, storage=storage or world.storage, clock=world.time.clock, transport=world.network.async_transport()
    )


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


async def end_in_a_reauthentication(
    client: AsyncClient, world: World, reply: HeldReply, meanwhile: Callable[[TaskGroup], Awaitable[None]] | None = None
) -> None:
    """Registers, and is cancelled when the server has answered a reauthentication and the reply has not come."""
    await client.register(world.email, PASSWORD)
    world.network.fail("/v1/auth/reauthenticate", reply)
    async with anyio.create_task_group() as group:
        group.start_soon(client.reauthenticate, PASSWORD)
        await anyio.to_thread.run_sync(reply.is_given.wait)
        if meanwhile:
            await meanwhile(group)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_loop_that_ends_in_a_reauthentication_leaves_a_refresh_to_the_next_call(
    tasks: World, tmp_path: Path, is_asynchronous: bool
) -> None:
    """The server has replaced the refresh token, and the old one counts for the grace alone."""
    tasks.storage = FileStorage(tmp_path / "session.json")
    storage = LoopStorage() if is_asynchronous else None
    reply = HeldReply()

    async def end_too_early() -> None:
        await end_in_a_reauthentication(client_of(tasks, storage), tasks, reply)

    async def call() -> None:
        client = client_of(tasks, storage)
        assert (await client.me())["email"] == tasks.email
        await client.aclose()

    anyio.run(end_too_early, backend=tasks.kind)
    reply.may_pass.set()
    anyio.run(call, backend=tasks.kind)
    text = storage.text if storage else tasks.storage.load()
    assert (tasks.network.refreshes, rotation(text or "")) == (1, 1)


@pytest.mark.parametrize("method", ["load", "save"])
def test_end_of_a_run_waits_for_what_is_being_stored_alone(api: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With trio. A read that hangs would keep the program from ending."""
    world, reply = World(api, "trio"), HeldReply()
    monkeypatch.setattr(_async, "_LAST_LOAD", 0.1)

    class Slow(LoopStorage):
        slow = ""

        async def load(self) -> str | None:
            await self._wait("load")
            return await super().load()

        async def save(self, text: str) -> None:
            await self._wait("save")
            await super().save(text)

        async def _wait(self, name: str) -> None:
            if name == self.slow:
                await anyio.sleep(2)

    storage = Slow()

    async def scenario() -> float:
        client = client_of(world, storage)

        async def meanwhile(group: TaskGroup) -> None:
            storage.slow = method
            group.start_soon(client.signed_in)
            await anyio.sleep(0.1)

        await end_in_a_reauthentication(client, world, reply, meanwhile)
        return time.monotonic()

    ended = anyio.run(scenario, backend="trio")
    reply.may_pass.set()
    waited = time.monotonic() - ended
    stored = held(storage.text) or {}
    assert (waited > 1.5, stored["expires_at"] == 0) == (method == "save", method == "save")


@pytest.mark.parametrize("delay", [0.3, 6])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_end_of_a_run_loses_no_reply_of_a_refresh_that_is_being_stored(
    api: str, backend: str, delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it wait for a read that hangs."""
    world = World(api, backend)
    if delay > 1:
        monkeypatch.setattr(_async, "_LAST_LOAD", 1)

    class Slow(LoopStorage):
        def __init__(self) -> None:
            super().__init__()
            self.is_storing = anyio.Event()

        async def load(self) -> str | None:
            if world.network.refreshes:
                self.is_storing.set()
                await anyio.sleep(delay)
            return await super().load()

    storage = Slow()

    async def scenario() -> float:
        client = client_of(world, storage)
        await client.register(world.email, PASSWORD)
        world.expire()
        async with anyio.create_task_group() as group:
            group.start_soon(client.me)
            await storage.is_storing.wait()
            group.cancel_scope.cancel()
        return time.monotonic()

    ended = anyio.run(scenario, backend=backend)
    assert time.monotonic() - ended < 4
    assert (rotation(storage.text or "") == world.network.refreshes) == (delay < 1)


def test_storage_that_raises_a_cancellation_loses_no_reply(api: str) -> None:
    world = World(api, "asyncio")

    class Cancelled(LoopStorage):
        is_due = True

        async def save(self, text: str) -> None:
            if self.is_due and held(text) and rotation(text) == 1:
                self.is_due = False
                raise asyncio.CancelledError
            await super().save(text)

    storage = Cancelled()

    async def scenario() -> None:
        client = client_of(world, storage)
        await client.register(world.email, PASSWORD)
        with pytest.raises(LatchkeyError, match="interrupted"):
            await client.reauthenticate(PASSWORD)
        assert (await client.me())["email"] == world.email
        await client.aclose()

    asyncio.run(scenario())
    assert not storage.is_due
    assert (world.network.refreshes, rotation(storage.text or "")) == (0, 1)


def test_storage_sees_the_context_variables_of_its_caller(tasks: World) -> None:
    tenant = contextvars.ContextVar("tenant", default="")
    seen: list[str] = []

    class Tenants(LoopStorage):
        async def load(self) -> str | None:
            seen.append(tenant.get())
            return await super().load()

    async def scenario() -> None:
        client = client_of(tasks, Tenants())
        tenant.set("acme")
        await client.signed_in()

    anyio.run(scenario, backend=tasks.kind)
    assert seen == ["acme"]


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
                return loop.create_future()
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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_task_that_is_cancelled_before_its_first_step_leaves_nobody_waiting(api: str, steps: int) -> None:
    """Somebody cancels all tasks of the loop, and goes on."""
    world = World(api, "asyncio")

    async def cancel_all(begin: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
        caller = asyncio.create_task(begin())
        for _ in range(steps):
            await asyncio.sleep(0)
        others = [task for task in asyncio.all_tasks() if task not in (asyncio.current_task(), caller)]
        for task in others:
            task.cancel()
        return await asyncio.wait_for(asyncio.gather(caller, *others, return_exceptions=True), 5)

    async def scenario() -> None:
        client = client_of(world)
        await client.register(world.email, PASSWORD)
        world.expire()
        await cancel_all(client.me)
        assert (await asyncio.wait_for(client.me(), 5))["email"] == world.email
        results = await cancel_all(client.sign_out)
        assert len(results) > 1, "the sign-out has no task of its own"
        await asyncio.wait_for(client.aclose(), 5)

    asyncio.run(scenario())


def test_loops_that_have_ended_are_forgotten(tasks: World) -> None:
    client = client_of(tasks)
    anyio.run(lambda: client.register(tasks.email, PASSWORD), backend=tasks.kind)
    for _ in range(3):
        anyio.run(client.me, backend=tasks.kind)
        gc.collect()
    assert len(client._loops) == 1
