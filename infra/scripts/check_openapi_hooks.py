"""How Schemathesis signs in: see check-openapi.

Every request that wants a client's credentials gets those of one that may do everything, every one that wants an
administrator's access token that of one. Every other that wants an access token gets one of a session that is live
when the request is made: a request that revokes, changes the password or deletes the account ends sessions, and the
next one must not run into that.
"""

import base64
import itertools
import os
import random
import secrets

import requests
import schemathesis

API = os.environ["LATCHKEY_API"]
PASSWORD = "correct horse battery staple"
numbers = itertools.count()


def register():
    """A new user, and their tokens."""
    reply = requests.post(f"{API}/v1/auth/register", json=new_credentials(), timeout=30)
    reply.raise_for_status()
    return reply.json()


def new_credentials():
    """An address that nobody has registered."""
    email = f"user-{secrets.token_hex(6)}-{next(numbers)}@example.com"
    return {"email": email, "password": PASSWORD}


class Account:
    """One user for as long as their session is live, then another."""

    def __init__(self):
        self.tokens = None

    def access_token(self):
        if self.tokens is not None:
            headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
            if requests.get(f"{API}/v1/me", headers=headers, timeout=30).status_code == 200:
                return self.tokens["access_token"]
        self.tokens = register()
        return self.tokens["access_token"]


account = Account()


class Administrator(Account):
    """The user whom check-openapi has given the role. Whoever ends their sessions only makes them sign in again."""

    def access_token(self):
        if self.tokens is not None:
            headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
            if requests.get(f"{API}/v1/me", headers=headers, timeout=30).status_code == 200:
                return self.tokens["access_token"]
        credentials = {"email": os.environ["ADMIN_EMAIL"], "password": PASSWORD}
        reply = requests.post(f"{API}/v1/auth/login", json=credentials, timeout=30)
        reply.raise_for_status()
        self.tokens = reply.json()
        return self.tokens["access_token"]


administrator = Administrator()


# What the links of the served document say in words, for walks: the specification has no form for it that every reader
# takes, so the document itself leaves it out.
TOKEN = {"refresh_token": "$response.body#/refresh_token"}
LINK_BODIES = {
    "refresh": TOKEN,
    "logout": TOKEN,
    "login": {"email": "$request.body#/email", "password": "$request.body#/password"},
}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    found = set()
    for item in raw_schema["paths"].values():
        for operation in item.values():
            for reply in operation["responses"].values():
                for name, link in reply.get("links", {}).items():
                    if name in LINK_BODIES:
                        link["requestBody"] = LINK_BODIES[name]
                        found.add(name)
    missing = set(LINK_BODIES) - found
    if missing:
        raise ValueError(f"the document has no links to {missing}")


def wants_client(case):
    """Whether an operation is for services with a client id and a secret, as the document says."""
    return {"client_credentials": []} in (case.operation.definition.raw.get("security") or [])


def wants_administrator(case):
    """Whether an operation is for administrators, as the document says."""
    return {"access_token": ["admin"]} in (case.operation.definition.raw.get("security") or [])


@schemathesis.auth(refresh_interval=None)
class Credentials:
    def get(self, case, context):
        if wants_client(case):
            pair = f"orders-api:{os.environ['CLIENT_SECRET']}".encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        who = administrator if wants_administrator(case) else account
        return f"Bearer {who.access_token()}"

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = data


def leave_out_what_a_schema_cannot_refuse(case):
    """A parameter that stands twice in a form (RFC 6749 section 3.2), a refresh with neither token nor cookie, and a number
    that no 64 bits hold."""
    if case.path.startswith("/oauth/"):
        for name in [name for name, value in case.body.items() if isinstance(value, (list, dict))]:
            del case.body[name]
    if case.path in ("/v1/auth/refresh", "/v1/auth/logout"):
        case.body.setdefault("refresh_token", (account.tokens or register())["refresh_token"])
        if case.body["refresh_token"] is None:
            case.body["refresh_token"] = "none"
    if case.path == "/v1/service/sessions":
        at = case.body.get("auth_time")
        # To a schema 5.0 is whole too.
        if at is not None and (not isinstance(at, int) or abs(at) >= 2**63):
            del case.body["auth_time"]


