"""An agent that is killed in the middle of a wish, a cancellation or a move: its successor ends it, and once.

A fake scheduler behind a real sshd keeps the command waiting where a test wants it, before or after it took effect; the
agent is a process of its own and dies by SIGKILL. What the command then does, goes on or dies as well, is said too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub import app
from hub.core.bus import MemoryBus
from hub.core.context import Actor
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs import sandbox, views
from hub.jobs.clusters.tables import clusters
from hub.jobs.dry_plan import plan_job
from hub.jobs.tables import jobs
from tests.conftest import make_person
from tests.faults.storm import FakeCluster
from tests.faults.test_cluster_storm import Agents, act, signed_up
from tests.jobs import agent, run_steps

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]

CHANCE = random.Random(1)  # there is one agent to choose from
SCRIPT = """#!/bin/sh
echo "${SLURM_JOB_ID:-here} ${SLURM_RESTART_COUNT:-0}" >> TRUTH
while [ ! -e TRUTH.go ]; do sleep 0.05; done
echo ended >> TRUTH
"""


class World:
    """A hub with one person's account on the cluster, its agent, and the job that is spoken of."""

    def __init__(self, hub: House, cluster: FakeCluster, tmp_path: Path) -> None:
        self.hub, self.cluster = hub, cluster
        self.ana: Actor = make_person(hub, "ana")
        self.agents = Agents(hub, tmp_path / "agents.log")
        self.truth = cluster.home / "truth" / "job"
        cluster.knobs |= {"squeue_fails": 0, "squeue_slow": 0, "sacct_fails": 0, "sacct_lags": 0.5}
        signed_up(hub, self.ana, cluster, self.agents)

    def submit(self, plan: dict[str, Any], **more: Any) -> str:
        self.cluster.write("plans.json", {"job": {"sbatch": [], "run": "ok", "seconds": 0, "delay": 0} | plan})
        wish = {"name": "job", "job_type": "slurm", "script": SCRIPT.replace("TRUTH", str(self.truth))} | more
        return str(act(self.hub, self.ana, "job_submit", **wish)["id"])

    def row(self, job: str) -> Any:
        with self.hub.db.read() as conn:
            return conn.execute(sa.select(jobs).where(jobs.c.id == job)).one()

    def view(self, job: str) -> views.JobView:
        with self.hub.scope(self.ana) as scope:
            return views.job(scope, job)

    def until(self, reached: Callable[[], object], what: str, seconds: float = 200.0) -> None:
        """Let the workers work until it is so; the agent works by itself."""
        deadline, here = time.monotonic() + seconds, agent(self.hub)
        while not reached():
            assert time.monotonic() < deadline, f"{what}: {(self.agents._log).read_text()[-3000:]}"
            run_steps(self.hub)
            asyncio.run(here.turn())
            time.sleep(0.05)

    def is_in(self, job: str, state: str) -> Callable[[], bool]:
        return lambda: self.row(job).state == state

    def close_gate(self, where: str) -> None:
        self.cluster.write(f"gate.{where}", 1)

    def open_gate(self, where: str) -> None:
        (self.cluster.home / "fake" / f"gate.{where}").unlink()

    def at(self, where: str) -> Callable[[], bool]:
        return (self.cluster.home / "fake" / f"at.{where}").exists

    def killed_at(self, where: str, *, dies: bool) -> None:
        """The agent is killed while its command stands there; that dies with it, or goes on."""
        self.until(self.at(where), f"the command at {where}")
        self.agents.kill(CHANCE)
        if dies:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((self.cluster.home / "fake" / f"at.{where}").read_text()), signal.SIGKILL)
        self.open_gate(where)

    def has_room(self) -> None:
        """The cluster would start now what nobody holds."""
        self.cluster.sh('cd fake && flock lock sed -i \'s/"expected": [0-9.]*/"expected": null/\' jobs/*.json')

    def lets_go(self) -> None:
        """The program may end, wherever it runs."""
        path = Path(f"{self.truth}.go")
        path.touch()
        path.chmod(0o644)

    def starts(self) -> list[str]:
        lines = self.truth.read_text().splitlines() if self.truth.exists() else []
        return [line for line in lines if line != "ended"]

    def steered(self, what: str) -> int:
        path = self.cluster.home / "fake" / "steered"
        return sum(line.startswith(what) for line in path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def world(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(sandbox, "works", lambda: False)
    settings = Settings(data=tmp_path / "data", public_url="http://hub.test", price_core_hour=5.0)
    settings.data.mkdir()
    shutil.copyfile(empty_database, settings.data / "hub.sqlite3")
    hub, cluster = app.build(settings, bus=MemoryBus()), FakeCluster("1")
    try:
        made = World(hub, cluster, tmp_path)
        try:
            yield made
        finally:
            made.agents.close()
    finally:
        cluster.close()
        hub.close()


MIDDLES = pytest.mark.parametrize(
    ("point", "dies"), [("before", True), ("before", False), ("after", True)],
    ids=["before_it_took_effect", "and_it_takes_effect_later", "after_it_took_effect"],
)  # fmt: skip


def is_held(world: World, job: str) -> bool:
    row = world.row(job)
    return row.wish is None and row.state == "PENDING" and views.is_held(row)


@MIDDLES
def test_a_hold_is_ended_by_the_next_agent_and_the_job_stays_until_it_is_released(
    world: World, point: str, dies: bool
) -> None:
    job = world.submit({"delay": 3600})
    world.until(world.is_in(job, "PENDING"), "waiting")
    world.close_gate(f"{point}.hold")
    act(world.hub, world.ana, "job_hold", job=job)
    world.killed_at(f"{point}.hold", dies=dies)
    world.agents.start()
    world.until(lambda: is_held(world, job), "held")
    assert world.starts() == []
    assert not world.view(job).notes


@MIDDLES
def test_a_release_is_ended_by_the_next_agent_and_the_job_runs_once(world: World, point: str, dies: bool) -> None:
    job = world.submit({"expected": 36000})
    world.until(world.is_in(job, "PENDING"), "waiting")
    act(world.hub, world.ana, "job_hold", job=job)
    world.until(lambda: is_held(world, job), "held")
    world.has_room()
    world.close_gate(f"{point}.release")
    act(world.hub, world.ana, "job_release", job=job)
    world.killed_at(f"{point}.release", dies=dies)
    world.agents.start()
    world.lets_go()
    world.until(world.is_in(job, "SUCCEEDED"), "ended")
    assert len(world.starts()) == 1
    assert world.row(job).wish is None


@MIDDLES
def test_a_requeue_is_ended_by_the_next_agent_and_the_job_starts_again_once(
    world: World, point: str, dies: bool
) -> None:
    job = world.submit({})
    world.until(lambda: world.row(job).state == "RUNNING" and world.starts(), "running")
    world.close_gate(f"{point}.requeue")
    act(world.hub, world.ana, "job_requeue", job=job)
    world.killed_at(f"{point}.requeue", dies=dies)
    if not dies:
        world.until(lambda: world.steered("requeue") == 1, "the command that goes on")
    world.agents.start()
    world.until(lambda: world.row(job).wish is None and len(world.starts()) == 2, "started again")
    world.lets_go()
    world.until(world.is_in(job, "SUCCEEDED"), "ended")
    assert [each.split()[1] for each in world.starts()] == ["0", "1"]
    assert world.steered("requeue") == 1


def test_a_requeue_that_hangs_after_its_agent_died_and_its_successor_s_start_the_job_again_once(world: World) -> None:
    job = world.submit({})
    world.until(lambda: world.row(job).state == "RUNNING" and world.starts(), "running")
    world.cluster.write("gate.before.requeue", "first")
    act(world.hub, world.ana, "job_requeue", job=job)
    world.until(world.at("before.requeue"), "the command that hangs")
    world.agents.kill(CHANCE)
    world.agents.start()
    world.until(lambda: world.agents.said("agent.wish_under_way") or len(world.starts()) == 2, "its successor's")
    world.open_gate("before.requeue")
    world.until(lambda: world.row(job).wish is None and len(world.starts()) >= 2, "started again")
    world.lets_go()
    world.until(world.is_in(job, "SUCCEEDED"), "ended")
    assert [each.split()[1] for each in world.starts()] == ["0", "1"]
    assert world.steered("requeue") == 1


@MIDDLES
def test_a_cancellation_is_ended_by_the_next_agent_and_the_job_is_cancelled(
    world: World, point: str, dies: bool
) -> None:
    job = world.submit({})
    world.until(lambda: world.row(job).state == "RUNNING" and world.starts(), "running")
    world.close_gate(f"{point}.scancel")
    act(world.hub, world.ana, "job_cancel", job=job)
    world.killed_at(f"{point}.scancel", dies=dies)
    world.agents.start()
    world.until(world.is_in(job, "CANCELLED"), "cancelled")
    assert len(world.starts()) == 1
    assert "ended" not in world.truth.read_text()


def placed_by_auto(world: World, plan: dict[str, Any]) -> str:
    """A job that `auto` gave to the cluster, which said that it would start it at once."""
    price = sa.update(clusters).values(price_per_core_hour=0.1, price_per_gpu_hour=1.0)
    world.hub.db.write(lambda tx: tx.execute(price))
    wish = {"job_type": "auto", "resources": {"time": 60}, "within": 120}
    script = SCRIPT.replace("TRUTH", str(world.truth))
    asked = {**wish, "script": script}
    world.until(lambda: not plan_job(world.hub, world.ana, dict(asked)).asking, "the estimate")
    shown = plan_job(world.hub, world.ana, dict(asked))
    assert shown.chosen == "raven", msgspec.to_builtins(shown)
    return world.submit(plan, **wish, agreed="raven")


@MIDDLES
def test_a_move_is_ended_by_the_next_agent_and_the_job_runs_once_and_elsewhere(
    world: World, point: str, dies: bool
) -> None:
    world.close_gate(f"{point}.scancel")
    job = placed_by_auto(world, {"expected": 36000})
    world.killed_at(f"{point}.scancel", dies=dies)
    row = world.row(job)
    assert (row.state, row.backend) == ("PENDING", "raven")
    world.agents.start()
    world.until(lambda: world.row(job).backend == "local" and world.starts(), "started here")
    world.lets_go()
    world.until(world.is_in(job, "SUCCEEDED"), "ended")
    row, placed = world.row(job), world.view(job).placed
    assert world.starts() == ["here 0"]
    assert (row.run, row.account, placed is not None and placed.moves) == (2, None, 1)
    world.until(lambda: not world.cluster.sh("grep -l PENDING fake/jobs/*.json || true").strip(), "off the queue there")


def test_a_job_whose_agent_dies_while_it_is_to_move_runs_once_and_there_only_if_its_run_was_not_barred(
    world: World,
) -> None:
    world.close_gate("before.scancel")
    job = placed_by_auto(world, {"expected": 36000})
    # It is on its way when the agent dies; whether its run was barred by then decides where it runs, once.
    world.until(lambda: world.row(job).state == "PENDING" and world.row(job).native is not None, "waiting")
    world.until(lambda: going(world, job) or world.at("before.scancel")(), "on its way")
    world.agents.kill(CHANCE)
    world.open_gate("before.scancel")
    world.has_room()
    world.lets_go()
    world.agents.start()
    world.until(world.is_in(job, "SUCCEEDED"), "ended")
    assert len(world.starts()) == 1
    barred = world.cluster.sh(f"cat ~/.collegium/*/jobs/{job}/1/run.lock 2>/dev/null || true").strip()
    assert world.row(job).backend == ("local" if barred == "nobody" else "raven")


def going(world: World, job: str) -> bool:
    placed = world.view(job).placed
    return placed is not None and placed.moving_to is not None
