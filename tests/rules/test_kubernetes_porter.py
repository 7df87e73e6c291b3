"""One porter at a time: what is on its way is waited for, what ended or is stuck is replaced, what is hopeless goes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from hub.jobs.backends import kubernetes_rules as rules
from hub.jobs.backends import porter as module
from hub.jobs.backends.kubernetes_rules import Cluster
from hub.jobs.backends.porter import Porter, PorterAway

CLUSTER = Cluster(namespace="n", claim="c", porter_image="busybox@sha256:" + "a" * 64)
FAILED = {"conditions": [{"type": "Failed", "status": "True"}]}
PULLING = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}
HOPELESS = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "InvalidImageName"}}}]}
READY = {"phase": "Running", "containerStatuses": [{"ready": True, "state": {"running": {}}}]}


class Server:
    """A namespace with porters in it; `after` says what becomes of a Job's pod each time somebody has waited."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.made: list[str] = []
        self.gone: list[str] = []
        self.after: Callable[[], None] = lambda: None

    def job(self, name: str, cluster: Cluster = CLUSTER, age_seconds: float = 1.0) -> str:
        born = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_seconds)
        made = rules.porter(name, "hub", cluster)
        made["metadata"] |= {"uid": f"u-{name}", "creationTimestamp": born.isoformat()}
        self.jobs[name] = made
        return name

    def pod(self, job: str, status: dict[str, Any]) -> None:
        head = {"name": f"{job}-x", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"job-name": job}}
        self.pods[job] = {"metadata": head, "status": status, "spec": {"nodeName": "n"}}

    def items(self, kind: str, labelSelector: str) -> tuple[list[dict[str, Any]], str]:
        if kind == "jobs":
            return list(self.jobs.values()), "1"
        _, _, job = labelSelector.partition("job-name=")
        return [pod for name, pod in self.pods.items() if not job or name == job], "1"

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.jobs.get(name)

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        name = str(body["metadata"]["name"])
        self.made.append(name)
        self.job(name)
        return self.jobs[name]

    def delete(self, kind: str, name: str, uid: str) -> None:
        assert uid == f"u-{name}"
        self.gone.append(name)
        self.jobs.pop(name), self.pods.pop(name, None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(module.time, "sleep", lambda _: found.after())
    return found


def pod_of(server: Server) -> str:
    now = iter(range(10_000))
    return Porter(server, "hub", CLUSTER, lambda: float(next(now)))._ready()  # type: ignore[arg-type]


def test_one_that_is_on_its_way_is_waited_for(server: Server) -> None:
    coming = server.job("coming")
    server.pod(coming, PULLING)
    server.after = lambda: server.pod(coming, READY)
    assert pod_of(server) == "coming-x"
    assert server.made == server.gone == []


def test_one_that_fails_while_it_is_waited_for_is_replaced_at_once(server: Server) -> None:
    coming = server.job("coming")
    server.jobs[coming]["status"] = {}

    def then() -> None:
        server.jobs[coming]["status"] = FAILED
        for name in server.made:
            server.pod(name, READY)

    server.after = then
    assert pod_of(server) == f"{server.made[0]}-x"
    assert len(server.made) == 1


@pytest.mark.parametrize(
    ("cluster", "age"),
    [(CLUSTER, 3600.0), (Cluster(namespace="n", claim="other", porter_image=CLUSTER.porter_image), 1.0)],
)
def test_one_that_is_stuck_or_was_described_otherwise_is_removed(server: Server, cluster: Cluster, age: float) -> None:
    old = server.job("old", cluster, age)
    server.pod(old, PULLING)
    server.after = lambda: server.pod(server.made[0], READY)
    assert pod_of(server) == f"{server.made[0]}-x"
    assert server.gone == [old]


def test_one_whose_image_can_never_be_had_does_not_go_on_trying(server: Server) -> None:
    server.after = lambda: server.pod(server.made[0], HOPELESS)
    with pytest.raises(PorterAway, match="image cannot be had"):
        pod_of(server)
    assert server.gone == server.made and not server.jobs


def test_one_that_ends_before_it_was_of_use_is_told_and_not_made_again_and_again(server: Server) -> None:
    def then() -> None:
        server.jobs[server.made[0]]["status"] = FAILED

    server.after = then
    with pytest.raises(PorterAway, match="ended before it was of use"):
        pod_of(server)
    assert len(server.made) == 1


def test_one_that_does_not_come_says_what_it_waits_for(server: Server) -> None:
    server.after = lambda: server.pod(server.made[0], PULLING)
    with pytest.raises(PorterAway, match=r"did not start within 120 s\. A node has taken it"):
        pod_of(server)
