"""A Kubernetes cluster is the hub's own account: attested by an operator, for named sessions, its token never shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable
from hub.core.house import House
from hub.jobs.backends.slurm_wish import directives
from hub.jobs.clusters import kubernetes_choosing, kubernetes_reaching
from hub.jobs.clusters import views as cluster_views
from hub.jobs.clusters.kubernetes_reaching import Left, Tried
from hub.jobs.clusters.serving import Accounts
from hub.jobs.clusters.tables import cluster_accounts, kubernetes_clusters
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger, ledger_bodies
from tests.certificates import Authority
from tests.conftest import Perform
from tests.jobs import personal, run_steps
from tests.rules.test_kubernetes_registration import DIGEST, jwt

Add = Callable[..., dict[str, Any]]
NAME = "harbour"
TOKEN = jwt(sub="system:serviceaccount:collegium-jobs:collegium-hub")
DESCRIBED = {
    "namespace": "collegium-jobs", "claim": "workspace", "porter_image": "busybox" + DIGEST, "image": "python" + DIGEST,
}  # fmt: skip
SCRIPT = "#!/bin/sh\ntrue\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    return Authority(Path(tmp_path_factory.mktemp("authority"))).root.read_text()


@pytest.fixture
def add(perform: Perform, operator: Actor, authority: str) -> Add:
    """Make the cluster known, with what an operator says; None leaves a field out."""

    def do(*, by: Actor = operator, **more: Any) -> dict[str, Any]:
        said = {"name": NAME, "described": DESCRIBED, "server": "https://203.0.113.7:6443", "authority": authority}
        said |= {"token": TOKEN, "attest": True, "every_session": True, **more}
        return dict(perform(by, "cluster_add", **{key: value for key, value in said.items() if value is not None}))

    return do


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that lets the hub in; the real one is the subject of tests with a real one."""
    monkeypatch.setattr(kubernetes_reaching, "try_out", lambda *_, **__: Tried("v1.34.4"))
    monkeypatch.setattr(kubernetes_reaching, "leave", lambda *_: Left(1, ("the folder x on the claim workspace",)))


def row(house: House, table: sa.Table) -> Any:
    with house.db.read() as conn:
        return conn.execute(sa.select(table)).one()


def backend_of(house: House, job: str) -> tuple[str, str | None]:
    with house.db.read() as conn:
        found = conn.execute(sa.select(jobs.c.backend, jobs.c.account).where(jobs.c.id == job)).one()
    return found.backend, found.account


def test_the_token_is_kept_sealed_and_told_to_nobody(house: House, operator: Actor, add: Add) -> None:
    made = add()
    own = row(house, cluster_accounts)
    assert own.person == "hub" and own.login == "collegium-hub" and TOKEN.encode() not in own.private_sealed
    assert kubernetes_reaching.token_of(house, own) == TOKEN
    with house.db.read() as conn:
        tables = (ledger, ledger_bodies, kubernetes_clusters)
        written = "".join(repr(conn.execute(sa.select(each)).all()) for each in tables)
    with house.scope(operator) as scope:
        written += repr(cluster_views.all_clusters(scope))
    assert TOKEN not in repr(made) + written


def test_nothing_goes_there_before_it_was_tried(
    house: House, ana: Actor, operator: Actor, perform: Perform, add: Add, works: None
) -> None:
    add()
    with pytest.raises(Unavailable, match="has not been tried yet"):
        perform(ana, "job_submit", script=SCRIPT, job_type="kubernetes")
    with pytest.raises(NotAllowed):
        perform(ana, "cluster_test", cluster=NAME)
    account = perform(operator, "cluster_test", cluster=NAME)["account"]
    job = perform(ana, "job_submit", script=SCRIPT, job_type="kubernetes")["id"]
    assert backend_of(house, job) == (NAME, account)
    run_steps(house)
    # The agents' process has one to serve, as it has for accounts on Slurm.
    usable, busy = Accounts(house, "here")._rows()
    assert set(usable) == busy == {account}


