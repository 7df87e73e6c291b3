"""A Kubernetes cluster is made known by an operator and tried; then jobs of the sessions it serves go there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import Conflict, HubError, InvalidInput, NotAllowed, Unavailable
from hub.core.house import House
from hub.jobs import rules, views
from hub.jobs.backends.kubernetes_rules import HANDLE, PERSON, SESSION, short
from hub.jobs.clusters import kubernetes_reaching
from hub.jobs.clusters import views as cluster_views
from hub.jobs.clusters.serving import Accounts
from hub.jobs.clusters.tables import cluster_accounts, kubernetes_clusters
from tests.certificates import Authority
from tests.conftest import Perform
from tests.jobs import add_file, personal, run_steps
from tests.real.kube_lab import Lab
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

NAME = "harbour"
SMALL = {"memory": "64M", "time": "5"}


def serve(house: House, reached: Callable[[], object], seconds: float = 120.0) -> None:
    """Have the hub's agents work until something is so."""

    async def story() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(Accounts(house, "here").run(stop))
        try:
            async with asyncio.timeout(seconds):
                while not await asyncio.to_thread(reached):
                    await asyncio.to_thread(run_steps, house)
                    await asyncio.sleep(0.05)
        finally:
            stop.set()
            await serving

    asyncio.run(story())


def job_of(house: House, actor: Actor, job: str) -> views.JobView:
    with house.scope(actor) as scope:
        return views.job(scope, job)


def cluster_of(house: House, actor: Actor) -> cluster_views.ClusterView:
    with house.scope(actor) as scope:
        (found,) = cluster_views.all_clusters(scope).clusters
        return found


def made_for(lab: Lab, job: str) -> list[dict[str, Any]]:
    """The Jobs that the cluster has for one of the hub's."""
    return [each for each in lab.jobs() if each["metadata"]["labels"]["collegium/job"] == job]


def refused(perform: Perform, operator: Actor) -> HubError:
    """What a try is answered, that does not succeed."""
    with pytest.raises(HubError) as error:
        perform(operator, "cluster_test", cluster=NAME)
    return error.value


