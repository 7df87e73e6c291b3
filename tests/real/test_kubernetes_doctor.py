"""What is wrong with a real Kubernetes, line by line: rights, namespace, token, certificate, volume, nodes."""

from __future__ import annotations

import contextlib
import subprocess
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.backends.kubernetes_rules import short
from hub.jobs.clusters import reports
from hub.jobs.clusters.doctor import Finding
from hub.jobs.clusters.tables import cluster_accounts
from hub.ledger.tables import ledger
from tests.certificates import Authority
from tests.conftest import Perform
from tests.databases import free_port
from tests.real.kube_box import KubeBox
from tests.real.kube_lab import Lab
from tests.real.test_kubernetes_busy import NODES
from tests.real.test_kubernetes_busy import PATHS as NODE_PATHS
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

NAME = "harbour"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}"
WELL = ["API server", "certificate", "token", "version", "clock", "rights", "workspace", "space", "agent", "quota"]


@pytest.fixture
def own_lab(kube: KubeBox, tmp_path: Path) -> Iterator[Lab]:
    """A namespace of its own, for what is done to it."""
    made = Lab(kube, tmp_path)
    yield made
    with contextlib.suppress(urllib.error.HTTPError):  # it may be gone by then
        made.close()


def examined(perform: Perform, who: Actor) -> tuple[str, dict[str, dict[str, Any]]]:
    """The worst of it, and the lines by their names."""
    told = perform(who, "cluster_doctor", cluster=NAME)
    return told["worst"], {line["name"]: line for line in told["lines"]}


def failed(perform: Perform, operator: Actor, name: str) -> dict[str, Any]:
    """The line of that name, which fails, and behind which nothing of the cluster's was looked at."""
    worst, lines = examined(perform, operator)
    assert worst == "failed" and lines[name]["level"] == "failed", lines
    assert lines[name]["hint"] and not set(lines) & set(WELL[WELL.index("rights") + 1 : WELL.index("agent")])
    return lines[name]


def stands(house: House, who: Actor) -> dict[str, Finding]:
    """What `cluster show` says, of what the hub knows without asking."""
    with house.scope(who) as scope:
        return {each.name: each for each in reports.report(scope, NAME).findings}


def test_a_cluster_that_is_well_is_told_so_and_nothing_is_left_there(
    house: House, operator: Actor, ana: Actor, perform: Perform, lab: Lab
) -> None:
    lab.registered(perform, operator, NAME)
    worst, lines = examined(perform, operator)
    assert worst == "warning" and lines.pop("tried")["level"] == "warning"
    assert {name: line["level"] for name, line in lines.items()} == dict.fromkeys(WELL, "ok"), lines
    assert "v1.34" in lines["version"]["words"] and "collegium-hub" in lines["token"]["words"]
    assert lab.namespace in lines["rights"]["words"] and "are free" in lines["space"]["words"]
    with house.db.read() as conn:
        own = conn.execute(sa.select(cluster_accounts)).one()
        assert own.tested_at is None, "a look is no test: no job goes there for it"
        assert conn.execute(sa.select(sa.func.count()).select_from(ledger)).scalar_one() == 2
    assert list((lab.volume / short(own.id)).iterdir()) == []
    # It is the operators' account; others are told what the hub knows of itself.
    assert set(examined(perform, ana)[1]) == {"tried", "agent", "quota"}
    assert (
        stands(house, ana)["hub's account"].holds is None and "cluster test" in stands(house, ana)["hub's account"].hint
    )
    perform(operator, "cluster_test", cluster=NAME)
    assert examined(perform, operator)[0] == "ok"
    found = stands(house, ana)
    assert {name for name, each in found.items() if each.holds} == {
        "authority", "hub's account", "connection", "version", "jobs",
    }  # fmt: skip
    assert "v1.34" in found["version"].words and found["version"].words.startswith("Kubernetes")


def test_a_right_that_was_taken_away_is_named(operator: Actor, perform: Perform, own_lab: Lab) -> None:
    own_lab.registered(perform, operator, NAME)
    role = f"{RBAC.format(own_lab.namespace)}/roles/collegium-hub"
    before = own_lab.kube.ask(role)["rules"]
    fewer = [{**each, "verbs": [verb for verb in each["verbs"] if verb != "patch"]} for each in before]
    own_lab.kube.ask(role, {"rules": fewer}, "PATCH")
    wait_for(
        lambda: None if examined(perform, operator)[1]["rights"]["level"] == "ok" else True, 30, "the right being gone"
    )
    line = failed(perform, operator, "rights")
    assert "may not suspend Jobs (patch jobs)" in line["words"] and "make Jobs" not in line["words"]
    assert "deploy/kubernetes/collegium.yaml" in line["hint"] and "Is the namespace" not in line["hint"]
    # Without its binding the account has none of them: the whole manifest is asked about.
    own_lab.kube.ask(f"{RBAC.format(own_lab.namespace)}/rolebindings/collegium-hub", None, "DELETE")
    wait_for(lambda: "make Jobs" in failed(perform, operator, "rights")["words"] or None, 30, "every right being gone")
    assert own_lab.namespace in failed(perform, operator, "rights")["hint"]


