"""An API in FastAPI that Latchkey protects. It needs `pip install fastapi uvicorn`, and runs with
`ISSUER=http://127.0.0.1:3000 AUDIENCE=latchkey uvicorn fastapi_app:app`.

ISSUER is the address of Latchkey, AUDIENCE for whom tokens must be: Latchkey itself, as above, or the name of this API in
Latchkey's setting AUDIENCES. A token for the API alone may ask Latchkey nothing, so `/payments` answers it with 403.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException

from latchkey import LatchkeyError
from latchkey.verify import AsyncVerifier, Claims, challenge, read_bearer

verifier = AsyncVerifier(os.environ["ISSUER"], os.environ["AUDIENCE"])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    async with verifier:
        yield


app = FastAPI(lifespan=lifespan)


async def user(authorization: Annotated[str | None, Header()] = None) -> Claims:
    """Whoever sends a valid token. Their session may have ended some minutes ago."""
    try:
        return await verifier.verify(read_bearer(authorization))
    except LatchkeyError as error:
        raise HTTPException(error.status or 503, error.code, challenge(error)) from error


async def user_now(authorization: Annotated[str | None, Header()] = None) -> Claims:
    """Whoever sends a valid token of a session that is live at this moment."""
    try:
        return await verifier.verify_now(read_bearer(authorization))
    except LatchkeyError as error:
        raise HTTPException(error.status or 503, error.code, challenge(error)) from error


@app.get("/orders")
async def list_orders(claims: Annotated[Claims, Depends(user)]) -> dict[str, str]:
    return {"orders of": claims["sub"]}


@app.post("/payments")
async def pay(claims: Annotated[Claims, Depends(user_now)]) -> dict[str, str]:
    return {"paid by": claims["sub"]}