def test_from_a_service_account_to_results_and_away_again(
    house: House, operator: Actor, ana: Actor, ben: Actor, perform: Perform, lab: Lab
) -> None:
    with pytest.raises(Unavailable, match="no Kubernetes cluster is registered"):
        perform(ana, "job_submit", script="#!/bin/sh\n", job_type="kubernetes")
    mine = personal(house, ana)
    made = lab.registered(perform, operator, NAME, every_session=None, sessions=[mine])
    assert len(made["fingerprints"][0].split(":")) == 32 and made["service"]["login"] == "collegium-hub"
    with pytest.raises(Unavailable, match="has not been tried yet"):
        perform(ana, "job_submit", script="#!/bin/sh\n", job_type="kubernetes")
    with pytest.raises(NotAllowed):
        perform(ana, "cluster_test", cluster=NAME)
    tried = perform(operator, "cluster_test", cluster=NAME)
    assert tried["tested"] is not None and tried["standing"]["version"].startswith("v1.")

    with pytest.raises(NotAllowed, match="jobs of this session may not go to harbour"):
        perform(ben, "job_submit", script="#!/bin/sh\n", job_type="kubernetes")
    with pytest.raises(InvalidInput, match="one pod on one node"):
        perform(ana, "job_submit", script="#!/bin/sh\n", cluster=NAME, resources={"nodes": 2})
    with pytest.raises(InvalidInput, match="1000 are the most"):
        perform(ana, "job_submit", script="#!/bin/sh\n", cluster=NAME, resources={"array": "0-1000"})
    with pytest.raises(InvalidInput, match="nothing to join"):
        perform(ana, "cluster_join", cluster=NAME, login="ana")

    for path, data in (("input_data.csv", b"1\n2\n3\n"), ("analyze_data.py", b"print(open('input_data.csv').read())")):
        add_file(house, ana, perform, path, data)
    # The payload of the specification, on one node and with what a test's node has.
    job = perform(
        ana,
        "job_submit",
        job_type="kubernetes",
        script="#!/bin/sh\n#SBATCH --job-name=physics_analysis -p long\npython3 analyze_data.py > result.txt\n",
        resources={"nodes": 1, "cpus_per_node": 1, "memory": "64M", "time": "0:10:00"},
        artifacts=["input_data.csv", "analyze_data.py"],
    )["id"]
    with pytest.raises(Conflict, match="1 jobs"):
        perform(operator, "cluster_remove", name=NAME)
    serve(house, lambda: bool(made_for(lab, job)))
    (seen,) = made_for(lab, job)
    assert seen["metadata"]["labels"][PERSON] == ana.id and seen["metadata"]["labels"][SESSION] == mine
    assert seen["metadata"]["annotations"][HANDLE] == "ana"
    serve(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    ended = job_of(house, ana, job)
    assert (ended.state, ended.name, ended.backend) == ("SUCCEEDED", "physics_analysis", NAME)
    assert [each.path for each in ended.outputs] == ["result.txt"]
    assert any("`--partition=long`" in note for note in ended.notes)

    known = cluster_of(house, operator)
    assert known.service is not None and len(known.service.sessions) == 1
    assert known.service.sessions[0].startswith("ana/")
    assert known.service.standing is not None and known.service.standing.reached
    assert sum(known.service.standing.per_minute.values()) > 0
    theirs = cluster_of(house, ben).service
    assert theirs is not None and theirs.sessions == ()  # which sessions there are is nobody's business

    gone = perform(operator, "cluster_remove", name=NAME)
    assert any("delete serviceaccount collegium-hub" in each for each in gone["left"])
    assert any("on the claim workspace" in each for each in gone["left"])
    mark = f"?labelSelector=collegium/hub%3D{short(tried['account'])}"
    left = lab.kube.ask(f"/apis/batch/v1/namespaces/{lab.namespace}/jobs{mark}")["items"]
    assert [each for each in left if not each["metadata"].get("deletionTimestamp")] == []
    with house.db.read() as conn:
        assert conn.execute(sa.select(cluster_accounts.c.private_sealed)).scalar_one() is None
        assert conn.execute(sa.select(kubernetes_clusters)).first() is None
    # The name is free again, with an account of its own.
    lab.registered(perform, operator, NAME)
    assert perform(operator, "cluster_test", cluster=NAME)["account"] != tried["account"]


def test_a_wrong_token_says_so_and_a_right_one_repairs_it(
    house: House, operator: Actor, perform: Perform, lab: Lab
) -> None:
    lab.registered(perform, operator, NAME, token="no.such.token")
    error = refused(perform, operator)
    assert error.code == "token_refused" and "does not accept the token" in error.message
    assert "kubectl create token" in error.hint
    perform(operator, "cluster_change", name=NAME, token=lab.token)
    (untried,) = kubernetes_reaching.look_at(house)
    assert not untried.works and "cluster test harbour" in untried.words
    assert perform(operator, "cluster_test", cluster=NAME)["tested"] is not None
    (seen,) = kubernetes_reaching.look_at(house)  # as `collegium doctor` says it
    assert seen.works and "with every right that is needed" in seen.words
    # A token that is changed is tried again before anything goes there.
    perform(operator, "cluster_change", name=NAME, token=lab.token)
    assert cluster_of(house, operator).service.tested is None  # type: ignore[union-attr]


def test_another_authority_is_refused_loudly_and_is_told_nothing(
    operator: Actor, perform: Perform, lab: Lab, tmp_path: Path
) -> None:
    lab.registered(perform, operator, NAME, authority=Authority(tmp_path).root.read_text())
    error = refused(perform, operator)
    assert error.code == "authority_changed" and "told nothing" in error.message
    assert "somebody may stand between" in error.hint
    perform(operator, "cluster_change", name=NAME, authority=lab.kube.authority.root.read_text())
    assert perform(operator, "cluster_test", cluster=NAME)["tested"] is not None


@pytest.fixture
def narrower(lab: Lab) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """Puts other rights into the role of the hub's account, and the old ones back."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{lab.namespace}/roles/collegium-hub"
    before = lab.kube.ask(path)["rules"]
    yield lambda wanted: lab.kube.ask(path, {"rules": wanted}, "PATCH")
    lab.kube.ask(path, {"rules": before}, "PATCH")


def test_every_right_that_is_missing_is_named(
    operator: Actor, perform: Perform, lab: Lab, narrower: Callable[[list[dict[str, Any]]], None]
) -> None:
    lab.registered(perform, operator, NAME)
    narrower(
        [
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "patch", "delete"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
        ]
    )
    error = refused(perform, operator)
    assert error.code == "rights_missing"
    assert "may not make Jobs (create jobs), run commands in pods (get pods/exec)" in error.message
    assert set(error.errors) == {
        "make Jobs (create jobs)", "run commands in pods (get pods/exec)", "run commands in pods (create pods/exec)",
    }  # fmt: skip
    assert "deploy/kubernetes/collegium.yaml" in error.hint


def test_a_claim_that_is_not_there_and_an_image_that_cannot_be_had_are_told(
    operator: Actor, perform: Perform, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.jobs.clusters.kubernetes_reaching.TRY_SECONDS", 2.0)

    def told(words: str) -> HubError:
        """A pod needs its time to say what it waits for; whoever tries again is told then."""

        def look() -> HubError | None:
            error = refused(perform, operator)
            return error if words in error.message else None

        return wait_for(look, 90, words)

    lab.registered(perform, operator, NAME, described=lab.described_plainly() | {"claim": "nowhere"})
    error = told('"nowhere" not found')
    assert error.code == "workspace_unusable" and "is the claim there" in error.hint
    perform(operator, "cluster_remove", name=NAME)
    absent = lab.kube.image.partition("@")[0] + "@sha256:" + "0" * 64
    lab.registered(perform, operator, NAME, described=lab.described_plainly() | {"porter_image": absent})
    told("image cannot be had")
    # Nothing was left that would go on pulling; the right image is tried at once.
    perform(operator, "cluster_change", name=NAME, porter_image=lab.kube.image)
    monkeypatch.undo()
    assert perform(operator, "cluster_test", cluster=NAME)["tested"] is not None


def test_a_token_that_is_revoked_meanwhile_keeps_jobs_waiting_until_there_is_another(
    house: House, operator: Actor, ana: Actor, perform: Perform, lab: Lab
) -> None:
    lab.registered(perform, operator, NAME)
    account = perform(operator, "cluster_test", cluster=NAME)["account"]
    perform(operator, "cluster_change", name=NAME, token="no.such.token")
    tested = sa.update(cluster_accounts).where(cluster_accounts.c.id == account)
    house.db.write(lambda tx: tx.execute(tested.values(tested_at=house.clock.now())))  # as if it had been good once
    job = perform(ana, "job_submit", script="#!/bin/sh\necho here\n", job_type="kubernetes", resources=SMALL)["id"]

    def told() -> bool:
        service = cluster_of(house, operator).service
        standing = None if service is None else service.standing
        return standing is not None and not standing.reached and "Unauthorized" in standing.said

    serve(house, told)
    assert job_of(house, ana, job).state == "SUBMITTING"
    perform(operator, "cluster_change", name=NAME, token=lab.token)
    perform(operator, "cluster_test", cluster=NAME)
    serve(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    assert job_of(house, ana, job).state == "SUCCEEDED"


def test_a_hub_that_runs_on_no_kubernetes_is_told_so(
    operator: Actor, perform: Perform, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    lab.registered(perform, operator, NAME, in_cluster=True, server=None, authority=None, token=None)
    error = refused(perform, operator)
    assert error.code == "cluster_unreachable" and "this hub runs on no Kubernetes" in error.message


def test_a_held_run_has_no_pod_until_it_is_released(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work(cpus_per_node=1)
    blocked = lab.backend(node_selector={"no/such": "node"})
    lab.send(blocked, work, "echo ran\n")
    assert blocked.hold(work.job, 1) and blocked.hold(work.job, 1)
    (job,) = made_for(lab, work.job)
    assert job["spec"]["suspend"] is True
    assert blocked.observe(work.job, 1).sight == "waiting"
    assert blocked.release(work.job, 1) and not blocked.release(work.job, 1)
    (job,) = made_for(lab, work.job)
    assert job["spec"]["suspend"] is False
    backend.cancel(work.job, 1)
    assert not backend.release(work.job, 1)


def test_a_waiting_job_is_held_and_released_by_its_owner(
    house: House, operator: Actor, ana: Actor, perform: Perform, lab: Lab
) -> None:
    lab.registered(perform, operator, NAME)
    perform(operator, "cluster_test", cluster=NAME)
    # More than the node has, so that it waits there.
    job = perform(ana, "job_submit", script="#!/bin/sh\n", cluster=NAME, resources={"cpus_per_node": 60})["id"]
    serve(house, lambda: job_of(house, ana, job).state == "PENDING")
    assert job_of(house, ana, job).may == ("hold",)
    perform(ana, "job_hold", job=job)
    serve(house, lambda: job_of(house, ana, job).held)
    assert [each["spec"]["suspend"] for each in made_for(lab, job)] == [True]
    assert job_of(house, ana, job).reason == rules.HELD_BACK
    perform(ana, "job_release", job=job)
    serve(house, lambda: not made_for(lab, job)[0]["spec"]["suspend"])
    serve(house, lambda: not job_of(house, ana, job).held)
    perform(ana, "job_cancel", job=job)
    serve(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    assert job_of(house, ana, job).state == "CANCELLED"
