"""What the templates see: small values with words already chosen, so that a template decides nothing.

Page modules make these from the views of the features; `parts.html` has one macro for each.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

import msgspec

from hub.web.pages import words

Tint = Literal["", "run", "ok", "wait", "bad"]


class Person(msgspec.Struct, frozen=True):
    """Somebody's circle and name."""

    id: str
    name: str

    @property
    def initials(self) -> str:
        return words.initials(self.name)

    @property
    def tone(self) -> str:
        return words.tone(self.id)


class State(msgspec.Struct, frozen=True):
    """A glyph, a word and a tint: never one of them alone."""

    word: str
    glyph: str
    tint: Tint = ""


_JOB_STATES: dict[str, State] = {
    "WAITING": State("Waiting", "waiting", "wait"),
    "HELD": State("Held", "held", "wait"),
    "QUEUED": State("Queued", "waiting", "wait"),
    "SUBMITTING": State("Submitting", "running", "run"),
    "PENDING": State("Pending", "waiting", "wait"),
    "RUNNING": State("Running", "running", "run"),
    "COLLECTING": State("Collecting", "running", "run"),
    "SUCCEEDED": State("Succeeded", "good", "ok"),
    "FAILED": State("Failed", "failed", "bad"),
    "TIMED_OUT": State("Timed out", "failed", "bad"),
    "OUT_OF_MEMORY": State("Out of memory", "failed", "bad"),
    "CANCELLED": State("Cancelled", "stopped", ""),
    "NODE_FAILED": State("Node failed", "failed", "bad"),
    "SKIPPED": State("Not started", "later", ""),
    "UNKNOWN_OUTCOME": State("Outcome unknown", "unknown", "wait"),
}


def job_state(state: str) -> State:
    """How a job's state looks; a state this page does not know yet is shown by its own name."""
    return _JOB_STATES.get(state) or State(state.replace("_", " ").capitalize(), "unknown", "")


class Crumb(msgspec.Struct, frozen=True):
    text: str
    href: str = ""


class Tab(msgspec.Struct, frozen=True):
    text: str
    href: str
    here: bool = False
    count: int | None = None


class Act(msgspec.Struct, frozen=True):
    """Something one can do from here: a link, or an action sent through `POST /do`."""

    text: str
    href: str = ""
    action: str = ""
    fields: dict[str, str] = {}
    next: str = ""
    look: Literal["", "main", "quiet", "danger"] = ""
    glyph: str = ""


class Need(msgspec.Struct, frozen=True):
    """One thing that waits for the reader."""

    glyph: str
    tint: Literal["", "do", "wait", "bad"]
    title: str
    text: str
    at: dt.datetime
    act: Act


class JobRow(msgspec.Struct, frozen=True):
    """A job in a list."""

    href: str
    title: str
    text: str
    state: State
    at: str
    fraction: float | None = None
    remark: str = ""


class Card(msgspec.Struct, frozen=True):
    """An artifact as a small picture with its name."""

    href: str
    path: str
    version: int
    digest: str
    size: str
    picture: str = ""  # URL of a preview image
    alt: str = ""
    rows: Sequence[Sequence[str]] = ()  # first cells of a table
    text: str = ""  # first lines of a text
    glyph: str = "file"
    white: bool = True


class Fact(msgspec.Struct, frozen=True):
    """A line of a small list of facts; `href` makes it a link, `code` sets it as the machine says it."""

    term: str
    text: str
    href: str = ""
    code: bool = False
    at: dt.datetime | None = None


class Way(msgspec.Struct, frozen=True):
    """One way out of an empty page: a button, or a line for the shell."""

    title: str
    text: str
    act: Act | None = None
    command: str = ""


class Step(msgspec.Struct, frozen=True):
    """A station of a job's way."""

    title: str
    glyph: str
    when: Literal["done", "here", "later"]
    lines: Sequence[str] = ()
    tint: Tint = ""
    at: dt.datetime | None = None


class Usage(msgspec.Struct, frozen=True):
    """Asked and used, of one resource."""

    name: str
    used: str
    asked: str
    fraction: float
    remark: str = ""


class Lacking(msgspec.Struct, frozen=True):
    """One missing thing, and its remedy."""

    title: str
    remedy: str = ""


class Frame(msgspec.Struct, frozen=True):
    """What surrounds every page."""

    title: str
    viewer: Person | None = None
    crumbs: Sequence[Crumb] = ()
    tabs: Sequence[Tab] = ()
    tabs_label: str = "Session"
    hub: str = ""
    version: str = ""
    look: str = ""
