"""The package against the OpenAPI document of the service: operations, fields and codes that users meet.

What is for administrators and services stays out by its tag.
"""

from __future__ import annotations

import inspect
import json
import re
import time
import typing
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from latchkey import AsyncClient, Client, LatchkeyError, types
from latchkey._core import Core
from latchkey._effects import Effect, Send, Update
from latchkey._errors import SIGNED_OUT
from latchkey._requests import OPERATIONS, Reply, Request, read_problem
from latchkey._session import Document, Held, encode

DOCUMENT = json.loads((Path(__file__).parents[4] / "functions/discovery/openapi.json").read_text())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
NOT_FOR_USERS = {"Administration", "Clients", "Discovery", "Pages"}
TYPES = {
    "Account": types.Account,
    "ActivityEntry": types.ActivityEntry,
    "ActivityList": types.ActivityPage,
    "AdminIdentity": types.Identity,
    "Export": types.Export,
    "ExportedAccount": types.ExportedAccount,
    "ExportedPassword": types.ExportedPassword,
    "ExportedRefusedSignIn": types.ExportedRefusedSignIn,
    "ExportedSession": types.ExportedSession,
    "InvalidValue": types.InvalidValue,
    "Removed": types.Removed,
    "Revoked": types.Revoked,
    "Session": types.Session,
    "SessionList": types.SessionList,
    "Tokens": types.Tokens,
    "User": types.User,
}
NOT_SENT = {
    "transport": "it is for browsers, and asks for a cookie",
    "audience": "a refresh asks for it, for one API after another",
    "cookie_optional": "it asks whether there is a cookie",
    "client": "only services that hold a client secret may send it",
}


def operations_of_users() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            if not set(operation["tags"]) & NOT_FOR_USERS:
                yield method.upper(), path, operation


