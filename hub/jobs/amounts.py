"""Slurm's ways to write amounts of memory and time, and ours to show them."""

from __future__ import annotations

import re

_MEMORY = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*(?:([KMGTP])(?:i?B)?|B)?", re.IGNORECASE | re.ASCII)
_POWER = {"K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_DAYS = re.compile(r"(\d{1,4})-(\d{1,4})(?::(\d{1,4}))?(?::(\d{1,4}))?", re.ASCII)
_CLOCK = re.compile(r"(\d{1,8})(?::(\d{1,8}))?(?::(\d{1,4}))?", re.ASCII)
LARGEST = 2**60


def memory_bytes(text: str | int) -> int:
    """`32GB`, `32G`, `1.5T`, `512M`, and Slurm's bare number of mebibytes, in bytes. Raises ValueError.

    Units are powers of 1024, as in Slurm; a `B` alone says bytes.
    """
    written = str(text).strip()
    match = _MEMORY.fullmatch(written)
    if match is None:
        raise ValueError(f"{written[:40]!r} is no amount of memory; write it as 512M, 32G or 1.5T")
    unit = match[2]
    power = 0 if unit is None and written[-1:] in "bB" else _POWER[unit.upper()] if unit else 2
    amount = int(float(match[1]) * 1024**power)
    if not 0 < amount <= LARGEST:
        raise ValueError(f"{written[:40]!r} is no amount of memory a machine can have")
    return amount


def time_seconds(text: str | int) -> int:
    """Slurm's time limits in seconds. Raises ValueError.

    `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, `days-hours:minutes`,
    `days-hours:minutes:seconds`.
    """
    written = str(text).strip()
    if (days := _DAYS.fullmatch(written)) is not None:
        d, h, m, s = (int(part or 0) for part in days.groups())
        seconds = ((d * 24 + h) * 60 + m) * 60 + s
    elif (clock := _CLOCK.fullmatch(written)) is not None:
        first, second, third = clock.groups()
        if third is not None:
            seconds = (int(first) * 60 + int(second)) * 60 + int(third)
        else:
            seconds = int(first) * 60 + int(second or 0)
    else:
        raise ValueError(f"{written[:40]!r} is no time limit; write it as 30 (minutes), 2:00:00 or 1-12")
    if not 0 < seconds <= 366 * 86400:
        raise ValueError(f"{written[:40]!r} is no time limit: it must be above zero and below a year")
    return seconds


def clock(seconds: float) -> str:
    """A time as `time_seconds` reads it, a second at least: `2:00:00`."""
    whole = max(1, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def shown_bytes(amount: int) -> str:
    """`1.5 GiB`."""
    value, unit = float(amount), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 or value == int(value) else f"{value:.1f} {unit}"


def shown_seconds(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`, `1 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for above, larger, below, smaller in ((60, "min", 1, "s"), (3600, "h", 60, "min"), (86400, "d", 3600, "h")):
        if whole < above * (60 if larger == "min" else 24 if larger == "h" else 10**9):
            rest = whole % above // below
            return f"{whole // above} {larger}" + (f" {rest} {smaller}" if rest else "")
    raise AssertionError("every number is below the last bound")
