"""What an agent may ask of the hub: to be the one that watches, what to watch, and to take reports.

The agent knows nothing else of the hub, so that it can run where a cluster's credential lives. Every call carries the
epoch of the agent's lease: an agent that was overtaken changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from hub.jobs.rules import Exit


class Watched(msgspec.Struct, frozen=True):
    """A job that a backend has, or may have, and what the hub knows of it."""

    job: str
    run: int
    state: str
    cancel_asked: bool
    log_size: int


Sight = Literal["nothing", "starting", "started", "ended", "never_ran", "lost"]


class Observation(msgspec.Struct, frozen=True):
    """What is to be seen of a job now. `never_ran` is certain; `lost` says that nobody can tell."""

    sight: Sight
    exit: Exit | None = None
    detail: str = ""


class Report(msgspec.Struct, frozen=True):
    """What an agent saw of one run of one job; its log has arrived up to `log_size`."""

    job: str
    run: int
    seen: Observation
    log_size: int = 0


class Overtaken(Exception):
    """Another agent holds the lease; this one stands by."""


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


class Backend(Protocol):
    """Something that runs jobs, as an agent sees it."""

    def observe(self, job: str, run: int) -> Observation: ...

    def read_log(self, job: str, run: int, offset: int) -> bytes:
        """The next bytes of the log from `offset`; empty when there are none yet."""
        ...

    def cancel(self, job: str, run: int) -> None:
        """Ask the run to end; asking again does no harm."""
        ...
