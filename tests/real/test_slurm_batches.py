"""Many submissions at once on a real Slurm: they travel together, and each is submitted once, whatever happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.tables import jobs as job_table
from tests.jobs import run_steps
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

Perform = Callable[..., Any]
# Notes for which run's folder it is called, and breaks off for the one whose name says so.
SBATCH = """#!/bin/sh
case "$*" in *--parsable*) ;; *) exec /usr/bin/sbatch "$@" ;; esac
for run; do :; done
echo "$run" >> "$HOME/called"
case "$*" in
    *cut-here*) mv "$HOME/cut" "$HOME/was-cut" 2>/dev/null || exec /usr/bin/sbatch "$@" ;;
    *) exec /usr/bin/sbatch "$@" ;;
esac
/usr/bin/sbatch "$@" > /dev/null
p=$PPID
while [ "$p" -gt 1 ]; do
    read -r n < "/proc/$p/comm"
    [ "$n" = sshd ] && { kill -9 "$p"; sleep 1; exit; }
    read -r s < "/proc/$p/stat"; s=${s##*) }; s=${s#* }; p=${s%% *}
done
"""


@pytest.fixture
def world(house: House, ana: Actor, perform: Perform, slurm: SlurmBox) -> Iterator[SlurmWorld]:
    slurm.empty()
    world = SlurmWorld(house, ana, perform, slurm)
    folder = slurm.home / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "sbatch").write_text(SBATCH)
    (folder / "sbatch").chmod(0o755)
    slurm.sh("rm -f called cut was-cut; touch called")
    world.agent.backend.connection.path = (str(folder),)
    yield world


def commands(world: SlurmWorld) -> list[str]:
    """The scripts that carry submissions, from now on."""
    sent: list[str] = []
    run = world.agent.backend.connection.run

    async def noted(script: str, **more: Any) -> Any:
        if "submit.lock" in script:
            sent.append(script)
        return await run(script, **more)

    world.agent.backend.connection.run = noted  # type: ignore[method-assign]
    return sent


def called(world: SlurmWorld) -> Counter[str]:
    """How often sbatch was called for each run's folder."""
    return Counter(line.rpartition("/jobs/")[2] for line in world.box.sh("cat called").splitlines())


HOSTILE = ("'; touch pwned; $(touch pwned)", "~\n~", "%j --wrap=x", "-n", "é" * 50)


def test_many_travel_by_few_commands_and_one_that_is_refused_keeps_no_other(world: SlurmWorld) -> None:
    good = [world.submit("#!/bin/sh\necho $SLURM_JOB_NAME\n", name=name) for name in (*HOSTILE, *"abcdef")]
    bad = world.submit("#!/bin/sh\ntrue\n", resources={"partition": "nope"})
    more = [world.submit("#!/bin/sh\necho $SLURM_JOB_NAME\n", name=name) for name in "ghi"]
    run_steps(world.house)
    sent = commands(world)

    async def story() -> None:
        await world.until(world.over(*good, bad, *more), 120)

    world.play(story)
    assert [world.job(job).state for job in (*good, *more)] == ["SUCCEEDED"] * 14
    refused = world.job(bad)
    assert refused.state == "FAILED" and "invalid partition" in refused.reason.lower()
    assert len(sent) < 15, "fifteen submissions are no fifteen commands"
    natives = [world.row(job).native for job in (*good, *more)]
    assert len(set(natives)) == 14
    assert called(world) == Counter(f"{job}/1/run.sh" for job in (*good, bad, *more))
    assert [world.log(job).decode().split(".")[0] for job in more] == ["g", "h", "i"], "each has its own script"
    assert "pwned" not in world.box.sh("find . -name pwned")


def test_a_line_cut_in_the_middle_of_a_batch_submits_nobody_twice_and_loses_nobody(world: SlurmWorld) -> None:
    script = '#!/bin/sh\necho "$COLLEGIUM_JOB" >> "$HOME/ran"\n'
    world.box.sh("rm -f ran; touch cut")
    names = ["a", "b", "c", "d", "cut-here", "e", "f", "g", "h"]
    jobs = [world.submit(script, name=name) for name in names]
    run_steps(world.house)

    async def story() -> None:
        await world.until(world.over(*jobs), 200)

    world.play(story)
    assert world.box.sh("ls was-cut") == "was-cut"
    assert [world.job(job).state for job in jobs] == ["SUCCEEDED"] * len(jobs)
    assert Counter(world.box.sh("cat ran").split()) == Counter(jobs), "each ran once"
    assert set(called(world).values()) == {1}, "for no run was sbatch called twice"
    cut = jobs[names.index("cut-here")]
    assert world.row(cut).run == 1 and called(world)[f"{cut}/1/run.sh"] == 1


def test_the_same_run_sent_again_in_another_batch_has_the_id_it_had(world: SlurmWorld) -> None:
    """What an agent does that took over from one who was killed before it told anything."""
    jobs = [world.submit("#!/bin/sh\nsleep 600\n", name=name) for name in "abcd"]
    run_steps(world.house)

    async def story() -> None:
        await world.until(lambda: all(world.row(job).native for job in jobs))
        before = [world.row(job).native for job in jobs]
        again = world.new_agent("agent-1")
        again.backend.connection.path = world.agent.backend.connection.path
        epoch = again.port.lease("agent-1")
        assert epoch is not None
        for job in jobs:
            world.house.db.write(lambda tx, job=job: as_if_untold(tx, job))  # type: ignore[misc]
        orders = again.port.orders(epoch, jobs)
        made = await asyncio.gather(*(again._sender.send(epoch, order) for order in orders if order is not None))
        assert [each.native for each in made] == before
        await again.close()
        for job in jobs:
            world.cancel(job)
        await world.until(world.over(*jobs), 90)

    world.play(story)
    assert called(world) == Counter(f"{job}/1/run.sh" for job in jobs)


def as_if_untold(tx: Any, job: str) -> None:
    """The hub never heard of the id."""
    tx.execute(sa.update(job_table).where(job_table.c.id == job).values(state="SUBMITTING", native=None))
