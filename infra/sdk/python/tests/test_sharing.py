"""Threads, tasks, event loops, forks and processes that share one session and one refresh."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
import pytest

from latchkey import AsyncClient, Change, Client, FileStorage, LatchkeyError, MemoryStorage
from latchkey.types import Account
from world import REFRESH, Answer, Fault, HeldReply, Network, World, busy, full, offline, rotation, settle

MANY = 50


@pytest.fixture
def threads(api: str) -> World:
    return World(api, "sync")


@pytest.fixture(params=["asyncio", "trio"])
def tasks(api: str, request: pytest.FixtureRequest) -> World:
    return World(api, request.param)


def async_client(world: World, **options: Any) -> AsyncClient:
    options = {"storage": world.storage, "clock": world.time.clock, **options}
    return AsyncClient(world.api, transport=world.network.async_transport(), **options)


def test_fifty_threads_at_an_expired_token_refresh_once(threads: World) -> None:
    client = threads.client()
    threads.register(client)
    threads.expire()
    start = threading.Barrier(MANY)

    def call(_: int) -> str:
        start.wait()
        email: str = client.me()["email"]
        return email

    with ThreadPoolExecutor(MANY) as pool:
        assert set(pool.map(call, range(MANY))) == {threads.email}
    assert (threads.network.refreshes, threads.rotation()) == (1, 1)


def test_fifty_threads_share_one_failure(threads: World) -> None:
    client = threads.client()
    threads.register(client)
    threads.expire()
    start = threading.Barrier(MANY)
    all_wait = threading.Event()

    def busy_when_all_wait(_: httpx.Request, __: Any) -> httpx.Response:
        all_wait.wait(5)
        return httpx.Response(503, headers={"retry-after": "60"})

    def call(_: int) -> str:
        start.wait()
        try:
            client.me()
        except LatchkeyError as error:
            return error.code
        return "no error"

    threads.network.fail(REFRESH, *[busy_when_all_wait] * MANY)
    with ThreadPoolExecutor(MANY) as pool:
        calls = [pool.submit(call, number) for number in range(MANY)]
        threading.Timer(0.3, all_wait.set).start()
        assert {one.result() for one in calls} == {"temporarily_unavailable"}
    # Whoever came after the failure has asked again; nearly all were there before it.
    assert threads.network.refreshes <= 3
    threads.network._faults.clear()
    threads.time.advance(60)
    client.me()
    assert threads.rotation() == 1


def test_interrupt_before_a_refresh_is_sent_leaves_nobody_waiting(threads: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes when the refresh is noted for others to share, and has not begun."""
    client = threads.client()
    threads.register(client)
    threads.expire()
    lock = threading.Lock()

    @contextmanager
    def interrupted() -> Generator[None]:
        with lock:
            yield
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "_flight_lock", interrupted())
    with pytest.raises(KeyboardInterrupt):
        client.me()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(client.me).result(5)["email"] == threads.email
    assert (threads.network.refreshes, threads.rotation()) == (1, 1)


def test_fifty_tasks_at_an_expired_token_refresh_once(tasks: World) -> None:
    async def scenario() -> None:
        client = async_client(tasks)
        await client.register(tasks.email, "correct horse battery staple")
        tasks.expire()
        async with anyio.create_task_group() as group:
            for _ in range(MANY):
                group.start_soon(client.me)

    anyio.run(scenario, backend=tasks.kind)
    assert (tasks.network.refreshes, tasks.rotation()) == (1, 1)


def test_fifty_tasks_share_one_failure(tasks: World) -> None:
    failures: list[str] = []

    async def call(client: AsyncClient) -> None:
        try:
            await client.me()
        except LatchkeyError as error:
            failures.append(error.code)

    async def scenario() -> None:
        client = async_client(tasks)
        await client.register(tasks.email, "correct horse battery staple")
        tasks.expire()
        tasks.network.fail(REFRESH, *[busy("60")] * MANY)
        async with anyio.create_task_group() as group:
            for _ in range(MANY):
                group.start_soon(call, client)

    anyio.run(scenario, backend=tasks.kind)
    assert (tasks.network.refreshes, failures) == (1, ["temporarily_unavailable"] * MANY)


def lose_when_let(reply: HeldReply) -> Fault:
    def lose(request: httpx.Request, send: Any) -> Answer:
        reply(request, send)
        return httpx.ReadError("the connection was reset")

    return lose


