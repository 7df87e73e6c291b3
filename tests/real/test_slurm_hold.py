"""Jobs that a real Slurm has already: held, released and started again, each wish once, whoever passes it on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.port import Wished
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

Perform = Callable[..., Any]
HELD = "Held back until somebody releases it."
# Is there again after it was started again, and ends then.
AGAIN = "#!/bin/bash\necho begun >> begun.txt\necho at it\n[ $(wc -l < begun.txt) = 2 ] || sleep 600\n"


@pytest.fixture
def world(house: House, ana: Actor, perform: Perform, slurm: SlurmBox) -> Iterator[SlurmWorld]:
    slurm.empty()
    yield SlurmWorld(house, ana, perform, slurm)
    slurm.empty()


@pytest.fixture
def full(world: SlurmWorld) -> str:
    """All nodes are taken by a job of the same account that the hub knows nothing of."""
    return world.box.sh("sbatch --parsable -N4 --exclusive -t5 -o /dev/null --wrap 'sleep 300'")


def test_a_waiting_job_is_held_stays_when_nodes_are_free_and_runs_once_released(
    world: SlurmWorld, perform: Perform, ana: Actor, full: str
) -> None:
    job = world.submit("#!/bin/bash\necho ran\n")

    async def story() -> None:
        await world.until(lambda: world.job(job).state == "PENDING")
        assert perform(ana, "job_hold", job=job)["reason"] == "Being held back."
        await world.until(lambda: world.job(job).reason == HELD)
        native = world.row(job).native
        assert world.box.admin("squeue", "-h", "-j", native, "-o", "%T|%r") == "PENDING|JobHeldUser"
        assert (world.job(job).held, world.job(job).wish, world.job(job).state) == (True, None, "PENDING")
        world.box.sh(f"scancel {full}")
        other = world.submit("#!/bin/bash\necho other\n")
        await world.until(world.over(other))
        assert (world.job(job).state, world.job(job).held) == ("PENDING", True)
        perform(ana, "job_release", job=job)
        await world.until(world.over(job))

    world.play(story)
    assert (world.job(job).state, world.log(job)) == ("SUCCEEDED", b"ran\n")


def test_a_job_held_with_slurms_own_command_is_released_from_here(
    world: SlurmWorld, perform: Perform, ana: Actor, full: str
) -> None:
    job = world.submit("#!/bin/bash\necho ran\n")

    async def story() -> None:
        await world.until(lambda: world.job(job).state == "PENDING")
        world.box.sh(f"scontrol hold {world.row(job).native}")
        await world.until(lambda: world.job(job).held)
        perform(ana, "job_release", job=job)
        world.box.sh(f"scancel {full}")
        await world.until(world.over(job))

    world.play(story)
    assert world.job(job).state == "SUCCEEDED"


def test_a_job_that_has_started_meanwhile_is_not_held_and_its_owner_is_told(
    world: SlurmWorld, perform: Perform, ana: Actor, full: str
) -> None:
    job = world.submit("#!/bin/bash\necho ran\nsleep 15\n")

    async def story() -> None:
        await world.until(lambda: world.job(job).state == "PENDING")
        native = world.row(job).native
        world.box.sh(f"scancel {full}")
        # Nobody looks on while it starts, so that the hub believes that it waits.
        await asyncio.to_thread(starts, world, native)
        perform(ana, "job_hold", job=job)
        await world.until(lambda: world.job(job).notes)
        assert "Priority=0" not in world.box.admin("scontrol", "show", "job", native)
        await world.until(world.over(job))

    world.play(story)
    assert world.job(job).notes == ("It could not be held back: it has started already; Slurm says RUNNING.",)
    assert world.job(job).state == "SUCCEEDED"


def starts(world: SlurmWorld, native: str) -> None:
    from tests.waiting import wait_for

    wait_for(lambda: world.box.admin("squeue", "-h", "-j", native, "-o", "%T") == "RUNNING", 30, "a running job")


def test_a_requeued_job_runs_again_and_the_wish_that_comes_twice_does_nothing_more(
    world: SlurmWorld, perform: Perform, ana: Actor
) -> None:
    job = world.submit(AGAIN)

    async def story() -> None:
        await world.until(lambda: world.log(job) == b"at it\n")
        native = world.row(job).native
        await world.until(lambda: world.job(job).state == "RUNNING")
        assert perform(ana, "job_requeue", job=job)["reason"] == "Being taken off its node, to start again."
        perform(ana, "job_requeue", job=job)
        await world.until(lambda: world.job(job).state == "PENDING")
        assert world.row(job).wish_number == 1
        await world.until(lambda: world.box.starts_again(native))
        await asyncio.to_thread(starts_or_ends, world, native)
        # An agent that was killed before it could say so is followed by one that passes the same wish on.
        assert await world.agent.backend.control(job, 1, native, Wished("requeue", 1)) == ""
        await world.until(world.over(job))

    world.play(story)
    assert world.job(job).state == "SUCCEEDED"
    assert world.row(job).run == 1
    assert world.log(job).count(b"at it\n") == 2
    assert world.log(job).count(b"== attempt 2 on ") == 1
    assert b"== attempt 3" not in world.log(job)


def starts_or_ends(world: SlurmWorld, native: str) -> None:
    from tests.waiting import wait_for

    wait_for(lambda: world.box.admin("squeue", "-h", "-t", "all", "-j", native, "-o", "%T") in ("RUNNING", "COMPLETED"),
             60, "the second attempt")  # fmt: skip


def test_a_second_copy_of_a_requeued_job_still_does_not_run(world: SlurmWorld, perform: Perform, ana: Actor) -> None:
    job = world.submit(AGAIN)

    async def story() -> None:
        await world.until(lambda: world.job(job).state == "RUNNING" and world.log(job) == b"at it\n")
        native = world.row(job).native
        perform(ana, "job_requeue", job=job)
        await world.until(lambda: world.job(job).state == "PENDING")
        folder = f"{world.box.home}/.collegium/hub-of-tests/jobs/{job}/1"
        copy = world.box.sh(f"cd {folder} && sbatch --parsable --wait --output=copy {folder}/run.sh || :")
        assert copy != native and "a second copy" in world.box.sh(f"cat {folder}/copy")
        await world.until(lambda: world.box.starts_again(native))
        await world.until(world.over(job))

    world.play(story)
    assert (world.job(job).state, world.log(job).count(b"at it\n")) == ("SUCCEEDED", 2)


def test_a_job_whose_program_ended_well_is_not_run_again_by_a_late_requeue(
    world: SlurmWorld, perform: Perform, ana: Actor
) -> None:
    job = world.submit("#!/bin/bash\necho once >> once.txt\n")

    async def story() -> None:
        await world.until(world.over(job))
        native = world.row(job).native
        said = await world.agent.backend.control(job, 1, native, Wished("requeue", 9))
        assert said == "Slurm says it is COMPLETED"
        world.box.sh(f"scontrol requeue {native}")  # as one does that was on its way while the program ended
        await world.until(lambda: world.box.starts_again(native))
        await asyncio.to_thread(ends_again, world, native)

    world.play(story)
    folder = f"{world.box.home}/.collegium/hub-of-tests/jobs/{job}/1"
    assert world.box.sh(f"cat {folder}/work/once.txt") == "once"
    assert "has ended well already" in world.box.sh(f"cat {folder}/log.*")
    assert world.job(job).state == "SUCCEEDED"


def ends_again(world: SlurmWorld, native: str) -> None:
    from tests.waiting import wait_for

    def ended() -> bool:
        said = world.box.admin("scontrol", "show", "job", native)
        return "Restarts=1" in said and "JobState=COMPLETED" in said

    wait_for(ended, 60, "its second end")


def test_slurms_own_refusal_comes_back_in_words(world: SlurmWorld, perform: Perform, ana: Actor) -> None:
    job = world.submit("#!/bin/bash\n#SBATCH --no-requeue\necho up\nsleep 600\n")

    async def story() -> None:
        await world.until(lambda: world.job(job).state == "RUNNING" and world.log(job) == b"up\n")
        perform(ana, "job_requeue", job=job)
        await world.until(lambda: world.job(job).notes)
        assert world.job(job).reason == "Running."
        world.cancel(job)
        await world.until(world.over(job))

    world.play(story)
    said = "It could not be started again: Slurm says: Requested operation is presently disabled."
    assert world.job(job).notes[-1] == said