def is_cursor(text):
    """Whether a text may be the next_cursor of a page."""
    try:
        return b"\n" in base64.urlsafe_b64decode(f"{text}==")
    except ValueError:
        return False


@schemathesis.hook
def before_call(context, case, kwargs):
    """Three of four bodies that are as documented get the values that only a person can know: else no random request
    would ever sign in, refresh or change a password."""
    # A parameter of a form stands there once (RFC 6749 section 3.2), which the document cannot say of unknown ones.
    if case.path.startswith("/oauth/") and isinstance(case.body, dict):
        case.body = {name: value for name, value in case.body.items() if not isinstance(value, (list, dict))}
    is_right = case.meta is not None and case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE
    if is_right and isinstance(case.body, dict):
        leave_out_what_a_schema_cannot_refuse(case)
    if is_right and wants_administrator(case) and next(numbers) % 4:
        # A user who is there, and one of their sessions: a random id is nobody's.
        account.access_token()
        known = {"session_id": account.tokens["session"]["id"]}
        if "user" in account.tokens:
            known["user_id"] = account.tokens["user"]["id"]
        for name in case.path_parameters or {}:
            case.path_parameters[name] = known.get(name, case.path_parameters[name])
    by_link = case.meta is not None and case.meta.phase.name.value == "stateful"
    if is_right and case.path == "/v1/admin/users" and case.query:
        # Issuer and subject go together and name a person; a cursor is taken from the page before; each of the three ways
        # to look excludes the others. No schema can say that.
        if "email" in case.query or not {"issuer", "subject"} <= case.query.keys():
            for name in ("issuer", "subject"):
                case.query.pop(name, None)
        else:
            case.query.update({"issuer": "https://accounts.google.com", "subject": "110169484474386276334"})
        if {"email", "issuer"} & case.query.keys() or not is_cursor(case.query.get("cursor")):
            case.query.pop("cursor", None)
    if is_right and case.path.endswith("/activity") and case.query:
        # A cursor is of one user's pages.
        case.query.pop("cursor", None)
    for name, value in (case.path_parameters or {}).items():
        # A walk takes ids of replies, where a session that is not known is null.
        if value in (None, "None"):
            case.path_parameters[name] = (account.tokens or register())["session"]["id"]
    if not is_right or by_link or not isinstance(case.body, dict) or next(numbers) % 4 == 0:
        return
    tokens = account.tokens or register()
    case.body.pop("audience", None)
    if case.path == "/v1/auth/register":
        case.body.update(new_credentials())
    elif case.path == "/v1/auth/login" and tokens.get("user", {}).get("email"):
        case.body.update({"email": tokens["user"]["email"], "password": PASSWORD})
    elif case.path in ("/v1/auth/refresh", "/v1/auth/logout"):
        case.body["refresh_token"] = tokens["refresh_token"]
    elif case.path == "/v1/service/sessions":
        case.body.pop("auth_time", None)
        case.body.pop("audience", None)
        subject = secrets.choice(["one", "two", secrets.token_hex(8)])
        case.body.update({"identity": {"issuer": "https://idp.example.com", "subject": subject}, "amr": ["pwd"]})
    elif case.path.startswith("/oauth/"):
        case.body["token"] = tokens[random.choice(["access_token", "refresh_token"])]
    elif case.path == "/v1/me/password":
        case.body.update({"current_password": PASSWORD, "new_password": PASSWORD})
    elif case.path in ("/v1/me/delete", "/v1/auth/reauthenticate"):
        case.body["password"] = PASSWORD


@schemathesis.hook
def after_call(context, case, response):
    """A walk continues as whoever signed in last: what it asks of a session is asked by its user."""
    if response.status_code in (200, 201) and b'"access_token"' in response.content[:20]:
        account.tokens = response.json()
