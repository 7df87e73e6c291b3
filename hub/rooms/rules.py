"""What a message, a sign and a place are, as functions over values."""

from __future__ import annotations

import re
import unicodedata

import msgspec

_CONTROLS = {code: None for code in range(32) if code not in (9, 10)} | {127: None}
# Overrides of the writing direction can make a name or a number read as another one.
_OVERRIDES = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
# A sign may be several code points: a base, its variation, a skin tone, joined ones, a flag's letters, a keycap.
_SIGN_CHARACTERS = 10
_JOINER = "\u200d"
_MARKS = {_JOINER, "\ufe0f", *map(chr, range(0x1F3FB, 0x1F400))}
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
_TAGS = range(0xE0020, 0xE0080)
_PLACE = re.compile(r"(artifact|entry|job|draft):([^\s#]{1,150})(?:#L([1-9][0-9]{0,9}))?")


class Place(msgspec.Struct, frozen=True):
    """What a thread is about: a thing of the session, and for a job perhaps a line of its log."""

    kind: str
    ref: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.ref}" + (f"#L{self.line}" if self.line else "")


def clean_text(text: str) -> str:
    """The text as it is kept: one kind of line ending, no control characters, nothing blank around it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS | _OVERRIDES).strip()


def is_sayable(text: str, most_characters: int) -> bool:
    """Whether a cleaned text is a message: it says something and is not too long."""
    return 0 < len(text) <= most_characters


def is_sign(text: str) -> bool:
    """Whether a text is one emoji or symbol, as people react with, rather than words."""
    if not 0 < len(text) <= _SIGN_CHARACTERS:
        return False
    if text.endswith("\u20e3"):
        return text[0] in "0123456789#*" and text[1:] in ("\u20e3", "\ufe0f\u20e3")
    shown = [c for at, c in enumerate(text) if not (c in _MARKS or ord(c) in _TAGS or text[at - 1 : at] == _JOINER)]
    flag = len(shown) == 2 and all(ord(c) in _FLAG_LETTERS for c in shown)
    drawn = all(ord(c) > 127 and unicodedata.category(c) in ("So", "Sk", "Sm") for c in text if c not in _MARKS
                and ord(c) not in _TAGS)  # fmt: skip
    return drawn and (flag or len(shown) == 1)


def place(text: str) -> Place | None:
    """`artifact:REF`, `entry:REF`, `draft:REF`, `job:REF` or `job:REF#L12`; None when it is none of them."""
    found = _PLACE.fullmatch(text)
    if found is None or (found[3] and found[1] != "job"):
        return None
    return Place(found[1], found[2], int(found[3]) if found[3] else None)
