"""How two members' browsers find a way to each other: which servers help them, and with what credentials.

A relay (TURN) is used by whoever has a credential, so one is made for each member and lapses by itself; it is renewed
in time. The form is coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00): the name begins with the second at
which it lapses, the password is the HMAC-SHA1 of the name under a secret that hub and relay share.
"""

import base64
import hashlib
import hmac
from typing import Any

import msgspec

TTL_SECONDS = 3600
RENEWED_AFTER = 0.75


class Relays(msgspec.Struct, frozen=True):
    """The servers of the settings; without any, browsers on one network still find each other."""

    stun: tuple[str, ...] = ()
    turn: tuple[str, ...] = ()
    secret: str = ""
    ttl_seconds: int = TTL_SECONDS

    def servers(self, name: str, now_seconds: int) -> list[dict[str, Any]]:
        """What a browser is given as `iceServers`, for the member `name`."""
        found: list[dict[str, Any]] = [{"urls": list(self.stun)}] if self.stun else []
        if self.turn:
            username, credential = credentials(self.secret, name, now_seconds + self.ttl_seconds)
            found.append({"urls": list(self.turn), "username": username, "credential": credential})
        return found


def credentials(secret: str, name: str, lapses_at: int) -> tuple[str, str]:
    """Name and password at the relay until the second `lapses_at` (since 1970)."""
    username = f"{lapses_at}:{name}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()
