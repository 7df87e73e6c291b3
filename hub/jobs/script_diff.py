"""What changed between two versions of a script, as a unified diff that is never longer than a person reads. Pure."""

from __future__ import annotations

import difflib
from itertools import islice

# Beyond these a diff says how large the two are and no more: it is made while others wait for the database.
READ_BYTES = 128 << 10
READ_LINES = 1000
SHOWN_LINES = 400
SHOWN_CHARACTERS = 16_000


def unified(before: bytes, after: bytes, old: str, new: str) -> str:
    """The diff from `before` to `after`, which are called `old` and `new`; in words where there is none to show."""
    if len(before) > READ_BYTES or len(after) > READ_BYTES:
        return _sizes("too large to be compared here", before, after)
    texts = [_text(before), _text(after)]
    if None in texts:
        return _sizes("not text", before, after)
    one, other = ((each or "").splitlines() for each in texts)
    if len(one) > READ_LINES or len(other) > READ_LINES:
        return _sizes("too long to be compared here", before, after)
    whole = difflib.unified_diff(one, other, old, new, lineterm="")
    lines = list(islice(whole, SHOWN_LINES + 1))
    shown, left = [], SHOWN_CHARACTERS
    for line in lines[:SHOWN_LINES]:
        if len(line) + 1 > left:
            break
        shown.append(line)
        left -= len(line) + 1
    if len(shown) < len(lines):
        shown.append("... and more, which is not shown here")
    # Line ends that are no plain newline are a change, and no line of a diff shows it.
    return "\n".join(shown) or _sizes("the same lines, with other line ends", before, after)


def _text(content: bytes) -> str | None:
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _sizes(why: str, before: bytes, after: bytes) -> str:
    return f"({why}: {len(before):,} bytes before, {len(after):,} now)"
