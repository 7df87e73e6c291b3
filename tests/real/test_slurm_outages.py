"""A login node that is away, for however long, ends no job and costs none its outputs; what is said of files may."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import asyncssh
import pytest

from hub.artifacts.blobs import BlobStore
from hub.core.context import Actor
from hub.core.errors import Conflict, HubError
from hub.core.house import House
from hub.jobs import breaker, cluster_agent
from hub.jobs.backends import retrieval, slurm
from hub.jobs.clusters import reaching
from hub.jobs.clusters.rules import fingerprint
from tests.jobs import add_file, personal
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

Perform = Callable[..., Any]


@pytest.fixture
def world(
    house: House, ana: Actor, perform: Perform, slurm: SlurmBox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SlurmWorld]:
    monkeypatch.setattr(cluster_agent, "AGAIN_SECONDS", (0.02,))
    monkeypatch.setattr(breaker, "PAUSES_SECONDS", (0.01,))
    slurm.empty()
    yield SlurmWorld(house, ana, perform, slurm)
    if "sshd" not in slurm.running:
        slurm.restart()
    slurm.sh("rm -rf lies .profile", check=False)


def contents(world: SlurmWorld, job: str) -> dict[str, bytes]:
    store = world.house.port(BlobStore)  # type: ignore[type-abstract]
    home = personal(world.house, world.actor)
    stored = [each for each in world.job(job).outputs if each.digest is not None]
    return {each.path: b"".join(store.open(str(each.digest).removeprefix("sha256:"), home)) for each in stored}


def tried(world: SlurmWorld, what: str, job: str) -> int:
    found = world.agent._beside._tries.get((what, (job, 1)))
    return 0 if found is None else found.failed


def test_outputs_are_fetched_after_an_outage_that_is_longer_than_all_tries(world: SlurmWorld) -> None:
    job = world.submit("#!/bin/sh\necho small > small; head -c 3000000 /dev/zero > large\n")

    async def story() -> None:
        for _ in range(cluster_agent.FETCHING_AT_ONCE):
            await world.agent._fetching.acquire()
        await world.until(lambda: world.row(job).state == "COLLECTING")
        world.box.go_away()
        for _ in range(cluster_agent.FETCHING_AT_ONCE):
            world.agent._fetching.release()
        await world.until(lambda: tried(world, "fetch", job) > 3 * cluster_agent.FETCHES)
        assert world.row(job).state == "COLLECTING"
        world.box.restart()
        await world.until(world.over(job))

    world.play(story)
    done = world.job(job)
    assert (done.state, done.notes) == ("SUCCEEDED", ())
    assert contents(world, job) == {"small": b"small\n", "large": bytes(3_000_000)}


def test_outputs_that_nobody_waits_for_any_more_stay_where_they_lie_and_the_job_ends_as_it_ended(
    world: SlurmWorld, perform: Perform, ana: Actor, ben: Actor
) -> None:
    job = world.submit("#!/bin/sh\necho 1 > one; exit 3\n")

    async def story() -> None:
        for _ in range(cluster_agent.FETCHING_AT_ONCE):
            await world.agent._fetching.acquire()
        await world.until(lambda: world.row(job).state == "COLLECTING")
        world.box.go_away()
        for _ in range(cluster_agent.FETCHING_AT_ONCE):
            world.agent._fetching.release()
        await world.until(lambda: tried(world, "fetch", job) > 2)
        with pytest.raises(HubError):
            perform(ben, "job_cancel", job=job)
        left = perform(ana, "job_cancel", job=job)
        assert left["state"] == "COLLECTING"
        await world.until(world.over(job))
        with pytest.raises(Conflict, match="has ended already"):
            perform(ana, "job_cancel", job=job)
        world.box.restart()
        await world.until(lambda: not world.agent._beside.under_way("fetch"))

    world.play(story)
    done = world.job(job)
    assert (done.state, done.reason) == ("FAILED", "The program ended with exit code 3.")
    assert done.outputs == [] and done.unfetched == 1
    (note,) = done.notes
    folder = f"~/.collegium/{world.account[:12]}/jobs/{job}/1/work"
    assert note == f"Its outputs could not be fetched and lie at raven:{folder}: they were not waited for any more"


def test_a_cluster_that_is_gone_for_good_is_removed_and_its_jobs_end_as_far_as_that_is_known(
    world: SlurmWorld, perform: Perform, operator: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "backend_of", lambda *_: world.new_agent().backend)
    script = "#!/bin/sh\n[ $1 = ends ] || sleep 600\necho 1 > one\n"
    runs, ends = (world.submit(script, args=[each]) for each in ("stays", "ends"))

    async def story() -> None:
        for _ in range(cluster_agent.FETCHING_AT_ONCE):
            await world.agent._fetching.acquire()
        await world.until(lambda: (world.row(runs).state, world.row(ends).state) == ("RUNNING", "COLLECTING"))

    world.play(story)
    waits = world.submit(script, args=["waits"])
    world.box.go_away()
    with pytest.raises(Conflict, match="3 jobs on raven have not ended") as refused:
        perform(operator, "cluster_remove", name="raven")
    assert "`collegium cluster remove raven --abandon` gives them up" in refused.value.hint
    perform(operator, "cluster_remove", name="raven", abandon=True)
    assert [world.job(each).state for each in (runs, ends, waits)] == ["UNKNOWN_OUTCOME", "SUCCEEDED", "CANCELLED"]
    assert "raven was removed before it had ended" in world.job(runs).reason
    assert world.job(ends).notes == ("Its outputs were not fetched before raven was removed.",)
    assert perform(operator, "cluster_add", name="raven", host="127.0.0.1", host_key=world.box.host_key,
                   fingerprint=fingerprint(world.box.host_key))["name"] == "raven"  # fmt: skip


def test_a_line_that_breaks_whenever_inputs_go_up_ends_no_job(
    world: SlurmWorld, house: House, ana: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(3 << 20)
    add_file(house, ana, perform, "big.bin", data)
    write, cuts, offsets = asyncssh.SFTPClientFile.write, [0], list[int]()

    async def breaks(self: Any, piece: bytes, offset: int) -> int:
        offsets.append(offset)
        if len(offsets) % 2 == 0 and cuts[0] < 2 * cluster_agent.STAGINGS:
            cuts[0] += 1
            await asyncio.to_thread(world.box.cut)
        return int(await write(self, piece, offset))

    monkeypatch.setattr(asyncssh.SFTPClientFile, "write", breaks)
    monkeypatch.setattr(slurm, "UPLOAD_PIECE", 1 << 16)
    job = world.submit("#!/bin/sh\nwc -c < big.bin\n", artifacts=["big.bin"])

    async def story() -> None:
        await world.until(world.over(job), 120)

    world.play(story)
    assert cuts[0] == 2 * cluster_agent.STAGINGS
    assert (world.job(job).state, world.log(job)) == ("SUCCEEDED", b"3145728\n")
    # It went on from where it broke off each time, and was not begun anew.
    assert offsets.count(0) == 1 and offsets == sorted(offsets)


BREAKS = r"""#!/usr/bin/env python3
import os, subprocess, sys
if "-cf" not in sys.argv:
    os.execv("/usr/bin/tar", ["tar", *sys.argv[1:]])
