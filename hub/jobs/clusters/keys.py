"""The key pair of one account on one cluster: made here, its private half sealed under its person's key domain.

It is made for this and nothing else. A key that a person has is never asked for: it would open more than this.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from hub.core.context import Context
from hub.core.house import House
from hub.core.keys import seal, unseal

# Nothing but commands and files: no forwarding of ports, agents or screens, and no terminal.
OPTIONS = "restrict"


def make(ctx: Context, account: str, comment: str) -> tuple[str, bytes]:
    """(public line, sealed private half)."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    sealed = seal(ctx.house.keys.domain_in(ctx.tx, ctx.actor.id), private, _about(account))
    return f"{public.decode()} {comment}", sealed


def private_half(house: House, account: Any) -> bytes:
    """The private key of an account's row, as OpenSSH writes one. Raises TamperDetected."""
    return unseal(house.keys.domain(account.person), account.private_sealed, _about(account.id))


def authorized_line(public_line: str, hub_addresses: str = "") -> str:
    """What the person adds to `~/.ssh/authorized_keys` on the cluster; with addresses, from these alone."""
    only = f',from="{hub_addresses}"' if hub_addresses else ""
    return f"{OPTIONS}{only} {public_line}"


def _about(account: str) -> str:
    return f"cluster-account:{account}"