def fail_when_let(reply: HeldReply, fault: Fault) -> Fault:
    def fail(request: httpx.Request, send: Any) -> Answer:
        reply(request, lambda: httpx.Response(200))  # nothing reaches the server
        return fault(request, send)

    return fail


def join_early_refresh(world: World, fail: Callable[[HeldReply], Fault], *faults: Fault) -> Future[Account]:
    """A caller whose token is about to expire begins a refresh, in threads or in tasks of one loop, and it does expire. Then
    another caller joins, who gets the result. The first fault is made of the reply that is held until then."""
    reply = HeldReply()
    joined: Future[Account] = Future()
    world.network.fail(REFRESH, fail(reply), *faults)

    def with_threads() -> None:
        client = world.client()
        world.register(client)
        world.time.advance(900 - 20)
        with ThreadPoolExecutor(2) as pool:
            early = pool.submit(client.get_sessions)
            assert reply.is_given.wait(5)
            world.time.advance(21)
            joining = pool.submit(settle, joined, client.me)
            wait([joining], 0.5)
            reply.may_pass.set()
            assert early.result()["total"] == 1

    async def with_tasks() -> None:
        client = async_client(world)
        await client.register(world.email, "correct horse battery staple")
        world.time.advance(900 - 20)

        async def begin() -> None:
            assert (await client.get_sessions())["total"] == 1

        async def join() -> None:
            try:
                joined.set_result(await client.me())
            except LatchkeyError as error:
                joined.set_exception(error)

        async with anyio.create_task_group() as group:
            group.start_soon(begin)
            assert await anyio.to_thread.run_sync(reply.is_given.wait, 5)
            world.time.advance(21)
            group.start_soon(join)
            await anyio.wait_all_tasks_blocked()
            reply.may_pass.set()

    if world.kind == "sync":
        with_threads()
    else:
        anyio.run(with_tasks, backend=world.kind)
    return joined


def test_caller_who_needs_a_token_shares_an_early_refresh_whose_reply_is_lost(world: World) -> None:
    joined = join_early_refresh(world, lose_when_let)
    assert joined.result()["email"] == world.email
    assert (world.network.refreshes, world.rotation()) == (2, 1)


@pytest.mark.parametrize(
    ("fault", "attempts", "waits"), [(offline, 2, [1] * 2), (busy("3"), 2, [3] * 4), (full("2"), 1, [2] * 3)]
)
def test_caller_who_needs_a_token_is_not_content_with_the_attempts_of_an_early_refresh(
    world: World, fault: Fault, attempts: int, waits: list[float]
) -> None:
    joined = join_early_refresh(world, lambda reply: fail_when_let(reply, fault), *[fault] * (attempts + 1))
    assert joined.result()["email"] == world.email
    assert (world.network.refreshes, world.rotation()) == (attempts + 3, 1)
    assert [round(seconds) for seconds in world.time.waits] == waits


def test_caller_who_needs_a_token_and_shares_an_early_refresh_obeys_its_long_retry_after(world: World) -> None:
    joined = join_early_refresh(world, lambda reply: fail_when_let(reply, full("30")))
    with pytest.raises(LatchkeyError, match="too_many_requests"):
        joined.result()
    assert (world.network.refreshes, world.time.waits) == (1, [])


def test_cancelled_task_does_not_cancel_the_refresh_of_the_others(tasks: World) -> None:
    """Whoever begins the refresh is cancelled in it; the others get its result, and it is stored."""
    reply = HeldReply()
    emails: list[str | None] = []

    async def call(client: AsyncClient) -> None:
        emails.append((await client.me())["email"])

    async def scenario() -> None:
        client = async_client(tasks)
        await client.register(tasks.email, "correct horse battery staple")
        tasks.expire()
        tasks.network.fail(REFRESH, reply)
        async with anyio.create_task_group() as group:
            first = anyio.CancelScope()

            async def begin() -> None:
                with first:
                    await client.me()

            group.start_soon(begin)
            await anyio.to_thread.run_sync(reply.is_given.wait)
            for _ in range(5):
                group.start_soon(call, client)
            await anyio.sleep(0.01)
            first.cancel()
            await anyio.sleep(0.01)
            reply.may_pass.set()

    anyio.run(scenario, backend=tasks.kind)
    assert (tasks.network.refreshes, emails, tasks.rotation()) == (1, [tasks.email] * 5, 1)


