"""The key under which this hub signs its checkpoints, and the name (origin) that goes with it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.core.keys import secret_file
from hub.ledger.checkpoints import public_bytes


class CheckpointKey:
    """An Ed25519 key; its origin is derived from it, so that a log is never mistaken for another's."""

    def __init__(self, seed: bytes) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = public_bytes(self.private.public_key())
        self.origin = f"collegium/{self.public.hex()[:16]}"

    @classmethod
    def load(cls, path: Path) -> CheckpointKey:
        """The key kept in a file (mode 600), made when absent."""
        return cls(secret_file(path))
