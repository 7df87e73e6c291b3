"""How busy a Kubernetes cluster is: what its nodes have to give, and what pods hold of it by their requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from hub.jobs.port import Load, Room

Object = Mapping[str, Any]

NO_NODES = "The hub's account may not see the cluster's nodes (deploy/kubernetes/nodes.yaml would let it)"
ONLY_OURS = "what is taken is what pods of its own namespace hold"


def load(namespace: str, nodes: Sequence[Object] | None, pods: Sequence[Object], *, whole: bool, at: float) -> Load:
    """Out of the nodes, None where they may not be seen, and the pods: of all namespaces (`whole`), or of its own."""
    alive = [pod for pod in pods if pod.get("status", {}).get("phase") in ("Pending", "Running")]
    placed = [pod for pod in alive if pod.get("spec", {}).get("nodeName")]
    cpus, memory = held(placed, "cpu"), int(held(placed, "memory"))
    waiting = len(alive) - len(placed)
    if nodes is None:
        room = Room(name=f"namespace {namespace}", cpus_taken=cpus, memory_taken_bytes=memory)
        return Load(rooms=(room,), waiting=waiting, said=f"{NO_NODES}; {ONLY_OURS}.", told_at=at)
    able = [node for node in nodes if takes_work(node)]
    said = [] if whole else [f"{ONLY_OURS[0].upper()}{ONLY_OURS[1:]}."]
    if lacking := len(nodes) - len(able):
        said.append(f"{lacking} of {len(nodes)} nodes {'takes' if lacking == 1 else 'take'} no work now.")
    busy = {pod["spec"]["nodeName"] for pod in placed}
    room = Room(
        name="nodes",
        nodes=len(able),
        idle_nodes=sum(node["metadata"]["name"] not in busy for node in able) if whole else None,
        cpus=sum(_given(node, "cpu") for node in able),
        cpus_taken=cpus,
        memory_bytes=int(sum(_given(node, "memory") for node in able)),
        memory_taken_bytes=memory,
    )
    return Load(rooms=(room,), waiting=waiting, said=" ".join(said), told_at=at)


def held(pods: Iterable[Object], kind: str) -> float:
    """What the containers of these pods requested, in cores or bytes."""
    return sum(
        amount(((each.get("resources") or {}).get("requests") or {}).get(kind))
        for pod in pods
        for each in pod.get("spec", {}).get("containers") or []
    )


def takes_work(node: Object) -> bool:
    """Whether pods are sent to it."""
    ready = any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in node.get("status", {}).get("conditions") or []
    )
    return ready and not node.get("spec", {}).get("unschedulable")


def _given(node: Object, kind: str) -> float:
    return amount((node.get("status", {}).get("allocatable") or {}).get(kind))


def amount(said: object) -> float:
    """`500m`, `2`, `128Mi` in cores or bytes; 0 for what is not said or cannot be read."""
    try:
        return float(parse_quantity(said)) if said is not None else 0.0
    except (ValueError, ArithmeticError):
        return 0.0
