"""Whether a request is Slack's: its signature over the raw bytes, and its age. Pure; nothing is parsed before."""

import hashlib
import hmac
from collections.abc import Iterable

OLDEST_SECONDS = 300


class Forged(Exception):
    """Not Slack's, or too old to be believed."""


def check(secrets: Iterable[str], stamp: str, signature: str, body: bytes, now: float) -> None:
    """Raises Forged unless one of these signing secrets signed these bytes within five minutes of `now`."""
    # Only plain digits: int() alone would also read "1_000", " 7" and digits of other scripts.
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12) or abs(now - int(stamp)) > OLDEST_SECONDS:
        raise Forged("stale")
    given = signature.encode("ascii", "replace")
    holds = False
    for secret in secrets:
        # All are tried: how long it takes says nothing about which one it was.
        holds |= hmac.compare_digest(given, signed(secret, stamp, body))
    if not holds:
        raise Forged("signature")


def signed(secret: str, stamp: str, body: bytes) -> bytes:
    """Slack's signature, version 0."""
    return (
        b"v0=" + hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest().encode()
    )
