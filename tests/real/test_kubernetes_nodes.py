"""Nodes that fall silent, pods taken away by force, and what a cluster clears away before anybody looked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.jobs import rules
from hub.jobs.backends.kubernetes import KubernetesBackend
from hub.jobs.backends.kubernetes_rules import Work, job_name, short
from hub.jobs.port import Observation
from tests.real.kube_box import KubeBox
from tests.real.kube_lab import Lab, until, whole_log
from tests.real.kube_world import World, world
from tests.waiting import wait_for

__all__ = ["world"]  # a fixture

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SMALL = {"memory": "64M", "time": "10"}
COUNTS = "#!/bin/sh\necho run >> count; echo here\nwhile [ ! -e go ]; do sleep 0.1; done\necho done\n"


@pytest.fixture
def impatient(kube: KubeBox) -> Iterator[None]:
    """Those who look after nodes and old pods wait for seconds instead of minutes, or for thousands of pods."""
    kube.end("controllers")
    kube.start_controllers("--node-monitor-grace-period=25s", "--terminated-pod-gc-threshold=1")
    yield
    kube.end("controllers")
    kube.start_controllers()


@pytest.fixture
def silent(kube: KubeBox) -> Iterator[None]:
    """After the test the node speaks again, if it was silenced."""
    yield
    if "kubelet" not in kube.running:
        kube.start_kubelet()


def made(world: World, job: str) -> Path:
    """Where the job's program works."""
    return world.lab.volume / short(world.agent.backend.hub) / "jobs" / job / "1" / "work"


def pod_of(lab: Lab, job: str) -> str:
    (pod,) = [each for each in lab.pods() if each["metadata"]["labels"]["collegium/job"] == job]
    return str(pod["metadata"]["name"])


def deleted_by_force(lab: Lab, job: str) -> None:
    path = f"/api/v1/namespaces/{lab.namespace}/pods/{pod_of(lab, job)}"
    lab.kube.ask(path, {"gracePeriodSeconds": 0}, "DELETE")


def said(seen: Observation) -> tuple[str, str]:
    assert seen.exit is not None, seen
    found = rules.outcome(seen.exit)
    return found.event, found.sentence


def test_a_job_on_a_node_that_falls_silent_says_so_and_is_the_same_job_when_the_node_is_back(
    world: World, kube: KubeBox, impatient: None, silent: None
) -> None:
    async def story() -> None:
        job = world.submit(COUNTS, resources=SMALL)
        await world.until(lambda: world.job(job).state == "RUNNING" and world.log(job) == b"here\n")
        kube.end("kubelet", hard=True)
        await world.until(lambda: "node does not answer" in world.job(job).reason, 150)
        assert world.job(job).state == "RUNNING"
        # It runs on, whoever sees it.
        (made(world, job) / "go").touch()
        await world.until((made(world, job).parent / "end").exists)
        assert world.job(job).state == "RUNNING"
        # Somebody else takes over meanwhile, who knows no more.
        await world.agent.close()
        world.agent = world.new_agent("agent-1")
        kube.start_kubelet()
        await world.until(world.over(job))
        assert (world.job(job).state, world.job(job).reason) == ("SUCCEEDED", "Finished.")
        assert world.log(job) == b"here\ndone\n"
        assert {each.path for each in world.job(job).outputs} >= {"count"}

    world.play(story)


def test_the_words_of_a_silent_node_go_when_it_is_back(
    world: World, kube: KubeBox, impatient: None, silent: None
) -> None:
    async def story() -> None:
        job = world.submit(COUNTS, resources=SMALL)
        await world.until(lambda: world.job(job).state == "RUNNING")
        kube.end("kubelet", hard=True)
        await world.until(lambda: "node does not answer" in world.job(job).reason, 150)
        kube.start_kubelet()
        await world.until(lambda: world.job(job).reason == "Running.", 150)
        assert (made(world, job) / "count").read_text() == "run\n"
        world.perform(world.actor, "job_cancel", job=job)
        await world.until(world.over(job))

    world.play(story)


SAYS_SO = "echo run >> count; trap 'sleep 2; echo asked; exit' TERM\necho here\nwhile :; do sleep 0.1; done"


def test_a_pod_deleted_by_force_is_told_as_that_and_not_as_a_program_that_was_killed(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, SAYS_SO)
    wait_for(lambda: _first_words(backend, work), 60, "its first words")
    deleted_by_force(lab, work.job)
    event, sentence = said(until(backend, work, "ended", "lost"))
    assert event == "node_failed" and "its pod was deleted on the cluster" in sentence
    assert whole_log(backend, work).startswith(b"here\n")
    assert (lab.run_folder(work) / "work" / "count").read_text() == "run\n"


def _first_words(backend: KubernetesBackend, work: Work) -> bytes | None:
    until(backend, work, "started")
    return backend.read_log(work.job, 1, 0) or None


