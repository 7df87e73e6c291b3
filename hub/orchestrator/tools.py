"""Where tools plug into experiments.

A node of an experiment names a tool and an action. A tool says what it lacks before anything starts, begins a node
once, and is then asked how the node fares until it has ended. What a node made is handed on as versions of artifacts:
`results: "from_previous_step"` means those. The hub's own tool is in `hub_tool.py`; others come as `plugins.py` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from hub.core.context import Actor, Scope
from hub.core.house import House
from hub.jobs.workflow_plans import StepToPlace

TOOL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
State = Literal["WAITING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"]
MOST_RETRIES = 10


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node of an experiment as it was written; `path` is its place in the request, for messages.

    `retries`, which any node may have, is read and taken out of `given` before its tool sees it.
    """

    place: int
    tool: str
    action: str
    given: dict[str, Any]
    path: str
    retries: int = 0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How a node fares. `made` are ids of artifact versions, `about` the object to ask for again (a job).

    A node that failed is begun again while it has `retries` left, unless `is_final`: another try would fail the same
    way, or nobody knows whether it ran.
    """

    state: State
    words: str = ""
    about: str | None = None
    made: tuple[str, ...] = ()
    is_final: bool = False


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the deadline and the budget of a whole experiment leave one try of a node: seconds, and money at most."""

    within: float | None = None
    budget: float | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool is told of the run a node belongs to. `key` is the same whenever this try is begun again."""

    experiment: str
    session: str
    actor: Actor
    key: str
    previous: tuple[str, ...]
    terms: Terms = Terms()


class Tool(Protocol):
    """What experiments need of a tool."""

    def lacks(self, node: Node, scope: Scope) -> list[str]:
        """What is not there to carry the node out, in words; InvalidInput for a node that cannot mean anything."""

    def begin(self, node: Node, run: Run, house: House) -> Progress:
        """Start the node, or find that it was started under this key. A HubError that is not temporary ends it."""

    def look(self, node: Node, progress: Progress, house: House) -> Progress:
        """How a node that is running fares now."""


@runtime_checkable
class Submits(Protocol):
    """What a tool whose nodes submit jobs has besides, so that they count for what the whole may take."""

    def submits(self, node: Node, scope: Scope, session: str) -> Mapping[str, StepToPlace]:
        """The jobs the node will submit, by step; none for a node that submits nothing."""


TOOLS: dict[str, Tool] = {}


def provides(name: str, tool: Tool) -> None:
    """Plug a tool in."""
    TOOLS[name] = tool
