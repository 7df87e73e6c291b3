"""What changed in a script, for a page: a sentence, and the lines of its diff by what became of them."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from hub.jobs.seen import Changed
from hub.web.pages import frames

Fate = Literal["added", "taken", "hunk", "same"]


class Line(msgspec.Struct, frozen=True):
    """One line of a diff; its first sign says what became of it, its look only repeats that."""

    text: str
    fate: Fate


class ScriptDiff(msgspec.Struct, frozen=True):
    """A script that changed, in words and lines."""

    path: str
    step: str
    says: str
    at: dt.datetime
    lines: list[Line]


def changed(one: Changed) -> ScriptDiff:
    """The change of one script."""
    return ScriptDiff(
        path=one.path,
        step=one.step or "",
        says=f"You saw version {one.seen.number}. {one.now.by} made version {one.now.number}",
        at=frames.instant(one.now.at),
        lines=lines(one.diff),
    )


def lines(diff: str) -> list[Line]:
    """The lines of a unified diff."""
    return [Line(text, _fate(text)) for text in diff.split("\n")]


def _fate(text: str) -> Fate:
    if text.startswith(("+++", "---", "@@", "(", "...")):
        return "hunk"
    return "added" if text.startswith("+") else "taken" if text.startswith("-") else "same"
