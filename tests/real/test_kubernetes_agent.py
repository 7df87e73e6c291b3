"""A hub's agent on a real Kubernetes: from a submission to versions of what it made, by the house's port."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.backends.kubernetes_rules import short
from hub.jobs.tables import jobs
from tests.conftest import Perform
from tests.jobs import add_file
from tests.real.kube_world import World, world

__all__ = ["world"]  # a fixture

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def test_a_payload_runs_and_what_it_made_comes_back_as_versions(
    world: World, house: House, ana: Actor, perform: Perform
) -> None:
    add_file(house, ana, perform, "data/numbers.csv", b"1\n2\n3\n")
    script = (
        "#!/usr/bin/env python3\nimport pathlib\n"
        "total = sum(map(int, open('data/numbers.csv')))\n"
        "pathlib.Path('results').mkdir()\n"
        "pathlib.Path('results/sum.txt').write_text(f'{total}\\n')\nprint('sum', total)\n"
    )

    async def story() -> None:
        job = world.submit(
            script, artifacts=["data/numbers.csv"], resources={"memory": "64M", "time": "5", "cpus_per_node": 1}
        )
        await world.until(world.over(job))
        seen = world.job(job)
        assert (seen.state, seen.reason) == ("SUCCEEDED", "Finished.")
        assert world.log(job) == b"sum 6\n"
        assert [each.path for each in seen.outputs] == ["results/sum.txt"]
        # Everything was fetched, so nothing of it is left there but how it ended.
        assert not [each for each in world.lab.jobs() if each["metadata"]["labels"]["collegium/job"] == job]

    world.play(story)


def test_a_failing_and_a_cancelled_job_end_as_what_they_are(world: World) -> None:
    small = {"memory": "64M", "time": "5"}

    async def story() -> None:
        failing = world.submit("#!/bin/sh\necho no >&2; exit 3\n", resources=small)
        cancelled = world.submit("#!/bin/sh\necho here; sleep 120\n", resources=small)
        await world.until(lambda: world.job(cancelled).state == "RUNNING")
        world.perform(world.actor, "job_cancel", job=cancelled)
        await world.until(world.over(failing, cancelled))
        assert world.job(failing).state == "FAILED"
        assert world.job(failing).reason == "The program ended with exit code 3."
        assert world.log(failing) == b"no\n"
        assert world.job(cancelled).state == "CANCELLED" and world.log(cancelled) == b"here\n"

    world.play(story)


def test_an_array_is_one_job_with_a_log_for_each_task_and_ends_as_its_worst(world: World) -> None:
    script = (
        "#!/bin/sh\necho task $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT\ntouch made.$SLURM_ARRAY_TASK_ID\n"
        "[ $SLURM_ARRAY_TASK_ID != 5 ]\n"
    )

    async def story() -> None:
        small = {"memory": "64M", "time": "5"}
        good = world.submit(script, resources={**small, "array": "1,3"})
        mixed = world.submit(script, resources={**small, "array": "3-7:2%1"})
        await world.until(world.over(good, mixed))
        assert (world.job(good).state, world.job(good).exit_code) == ("SUCCEEDED", 0)
        assert {each.path for each in world.job(good).outputs} == {"logs/1.log", "logs/3.log", "made.1", "made.3"}
        # A task that fails takes none of the others with it.
        assert (world.job(mixed).state, world.job(mixed).exit_code) == ("FAILED", 1)
        assert {each.path for each in world.job(mixed).outputs} == {
            f"{name}" for n in (3, 5, 7) for name in (f"logs/{n}.log", f"made.{n}")
        }

    world.play(story)


def test_an_array_is_cancelled_whole_and_what_its_tasks_said_is_kept(world: World) -> None:
    script = "#!/bin/sh\necho here; sleep 120\n"

    async def story() -> None:
        job = world.submit(script, resources={"memory": "64M", "time": "5", "array": "0-3%2"})
        await world.until(lambda: world.job(job).state == "RUNNING")
        world.perform(world.actor, "job_cancel", job=job)
        await world.until(world.over(job))
        assert (world.job(job).state, world.job(job).reason) == ("CANCELLED", "Cancelled.")
        assert {each.path for each in world.job(job).outputs} <= {f"logs/{n}.log" for n in range(4)}

    world.play(story)


def test_a_running_job_is_taken_off_its_node_and_runs_again_once_with_the_log_of_both_attempts(world: World) -> None:
    script = "#!/bin/sh\necho attempt; touch made.here\nwhile [ ! -e go ]; do sleep 0.1; done; echo done\n"

    async def story() -> None:
        job = world.submit(script, resources={"memory": "64M", "time": "5"})
        await world.until(lambda: world.log(job) == b"attempt\n")
        world.perform(world.actor, "job_requeue", job=job)
        await world.until(lambda: row(world, job).run == 2)
        # Whoever comes now goes on with the second attempt, and does not start the first one again.
        await world.agent.close()
        world.agent = world.new_agent()
        await world.until(lambda: world.log(job) == b"attempt\n== attempt 2 ==\nattempt\n")
        folder = world.lab.volume / short(world.agent.backend.hub) / "jobs" / job
        assert (folder / "1" / "run.lock").exists() and (folder / "1" / "end").exists()
        (folder / "2" / "work" / "go").touch()
        await world.until(world.over(job))
        seen = world.job(job)
        assert (seen.state, seen.reason) == ("SUCCEEDED", "Finished.")
        assert world.log(job) == b"attempt\n== attempt 2 ==\nattempt\ndone\n"
        assert row(world, job).run == 2

    world.play(story)


def test_an_array_is_not_started_again_and_says_why(world: World) -> None:
    async def story() -> None:
        job = world.submit("#!/bin/sh\nsleep 600\n", resources={"memory": "64M", "time": "5", "array": "0-1"})
        await world.until(lambda: world.job(job).state == "RUNNING")
        world.perform(world.actor, "job_requeue", job=job)
        await world.until(lambda: world.job(job).notes)
        assert "it is an array" in world.job(job).notes[0] and world.job(job).state == "RUNNING"
        world.perform(world.actor, "job_cancel", job=job)
        await world.until(world.over(job))
        assert world.job(job).state == "CANCELLED"

    world.play(story)


def row(world: World, job: str) -> Any:
    with world.house.db.read() as conn:
        return conn.execute(sa.select(jobs).where(jobs.c.id == job)).one()


def test_the_agent_tells_how_busy_the_cluster_is(world: World) -> None:
    async def story() -> None:
        job = world.submit("#!/bin/sh\nsleep 600\n", resources={"memory": "64M", "time": "5"})
        await world.until(lambda: world.job(job).state == "RUNNING")
        await world.until(lambda: world.agent.standing().load is not None)
        world.perform(world.actor, "job_cancel", job=job)
        await world.until(world.over(job))

    world.play(story)
    load = world.agent.standing().load
    assert load is not None and load.rooms[0].name == f"namespace {world.lab.namespace}"
    assert (load.rooms[0].cpus_taken or 0) > 0 and load.told_at > 0


def test_an_agent_that_comes_after_another_goes_on_with_its_jobs(world: World) -> None:
    async def story() -> None:
        job = world.submit(
            "#!/bin/sh\necho run >> count; sleep 3; cat count\n", resources={"memory": "64M", "time": "5"}
        )
        await world.until(lambda: world.job(job).state in ("PENDING", "RUNNING"))
        await world.agent.close()
        world.agent = world.new_agent()
        await world.until(world.over(job))
        assert world.job(job).state == "SUCCEEDED"
        assert world.log(job) == b"run\n"

    world.play(story)


def test_a_step_that_is_tried_again_is_another_job_and_nothing_is_run_twice_by_the_cluster(world: World) -> None:
    fails = {
        "step": "fails",
        "script": "#!/bin/sh\nexit 3\n",
        "retries": 1,
        "resources": {"memory": "64M", "time": "5"},
    }

    async def story() -> None:
        first = world.perform(world.actor, "job_submit", workflow=[fails], job_type="kubernetes")["jobs"][0]
        number = world.job(first).number
        again = f"{world.job(first).session_name}#{number + 1}"
        await world.until(world.over(first))
        await world.until(world.over(again))
        assert [world.job(each).state for each in (first, again)] == ["FAILED", "FAILED"]
        assert any("Try 2 of 2" in note for note in world.job(again).notes)

    world.play(story)
