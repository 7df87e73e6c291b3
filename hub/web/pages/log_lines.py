"""Bytes of a log as lines to show: the twin of `static/js/log-lines.js`, held to the same vectors. Pure.

A carriage return goes back to the start of its line, so of a progress bar only the newest picture is shown. Colour
codes of terminals are dropped; other control characters are shown as their Unicode pictures.
"""

from __future__ import annotations

import re

import msgspec

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_WARNED = re.compile(r"^\W{0,3}warn(ing)?\b", re.IGNORECASE)
_FAILED = re.compile(r"^\W{0,3}(error|fatal|failed|traceback)\b|^\w+(Error|Exception):", re.IGNORECASE)

SHOWN_BYTES = 128 * 1024


class Line(msgspec.Struct, frozen=True):
    """A line as it is shown."""

    text: str
    tint: str = ""


class Excerpt(msgspec.Struct, frozen=True):
    """The end of a log: its whole lines, and the offset behind the last of them, from which a reader goes on."""

    lines: list[Line]
    offset: int
    whole: bool


def line(raw: str) -> Line:
    """One line of the log, without its newline."""
    kept = _ESCAPES.sub("", re.sub(r"\r+$", "", raw))
    text = kept[kept.rfind("\r") + 1 :]
    tint = "failed" if _FAILED.search(text) else "warned" if _WARNED.search(text) else ""
    return Line(_CONTROLS.sub(lambda found: _picture(found[0]), text), tint)


def excerpt(data: bytes, start: int, *, done: bool) -> Excerpt:
    """Lines of `data`, which begins at byte `start` of the log and reaches to its end.

    A first line that began earlier is left out, and of a log that still grows so is the last one while it is open.
    """
    end = len(data) if done else data.rfind(b"\n") + 1
    begin = 0 if start == 0 else data.find(b"\n", 0, end) + 1
    text = data[begin:end].decode(errors="replace")
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return Excerpt([line(each) for each in lines], start + end, start == 0)


def _picture(control: str) -> str:
    return "\u2421" if control == "\x7f" else chr(0x2400 + ord(control))
