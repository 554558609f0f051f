"""Every operation against the stack, and requests to other APIs."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt
import pytest

from latchkey import AsyncClient, Client, LatchkeyError, MemoryStorage
from latchkey.types import ActivityEntry
from world import PASSWORD, REFRESH, Fault, World, answer, busy, lose_reply, offline, start_stack


def code_of(act: Any, *arguments: Any) -> str:
    with pytest.raises(LatchkeyError) as caught:
        act(*arguments)
    return caught.value.code


def test_account(world: World) -> None:
    client = world.client(device_name="Ada's laptop")
    signed_in = client.register(world.email, PASSWORD)
    assert signed_in["user"]["email"] == world.email
    assert signed_in["session"]["device_name"] == "Ada's laptop"
    assert "access_token" not in signed_in
    assert client.signed_in() == signed_in
    assert client.me()["id"] == signed_in["user"]["id"]
    assert code_of(client.register, world.email, PASSWORD) == "email_taken"
    assert code_of(client.sign_in, world.email, "wrong") == "invalid_credentials"

    assert code_of(client.change_password, "wrong", PASSWORD + "!") == "wrong_password"
    changed = client.change_password(PASSWORD, PASSWORD + "!")
    assert changed["session"]["id"] != signed_in["session"]["id"]
    assert client.me()["email"] == world.email
    again = client.reauthenticate(PASSWORD + "!")
    assert again["session"]["id"] == changed["session"]["id"]
    assert again["user"] == changed["user"]

    assert code_of(client.delete_account, "wrong") == "wrong_password"
    client.delete_account(PASSWORD + "!")
    assert client.signed_in() is None
    assert code_of(client.sign_in, world.email, PASSWORD + "!") == "invalid_credentials"


def test_weak_password_says_why(world: World) -> None:
    with pytest.raises(LatchkeyError) as caught:
        world.client().register(world.email, "short")
    error = caught.value
    assert (error.code, error.status, error.errors[0]["code"]) == ("weak_password", 422, "too_short")
    assert error.request_id is not None
    assert error.request_id in str(error)
    assert str(error).startswith("weak_password (422): ")


def test_sessions(world: World) -> None:
    client, other = world.client(), world.client(storage=MemoryStorage())
    world.register(client)
    other.sign_in(world.email, PASSWORD)
    listed = client.get_sessions()
    assert (listed["total"], len(listed["sessions"])) == (2, 2)
    others = [session for session in listed["sessions"] if not session["is_current"]]
    assert client.rename_session(others[0]["id"], "Kitchen")["name"] == "Kitchen"
    assert client.rename_session(others[0]["id"], None)["name"] is None
    assert code_of(client.rename_session, others[0]["id"], "\u202e") == "validation_failed"
    client.revoke_session(others[0]["id"])
    assert code_of(client.revoke_session, others[0]["id"]) == "session_not_found"
    assert code_of(client.revoke_session, "../../me/delete") in {"invalid_request", "not_found"}
    for no_id in ("..", "expired"):  # the latter would remove the ended sessions
        with pytest.raises(ValueError, match="UUID"):
            client.revoke_session(no_id)
    assert code_of(other.me) == "invalid_refresh_token"
    assert client.remove_expired_sessions() == 1
    assert client.revoke_others() == 0
    assert client.get_session()["is_current"]
    client.revoke_session(client.get_session()["id"].upper())
    assert client.signed_in() is None
    client.sign_in(world.email, PASSWORD)
    assert client.logout_all() == 1
    assert client.signed_in() is None


def test_get_is_sent_again_after_an_outage_and_a_change_is_not(world: World) -> None:
    client = world.client()
    world.register(client)
    world.network.fail("/v1/me", offline, busy("2"))
    assert client.me()["email"] == world.email
    assert world.time.waits == [1, 2]
    session = client.get_session()["id"]
    world.network.fail(f"/v1/sessions/{session}", offline)
    assert code_of(client.rename_session, session, "Kitchen") == "network_error"
    assert world.network.counts[f"/v1/sessions/{session}"] == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_without_the_service_is_temporarily_unavailable(world: World, status: int) -> None:
    client = world.client()
    world.register(client)
    world.network.fail("/v1/me", *[answer(status, "<html>no service</html>")] * 3)
    assert code_of(client.me) == "temporarily_unavailable"
    assert client.me()["email"] == world.email


def test_unknown_fields_and_codes_are_tolerated(world: World) -> None:
    client = world.client()
    world.register(client)
    world.network.fail("/v1/sessions/current", answer(200, {"id": "i", "mood": "new"}))
    assert client.get_session()["mood"] == "new"
    world.network.fail("/v1/me", *[answer(418, "[" * 100_000)] * 3)
    assert code_of(client.me) == "unexpected_reply"
    world.network.fail("/v1/me", answer(418, {"code": "teapot", "detail": 7, "errors": "none"}))
    with pytest.raises(LatchkeyError) as caught:
        client.me()
    assert (caught.value.code, caught.value.status, tuple(caught.value.errors)) == ("teapot", 418, ())
    for body in ("<html>", "[]", "null", "", "[" * 100_000):
        world.network.fail("/v1/sessions/current", *[answer(200, body)] * 3)
        assert code_of(client.get_session) == "unexpected_reply"
        world.network._faults.clear()


def test_activity_and_export(world: World) -> None:
    client = world.client()
    world.register(client)
    client.rename_session(client.get_session()["id"], "Kitchen")
    exported = client.export_data()
    assert (exported["account"]["email"], exported["account"]["identity"]) == (world.email, None)
    assert [session["name"] for session in exported["sessions"]] == ["Kitchen"]
    entries: list[ActivityEntry] = []
    deadline = time.monotonic() + 20
    while len(entries) < 2 and time.monotonic() < deadline:  # entries come a moment after what they tell of
        entries = client.activity()["activity"]
    assert {"user.created", "session.created"} <= {entry["type"] for entry in entries}
    assert all(entry["session_id"] is None or entry["is_current_session"] for entry in entries)
    first = client.activity(limit=1)
    assert len(first["activity"]) <= 1
    assert first["next_cursor"] is not None
    assert client.activity(cursor=first["next_cursor"], limit=1)["activity"] != first["activity"]
    assert code_of(lambda: client.activity(cursor="c")) == "invalid_request"


class Mailer:
    """A service that makes the links which mails would hold."""

    def __init__(self, api: str, data: Path) -> None:
        command = ["admin", "client", "add", "mailer", "--scope", "links:issue", "--json", "--data-dir", str(data)]
        added = subprocess.run([os.environ["LATCHKEY_BINARY"], *command], check=True, capture_output=True)
        self._api = api
        self._credentials = ("mailer", str(json.loads(added.stdout)["secret"]))

    def link(self, user_id: str, purpose: str, **more: str | int) -> str:
        """The token of a link."""
        url = f"{self._api}/v1/service/users/{user_id}/links"
        reply = httpx.post(url, json={"purpose": purpose, **more}, auth=self._credentials)
        token: str = reply.raise_for_status().json()["token"]
        return token

    def find_user(self, email: str) -> str:
        """The user whose address is to be verified, as the event on the bus names them."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for event in httpx.get(f"{self._api}/local/events").json()["events"]:
                if event["type"] == "email_verification.requested" and event["data"]["email"] == email:
                    return str(event["data"]["user_id"])
        raise AssertionError(f"no event asks for a mail to {email}")


