"""A running local stack, a network that loses what it is asked to lose, and a clock that the test moves."""

from __future__ import annotations

import base64
import functools
import inspect
import json
import os
import subprocess
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx

from latchkey import AsyncClient, Client, Clock, MemoryStorage, Storage

PASSWORD = "correct horse battery staple"
REFRESH = "/v1/auth/refresh"
SETTINGS = {
    "ADDRESS_ATTEMPTS_PER_MINUTE": "0",
    "LIST_PER_MINUTE": "0",
    "CHANGE_PER_MINUTE": "0",
    "PURGE_PER_MINUTE": "0",
    "AUDIENCES": "https://orders.example.com",
}

Answer: TypeAlias = httpx.Response | Exception
Fault = Callable[[httpx.Request, Callable[[], httpx.Response]], Answer]
"""What happens to a request instead of, or after, sending it."""


@contextmanager
def start_stack(data: Path | None = None, **settings: str) -> Generator[str]:
    """A fresh stack, in memory or in a folder; gives its address."""
    binary = os.environ["LATCHKEY_BINARY"]
    inherited = {name: value for name, value in os.environ.items() if name not in {"ISSUER", "AUDIENCE"}}
    with tempfile.TemporaryDirectory() as folder:
        banner = Path(folder, "banner")
        with banner.open("w") as out, Path(folder, "log").open("w") as log:
            stack = subprocess.Popen(
                [binary, "--port", "0", *(["--data-dir", str(data)] if data else ["--memory"])],
                stdout=out,
                stderr=log,
                env={**inherited, **SETTINGS, **settings},
            )
        try:
            for _ in range(200):
                lines = [line.split() for line in banner.read_text().splitlines()]
                found = [words[1] for words in lines if len(words) == 2 and words[0] == "API"]
                if found:
                    break
                time.sleep(0.05)  # a program that the test has started needs real time
            else:
                raise RuntimeError(Path(folder, "log").read_text())
            yield found[0]
        finally:
            stack.terminate()
            stack.wait()


class MovableClock:
    """Time that passes as it does, and in jumps. Nothing waits: a sleep moves the clock."""

    def __init__(self) -> None:
        self.jumped = 0.0
        self.wall_offset = 0.0
        self.waits: list[float] = []

    def advance(self, seconds: float) -> None:
        """Lets time pass here, and not at the server."""
        self.jumped += seconds

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.jumped += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await anyio.lowlevel.checkpoint()

    @property
    def clock(self) -> Clock:
        return Clock(
            elapsed=lambda: time.monotonic() + self.jumped,
            wall=lambda: time.time() + self.jumped + self.wall_offset,
            sleep=self.sleep,
            async_sleep=self.async_sleep,
        )


