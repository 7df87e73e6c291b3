"""What the chat bot asks of the hub: its installations, what it saw, its cards, and the faces of what they show.

Bookkeeping, not actions: these write rows and no ledger line, and only a service of the hub may ask. What a card shows
is read by the hub itself; where it is shown was decided by people (who submitted it there, who gave the channel to the
session).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from starlette.routing import Route

from hub.chats import cards, channels, deliveries, follower, installations, links, rules
from hub.chats.links import LinkFace
from hub.core import limits
from hub.core.context import SYSTEM, Actor, Scope
from hub.core.database import Tx
from hub.core.errors import Conflict, HubError, InvalidInput, NotFound, Unavailable
from hub.core.house import House
from hub.jobs import views as jobs
from hub.jobs.views import JobRow, JobView, WorkflowView
from hub.ledger import followers
from hub.notebook import faces as entry_faces
from hub.notebook.faces import EntryFace
from hub.orchestrator import views as experiments
from hub.orchestrator.views import ExperimentView
from hub.web.endpoints import asks

Short = Annotated[str, Meta(max_length=200)]
Ids = Annotated[tuple[Short, ...], Meta(max_length=limits.CHAT_LOOK_OBJECTS)]
T = TypeVar("T")


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request."""


class Nothing(_Asked, frozen=True):
    """A request that says no more than its address."""


class SeenKey(_Asked, frozen=True):
    """A platform's event, by the platform's own id."""

    platform: Annotated[str, Meta(min_length=1, max_length=16)]
    key: Annotated[str, Meta(min_length=1, max_length=200)]


class Seen(msgspec.Struct, frozen=True):
    """Whether it is seen for the first time."""

    first: bool


class WhichChannel(_Asked, frozen=True):
    """A channel."""

    platform: Short
    workspace: Short
    channel: Short


class Introduction(_Asked, frozen=True):
    """Who a token speaks for, as the platform said; `known_as` is what the hub called the workspace before."""

    platform: Short
    known_as: Short
    workspace: Short
    name: Short = ""
    bot_user: Short = ""


class Broken(_Asked, frozen=True):
    """Whether the platform still takes the tokens, and if not, what it says."""

    platform: Short
    workspace: Short
    why: Annotated[str, Meta(max_length=100)] | None = None


class Hold(_Asked, frozen=True):
    """A process wants to follow the ledger, or goes on doing so."""

    holder: Annotated[str, Meta(min_length=1, max_length=100)]
    sequence: int | None = None
    release: bool = False


class After(_Asked, frozen=True):
    """A page of cards begins behind this one."""

    after: Short = ""


class Look(_Asked, frozen=True):
    """What cards show, by id."""

    jobs: Ids = ()  # in brief
    ended_jobs: Ids = ()  # in full
    workflows: Ids = ()
    experiments: Ids = ()
    entries: Ids = ()
    links: Ids = ()
    sessions: Ids = ()


