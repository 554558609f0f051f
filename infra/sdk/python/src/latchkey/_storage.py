"""Where a session is kept between calls and between runs."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Storage(Protocol):
    """A place for one text. Write your own for a keyring, a database or a web framework's session.

    The text holds tokens: whoever reads it is the user. Keep it out of logs and of backups, because a restored token
    looks like a stolen one. Methods may raise; the client then works from memory and stores the text when it can. While
    ``load`` raises it stores nothing but a new sign-in. The rest it stores at the next call that can read it, unless what
    it finds there is later: of all sign-ins and sign-outs, in whichever process, the last one counts, by the server's time,
    and of two at the same second the sign-out. (A sign-out that the server does not answer, in a process that it has
    not answered before, ends who is signed in, and nothing that another process could not store before.) Who removes
    the text signs out whom it held, and so does who empties it, unless there is something to store still; one that is broken
    says nothing to who has read it before.

    A storage that several processes share may also have ``try_lock``, as `FileStorage` has. It saves requests: without it
    the server gives all who refresh at once the same successor. After sign-ins at once the client asks which session lives.
    """

    def load(self) -> str | None:
        """The text, or ``None`` if there is none."""
        ...

    def save(self, text: str) -> None:
        """Replaces the text."""
        ...


class AsyncStorage(Protocol):
    """The same for `latchkey.AsyncClient`, for places that are reached through the event loop. ``try_lock`` is an ordinary
    method here too."""

    async def load(self) -> str | None: ...

    async def save(self, text: str) -> None: ...


class LockableStorage(Storage, Protocol):
    """A storage that several processes share."""

    def try_lock(self) -> Callable[[], None] | None:
        """Takes the lock without waiting, and returns what gives it back; ``None`` if another one has it."""
        ...


class MemoryStorage:
    """Keeps the session as long as the process lives. The default.

    A forked child has none: it would refresh the tokens of its parent, and each would make the other's look stolen.
    """

    def __init__(self) -> None:
        self._text: str | None = None
        self._process = os.getpid()

    def load(self) -> str | None:
        return self._text if self._process == os.getpid() else None

    def save(self, text: str) -> None:
        self._text, self._process = text, os.getpid()


class FileStorage:
    """Keeps the session in a file that only its owner may read, and that several processes may share.

    The file is replaced as a whole, so a crash leaves the old text or the new one. The lock is a second file with the
    ending ``.lock``; the system releases it when its holder dies. The folder is made if there is none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def load(self) -> str | None:
        try:
            return self.path.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def save(self, text: str) -> None:
        self._make_folder()
        # mkstemp makes the file with mode 0600.
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def try_lock(self) -> Callable[[], None] | None:
        self._make_folder()
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except OSError:
            os.close(descriptor)
            return None

        def release() -> None:
            # A forked child has the descriptor too, so closing it here would not be enough.
            with contextlib.suppress(OSError):
                _unlock(descriptor)
            os.close(descriptor)

        return release

    def _make_folder(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
