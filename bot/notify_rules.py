"""What becomes a card, where, how urgently it is shown, and who is mentioned: pure functions over values.

One card a thing and channel. A thing is a job (or the workflow it is a step of), an experiment, an entry, a link that
expires. Its card follows it into the channel it was made from, and into the channels of its session.
"""

from enum import IntEnum
from typing import Literal

import msgspec

from bot.cards import Reply
from bot.door import Place
from bot.hub_views import Event, Job, Workflow
from bot.work_views import Experiment

Ending = Literal["", "well", "badly", "stopped"]

LONG_SECONDS = 300.0
TERMINAL = frozenset(
    {"SUCCEEDED", "FAILED", "TIMED_OUT", "OUT_OF_MEMORY", "CANCELLED", "NODE_FAILED", "UNKNOWN_OUTCOME"}
)


class Urgency(IntEnum):
    """In which order cards are edited when there is not time for all: the smaller, the sooner."""

    ENDED = 0
    NEEDS_A_PERSON = 1
    CHANGED = 2
    PROGRESS = 3


class Thing(msgspec.Struct, frozen=True):
    """What a card is about."""

    kind: str  # job, workflow, experiment, entry, link, digest
    id: str


class Standing(msgspec.Struct, frozen=True):
    """How a thing stands, as far as it matters for telling anybody."""

    ending: Ending = ""
    needs_a_person: bool = False
    ran_seconds: float = 0.0
    word: str = ""  # its state; a change of it is worth an edit before all progress is

    @property
    def is_over(self) -> bool:
        return bool(self.ending)


class Face(msgspec.Struct, frozen=True):
    """A thing as it is shown now, and how it stands."""

    reply: Reply
    standing: Standing
    detail: str = "full"


class Happening(msgspec.Struct, frozen=True):
    """What an event says of a thing: that it began (by whom, where), or that it changed."""

    thing: Thing
    session: str | None
    begun_by: str = ""
    place: Place | None = None
    is_over: bool = False


def happening(event: Event) -> Happening | None:
    """What an event means for cards; None where it means nothing."""
    made = event.object or ""
    begun = {"begun_by": event.actor, "place": place_of(event.came_by)}
    match event.action:
        case "run" if event.object_kind == "experiment":
            return Happening(Thing("experiment", made), event.session, **begun)  # type: ignore[arg-type]
        case "experiment_observed" | "experiment_cancel" if event.object_kind == "experiment":
            return Happening(Thing("experiment", made), event.session)
        case "job_submit" | "job_watch" | "workflow_resume":
            workflow = event.facts.get("workflow")
            thing = Thing("workflow", workflow) if isinstance(workflow, str) else Thing("job", made)
            return Happening(thing, event.session, **begun)  # type: ignore[arg-type]
        case "job_observed" | "job_cancel" | "job_hold" | "job_release" | "job_requeue" | "job_unwatch" if (
            event.object_kind == "job"
        ):
            is_over = event.facts.get("state") in TERMINAL
            return Happening(Thing("job", made), event.session, is_over=is_over)
        case "lab_notebook" if event.object_kind == "entry":
            return Happening(Thing("entry", made), event.session, **begun)  # type: ignore[arg-type]
        case "note_sign":
            entry = event.facts.get("entry")
            return Happening(Thing("entry", entry), event.session) if isinstance(entry, str) else None
        case "link_create":
            return Happening(Thing("link", made), event.session, **begun)  # type: ignore[arg-type]
        case "link_open" | "link_revoke" if event.object_kind == "link":
            return Happening(Thing("link", made), event.session)
    return None


def place_of(came_by: str | None) -> Place | None:
    """`slack:T123:C456[:THREAD]` as a place."""
    parts = (came_by or "").split(":", 3)
    return Place(*parts) if len(parts) >= 3 and all(parts[:3]) else None


def first_state(kind: str, cards: str, *, is_from_here: bool) -> str | None:
    """The state a card begins in, in a channel that shows `cards`; None where it shows none of this thing.

    A link shows only where it was made: whom it was made for is nobody else's business.
    """
    if cards == "off" or (kind == "link" and not is_from_here):
        return None
    if cards == "digest":
        return "digest" if kind in ("job", "workflow", "experiment") else None
    return "held" if cards == "ends" else "wanted"


def of_job(job: Job, now_seconds: float = 0.0) -> Standing:
    """How a job stands; `now_seconds` is how long it has run when that is not known from its end."""
    ran = now_seconds
    if job.started_at is not None and job.ended_at is not None:
        ran = (job.ended_at - job.started_at).total_seconds()
    ending: Ending = ""
    if job.is_over:
        ending = {"SUCCEEDED": "well", "CANCELLED": "stopped"}.get(job.state, "badly")  # type: ignore[assignment]
    return Standing(ending, needs_a_person=job.state in ("HELD", "UNKNOWN_OUTCOME"), ran_seconds=ran, word=job.state)


def of_workflow(one: Workflow, ran_seconds: float) -> Standing:
    """A workflow is over when every step is; it ended as its worst step did."""
    states = [step.state for step in one.steps]
    word = ",".join(states)
    needs = any(state in ("HELD", "UNKNOWN_OUTCOME") for state in states)
    if not states or any(state not in TERMINAL for state in states):
        return Standing("", needs_a_person=needs, word=word)
    ending: Ending = "well"
    if any(state == "CANCELLED" for state in states):
        ending = "stopped"
    if any(state not in ("SUCCEEDED", "CANCELLED") for state in states):
        ending = "badly"
    return Standing(ending, needs_a_person=needs, ran_seconds=ran_seconds, word=word)


def of_experiment(one: Experiment) -> Standing:
    """An experiment is over when it says so; each node that ends is worth an edit."""
    word = ",".join(node.state for node in one.nodes)
    if not one.is_over:
        return Standing("", word=word)
    ran = (one.ended - one.at).total_seconds() if one.at is not None and one.ended is not None else 0.0
    endings: dict[str, Ending] = {"SUCCEEDED": "well", "CANCELLED": "stopped"}
    return Standing(endings.get(one.state, "badly"), ran_seconds=ran, word=word)


def urgency(before: Standing | None, now: Standing) -> Urgency:
    """How soon a card should show how its thing stands now."""
    if now.is_over:
        return Urgency.ENDED
    if now.needs_a_person:
        return Urgency.NEEDS_A_PERSON
    if before is None or before.word != now.word:
        return Urgency.CHANGED
    return Urgency.PROGRESS


def wants_reply(kind: str, standing: Standing) -> bool:
    """Whether a thread should hear of it; a link's end is waited for by nobody."""
    return kind in ("job", "workflow", "experiment", "entry") and (standing.is_over or standing.needs_a_person)


def may_mention(notify: str | None, standing: Standing) -> bool:
    """Whether who submitted it is mentioned. The default is failures, and successes that took five minutes."""
    is_bad = standing.ending == "badly" or standing.needs_a_person
    match notify:
        case "all":
            return standing.is_over or standing.needs_a_person
        case "ends":
            return standing.is_over
        case "failures":
            return is_bad
        case "none":
            return False
    return is_bad or (standing.ending == "well" and standing.ran_seconds >= LONG_SECONDS)
