"""What the core needs done, and who may have it done when. Nothing is done here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from ._errors import LatchkeyError
from ._requests import Request
from ._session import Document, Held

T = TypeVar("T")


@dataclass(frozen=True)
class Update:
    """Read the storage, decide, write what changed; nobody else of this client may do so in between.

    ``is_blind`` says that it can be decided without a storage that cannot be read, as if nothing were stored.
    """

    decide: Callable[[Document], tuple[Document, Any]]
    reason: LatchkeyError | None = None
    is_blind: bool = False


@dataclass(frozen=True)
class Send:
    """Send the request. Raise `LatchkeyError` ``network_error`` if no reply comes."""

    request: Request


@dataclass(frozen=True)
class Sleep:
    """Wait for seconds."""

    seconds: float


@dataclass(frozen=True)
class Yield:
    """Let others of this client continue, for seconds of real time, whatever a test's clock says."""

    seconds: float


@dataclass(frozen=True)
class TryLock:
    """Take the storage's lock without waiting. The result gives it back; ``None`` if another one has it."""


@dataclass(frozen=True)
class Share:
    """Run the flow to its end, whatever happens to its caller, and give its result to all who ask meanwhile.

    Flows with different audiences run in parallel: the server gives them the same successor.
    """

    flow: Flow[Held | None]
    audience: str | None


Effect: TypeAlias = Update | Send | Sleep | Yield | TryLock | Share
Flow: TypeAlias = Generator[Effect, Any, T]


class Turns:
    """Who of this client may send what replaces tokens: any number of refreshes, or one replacement of the session.

    A refresh during a password change would be refused, because its session has just ended, and would sign the user out
    before the new session is stored. Sign-ins take turns too: each ends the one before, so their replies must stay in order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    def try_begin(self, kind: Literal["refresh", "replace", "sign_in"]) -> bool:
        with self._lock:
            running = self._running
            blockers = {"refresh": ("replace",), "replace": ("replace", "refresh"), "sign_in": ("sign_in",)}[kind]
            if any(running[one] for one in blockers):
                return False
            running[kind] += 1
            return True

    def end(self, kind: str) -> None:
        with self._lock:
            self._running[kind] -= 1
