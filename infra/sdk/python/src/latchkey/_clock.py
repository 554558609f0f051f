"""Time: what passes, and what the server's clock says. Nothing here trusts the wall clock alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import anyio


def read_elapsed() -> float:
    """Seconds that have passed, also while the machine slept, where the system can tell."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)  # CLOCK_MONOTONIC stands still while Linux sleeps
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)  # time.monotonic() stands still while macOS sleeps
    return time.monotonic()


@dataclass(frozen=True)
class Clock:
    """Where a client reads the time. Tests pass their own."""

    elapsed: Callable[[], float] = read_elapsed
    """Seconds since some moment, never set back."""
    wall: Callable[[], float] = time.time
    """Epoch seconds by the machine's own clock, which people and NTP set."""
    sleep: Callable[[float], object] = time.sleep
    """Waits for seconds, in a `latchkey.Client`."""
    async_sleep: Callable[[float], Awaitable[object]] = anyio.sleep
    """Waits for seconds, in a `latchkey.AsyncClient`."""


class ServerTime:
    """The server's clock, in epoch seconds, followed by the time that passes here.

    It is measured from the ``Date`` of replies. Until the first reply it follows from the wall clock as it was at the
    start and from the difference that was measured before and stored. A wall clock that is set later changes nothing.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_of_elapsed = clock.wall() - clock.elapsed()
        self._has_skew = False
        self.is_measured = False
        """Whether a reply has told it. Before that, the wall clock may have been wrong, or set since the last run."""

    def now(self) -> float:
        return self._clock.elapsed() + self._ahead_of_elapsed

    def skew(self) -> float:
        """How far the server's clock is ahead of the wall clock, in seconds."""
        return self.now() - self._clock.wall()

    def assume_skew(self, skew: float) -> None:
        """Takes the difference that an earlier run has measured, until this one has measured its own."""
        if not self._has_skew:
            self._has_skew = True
            self._ahead_of_elapsed += skew

    def measure(self, date: str | None, sent: float, received: float) -> None:
        """Learns from the ``Date`` of a reply; ``sent`` and ``received`` are moments of ``Clock.elapsed``."""
        try:
            told = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, OverflowError):
            return
        # A date has whole seconds, so on average half a second is missing.
        self._ahead_of_elapsed = told + 0.5 - (sent + received) / 2
        self._has_skew = self.is_measured = True
