"""How busy a real Kubernetes is: seen whole by who may list nodes, and told honestly by who may not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.real.kube_lab import Lab, until
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

NODES = Path(__file__).parents[2] / "deploy" / "kubernetes" / "nodes.yaml"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PATHS = {"ClusterRole": f"{RBAC}/clusterroles", "ClusterRoleBinding": f"{RBAC}/clusterrolebindings"}


def test_the_account_of_the_manifest_sees_its_own_namespace_and_says_that_it_sees_no_nodes(lab: Lab) -> None:
    backend = lab.backend()
    work, waits = lab.work(cpus_per_node=1), lab.work(cpus_per_node=60)
    lab.send(backend, waits, "true")
    lab.send(backend, work, "while [ ! -e go ]; do sleep 0.1; done")
    until(backend, work, "started")
    wait_for(lambda: lab.pods()[1:] or None, 30, "both pods being there")
    found = backend.load()
    (room,) = found.rooms
    assert room.name == f"namespace {lab.namespace}" and (room.nodes, room.cpus, room.memory_bytes) == (None,) * 3
    assert room.cpus_taken is not None and 1 <= room.cpus_taken < 60
    assert found.waiting == 1 and "may not see the cluster's nodes" in found.said
    # It is not asked for again at every look.
    backend.load()
    assert backend.api.per_minute()["nodes"] == 1
    backend.cancel(waits.job, waits.run)
    (lab.run_folder(work) / "work" / "go").touch()
    until(backend, work, "ended")


def test_with_the_optional_manifest_nodes_and_what_all_pods_hold_are_seen(lab: Lab) -> None:
    text = NODES.read_text().replace("namespace: collegium-jobs", f"namespace: {lab.namespace}")
    things = list(yaml.safe_load_all(text))
    for thing in things:
        lab.kube.ask(PATHS[thing["kind"]], thing)
    try:
        backend = lab.backend()
        work = lab.work(cpus_per_node=1)
        lab.send(backend, work, "while [ ! -e go ]; do sleep 0.1; done")
        until(backend, work, "started")
        found = wait_for(lambda: next((s for s in [backend.load()] if s.rooms[0].nodes), None), 30, "nodes being seen")
        (node,) = lab.kube.ask("/api/v1/nodes")["items"]
        (room,) = found.rooms
        assert (room.name, room.nodes, room.idle_nodes) == ("nodes", 1, 0)
        assert room.cpus == float(node["status"]["allocatable"]["cpu"])
        assert room.cpus_taken is not None and room.cpus_taken >= 1 and found.said == ""
        assert room.memory_taken_bytes is not None and room.memory_bytes is not None
        assert 64 << 20 <= room.memory_taken_bytes < room.memory_bytes
        (lab.run_folder(work) / "work" / "go").touch()
        until(backend, work, "ended")
    finally:
        for thing in things:
            lab.kube.ask(f"{PATHS[thing['kind']]}/{thing['metadata']['name']}", None, "DELETE")
