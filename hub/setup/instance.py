"""Which hub this is: a number that `/healthz` shows, so that whoever asks the public address knows who answered."""

from __future__ import annotations

import hmac

from hub.core.house import House


def instance(house: House) -> str:
    """The same for all processes of one hub and for no other; it tells nothing of the secret it comes from."""
    return hmac.digest(house.secret, b"instance", "sha256").hex()[:32]
