"""The client for tasks, of asyncio or trio."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import math
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, cast

import anyio
import anyio.to_thread
import httpx

from ._clock import Clock
from ._core import Core
from ._effects import Effect, Flow, Send, Share, Sleep, TryLock, Update, Yield
from ._errors import LatchkeyError
from ._listeners import Listener, Listeners
from ._requests import Reply, Request
from ._session import Held
from ._storage import AsyncStorage, MemoryStorage, Storage
from ._transport import (
    ForkGuard,
    asks_for_password,
    describe_interruption,
    describe_network_error,
    is_repeatable,
    refuse_cookies,
    release_nothing,
    set_token,
    update_storage,
)
from ._version import USER_AGENT
from .types import Account, ActivityPage, Export, Session, SessionList, SignedIn

T = TypeVar("T")

_LAST_LOAD: Final = 3
"""How long the end of a run waits for an asynchronous storage to be read. Seconds."""


class AsyncClient:
    """Keeps one user signed in, and calls Latchkey and your own APIs for them. See `latchkey.Client` for the arguments.

    One client may be used by any number of tasks: they share one refresh, which runs in a task of its own, so that it
    ends well when a caller is cancelled; `aclose` waits for it.
    It works with asyncio and trio, and in one event loop after another: each has
    its own connections. ``storage`` may also be an `AsyncStorage`; another one is read and written in a worker thread.
    """

    def __init__(
        self,
        url: str,
        *,
        storage: Storage | AsyncStorage | None = None,
        origins: Iterable[str] | Mapping[str, str | None] = (),
        device_id: str | None = None,
        device_name: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 10,
        clock: Clock | None = None,
    ) -> None:
        self._core = Core(url, origins=origins, device_id=device_id, device_name=device_name, clock=clock)
        self._storage: Storage | AsyncStorage = MemoryStorage() if storage is None else storage
        self._transport = transport
        self._timeout = timeout
        self._listeners = Listeners()
        self._auth = _AsyncAuth(self)
        self._make_locks()
        self._fork_guard = ForkGuard(self._start_in_this_process)

    def _start_in_this_process(self) -> None:
        self._core.start_in_this_process()
        self._listeners.start_in_this_process()
        self._make_locks()  # the child has no event loop of its parent

    def _make_locks(self) -> None:
        self._storage_lock = threading.Lock()
        self._loops_lock = threading.Lock()
        self._loops: dict[object, _Loop] = {}

    # The session.

    async def register(self, email: str, password: str, *, device_name: str | None = None) -> SignedIn | None:
        """Makes an account and signs in.

        ``None`` means that a mail was sent, also if the address is taken, and that nobody new is signed in: the user has to
        open its link first (`verify_email`), then `sign_in` works. It is so with ``REQUIRE_VERIFIED_EMAIL``. Codes of its own:
        ``email_taken``, ``weak_password``, ``validation_failed``, ``registration_closed``.
        """
        return await self._run_to_end(self._core.sign_in("register", email, password, device_name))

    async def sign_in(self, email: str, password: str, *, device_name: str | None = None) -> SignedIn:
        """Signs in. Codes of its own: ``invalid_credentials``, ``account_disabled``, ``email_not_verified``."""
        return cast(SignedIn, await self._run_to_end(self._core.sign_in("sign_in", email, password, device_name)))

    async def sign_out(self) -> bool:
        """Forgets the session and ends it at Latchkey.

        ``False`` means that there was no 204, so it is not known whether the session has ended: if it lives, it ends by its
        idle expiry, or from the list of sessions on another device. The only code is ``storage_failed``: nothing is known,
        so nobody is signed out.
        """
        return await self._run_to_end(self._core.sign_out())

    async def signed_in(self) -> SignedIn | None:
        """Who is signed in here, as far as the storage tells; nothing is sent. ``None`` if nobody is."""
        return await self._run(self._core.signed_in())

    async def reauthenticate(self, password: str) -> SignedIn:
        """Proves again that it is the user, after ``reauthentication_required``. Code of its own: ``wrong_password``."""
        return await self._run_to_end(self._core.reauthenticate(password))

    async def access_token(self, audience: str | None = None) -> str:
        """A fresh access token, for what is not sent with httpx. Send it only to services of yours.

        ``audience`` is one of Latchkey's ``AUDIENCES``; without it the token is for Latchkey itself.
        """
        return (await self._run(self._core.authorize(audience=audience))).access_token

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Calls the listener after each sign-in, refresh and sign-out, in the task that has caused or noticed it.

        All hear of one change before the next. It is a plain function, and may start tasks that use the client.
        What it raises is logged. The result ends the calls.
        """
        return self._listeners.add(listener)

    # The sessions of the user.

    async def get_sessions(self) -> SessionList:
        """Where the user is signed in."""
        return await self._run(self._core.get_sessions())

    async def get_session(self) -> Session:
        """The session of this client, as Latchkey sees it now."""
        return await self._run(self._core.get_session())

    async def rename_session(self, session_id: str, name: str | None) -> Session:
        """Names a session; ``None`` clears its name. Codes: ``session_not_found``, ``validation_failed``."""
        return await self._run(self._core.rename_session(session_id, name))

    async def revoke_session(self, session_id: str) -> None:
        """Ends a session; if it is this one, nobody is signed in afterwards. Code of its own: ``session_not_found``."""
        await self._run_to_end(self._core.revoke_session(session_id))

    async def revoke_others(self) -> int:
        """Ends all other sessions of the user and returns how many there were."""
        return await self._run(self._core.revoke_others())

    async def logout_all(self) -> int:
        """Ends all sessions of the user, this one too, and returns how many there were."""
        return await self._run_to_end(self._core.logout_all())

    async def remove_expired_sessions(self) -> int:
        """Removes the user's ended sessions for good and returns how many there were."""
        return await self._run(self._core.remove_expired_sessions())

    # The account.

    async def me(self) -> Account:
        """The user's account."""
        return await self._run(self._core.me())

    async def change_password(self, current_password: str, new_password: str) -> SignedIn:
        """Changes the password. All sessions end, and this client continues with a new one.

        Codes of its own: ``wrong_password``, ``weak_password``, ``password_unchanged``.
        """
        return await self._run_to_end(self._core.change_password(current_password, new_password))

    async def delete_account(self, password: str) -> None:
        """Deletes the account for good. Codes of its own: ``wrong_password``, ``reauthentication_required``."""
        await self._run_to_end(self._core.delete_account(password))

    async def activity(self, *, cursor: str | None = None, limit: int | None = None) -> ActivityPage:
        """What happened to the account, newest first. ``cursor`` is the ``next_cursor`` of the page before."""
        return await self._run(self._core.activity(cursor, limit))

    async def export_data(self) -> Export:
        """Everything that is stored about the user."""
        return await self._run(self._core.export_data())

    async def change_email(self, email: str, password: str) -> None:
        """Sends a link to the new address; opening it changes the address. It is valid as long as this session.

        Codes of its own: ``wrong_password``, ``reauthentication_required``, ``email_taken``.
        """
        await self._run(self._core.change_email(email, password))

    async def request_email_verification(self) -> None:
        """Sends a link that verifies the user's address. Codes: ``no_password``, of somebody who signs in elsewhere."""
        await self._run(self._core.request_email_verification())

    async def verify_email(self, token: str) -> None:
        """Verifies an address with the token of a link. No sign-in is needed. Codes: ``invalid_link``, ``email_taken``."""
        await self._run(self._core.verify_email(token))

    async def request_password_reset(self, email: str) -> None:
        """Sends a link that sets a new password, if there is such an account; the reply does not tell."""
        await self._run(self._core.request_password_reset(email))

    async def confirm_password_reset(self, token: str, new_password: str) -> None:
        """Sets a new password with the token of a link. All sessions end. Codes: ``invalid_link``, ``weak_password``."""
        await self._run(self._core.confirm_password_reset(token, new_password))

    # Your own APIs.

    @property
    def auth(self) -> httpx.Auth:
        """Adds the access token to requests of an `httpx.AsyncClient` of yours, refreshes it, and repeats once after a 401.

        A request to an address that is not one of ``origins`` raises `LatchkeyError` ``origin_refused``.
        """
        return self._auth

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Sends a request with the access token and returns the reply, whatever its status is.

        A ``url`` that begins with ``/`` is a path of Latchkey's API; any other must be of one of ``origins``. ``options``
        are those of `httpx.AsyncClient.request`. After a 401 the token is refreshed and the request is repeated once,
        unless its body is a stream that can be sent only once.
        """
        return await self._loop().http.request(method, self._core.url(url), auth=self._auth, **options)

    async def aclose(self) -> None:
        """Waits for the refreshes of this event loop that are under way, then closes its connections.

        The session stays in the storage. A loop that ends without this cancels such a refresh, which loses its reply.
        """
        loop = self._loop()
        while loop.running:
            await next(iter(loop.running)).wait()
        with self._loops_lock:
            self._loops.pop(running_loop(), None)
        if self._transport is None:
            await loop.http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # Doing what the core asks for.

    async def _run(self, flow: Flow[T]) -> T:
        """Does an operation, then tells the listeners what has changed."""
        self._fork_guard.check()
        try:
            return await self._drive(flow)
        finally:
            self._listeners.tell(self._core.vault.changes)

    async def _run_to_end(self, flow: Flow[T]) -> T:
        """The same for what changes tokens: the reply is stored even if the caller is cancelled before it comes."""
        flight = _Flight[T]()
        self._start(flight, self._run(flow))
        return await flight.join()

    async def _drive(self, flow: Flow[T]) -> T:
        is_ending = False
        try:
            effect = next(flow)
            while True:
                try:
                    result = await self._perform(effect, is_ending)
                except BaseException as error:
                    is_ending |= not isinstance(error, Exception)  # no caller's cancellation comes between two steps that store
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration as end:
            return cast(T, end.value)

    async def _perform(self, effect: Effect, is_ending: bool) -> Any:
        match effect:
            case Update():
                return await self._update(effect, is_ending)
            case Send(request):
                return await self._send(request)
            case Sleep(seconds):
                return await self._core.clock.async_sleep(seconds)
            case Yield(seconds):
                return await anyio.sleep(seconds)
            case TryLock():
                try_lock = getattr(self._storage, "try_lock", None)
                return release_nothing if try_lock is None else try_lock()
            case Share(flow, audience):
                return await self._share(flow, audience)

    async def _update(self, update: Update, is_ending: bool) -> Any:
        storage = self._storage
        if inspect.iscoroutinefunction(storage.load):
            # Its caller may be cancelled, also if the storage hangs; what is being written is neither cancelled nor overtaken.
            flight = _Flight[Any](is_part=True)
            self._start(flight, self._update_in_loop(cast(AsyncStorage, storage), update, is_ending))
            return await flight.join()
        if isinstance(storage, MemoryStorage):
            return self._update_in_thread(storage, update)
        threads = self._loop().storage_threads
        with anyio.CancelScope(shield=True):
            return await anyio.to_thread.run_sync(self._update_in_thread, cast(Storage, storage), update, limiter=threads)

    def _update_in_thread(self, storage: Storage, update: Update) -> Any:
        with self._storage_lock:
            return update_storage(self._core.vault, storage, update)

    async def _update_in_loop(self, storage: AsyncStorage, update: Update, is_ending: bool) -> Any:
        loaded: str | Exception | None
        # What is done at the end of a run may note what the next one has to know. With trio it is cancelled already.
        is_ending |= anyio.current_effective_deadline() == -math.inf
        limit = _LAST_LOAD if is_ending else None
        lock = self._loop().storage_lock
        with anyio.CancelScope(shield=is_ending):
            await lock.acquire()  # whoever has it is interrupted too, so this ends
        try:
            try:
                with anyio.fail_after(limit, shield=is_ending):
                    loaded = await storage.load()
            except Exception as error:
                loaded = error
            result, text = self._core.vault.update(loaded, update.decide, update.reason, is_blind=update.is_blind)
            if text is not None:
                failure: Exception | None = None
                with anyio.CancelScope(shield=True):  # the end of a run waits for what is being written
                    try:
                        await storage.save(text)
                    except Exception as error:
                        failure = error
                self._core.vault.settle(text, failure)
            return result
        finally:
            lock.release()

    async def _send(self, request: Request) -> Reply:
        http = self._loop().http
        prepared = http.build_request(
            request.method, request.url, headers=request.headers, params=request.params, json=request.json
        )
        try:
            response = await http.send(prepared, auth=None, follow_redirects=False)
        except httpx.HTTPError as error:
            raise describe_network_error(error, request.url) from error
        return Reply(response.status_code, dict(response.headers), response.content)

    async def _share(self, flow: Flow[Held | None], audience: str | None) -> Held | None:
        loop = self._loop()
        flight = loop.flights.get(audience)
        if flight is None or flight.has_ended():  # by a cancellation before its first step, and is still noted
            # Noted before it starts, because an eager task may end before its caller continues.
            flight = loop.flights[audience] = _Flight[Held | None]()
            self._start(flight, self._fly(loop, flight, flow, audience))
        else:
            flow.close()
        return await flight.join()

    async def _fly(
        self, loop: _Loop, flight: _Flight[Held | None], flow: Flow[Held | None], audience: str | None
    ) -> Held | None:
        try:
            return await self._drive(flow)
        finally:
            if loop.flights.get(audience) is flight:
                del loop.flights[audience]
            self._listeners.tell(self._core.vault.changes)  # all who wait for it may be cancelled

    def _start(self, flight: _Flight[T], work: Coroutine[Any, Any, T]) -> None:
        """Starts work that no caller's cancellation reaches."""
        running = self._loop().running
        running.add(flight)
        loop = running_loop()
        if isinstance(loop, asyncio.AbstractEventLoop):
            flight.task = task = loop.create_task(flight.fly(work, running))
            task.add_done_callback(lambda _: flight.end_unstarted(work, running))
        else:
            sys.modules["trio"].lowlevel.spawn_system_task(flight.fly, work, running, context=contextvars.copy_context())

    def _loop(self) -> _Loop:
        """What belongs to the running event loop."""
        self._fork_guard.check()
        key = running_loop()
        with self._loops_lock:
            state = self._loops.get(key)
            if state is None:
                for loop in [loop for loop in self._loops if is_over(loop)]:
                    del self._loops[loop]
                headers = {"User-Agent": USER_AGENT}
                http = httpx.AsyncClient(transport=self._transport, timeout=self._timeout, headers=headers)
                refuse_cookies(http)
                state = self._loops[key] = _Loop(http)
            return state


