"""What jobs left on a real cluster goes after a while, and when its account is left; what did not come home stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import asyncssh
import msgspec
import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict
from hub.core.house import House
from hub.jobs import cluster_agent
from hub.jobs.backends.slurm import SlurmBackend
from hub.jobs.clusters import reaching
from hub.jobs.clusters.tables import cluster_accounts
from hub.jobs.ssh import Connection, Login
from hub.ledger.tables import ledger, ledger_bodies
from tests.databases import free_port
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import CLUSTER, SlurmWorld

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

Perform = Callable[..., Any]
DAYS = 86400.0
TRAPS = (
    "#!/bin/bash\nln -s / root; ln -s ~/precious precious; mkdir -p locked/in; echo x > locked/in/f; chmod 0 locked\n"
    "echo result > result\n"
)


@pytest.fixture
def world(house: House, ana: Actor, perform: Perform, slurm: SlurmBox) -> Iterator[SlurmWorld]:
    slurm.empty()
    slurm.sh("rm -rf .collegium precious; mkdir precious; echo years > precious/work")
    yield SlurmWorld(house, ana, perform, slurm)


def swept(world: SlurmWorld) -> list[dict[str, Any]]:
    with world.house.db.read() as conn:
        query = sa.select(ledger_bodies.c.bytes).join(ledger).where(ledger.c.action == "job_swept")
        return [msgspec.json.decode(each)["facts"] for each in conn.execute(query).scalars()]


def folders(world: SlurmWorld) -> set[str]:
    return set(world.box.sh("ls .collegium/hub-of-tests/jobs").split())


def run(world: SlurmWorld, *scripts: str) -> list[str]:
    jobs = [world.submit(each) for each in scripts]

    async def story() -> None:
        await world.until(world.over(*jobs))

    world.play(story)
    return jobs


def test_after_two_weeks_folders_go_with_all_their_traps_and_the_unfetched_stays(
    world: SlurmWorld, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.COLLECT_FILE_BYTES", 1 << 20)
    monkeypatch.setattr(cluster_agent, "SWEEP_SECONDS", 0.5)
    whole, large = run(world, TRAPS, "#!/bin/sh\nhead -c 2000000 /dev/zero > large\n")
    assert world.job(whole).outputs[0].path == "result" and world.job(large).outputs[0].kind == "reference"
    assert folders(world) == {whole, large} and swept(world) == []
    world.box.sh("mkdir .collegium/hub-of-tests/jobs/mine; echo x > .collegium/hub-of-tests/jobs/mine/file")
    clock.advance(15 * DAYS)
    world.agent = world.new_agent()

    async def story() -> None:
        await world.until(lambda: swept(world))
        await world.until(lambda: world.row(whole).swept_at is not None)

    world.play(story)
    assert folders(world) == {large, "mine"}
    (told,) = swept(world)
    assert (told["jobs"], told["folders"], told["strange"], told["left"]) == (1, 1, 0, 0) and told["bytes"] > 0
    assert world.box.sh("cat precious/work") == "years"
    assert world.row(large).swept_at is None


def test_who_leaves_leaves_nothing_but_what_did_not_come_home_and_learns_which_line_to_delete(
    world: SlurmWorld, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "backend_of", lambda *_: world.new_agent().backend)
    jobs = run(world, TRAPS, "#!/bin/sh\necho 1 > one\n")
    alive = world.submit("#!/bin/sh\nsleep 60\n")
    with pytest.raises(Conflict, match="have not ended"):
        perform(world.actor, "cluster_leave", cluster=CLUSTER)
    assert folders(world) == set(jobs)
    world.cancel(alive)
    has = {"public_key": "ssh-ed25519 AAAA x", "private_sealed": b"-"}
    world.house.db.write(lambda tx: tx.execute(sa.update(cluster_accounts).values(**has)))
    world.agent = world.new_agent()

    async def story() -> None:
        await world.until(world.over(alive))

    world.play(story)
    left = perform(world.actor, "cluster_leave", cluster=CLUSTER)
    assert left["cleared"]["line"] == left["line"] == "restrict ssh-ed25519 AAAA x"
    assert left["cleared"]["folders"] >= 2 and left["cleared"]["kept"] == left["cleared"]["left"] == 0
    assert world.box.sh("ls -A .collegium; cat precious/work") == "years"


def test_a_cluster_that_is_removed_while_it_cannot_be_reached_is_gone_and_says_what_stays(
    world: SlurmWorld, perform: Perform, operator: Actor, ben: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = asyncssh.read_private_key(str(world.box.client_key))
    nobody = Login("127.0.0.1", world.box.user, (world.box.host_key,), free_port())
    monkeypatch.setattr(reaching, "backend_of", lambda *_: SlurmBackend(Connection(nobody, key), "hub-of-tests"))
    (job,) = run(world, "#!/bin/sh\necho 1 > one\n")
    world.house.db.write(lambda tx: tx.execute(sa.update(cluster_accounts).values(private_sealed=b"-")))
    perform(ben, "cluster_join", cluster=CLUSTER, login="ben")
    gone = perform(operator, "cluster_remove", name=CLUSTER)
    one, ben_s = gone["cleared"]
    assert (one["folders"], one["left"]) == (0, 1) and "cannot be reached" in one["said"]
    assert (ben_s["left"], ben_s["said"]) == (0, "") and ben_s["line"].endswith(" collegium:ben@raven")
    assert folders(world) == {job}
