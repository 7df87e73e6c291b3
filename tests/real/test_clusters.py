"""A cluster is trusted after a person compared its key, an account is used after it was tried; then jobs go there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable
from hub.core.house import House
from hub.jobs import rules, views
from hub.jobs.clusters import views as cluster_views
from hub.jobs.clusters.rules import fingerprint
from hub.jobs.clusters.serving import Accounts
from hub.jobs.clusters.tables import cluster_accounts
from hub.jobs.dry_plan import plan_job
from tests.jobs import run_steps
from tests.real.slurm_box import SlurmBox
from tests.real.sshd_box import SshdBox

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

Perform = Callable[..., Any]


def add(perform: Perform, operator: Actor, box: SshdBox, **more: Any) -> dict[str, Any]:
    wish = {"name": "raven", "host": "127.0.0.1", "port": box.port, "fingerprint": fingerprint(box.host_key), **more}
    made: dict[str, Any] = perform(operator, "cluster_add", **wish)
    return made


def job_ended(house: House, actor: Actor, job: str) -> bool:
    with house.scope(actor) as scope:
        return views.job(scope, job).state in rules.TERMINAL


def asked_before_any_job(house: House, ana: Actor) -> None:
    """An account without jobs has no agent; whoever asks where a job would go gets one for as long as it takes."""
    wish = {"script": "#!/bin/sh\ntrue\n", "job_type": "slurm"}
    assert plan_job(house, ana, wish).asking == ("raven",)

    async def story() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(Accounts(house, "here").run(stop))
        async with asyncio.timeout(60):
            while (await asyncio.to_thread(plan_job, house, ana, wish)).asking:
                await asyncio.sleep(0.1)
        stop.set()
        await serving

    asyncio.run(story())
    assert plan_job(house, ana, wish).candidates[0].starts_in is not None


def test_from_a_host_key_to_a_job_that_ran(
    house: House, operator: Actor, ana: Actor, ben: Actor, perform: Perform, slurm: SlurmBox
) -> None:
    with pytest.raises(Conflict, match="nothing is stored yet") as shown:
        add(perform, operator, slurm, fingerprint=None)
    assert list(shown.value.errors) == [fingerprint(slurm.host_key)]
    with pytest.raises(Conflict, match="somebody may stand between"):
        add(perform, operator, slurm, fingerprint="SHA256:" + "A" * 43)
    with pytest.raises(NotAllowed):
        add(perform, ana, slurm)
    add(perform, operator, slurm, defaults={"partition": "debug"}, portal_url="https://portal.example.org")
    with pytest.raises(Unavailable, match="no tested account"):
        perform(ana, "job_submit", script="#!/bin/sh\n", job_type="slurm")

    mine = perform(ana, "cluster_join", cluster="raven", login=slurm.user)
    assert mine["line"].startswith("restrict ssh-ed25519 ") and mine["line"].endswith(" collegium:ana@raven")
    assert perform(ana, "cluster_join", cluster="raven", login=slurm.user) == mine
    with pytest.raises(Conflict, match="does not accept the key"):
        perform(ana, "cluster_test", cluster="raven")
    slurm.allow(mine["line"])
    tried = perform(ana, "cluster_test", cluster="raven")
    assert tried["tested"] is not None and tried["standing"]["version"].startswith("22.05")
    with house.scope(ben) as scope:
        assert cluster_views.all_clusters(scope).clusters[0].account is None
    with pytest.raises(Unavailable, match="no tested account"):
        perform(ben, "job_submit", script="#!/bin/sh\n", job_type="slurm")
    with pytest.raises(NotFound):
        perform(ben, "cluster_test", cluster="raven")

    asked_before_any_job(house, ana)
    job = perform(ana, "job_submit", script="#!/bin/sh\necho $SLURM_JOB_PARTITION\n", job_type="slurm")["id"]
    with pytest.raises(Conflict, match="1 jobs"):
        perform(ana, "cluster_leave", cluster="raven")
    with pytest.raises(Conflict, match="1 jobs"):
        perform(operator, "cluster_remove", name="raven")

    async def story() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(Accounts(house, "here").run(stop))
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(job_ended, house, ana, job):
                await asyncio.to_thread(run_steps, house)
                await asyncio.sleep(0.05)
        stop.set()
        await serving

    asyncio.run(story())
    with house.scope(ana) as scope:
        assert views.job(scope, job).state == "SUCCEEDED"
        assert views.log_piece(scope, job).data == b"debug\n"

    perform(ana, "cluster_leave", cluster="raven")
    with house.db.read() as conn:
        row = conn.execute(sa.select(cluster_accounts)).one()
    assert row.private_sealed is None and row.removed_at is not None
    perform(operator, "cluster_remove", name="raven")
    with house.scope(ana) as scope:
        assert cluster_views.all_clusters(scope).clusters == []


def test_a_changed_host_key_is_told_and_can_be_trusted_anew(
    house: House, operator: Actor, ana: Actor, perform: Perform, sshd: SshdBox
) -> None:
    add(perform, operator, sshd)
    mine = perform(ana, "cluster_join", cluster="raven", login=sshd.user)
    sshd.allow(mine["line"])
    with pytest.raises(Unavailable, match="squeue: "):
        perform(ana, "cluster_test", cluster="raven")
    sshd.new_host_key()
    with pytest.raises(Conflict, match="another host key"):
        perform(ana, "cluster_test", cluster="raven")
    with pytest.raises(Conflict, match="nothing is stored yet"):
        perform(operator, "cluster_trust", name="raven")
    with pytest.raises(NotAllowed):
        perform(ana, "cluster_trust", name="raven", fingerprint=fingerprint(sshd.host_key))
    trusted = perform(operator, "cluster_trust", name="raven", fingerprint=fingerprint(sshd.host_key))
    assert list(trusted["fingerprints"]) == [fingerprint(sshd.host_key)]
    with pytest.raises(Unavailable, match="squeue: "):
        perform(ana, "cluster_test", cluster="raven")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Raven!"},
        {"name": "local"},
        {"host": "-oProxyCommand=x"},
        {"host": "a b"},
        {"defaults": {"wrap": "x"}},
        {"root": "relative"},
        {"path": ["bin"]},
        {"portal_url": "http://x"},
        {"jump": {"host": "j", "host_keys": ["ssh-ed25519 AAAA"]}},
    ],
)
def test_what_cannot_be_a_cluster_is_refused(
    operator: Actor, perform: Perform, sshd: SshdBox, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        add(perform, operator, sshd, **wrong)


def test_nobody_there_is_told(operator: Actor, perform: Perform, sshd: SshdBox) -> None:
    sshd.end("sshd")
    with pytest.raises(Unavailable, match="cannot be reached"):
        add(perform, operator, sshd)
