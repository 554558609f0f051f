"""Storages that work, fail, or hold what nobody can read."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from latchkey import AsyncClient, Change, Client, FileStorage, LatchkeyError, MemoryStorage
from latchkey._session import Document, Vault, decode, parse
from world import PASSWORD, LoopStorage, World, held, in_a_thread, rotation, start_stack

OTHER_PASSWORD = "wrong donkey charger paperclip"


class Unreliable(MemoryStorage):
    """Raises while it is told to."""

    fails_to_load = False
    fails_to_save = False

    def load(self) -> str | None:
        if self.fails_to_load:
            raise PermissionError("no")
        return super().load()

    def save(self, text: str) -> None:
        if self.fails_to_save:
            raise OSError("the disk is full")
        super().save(text)


class Unreadable(Unreliable):
    """The same storage as another one, as a process sees it that may not read it."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__()
        self._storage = storage

    def load(self) -> str | None:
        super().load()
        return self._storage.load()

    def save(self, text: str) -> None:
        self._storage.save(text)


def add_note(storage: MemoryStorage) -> None:
    """Another process stores something else than a session."""
    document = json.loads(storage.load() or "")
    document["clock_skew"] += 0.001
    storage.save(json.dumps(document))


def test_storage_that_cannot_be_written_signs_nobody_out(world: World, caplog: pytest.LogCaptureFixture) -> None:
    storage = world.storage = Unreliable()
    client = world.client()
    world.register(client)
    storage.fails_to_save = True
    world.expire()
    client.me()
    assert client.signed_in() is not None
    client.me()
    assert (world.network.refreshes, world.rotation()) == (1, 0)
    assert "could not be stored" in caplog.text
    assert "eyJ" not in caplog.text
    storage.fails_to_save = False
    client.me()
    assert (world.network.refreshes, world.rotation()) == (1, 1)


def test_storage_that_cannot_be_read_signs_nobody_out(world: World) -> None:
    storage = world.storage = Unreliable()
    client = world.client()
    world.register(client)
    storage.fails_to_load = True
    assert client.me()["email"] == world.email
    world.expire()
    assert client.me()["email"] == world.email
    storage.fails_to_load = False
    assert client.me()["email"] == world.email
    assert world.rotation() == 1


def test_storage_that_cannot_be_read_at_the_start_is_an_error_and_no_sign_out(world: World) -> None:
    storage = world.storage = Unreliable()
    world.register(world.client())
    storage.fails_to_load = True
    restarted = world.client()
    with pytest.raises(LatchkeyError) as caught:
        restarted.me()
    assert (caught.value.code, caught.value.signed_out) == ("storage_failed", False)
    storage.fails_to_load = False
    assert restarted.me()["email"] == world.email


def test_what_was_not_stored_gives_way_to_what_another_has_stored(world: World) -> None:
    storage = world.storage = Unreliable()
    client = world.client()
    world.register(client)
    storage.fails_to_save = True
    world.expire()
    client.me()
    storage.fails_to_save = False
    other = world.client()
    other.sign_in(world.email, PASSWORD)
    assert client.signed_in() == other.signed_in()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "null",
        "[]",
        '"text"',
        "{}",
        '{"version": 99, "held": {"access_token": "a"}}',
        '{"version": 1, "held": []}',
        '{"version": 1, "held": {"access_token": 7, "refresh_token": "r"}}',
        '{"version": 1, "held": {"access_token": "a\\n", "refresh_token": "r", "expires_at": 0, "expires_in": 0,'
        ' "session": {"id": "i"}}}',
        '{"version": 1, "held": {"access_token": "a", "refresh_token": "", "expires_at": 0, "expires_in": 0,'
        ' "session": {"id": "i"}}}',
        '{"version": 1, "held": {"access_token": "a", "refresh_token": "r", "expires_at": 1%s, "expires_in": 900,'
        ' "session": {"id": "i"}}}' % ("0" * 400),
        '{"version": 1, "held": {"access_token": "a", "refresh_token": "r", "expires_at": Infinity, "expires_in": 900,'
        ' "session": {"id": "i"}}}',
        '{"version": 1, "clock_skew": 1%s, "held": null}' % ("0" * 400),
        '{"version": 1, "clock_skew": NaN, "held": null}',
        '{"version": 1, "device_id": "a\\nb", "held": null}',
        '{"version": 1, "device_id": "\\u2603", "held": null}',
        '{"version": 1, "device_id": "%s", "held": null}' % ("x" * 20_000),
        '{"version": 1, "clock_skew": "x", "held": {"access_token": "a", "refresh_token": "r", "expires_at": "x"}}',
    ],
)
def test_broken_text_means_signed_out_and_can_be_replaced(world: World, text: str) -> None:
    world.storage.save(text)
    client = world.client()
    assert client.signed_in() is None
    with pytest.raises(LatchkeyError, match="not_signed_in"):
        client.me()
    world.register(client)
    assert client.me()["email"] == world.email


