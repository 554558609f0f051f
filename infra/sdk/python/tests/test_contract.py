"""The package against the OpenAPI document of the service: operations, fields and codes that users meet.

What is for administrators and services stays out by its tag. What the document does not have yet, but the design does,
is listed here, so that the package can be ahead of the service and never behind it.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from latchkey import AsyncClient, Client, LatchkeyError, types
from latchkey._core import Core
from latchkey._errors import SIGNED_OUT
from latchkey._requests import OPERATIONS, Reply, read_problem

DOCUMENT = json.loads(
    Path(os.environ.get("LATCHKEY_OPENAPI") or Path(__file__).parents[4] / "functions/discovery/openapi.json").read_text()
)
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
NOT_FOR_USERS = {"Administration", "Clients", "Discovery"}
PLANNED_OPERATIONS = {
    "activity",
    "change_email",
    "confirm_password_reset",
    "export_data",
    "request_email_verification",
    "request_password_reset",
    "verify_email",
}
PLANNED_FIELDS = {"Session": {"new_device", "unusual_location"}, "User": {"email_verified"}, "Account": {"email_verified"}}
PLANNED_CODES = {"email_not_verified", "invalid_link"}
TYPES = {
    "Account": types.Account,
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
    "client": "only services that hold a client secret may send it",
    "audience": "the access token is Latchkey's own",
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
    ours = set(OPERATIONS.values())
    assert documented - ours == set()
    assert {name for name, where in OPERATIONS.items() if where not in documented} <= PLANNED_OPERATIONS


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
    assert reached - set(TYPES) == {"DeviceType"}


@pytest.mark.parametrize("name", sorted(TYPES))
def test_fields_of_replies(name: str) -> None:
    properties, required = resolve(SCHEMAS[name])
    ours: Any = TYPES[name]
    hints = typing.get_type_hints(ours)
    planned = PLANNED_FIELDS.get(name, set())
    assert set(properties) - set(hints) == set()
    assert set(hints) - set(properties) <= planned
    assert ours.__required_keys__ == required - planned
    for field, schema in properties.items():
        may_be_null = "null" in schema.get("type", ()) or any(one.get("type") == "null" for one in schema.get("oneOf", ()))
        assert (type(None) in typing.get_args(hints[field])) == may_be_null, field
        expected = {"string": str, "integer": int, "boolean": bool, "array": list}
        for kind in [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", ()):
            if kind != "null":
                held = [typing.get_origin(one) or one for one in (typing.get_args(hints[field]) or (hints[field],))]
                assert expected[kind] in held or typing.get_origin(hints[field]) is expected[kind], field


def test_every_field_of_a_body_is_sent_or_left_out_for_a_reason() -> None:
    sent = inspect.getsource(Core)
    for _, path, operation in operations_of_users():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            for field in set(resolve(content["schema"])[0]) - set(NOT_SENT):
                assert f'"{field}"' in sent, f"{path}: {field}"
        for parameter in operation.get("parameters", ()):
            name = parameter["name"]
            assert name == "id" or f'"{name}"' in sent, f"{path}: {name}"


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
    assert documented - known == set()
    assert known - documented <= PLANNED_CODES


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
