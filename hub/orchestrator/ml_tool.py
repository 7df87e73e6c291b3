"""`ml_ai_augmentation` in experiments: `symbolic_regression_train` looks for a formula, as a job like any other.

The job runs `symbolic_regression.py` with the Python of this hub, under the limits, with the log and the lineage that
every job has; this tool only writes its submission and waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hub.core import limits
from hub.core.context import Scope
from hub.core.house import House
from hub.jobs.actions import SubmitJob
from hub.jobs.workflow_plans import StepToPlace
from hub.orchestrator.hub_tool import HubTool, to_place, within_terms
from hub.orchestrator.tools import Node, Progress, Run
from hub.orchestrator.wishes import the_file, wish
from hub.perform import perform

_PACKAGES = ("gplearn", "numpy")
NOT_INSTALLED = "gplearn is not installed on this hub; `pip install 'collegium[experiments]'` brings it"
PROGRAM = Path(__file__).with_name("symbolic_regression.py")
_SCRIPT = "#!/usr/bin/env python3\n" + PROGRAM.read_text("utf-8")
MADE = "symbolic_regression/"

Column = Annotated[str, Meta(min_length=1, max_length=200)]
Function = Literal["add", "sub", "mul", "div", "sqrt", "log", "abs", "neg", "inv", "max", "min", "sin", "cos", "tan"]


class Train(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table (else the one the step before made), its target column, and how long to look.

    Without `target` it is the column `y` or `target`, else the last; without `features`, all the others.
    """

    data: Annotated[str, Meta(min_length=1, max_length=limits.PATH_BYTES)] | None = None
    target: Column | None = None
    features: Annotated[tuple[Column, ...], Meta(max_length=200)] = ()
    functions: Annotated[tuple[Function, ...], Meta(min_length=1, max_length=14)] = ("add", "sub", "mul", "div")
    population_size: Annotated[int, Meta(ge=50, le=10_000)] = 500
    generations: Annotated[int, Meta(ge=1, le=200)] = 15
    parsimony: Annotated[float, Meta(ge=0, le=1)] = 0.005
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0


KINDS = {"symbolic_regression_train": Train}


class MlTool:
    """The tool; it holds nothing."""

    def lacks(self, node: Node, scope: Scope) -> list[str]:
        """Its library: jobs of this machine run with the hub's own Python."""
        wish(node, KINDS)
        return [NOT_INSTALLED] if any(find_spec(package) is None for package in _PACKAGES) else []

    def submits(self, node: Node, scope: Scope, session: str) -> Mapping[str, StepToPlace]:
        """One job on this machine, which asks for no more than any."""
        return to_place(SubmitJob(script=_SCRIPT, job_type="local"), scope, session)

    def begin(self, node: Node, run: Run, house: House) -> Progress:
        """Submit the job under the node's key, so that a second beginning finds the first one's job."""
        asked = wish(node, KINDS)
        with house.scope(run.actor) as scope:
            session = scope.access.session(run.session, "artifact:read")
            data = the_file(scope, run, asked.data, (".csv",))
        options = {name: value for name, value in msgspec.to_builtins(asked).items() if name != "data"}
        job = SubmitJob(
            script=_SCRIPT,
            session_id=session,
            name=f"symbolic regression of {data.path}"[: limits.TITLE_CHARACTERS],
            job_type="local",
            args=(data.path, msgspec.json.encode(options).decode()),
            artifacts=(data.version,),
            outputs=(MADE,),
        )
        result = perform(house, within_terms(job, run.terms), run.actor, run.key).result
        return self.look(node, Progress(state="RUNNING", about=result["id"]), house)

    def look(self, node: Node, progress: Progress, house: House) -> Progress:
        """It fares as its job does."""
        return HubTool().look(node, progress, house)


TOOL = MlTool()