@pytest.mark.parametrize("kind", ["sync", "asyncio", "trio"])
def test_links(kind: str, tmp_path: Path) -> None:
    """Registration where addresses must be verified, verification, another address, and a reset, with true links."""
    with start_stack(tmp_path / "data", REQUIRE_VERIFIED_EMAIL="true") as api:
        world, mailer = World(api, kind), Mailer(api, tmp_path / "data")
        client = world.client()
        for _ in range(2):  # a taken address is not told
            assert client.register(world.email, PASSWORD) is None
            assert client.signed_in() is None
        assert code_of(client.sign_in, world.email, PASSWORD) == "email_not_verified"
        user = mailer.find_user(world.email)
        assert code_of(client.verify_email, "t") == "invalid_link"
        client.verify_email(mailer.link(user, "verify_email"))
        signed_in = client.sign_in(world.email, PASSWORD)
        assert (signed_in["user"]["id"], signed_in["user"]["email_verified"]) == (user, True)
        client.request_email_verification()

        assert code_of(client.change_email, f"new-{world.email}", "wrong") == "wrong_password"
        client.change_email(f"new-{world.email}", PASSWORD)
        assert client.me()["email"] == world.email
        asked: dict[str, str | int] = {"new_email": f"new-{world.email}", "email_version": 0}
        asked["session_id"] = client.get_session()["id"]
        client.verify_email(mailer.link(user, "change_email", **asked))
        assert client.me()["email"] == f"new-{world.email}"

        client.request_password_reset(f"new-{world.email}")
        client.request_password_reset("nobody@example.com")
        token = mailer.link(user, "reset_password")
        assert code_of(client.confirm_password_reset, token, "short") == "weak_password"
        client.confirm_password_reset(token, PASSWORD + "!")
        assert code_of(client.confirm_password_reset, token, PASSWORD + "?") == "invalid_link"
        assert code_of(client.me) == "invalid_refresh_token"
        assert client.sign_in(f"new-{world.email}", PASSWORD + "!")["user"]["id"] == user