def resolve(schema: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Properties and required names of a schema, through references and ``allOf``."""
    if "$ref" in schema:
        return resolve(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    properties, required = dict(schema.get("properties", {})), set(schema.get("required", ()))
    for part in schema.get("allOf", ()):
        more, needed = resolve(part)
        properties |= more
        required |= needed
    return properties, required


def named(schema: Any) -> Iterator[str]:
    """The names of all schemas that a schema leads to."""
    if isinstance(schema, dict):
        for key, value in typing.cast("dict[str, Any]", schema).items():
            if key == "$ref":
                name = value.rpartition("/")[2]
                yield name
                yield from named(SCHEMAS[name])
            elif key not in {"example", "examples", "description"}:
                yield from named(value)
    elif isinstance(schema, list):
        for one in typing.cast("list[object]", schema):
            yield from named(one)


def test_every_operation_of_users_is_there_and_no_other() -> None:
    documented = {(method, path) for method, path, _ in operations_of_users()}
    ours = {(operation.method, operation.path) for operation in OPERATIONS.values()}
    assert documented == ours


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_replies_that_say_that_it_is_done_are_the_documented_ones(name: str) -> None:
    responses = DOCUMENT["paths"][OPERATIONS[name].path][OPERATIONS[name].method.lower()]["responses"]
    documented = {int(status) for status in responses if status.startswith("2")}
    if name == "refresh":
        documented.remove(204)  # only a page that has cookies asks for it (`cookie_optional`)
    assert OPERATIONS[name].done_by == documented


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_every_operation_is_a_method_of_both_clients(client: type) -> None:
    for name in set(OPERATIONS) - {"refresh"}:
        method = getattr(client, name)
        assert inspect.iscoroutinefunction(method) == (client is AsyncClient), name
        assert inspect.getdoc(method), name


def test_both_clients_are_alike() -> None:
    def methods(client: type) -> dict[str, str]:
        found = inspect.getmembers(client, callable)
        signatures = {name: str(inspect.signature(member)) for name, member in found if not name.startswith("_")}
        return {name.replace("aclose", "close"): text.replace("AsyncClient", "Client") for name, text in signatures.items()}

    assert methods(Client) == methods(AsyncClient)
    assert inspect.signature(Client).parameters.keys() == inspect.signature(AsyncClient).parameters.keys()


def test_replies_lead_to_known_types_only() -> None:
    reached: set[str] = set()
    for _, _, operation in operations_of_users():
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                reached |= set(named(response.get("content", {})))
    assert reached - set(TYPES) == {"ActorKind", "DeviceType", "SessionState"}


@pytest.mark.parametrize("name", sorted(TYPES))
def test_fields_of_replies(name: str) -> None:
    properties, required = resolve(SCHEMAS[name])
    ours: Any = TYPES[name]
    hints = typing.get_type_hints(ours)
    assert set(hints) == set(properties)
    assert ours.__required_keys__ == required
    for field, schema in properties.items():
        may_be_null = "null" in schema.get("type", ()) or any(one.get("type") == "null" for one in schema.get("oneOf", ()))
        assert (type(None) in typing.get_args(hints[field])) == may_be_null, field
        expected = {"string": str, "integer": int, "boolean": bool, "array": list}
        for kind in [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", ()):
            if kind != "null":
                held = [typing.get_origin(one) or one for one in (typing.get_args(hints[field]) or (hints[field],))]
                assert expected[kind] in held or typing.get_origin(hints[field]) is expected[kind], field


SESSION: Any = {"id": "s"}
HELD = Held("a", "r", time.time() + 900, 900, SESSION, None)


def first_request(flow: Callable[[Core], Generator[Effect, Any, object]]) -> Request:
    """The first request that an operation sends, for a user who is signed in on a known device."""
    core = Core("https://auth.example.com")
    text = encode(Document(HELD, "device", "device token"))
    running = flow(core)
    effect = next(running)
    while not isinstance(effect, Send):
        result: Any = core.vault.update(text, effect.decide)[0] if isinstance(effect, Update) else lambda: None
        effect = running.send(result)
    running.close()
    return effect.request


FLOWS: dict[str, Callable[[Core], Generator[Effect, Any, object]]] = {
    "sign_in": lambda core: core.sign_in("sign_in", "e", "p", "n"),
    "register": lambda core: core.sign_in("register", "e", "p", "n"),
    "refresh": lambda core: core._exchange(HELD, "https://orders.example.com"),
    "sign_out": lambda core: core.sign_out(),
    "reauthenticate": lambda core: core.reauthenticate("p"),
    "verify_email": lambda core: core.verify_email("t"),
    "request_password_reset": lambda core: core.request_password_reset("e"),
    "confirm_password_reset": lambda core: core.confirm_password_reset("t", "p"),
    "get_sessions": lambda core: core.get_sessions(),
    "get_session": lambda core: core.get_session(),
    "rename_session": lambda core: core.rename_session("i", "n"),
    "revoke_session": lambda core: core.revoke_session("i"),
    "revoke_others": lambda core: core.revoke_others(),
    "logout_all": lambda core: core.logout_all(),
    "remove_expired_sessions": lambda core: core.remove_expired_sessions(),
    "me": lambda core: core.me(),
    "change_password": lambda core: core.change_password("p", "q"),
    "delete_account": lambda core: core.delete_account("p"),
    "activity": lambda core: core.activity("c", 1),
    "export_data": lambda core: core.export_data(),
    "change_email": lambda core: core.change_email("e", "p"),
    "request_email_verification": lambda core: core.request_email_verification(),
}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_requests_have_every_field_and_parameter_and_no_other(name: str) -> None:
    where = (OPERATIONS[name].method, OPERATIONS[name].path)
    documented = {(method, path): operation for method, path, operation in operations_of_users()}
    request = first_request(FLOWS[name])
    assert (request.method, request.url) == (where[0], "https://auth.example.com" + where[1].replace("{id}", "i"))
    operation = documented[where]
    expected = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] != "path"}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        expected |= set(resolve(content["schema"])[0])
    sent = {*(request.json or {}), *request.params, *(set(request.headers) - {"Authorization"})}
    assert sent - expected == set()
    assert expected - sent <= set(NOT_SENT)
    needs_token = operation.get("security", [{}]) == [{"access_token": []}]
    assert needs_token == ("Authorization" in request.headers)


def codes_of_users() -> set[str]:
    found: set[str] = set()
    for _, _, operation in operations_of_users():
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                for example in content.get("examples", {}).values():
                    code = example["value"].get("code")
                    if code is not None:
                        found.add(code)
            # Codes also stand in the description, each in backticks before a colon.
            found |= set(re.findall(r"`([a-z_]+)`: ", response.get("description", "")))
    return found


def test_every_code_that_a_user_meets_is_known() -> None:
    known = set(typing.get_args(types.KnownCode))
    documented = codes_of_users()
    assert len(documented) > 15
    assert documented == known


def test_codes_that_sign_out_are_those_of_a_refused_refresh_token() -> None:
    """Of the 401s of a refresh only those that speak of the client, not of the token, leave the session alone."""
    refusals = DOCUMENT["paths"]["/v1/auth/refresh"]["post"]["responses"]["401"]
    examples = refusals["content"]["application/problem+json"]["examples"]
    assert {example["value"]["code"] for example in examples.values()} - {"invalid_client"} == SIGNED_OUT


def test_every_member_of_a_problem_is_an_attribute_of_the_error() -> None:
    properties, _ = resolve(SCHEMAS["Problem"])
    problem: dict[str, Any] = {"code": "c", "detail": "d", "status": 422, "request_id": "r", "errors": []}
    error = read_problem(Reply(422, {"retry-after": "3"}, json.dumps(problem).encode()))
    assert isinstance(error, LatchkeyError)
    assert (error.code, error.detail, error.status, error.request_id, error.retry_after) == ("c", "d", 422, "r", 3)
    # `type` and `title` follow from the code; which limits were exceeded is for a person who reads the reply.
    assert {field for field in properties if not hasattr(error, field)} == {"type", "title", "violated-policies"}
