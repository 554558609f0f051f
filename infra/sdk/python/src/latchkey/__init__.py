"""Keeps a user of Latchkey signed in.

    from latchkey import Client, FileStorage

    with Client("https://auth.example.com", storage=FileStorage("session.json")) as client:
        if client.signed_in() is None:
            client.sign_in("ada@example.com", "correct horse battery staple")
        print(client.get_sessions()["total"])

`Client` is for threads, `AsyncClient` for asyncio and trio. `latchkey.verify` checks access tokens in a service of yours,
`latchkey.types` describes the replies.
"""

from ._async import AsyncClient
from ._clock import Clock
from ._errors import LatchkeyError
from ._session import Change
from ._storage import AsyncStorage, FileStorage, LockableStorage, MemoryStorage, Storage
from ._sync import Client
from ._version import __version__

__all__ = [
    "AsyncClient",
    "AsyncStorage",
    "Change",
    "Client",
    "Clock",
    "FileStorage",
    "LatchkeyError",
    "LockableStorage",
    "MemoryStorage",
    "Storage",
    "__version__",
]