CHALLENGE = [
    answer(202, "", x_amzn_waf_action="challenge"),
    answer(202, "<html>enable JavaScript</html>", x_amzn_waf_action="challenge"),
]
"""What AWS WAF's challenge answers with: to a client that accepts no HTML, without a body."""


@pytest.mark.parametrize("challenge", CHALLENGE)
def test_challenge_of_a_firewall_is_no_sign_out(world: World, challenge: Fault) -> None:
    client = world.client()
    world.register(client)
    world.network.fail("/v1/auth/logout", challenge)
    assert client.sign_out() is False
    assert client.signed_in() is None


@pytest.mark.parametrize("instead", [*CHALLENGE, answer(200, ""), answer(200, {}), answer(206, "")])
def test_only_the_documented_status_ends_a_session(world: World, instead: Fault) -> None:
    client, other = world.client(), world.client(storage=MemoryStorage())
    world.register(client)
    signed_in = other.sign_in(world.email, PASSWORD)
    own = client.get_session()["id"]
    for session in (own, signed_in["session"]["id"]):
        world.network.fail(f"/v1/sessions/{session}", instead)
        assert code_of(client.revoke_session, session) == "unexpected_reply"
    world.network.fail("/v1/me/delete", instead)
    assert code_of(client.delete_account, PASSWORD) == "unexpected_reply"
    world.network.fail("/v1/sessions/revoke-all", instead, instead)
    assert code_of(client.logout_all) == "unexpected_reply"
    assert code_of(client.revoke_others) == "unexpected_reply"
    assert client.signed_in()["session"]["id"] == own
    assert client.get_sessions()["total"] == 2


@pytest.mark.parametrize("challenge", CHALLENGE)
def test_challenge_of_a_firewall_sends_no_link_and_opens_none(world: World, challenge: Fault) -> None:
    client = world.client()
    world.network.fail("/v1/auth/register", challenge)
    assert code_of(client.register, world.email, PASSWORD) == "unexpected_reply"
    world.register(client)
    for path, act, arguments in (
        ("/v1/auth/password-reset", client.request_password_reset, [world.email]),
        ("/v1/auth/password-reset/confirm", client.confirm_password_reset, ["t", PASSWORD]),
        ("/v1/auth/verify-email", client.verify_email, ["t"]),
        ("/v1/me/verify-email", client.request_email_verification, []),
        ("/v1/me/email", client.change_email, ["new@example.com", PASSWORD]),
    ):
        world.network.fail(path, challenge)
        assert code_of(act, *arguments) == "unexpected_reply", path


def test_only_a_registration_may_wait_for_a_mail(world: World) -> None:
    client = world.client()
    world.register(client)
    for path, act in (("login", client.sign_in), ("register", client.register)):
        status = 202 if path == "login" else 200
        world.network.fail(f"/v1/auth/{path}", answer(status, "", x_request_id="r"))
        assert code_of(act, world.email, PASSWORD) == "unexpected_reply"
    assert client.signed_in() is not None