class _Loop:
    """What belongs to one event loop: connections and locks cannot be used in another."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.storage_lock = anyio.Lock()
        # Not those of everybody, which may all wait for this loop. One is enough, because the storage is used by one.
        self.storage_threads = anyio.CapacityLimiter(1)
        self.flights: dict[str | None, _Flight[Held | None]] = {}
        self.running: set[_Flight[Any]] = set()


class _Flight(Generic[T]):
    """Work that several tasks may wait for, and none can cancel.

    ``is_part`` says that it is a step of one operation, which has to see an interruption as it is: its own handling of one
    stores what has come. All others who wait were not interrupted themselves, and receive an error.
    """

    def __init__(self, *, is_part: bool = False) -> None:
        self._is_part = is_part
        self._end = anyio.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        self.task: asyncio.Task[None] | None = None  # asyncio keeps no strong reference to a running task

    async def fly(self, work: Awaitable[T], running: set[_Flight[Any]]) -> None:
        try:
            self._result = await work
        except Exception as error:
            self._error = error
        except BaseException as error:
            # The event loop is ending, or a storage raises what it should not.
            self._interrupt(error)
            raise
        finally:
            running.discard(self)
            self._end.set()

    def end_unstarted(self, work: Coroutine[Any, Any, T], running: set[_Flight[Any]]) -> None:
        """Ends it if its task was cancelled before its first step, as by who cancels all tasks: nobody waits for ever."""
        if not self.has_ended():
            work.close()
            self._interrupt(asyncio.CancelledError())
            running.discard(self)
            self._end.set()

    def _interrupt(self, error: BaseException) -> None:
        self._error = error if self._is_part else describe_interruption(error)

    def has_ended(self) -> bool:
        return self._end.is_set()

    async def wait(self) -> None:
        await self._end.wait()

    async def join(self) -> T:
        await self.wait()
        if isinstance(self._error, LatchkeyError):
            raise self._error.copy() from self._error.__cause__
        if self._error is not None:
            raise self._error
        return cast(T, self._result)


class _AsyncAuth(httpx.Auth):
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        client = self._client
        core = client._core
        run = client._run
        audience = core.find_audience(request.url)
        held = await run(core.authorize(audience=audience))
        set_token(request, held)
        repeatable = is_repeatable(request)
        response = yield request
        if response.status_code == 401 and repeatable and not asks_for_password(response):
            successor = await run(core.authorize(held, audience))
            if successor.is_of_same_user(held):
                await response.aread()  # so that the connection can be used again
                set_token(request, successor)
                yield request

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        raise RuntimeError("use the auth of latchkey.Client with httpx.Client")


def running_loop() -> object:
    """What stands for the running event loop, of asyncio or trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        trio = sys.modules.get("trio")
        if trio is None:
            raise
        return trio.lowlevel.current_trio_token()


def is_over(loop: object) -> bool:
    """Whether an event loop has ended."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.is_closed()
    trio = sys.modules["trio"]
    try:
        cast(Any, loop).run_sync_soon(release_nothing)
    except trio.RunFinishedError:
        return True
    return False
