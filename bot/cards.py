"""A reply no platform owns: what it is about, its state, the facts, and what can be done next.

Every door says the same facts in the same order: what, state, how far, where, how long still, what you can do.
`sentence` is the whole card as a person would say it: the notification in Slack, the line of a plain terminal,
what a screen reader reads. Nothing in a reply is markup; a door escapes for its own platform when it renders.

What may leave for a chat company's servers is said where the reply is made: `named` is the sentence with titles and
names but nothing of the contents, `ident` the one with kind, number and state only. `bot.detail` goes by these, and
what nobody marked stays at the hub.
"""

from typing import Literal

import msgspec

Tone = Literal["quiet", "wait", "run", "ok", "bad"]
Detail = Literal["full", "names", "ids"]


class State(msgspec.Struct, frozen=True):
    """A state as shape, word and tone: the tone only repeats what shape and word already say."""

    word: str
    glyph: str
    tone: Tone = "quiet"


class Field(msgspec.Struct, frozen=True):
    """One fact; `is_name` when it may be told where only titles, states and names are."""

    name: str
    value: str
    is_name: bool = False


class Next(msgspec.Struct, frozen=True):
    """Something that can be done from here: a command (a button, where there are buttons) or a page.

    `ident` is the same command by opaque ids, as it may stand in a message whatever the session lets out.
    """

    label: str
    command: tuple[str, ...] = ()
    url: str = ""
    is_dangerous: bool = False
    ident: tuple[str, ...] = ()


class Progress(msgspec.Struct, frozen=True):
    """How far something is. `fraction` is None when only that it moves is known."""

    fraction: float | None = None
    said: str = ""


class Row(msgspec.Struct, frozen=True):
    """One line of a list: its cells for the eye, its sentence for the ear."""

    cells: tuple[str, ...]
    sentence: str
    named: str = ""
    ident: str = ""


class Table(msgspec.Struct, frozen=True):
    """A list of things of one kind."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    more: str = ""


class JobLive(msgspec.Struct, frozen=True):
    """A live part: this job's state, edited in place until it ends; with its log beside it when `log`."""

    job: str
    log: bool = False
    log_offset: int = 0


class LogLive(msgspec.Struct, frozen=True):
    """A live part: bytes of a job's log from `offset`, to the end of what there is, or of the job when `follow`."""

    job: str
    offset: int = 0
    follow: bool = False
    tail_lines: int | None = None


class EventsLive(msgspec.Struct, frozen=True):
    """A live part: what happens in a session, one line an event."""

    session: str
    after: int


class FileLive(msgspec.Struct, frozen=True):
    """A live part: an artifact's bytes, brought to the person and checked against `digest`."""

    artifact: str
    name: str
    save_as: str
    digest: str
    size_bytes: int
    overwrite: bool = False


class ExportLive(msgspec.Struct, frozen=True):
    """A live part: a session (all of the person's, without one) brought into a folder where the person is."""

    folder: str
    session: str | None = None


Live = JobLive | LogLive | EventsLive | FileLive | ExportLive


class Secret(msgspec.Struct, frozen=True):
    """Something shown once. A door shows it to the person who asked and to nobody else."""

    name: str
    value: str
    warning: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What a command answers."""

    sentence: str = ""
    title: str = ""
    session: str = ""
    state: State | None = None
    progress: Progress | None = None
    fields: tuple[Field, ...] = ()
    body: str = ""
    table: Table | None = None
    next: tuple[Next, ...] = ()
    url: str = ""
    secret: Secret | None = None
    live: Live | None = None
    is_private: bool = True
    exit_code: int = 0
    data: object = None
    named: str = ""
    ident: str = ""
    is_common: bool = False  # it holds nothing of anybody: a help text

    @property
    def is_text(self) -> bool:
        """Whether the body already says everything, such as a help text."""
        return bool(self.body) and not self.title and self.body.startswith(self.sentence)

    @property
    def is_empty(self) -> bool:
        return not (self.sentence or self.body or self.table or self.secret)


def fields(names: str = "", /, **facts: str | int | None) -> tuple[Field, ...]:
    """Fields from keywords in their order; what is not known is left out. `_` in a name is a space.

    `names` lists those that say no more than a title, a state or a name.
    """
    return tuple(
        Field(name.replace("_", " "), str(value), is_name=name in names.split())
        for name, value in facts.items()
        if value not in (None, "")
    )
