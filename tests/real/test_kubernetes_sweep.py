"""What jobs left on a real Kubernetes goes after a while, and is told; what did not come home, or still runs, stays."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.jobs import kubernetes_agent
from hub.jobs.backends.kubernetes_rules import job_name, short
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger, ledger_bodies
from tests.real.kube_lab import Lab, until
from tests.real.kube_world import World, world
from tests.waiting import wait_for

__all__ = ["world"]  # a fixture

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

DAYS = 86400.0
SMALL = {"memory": "64M", "time": "5"}
TRAPS = (
    "#!/bin/sh\nln -s / root; ln -s ../../../precious precious; mkdir -p locked/in; echo x > locked/in/f\n"
    "chmod 0 locked; echo result > result\n"
)


def swept(world: World) -> list[dict[str, Any]]:
    with world.house.db.read() as conn:
        query = sa.select(ledger_bodies.c.bytes).join(ledger).where(ledger.c.action == "job_swept")
        return [msgspec.json.decode(each)["facts"] for each in conn.execute(query).scalars()]


def test_after_two_weeks_jobs_pods_and_folders_go_and_what_did_not_come_home_stays(
    world: World, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.COLLECT_FILE_BYTES", 1 << 20)
    monkeypatch.setattr(kubernetes_agent, "SWEEP_SECONDS", 0.5)
    home = world.lab.volume / short(world.agent.backend.hub) / "jobs"

    async def story() -> None:
        whole = world.submit(TRAPS, resources=SMALL)
        array = world.submit("#!/bin/sh\necho $SLURM_ARRAY_TASK_ID\n", resources={**SMALL, "array": "0-1"})
        large = world.submit("#!/bin/sh\nhead -c 2000000 /dev/zero > large\n", resources=SMALL)
        never = world.submit("#!/bin/sh\n", resources={**SMALL, "cpus_per_node": 60})
        await world.until(lambda: row(world, never).state == "PENDING")
        world.perform(world.actor, "job_cancel", job=never)
        await world.until(world.over(whole, array, large, never))
        assert [each.kind for each in world.job(large).outputs] == ["reference"], (
            world.job(large).state,
            world.job(large).notes,
        )
        assert {each.name for each in home.iterdir()} >= {whole, array, large, never}
        assert swept(world) == []
        (home / "mine").mkdir()
        (home / "mine" / "file").write_text("years")
        clock.advance(15 * DAYS)
        await world.agent.close()
        world.agent = world.new_agent("agent-2")
        await world.until(lambda: all(row(world, each).swept_at is not None for each in (whole, array, never)))
        left = {each.name for each in home.iterdir()}
        assert left >= {large, "mine"} and not left & {whole, array, never}
        wait_for(lambda: not named(world.lab) & {whole, array, never} or None, 30, "their Jobs and pods being gone")
        assert large in named(world.lab) and row(world, large).swept_at is None
        told = swept(world)
        assert sum(each["jobs"] for each in told) == 3 and sum(each["folders"] for each in told) == 3
        assert sum(each["bytes"] for each in told) > 0
        assert all((each["strange"], each["left"]) == (0, 0) for each in told)

    world.play(story)


def row(world: World, job: str) -> Any:
    with world.house.db.read() as conn:
        return conn.execute(sa.select(jobs).where(jobs.c.id == job)).one()


def named(lab: Lab) -> set[str]:
    """The jobs of which there is a Job or a pod."""
    return {each["metadata"]["labels"]["collegium/job"] for each in [*lab.jobs(), *lab.pods()]}


def test_a_run_that_still_runs_is_left_and_a_folder_that_is_not_the_runs_is_not_touched(lab: Lab) -> None:
    backend = lab.backend()
    runs, strange, over = lab.work(), lab.work(), lab.work()
    lab.send(backend, runs, "while [ ! -e go ]; do sleep 0.1; done")
    lab.run_folder(strange).mkdir(parents=True)
    (lab.run_folder(strange) / "run.sh").write_text("#!/bin/sh\n# somebody's own\n")
    assert backend.porter.forbid(over.job, 1)
    until(backend, runs, "started")
    found = {each.job: each.fate for each in backend.clear_away([(each.job, 1) for each in (runs, strange, over)])}
    assert found == {runs.job: "left", strange.job: "strange", over.job: "swept"}
    assert (lab.run_folder(runs) / "run.sh").exists() and (lab.run_folder(strange) / "run.sh").exists()
    assert job_name(lab.hub, runs.job, 1) in {each["metadata"]["name"] for each in lab.jobs()}
    (lab.run_folder(runs) / "work" / "go").touch()
    until(backend, runs, "ended")