def test_a_namespace_that_is_gone_is_told_by_the_token_that_went_with_it(
    operator: Actor, perform: Perform, own_lab: Lab
) -> None:
    own_lab.registered(perform, operator, NAME)
    own_lab.close()
    wait_for(lambda: "token" not in levels(perform, operator, "ok") or None, 60, "the account being gone")
    line = failed(perform, operator, "token")
    assert "does not accept the token" in line["words"] and "namespace" in line["words"]
    assert f"the namespace {own_lab.namespace}?" in line["hint"] and "kubectl create token" in line["hint"]


def levels(perform: Perform, operator: Actor, level: str) -> set[str]:
    return {name for name, line in examined(perform, operator)[1].items() if line["level"] == level}


def test_a_wrong_token_a_server_that_is_away_and_another_authority_are_told_apart(
    operator: Actor, perform: Perform, lab: Lab, tmp_path: Path
) -> None:
    lab.registered(perform, operator, NAME, token="no.such.token")
    assert "does not accept the token" in failed(perform, operator, "token")["words"]
    assert levels(perform, operator, "ok") >= {"API server", "certificate"}
    perform(operator, "cluster_change", name=NAME, authority=Authority(tmp_path).root.read_text(), token=lab.token)
    line = failed(perform, operator, "certificate")
    assert "told nothing" in line["words"] and "--ca FILE" in line["hint"]
    gone = f"https://127.0.0.1:{free_port()}"
    perform(operator, "cluster_change", name=NAME, server=gone, authority=lab.kube.authority.root.read_text())
    line = failed(perform, operator, "API server")
    assert "did not answer" in line["words"] and "address" in line["hint"]
    assert not {"certificate", "token", "version"} & set(examined(perform, operator)[1])
    right = f"https://127.0.0.1:{lab.kube.ports['api']}"
    perform(operator, "cluster_change", name=NAME, server=right)
    assert "failed" not in {line["level"] for line in examined(perform, operator)[1].values()}


def test_a_claim_that_is_not_there_is_told_while_the_rest_is_well(
    operator: Actor, perform: Perform, own_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.jobs.clusters.kubernetes_reaching.TRY_SECONDS", 2.0)
    own_lab.registered(perform, operator, NAME, described=own_lab.described_plainly() | {"claim": "nowhere"})

    def told() -> dict[str, Any] | None:
        lines = examined(perform, operator)[1]
        assert lines["rights"]["level"] == "ok" and lines["workspace"]["level"] == "failed"
        return lines["workspace"] if '"nowhere" not found' in lines["workspace"]["words"] else None

    line = wait_for(told, 60, "the scheduler's words")
    assert "Is the claim nowhere there" in line["hint"]


@pytest.fixture
def small_volume(own_lab: Lab) -> Iterator[Path]:
    """Two megabytes behind the claim."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "tmpfs", str(own_lab.volume)]
    subprocess.run(mount, check=True)
    yield own_lab.volume
    subprocess.run(["umount", "-l", str(own_lab.volume)], check=True)


def test_a_volume_that_is_nearly_full_and_one_that_is_are_told(
    operator: Actor, perform: Perform, own_lab: Lab, small_volume: Path
) -> None:
    own_lab.registered(perform, operator, NAME)
    lines = examined(perform, operator)[1]
    assert lines["workspace"]["level"] == "ok" and lines["space"]["level"] == "warning", lines
    assert "of 2.0 MiB are free" in lines["space"]["words"] and lines["space"]["hint"]
    with contextlib.suppress(OSError), (small_volume / "fills").open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    worst, lines = examined(perform, operator)
    assert worst == "failed" and "No space left" in lines["workspace"]["words"], lines
    assert [each.name for each in small_volume.iterdir() if each.name == "fills"] == ["fills"]


@pytest.fixture
def sees_nodes(lab: Lab) -> Iterator[None]:
    """The optional manifest, which lets the account see them."""
    text = NODES.read_text().replace("namespace: collegium-jobs", f"namespace: {lab.namespace}")
    things = list(yaml.safe_load_all(text))
    for thing in things:
        lab.kube.ask(NODE_PATHS[thing["kind"]], thing)
    yield
    for thing in things:
        lab.kube.ask(f"{NODE_PATHS[thing['kind']]}/{thing['metadata']['name']}", None, "DELETE")


@pytest.fixture
def cordoned(lab: Lab) -> Iterator[Callable[[bool], None]]:
    """Keeps pods from the node, or no longer."""
    path = f"/api/v1/nodes/{lab.kube.node}"
    yield lambda yes: lab.kube.ask(path, {"spec": {"unschedulable": yes or None}}, "PATCH")
    lab.kube.ask(path, {"spec": {"unschedulable": None}}, "PATCH")


def test_nodes_that_take_no_work_are_told_where_they_may_be_seen(
    operator: Actor, perform: Perform, lab: Lab, sees_nodes: None, cordoned: Callable[[bool], None]
) -> None:
    lab.registered(perform, operator, NAME)
    wait_for(lambda: "nodes" in levels(perform, operator, "ok") or None, 30, "the node being seen")
    cordoned(True)
    worst, lines = examined(perform, operator)
    assert worst == "failed" and lines["nodes"]["words"].startswith("0 of 1 take work"), lines
    cordoned(False)
    assert examined(perform, operator)[1]["nodes"]["level"] == "ok"
