"""The class tools of a room as its page shows them: hands, polls, the door."""

from __future__ import annotations

import msgspec

from hub.core import limits
from hub.core.context import Scope
from hub.core.roles import SESSION_PERMISSIONS
from hub.people.views import PersonView
from hub.rooms.doors import views as doors
from hub.rooms.doors.views import WaitingView
from hub.rooms.hands import views as hands
from hub.rooms.hands.views import HandView
from hub.rooms.polls import views as polls
from hub.rooms.polls.views import PollView
from hub.sessions import belonging
from hub.web.pages import words

_DOORS = (("open", "Open the door"), ("lobby", "Let people wait in a lobby"), ("locked", "Lock the room"))
_POLLS = 3


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of a poll and its share of the votes."""

    number: int
    text: str
    votes: str
    share: float


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """A poll as it is shown."""

    id: str
    question: str
    says: str
    options: list[Option]
    mine: int | None
    open: bool
    shown: bool
    may_close: bool


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, for one reader."""

    moderates: bool
    asks: bool
    mine: HandView | None
    hands: list[HandView]
    polls: list[Poll]
    door: str
    waiting: list[WaitingView]
    people: list[PersonView]
    doors: tuple[tuple[str, str], ...] = _DOORS


def show(scope: Scope, session_id: str) -> Lesson:
    """The tools as the reader may use them."""
    moderates = scope.access.may(session_id, "room:moderate")
    up = hands.hands(scope, session_id)
    door = doors.door(scope, session_id)
    asks = scope.access.may(session_id, "room:ask")
    newest = polls.polls(scope, session_id, limits.POLLS_OPEN + _POLLS)
    still_open = [poll for poll in newest if poll.closed is None]
    own = sum(poll.by.id == scope.actor.id for poll in still_open)
    told = [
        each.person
        for each in (belonging.participants(scope, session_id) if moderates else [])
        if "room:moderate" not in SESSION_PERMISSIONS.get(each.role, frozenset())  # type: ignore[call-overload]
    ]
    return Lesson(
        moderates=moderates,
        asks=asks and len(still_open) < limits.POLLS_OPEN and (moderates or own == 0),
        mine=next((hand for hand in up if hand.person == scope.actor.id), None),
        hands=up,
        polls=[
            _poll(poll, may_close=moderates or (asks and poll.by.id == scope.actor.id))
            for poll in newest[: max(_POLLS, len(still_open))]
        ],
        door=door.state,
        waiting=door.waiting,
        people=told,
    )


def _poll(poll: PollView, *, may_close: bool) -> Poll:
    total = max(1, poll.votes)
    kind = "Nobody sees who chose what" if poll.anonymous else "With names"
    voted = words.count(poll.votes, "vote")
    return Poll(
        id=poll.id,
        question=poll.question,
        says=f"{words.sentence(voted)}. {kind}." if poll.closed is None else f"Closed with {voted}.",
        options=[
            Option(
                number=each.number,
                text=each.text,
                votes="" if each.votes is None else str(each.votes),
                share=(each.votes or 0) / total,
            )
            for each in poll.options
        ],
        mine=poll.mine,
        open=poll.closed is None,
        may_close=may_close and poll.closed is None,
        shown=all(each.votes is not None for each in poll.options),
    )
