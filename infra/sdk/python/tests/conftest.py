from __future__ import annotations

from collections.abc import Iterator

import pytest

from world import World, start_stack


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    with start_stack() as address:
        yield address


@pytest.fixture(params=["sync", "asyncio", "trio"])
def world(api: str, request: pytest.FixtureRequest) -> World:
    return World(api, request.param)