def test_refresh_is_stored_when_all_who_wait_are_cancelled_natively(api: str) -> None:
    """`asyncio.timeout` and `Task.cancel` know nothing of anyio's scopes."""
    world = World(api, "asyncio")
    reply = HeldReply()

    async def scenario() -> None:
        client = async_client(world)
        await client.register(world.email, "correct horse battery staple")
        world.expire()
        world.network.fail(REFRESH, reply)
        waiting = [asyncio.create_task(client.me()) for _ in range(5)]
        await asyncio.to_thread(reply.is_given.wait)
        for task in waiting:
            task.cancel()
        assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*waiting, return_exceptions=True))
        reply.may_pass.set()
        await client.me()

    asyncio.run(scenario())
    assert (world.network.refreshes, world.rotation()) == (1, 1)


def test_cancelled_reauthentication_is_stored(api: str) -> None:
    """It replaces the refresh token: who forgot the successor would be signed out later."""
    world = World(api, "asyncio")
    reply = HeldReply()

    async def scenario() -> None:
        client = async_client(world)
        await client.register(world.email, "correct horse battery staple")
        world.network.fail("/v1/auth/reauthenticate", reply)
        task = asyncio.create_task(client.reauthenticate("correct horse battery staple"))
        await asyncio.to_thread(reply.is_given.wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        reply.may_pass.set()
        while world.rotation() == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(scenario(), 5))


LOOPS = """
import asyncio, sys
from latchkey import AsyncClient
api, email = sys.argv[1:]
client = AsyncClient(api)
asyncio.run(client.register(email, "correct horse battery staple"))
for _ in range(3):
    assert asyncio.run(client.me())["email"] == email
async def end():
    await client.me()
    await client.aclose()
asyncio.run(end())
assert len(client._loops) == 0
"""


def test_one_client_serves_one_event_loop_after_another(api: str) -> None:
    """Whoever ends a loop without `aclose` leaves its connections to the garbage collector, which warns: hence a process."""
    email = World(api, "asyncio").email
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", LOOPS, api, email], check=True, timeout=20, env=environment)


def test_event_loops_in_several_threads_share_a_client(api: str) -> None:
    world = World(api, "asyncio")
    client = async_client(world)
    asyncio.run(client.register(world.email, "correct horse battery staple"))
    world.expire()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(lambda: asyncio.run(client.me())) for _ in range(8)]
    assert {call.result()["email"] for call in calls} == {world.email}
    assert world.rotation() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_is_not_blocked_by_its_parents_locks(threads: World, tmp_path: Path) -> None:
    threads.storage = FileStorage(tmp_path / "session.json")
    client = Client(threads.api, storage=threads.storage, clock=threads.time.clock)
    threads.register(client)
    parents_http = client._http
    threads.expire()
    with client._storage_lock, client._flight_lock:
        child = os.fork()
        if child == 0:  # pragma: no cover
            code = 1
            try:
                ok = client.me()["email"] == threads.email and client._http is not parents_http
                code = 0 if ok else 2
            finally:
                os._exit(code)
    waited = threading.Timer(10, os.kill, (child, 9))
    waited.start()
    _, status = os.waitpid(child, 0)
    waited.cancel()
    assert os.waitstatus_to_exitcode(status) == 0
    client.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_does_not_use_the_tokens_that_its_parents_memory_holds(threads: World) -> None:
    """Parent and child would rotate one refresh token, each on its own: a theft, as the server sees it."""
    client = threads.client()
    threads.register(client)
    threads.expire()
    child = os.fork()
    if child == 0:  # pragma: no cover
        code = 1
        try:
            client.me()
        except LatchkeyError as error:
            code = 0 if error.code == "not_signed_in" and "FileStorage" in error.detail else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert client.me()["email"] == threads.email


PROCESS = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor, wait
from latchkey import Client, FileStorage, _core
from world import Network
_core.LOCK_PATIENCE = 60  # a busy machine must not look like an abandoned lock
api, path = sys.argv[1:]
network = Network()
client = Client(api, storage=FileStorage(path), transport=network.sync_transport())
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(8) as pool:
    emails = {account["email"] for account in pool.map(lambda _: client.me(), range(8))}
