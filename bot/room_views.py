"""What the hub tells of a room: raised hands, polls, the door, what was said, drafts."""

from datetime import datetime

from bot.hub_views import Person, View


class Hand(View, frozen=True, kw_only=True):
    """A raised hand and its place in the queue."""

    person: str = ""
    name: str = ""
    place: int = 0
    question: str = ""
    quiet: bool = False


class HandRaised(View, frozen=True, kw_only=True):
    session: str = ""
    up: bool = False
    before: int = 0


class HandAddressed(View, frozen=True, kw_only=True):
    session: str = ""
    person: str = ""
    name: str = ""
    left: int = 0


class PollOption(View, frozen=True, kw_only=True):
    number: int = 0
    text: str = ""
    votes: int | None = None


class Poll(View, frozen=True, kw_only=True):
    """A poll; the votes of its options are told once they are shown."""

    id: str
    question: str = ""
    options: tuple[PollOption, ...] = ()
    votes: int = 0
    mine: int | None = None
    by: Person = Person()
    closed: str | None = None


class Waiting(View, frozen=True, kw_only=True):
    person: str = ""
    name: str = ""


class RoomDoor(View, frozen=True, kw_only=True):
    """How the door stands, and who waits before it."""

    state: str = ""
    waiting: tuple[Waiting, ...] = ()


class Admitted(View, frozen=True, kw_only=True):
    person: str = ""
    name: str = ""
    admitted: bool = False


class Standing(View, frozen=True, kw_only=True):
    person: str = ""
    standing: str | None = None


class Muted(View, frozen=True, kw_only=True):
    person: str | None = None


class Reaction(View, frozen=True, kw_only=True):
    emoji: str = ""
    people: tuple[str, ...] = ()


class Said(View, frozen=True, kw_only=True):
    """A message as it is now."""

    id: str
    sequence: int = 0
    author: Person = Person()
    text: str = ""
    to: Person | None = None
    edited: str | None = None
    removed: str | None = None
    reactions: tuple[Reaction, ...] = ()
    replies: int = 0


class SaidPage(View, frozen=True, kw_only=True):
    messages: tuple[Said, ...] = ()


class Reported(View, frozen=True, kw_only=True):
    report: str = ""
    outcome: str | None = None


class Report(View, frozen=True, kw_only=True):
    """What was reported, as it was then."""

    id: str
    author: Person = Person()
    reporter: Person = Person()
    text: str = ""
    reason: str = ""
    outcome: str | None = None


class DraftRow(View, frozen=True, kw_only=True):
    """A shared draft in a list; `ref` is what people call it."""

    id: str
    ref: str = ""
    number: int = 0
    name: str = ""
    created_by: Person = Person()
    created: datetime | None = None
    updated: datetime | None = None
    url: str = ""


class DraftVersion(View, frozen=True, kw_only=True):
    """A version of a draft that was given a name."""

    id: str
    number: int = 0
    name: str = ""
    sha256: str = ""
    author: Person = Person()
    at: datetime | None = None


class Draft(DraftRow, frozen=True, kw_only=True):
    """A shared draft with its text."""

    text: str = ""
    versions: tuple[DraftVersion, ...] = ()
    may_write: bool = False


class DraftVersionText(DraftVersion, frozen=True, kw_only=True):
    """A version with its text."""

    ref: str = ""
    text: str = ""


class DraftRemoved(View, frozen=True, kw_only=True):
    """What is left of a removed draft."""

    id: str
    number: int = 0
    name: str = ""
    versions: int = 0
