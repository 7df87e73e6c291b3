"""What an agent may ask of the hub: to be the one that watches, what to watch, and to take reports.

The agent knows nothing else of the hub, so that it can run where a cluster's credential lives. Every call carries the
epoch of the agent's lease: an agent that was overtaken changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from hub.jobs.asked import Free
from hub.jobs.backends.timetable import Period
from hub.jobs.requests import Environment, Resources
from hub.jobs.rules import Exit, Wish


class Wished(msgspec.Struct, frozen=True):
    """What is to be asked of a scheduler for one job. Under the same number it is the same wish, however often seen."""

    what: Wish
    number: int


class Watched(msgspec.Struct, frozen=True):
    """A job that a backend has, or may have, and what the hub knows of it."""

    job: str
    run: int
    state: str
    cancel_asked: bool
    log_size: int
    # Of a job on a cluster only.
    name: str = ""
    native: str | None = None
    outputs: tuple[str, ...] = ()
    wish: Wished | None = None
    attached: bool = False
    log_path: str = ""
    read: bool = False  # somebody reads its log now
    leaves: bool = False  # it goes elsewhere, if it surely cannot start here any more
    fetch: tuple[str, ...] = ()  # patterns of outputs that come however large they are


Sight = Literal["nothing", "starting", "waiting", "started", "ended", "never_ran", "again", "refused", "lost"]


class Observation(msgspec.Struct, frozen=True):
    """What is to be seen of a job now. `never_ran` and `refused` are certain; `lost` says that nobody can tell.

    `again` is certain, too: it was taken off its node to start again, as the next run, and nothing of it runs any more.

    `native` is what a scheduler calls the job; `detail` are words, and of one that has `started` the nodes it runs on;
    `starts_at` is when a scheduler expects a waiting one to start, 0 where it does not; `trouble` is what is in the way
    of one that is `starting` or has `started`, in words, while it is.
    """

    sight: Sight
    exit: Exit | None = None
    detail: str = ""
    native: str = ""
    starts_at: float = 0.0
    trouble: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to submit one run of a job; its inputs' bytes are asked for one by one."""

    job: str
    run: int
    name: str
    script: str | None  # written out; else it is the input at `script_path`
    script_path: str = ""
    says: str = ""  # the script's head, for the options it holds
    interpreter: tuple[str, ...]
    args: tuple[str, ...]
    variables: dict[str, str]
    inputs: list[dict[str, Any]]  # path, digest, size
    resources: Resources
    environment: Environment
    defaults: dict[str, str] = {}
    workdir: str = ""
    # Whose job it is, and where: told to a cluster on which the hub has one account for all.
    person: str = ""
    session: str = ""
    handle: str = ""
    at: int  # seconds: the time that every file laid carries


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a cluster, such as a partition: what its nodes have, and how much of it is taken; None is not known."""

    name: str
    nodes: int | None = None
    idle_nodes: int | None = None
    cpus: float | None = None
    cpus_taken: float | None = None
    memory_bytes: int | None = None
    memory_taken_bytes: int | None = None


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How busy a cluster was at `told_at` (Unix), as far as its account may see; `said` is what it may not, in words.

    `waiting` are jobs of anybody's that have not started.
    """

    rooms: tuple[Room, ...] = ()
    waiting: int | None = None
    said: str = ""
    told_at: float = 0.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent stands with its scheduler, for people to see."""

    reached: bool
    said: str = ""
    version: str = ""
    per_minute: dict[str, int] = {}
    channels: int = 0
    partitions: tuple[Free, ...] = ()  # what was idle at `told_at`, in seconds
    told_at: float = 0.0
    at: float = 0.0  # when the hub heard this, in seconds, by its own clock
    alone_until: float = 0.0  # nobody signs in before then, after failures; `said` holds why
    alone_for_good: bool = False  # nor ever, until a person has looked
    load: Load | None = None


class Question(msgspec.Struct, frozen=True):
    """When would a job with these options of sbatch start?"""

    digest: str
    options: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True):
    """When, in seconds, or why never; neither where the scheduler could not tell."""

    digest: str
    starts_at: float | None = None
    refusal: str = ""


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheduler tells of a job that was not submitted by the hub: its name, its log, when it started (Unix)."""

    name: str = ""
    log_path: str = ""
    started_at: float = 0.0


