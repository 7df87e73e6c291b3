"""What a handle, a name and an e-mail may look like; pure."""

from __future__ import annotations

import re
import unicodedata

from hub.core.errors import InvalidInput

HANDLE = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")
# Handles that stand at the beginning of our own paths or names, and would read as the hub itself.
RESERVED = frozenset({"api", "hub", "static", "signin", "l", "s", "jobs", "entries", "artifacts", "system", "anyone"})


def checked_handle(handle: str) -> str:
    """The handle itself. Raises InvalidInput when it cannot stand in `owner/name`."""
    if not HANDLE.fullmatch(handle) or handle in RESERVED:
        raise InvalidInput(
            f"{handle[:60]!r} cannot be a handle",
            path="$.handle",
            hint="1 to 32 lower-case letters, digits, - and _, beginning and ending with a letter or digit",
        )
    return handle


def checked_name(name: str) -> str:
    """A person's name in NFC without characters nobody can see. Raises InvalidInput."""
    text = unicodedata.normalize("NFC", name).strip()
    if not 0 < len(text) <= 200 or any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co"} for c in text):
        raise InvalidInput("a name has 1 to 200 visible characters", path="$.name")
    return text


def visible_name(name: str) -> str:
    """What can be seen of a name that comes from elsewhere, in one line; empty when nothing can."""
    text = unicodedata.normalize("NFC", name)
    seen = "".join(c if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} else " " for c in text)
    return " ".join(seen.split())[:200].strip()


def normal_email(email: str) -> str:
    """The form under which an address is stored and compared. Raises InvalidInput.

    Nothing that could end a header line, begin another address, or not be seen can be part of one.
    """
    text = unicodedata.normalize("NFC", email).strip(" ").lower()
    local, at, domain = text.rpartition("@")
    hidden = any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zs", "Zl", "Zp"} for c in text)
    if not (local and at and domain) or len(text) > 254 or hidden or set(text) & set(',;:<>()[]\\"') or "@" in local:
        raise InvalidInput(f"{email[:80]!r} is not an e-mail address", code="bad_email")
    return text


def handle_from(name: str, taken: frozenset[str]) -> str:
    """A free handle made from a name or the local part of an address."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:24].strip("-") or "person"
    if stem in RESERVED:
        stem += "-1"
    candidate, number = stem, 1
    while candidate in taken:
        number += 1
        candidate = f"{stem}-{number}"
    return candidate