def test_a_pod_that_is_torn_out_of_the_cluster_is_not_called_lost_while_its_last_words_may_come(lab: Lab) -> None:
    """Its object goes at once, with what would have kept it until somebody counted it; its program ends later."""
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, "echo run >> count; trap 'exit' TERM\necho here\nwhile :; do sleep 0.1; done")
    wait_for(lambda: _first_words(backend, work), 60, "its first words")
    path = f"/api/v1/namespaces/{lab.namespace}/pods/{pod_of(lab, work.job)}"
    lab.kube.ask(path, {"metadata": {"finalizers": None}}, "PATCH")
    deleted_by_force(lab, work.job)
    seen = until(backend, work, "ended", "lost")
    # The node gives it two seconds, in which a busy machine may not come to it.
    assert (seen.sight == "ended") is (lab.run_folder(work) / "end").exists()
    if seen.sight == "ended":
        event, sentence = said(seen)
        assert event == "node_failed" and "its pod was deleted on the cluster" in sentence
    assert (lab.run_folder(work) / "work" / "count").read_text() == "run\n"


def test_a_pod_deleted_by_force_while_its_node_is_silent_is_told_of_once_the_node_is_back(
    lab: Lab, kube: KubeBox, silent: None
) -> None:
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, SAYS_SO)
    until(backend, work, "started")
    kube.end("kubelet", hard=True)
    deleted_by_force(lab, work.job)
    # Nobody knows whether it still runs, and nothing is claimed.
    with pytest.raises(AssertionError, match="not within"):
        until(backend, work, "ended", "lost", "never_ran", "nothing", "again", seconds=8)
    kube.start_kubelet()
    event, sentence = said(until(backend, work, "ended", "lost", seconds=150))
    assert event == "node_failed" and "its pod was deleted on the cluster" in sentence
    # Whoever still holds the order cannot have it run again.
    assert lab.send(backend, work, "echo run >> count").native
    assert (lab.run_folder(work) / "work" / "count").read_text() == "run\n"


def test_a_finished_pod_that_the_cluster_cleared_away_before_anybody_looked_has_its_end_and_its_log(
    lab: Lab, impatient: None
) -> None:
    sender = lab.backend()
    works = [lab.work() for _ in range(3)]
    for work in works:
        lab.send(sender, work, f"echo said by {work.job}; exit 4")
    for work in works:
        wait_for((lambda work=work: (lab.run_folder(work) / "end").exists() or None), 90, "its end")
    # The cluster's own collector keeps one pod that is over, in all namespaces together.
    left = lambda: [each for each in lab.pods() if each["metadata"]["labels"]["collegium/job"] in jobs]  # noqa: E731
    jobs = {work.job for work in works}
    wait_for(lambda: len(left()) <= 1 or None, 120, "pods being collected")
    late = lab.backend()
    for work in works:
        assert said(until(late, work, "ended")) == ("failed", "The program ended with exit code 4.")
        assert whole_log(late, work) == f"said by {work.job}\n".encode()


def test_a_job_that_a_more_urgent_one_pushes_aside_says_so_and_is_not_run_again(lab: Lab) -> None:
    node = lab.kube.ask(f"/api/v1/nodes/{lab.kube.node}")
    urgent = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}}
    lab.kube.ask("/apis/scheduling.k8s.io/v1/priorityclasses", {**urgent, "value": 1000})
    backend = lab.backend()
    work = lab.work(cpus_per_node=1)
    lab.send(backend, work, "echo run >> count; while :; do sleep 0.1; done")
    until(backend, work, "started")
    # So much that there is no room beside it.
    wants = f"{int(float(node['status']['allocatable']['cpu']) * 1000) - 500}m"
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    container: dict[str, Any] = {"name": "c", "image": lab.kube.image, "command": ["sleep", "600"]}
    container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container["resources"] = {"requests": {"cpu": wants}}
    spec = {"priorityClassName": "urgent", "restartPolicy": "Never", "securityContext": security}
    spec |= {"containers": [container], "terminationGracePeriodSeconds": 0}
    pods = f"/api/v1/namespaces/{lab.namespace}/pods"
    lab.kube.ask(pods, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "urgent"}, "spec": spec})
    try:
        event, sentence = said(until(backend, work, "ended"))
        assert event == "node_failed" and "a job of higher priority took its place" in sentence
        assert (lab.run_folder(work) / "work" / "count").read_text() == "run\n"
        assert job_name(lab.hub, work.job, 1) in {each["metadata"]["name"] for each in lab.jobs()}
    finally:
        lab.kube.ask(f"{pods}/urgent", {"gracePeriodSeconds": 0}, "DELETE")
        lab.kube.ask("/apis/scheduling.k8s.io/v1/priorityclasses/urgent", None, "DELETE")