class PassedOn(msgspec.Struct, frozen=True):
    """The wish of this number was passed on; `refused` is why the scheduler would not, in words."""

    number: int
    refused: str = ""


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What was cleared away of jobs that ended long ago: whose folders are gone or not to be touched, and how much."""

    jobs: tuple[str, ...]  # about whom nothing more is to be done
    folders: int
    size_bytes: int
    strange: int = 0  # folders that do not look like the hub's, left as they are
    left: int = 0  # folders that could not be removed; they are tried again


class Report(msgspec.Struct, frozen=True):
    """What an agent saw of one run of one job; its log has arrived up to `log_size`."""

    job: str
    run: int
    seen: Observation
    log_size: int = 0
    wish: PassedOn | None = None
    attached: Attached | None = None


class Overtaken(Exception):
    """Another agent holds the lease; this one stands by."""


class Away(Exception):
    """The hub cannot be reached now; what was to be told has to be told again."""


class AgentPort(Protocol):
    """The hub as an agent sees it."""

    def lease(self, agent: str) -> int | None:
        """The epoch under which this agent watches, renewed; None while another one does."""
        ...

    def watched(self, epoch: int) -> list[Watched]:
        """The jobs this backend is asked about. Raises Overtaken."""
        ...

    def append_log(self, epoch: int, job: str, offset: int, piece: bytes) -> int:
        """Keep bytes of a log at their place; returns its size then. Raises Overtaken."""
        ...

    def report(self, epoch: int, reports: Sequence[Report]) -> None:
        """Record what was seen, one ledger line for each job that changed. Raises Overtaken."""
        ...


class ClusterPort(AgentPort, Protocol):
    """What the agent of an account on a cluster asks of the hub beside that."""

    def order(self, epoch: int, job: str) -> Order | None:
        """What to submit for this job; None when it is no longer to be submitted. Raises Overtaken."""
        ...

    def orders(self, epoch: int, which: Sequence[str]) -> list[Order | None]:
        """As `order`, for each of these."""
        return [self.order(epoch, job) for job in which]

    def content(self, epoch: int, job: str, digest: str) -> Iterator[bytes]:
        """The bytes of one of the job's inputs."""
        ...

    def folder(self, job: str, run: int) -> Path:
        """Where the outputs of this run are laid when they come home."""
        ...

    def fetched(self, epoch: int, job: str, run: int) -> None:
        """The outputs of this run lie in its folder. Raises Overtaken."""
        ...

    def stands(self, epoch: int, standing: Standing) -> None:
        """Keep how it stands. Raises Overtaken."""
        ...

    def questions(self, epoch: int) -> list[Question]:
        """What somebody who is about to submit wants to know of the scheduler. Raises Overtaken."""
        return []

    def answer(self, epoch: int, answers: Sequence[Answer]) -> None:
        """Keep what it said. Raises Overtaken."""
        return None

    def rate(self, epoch: int) -> tuple[Period, ...]:
        """How fast results may come from this cluster. Raises Overtaken."""
        return ()

    def sweepable(self, epoch: int) -> list[tuple[str, int]]:
        """Jobs whose folders may go now, each with its last run. Raises Overtaken."""
        return []

    def swept(self, epoch: int, sweep: Sweep) -> None:
        """Record what was cleared away, in one line of the ledger. Raises Overtaken."""
        return None


class Backend(Protocol):
    """Something that runs jobs, as an agent sees it."""

    def observe(self, job: str, run: int) -> Observation: ...

    def read_log(self, job: str, run: int, offset: int) -> bytes:
        """The next bytes of the log from `offset`; empty when there are none yet."""
        ...

    def cancel(self, job: str, run: int) -> None:
        """Ask the run to end; asking again does no harm."""
        ...
