"""Verifies Latchkey's access tokens, for an API of yours: infra/guides/understand/protect-your-api.md.

As a program it reads one token from standard input and exits with 0 if it is accepted, with 1 if it is refused, with 2
if that cannot be said:

    ISSUER=https://auth.example.com AUDIENCE=https://orders.example.com python verify.py [--strict] < token

AUDIENCE is the name of your API in Latchkey's setting AUDIENCES. --strict needs a token with Latchkey's own audience,
because it asks Latchkey with it.
"""

import json
import os
import sys
import urllib.error
import urllib.request

import jwt

CLAIMS = ["iss", "aud", "client_id", "sub", "sid", "jti", "iat", "exp", "auth_time"]


class Refused(Exception):
    """The token is not valid. Answer 401."""


class Unavailable(Exception):
    """Whether the token is valid cannot be said now. Answer 503, never 200."""


class Verifier:
    """Make one and keep it: it keeps the keys for five minutes."""

    def __init__(self, issuer: str, audience: str):
        self.issuer, self.audience = issuer, audience
        # A token with an unknown key makes it ask again, at most every 30 seconds.
        self.keys = jwt.PyJWKClient(issuer + "/.well-known/jwks.json", lifespan=300, timeout=5)

    def verify(self, token: str) -> dict:
        """The claims of a token that this issuer made for this audience and that has not expired."""
        try:
            header = jwt.get_unverified_header(token)
            # The type is part of what is signed. Without this check, any token of the same key would pass.
            if header.get("typ") != "at+jwt":
                raise Refused("not an access token")
            return jwt.decode(
                token,
                self.keys.get_signing_key(header.get("kid")),
                algorithms=["EdDSA", "RS256"],  # never taken from the token; each key has one
                audience=self.audience,
                issuer=self.issuer,
                leeway=5,  # seconds by which the clocks may differ; PyJWT also wants `iat` to have passed
                options={"require": CLAIMS, "strict_aud": True},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise Unavailable(str(error)) from error
        except jwt.PyJWTError as error:
            raise Refused(str(error)) from error

    def verify_now(self, token: str) -> dict:
        """The same, and the session has not ended: asks Latchkey, which costs one request."""
        claims = self.verify(token)
        if "account" not in claims.get("scope", "").split():
            raise Refused("Latchkey tells nothing to a token for another audience (answer 403 insufficient_scope)")
        request = urllib.request.Request(self.issuer + "/v1/me", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                if json.load(reply)["id"] != claims["sub"]:
                    raise Refused("another user")
                return claims
        except urllib.error.HTTPError as error:
            if error.code == 401:
                raise Refused("the session has ended") from error
            raise Unavailable(f"status {error.code}") from error
        except (OSError, ValueError) as error:
            raise Unavailable(str(error)) from error


def main() -> int:
    missing = [name for name in ("ISSUER", "AUDIENCE") if not os.environ.get(name)]
    if missing:
        example = "ISSUER=https://auth.example.com AUDIENCE=https://orders.example.com"
        print(f"{' and '.join(missing)} must be set: {example}", file=sys.stderr)
        return 2
    verifier = Verifier(os.environ["ISSUER"], os.environ["AUDIENCE"])
    verify = verifier.verify_now if "--strict" in sys.argv[1:] else verifier.verify
    try:
        claims = verify(sys.stdin.read().strip())
    except Refused as reason:
        print("refused:", reason)
        return 1
    except Unavailable as reason:
        print("unavailable:", reason)
        return 2
    print("accepted:", claims["sub"], claims["sid"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
