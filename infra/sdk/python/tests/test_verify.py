"""What a service of the team accepts and refuses. infra/scripts/check-verify tries more forgeries on the same library."""

from __future__ import annotations

import importlib.util
import inspect
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

import latchkey
from latchkey import Client, LatchkeyError
from latchkey.verify import AsyncVerifier, Claims, VerificationError, Verifier, challenge, read_bearer
from world import PASSWORD, Network, World, answer, offline, start_stack

JWKS = "/.well-known/jwks.json"
ORDERS = "https://orders.example.com"
NESTED = "[" * 100_000
"""JSON that nests deeper than Python reads."""


def test_keys_grow_old_while_the_machine_sleeps() -> None:
    for verifier in (Verifier, AsyncVerifier):
        assert inspect.signature(verifier).parameters["elapsed"].default is latchkey.Clock().elapsed


def test_verifier_of_a_forked_child_waits_for_no_thread_of_its_parent(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(api, "sync")
    client = world.client()
    world.register(client)
    token = client.access_token()
    with Verifier(api, "latchkey") as verifier, verifier._lock, ThreadPoolExecutor(1) as pool:
        parents_http, pid = verifier._http, os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        assert pool.submit(verifier.verify, token).result(5)["sub"]
        assert verifier._http is not parents_http
        parents_http.close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Service:
    """A verifier of one kind, its network and its clock."""

    def __init__(self, kind: str, api: str, audience: str = "latchkey", **options: Any) -> None:
        self.network, self.clock = Network(), Clock()
        self.verify: Callable[[str], Claims]
        self.verify_now: Callable[[str], Claims]
        if kind == "sync":
            verifier = Verifier(
                api, audience, http=httpx.Client(transport=self.network.sync_transport()), elapsed=self.clock, **options
            )
            self.verify, self.verify_now = verifier.verify, verifier.verify_now
        else:
            other = AsyncVerifier(
                api, audience, http=httpx.AsyncClient(transport=self.network.async_transport()), elapsed=self.clock, **options
            )
            self.verify = lambda token: anyio.run(other.verify, token)
            self.verify_now = lambda token: anyio.run(other.verify_now, token)

    @property
    def reads(self) -> int:
        return self.network.counts[JWKS]


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def token(api: str) -> Iterator[str]:
    with Client(api) as client:
        client.register(World(api, "sync").email, PASSWORD)
        yield client.access_token()


def refusal(act: Callable[[str], Claims], token: str) -> tuple[str, int | None]:
    with pytest.raises(LatchkeyError) as caught:
        act(token)
    return caught.value.code, caught.value.status


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_genuine_token_of_each_algorithm(kind: str, algorithm: str) -> None:
    other = "RS256" if algorithm == "EdDSA" else "EdDSA"
    with start_stack(TOKEN_ALGORITHM=algorithm) as api, Client(api) as client:
        signed_in = client.register(World(api, "sync").email, PASSWORD)
        assert signed_in is not None
        assert signed_in["user"] is not None
        token = client.access_token()
        claims = Service(kind, api).verify(token)
        assert (claims["sub"], claims["sid"]) == (signed_in["user"]["id"], signed_in["session"]["id"])
        assert (claims.get("scope"), claims.get("amr")) == ("account", ["pwd"])
        assert refusal(Service(kind, api, algorithms=[other]).verify, token) == ("invalid_token", 401)


def test_refusals(api: str, kind: str, token: str) -> None:
    header, payload, signature = token.split(".")
    service = Service(kind, api)
    refused = ("invalid_token", 401)
    assert refusal(service.verify, f"{header}.{payload}.{'A' * len(signature)}") == refused
    assert refusal(service.verify, "none") == refused
    assert refusal(service.verify, "") == refused
    assert refusal(service.verify, "\ud800.\ud800.x") == refused  # half of a character, which has no bytes
    assert refusal(Service(kind, api, "another-api").verify, token) == refused
    unsigned = jwt.encode({"sub": "x"}, "", algorithm="none", headers={"typ": "at+jwt", "kid": "k"})
    assert refusal(service.verify, unsigned) == refused
    hmac = jwt.encode({"sub": "x"}, "k" * 32, algorithm="HS256", headers=jwt.get_unverified_header(token) | {"alg": "HS256"})
    assert refusal(service.verify, hmac) == refused


def test_type_is_checked(api: str, kind: str, token: str) -> None:
    """A stranger's key, published by this network as if it were the issuer's, signs what has another type."""
    key = Ed25519PrivateKey.generate()
    published: dict[str, Any] = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    keys = {"keys": [{**published, "kid": "k", "use": "sig", "alg": "EdDSA"}]}
    now = int(time.time())
    claims: dict[str, Any] = {**jwt.decode(token, options={"verify_signature": False}), "iat": now, "exp": now + 60}

    def signed(typ: str = "at+jwt", **changes: Any) -> str:
        changed = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode(changed, key, algorithm="EdDSA", headers={"typ": typ, "kid": "k"})

    def service(**options: Any) -> Service:
        made = Service(kind, api, **options)
        made.network.fail(JWKS, answer(200, keys))
        return made

    assert service().verify(signed())["sub"] == claims["sub"]
    refused = ("invalid_token", 401)
    assert refusal(service().verify, signed("JWT")) == refused
    assert refusal(service().verify, signed("rt+jwt")) == refused
    assert refusal(service().verify, signed(iss="https://auth.example.com")) == refused
    assert refusal(service().verify, signed(aud=["latchkey", "other"])) == refused
    assert refusal(service().verify, signed(sid=None)) == refused
    assert refusal(service().verify, signed(exp=now - 6)) == refused
    assert service().verify(signed(exp=now - 2))["exp"] == now - 2
    assert refusal(service(leeway=0).verify, signed(exp=now - 2)) == refused
    old = signed(auth_time=now - 600)
    assert service(max_age=900).verify(old)["auth_time"] == now - 600
    assert refusal(service(max_age=300).verify, old) == ("insufficient_user_authentication", 401)
    with pytest.raises(VerificationError) as caught:
        service(max_age=2_592_000).verify(signed(auth_time=now - 3_000_000))
    assert caught.value.challenge == 'Bearer error="insufficient_user_authentication", max_age="2592000"'
    assert service(scope="account").verify(old).get("scope") == "account"
    assert refusal(service(scope="account admin").verify, old) == ("insufficient_scope", 403)
    assert refusal(service(scope="account").verify, signed(scope=None)) == ("insufficient_scope", 403)
    # Latchkey would refuse it, whether or not its session is live.
    assert refusal(service().verify_now, signed(scope=None)) == ("insufficient_scope", 403)


def test_keys_are_kept_for_five_minutes_and_unknown_ones_asked_for_rarely(api: str, kind: str, token: str) -> None:
    service = Service(kind, api)
    for _ in range(3):
        service.verify(token)
    assert service.reads == 1
    unknown = jwt.encode({"sub": "x"}, "k" * 32, headers={"typ": "at+jwt", "kid": "unknown"})
    assert refusal(service.verify, unknown) == ("invalid_token", 401)
    assert service.reads == 1
    service.clock.now = 31
    for _ in range(3):
        refusal(service.verify, unknown)
    assert service.reads == 2
    service.clock.now = 330
    service.verify(token)
    assert service.reads == 2
    service.clock.now = 332
    service.verify(token)
    assert service.reads == 3


def test_keys_outlive_an_outage_of_two_hours(api: str, kind: str, token: str) -> None:
    service = Service(kind, api)
    service.network.fail(JWKS, offline)
    assert refusal(service.verify, token) == ("keys_unavailable", 503)
    assert refusal(service.verify, token) == ("keys_unavailable", 503)
    assert service.reads == 1
    service.clock.now = 1
    service.verify(token)
    service.network.fail(JWKS, offline, answer(503), answer(200, "<html>"), answer(200, {"keys": []}), answer(200, NESTED))
    for number in range(1, 6):
        service.clock.now = number * 1000
        service.verify(token)
    unknown = jwt.encode({"sub": "x"}, "k" * 32, headers={"typ": "at+jwt", "kid": "unknown"})
    service.network.fail(JWKS, offline, offline)
    service.clock.now = 7000
    assert refusal(service.verify, unknown) == ("keys_unavailable", 503)
    service.clock.now = 7300
    assert refusal(service.verify, token) == ("keys_unavailable", 503)
    service.clock.now = 7400
    service.verify(token)


def test_revocation_is_seen_by_verify_now_alone(api: str, kind: str) -> None:
    with Client(api) as client:
        client.register(World(api, "sync").email, PASSWORD)
        token = client.access_token()
        service = Service(kind, api)
        assert service.verify_now(token) == service.verify(token)
        client.sign_out()
    service.verify(token)
    assert refusal(service.verify_now, token) == ("invalid_token", 401)
    for fault in (offline, answer(503), answer(200, "<html>"), answer(200, []), answer(200, NESTED)):
        service.network.fail("/v1/me", fault)
        assert refusal(service.verify_now, token) == ("keys_unavailable", 503)
    service.network.fail("/v1/me", answer(200, {"id": "another"}))
    assert refusal(service.verify_now, token) == ("invalid_token", 401)


def test_only_known_algorithms() -> None:
    for algorithms in ([], ["HS256"], ["none"], ["EdDSA", "HS256"]):
        with pytest.raises(ValueError, match="algorithms"):
            Verifier("https://auth.example.com", "a", algorithms=algorithms)


def test_header_and_challenge() -> None:
    assert read_bearer("bearer  abc") == "abc"
    for header in (None, "", "Bearer", "Bearer ", "Basic abc"):
        with pytest.raises(LatchkeyError, match="invalid_token"):
            read_bearer(header)
    with pytest.raises(VerificationError) as caught:
        read_bearer(None)
    assert challenge(caught.value) == {"WWW-Authenticate": "Bearer"}
    assert challenge(VerificationError("invalid_token", "")) == {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    assert challenge(VerificationError("keys_unavailable", "", status=503)) == {"Retry-After": "1"}


def test_challenge_says_what_is_wanted(api: str, kind: str, token: str) -> None:
    """RFC 6750 section 3 for the scope, RFC 9470 section 3 for the age."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"scope": "admin account"}, 'Bearer error="insufficient_scope", scope="account admin"'),
        ({"max_age": -60}, 'Bearer error="insufficient_user_authentication", max_age="-60"'),
    ]
    for options, expected in cases:
        with pytest.raises(VerificationError) as caught:
            Service(kind, api, **options).verify(token)
        assert challenge(caught.value) == {"WWW-Authenticate": expected}


def test_all_who_ask_while_the_keys_are_read_get_an_answer(api: str, token: str) -> None:
    network = Network()
    asked, may_answer = threading.Event(), threading.Event()

    def slow(_: httpx.Request, send: Callable[[], httpx.Response]) -> httpx.Response:
        asked.set()
        assert may_answer.wait(5)
        return send()

    network.fail(JWKS, slow)
    verifier = Verifier(api, "latchkey", http=httpx.Client(transport=network.sync_transport()))
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(verifier.verify, token)
        assert asked.wait(5)
        others = [pool.submit(verifier.verify, token) for _ in range(9)]
        wait(others, 0.1)
        may_answer.set()
        assert len({one.result()["jti"] for one in [first, *others]}) == 1
    assert network.counts[JWKS] == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("is_cancelled", [False, True])
def test_all_tasks_that_ask_while_the_keys_are_read_get_an_answer(
    api: str, token: str, backend: str, is_cancelled: bool
) -> None:
    """Also if the one that reads them is cancelled."""
    network = Network()
    asked, may_answer = threading.Event(), threading.Event()
    subjects: list[str] = []

    def slow(_: httpx.Request, send: Callable[[], httpx.Response]) -> httpx.Response:
        asked.set()
        assert may_answer.wait(5)
        return send()

    async def scenario() -> None:
        network.fail(JWKS, slow)
        verifier = AsyncVerifier(api, "latchkey", http=httpx.AsyncClient(transport=network.async_transport()))

        async def ask() -> None:
            subjects.append((await verifier.verify(token))["sub"])

        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def begin() -> None:
                with scope:
                    await ask()

            group.start_soon(begin)
            await anyio.to_thread.run_sync(asked.wait)
            for _ in range(9):
                group.start_soon(ask)
            await anyio.sleep(0.05)
            if is_cancelled:
                scope.cancel()
                await anyio.sleep(0.05)
            may_answer.set()

    anyio.run(scenario, backend=backend)
    assert len(subjects) == (9 if is_cancelled else 10)


def test_token_of_a_known_key_does_not_wait_while_the_keys_are_read_again(api: str, token: str) -> None:
    network, clock = Network(), Clock()
    asked, may_answer = threading.Event(), threading.Event()

    def slow(_: httpx.Request, send: Callable[[], httpx.Response]) -> httpx.Response:
        asked.set()
        assert may_answer.wait(5)
        return send()

    verifier = Verifier(api, "latchkey", http=httpx.Client(transport=network.sync_transport()), elapsed=clock)
    verifier.verify(token)
    network.fail(JWKS, slow)
    clock.now = 301
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(verifier.verify, token)
        assert asked.wait(5)
        verifier.verify(token)
        assert not reading.done()
        may_answer.set()
        reading.result()


def test_fastapi_example(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ISSUER", api)
    monkeypatch.setitem(os.environ, "AUDIENCE", "latchkey")
    path = Path(__file__).parents[1] / "examples" / "fastapi_app.py"
    spec = importlib.util.spec_from_file_location("fastapi_app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def use() -> None:
        transport = httpx.ASGITransport(module.app)
        async with module.lifespan(module.app), httpx.AsyncClient(transport=transport, base_url="http://team") as team:
            with Client(api) as client:
                signed_in = client.register(World(api, "sync").email, PASSWORD)
                headers = {"Authorization": f"Bearer {client.access_token()}"}
                assert signed_in is not None
                assert signed_in["user"] is not None
                orders = await team.get("/orders", headers=headers)
                assert (orders.status_code, orders.json()) == (200, {"orders of": signed_in["user"]["id"]})
                assert (await team.post("/payments", headers=headers)).status_code == 200
                client.sign_out()
            assert (await team.get("/orders", headers=headers)).status_code == 200
            refused = await team.post("/payments", headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
            assert (await team.get("/orders")).status_code == 401

    anyio.run(use)
