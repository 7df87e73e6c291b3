"""Numbers as people say them: durations, sizes, counts and moments, the same in every door."""

from datetime import UTC, datetime

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 output`, `4 outputs`, `2,000 entries`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `52 s`, `6 min 12 s`, `2 h 5 min`, `3 d 4 h`: two units at most."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    for unit, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name} {rest} {smaller_name}" if rest else f"{whole // unit} {name}"
    raise AssertionError("a minute is the smallest of the units above")


def size(size_bytes: int) -> str:
    """`0 B`, `812 B`, `1.4 KiB`, `2 GiB`."""
    amount = float(size_bytes)
    for unit in _SIZES:
        if amount < 1024 or unit == _SIZES[-1]:
            return (
                f"{amount:.0f} {unit}" if amount >= 100 or unit == "B" else f"{amount:.1f} {unit}".replace(".0 ", " ")
            )
        amount /= 1024
    raise AssertionError("the last size takes every amount")


def percent(fraction: float) -> str:
    """`64 %`. Never 100 before the end: a bar that is full and goes on is a lie."""
    shown = int(min(max(fraction, 0.0), 1.0) * 100)
    return f"{99 if shown == 100 and fraction < 1 else shown} %"


def money(amount: float) -> str:
    """`3.20`; what is less than a cent and more than nothing is said so."""
    return "below 0.01" if 0 < amount < 0.005 else f"{amount:,.2f}"


def moment(at: datetime, now: datetime | None = None) -> str:
    """The local time of `at`; with its date unless it is today."""
    local = at.astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M")


def listed(names: list[str], at_most: int = 6) -> str:
    """`a, b and c`; a long list ends with how many more there are."""
    if len(names) > at_most:
        return ", ".join(names[:at_most]) + f" and {len(names) - at_most:,} more"
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]


def short_digest(digest: str) -> str:
    """The first twelve hexadecimal digits: enough to compare by eye, never to identify."""
    return digest.removeprefix("sha256:")[:12]


def removed_words(by: str) -> str:
    """What is said in place of a message that was removed, by its `author` or a `moderator`."""
    return "removed by its author" if by == "author" else f"removed by a {by}"