class Network:
    """Carries requests to the stack, counts them, and does what a fault says. For both kinds of clients."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.tokens: list[str] = []
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.Lock()

    def fail(self, path: str, *faults: Fault) -> None:
        """The next requests of a path meet these faults, one each."""
        self._faults.setdefault(path, []).extend(faults)

    @property
    def refreshes(self) -> int:
        return self.counts[REFRESH]

    def carry(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.counts[request.url.path] += 1
            waiting = self._faults.get(request.url.path)
            fault = waiting.pop(0) if waiting else None

        def send() -> httpx.Response:
            with httpx.HTTPTransport(verify=False) as transport:
                response = transport.handle_request(request)
                response.read()
                return httpx.Response(response.status_code, headers=response.headers, content=response.content)

        answer = fault(request, send) if fault else send()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sync_transport(self) -> httpx.BaseTransport:
        return _SyncTransport(self)

    def async_transport(self) -> httpx.AsyncBaseTransport:
        return _AsyncTransport(self)


class _SyncTransport(httpx.BaseTransport):
    def __init__(self, network: Network) -> None:
        self._network = network

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._network.carry(request)


class _AsyncTransport(httpx.AsyncBaseTransport):
    def __init__(self, network: Network) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        # In a thread, so that the request goes on at the server when its task is cancelled.
        return await anyio.to_thread.run_sync(self._network.carry, request, abandon_on_cancel=True)


def before_reply(act: Callable[[], Any]) -> Fault:
    """The server has answered, and somebody acts, in another thread, before the reply comes."""

    def fault(_: httpx.Request, send: Callable[[], httpx.Response]) -> Answer:
        response = send()
        in_a_thread(act)
        return response

    return fault


def in_a_thread(act: Callable[[], Any]) -> None:
    """Somebody acts in another thread, and is done before this returns."""
    with ThreadPoolExecutor() as pool:
        pool.submit(act).result()


def lose_reply(_: httpx.Request, send: Callable[[], httpx.Response]) -> Answer:
    """The server acts, and its reply never comes."""
    send()
    return httpx.ReadError("the connection was reset")


class HeldReply:
    """A fault: the server has answered, and its reply is held until the test lets it through."""

    def __init__(self) -> None:
        self.is_given, self.may_pass = threading.Event(), threading.Event()

    def __call__(self, _: httpx.Request, send: Callable[[], httpx.Response]) -> Answer:
        response = send()
        self.is_given.set()
        self.may_pass.wait(5)
        return response


def settle(result: Future[Any], call: Callable[..., Any], *arguments: Any) -> None:
    """Makes a call and keeps what comes of it."""
    try:
        result.set_result(call(*arguments))
    except Exception as error:
        result.set_exception(error)


@contextmanager
def overtaking(network: Network, path: str, call: Callable[..., Any], *arguments: Any) -> Generator[Future[Any]]:
    """Makes a call when the server has answered the next request of a path, before its client has the reply. That waits
    half a second for the call, as long as a call that does not wait in turn would take. Gives its result."""
    result: Future[Any] = Future()
    with ThreadPoolExecutor() as pool:

        def overtake(_: httpx.Request, send: Callable[[], httpx.Response]) -> Answer:
            response = send()
            wait([pool.submit(settle, result, call, *arguments)], 0.5)
            return response

        network.fail(path, overtake)
        yield result


def offline(_: httpx.Request, __: Callable[[], httpx.Response]) -> Answer:
    return httpx.ConnectError("the network is unreachable")


def answer(status: int, body: object = None, **headers: str) -> Fault:
    """The reply of something in between; a problem if the body has a code."""

    def fault(_: httpx.Request, __: Callable[[], httpx.Response]) -> Answer:
        content = body if isinstance(body, str) else json.dumps(body)
        return httpx.Response(status, headers={k.replace("_", "-"): v for k, v in headers.items()}, text=content)

    return fault


def answer_after(status: int, body: object = None, **headers: str) -> Fault:
    """The server acts, and another reply comes in place of its own."""
    instead = answer(status, body, **headers)

    def fault(request: httpx.Request, send: Callable[[], httpx.Response]) -> Answer:
        send()
        return instead(request, send)

    return fault


def full(retry_after: str) -> Fault:
    return answer(429, {"code": "too_many_requests", "status": 429}, retry_after=retry_after)


def busy(retry_after: str) -> Fault:
    return answer(503, {"code": "temporarily_unavailable", "status": 503}, retry_after=retry_after)


class Blocking:
    """An `AsyncClient` whose methods block, each in an event loop of its own, so that one test can try both clients."""

    def __init__(self, client: AsyncClient, backend: str) -> None:
        self._client = client
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not inspect.iscoroutinefunction(method):
            return method

        def run(*arguments: Any, **options: Any) -> Any:
            return anyio.run(functools.partial(method, *arguments, **options), backend=self._backend)

        return run


class LoopStorage:
    """A storage behind the event loop."""

    def __init__(self) -> None:
        self.text: str | None = None

    async def load(self) -> str | None:
        await anyio.lowlevel.checkpoint()
        return self.text

    async def save(self, text: str) -> None:
        await anyio.lowlevel.checkpoint()
        self.text = text


class World:
    """A user, their network and their clock; makes clients of one kind."""

    def __init__(self, api: str, kind: str) -> None:
        self.api = api
        self.kind = kind
        self.network = Network()
        self.time = MovableClock()
        self.storage: Storage = MemoryStorage()
        self.email = f"{uuid.uuid4()}@example.com"

    def client(self, **options: Any) -> Any:
        options = {"storage": self.storage, "clock": self.time.clock, **options}
        if self.kind == "sync":
            return Client(self.api, transport=self.network.sync_transport(), **options)
        return Blocking(AsyncClient(self.api, transport=self.network.async_transport(), **options), self.kind)

    def register(self, client: Any) -> None:
        client.register(self.email, PASSWORD)

    def expire(self) -> None:
        """Lets the access token expire here: as if time had passed, on all clocks of this machine."""
        self.time.advance(1000)

    def rotation(self, storage: Storage | None = None) -> int:
        """How often the stored refresh token has been replaced. Clients must not look; a test may."""
        text = (storage or self.storage).load()
        assert text is not None
        return rotation(text)


def held(text: str | None) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(text)["held"] if text else None
    return found


def rotation(text: str) -> int:
    stored = held(text)
    assert stored is not None, "nobody is signed in"
    payload = stored["refresh_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return int(claims["jti"].rpartition(".")[2])
