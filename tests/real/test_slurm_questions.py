"""What else a real Slurm is asked: to hold, to let go, to begin anew; when it would start; what it has."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncssh
import pytest

from hub.jobs.backends import far_side, slurm_prepare, slurm_rules
from hub.jobs.backends.slurm import SlurmBackend, UnderWay
from hub.jobs.port import Order, Wished
from hub.jobs.requests import Environment, Resources
from hub.jobs.ssh import Connection, Login
from tests.real.slurm_box import CPUS, MEMORY_MB, NODES, SlurmBox

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


def with_backend(box: SlurmBox, story: Callable[[SlurmBackend], Awaitable[None]]) -> None:
    async def whole() -> None:
        login = Login("127.0.0.1", box.user, (box.host_key,), box.port)
        backend = SlurmBackend(Connection(login, asyncssh.read_private_key(str(box.client_key))), "questions")
        try:
            await story(backend)
        finally:
            await backend.connection.close()

    box.empty()
    asyncio.run(whole())


async def submit(backend: SlurmBackend, job: str, script: str, folder: Path, **resources: object) -> str:
    order = Order(
        job=job,
        run=1,
        name="a job",
        script=script,
        says=script,
        interpreter=("sh",),
        args=(),
        variables={},
        inputs=[],
        resources=Resources(**resources),  # type: ignore[arg-type]
        environment=Environment(),
        at=1_700_000_000,
    )
    archive = folder / f"{job}.tgz"
    prepared = slurm_prepare.prepare(order, await backend.root(), archive, lambda _: iter(()))
    made = await backend.submit(job, 1, "a job", archive, prepared.options)
    assert made.native is not None, made
    return made.native


async def state_of(backend: SlurmBackend, native: str) -> str:
    return next((row.state for row in await backend.queue() if row.base == native), "gone")


async def becomes(backend: SlurmBackend, native: str, *states: str) -> None:
    deadline = time.monotonic() + 30
    while (seen := await state_of(backend, native)) not in states:
        assert time.monotonic() < deadline, f"it is {seen} and not {states}"
        await asyncio.sleep(0.2)


def test_the_site_tells_what_it_is(slurm: SlurmBox) -> None:
    async def story(backend: SlurmBackend) -> None:
        site = await backend.site()
        assert (site.user, site.home, site.cluster) == (slurm.user, str(slurm.home), "testbox")
        assert site.version.startswith("22.05") and site.forgets_after == 300.0
        assert site.accounting and site.missing == ()
        found, waiting = await backend.partitions()
        assert waiting is not None and waiting >= 0
        debug, narrow = sorted(found, key=lambda each: each.name)
        assert (debug.name, debug.is_default, debug.nodes, debug.cpus) == ("debug", True, NODES, CPUS)
        assert debug.memory_bytes == MEMORY_MB << 20
        assert (narrow.name, narrow.wall_seconds, narrow.nodes) == ("narrow", 600, 1)

    with_backend(slurm, story)


def test_when_it_would_start_and_why_never(slurm: SlurmBox, tmp_path: Path) -> None:
    async def story(backend: SlurmBackend) -> None:
        idle = await backend.estimate(["--nodes=2", "--time=5"])
        assert idle.start is not None and idle.refusal == ""
        never = await backend.estimate(["--mem=9T"])
        assert never.start is None and "not available" in never.refusal
        hog = await submit(backend, "job_hog", "sleep 300\n", tmp_path, nodes=NODES, cpus_per_node=CPUS, time=5)
        await becomes(backend, hog, "RUNNING")
        busy = await backend.estimate(["--nodes=2", "--exclusive", "--time=5"])
        assert busy.start is not None and (busy.start - idle.start).total_seconds() > 60
        waits = await submit(backend, "job_waits", "true\n", tmp_path, nodes=2, cpus_per_node=CPUS, time=5)
        deadline = time.monotonic() + 30
        while waits not in await backend.starts():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)

    with_backend(slurm, story)


def test_a_job_is_held_released_and_begun_anew(slurm: SlurmBox, tmp_path: Path) -> None:
    async def story(backend: SlurmBackend) -> None:
        held = await submit(backend, "job_held", "#SBATCH --hold\nsleep 60\n", tmp_path)
        await becomes(backend, held, "PENDING")
        row = next(row for row in await backend.queue() if row.base == held)
        assert row.reason == "JobHeldUser"
        assert await backend.control("job_held", 1, held, Wished("release", 1)) == ""
        await becomes(backend, held, "RUNNING")
        assert await backend.control("job_held", 1, held, Wished("requeue", 2)) == ""
        await becomes(backend, held, "PENDING", "REQUEUED", "REQUEUE_HOLD")
        assert await backend.control("job_held", 1, held, Wished("hold", 3)) == ""
        token = slurm_rules.token_of(backend.hub, "job_held", 1)
        await backend.cancel([slurm_rules.token_of(backend.hub, "job_other", 1)], only=[held])
        await backend.cancel([token], only=["999999"])
        await becomes(backend, held, "PENDING", "REQUEUED", "REQUEUE_HOLD")
        await backend.cancel([token], only=[held])
        await becomes(backend, held, "CANCELLED", "gone")
        await backend.cancel([token])

    with_backend(slurm, story)


def test_who_steers_a_job_waits_for_a_command_that_may_yet_take_effect_and_for_no_other(
    slurm: SlurmBox, tmp_path: Path
) -> None:
    def turn(number: int, host: str, process: int, since: float) -> None:
        (folder / f"turn.{number}").write_text(f"{host} {process} {since:.0f}\n")

    async def story(backend: SlurmBackend) -> None:
        job = await submit(backend, "job_steered", "#SBATCH --hold\nsleep 60\n", tmp_path)
        with subprocess.Popen(["sleep", "300"], user=slurm.uid) as hanging:
            turn(1, os.uname().nodename, hanging.pid, time.time())
            with pytest.raises(UnderWay):
                await backend.control("job_steered", 1, job, Wished("release", 1))
            assert await state_of(backend, job) == "PENDING"
            hanging.kill()
        assert await backend.control("job_steered", 1, job, Wished("release", 1)) == ""
        await becomes(backend, job, "RUNNING")
        turn(3, "another-login-node", 1, time.time())
        with pytest.raises(UnderWay):
            await backend.control("job_steered", 1, job, Wished("requeue", 2))
        turn(3, "another-login-node", 1, time.time() - far_side.TURN_SECONDS - 1)
        assert await backend.control("job_steered", 1, job, Wished("requeue", 2)) == ""
        await becomes(backend, job, "PENDING", "REQUEUED", "REQUEUE_HOLD")
        assert sorted(path.name for path in folder.glob("turn.*")) == ["turn.1", "turn.2", "turn.3", "turn.4"]
        await backend.cancel([slurm_rules.token_of(backend.hub, "job_steered", 1)])

    folder = slurm.home / ".collegium" / "questions" / "jobs" / "job_steered" / "1"
    with_backend(slurm, story)


def test_an_id_that_was_given_out_again_is_neither_cancelled_nor_steered(slurm: SlurmBox, tmp_path: Path) -> None:
    """A scheduler that lost its state begins counting anew; what the hub calls job 7 may be another's by now."""

    async def story(backend: SlurmBackend) -> None:
        other = await submit(backend, "job_other", "sleep 60\n", tmp_path)
        await becomes(backend, other, "RUNNING")
        gone = slurm_rules.token_of(backend.hub, "job_gone", 1)
        await backend.cancel([gone])
        for number, what in enumerate(("hold", "requeue"), start=1):
            said = await backend.control("job_gone", 1, other, Wished(what, number))
            assert said == "Slurm says it is nowhere"
        row = next(row for row in await backend.queue() if row.base == other)
        assert row.state == "RUNNING"
        await backend.cancel([slurm_rules.token_of(backend.hub, "job_other", 1)])
        await becomes(backend, other, "CANCELLED", "gone")

    with_backend(slurm, story)


def test_a_run_is_submitted_once_however_often_it_is_asked_for(slurm: SlurmBox, tmp_path: Path) -> None:
    async def story(backend: SlurmBackend) -> None:
        ids = [await submit(backend, "job_once", "sleep 1\n", tmp_path) for _ in range(3)]
        assert len(set(ids)) == 1
        assert len([row for row in await backend.queue() if row.base == ids[0]]) == 1
        assert await backend.forbid("job_never", 1) is None
        assert await backend.forbid("job_never", 1) is None
        await becomes(backend, ids[0], "COMPLETED")
        assert await backend.forbid("job_once", 1) == ids[0]

    with_backend(slurm, story)