print(json.dumps([sorted(emails), network.refreshes]), flush=True)
"""


def expire_in_file(path: Path) -> None:
    stored = json.loads(path.read_text())
    stored["held"]["expires_at"] = 0
    path.write_text(json.dumps(stored))


def test_processes_that_share_a_file_refresh_once(threads: World, tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    threads.storage = FileStorage(path)
    threads.register(threads.client())
    expire_in_file(path)
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, threads.api, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": folders},
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    results = [json.loads(process.communicate(timeout=20)[0]) for process in processes]
    assert [emails for emails, _ in results] == [[threads.email]] * 3
    assert sum(refreshes for _, refreshes in results) == 1
    assert threads.rotation() == 1
    assert {file.name for file in tmp_path.iterdir()} == {"session.json", "session.json.lock"}


def test_lock_that_is_never_released_is_abandoned_after_three_seconds(world: World, tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "session.json")
    world.storage = storage
    client = world.client()
    world.register(client)
    world.expire()
    release = storage.try_lock()
    assert release is not None
    assert storage.try_lock() is None
    client.me()
    assert 2 <= sum(world.time.waits) < 4  # and what has really passed
    assert (world.network.refreshes, world.rotation()) == (1, 1)
    release()
    assert storage.try_lock() is not None


def test_without_a_lock_all_get_the_same_successor(threads: World, tmp_path: Path) -> None:
    """Two clients that know nothing of each other: an interrupted lock costs a request and nothing else."""
    path = tmp_path / "session.json"

    class Unlocked(FileStorage):
        try_lock = None  # type: ignore[assignment]

    threads.storage = Unlocked(path)
    first, second = threads.client(), threads.client()
    threads.register(first)
    threads.expire()
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(client.me) for client in (first, second)]:
            done.result()
    assert threads.network.refreshes <= 2
    assert threads.rotation() == 1


def test_sign_out_in_one_process_is_noticed_in_another(world: World, tmp_path: Path) -> None:
    world.storage = FileStorage(tmp_path / "session.json")
    first, second = world.client(), world.client()
    kinds: list[str] = []

    def note(change: Change) -> None:
        kinds.append(change.kind)

    second.on_change(note)
    world.register(first)
    assert second.signed_in() == first.signed_in()
    first.sign_out()
    assert second.signed_in() is None
    assert kinds == ["signed_out"]


def test_counting_network_is_the_only_way_out(threads: World) -> None:
    """The counts above mean something: another network sees nothing of this one."""
    other = Network()
    client = Client(threads.api, storage=MemoryStorage(), transport=other.sync_transport())
    threads.register(client)
    assert (threads.network.counts.total(), other.counts.total()) == (0, 1)
    assert rotation(client._storage.load() or "") == 0


def test_threads_of_a_forked_child_start_again_once(threads: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first requests of a child come at once. Whoever comes second must not find its parent's connections, nor take the
    refresh away that the first has begun."""
    client = Client(threads.api)
    threads.register(client)
    parents_http, make_http = client._http, client._make_http
    made: list[httpx.Client] = []
    start = threading.Barrier(8)

    def make_slowly() -> httpx.Client:
        made.append(make_http())
        time.sleep(0.05)
        return made[-1]

    def first_call(_: int) -> httpx.Client:
        start.wait()
        client.signed_in()
        return client._http

    monkeypatch.setattr(client, "_make_http", make_slowly)
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    with ThreadPoolExecutor(8) as pool:
        used = set(pool.map(first_call, range(8)))
    assert used == set(made)
    assert len(made) == 1
    for http in (parents_http, *made):
        http.close()


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_storage_is_reached_while_all_worker_threads_wait_for_the_loop(api: str, kind: str, tmp_path: Path) -> None:
    client = AsyncClient(api, storage=FileStorage(tmp_path / "session.json"))

    async def scenario() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        with anyio.fail_after(5):
            assert await anyio.to_thread.run_sync(anyio.from_thread.run, client.signed_in, abandon_on_cancel=True) is None

    anyio.run(scenario, backend=kind)


def test_sign_out_that_nobody_waited_for_is_told(tasks: World) -> None:
    reply = HeldReply()
    kinds: list[str] = []

    def note(change: Change) -> None:
        kinds.append(change.kind)

    def refuse(_: httpx.Request, send: Any) -> httpx.Response:
        reply(_, lambda: httpx.Response(200))
        return httpx.Response(401, json={"code": "invalid_refresh_token"})

    async def scenario() -> None:
        client = async_client(tasks)
        await client.register(tasks.email, "correct horse battery staple")
        client.on_change(note)
        tasks.expire()
        tasks.network.fail(REFRESH, refuse)
        async with anyio.create_task_group() as group:
            group.start_soon(client.me)
            await anyio.to_thread.run_sync(reply.is_given.wait)
            group.cancel_scope.cancel()
        reply.may_pass.set()
        await client.aclose()

    anyio.run(scenario, backend=tasks.kind)
    assert kinds == ["signed_out"]
