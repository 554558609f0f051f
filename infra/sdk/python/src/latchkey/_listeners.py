"""Who is told of changes, and in which order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ._session import Change, log

Listener = Callable[[Change], object]


class Listeners:
    """The listeners of a client. All of them hear of a change before any hears of the next."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}
        self.start_in_this_process()

    def start_in_this_process(self) -> None:
        # Held by whoever tells; never waited for, so a listener may use the client.
        self._telling = threading.Lock()

    def add(self, listener: Listener) -> Callable[[], None]:
        """Returns what removes it."""
        place = object()
        self._listeners[place] = listener

        def remove() -> None:
            self._listeners.pop(place, None)

        return remove

    def tell(self, changes: deque[Change]) -> None:
        """Tells what has changed, unless somebody does already: a listener that caused it, or another thread."""
        while changes and self._telling.acquire(blocking=False):
            try:
                while changes:
                    self._tell_one(changes.popleft())
            finally:
                self._telling.release()

    def _tell_one(self, change: Change) -> None:
        for place, listener in tuple(self._listeners.items()):
            if place not in self._listeners:
                continue  # another listener has removed it
            try:
                listener(change)
            except Exception:
                log.exception("a listener of on_change has failed")
