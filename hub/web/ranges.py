"""What of a file is asked for, and whether the asker has it already: RFC 9110 ranges and validators, RFC 6266 names."""

from __future__ import annotations

import re
from urllib.parse import quote

_RANGE = re.compile(r"bytes=\s*([0-9]{0,19})\s*-\s*([0-9]{0,19})\s*", re.ASCII)
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_PLAIN = re.compile(r"[^A-Za-z0-9._ ()+,=@~-]")


class Unsatisfiable(Exception):
    """The range lies wholly outside the file."""


def part(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a single range; None for the whole, also in answer to several ranges or nonsense."""
    match = _RANGE.fullmatch(header) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = int(match[2])
        if length == 0 or size == 0:
            raise Unsatisfiable
        return max(0, size - length), size
    start = int(match[1])
    end = min(size, int(match[2]) + 1) if match[2] else size
    if match[2] and int(match[2]) < start:
        return None  # RFC 9110, 14.1.1: such a range is not one.
    if start >= size:
        raise Unsatisfiable
    return start, end


def has_already(if_none_match: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names this content (weakly compared)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)


def range_counts(if_range: str | None, etag: str) -> bool:
    """Whether a range may be served: the asker's earlier part must be of this very content."""
    return if_range is None or if_range.strip() == etag


def disposition(path: str, *, inline: bool = False) -> str:
    """`Content-Disposition` for a file of any name: a harmless name for old readers, the true one for all others."""
    name = path.rsplit("/", 1)[-1]
    plain = _PLAIN.sub("_", name).strip(" .") or "file"
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain[:150]}\"; filename*=UTF-8''{quote(name, safe='')}"
