"""Opaque ids and secrets, and nothing derived from a name a person typed.

An id is `<kind>_<26 characters>`: 48 bits of milliseconds, then 80 random bits, in Crockford's base 32, so ids made
later sort later. A secret is `<prefix>_<43 characters>`: 256 random bits; only its SHA-256 is ever stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID = re.compile(r"[a-z]{2,6}_[0-9a-hjkmnp-tv-z]{26}")


def new_id(kind: str) -> str:
    """A fresh id for a thing of this kind, such as `job_01jd9x...`."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{kind}_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def looks_like_id(text: str, kind: str | None = None) -> bool:
    """Whether `text` has the form of an id (of this kind); says nothing about existence."""
    return bool(_ID.fullmatch(text)) and (kind is None or text.startswith(kind + "_"))


def new_secret(prefix: str) -> str:
    """256 random bits in URL-safe text, with a prefix that secret scanners can find."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def secret_digest(secret: str) -> bytes:
    """What is stored of a secret: SHA-256 (a fast hash is right for 256 random bits)."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def derived_secret(key: bytes, prefix: str, purpose: str, object_id: str) -> str:
    """A secret shown once that can be shown again for the same idempotency key, because it is derived, not stored.

    Without a prefix it is a code for people to type: 80 bits in four groups.
    """
    digest = hmac.digest(key, f"{purpose}\x00{object_id}".encode(), "sha256")
    if not prefix:
        number = int.from_bytes(digest[:10], "big")
        code = "".join(_ALPHABET[(number >> shift) & 31] for shift in range(75, -1, -5))
        return "-".join(code[start : start + 4] for start in range(0, 16, 4))
    return f"{prefix}_{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