@pytest.mark.parametrize("broken", [{"access_token": "\u2603"}, {"refresh_token": "a\nb"}, {"expires_in": 10**400}])
def test_tokens_that_cannot_be_sent_or_counted_with_are_not_stored(world: World, broken: dict[str, object]) -> None:
    client = world.client()
    world.register(client)
    tokens: dict[str, object] = {"access_token": "a", "refresh_token": "r", "expires_in": 900, "session": {"id": "s"}}
    world.network.fail("/v1/auth/login", answer(200, tokens | broken))
    assert code_of(client.sign_in, world.email, PASSWORD) == "unexpected_reply"
    assert client.me()["email"] == world.email


class TeamApi(BaseHTTPRequestHandler):
    """An API of the team. It answers what its path says, and keeps the tokens that it has seen."""

    tokens: list[str | None]
    bodies: list[bytes]
    refusals = 0

    def do_POST(self) -> None:
        cls = type(self)
        length = self.headers.get("content-length")
        cls.bodies.append(self.rfile.read(int(length)) if length else b"")
        cls.tokens.append(self.headers.get("authorization"))
        if cls.refusals > 0:
            cls.refusals -= 1
            self.send_response(401)
        else:
            self.send_response(200)
        self.send_header("content-length", "0")
        self.send_header("connection", "close")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def team_api() -> Iterator[tuple[str, type[TeamApi]]]:
    handler = type("Handler", (TeamApi,), {"tokens": [], "bodies": [], "refusals": 0})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
        server.shutdown()
        thread.join()


def test_token_goes_to_allowed_origins_only(world: World, team_api: tuple[str, type[TeamApi]]) -> None:
    address, seen = team_api
    client = world.client()
    world.register(client)
    others = [world.api.replace("127.0.0.1", host) for host in ("localhost", "127.0.0.1.evil.example", "me@evil.example")]
    for url in (address, "https://127.0.0.1/", *others):
        assert code_of(client.request, "GET", url) == "origin_refused", url
    assert client.request("GET", "//evil.example/").url.host == "127.0.0.1"
    assert seen.tokens == []
    allowed = world.client(origins=[address])
    assert allowed.request("GET", f"{address}/orders").status_code == 200
    assert seen.tokens == [f"Bearer {client.access_token()}"]
    assert allowed.request("GET", "/v1/me").json()["email"] == world.email


ORDERS = "https://orders.example.com"


def audience_of(token: str) -> str:
    audience: str = jwt.decode(token.removeprefix("Bearer "), options={"verify_signature": False})["aud"]
    return audience


def test_origin_with_an_audience_gets_tokens_for_it_alone(world: World, team_api: tuple[str, type[TeamApi]]) -> None:
    address, seen = team_api
    client = world.client(origins={address: ORDERS})
    world.register(client)
    own = client.access_token()
    for _ in range(3):
        assert client.request("GET", f"{address}/orders").status_code == 200
    assert world.network.refreshes == 1
    assert {audience_of(token or "") for token in seen.tokens} == {ORDERS}
    assert (world.rotation(), client.access_token(), audience_of(own)) == (1, own, "latchkey")
    assert client.access_token(audience=ORDERS) == (seen.tokens[0] or "").removeprefix("Bearer ")
    assert client.me()["email"] == world.email

    seen.refusals = 1
    assert client.request("GET", f"{address}/orders").status_code == 200
    assert (world.network.refreshes, world.rotation()) == (2, 1)
    world.expire()
    client.request("GET", f"{address}/orders")
    client.me()
    assert (world.network.refreshes, world.rotation()) == (4, 1)
    with pytest.raises(LatchkeyError, match="validation_failed"):
        client.access_token(audience="https://unknown.example.com")

    client.sign_out()
    assert code_of(client.request, "GET", f"{address}/orders") == "not_signed_in"
    client.sign_in(world.email, PASSWORD)
    client.request("GET", f"{address}/orders")
    assert len(set(seen.tokens)) == 4


def test_lost_reply_for_an_audience_signs_nobody_out(world: World, team_api: tuple[str, type[TeamApi]]) -> None:
    address, _ = team_api
    client = world.client(origins={address: ORDERS})
    world.register(client)
    world.network.fail(REFRESH, lose_reply, busy("1"))
    assert client.request("GET", f"{address}/orders").status_code == 200
    assert (world.network.refreshes, world.rotation()) == (3, 1)
    world.network.fail(REFRESH, answer(401, {"code": "refresh_token_reused"}))
    world.expire()
    assert code_of(client.request, "GET", f"{address}/orders") == "refresh_token_reused"
    assert client.signed_in() is None


