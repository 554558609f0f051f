"""The client for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar, cast

import httpx

from ._clock import Clock
from ._core import Core
from ._effects import Effect, Flow, Send, Share, Sleep, TryLock, Update, Yield
from ._errors import LatchkeyError
from ._listeners import Listener, Listeners
from ._requests import Reply, Request
from ._session import Held
from ._storage import MemoryStorage, Storage
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


class Client:
    """Keeps one user signed in, and calls Latchkey and your own APIs for them.

    One client may be used by any number of threads: they share one refresh. Close it, or use it in ``with``.

    Args:
        url: The address of Latchkey's API, its ``ISSUER``: ``https://auth.example.com``. Plain http is accepted for this
            machine only.
        storage: Where the session is kept between runs. In memory if none is given.
        origins: Further origins that may receive an access token, such as ``https://api.example.com``. It is never sent
            to others. A mapping also names the audience of each, one of Latchkey's ``AUDIENCES``: the token is then for
            that API alone and opens nothing at Latchkey. ``None``, as in a list, is Latchkey's own audience.
        device_id: Names this installation, for the user's list of sessions. One is made and stored if none is given. Two
            installations must not have the same one.
        device_name: What to call this device in the list, such as "Ada's laptop".
        transport: Sends the requests, such as ``httpx.HTTPTransport(proxy=...)``. Many clients may share one, and it is not
            closed with this client. Without one the client makes its own.
        timeout: Seconds to wait for a connection or a reply.
        clock: For tests: the time, and how to wait.

    All methods raise `LatchkeyError`; `request` also what httpx raises, when your API cannot be reached. Cookies are neither
    kept nor sent.
    """

    def __init__(
        self,
        url: str,
        *,
        storage: Storage | None = None,
        origins: Iterable[str] | Mapping[str, str | None] = (),
        device_id: str | None = None,
        device_name: str | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 10,
        clock: Clock | None = None,
    ) -> None:
        self._core = Core(url, origins=origins, device_id=device_id, device_name=device_name, clock=clock)
        self._storage: Storage = MemoryStorage() if storage is None else storage
        self._transport = transport
        self._timeout = timeout
        self._http = self._make_http()
        self._listeners = Listeners()
        self._auth = _Auth(self)
        self._make_locks()
        self._fork_guard = ForkGuard(self._start_in_this_process)

    def _start_in_this_process(self) -> None:
        self._core.start_in_this_process()
        self._listeners.start_in_this_process()
        self._make_locks()
        if self._transport is None:
            self._http = self._make_http()  # Parent and child must not use one connection.

    def _make_locks(self) -> None:
        # Held while the storage is read and written, never while something is sent or a listener is called.
        self._storage_lock = threading.Lock()
        self._flight_lock = threading.Lock()
        self._flights: dict[str | None, Future[Held | None]] = {}

    # The session.

    def register(self, email: str, password: str, *, device_name: str | None = None) -> SignedIn | None:
        """Makes an account and signs in.

        ``None`` means that a mail was sent, also if the address is taken, and that nobody new is signed in: the user has to
        open its link first (`verify_email`), then `sign_in` works. It is so with ``REQUIRE_VERIFIED_EMAIL``. Codes of its own:
        ``email_taken``, ``weak_password``, ``validation_failed``, ``registration_closed``.
        """
        return self._run(self._core.sign_in("register", email, password, device_name))

    def sign_in(self, email: str, password: str, *, device_name: str | None = None) -> SignedIn:
        """Signs in. Codes of its own: ``invalid_credentials``, ``account_disabled``, ``email_not_verified``."""
        return cast(SignedIn, self._run(self._core.sign_in("sign_in", email, password, device_name)))

    def sign_out(self) -> bool:
        """Forgets the session and ends it at Latchkey.

        ``False`` means that there was no 204, so it is not known whether the session has ended: if it lives, it ends by its
        idle expiry, or from the list of sessions on another device. The only code is ``storage_failed``: nothing is known,
        so nobody is signed out.
        """
        return self._run(self._core.sign_out())

    def signed_in(self) -> SignedIn | None:
        """Who is signed in here, as far as the storage tells; nothing is sent. ``None`` if nobody is."""
        return self._run(self._core.signed_in())

    def reauthenticate(self, password: str) -> SignedIn:
        """Proves again that it is the user, after ``reauthentication_required``. Code of its own: ``wrong_password``."""
        return self._run(self._core.reauthenticate(password))

    def access_token(self, audience: str | None = None) -> str:
        """A fresh access token, for what is not sent with httpx. Send it only to services of yours.

        ``audience`` is one of Latchkey's ``AUDIENCES``; without it the token is for Latchkey itself.
        """
        return self._run(self._core.authorize(audience=audience)).access_token

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Calls the listener after each sign-in, refresh and sign-out, in the thread that has caused or noticed it, or in one
        that tells of another change. All hear of one change before the next.

        No lock is held that a call needs, so it may use the client. What it raises is logged. The result ends the calls.
        """
        return self._listeners.add(listener)

    # The sessions of the user.

    def get_sessions(self) -> SessionList:
        """Where the user is signed in."""
        return self._run(self._core.get_sessions())

    def get_session(self) -> Session:
        """The session of this client, as Latchkey sees it now."""
        return self._run(self._core.get_session())

    def rename_session(self, session_id: str, name: str | None) -> Session:
        """Names a session; ``None`` clears its name. Codes: ``session_not_found``, ``validation_failed``."""
        return self._run(self._core.rename_session(session_id, name))

    def revoke_session(self, session_id: str) -> None:
        """Ends a session; if it is this one, nobody is signed in afterwards. Code of its own: ``session_not_found``."""
        self._run(self._core.revoke_session(session_id))

    def revoke_others(self) -> int:
        """Ends all other sessions of the user and returns how many there were."""
        return self._run(self._core.revoke_others())

    def logout_all(self) -> int:
        """Ends all sessions of the user, this one too, and returns how many there were."""
        return self._run(self._core.logout_all())

    def remove_expired_sessions(self) -> int:
        """Removes the user's ended sessions for good and returns how many there were."""
        return self._run(self._core.remove_expired_sessions())

    # The account.

    def me(self) -> Account:
        """The user's account."""
        return self._run(self._core.me())

    def change_password(self, current_password: str, new_password: str) -> SignedIn:
        """Changes the password. All sessions end, and this client continues with a new one.

        Codes of its own: ``wrong_password``, ``weak_password``, ``password_unchanged``.
        """
        return self._run(self._core.change_password(current_password, new_password))

    def delete_account(self, password: str) -> None:
        """Deletes the account for good. Codes of its own: ``wrong_password``, ``reauthentication_required``."""
        self._run(self._core.delete_account(password))

    def activity(self, *, cursor: str | None = None, limit: int | None = None) -> ActivityPage:
        """What happened to the account, newest first. ``cursor`` is the ``next_cursor`` of the page before."""
        return self._run(self._core.activity(cursor, limit))

    def export_data(self) -> Export:
        """Everything that is stored about the user."""
        return self._run(self._core.export_data())

    def change_email(self, email: str, password: str) -> None:
        """Sends a link to the new address; opening it changes the address. It is valid as long as this session.

        Codes of its own: ``wrong_password``, ``reauthentication_required``, ``email_taken``.
        """
        self._run(self._core.change_email(email, password))

    def request_email_verification(self) -> None:
        """Sends a link that verifies the user's address. Codes: ``no_password``, of somebody who signs in elsewhere."""
        self._run(self._core.request_email_verification())

    def verify_email(self, token: str) -> None:
        """Verifies an address with the token of a link. No sign-in is needed. Codes: ``invalid_link``, ``email_taken``."""
        self._run(self._core.verify_email(token))

    def request_password_reset(self, email: str) -> None:
        """Sends a link that sets a new password, if there is such an account; the reply does not tell."""
        self._run(self._core.request_password_reset(email))

    def confirm_password_reset(self, token: str, new_password: str) -> None:
        """Sets a new password with the token of a link. All sessions end. Codes: ``invalid_link``, ``weak_password``."""
        self._run(self._core.confirm_password_reset(token, new_password))

    # Your own APIs.

    @property
    def auth(self) -> httpx.Auth:
        """Adds the access token to requests of an `httpx.Client` of yours, refreshes it, and repeats once after a 401.

        A request to an address that is not one of ``origins`` raises `LatchkeyError` ``origin_refused``.
        """
        return self._auth

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Sends a request with the access token and returns the reply, whatever its status is.

        A ``url`` that begins with ``/`` is a path of Latchkey's API; any other must be of one of ``origins``. ``options``
        are those of `httpx.Client.request`. After a 401 the token is refreshed and the request is repeated once, unless its
        body is a stream that can be sent only once.
        """
        self._fork_guard.check()
        return self._http.request(method, self._core.url(url), auth=self._auth, **options)

    def close(self) -> None:
        """Closes the connections. The session stays in the storage."""
        if self._transport is None:
            self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    # Doing what the core asks for.

    def _run(self, flow: Flow[T]) -> T:
        """Does an operation, then tells the listeners what has changed."""
        self._fork_guard.check()
        try:
            return self._drive(flow)
        finally:
            self._listeners.tell(self._core.vault.changes)

    def _drive(self, flow: Flow[T]) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    result = self._perform(effect)
                except BaseException as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration as end:
            return cast(T, end.value)

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Update():
                return self._update(effect)
            case Send(request):
                return self._send(request)
            case Sleep(seconds):
                return self._core.clock.sleep(seconds)
            case Yield(seconds):
                return time.sleep(seconds)
            case TryLock():
                try_lock = getattr(self._storage, "try_lock", None)
                return release_nothing if try_lock is None else try_lock()
            case Share(flow, audience):
                return self._share(flow, audience)

    def _update(self, update: Update) -> Any:
        vault, storage = self._core.vault, self._storage
        with self._storage_lock:
            return update_storage(vault, storage, update)

    def _send(self, request: Request) -> Reply:
        http = self._http
        prepared = http.build_request(
            request.method, request.url, headers=request.headers, params=request.params, json=request.json
        )
        try:
            response = http.send(prepared, auth=None, follow_redirects=False)
        except httpx.HTTPError as error:
            raise describe_network_error(error, request.url) from error
        return Reply(response.status_code, dict(response.headers), response.content)

    def _share(self, flow: Flow[Held | None], audience: str | None) -> Held | None:
        mine: Future[Held | None] = Future()
        try:
            with self._flight_lock:
                running = self._flights.setdefault(audience, mine)
            if running is mine:
                held = self._drive(flow)
                self._end_flight(audience, mine)
                mine.set_result(held)
                return held
        except BaseException as error:
            # Wherever an interrupt (Ctrl-C) comes: nobody is left waiting.
            self._end_flight(audience, mine)
            if not mine.done():
                mine.set_exception(describe_interruption(error))
            raise
        flow.close()
        try:
            return running.result()
        except LatchkeyError as error:
            raise error.copy() from None

    def _end_flight(self, audience: str | None, flight: Future[Held | None]) -> None:
        with self._flight_lock:
            if self._flights.get(audience) is flight:
                del self._flights[audience]

    def _make_http(self) -> httpx.Client:
        http = httpx.Client(transport=self._transport, timeout=self._timeout, headers={"User-Agent": USER_AGENT})
        refuse_cookies(http)
        return http


class _Auth(httpx.Auth):
    def __init__(self, client: Client) -> None:
        self._client = client

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        client = self._client
        core = client._core
        run = client._run
        audience = core.find_audience(request.url)
        held = run(core.authorize(audience=audience))
        set_token(request, held)
        repeatable = is_repeatable(request)
        response = yield request
        if response.status_code == 401 and repeatable and not asks_for_password(response):
            successor = run(core.authorize(held, audience))
            if successor.is_of_same_user(held):
                response.read()  # so that the connection can be used again
                set_token(request, successor)
                yield request

    def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        raise RuntimeError("use the auth of latchkey.AsyncClient with httpx.AsyncClient")
