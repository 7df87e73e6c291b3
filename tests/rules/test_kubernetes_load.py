"""How busy a Kubernetes cluster is, by what its account may see; what it may not see is said and not guessed."""

from __future__ import annotations

from typing import Any

from hub.jobs.backends import kubernetes_load
from hub.jobs.port import Room


def node(name: str, *, ready: bool = True, cordoned: bool = False) -> dict[str, Any]:
    status = {
        "allocatable": {"cpu": "3500m", "memory": "8Gi"},
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }
    return {"metadata": {"name": name}, "spec": {"unschedulable": cordoned}, "status": status}


def pod(phase: str = "Running", on: str | None = "n1", cpu: str = "500m", memory: str = "1Gi") -> dict[str, Any]:
    containers = [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}, {"resources": {}}, {}]
    return {"spec": {"containers": containers, **({"nodeName": on} if on else {})}, "status": {"phase": phase}}


PODS = [pod(), pod(cpu="2", memory="1000M"), pod("Succeeded"), pod("Pending", None), pod("Failed", None)]
MEMORY = (1 << 30) + 10**9


def test_nodes_that_take_work_are_counted_with_what_pods_hold_of_them() -> None:
    nodes = [node("n1"), node("n2"), node("n3", ready=False), node("n4", cordoned=True)]
    found = kubernetes_load.load("jobs", nodes, PODS, whole=True, at=5.0)
    assert found.rooms == (
        Room(
            name="nodes", nodes=2, idle_nodes=1, cpus=7.0, cpus_taken=2.5, memory_bytes=16 << 30,
            memory_taken_bytes=MEMORY,
        ),
    )  # fmt: skip
    assert (found.waiting, found.told_at) == (1, 5.0)
    assert found.said == "2 of 4 nodes take no work now."


def test_without_a_look_at_other_namespaces_no_node_is_called_idle() -> None:
    found = kubernetes_load.load("jobs", [node("n1")], PODS, whole=False, at=5.0)
    assert found.rooms[0].idle_nodes is None and found.rooms[0].nodes == 1
    assert found.said == "What is taken is what pods of its own namespace hold."


def test_without_a_look_at_the_nodes_only_what_its_own_namespace_holds_is_told() -> None:
    found = kubernetes_load.load("jobs", None, PODS, whole=False, at=5.0)
    assert found.rooms == (Room(name="namespace jobs", cpus_taken=2.5, memory_taken_bytes=MEMORY),)
    assert "may not see the cluster's nodes" in found.said and found.waiting == 1


def test_amounts_that_cannot_be_read_count_as_nothing() -> None:
    odd = [pod(cpu="many", memory=""), {"spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}]
    assert kubernetes_load.load("jobs", None, odd, whole=False, at=5.0).rooms[0].cpus_taken == 0
