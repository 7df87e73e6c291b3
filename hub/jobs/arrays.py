"""What `array` asks for: `0-9`, `1,3,5-7` or `0-100:10`, each with `%LIMIT` for how many run at once. Pure."""

from __future__ import annotations

import re

_RANGE = re.compile(r"(\d{1,7})(?:-(\d{1,7})(?::(\d{1,7}))?)?", re.ASCII)
_LIMIT = re.compile(r"[1-9]\d{0,6}", re.ASCII)
MOST_OF_A_RANGE = 1_000_000


def numbers(array: str) -> list[int]:
    """The numbers of its tasks, the smallest first. Raises ValueError."""
    found: set[int] = set()
    for part in array.partition("%")[0].split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{array[:40]!r} is no array; write it as 0-9, 1,3,5-7 or 0-100:10%4")
        first = int(match[1])
        last, step = int(match[2] or first), int(match[3] or 1)
        if last < first or step < 1 or (last - first) // step >= MOST_OF_A_RANGE:
            raise ValueError(f"{array[:40]!r} is no array: its numbers run from the smaller to the larger")
        found.update(range(first, last + 1, step))
    return sorted(found)


def at_once(array: str) -> int | None:
    """How many of its tasks may run at once; None where it does not say. Raises ValueError."""
    _, percent, limit = array.partition("%")
    if not percent:
        return None
    if _LIMIT.fullmatch(limit.strip()) is None:
        raise ValueError(f"{array[:40]!r}: after % stands how many tasks may run at once, such as 0-9%2")
    return int(limit)