def test_broken_tokens_mean_signed_out(world: World) -> None:
    client = world.client()
    world.register(client)
    stored = json.loads(world.storage.load() or "")
    stored["held"].update(access_token="broken", refresh_token="broken", user=None)
    world.storage.save(json.dumps(stored))
    with pytest.raises(LatchkeyError) as caught:
        client.me()
    assert (caught.value.code, client.signed_in()) == ("invalid_refresh_token", None)


def test_file_is_its_owners_alone_and_replaced_as_a_whole(api: str, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "session.json"
    world = World(api, "sync")
    world.storage = FileStorage(path)
    world.register(world.client())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    inode = path.stat().st_ino
    world.expire()
    world.client().me()
    assert path.stat().st_ino != inode
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert rotation(path.read_text()) == 1


def test_crash_while_the_file_is_written_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FileStorage(tmp_path / "session.json")
    storage.save("old")

    def crash(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="gone"):
        storage.save("new")
    assert storage.load() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["session.json"]


def test_sign_in_works_without_a_folder_that_can_be_read(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    world.storage = FileStorage(tmp_path / "file" / "session.json")
    client = world.client()
    with pytest.raises(LatchkeyError, match="storage_failed"):
        client.me()
    world.register(client)
    assert client.me()["email"] == world.email
    world.expire()
    assert client.me()["email"] == world.email


def test_storage_that_cannot_be_read_is_not_written_over_by_a_note(world: World) -> None:
    """Another process has replaced the refresh token, and this one cannot see it."""
    storage = world.storage = Unreliable()
    client, other = world.client(), world.client()
    world.register(client)
    proved = other.reauthenticate(PASSWORD)
    text = storage.load()
    storage.fails_to_load = True
    with pytest.raises(LatchkeyError, match="wrong_password"):
        client.reauthenticate("not this one")
    storage.fails_to_load = False
    assert storage.load() == text
    assert client.signed_in() == proved


@pytest.fixture
def hasty() -> Iterator[str]:
    """A stack where a replaced refresh token counts for a second."""
    with start_stack(REFRESH_GRACE_SECONDS="1") as address:
        yield address


def test_refresh_while_the_storage_cannot_be_read_is_stored_when_it_can_be(hasty: str) -> None:
    world = World(hasty, "sync")
    shared = world.storage = MemoryStorage()
    unreadable = Unreadable(shared)
    client, other = world.client(storage=unreadable), world.client()
    world.register(client)
    world.expire()
    unreadable.fails_to_load = True
    client.me()
    assert world.rotation() == 0
    unreadable.fails_to_load = False
    client.signed_in()
    assert world.rotation() == 1
    time.sleep(2.1)  # the grace is the server's, in whole seconds
    world.expire()
    assert other.me()["email"] == world.email
    assert client.me()["email"] == world.email


class Shared:
    """A client that for a while cannot read what it shares with another one."""

    def __init__(self, world: World) -> None:
        self.storage = world.storage = MemoryStorage()
        self.unreadable = Unreadable(self.storage)
        self.client, self.other = world.client(storage=self.unreadable), world.client()

    @contextmanager
    def unread(self) -> Generator[None]:
        """Nothing is written meanwhile."""
        text = self.storage.load()
        self.unreadable.fails_to_load = True
        yield
        self.unreadable.fails_to_load = False
        assert self.storage.load() == text


def test_refusal_while_the_storage_cannot_be_read_ends_no_session_of_another(world: World) -> None:
    shared = Shared(world)
    world.register(shared.client)
    changed = shared.other.change_password(PASSWORD, OTHER_PASSWORD)
    world.expire()
    with shared.unread(), pytest.raises(LatchkeyError, match="invalid_refresh_token"):
        shared.client.me()
    assert shared.client.signed_in() == shared.other.signed_in() == changed
    assert shared.other.me()["email"] == shared.client.me()["email"] == world.email


@pytest.mark.parametrize("is_refreshed", [False, True])
@pytest.mark.parametrize("is_read_by_other", [True, False])
def test_new_session_that_could_not_be_stored_outlives_the_end_of_the_one_before(
    world: World, is_refreshed: bool, is_read_by_other: bool
) -> None:
    """Another process is refused with the old session, which the new one has ended, and stores that nobody is signed in."""
    shared = Shared(world)
    world.register(shared.client)
    others = Unreadable(shared.storage)
    other = world.client(storage=others)
    other.signed_in()
    shared.unreadable.fails_to_load = True
    shared.client.change_password(PASSWORD, OTHER_PASSWORD)
    if is_refreshed:
        world.expire()
        shared.client.me()
    unsaved = shared.client.signed_in()
    others.fails_to_load = not is_read_by_other
    with pytest.raises(LatchkeyError, match="invalid_refresh_token"):
        other.me()
    add_note(shared.storage)
    others.fails_to_load = False
    assert other.signed_in() is None
    assert held(shared.storage.load()) is None
    shared.unreadable.fails_to_load = False
    assert shared.client.signed_in() == unsaved is not None
    assert other.me()["email"] == shared.client.me()["email"] == world.email


def test_new_session_that_could_not_be_stored_and_its_refresh_outlive_a_refresh_of_the_one_before(world: World) -> None:
    shared = Shared(world)
    world.register(shared.client)
    shared.client.signed_in()
    shared.unreadable.fails_to_load = True
    shared.other.reauthenticate(PASSWORD)
    shared.client.change_password(PASSWORD, OTHER_PASSWORD)
    world.expire()
    shared.client.me()
    unsaved = shared.client.signed_in()
    shared.unreadable.fails_to_load = False
    assert shared.client.signed_in() == unsaved is not None
    assert shared.other.me()["email"] == shared.client.me()["email"] == world.email


def test_token_that_could_not_be_stored_outlives_any_that_it_has_replaced() -> None:
    """Of the vault alone: the server replaces a token at most once within the grace."""

    def text_of(number: int) -> str:
        tokens = {"access_token": f"a{number}", "refresh_token": f"r{number}", "expires_at": 0, "expires_in": 900}
        return json.dumps({"version": 1, "held": {**tokens, "session": {"id": "s"}}})

    def put(after: Document, _: Document) -> tuple[Document, None]:
        return after, None

    vault = Vault()
    vault.update(text_of(0), lambda document: (document, None))
    for number in range(1, 26):
        vault.update(OSError(), partial(put, decode(parse(text_of(number)))))
    _, text = vault.update(text_of(1), lambda document: (document, None))
    assert (held(text) or {}).get("refresh_token") == "r25"


@pytest.mark.parametrize("is_by_another_user", [False, True])
def test_new_session_that_could_not_be_stored_does_not_undo_a_sign_out(world: World, is_by_another_user: bool) -> None:
    """It was in another process, perhaps after a refusal and by somebody else, who has signed in there."""
    shared = Shared(world)
    world.register(shared.client)
    shared.other.signed_in()
    shared.unreadable.fails_to_load = True
    shared.client.change_password(PASSWORD, OTHER_PASSWORD)
    if is_by_another_user:
        with pytest.raises(LatchkeyError, match="invalid_refresh_token"):
            shared.other.me()
        shared.other.register(f"next-{world.email}", PASSWORD)
    assert shared.other.sign_out()
    shared.unreadable.fails_to_load = False
    assert shared.client.signed_in() is None
    assert shared.other.signed_in() is None
    assert held(shared.storage.load()) is None


def test_refusal_while_the_storage_cannot_be_read_is_stored_when_it_can_be(world: World) -> None:
    shared = Shared(world)
    world.register(shared.client)
    elsewhere = world.client(storage=MemoryStorage())
    elsewhere.sign_in(world.email, PASSWORD)
    elsewhere.logout_all()
    world.expire()
    with shared.unread(), pytest.raises(LatchkeyError, match="invalid_refresh_token"):
        shared.client.me()
    assert shared.client.signed_in() is None
    assert held(shared.storage.load()) is None


def test_refresh_while_the_storage_cannot_be_read_makes_nobody_somebody_else(world: World) -> None:
    shared = Shared(world)
    world.register(shared.client)
    next_email = f"next-{world.email}"
    shared.other.register(next_email, PASSWORD)
    world.expire()
    with shared.unread():
        assert shared.client.me()["email"] == world.email
    assert world.network.refreshes == 1
    assert shared.client.me()["email"] == shared.other.me()["email"] == next_email


def test_refresh_after_a_sign_in_that_was_stored_unread_makes_nobody_somebody_else(world: World) -> None:
    """The sign-in was stored, so it is known what the refresh may replace."""
    shared = Shared(world)
    shared.unreadable.fails_to_load = True
    world.register(shared.client)
    next_email = f"next-{world.email}"
    shared.other.register(next_email, PASSWORD)
    world.expire()
    with shared.unread():
        assert shared.client.me()["email"] == world.email
    assert shared.client.me()["email"] == shared.other.me()["email"] == next_email


def test_sign_out_while_the_storage_cannot_be_read_is_stored_when_it_can_be(world: World) -> None:
    """The other process has stored a later token of the session, which has ended."""
    shared = Shared(world)
    world.register(shared.client)
    shared.client.signed_in()
    world.expire()
    shared.other.me()
    with shared.unread():
        assert shared.client.sign_out()
        assert shared.client.signed_in() is None
    assert shared.client.signed_in() is None
    assert held(shared.storage.load()) is None


def test_sign_out_is_not_undone_by_another_process_that_stores_a_refresh(world: World, tmp_path: Path) -> None:
    """It signs out between the moments when the other one reads the file and when it writes it."""
    path = tmp_path / "session.json"
    done: list[bool] = []

    class Overtaken(FileStorage):
        def save(self, text: str) -> None:
            if not done and held(text) and rotation(text) == 1:
                in_a_thread(lambda: done.append(client.sign_out()))
            super().save(text)

    client, other = world.client(storage=FileStorage(path)), world.client(storage=Overtaken(path))
    world.register(client)
    kinds: list[str] = []

    def note(change: Change) -> None:
        kinds.append(change.kind)

    client.on_change(note)
    world.expire()
    assert other.access_token()
    assert done == [True]
    assert rotation(path.read_text()) == 1
    assert client.signed_in() is None
    assert held(path.read_text()) is None
    assert other.signed_in() is None
    assert kinds == ["signed_out"]
    client.sign_in(world.email, PASSWORD)
    assert other.me()["email"] == world.email


@pytest.mark.parametrize("can_be_read", [True, False])
def test_what_could_not_be_stored_outlives_a_note_of_another(hasty: str, can_be_read: bool) -> None:
    """The other process has written, but still the refresh token that ours has replaced."""
    world = World(hasty, "sync")
    storage = world.storage = Unreliable()
    client = world.client()
    world.register(client)
    world.expire()
    storage.fails_to_load, storage.fails_to_save = not can_be_read, True
    client.me()
    storage.fails_to_load = storage.fails_to_save = False
    add_note(storage)
    time.sleep(2.1)  # the grace is the server's, in whole seconds
    assert client.me()["email"] == world.email
    assert world.rotation() == 1
    world.expire()
    assert world.client().me()["email"] == world.email


def test_sign_out_that_could_not_be_stored_outlives_a_note_of_another(world: World) -> None:
    storage = world.storage = Unreliable()
    client = world.client()
    world.register(client)
    storage.fails_to_save = True
    client.sign_out()
    storage.fails_to_save = False
    add_note(storage)
    assert client.signed_in() is None
    assert held(storage.load()) is None


@pytest.mark.parametrize("is_taken", [True, False])
def test_lock_that_fails_is_done_without(world: World, is_taken: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("the connection to the lock's server is lost")

    class Remote(MemoryStorage):
        def try_lock(self) -> Callable[[], None] | None:
            if not is_taken:
                fail()
            return fail

    world.storage = Remote()
    client = world.client()
    world.register(client)
    world.expire()
    assert client.me()["email"] == world.email
    assert (world.network.refreshes, world.rotation()) == (1, 1)
    assert "the lock of the storage" in caplog.text


def test_sign_in_that_could_not_read_the_storage_is_not_undone_by_what_it_held(world: World) -> None:
    storage = world.storage = Unreliable()
    world.register(world.client())
    storage.fails_to_load = storage.fails_to_save = True
    client, next_email = world.client(), f"next-{world.email}"
    client.register(next_email, PASSWORD)
    storage.fails_to_load = storage.fails_to_save = False
    assert client.me()["email"] == next_email
    assert world.client().me()["email"] == next_email


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_asynchronous_storage(api: str, backend: str) -> None:
    world, storage = World(api, backend), LoopStorage()

    async def scenario() -> None:
        client = AsyncClient(api, storage=storage, transport=world.network.async_transport(), clock=world.time.clock)
        await client.register(world.email, PASSWORD)
        world.expire()
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(client.me)

    anyio.run(scenario, backend=backend)
    assert (world.network.refreshes, rotation(storage.text or "")) == (1, 1)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_is_being_stored_is_not_lost_with_its_caller(api: str, backend: str) -> None:
    world = World(api, backend)

    class Slow(LoopStorage):
        delay = 0.0
        fails = False

        async def save(self, text: str) -> None:
            if self.fails:
                raise OSError("the disk is full")
            await anyio.sleep(self.delay)
            await super().save(text)

    async def scenario() -> None:
        storage = Slow()
        client = AsyncClient(api, storage=storage, transport=world.network.async_transport(), clock=world.time.clock)
        await client.register(world.email, PASSWORD)
        world.expire()
        storage.fails = True  # so that the next call, which only reads, has something to store
        await client.me()
        storage.fails, storage.delay = False, 1
        with anyio.move_on_after(0.3):
            await client.signed_in()
        assert rotation(storage.text or "") == 0
        await client.aclose()
        assert rotation(storage.text or "") == world.network.refreshes == 1

    anyio.run(scenario, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("method", ["load", "save"])
def test_call_can_be_cancelled_while_an_asynchronous_storage_hangs(api: str, backend: str, method: str) -> None:
    world = World(api, backend)

    class Hanging(LoopStorage):
        hangs = ""
        fails = False

        async def load(self) -> str | None:
            await self._hang("load")
            return await super().load()

        async def save(self, text: str) -> None:
            if self.fails:
                raise OSError("the disk is full")
            await self._hang("save")
            await super().save(text)

        async def _hang(self, name: str) -> None:
            if name == self.hangs:
                await anyio.sleep(2)

    async def scenario() -> None:
        storage = Hanging()
        client = AsyncClient(api, storage=storage, transport=world.network.async_transport(), clock=world.time.clock)
        await client.register(world.email, PASSWORD)
        world.expire()
        storage.fails = True  # so that the next call has something to store
        await client.me()
        storage.fails, storage.hangs = False, method
        began = time.monotonic()
        with anyio.move_on_after(0.2):
            await client.me()
        assert time.monotonic() - began < 1.5
        storage.hangs = ""
        assert (await client.me())["email"] == world.email
        await client.aclose()
        assert rotation(storage.text or "") == 1

    anyio.run(scenario, backend=backend)


def test_nothing_shows_a_token(api: str) -> None:
    world = World(api, "sync")
    client = world.client()
    world.register(client)
    document = client._core.vault.document
    assert document is not None
    for shown in (repr(document), repr(document.held), repr(client), repr(client.signed_in())):
        assert "eyJ" not in shown
    assert held(world.storage.load()) is not None


def test_client_wants_https_or_this_machine() -> None:
    for address in ("http://auth.example.com", "ftp://localhost", "auth.example.com"):
        with pytest.raises(ValueError, match="https"):
            Client(address)
    with pytest.raises(ValueError, match="https"):
        Client("https://auth.example.com", origins=["http://api.example.com"])
    for address in ("https://auth.example.com/path", "http://localhost:3000", "http://[::1]:3000"):
        Client(address).close()
