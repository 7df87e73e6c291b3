"""Numbers and times as a person would say them. Pure; `static/js/words.js` says the same in the browser."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Sequence

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_IRREGULAR = {
    "entry": "entries",
    "try": "tries",
    "person": "people",
    "is": "are",
    "needs": "need",
    "was": "were",
    "has": "have",
}
TONES = 8

MINUTE, HOUR, DAY = 60, 3600, 86400


def plural(noun: str) -> str:
    return _IRREGULAR.get(noun, noun + "s")


def number(n: int) -> str:
    """`4` as "four"; from thirteen on in digits, grouped."""
    return _NUMBERS[n] if 0 <= n < len(_NUMBERS) else f"{n:,}"


def part(n: int) -> str:
    """A number before “of”: “none of three”."""
    return number(n) if n else "none"


def count(n: int, noun: str) -> str:
    """`(2, "job")` as "two jobs"."""
    return f"{number(n)} {noun if n == 1 else plural(noun)}"


def sentence(text: str) -> str:
    """The text with a capital at its start, the rest untouched."""
    return text[:1].upper() + text[1:]


def listing(items: Sequence[str], last: str = "and") -> str:
    """`["a", "b", "c"]` as "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def duration(seconds: float) -> str:
    """A span in its two largest units: "6 min 12 s", "2 h 5 min", "3 days"."""
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        minutes, rest = divmod(whole, MINUTE)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if whole < DAY:
        hours, rest = divmod(whole // MINUTE, MINUTE)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod(whole // HOUR, 24)
    day_words = f"{days} day" if days == 1 else f"{days} days"
    return f"{day_words} {rest} h" if rest and days < 7 else day_words


def rough(seconds: float) -> str:
    """A span in its largest unit, for what is far away: "12 minutes", "3 hours", "5 days"."""
    for unit, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= unit:
            return count(round(seconds / unit), name)
    return "less than a minute"


def clock(at: dt.datetime) -> str:
    return at.strftime("%H:%M")


def day(at: dt.datetime, now: dt.datetime) -> str:
    """ "today", "yesterday", "12 Nov", "12 Nov 2025"."""
    passed = (now.date() - at.date()).days
    if passed == 0:
        return "today"
    if passed == 1:
        return "yesterday"
    return f"{at.day} {at:%b}" if at.year == now.year else f"{at.day} {at:%b %Y}"


def ago(at: dt.datetime, now: dt.datetime) -> str:
    """How long since, while that is what one wants to know; afterwards the day."""
    seconds = (now - at).total_seconds()
    if seconds < 10:
        return "just now"
    if seconds < HOUR:
        return f"{duration(seconds) if seconds < MINUTE else f'{int(seconds // MINUTE)} min'} ago"
    named = day(at, now)
    return f"{named} {clock(at)}" if named in ("today", "yesterday") else named


def until(at: dt.datetime, now: dt.datetime) -> str:
    """ "in 3 days", or "ended yesterday 14:05" when it lies behind us."""
    seconds = (at - now).total_seconds()
    return f"in {rough(seconds)}" if seconds > 0 else f"ended {ago(at, now)}"


def moment(at: dt.datetime) -> str:
    """The whole of it: "12 Nov 2025, 14:05"."""
    return f"{at.day} {at:%b %Y, %H:%M}"


def size(number_of_bytes: float) -> str:
    """Bytes of files, in steps of a thousand: "20.1 kB"."""
    return _scaled(number_of_bytes, 1000, ("bytes", "kB", "MB", "GB", "TB"))


def money(amount: float) -> str:
    """`3.20`; what is less than a cent and more than nothing is said so."""
    return "below 0.01" if 0 < amount < 0.005 else f"{amount:,.2f}"


def hours(amount: float) -> str:
    """Hours of a core or a GPU: "0.16", "1,280"."""
    return f"{amount:,.2f}" if amount < 10 else f"{amount:,.0f}"


def memory(number_of_bytes: float) -> str:
    """Bytes of memory, in steps of 1024: "1.9 GiB"."""
    return _scaled(number_of_bytes, 1024, ("bytes", "KiB", "MiB", "GiB", "TiB"))


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    if value < step:
        return "1 byte" if value == 1 else f"{value:.0f} {units[0]}"
    power = 0
    while value >= step * 0.9995 and power < len(units) - 1:
        value, power = value / step, power + 1
    return f"{value:.0f} {units[power]}" if value >= 100 else f"{value:.1f} {units[power]}"


def groups(digest: str, width: int = 8) -> list[str]:
    """A digest in groups people can compare by eye; an algorithm's prefix falls away."""
    bare = digest.rsplit(":", 1)[-1]
    return [bare[start : start + width] for start in range(0, len(bare), width)]


def short(digest: str) -> str:
    return groups(digest)[0] if digest else ""


def initials(name: str) -> str:
    """The two letters in a person's circle: "Mara Lindqvist" is ML, "ana" is AN."""
    words = [word for word in name.replace("@", " ").replace(".", " ").replace("_", " ").split() if word[0].isalnum()]
    if not words:
        return "?"
    letters = words[0][0] + words[-1][0] if len(words) > 1 else words[0][:2]
    return unicodedata.normalize("NFC", letters).upper()[:2]


def tone(identity: str) -> str:
    """The colour class of a person, `m1` to `m8`: always the same for one id, here and in the browser (FNV-1a)."""
    value = 0x811C9DC5
    for byte in identity.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return f"m{(value >> 16) % TONES + 1}"
