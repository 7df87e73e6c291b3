"""Jobs that their owner gave to a real Slurm by hand are watched to their end, and the hub touches none of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.clusters import connecting
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

Perform = Callable[..., Any]


@pytest.fixture
def world(house: House, ana: Actor, perform: Perform, slurm: SlurmBox) -> Iterator[SlurmWorld]:
    slurm.empty()
    yield SlurmWorld(house, ana, perform, slurm)
    slurm.empty()


@pytest.fixture
def watch(perform: Perform, ana: Actor) -> Callable[[str], str]:
    return lambda native: str(perform(ana, "job_watch", cluster="raven", native=native)["id"])


def by_hand(world: SlurmWorld, script: str, *options: str) -> str:
    """Submitted by the person, in a shell of their own."""
    asked = shlex.join(["sbatch", "--parsable", "-t5", *options])
    return world.box.sh(f"printf %s {shlex.quote(script)} | {asked}")


def test_its_name_state_log_and_exit_code_are_followed(world: SlurmWorld, watch: Callable[[str], str]) -> None:
    asked = ("-J", "re lax", "-o", "my logs %x-%j.txt")
    native = by_hand(world, "#!/bin/sh\necho one\nwhile [ ! -e go ]; do sleep 0.2; done\necho two\nexit 3\n", *asked)
    job = watch(native)

    async def story() -> None:
        await world.until(lambda: world.log(job) == b"one\n")
        now = world.job(job)
        assert (now.state, now.name, now.attached, now.backend) == ("RUNNING", "re lax", True, "raven")
        with world.house.scope(world.actor) as scope:
            assert "@fake" in connecting.connection(scope, job).command
        world.box.sh("touch go")
        await world.until(world.over(job))

    world.play(story)
    now = world.job(job)
    assert (now.state, now.reason, now.exit_code) == ("FAILED", "The program ended with exit code 3.", 3)
    assert world.log(job) == b"one\ntwo\n"
    assert (now.outputs, now.log_total_bytes, now.log_done) == ([], 8, True)
    assert world.box.sh(f"ls .collegium/hub-of-tests/jobs/{job} 2>&1 || :").startswith("ls: cannot access")


def test_an_agent_that_takes_over_goes_on_with_its_log(world: SlurmWorld, watch: Callable[[str], str]) -> None:
    native = by_hand(world, "#!/bin/sh\necho one\nwhile [ ! -e over ]; do sleep 0.2; done\necho two\n")
    job = watch(native)

    async def story() -> None:
        await world.until(lambda: world.log(job) == b"one\n")
        await world.agent.close()
        world.agent = world.new_agent()
        world.box.sh("touch over")
        await world.until(world.over(job))

    world.play(story)
    assert (world.job(job).state, world.log(job)) == ("SUCCEEDED", b"one\ntwo\n")


def test_a_waiting_one_says_why_is_held_and_released_and_is_cancelled_by_its_owner_only(
    world: SlurmWorld, watch: Callable[[str], str], perform: Perform, ana: Actor
) -> None:
    native = by_hand(world, "#!/bin/sh\nsleep 300\n", "--begin=now+1hour", "-o", "/dev/null")
    job = watch(native)

    async def story() -> None:
        await world.until(lambda: world.job(job).state == "PENDING")
        assert world.job(job).reason.startswith("Not to start before the time that was set for it.")
        perform(ana, "job_hold", job=job)
        await world.until(lambda: world.job(job).held)
        perform(ana, "job_release", job=job)
        await world.until(lambda: not world.job(job).held and world.job(job).wish is None)
        # The hub's own jobs beside it are looked at, reconciled and ended; this one is not.
        other = world.submit("#!/bin/sh\nsleep 300\n")
        await world.until(lambda: world.job(other).state == "RUNNING")
        world.cancel(other)
        await world.until(world.over(other))
        assert world.box.admin("squeue", "-h", "-j", native, "-o", "%T") == "PENDING"
        assert world.agent.watch.strangers == 0
        world.cancel(job)
        await world.until(world.over(job))

    world.play(story)
    assert (world.job(job).state, world.job(job).reason) == ("CANCELLED", "Cancelled.")


def test_one_task_of_an_array_is_followed_by_itself(world: SlurmWorld, watch: Callable[[str], str]) -> None:
    script = "#!/bin/sh\necho $SLURM_ARRAY_TASK_ID\nexit $SLURM_ARRAY_TASK_ID\n"
    native = by_hand(world, script, "--array=0-2", "--hold")
    task, whole = watch(f"{native}_2"), watch(native)

    async def story() -> None:
        # Seen before it starts: Slurm lists the tasks that wait in one line, under the array's id.
        await world.until(lambda: world.job(task).held and world.job(whole).held)
        world.box.sh(f"scontrol release {native}")
        await world.until(world.over(task, whole))

    world.play(story)
    assert (world.job(task).exit_code, world.log(task)) == (2, b"2\n")
    assert (world.job(whole).state, world.log(whole)) == ("FAILED", b"")


def test_one_that_ended_long_ago_is_known_from_accounting(world: SlurmWorld, watch: Callable[[str], str]) -> None:
    native = by_hand(world, "#!/bin/sh\nexit 4\n", "-o", "/dev/null")
    wait_for(lambda: "FAILED|4:0" in sacct(world, native), 60, "an end in accounting")
    # Slurm forgets it after five minutes; this squeue has done so.
    folder = world.box.home / "forgetful"
    folder.mkdir()
    (folder / "squeue").write_text("#!/bin/sh\n")
    (folder / "squeue").chmod(0o755)
    world.agent.backend.connection.path = (str(folder),)
    job = watch(native)

    async def story() -> None:
        await world.until(world.over(job), 90)

    world.play(story)
    assert (world.job(job).state, world.job(job).exit_code) == ("FAILED", 4)


def sacct(world: SlurmWorld, native: str) -> str:
    return world.box.sh(f"sacct -X -n -P -j {native} --format=State,ExitCode")


def test_somebody_elses_job_and_one_that_never_was_are_not_told_of(
    world: SlurmWorld, watch: Callable[[str], str]
) -> None:
    asked = ("--parsable", "-t5", "-D", "/tmp", "-o", "/dev/null", "--wrap", "sleep 200")
    roots = world.box.admin("sbatch", *asked)
    jobs = [watch(roots), watch("999999")]

    async def story() -> None:
        await world.until(world.over(*jobs), 90)

    try:
        world.play(story)
    finally:
        world.box.admin("scancel", roots)
    for job, native in zip(jobs, (roots, "999999"), strict=True):
        now = world.job(job)
        assert (now.state, now.reason) == ("FAILED", f"Slurm knows no job {native} of yours there.")
        assert now.name == f"raven:{native}"
