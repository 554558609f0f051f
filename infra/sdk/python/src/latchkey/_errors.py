"""The one exception of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .types import InvalidValue

SIGNED_OUT: Final = frozenset({"invalid_refresh_token", "refresh_token_reused"})
"""The codes of a refresh that end the session. No other code, no status and no outage does."""


class LatchkeyError(Exception):
    """A request that did not do what it should. Decide by ``code``.

    Latchkey's own codes are `latchkey.types.KnownCode`; this package adds those of its own:

    =====================  =============================================================================
    ``not_signed_in``      Nobody is signed in here, no longer, or somebody else than when the call began.
    ``network_error``      No reply came. Whether the request did its work is not known.
    ``unexpected_reply``   The reply is not one of Latchkey's: a proxy, a firewall or a sign-in page of the network.
    ``storage_failed``     The storage cannot be read and nothing is in memory, so it is not known who is signed in.
    ``origin_refused``     The address is not one that may receive the access token, so nothing was sent.
    ``keys_unavailable``   `latchkey.verify` cannot read the published keys. Answer 503.
    =====================  =============================================================================
    """

    code: str
    """What to decide by. A code that you do not know means what its status means."""
    status: int | None
    """The HTTP status of the reply, or the one to answer with (`latchkey.verify`). ``None`` if there is none."""
    detail: str
    """What it means here, for developers. The words may change."""
    request_id: str | None
    """Names the request in Latchkey's logs."""
    retry_after: float | None
    """Seconds until it may be tried again, if the reply says so."""
    errors: Sequence[InvalidValue]
    """The values that are not allowed, with ``validation_failed`` and ``weak_password``."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        errors: Sequence[InvalidValue] = (),
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.errors = tuple(errors)

    def __str__(self) -> str:
        status = f" ({self.status})" if self.status else ""
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.code}{status}: {self.detail}{request}"

    @property
    def signed_out(self) -> bool:
        """Whether nobody is signed in here now: ask the user to sign in.

        It is false for outages: the session is kept then, and the same call may work later.
        """
        return self.code == "not_signed_in" or self.code in SIGNED_OUT

    def copy(self, *, retry_after: float | None = None) -> LatchkeyError:
        """The same error without a traceback, for each of several callers who share one failure."""
        return LatchkeyError(
            self.code,
            self.detail,
            status=self.status,
            request_id=self.request_id,
            retry_after=self.retry_after if retry_after is None else retry_after,
            errors=self.errors,
        )
