"""What an agent elsewhere and the hub say to each other over HTTPS, one struct for each request and answer.

The agent asks, the hub answers: nothing ever connects to the agent. Bytes (logs, inputs, outputs) travel as bodies of
their own, addressed by offset, so that what broke off goes on and what comes twice lies in the same place.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hub.core import limits
from hub.jobs.backends.timetable import Period
from hub.jobs.outputs import Found
from hub.jobs.port import Answer, Question, Report, Standing, Sweep, Watched
from hub.jobs.remote import Remote

Epoch = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Run = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Id = Annotated[str, Meta(min_length=1, max_length=40)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request."""


class Whoami(Asked, frozen=True):
    """A request that says no more than its token."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The account that a token is bound to, and all that is needed to sign in as it but what opens the door."""

    account: str
    person: str
    cluster: str
    login: str
    host: str
    port: int
    host_keys: tuple[str, ...]
    jump: dict[str, Any] | None
    root: str
    path: tuple[str, ...]


class Wait(Asked, frozen=True):
    """Be, or stay, the one that watches, and hear when there is something else to do than `mark` says."""

    agent: Annotated[str, Meta(min_length=1, max_length=100)]
    epoch: Epoch | None = None
    mark: Annotated[str, Meta(max_length=40)] = ""
    seconds: Annotated[float, Meta(ge=0, le=limits.AGENT_WAIT_SECONDS)] = 0.0


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched; without an epoch another agent watches. `place` changes when the account's place does.

    `questions` are what somebody about to submit wants to know, `rate` how fast results may come.
    """

    epoch: int | None
    watched: list[Watched] = []
    questions: list[Question] = []
    rate: tuple[Period, ...] = ()
    mark: str = ""
    place: str = ""


class Ready(Asked, frozen=True):
    """The agent was let in, found the scheduler's commands, and was answered by them; or else what went wrong."""

    standing: Standing


class Told(Asked, frozen=True):
    """What was seen. `number` counts an agent's reports, so that one that comes twice, or late, is heard once."""

    epoch: Epoch
    number: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    reports: Annotated[list[Report], Meta(max_length=limits.AGENT_REPORTS)]


class Stands(Asked, frozen=True):
    """How the agent stands with its scheduler."""

    epoch: Epoch
    standing: Standing


class Answers(Asked, frozen=True):
    """What the scheduler said to questions."""

    epoch: Epoch
    answers: Annotated[list[Answer], Meta(max_length=limits.AGENT_REPORTS)]


class Due(Asked, frozen=True):
    """Which folders on the cluster may go?"""

    epoch: Epoch


class Swept(Asked, frozen=True):
    """What was cleared away."""

    epoch: Epoch
    sweep: Sweep


class OfJob(Asked, frozen=True):
    """One of the account's jobs."""

    epoch: Epoch
    job: Id


class Coming(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that is to come home."""

    path: str
    size: Annotated[int, Meta(ge=0, le=limits.COLLECT_ASKED_BYTES)]
    mtime_ns: Annotated[int, Meta(ge=0, lt=1 << 62)]
    digest: Digest

    @property
    def found(self) -> Found:
        return Found(self.path, self.size, self.mtime_ns)


class Outputs(Asked, frozen=True):
    """All that comes home of a run, before any of it does; and what does not come."""

    epoch: Epoch
    job: Id
    run: Run
    files: Annotated[list[Coming], Meta(max_length=limits.COLLECT_FILES)]
    there: Remote


class Wanted(msgspec.Struct, frozen=True):
    """Of each of those files in turn, from which byte on it is wanted; None of one that is here."""

    offsets: list[int | None]


class Fetched(Asked, frozen=True):
    """Every file of a run was sent."""

    epoch: Epoch
    job: Id
    run: Run


class Size(msgspec.Struct, frozen=True):
    """How many bytes are here now."""

    size: int


class Done(msgspec.Struct, frozen=True):
    """It is written down."""


def mark_of(work: Work) -> str:
    """The same for the same things to do; a log that grew is nothing to do."""
    plain = [msgspec.structs.replace(each, log_size=0) for each in sorted(work.watched, key=lambda each: each.job)]
    same = (plain, work.questions, work.rate, work.place)
    return hashlib.sha256(msgspec.json.encode(same)).hexdigest()[:32]


def place_mark(place: Place) -> str:
    """Another one when the agent has to sign in anew."""
    return hashlib.sha256(msgspec.json.encode(place)).hexdigest()[:32]
