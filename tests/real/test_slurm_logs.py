"""Logs on a real Slurm are followed while somebody reads them, and otherwise brought when the job has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import cluster_agent, logs
from hub.jobs.backends import far_side
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

TALKS = "#!/bin/sh\necho begun\nuntil [ -e ~/go.$COLLEGIUM_JOB ]; do sleep 0.2; done\necho ended\n"


@pytest.fixture
def world(house: House, ana: Actor, perform: Callable[..., Any], slurm: SlurmBox) -> Iterator[SlurmWorld]:
    slurm.empty()
    yield SlurmWorld(house, ana, perform, slurm)


def here(world: SlurmWorld, job: str) -> bytes:
    """What has come of a log; nobody reads it by this."""
    return logs.store(world.house.settings.data).read(job, 0)


def let(world: SlurmWorld, *jobs: str) -> None:
    world.box.sh("touch " + " ".join(f"go.{job}" for job in jobs))


def test_only_the_log_that_is_read_is_followed_and_the_other_comes_whole_at_the_end(world: SlurmWorld) -> None:
    read, unread = world.submit(TALKS), world.submit(TALKS)

    async def story() -> None:
        await world.until(lambda: all(world.job(job).state == "RUNNING" for job in (read, unread)))
        await world.until(lambda: world.log(read) == b"begun\n")
        assert here(world, unread) == b""
        let(world, read, unread)
        await world.until(world.over(read, unread))

    world.play(story)
    assert here(world, read) == here(world, unread) == b"begun\nended\n"
    assert all(world.job(job).log_done and world.job(job).log_size_bytes == 12 for job in (read, unread))


def test_nobody_reads_so_nothing_is_asked_of_logs(world: SlurmWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    logs_of = world.agent.backend.logs

    async def counted(wanted: Any) -> Any:
        asked.append(len(wanted))
        return await logs_of(wanted)

    monkeypatch.setattr(world.agent.backend, "logs", counted)
    job = world.submit("#!/bin/sh\nfor i in 1 2 3 4; do echo $i; sleep 1; done\n")

    async def story() -> None:
        await world.until(world.over(job))

    world.play(story)
    assert here(world, job) == b"1\n2\n3\n4\n"
    assert asked == [1, 1]  # its bytes, and that there are no more


def test_more_logs_than_fit_one_question_take_turns_and_a_long_one_catches_up(
    world: SlurmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_agent, "FOLLOWED", 1)
    monkeypatch.setattr(far_side, "LOG_PIECE_BYTES", 1000)
    long = "#!/bin/sh\nhead -c 20000 /dev/zero | tr '\\0' x\nuntil [ -e ~/go.$COLLEGIUM_JOB ]; do sleep 0.2; done\n"
    jobs = [world.submit(long) for _ in range(3)]

    async def story() -> None:
        await world.until(lambda: all(len(world.log(job)) == 20000 for job in jobs))
        let(world, *jobs)
        await world.until(world.over(*jobs))

    world.play(story)
    assert all(here(world, job) == b"x" * 20000 for job in jobs)


def test_a_gigabyte_without_a_newline_is_cut_where_logs_are_cut_and_said_to_be(
    world: SlurmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.LOG_BYTES", 3 << 20)
    # Of holes, mostly: what counts is its length.
    job = world.submit("#!/bin/bash\nprintf begun; truncate -s 1G /proc/self/fd/1; printf ended >&1\n")

    async def story() -> None:
        await world.until(world.over(job), 100)

    world.play(story)
    done = world.job(job)
    assert done.state == "SUCCEEDED", done.reason
    assert (done.log_size_bytes, done.log_total_bytes) == (3 << 20, (1 << 30) + 5)
    assert world.log(job)[:10] == b"begun" + bytes(5)
    assert any(note.startswith("The log was cut: 3") for note in done.notes)
