"""What keeps a job from being handed to a real Kubernetes, or from starting there, told to whoever waits for it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from hub.jobs import rules
from hub.jobs.clusters.tables import cluster_accounts, kubernetes_clusters
from hub.jobs.requests import Environment
from tests.real.kube_lab import Lab, until
from tests.real.kube_world import World, world
from tests.waiting import wait_for

__all__ = ["world"]  # a fixture

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

SMALL = {"memory": "64M", "time": "5"}
SCRIPT = "#!/bin/sh\necho here\n"


def described(world: World, **changed: Any) -> None:
    """The namespace is described otherwise, and an agent that knows it so takes over."""
    with world.house.db.read() as conn:
        before = conn.execute(sa.select(kubernetes_clusters.c.described)).scalar_one()
    wanted = sa.update(kubernetes_clusters).values(described=before | changed)
    world.house.db.write(lambda tx: tx.execute(wanted))
    # A porter that runs is used as it is; another one is made as the namespace is described now.
    path = f"/apis/batch/v1/namespaces/{world.lab.namespace}/jobs?labelSelector=collegium/part%3Dporter"
    world.lab.kube.ask(path, {"propagationPolicy": "Background"}, "DELETE")
    wait_for(lambda: None if world.lab.pods("porter") else True, 60, "the porter being gone")
    world.agent = world.new_agent()


def standing(world: World) -> dict[str, Any]:
    with world.house.db.read() as conn:
        return dict(conn.execute(sa.select(cluster_accounts.c.standing)).scalar_one() or {})


def test_a_claim_that_went_is_told_to_whoever_waits_and_the_job_runs_once_it_is_back(world: World) -> None:
    async def story() -> None:
        await world.agent.close()
        described(world, claim="nowhere")
        world.agent.backend.porter.ready_seconds = 3.0
        job = world.submit(SCRIPT, resources=SMALL)
        await world.until(lambda: '"nowhere" not found' in world.job(job).reason)
        assert world.job(job).state == "SUBMITTING"
        assert world.job(job).reason.startswith("Its files cannot be brought to harbour now, and it is tried again:")
        await world.agent.close()
        described(world, claim="workspace")
        await world.until(world.over(job))
        assert (world.job(job).state, world.job(job).reason) == ("SUCCEEDED", "Finished.")

    world.play(story)


def test_a_quota_of_jobs_that_is_used_up_is_told_in_the_clusters_words_and_the_job_waits_for_room(world: World) -> None:
    path = f"/api/v1/namespaces/{world.lab.namespace}/resourcequotas"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}

    async def story() -> None:
        # The porter is one already.
        world.lab.kube.ask(path, {**quota, "spec": {"hard": {"count/jobs.batch": "1"}}})
        wait_for(lambda: world.lab.kube.ask(f"{path}/few").get("status", {}).get("hard"), 30, "the quota counting")
        try:
            job = world.submit(SCRIPT, resources=SMALL)
            await world.until(lambda: "exceeded quota: few" in world.job(job).reason)
            assert world.job(job).state == "SUBMITTING" and "takes no more Jobs now" in world.job(job).reason
            await world.until(lambda: standing(world).get("reached"))  # which is no fault of the way there
        finally:
            world.lab.kube.ask(f"{path}/few", None, "DELETE")
        await world.until(world.over(job))
        assert world.job(job).state == "SUCCEEDED"

    world.play(story)


def test_a_cluster_that_goes_away_before_a_job_is_handed_over_says_so(world: World) -> None:
    async def story() -> None:
        kube = world.lab.kube
        kube.end("api", hard=True)
        try:
            job = world.submit(SCRIPT, resources=SMALL)
            await world.until(lambda: "harbour is not reached now" in world.job(job).reason)
            assert world.job(job).state == "SUBMITTING"
        finally:
            kube.start_api()
        await world.until(world.over(job))
        assert world.job(job).state == "SUCCEEDED"

    world.play(story)


def test_a_pod_that_never_comes_so_far_ends_at_its_deadline_with_what_it_waited_for(lab: Lab) -> None:
    image = lab.kube.registry.add("never", b"\1" * 10240, {"Cmd": ["/bin/sh"]})
    backend = lab.backend(start_seconds=5)
    backend.porter.try_out()
    lab.kube.registry.away = True
    try:
        work = lab.work(Environment(container=image), time="0:00:05")
        lab.send(backend, work, "true")
        seen = until(backend, work, "ended", seconds=120)
    finally:
        lab.kube.registry.away = False
    assert seen.exit is not None
    found = rules.outcome(seen.exit)
    assert found.event == "failed" and "did not come so far in the time it had" in found.sentence
