"""Placing by what a real Slurm says: its estimate and refusal in the table, and a move that starts nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from hub.core.clock import SystemClock
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.dry_plan import plan_job
from hub.jobs.plans import PlanView
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

Perform = Callable[..., Any]
SCRIPT = "#!/bin/sh\nsleep 600\n"
WISH = {"script": SCRIPT, "resources": {"time": 60, "cpus_per_node": 1}, "within": 120}


@pytest.fixture
def world(
    house: House, ana: Actor, perform: Perform, slurm: SlurmBox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SlurmWorld]:
    """The cluster is cheap, this machine dear, and the hub's clock is the one that Slurm's estimates are by."""
    monkeypatch.setattr(house, "clock", SystemClock())
    slurm.empty()
    monkeypatch.setattr(house, "settings", msgspec.structs.replace(house.settings, price_core_hour=5.0))
    yield SlurmWorld(house, ana, perform, slurm, price_per_core_hour=0.1, price_per_gpu_hour=1.0)


def answered(world: SlurmWorld, **wish: Any) -> PlanView:
    """The plan, when Slurm has answered."""
    found: list[PlanView] = []

    def look() -> bool:
        found.append(plan_job(world.house, world.actor, wish))
        return not found[-1].asking

    async def story() -> None:
        await world.until(look)

    world.play(story)
    return found[-1]


def on(plan: PlanView, backend: str) -> Any:
    return next(each for each in plan.candidates if each.backend == backend)


def test_slurms_own_estimate_and_refusal_stand_in_the_table(world: SlurmWorld) -> None:
    free = answered(world, **WISH)
    assert free.chosen == "raven", free.candidates
    assert on(free, "raven").starts_in is not None and on(free, "raven").starts_in < 60
    impossible = answered(world, **{**WISH, "resources": {"nodes": 90, "time": 60}, "job_type": "slurm"})
    assert impossible.chosen is None
    assert "node" in on(impossible, "raven").why.lower()
    standing = world.agent.standing()
    assert [each.name for each in standing.partitions if each.is_default] == ["debug"]
    assert standing.per_minute["estimate"] == 2 and standing.per_minute["sinfo"] == 1


def test_while_jobs_are_there_the_agent_tells_how_busy_the_cluster_is(world: SlurmWorld) -> None:
    # More than it has nodes for, so that some of them wait.
    nodes = int(world.box.sh("sinfo -h -o %D -p debug").split()[0])
    world.box.sh(f"sbatch --exclusive -N{nodes} -t 5 -o /dev/null --wrap 'sleep 300'")
    world.box.sh(f"sbatch --array=1-3 -N{nodes} -t 5 -o /dev/null --wrap true")
    wait_for(lambda: world.box.sh("squeue -h -o %T -t RUNNING"), 30, "the one that takes all nodes")

    async def story() -> None:
        world.submit("#!/bin/sh\nsleep 1\n")
        await world.until(lambda: world.agent.standing().load is not None)

    world.play(story)
    standing = world.agent.standing()
    assert standing.load is not None and standing.per_minute["sinfo"] == 1
    room = next(each for each in standing.load.rooms if each.name == "debug")
    assert (room.nodes, room.idle_nodes) == (nodes, 0)
    assert room.cpus and room.cpus == room.cpus_taken and (room.memory_bytes or 0) > 0
    assert (standing.load.waiting or 0) >= 3
    world.box.empty()


def test_a_job_that_slurm_keeps_waiting_moves_and_can_no_longer_start_there(world: SlurmWorld) -> None:
    assert answered(world, **WISH).chosen == "raven"
    world.box.sh("sbatch --exclusive --nodes=$(sinfo -h -o %D -p debug) -t 600 -o /dev/null --wrap 'sleep 600'")
    job = str(world._perform(world.actor, "job_submit", **WISH, agreed="raven")["id"])

    async def story() -> None:
        await world.until(lambda: world.row(job).backend == "local", 120)

    world.play(story)
    row, placed = world.row(job), world.job(job).placed
    assert row.run == 2 or row.state == "QUEUED"
    assert row.account is None and placed is not None and placed.moves == 1
    assert placed.why == "It would miss its deadline on raven, and meets it on local."
    assert world.box.sh("squeue -h -o '%j'").strip() == "wrap", "it is off Slurm's queue"
    assert world.box.sh(f"cat ~/.collegium/*/jobs/{job}/1/run.lock").strip() == "nobody", "and could not start any more"
