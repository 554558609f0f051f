"""How Schemathesis signs in: see check-openapi.

Every request that wants an access token gets one of a session that is live when the request is made: a request that
revokes, changes the password or deletes the account ends sessions, and the next one must not run into that.
"""

import itertools
import os
import secrets

import requests
import schemathesis

API = os.environ["LATCHKEY_API"]
PASSWORD = "correct horse battery staple"
numbers = itertools.count()


def register():
    """A user of their own, and their tokens."""
    email = f"user-{secrets.token_hex(6)}-{next(numbers)}@example.com"
    reply = requests.post(f"{API}/v1/auth/register", json={"email": email, "password": PASSWORD}, timeout=30)
    reply.raise_for_status()
    return reply.json()


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


@schemathesis.auth(refresh_interval=None)
class AccessToken:
    def get(self, case, context):
        return account.access_token()

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"