def test_only_the_sessions_that_were_named_send_jobs_there(
    house: House,
    ana: Actor,
    ben: Actor,
    operator: Actor,
    perform: Perform,
    add: Add,
    works: None,
) -> None:
    add(every_session=None, sessions=[personal(house, ana)])
    perform(operator, "cluster_test", cluster=NAME)
    perform(ana, "job_submit", script=SCRIPT, cluster=NAME)
    with pytest.raises(NotAllowed, match="may not go to harbour") as caught:
        perform(ben, "job_submit", script=SCRIPT, cluster=NAME)
    assert caught.value.code == "cluster_not_for_session"
    with pytest.raises(NotAllowed):
        perform(ben, "job_submit", workflow=[{"step": "a", "script": SCRIPT}], job_type="kubernetes")
    # `auto` never reaches for what a session may not use.
    with pytest.raises(InvalidInput, match="the local backend cannot honour"):
        perform(ben, "job_submit", script=SCRIPT, environment={"container": "python" + DIGEST})
    changed = perform(operator, "cluster_change", name=NAME, attest=True, sessions=[personal(house, ben)])
    assert [each.partition("/")[0] for each in changed["service"]["sessions"]] == ["ben"]
    perform(ben, "job_submit", script=SCRIPT, cluster=NAME)
    with pytest.raises(NotAllowed):
        perform(ana, "job_submit", script=SCRIPT, cluster=NAME)


def test_auto_goes_there_with_what_this_machine_cannot_honour(
    house: House, ana: Actor, operator: Actor, perform: Perform, add: Add, works: None
) -> None:
    add()
    perform(operator, "cluster_test", cluster=NAME)
    plain = perform(ana, "job_submit", script=SCRIPT)["id"]
    image = perform(ana, "job_submit", script=SCRIPT, environment={"container": "python" + DIGEST})["id"]
    assert backend_of(house, plain)[0] == "local" and backend_of(house, image)[0] == NAME


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"resources": {"nodes": 2}}, "one pod on one node"),
        ({"resources": {"array": "0-1000"}}, "1000 are the most"),
        ({"environment": {"modules": ["gcc"]}}, "name an image that has them"),
        ({"environment": {"container": "python:3.13"}}, "may be another image tomorrow"),
        ({"job_type": "slurm"}, "harbour is a Kubernetes cluster"),
        ({"job_type": "local"}, "goes to no cluster"),
    ],
)
def test_what_cannot_be_had_there_is_refused_when_it_is_submitted(
    ana: Actor, operator: Actor, perform: Perform, add: Add, works: None,
    asked: dict[str, Any], words: str,
) -> None:  # fmt: skip
    add()
    perform(operator, "cluster_test", cluster=NAME)
    with pytest.raises(InvalidInput, match=words):
        perform(ana, "job_submit", script=SCRIPT, cluster=NAME, **asked)


def test_a_cluster_of_another_kind_is_not_mistaken(
    ana: Actor, operator: Actor, perform: Perform, add: Add, works: None
) -> None:
    add()
    perform(operator, "cluster_test", cluster=NAME)
    with pytest.raises(Unavailable, match="no Slurm cluster is registered"):
        perform(ana, "job_submit", script=SCRIPT, job_type="slurm")
    with pytest.raises(Unavailable, match="no cluster is called"):
        perform(ana, "job_submit", script=SCRIPT, cluster="nowhere")
    for action, params in (("cluster_join", {"cluster": NAME, "login": "ana"}), ("cluster_trust", {"name": NAME})):
        by = ana if action == "cluster_join" else operator
        with pytest.raises(InvalidInput):
            perform(by, action, **params)
    with pytest.raises(NotFound):
        perform(ana, "cluster_leave", cluster=NAME)


def test_a_new_token_is_tried_before_anything_goes_there_and_an_image_is_not(
    house: House, operator: Actor, perform: Perform, add: Add, works: None, authority: str
) -> None:
    add()
    perform(operator, "cluster_test", cluster=NAME)
    other = "alpine" + DIGEST
    changed = perform(operator, "cluster_change", name=NAME, image=other, price_per_core_hour=0.5)
    assert changed["service"]["image"] == other and changed["service"]["tested"] is not None
    assert (changed["price_per_core_hour"], changed["price_per_gpu_hour"]) == (0.5, None)
    changed = perform(operator, "cluster_change", name=NAME, price_per_gpu_hour=2.5)
    assert (changed["price_per_core_hour"], changed["price_per_gpu_hour"]) == (0.5, 2.5)
    for fresh in ({"token": "another"}, {"authority": authority}, {"server": "https://203.0.113.8"}):
        perform(operator, "cluster_test", cluster=NAME)
        assert perform(operator, "cluster_change", name=NAME, **fresh)["service"]["tested"] is None
    assert kubernetes_reaching.token_of(house, row(house, cluster_accounts)) == "another"


