"""How far a job is, read from what it prints: percentages, `12/40`, `step 3 of 10`, and progress bars with `\\r`."""

from __future__ import annotations

import re

import msgspec

# Bytes from the end of what was written that are looked at.
TAIL_BYTES = 4096

_PERCENT = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d+)?)\s?%")
_OF = re.compile(r"(?<![\w./-])(\d{1,12})\s?(?:/|of)\s?(\d{1,12})(?![\w./-])")


class Seen(msgspec.Struct, frozen=True):
    """One reading: a share of the whole, and the counts when there were any."""

    fraction: float
    done: int | None = None
    total: int | None = None


class Progress(msgspec.Struct, frozen=True):
    """The newest reading, and the first one of this climb, from which the rate comes. Times are seconds."""

    fraction: float
    at: float
    first_fraction: float
    first_at: float
    done: int | None = None
    total: int | None = None

    @property
    def rate(self) -> float | None:
        """Share of the whole per second; None while two readings do not tell."""
        gained, passed = self.fraction - self.first_fraction, self.at - self.first_at
        return gained / passed if gained > 0 and passed >= 1 else None

    @property
    def remaining_seconds(self) -> float | None:
        return None if self.rate is None else (1 - self.fraction) / self.rate


def read(tail: bytes) -> Seen | None:
    """The last reading in the end of a log; None when nothing there looks like progress."""
    text = tail[-TAIL_BYTES:].decode(errors="replace")
    for line in reversed(re.split(r"[\r\n]+", text)):
        if (seen := _in_line(line)) is not None:
            return seen
    return None


def _in_line(line: str) -> Seen | None:
    counts = [(int(a), int(b)) for a, b in _OF.findall(line) if 0 <= int(a) <= int(b) and int(b) > 1]
    percents = [float(p) for p in _PERCENT.findall(line) if float(p) <= 100]
    if percents:
        # tqdm writes both; the counts are believed when they say the same.
        for done, total in reversed(counts):
            if abs(100 * done / total - percents[0]) <= 1:
                return Seen(done / total, done, total)
        return Seen(percents[-1] / 100)
    if counts:
        done, total = counts[-1]
        return Seen(done / total, done, total)
    return None


def follow(before: Progress | None, seen: Seen, at: float) -> Progress:
    """The progress after a reading; a bar that starts anew begins a new climb."""
    if before is None or seen.fraction < before.fraction:
        return Progress(seen.fraction, at, seen.fraction, at, seen.done, seen.total)
    return Progress(seen.fraction, at, before.first_fraction, before.first_at, seen.done, seen.total)
