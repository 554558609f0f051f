"""What both clients do in the same way: tokens in requests, storages that are not asynchronous, failures in words."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx

from ._effects import Update
from ._errors import LatchkeyError
from ._session import Held, Vault
from ._storage import Storage


class ForkGuard:
    """Starts again what a forked child has of its parent, where a lock may be held by a thread that the child does not have."""

    def __init__(self, start: Callable[[], None]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._process = os.getpid()

    def check(self) -> None:
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process != os.getpid():
                self._start()
                self._process = os.getpid()  # last: whoever sees it finds all else as it is in this process


def refuse_cookies(http: httpx.Client | httpx.AsyncClient) -> None:
    """Tokens are all that is sent: what an API sets for one user must not go with the request of the next."""
    http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))


def asks_for_password(response: httpx.Response) -> bool:
    """Whether a service wants the password again (RFC 9470): a refresh would not help."""
    return "insufficient_user_authentication" in response.headers.get("www-authenticate", "")


def set_token(request: httpx.Request, held: Held) -> None:
    request.headers["Authorization"] = f"Bearer {held.access_token}"


def is_repeatable(request: httpx.Request) -> bool:
    """Whether the body of the request can be sent again: it is in memory, and not a stream of the caller's."""
    return isinstance(request.stream, httpx.ByteStream)


def update_storage(vault: Vault, storage: Storage, update: Update) -> Any:
    """Reads, decides and writes, with a storage that is not asynchronous."""
    loaded: str | Exception | None
    try:
        loaded = storage.load()
    except Exception as error:
        loaded = error
    result, text = vault.update(loaded, update.decide, update.reason, is_blind=update.is_blind)
    if text is not None:
        failure: Exception | None = None
        try:
            storage.save(text)
        except Exception as error:
            failure = error
        vault.settle(text, failure)
    return result


def describe_network_error(error: httpx.HTTPError, url: str) -> LatchkeyError:
    return LatchkeyError("network_error", f"{url}: {type(error).__name__}: {error}")


def describe_interruption(error: BaseException) -> LatchkeyError:
    """The failure of a shared refresh, for those who wait for it: they were not interrupted themselves."""
    if isinstance(error, LatchkeyError):
        return error
    return LatchkeyError("network_error", f"The refresh was interrupted: {type(error).__name__}.")


def release_nothing() -> None:
    """What gives back the lock of a storage that has none."""