def test_refused_call_is_repeated_once_with_a_new_token(world: World, team_api: tuple[str, type[TeamApi]]) -> None:
    address, seen = team_api
    client = world.client(origins=[address])
    world.register(client)
    seen.refusals = 1
    assert client.request("POST", f"{address}/orders", json={"a": 1}).status_code == 200
    assert len(set(seen.tokens)) == 2
    assert seen.bodies == [b'{"a":1}'] * 2
    seen.refusals = 5
    assert client.request("GET", f"{address}/orders").status_code == 401
    assert (len(seen.tokens), world.network.refreshes) == (4, 2)


def test_stream_that_can_be_sent_once_is_not_repeated(api: str, team_api: tuple[str, type[TeamApi]]) -> None:
    address, seen = team_api
    world = World(api, "sync")
    client = world.client(origins=[address])
    world.register(client)
    seen.refusals = 1
    assert client.request("POST", f"{address}/orders", content=iter([b"a"])).status_code == 401
    assert (len(seen.tokens), world.network.refreshes) == (1, 0)


def test_service_that_wants_the_password_again_is_not_asked_again(
    world: World,
) -> None:
    """RFC 9470: a refresh would not help."""
    world.network.fail(
        "/v1/me", answer(401, "", www_authenticate='Bearer error="insufficient_user_authentication", max_age="300"')
    )
    client = world.client()
    world.register(client)
    assert client.request("GET", "/v1/me").status_code == 401
    assert (world.network.counts["/v1/me"], world.network.refreshes) == (1, 0)


def test_redirect_to_another_origin_gets_no_token(api: str, world: World, team_api: tuple[str, type[TeamApi]]) -> None:
    address, seen = team_api
    client = world.client()
    world.register(client)
    world.network.fail("/v1/me", answer(302, "", location=f"{address}/"))
    options: dict[str, Any] = {"auth": client.auth, "follow_redirects": True}

    async def ask() -> int:
        async with httpx.AsyncClient(transport=world.network.async_transport(), **options) as other:
            return (await other.get(f"{api}/v1/me")).status_code

    if world.kind == "sync":
        with httpx.Client(transport=world.network.sync_transport(), **options) as other:
            assert other.get(f"{api}/v1/me").status_code == 200
    else:
        assert anyio.run(ask, backend=world.kind) == 200
    assert seen.tokens == [None]


def test_auth_serves_httpx_clients_of_the_same_kind(api: str, team_api: tuple[str, type[TeamApi]]) -> None:
    address, _ = team_api
    email = World(api, "sync").email
    with Client(api, origins=[address]) as client, httpx.Client(base_url=address, auth=client.auth) as team:
        client.register(email, PASSWORD)
        assert team.get("/orders").status_code == 200

        async def ask() -> None:
            async with AsyncClient(api, origins=[address]) as other:
                await other.sign_in(email, PASSWORD)
                async with httpx.AsyncClient(base_url=address, auth=other.auth) as async_team:
                    assert (await async_team.get("/orders")).status_code == 200
                with pytest.raises(RuntimeError, match=r"latchkey\.Client"):
                    httpx.get(address, auth=other.auth)  # noqa: ASYNC210
                with pytest.raises(RuntimeError, match="AsyncClient"):
                    async with httpx.AsyncClient(auth=client.auth) as wrong:
                        await wrong.get(address)

        anyio.run(ask)


def test_short_token_is_refreshed_after_half_of_its_life() -> None:
    with start_stack(ACCESS_TOKEN_SECONDS="4") as api:
        world = World(api, "sync")
        client = world.client()
        world.register(client)
        world.time.advance(1)
        client.me()
        assert world.network.refreshes == 0
        world.time.advance(1.5)
        client.me()
        assert world.network.refreshes == 1


def test_api_under_a_path() -> None:
    with start_stack() as address:
        port = address.rpartition(":")[2]
    with start_stack(ISSUER=f"http://127.0.0.1:{port}/auth") as api:
        base = api if api.endswith("/auth") else f"{api}/auth"
        world = World(base, "sync")
        client = world.client()
        world.register(client)
        assert client.request("GET", "/v1/me").json()["email"] == client.me()["email"] == world.email
