"""Names of sessions, and which moments may be asked for; pure."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata

import msgspec

from hub.core.errors import InvalidInput

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?", re.IGNORECASE)
PERSONAL = "personal"
# Words that stand behind a session's name in addresses, and so cannot be one.
RESERVED = frozenset(
    {"participants", "links", "jobs", "entries", "artifacts", "messages", "backup-policy", "exports", "experiments"}
    | {"notebook", "files", "people", "write", "who"}
)


# Characters that turn the direction of the text around them, so that a name reads as another.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Name(msgspec.Struct, frozen=True):
    """`owner/name`, or `name` alone."""

    owner: str | None
    name: str


def parse(ref: str) -> Name | None:
    """The parts of a session's name; None when it cannot be one."""
    owner, slash, name = ref.rpartition("/")
    if not SLUG.fullmatch(name) or (slash and not SLUG.fullmatch(owner)):
        return None
    return Name(owner.lower() if slash else None, name)


def checked_slug(name: str, path: str) -> str:
    """The name itself. Raises InvalidInput when it cannot stand in `owner/name`."""
    if not SLUG.fullmatch(name) or name.lower() in RESERVED:
        raise InvalidInput(
            f"{name[:80]!r} cannot be the name of a session",
            code="bad_name",
            path=path,
            hint="1 to 64 letters, digits, '.', '-' and '_', beginning and ending with a letter or digit",
        )
    return name


def checked_expiry(expires: dt.datetime | None, now: dt.datetime, path: str = "$.params.expires") -> None:
    """Raises InvalidInput when the moment has passed."""
    if expires is not None and expires <= now:
        raise InvalidInput(
            f"`expires` is {expires.isoformat()}, which has passed (it is {now.isoformat(timespec='seconds')} now)",
            code="expires_in_past",
            path=path,
            hint="choose a later moment, or leave it out",
        )


def checked_title(text: str, path: str) -> str:
    """A title or label in one line. Raises InvalidInput for control characters and direction overrides."""
    title = unicodedata.normalize("NFC", text).strip()
    if any(c in _TURNING or unicodedata.category(c) in {"Cc", "Zl", "Zp"} for c in title):
        raise InvalidInput(
            "this holds characters that nobody can see or that turn the direction of the text",
            code="bad_title",
            path=path,
            hint="type it again as plain text, in one line",
        )
    return title


def free_name(wanted: str, taken: frozenset[str]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` ... whichever is free."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


# What a room may be asked to offer, and what this hub serves today; the rest is remembered and said so.
SERVED_FEATURES = frozenset({"live_cursor"})