made = subprocess.run(["/usr/bin/tar", *sys.argv[1:]], stdin=sys.stdin, capture_output=True).stdout
sys.stdout.buffer.write(made[: made.index(b"cut here")])
"""


def test_what_breaks_off_again_and_again_while_the_line_stands_is_given_up_and_never_taken_for_whole(
    world: SlurmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.box.sh("mkdir -p lies; printf 'PATH=$HOME/lies:$PATH\\n' > .profile")
    tar = world.box.home / "lies" / "tar"
    tar.write_text(BREAKS)
    tar.chmod(0o755)
    monkeypatch.setattr(retrieval, "PIECE_BYTES", 1 << 10)
    job = world.submit("#!/bin/sh\n(head -c 9000 /dev/zero; echo cut here; head -c 9000 /dev/zero) > half\n")

    async def story() -> None:
        await world.until(world.over(job))

    world.play(story)
    done = world.job(job)
    assert (done.state, done.outputs) == ("SUCCEEDED", [])
    (note,) = done.notes
    assert note.startswith("Its outputs could not be fetched and lie at raven:") and "broke off on their way" in note


def test_an_output_whose_name_is_as_long_as_a_name_may_be_comes_back(world: SlurmWorld) -> None:
    name = "n" * 255
    job = world.submit(f"#!/bin/sh\nhead -c 2000000 /dev/zero > {name}; echo 1 > {name[:-1]}m\n")

    async def story() -> None:
        await world.until(world.over(job))

    world.play(story)
    assert {path[-2:]: len(data) for path, data in contents(world, job).items()} == {"nn": 2_000_000, "nm": 2}
