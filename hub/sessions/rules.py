"""Names of sessions, and which moments may be asked for; pure."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata

import msgspec

from hub.core import features
from hub.core.errors import InvalidInput
from hub.core.roles import HUB_PERMISSIONS, NOT_BY_LINK, SESSION_PERMISSIONS, SessionRole

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?", re.IGNORECASE)
PERSONAL = "personal"
# Words that stand behind a session's name in addresses, and so cannot be one.
RESERVED = frozenset(
    {
        "participants",
        "links",
        "jobs",
        "entries",
        "artifacts",
        "messages",
        "backup-policy",
        "exports",
        "experiments",
        "reports",
        "usage",
    }
    | {"notebook", "files", "people", "write", "who"}
)


# The roles that sharing gives, and what looking in means.
GIVEN = ("read", "read_write", "admin")
OPEN_READS = SESSION_PERMISSIONS["guest"] - {"session:leave"}
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


def would_change(
    permission: str,
    *,
    role: SessionRole | None,
    by_link: bool,
    scopes: frozenset[str] | None,
    ended: bool,
    frozen: bool,
) -> list[str]:
    """What would have to happen before a refusal becomes a yes, each in a few words."""
    if ended:
        return ["a credential and an account that hold: these have ended"]
    found = []
    if frozen:
        found.append("thawing it, which an operator does")
    if by_link and permission in NOT_BY_LINK:
        found.append("signing in with an account: a guest by link never may")
    if scopes is not None and permission not in scopes:
        found.append(f"a token whose scopes include {permission}")
    having = [held for held, permissions in SESSION_PERMISSIONS.items() if permission in permissions]
    if having and (role is None or role not in having) and not (by_link and permission in NOT_BY_LINK):
        given = [held for held in GIVEN if held in having]
        found.append(f"one of the roles {', '.join(given)}" if given else "being the owner (session_hand_over)")
        if role is None and permission in OPEN_READS and not by_link:
            found.append("opening the session to the hub (session_change with visibility hub)")
    elif not having:
        found.append(
            f"another standing in the hub: {', '.join(r for r, p in HUB_PERMISSIONS.items() if permission in p)}"
        )
    return found


# What a room may be asked to offer, and what this hub serves today; the rest is remembered and said so.
SERVED_FEATURES = frozenset(features.NAMES)
