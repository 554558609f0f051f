"""What a client is made with, and what it refuses: origins, storages, transports and their cookies."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from latchkey import Client, LatchkeyError, MemoryStorage
from world import PASSWORD, World, offline

AUTH, ORDERS = "https://auth.example.com", "https://orders.example.com"


@pytest.mark.parametrize(
    ("origins", "kind"),
    [
        ("https://api.example.com", TypeError),
        (["http://api.example.com"], ValueError),
        (["localhost:8080"], ValueError),
        (["https://api.example.com/v1"], ValueError),
        ({AUTH: ORDERS}, ValueError),
        ({f"{AUTH}:443/": ORDERS}, ValueError),
    ],
)
def test_origins_that_would_send_tokens_astray_are_refused(origins: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="origins"):
        Client(AUTH, origins=origins)


def test_origins_that_are_safe() -> None:
    for origins in ([AUTH, f"{ORDERS}/"], {AUTH: None, ORDERS: "orders"}, []):
        Client(f"{AUTH}/path", origins=origins).close()


@pytest.mark.parametrize("device_id", ["a\nb", "\u2603", "x" * 20_000])
def test_device_id_that_no_header_can_hold_is_refused(device_id: str) -> None:
    with pytest.raises(ValueError, match="device_id"):
        Client(AUTH, device_id=device_id)


def test_storage_that_is_empty_is_used() -> None:
    class Sized(MemoryStorage):
        def __len__(self) -> int:
            return 0

    storage = Sized()
    with Client(AUTH, storage=storage) as client:
        assert client._storage is storage


def test_cookies_are_neither_kept_nor_sent(world: World) -> None:
    """A server makes one client for each user and one transport for all; one client may serve one user after another."""
    seen: list[str | None] = []

    def give_a_cookie(request: httpx.Request, _: Any) -> httpx.Response:
        seen.append(request.headers.get("cookie"))
        return httpx.Response(200, json={}, headers={"set-cookie": f"visitor={len(seen)}; Path=/"})

    ada, eve = world.client(), world.client(storage=MemoryStorage())
    world.register(ada)
    eve.register(f"eve-{world.email}", PASSWORD)
    world.network.fail("/v1/me", *[give_a_cookie] * 5)
    for client in (ada, eve, ada):
        assert client.request("GET", "/v1/me").status_code == 200
    eve.me()
    assert seen == [None] * 4


def test_network_error_names_the_address(world: World) -> None:
    world.network.fail("/v1/auth/login", offline)
    with pytest.raises(LatchkeyError, match=world.api):
        world.client().sign_in(world.email, PASSWORD)
