"""What an entry may hold, and the very bytes a version is.

A version is signed as bytes, so those bytes must follow from its content alone: `body_bytes` writes one JSON object
with sorted names and no white space, and whoever holds the same fields gets the same bytes. The time of writing is not
among them (the ledger has it), so that a signer who is not the hub can compute them before the entry is sent.
`previous` chains each version to the one before: text cannot be moved to another place in its history without changing
the digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from hub.core import limits
from hub.core.errors import InvalidInput, NotAllowed

CONCLUSIONS_CHARACTERS = 20_000
TOOLS = 100
TOOL_CHARACTERS = 200
CLOCK_SKEW = timedelta(minutes=5)
LATE = timedelta(days=1)

BODY_TYPE = "urn:collegium:entry:v1"

# Marks that turn the reading direction around can make a title say one thing and be another.
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_MARKS = frozenset("\n\r\t\u2028\u2029")
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Attachment(msgspec.Struct, frozen=True):
    """A file an entry cites: its path in the session and the SHA-256 of its whole content.

    `digest` is 64 hex digits, or None for data that lies elsewhere and was never hashed: then only the location is
    signed.
    """

    name: str
    digest: str | None


class EntryText(msgspec.Struct, frozen=True):
    """What a person wrote in one version of an entry."""

    title: str
    content: str
    tools_used: tuple[str, ...] = ()
    conclusions: str = ""


def body_bytes(
    text: EntryText, attachments: Sequence[Attachment], *, session: str, author: str, previous: str | None
) -> bytes:
    """The canonical bytes of a version: UTF-8 JSON, names sorted, no white space, attachments in the order given."""
    return msgspec.json.encode(
        {
            "type": BODY_TYPE,
            "session": session,
            "author": author,
            "title": text.title,
            "content": text.content,
            "tools_used": list(text.tools_used),
            "conclusions": text.conclusions,
            "attachments": [{"name": each.name, "sha256": each.digest} for each in attachments],
            "previous": previous,
        },
        order="sorted",
    )


def check_meaning(meaning: str, signer: str, authors: Collection[str], author: str) -> None:
    """Who wrote a version signs it as author; who reviews or witnesses it is somebody else."""
    if meaning == "author" and signer not in authors:
        raise NotAllowed(
            "only who wrote in this entry signs it as author",
            code="not_an_author",
            hint="sign as reviewed or witnessed",
        )
    if meaning in {"reviewed", "witnessed"} and signer == author:
        raise NotAllowed(f"nobody can sign their own version as {meaning}", code="own_version", hint="sign as author")


def check_stated_time(stated: datetime, written: datetime, now: datetime) -> None:
    """A signer's clock may be a little wrong and a signature may arrive late; what cannot be true is refused."""
    if stated > now + CLOCK_SKEW:
        raise InvalidInput(
            "the signature states a time that has not come", code="stated_in_future", hint="set the signer's clock"
        )
    if stated < written - LATE:
        raise InvalidInput("the signature states a time before this version was written", code="stated_too_early")


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def check_entry(text: EntryText, artifacts: Sequence[str], path: str) -> None:
    """Refuse what an entry cannot hold; `path` is where the entry stands in the request, for the answer."""
    check_line(text.title, limits.TITLE_CHARACTERS, "the title", f"{path}.title")
    if not text.title.strip():
        raise InvalidInput("an entry needs a title", code="empty_title", path=f"{path}.title")
    check_text(text.content, "the content", f"{path}.content")
    _check_length(
        text.content,
        limits.ENTRY_CHARACTERS,
        "the content",
        f"{path}.content",
        hint="attach long text or data as an artifact and cite it",
    )
    check_text(text.conclusions, "the conclusions", f"{path}.conclusions")
    _check_length(text.conclusions, CONCLUSIONS_CHARACTERS, "the conclusions", f"{path}.conclusions")
    check_names(text.tools_used, TOOLS, TOOL_CHARACTERS, "tools", f"{path}.tools_used")
    check_names(artifacts, limits.ENTRY_ATTACHMENTS, limits.PATH_BYTES, "artifacts", f"{path}.artifacts")


def check_names(names: Sequence[str], most: int, characters: int, what: str, path: str) -> None:
    """Each a line of its own, none empty, none twice, not too many."""
    if len(names) > most:
        raise InvalidInput(f"{len(names):,} {what}; at most {most:,} may be named", code="too_many_names", path=path)
    seen: set[str] = set()
    for place, name in enumerate(names):
        here = f"{path}[{place}]"
        check_line(name, characters, "a name", here)
        if not name.strip():
            raise InvalidInput(f"an empty name among the {what}", code="empty_name", path=here)
        if name in seen:
            raise InvalidInput(f"{shown(name)} is named twice among the {what}", code="named_twice", path=here)
        seen.add(name)


def check_line(text: str, characters: int, what: str, path: str) -> None:
    """One line of text that shows what it is: no control characters, no marks that turn the reading direction."""
    check_text(text, what, path)
    _check_length(text, characters, what, path)
    if any(mark in _LINE_MARKS or mark in _DIRECTION_MARKS for mark in text):
        raise InvalidInput(
            f"{what} must be one line, without marks that turn the reading direction", code="not_one_line", path=path
        )


def check_text(text: str, what: str, path: str) -> None:
    """Text any database, browser and file can hold: no control character but tab and line end, no lone surrogate."""
    if found := _NOT_TEXT.search(text):
        raise InvalidInput(
            f"{what} holds a character that is not text (U+{ord(found.group()):04X}, character {found.start() + 1})",
            code="not_text",
            path=path,
        )


def shown(text: str, most: int = 80) -> str:
    """A name as it may stand in a message: quoted, shortened, printable on any terminal."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return "“" + "".join(mark if mark.isprintable() else "�" for mark in cut) + "”"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return ", ".join(shown(name) for name in names)


def _check_length(text: str, characters: int, what: str, path: str, hint: str = "") -> None:
    if len(text) > characters:
        raise InvalidInput(
            f"{what} is {len(text):,} characters long; at most {characters:,} are kept",
            code="too_long",
            hint=hint,
            path=path,
        )