def test_removing_it_erases_the_token_and_says_what_is_left_there(
    house: House, ana: Actor, operator: Actor, perform: Perform, add: Add, works: None
) -> None:
    add()
    perform(operator, "cluster_test", cluster=NAME)
    job = perform(ana, "job_submit", script=SCRIPT, cluster=NAME)["id"]
    with pytest.raises(Conflict, match="1 jobs on harbour"):
        perform(operator, "cluster_remove", name=NAME)
    perform(ana, "job_cancel", job=job)
    assert perform(operator, "cluster_remove", name=NAME)["left"] == ("the folder x on the claim workspace",)
    assert row(house, cluster_accounts).private_sealed is None
    with pytest.raises(Unavailable, match="no Kubernetes cluster is registered"):
        perform(ana, "job_submit", script=SCRIPT, job_type="kubernetes")
    add()  # the name is free again


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"attest": None}, "the site allows this"),
        ({"every_session": None}, "whose jobs may go there"),
        ({"sessions": ["ana/hcl"]}, "whose jobs may go there"),
        ({"server": "http://127.0.0.1:1"}, "begins with https://"),
        ({"server": None}, "address of its API server is missing"),
        ({"authority": None}, "anybody could answer"),
        ({"authority": "x"}, "no certificate"),
        ({"token": None}, "token of the hub's account is missing"),
        ({"token": "two words"}, "one word"),
        ({"token": jwt(exp=dt.datetime(2020, 1, 1, tzinfo=dt.UTC).timestamp())}, "lapsed on 2020-01-01"),
        ({"in_cluster": True}, "no address"),
        ({"name": "Harbour!"}, "small letters"),
        ({"portal_url": "http://x"}, "https"),
        ({"described": {**DESCRIBED, "namespace": "../x"}}, "namespace|regex|pattern"),
        ({"described": {**DESCRIBED, "image": "python:3.13"}}, "may be another image tomorrow"),
        ({"described": {**DESCRIBED, "host_path": "/"}}, "host_path"),
    ],
)
def test_what_cannot_be_a_cluster_is_refused(add: Add, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        add(**wrong)


def test_a_session_that_is_not_there_and_a_member_are_refused(ana: Actor, add: Add) -> None:
    with pytest.raises(NotFound, match="no session 'ana/nothing'"):
        add(every_session=None, sessions=["ana/nothing"])
    with pytest.raises(NotAllowed):
        add(by=ana)
    add()
    with pytest.raises(Conflict, match="is called harbour already"):
        add()


def test_the_hubs_own_cluster_has_no_token_to_keep(house: House, operator: Actor, perform: Perform, add: Add) -> None:
    made = add(in_cluster=True, server=None, authority=None, token=None)
    assert made["service"]["server"] == "" and made["service"]["login"] == "in-cluster"
    assert row(house, cluster_accounts).private_sealed is None
    with pytest.raises(InvalidInput, match="the cluster the hub runs on"):
        perform(operator, "cluster_change", name=NAME, token="x")


def test_doctor_says_that_a_cluster_was_not_tried_and_that_a_token_lapses(
    house: House, operator: Actor, perform: Perform, add: Add, works: None
) -> None:
    assert list(kubernetes_reaching.look_at(house)) == []
    lapses = house.clock.now() + dt.timedelta(days=10)
    add(token=jwt(exp=lapses.timestamp()))
    (untried,) = kubernetes_reaching.look_at(house)
    assert not untried.works and "collegium cluster test harbour" in untried.words
    perform(operator, "cluster_test", cluster=NAME)
    (seen,) = kubernetes_reaching.look_at(house)
    assert seen.works and seen.words.endswith(f"its token lapses on {lapses:%Y-%m-%d}")
    perform(operator, "cluster_remove", name=NAME)
    assert list(kubernetes_reaching.look_at(house)) == []


def test_lines_for_slurm_are_told_to_mean_nothing_there() -> None:
    head = "#!/bin/sh\n#SBATCH --job-name=fit --partition=long\n#SBATCH -N 2\ntrue\n"
    assert directives(head)  # they are read as Slurm reads them
    (told,) = kubernetes_choosing.told(head)
    assert "`--partition=long`, `--nodes=2`" in told and "job-name" not in told
    assert kubernetes_choosing.told("#!/bin/sh\n#SBATCH --job-name=fit\n") == ()
    assert "passed over" in kubernetes_choosing.told("#!/bin/sh\n#SBATCH 'x\n")[0]