class Faces(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; what is not there any more is left out."""

    jobs: list[JobRow] = []
    ended_jobs: list[JobView] = []
    workflows: list[WorkflowView] = []
    experiments: list[ExperimentView] = []
    entries: list[EntryFace] = []
    links: list[LinkFace] = []
    sessions: list[channels.SessionFace] = []


class WhichPerson(_Asked, frozen=True):
    """A person in a workspace."""

    person: Short
    platform: Short
    workspace: Short


def service(shape: type[T], answer: Callable[[House, T], Any]) -> Callable[[House, Actor, Any], Any]:
    """A question that only a service may ask, with a body of this shape."""

    def ask(house: House, actor: Actor, body: Any) -> Any:
        with house.scope(actor) as scope:
            scope.access.hub("chat:serve")
        try:
            asked = msgspec.convert(body, shape)
        except msgspec.ValidationError as error:
            raise InvalidInput(str(error)) from None
        return answer(house, asked)

    return ask


def _installations(house: House, asked: Nothing) -> list[installations.Installation]:
    with house.scope(SYSTEM) as scope:
        return installations.opened(scope)


def _introduce(house: House, asked: Introduction) -> Seen:
    def work(tx: Tx) -> bool:
        return installations.introduce(tx, asked.platform, asked.known_as, asked.workspace, asked.name, asked.bot_user)

    return Seen(house.db.write(work))


def _broken(house: House, asked: Broken) -> Seen:
    now = house.clock.now()
    return Seen(house.db.write(lambda tx: installations.mark(tx, asked.platform, asked.workspace, asked.why, now)))


def _seen(house: House, asked: SeenKey) -> Seen:
    now = house.clock.now()
    try:
        return Seen(house.db.write(lambda tx: deliveries.first_time(tx, asked.platform, asked.key, now)))
    except HubError:
        raise
    except Exception as error:  # an event that cannot be recorded must be sent again, whatever the reason
        raise Unavailable("the event could not be recorded") from error


def _channel(house: House, asked: WhichChannel) -> channels.Channel:
    with house.scope(SYSTEM) as scope:
        return channels.channel(scope, rules.Place(asked.platform, asked.workspace, asked.channel))


def _person(house: House, asked: WhichPerson) -> channels.Person:
    with house.scope(SYSTEM) as scope:
        return channels.person(scope, asked.person, asked.platform, asked.workspace)


def _hold(house: House, asked: Hold) -> follower.Held:
    now = house.clock.now()
    with house.db.read() as conn:
        newest = followers.newest(conn)

    def work(tx: Tx) -> follower.Held:
        held = follower.hold(tx, asked.holder, asked.sequence, newest, now)
        if asked.release:
            follower.release(tx, asked.holder, now)
        return held

    return house.db.write(work)


def _claim(house: House, asked: cards.Claims) -> list[cards.Claimed]:
    now = house.clock.now()
    return house.db.write(lambda tx: cards.claim(tx, asked, now))


def _change(house: House, asked: cards.Changes) -> list[cards.Card | None]:
    now = house.clock.now()
    return house.db.write(lambda tx: cards.change(tx, asked, now))


def _unsettled(house: House, asked: After) -> list[cards.Card]:
    with house.db.read() as conn:
        return cards.unsettled(conn, asked.after)


def _look(house: House, asked: Look) -> Faces:
    with house.scope(SYSTEM) as scope:
        return Faces(
            jobs=jobs.some_looked_at(scope, set(asked.jobs)),
            ended_jobs=_those_there(lambda ref: jobs.job(scope, ref), asked.ended_jobs),
            workflows=_those_there(lambda ref: _workflow(scope, ref), asked.workflows),
            experiments=_those_there(lambda ref: experiments.experiment(scope, ref), asked.experiments),
            entries=entry_faces.some(scope, set(asked.entries)),
            links=links.some(scope, set(asked.links)),
            sessions=channels.session_faces(scope, set(asked.sessions)),
        )


def _workflow(scope: Scope, ref: str) -> WorkflowView:
    return jobs.workflow(scope, scope.access.find("workflow", ref, "job:read"))


def _those_there(look: Callable[[str], T], refs: tuple[str, ...]) -> list[T]:
    found = []
    for ref in refs:
        try:
            found.append(look(ref))
        except (NotFound, Conflict):
            continue
    return found


def _route(path: str, shape: type[Any], answer: Callable[[House, Any], Any]) -> Route:
    return Route(f"/api/chats/{path}", asks(service(shape, answer)), methods=["POST"])


ROUTES = [
    _route("installations", Nothing, _installations),
    _route("introduce", Introduction, _introduce),
    _route("broken", Broken, _broken),
    _route("seen", SeenKey, _seen),
    _route("channel", WhichChannel, _channel),
    _route("person", WhichPerson, _person),
    _route("follow", Hold, _hold),
    _route("cards/claim", cards.Claims, _claim),
    _route("cards/change", cards.Changes, _change),
    _route("cards/unsettled", After, _unsettled),
    _route("cards/look", Look, _look),
]
