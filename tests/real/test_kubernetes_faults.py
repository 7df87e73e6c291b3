"""Whatever is lost on the way, a run on Kubernetes happens once, and its end is told once it can be known."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.jobs import rules
from hub.jobs.backends.kubernetes_api import ClusterAway, Refused
from hub.jobs.backends.kubernetes_rules import Work, job_name
from hub.jobs.port import Observation
from tests.real.fault_proxy import FaultProxy
from tests.real.kube_lab import Lab, archive, until, whole_log
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

COUNT = "echo run >> count; sleep 1"


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    made = FaultProxy(lab.kube.authority, lab.kube.ports["api"])
    yield made
    made.close()


def ran(lab: Lab, work: Work) -> int:
    """How often the program was started."""
    return len((lab.run_folder(work) / "work" / "count").read_text().split())


def event(seen: Observation) -> str:
    assert seen.exit is not None
    return rules.outcome(seen.exit).event


def of(lab: Lab, work: Work) -> list[str]:
    return [each["metadata"]["uid"] for each in lab.jobs() if each["metadata"]["labels"]["collegium/job"] == work.job]


def test_a_create_whose_answer_is_lost_is_found_and_not_made_again(lab: Lab, proxy: FaultProxy) -> None:
    backend = lab.backend(proxy.url)
    fault = proxy.add("lose_answer", "POST", "/jobs", times=1)
    # The porter is also a Job: have it made before.
    proxy.faults.clear()
    work = lab.work()
    backend.porter.folder(work.job, work.run)
    proxy.faults.append(fault)
    there = lab.send(backend, work, COUNT)
    assert fault.happened == 1
    assert of(lab, work) == [there.native]
    assert event(until(backend, work, "ended")) == "succeeded"
    assert ran(lab, work) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_create_that_was_answered_with_a_failure_is_tried_again_under_the_same_name(
    lab: Lab, proxy: FaultProxy, status: int
) -> None:
    backend = lab.backend(proxy.url)
    work = lab.work()
    backend.porter.folder(work.job, work.run)
    proxy.add("answer", "POST", "/jobs", status=status, body='{"message": "not now"}')
    if status == 429:
        # Certain: nothing was made; whoever asked asks again.
        with pytest.raises(ClusterAway):
            lab.send(backend, work, COUNT)
    assert lab.send(backend, work, COUNT).native
    assert event(until(backend, work, "ended")) == "succeeded"
    assert ran(lab, work) == 1 and len(of(lab, work)) == 1


def test_a_submission_repeated_by_anybody_at_any_time_is_one_run(lab: Lab) -> None:
    one, other = lab.backend(), lab.backend()
    work = lab.work()
    first = lab.send(one, work, COUNT)
    assert lab.send(other, work, COUNT) == first
    assert event(until(other, work, "ended")) == "succeeded"
    assert lab.send(one, work, COUNT) == first
    assert ran(lab, work) == 1 and of(lab, work) == [first.native]


def test_an_array_whose_answer_is_lost_is_one_job_of_which_each_task_runs_once(lab: Lab, proxy: FaultProxy) -> None:
    first, other = lab.backend(proxy.url), lab.backend()
    work = lab.work(array="2,4,9%2")
    first.porter.folder(work.job, work.run)
    fault = proxy.add("lose_answer", "POST", "/jobs", times=1)
    script = "echo run >> count.$SLURM_ARRAY_TASK_ID; sleep 1"
    there = lab.send(first, work, script, tasks=work.tasks)
    assert fault.happened == 1 and of(lab, work) == [there.native]
    assert lab.send(other, work, script, tasks=work.tasks) == there
    assert event(until(first, work, "ended")) == "succeeded"
    assert event(until(other, work, "ended")) == "succeeded"
    assert lab.send(other, work, script, tasks=work.tasks) == there
    made = lab.run_folder(work) / "work"
    assert {each.name: each.read_text() for each in made.glob("count.*")} == {f"count.{n}": "run\n" for n in (2, 4, 9)}
    assert of(lab, work) == [there.native]


def test_a_task_whose_pod_is_deleted_is_not_run_again_and_the_others_run_on(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work(array="0-1")
    script = "echo run >> count.$SLURM_ARRAY_TASK_ID\nwhile [ ! -e go ] ; do sleep 0.1; done\n"
    lab.send(backend, work, script, tasks=work.tasks)
    made = lab.run_folder(work) / "work"
    # The node may have room for one of them only.
    (first, *_) = wait_for(lambda: sorted(made.glob("count.*")) or None, 60, "a task running")
    number = first.suffix.removeprefix(".")
    place = "batch.kubernetes.io/job-completion-index"
    (pod,) = [
        each
        for each in lab.pods()
        if each["metadata"]["labels"]["collegium/job"] == work.job and each["metadata"]["annotations"][place] == number
    ]
    lab.kube.ask(f"/api/v1/namespaces/{lab.namespace}/pods/{pod['metadata']['name']}", None, "DELETE")
    wait_for(lambda: (lab.run_folder(work) / f"end.{number}").exists() or None, 60, "the deleted task's end")
    wait_for(lambda: len(list(made.glob("count.*"))) == 2 or None, 60, "the other task running")
    until(backend, work, "started")
    (made / "go").touch()
    seen = until(backend, work, "ended")
    assert (event(seen), seen.exit and seen.exit.detail) == ("node_failed", "its pod was deleted on the cluster")
    assert {each.name: each.read_text() for each in made.glob("count.*")} == {f"count.{n}": "run\n" for n in (0, 1)}


def test_an_agent_killed_between_create_and_answer_leaves_one_job_for_the_next(lab: Lab, proxy: FaultProxy) -> None:
    after = lab.backend()
    work = lab.work()
    after.porter.folder(work.job, work.run)
    hang = proxy.add("hang", "POST", "/jobs")
    config = lab.kube.token_config("killed", lab.token, proxy.url)
    laid = archive(lab.folder, COUNT, {})
    program = f"""
        from pathlib import Path
        from hub.jobs.backends.kubernetes import KubernetesBackend
        from hub.jobs.backends.kubernetes_api import Api, configuration
        from hub.jobs.backends.kubernetes_rules import Cluster, Work
        from hub.jobs.requests import Resources
        cluster = Cluster(namespace={lab.namespace!r}, claim="workspace", porter_image={lab.kube.image!r},
                          image={lab.kube.image!r}, grace_seconds=3)
        api = Api(configuration(Path({str(config)!r})), {lab.namespace!r})
        work = Work(job={work.job!r}, run=1, name="a job", resources=Resources(memory="64M", time="10"))
        KubernetesBackend(api, {lab.hub!r}, cluster).submit(work, Path({str(laid)!r}))
    """
    agent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=Path(__file__).parents[2])
    try:
        wait_for(lambda: hang.happened or None, 60, "the create being done")
        os.kill(agent.pid, signal.SIGKILL)
    finally:
        agent.kill()
        agent.wait()
    (made,) = of(lab, work)
    assert after.submit(work, laid).native == made
    assert event(until(after, work, "ended")) == "succeeded"
    assert ran(lab, work) == 1 and of(lab, work) == [made]


def test_a_job_under_the_runs_name_that_is_not_ours_is_neither_adopted_nor_touched(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work()
    name = job_name(lab.hub, work.job, work.run)
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": "c", "image": lab.kube.image, "command": ["sleep", "60"]}
    container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {"restartPolicy": "Never", "containers": [container], "securityContext": security}
    theirs = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": pod}}}
    lab.kube.ask(f"/apis/batch/v1/namespaces/{lab.namespace}/jobs", theirs)
    there = lab.send(backend, work, COUNT)
    assert not there.native and "somebody else's Job" in there.refusal
    backend.cancel(work.job, work.run)
    found = lab.kube.ask(f"/apis/batch/v1/namespaces/{lab.namespace}/jobs/{name}")
    assert not found["spec"].get("suspend")
    assert backend.observe(work.job, work.run).sight == "nothing"


# --- behind our back


def delete(lab: Lab, kind: str, name: str, *, seconds: int | None = None) -> None:
    group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
    body: dict[str, object] = {"propagationPolicy": "Background"}
    body |= {} if seconds is None else {"gracePeriodSeconds": seconds}
    lab.kube.ask(f"{group}/namespaces/{lab.namespace}/{kind}/{name}", body, "DELETE")


def pod_of(lab: Lab, work: Work) -> str:
    mine = [each for each in lab.pods() if each["metadata"]["labels"]["collegium/job"] == work.job]
    return str(mine[0]["metadata"]["name"])


LONG = "echo run >> count; echo here; sleep 120"


def test_a_pod_deleted_behind_our_back_is_told_and_not_run_again(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, LONG)
    until(backend, work, "started")
    delete(lab, "pods", pod_of(lab, work))
    seen = until(backend, work, "ended")
    assert seen.exit is not None and seen.exit.reason == "interrupted"
    assert "its pod was deleted on the cluster" in rules.outcome(seen.exit).sentence
    assert ran(lab, work) == 1
    assert whole_log(backend, work) == b"here\n"


def test_a_pod_put_out_by_the_clusters_administrator_says_so(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, LONG)
    until(backend, work, "started")
    name = pod_of(lab, work)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": lab.namespace}}
    lab.kube.ask(f"/api/v1/namespaces/{lab.namespace}/pods/{name}/eviction", eviction)
    seen = until(backend, work, "ended")
    assert seen.exit is not None
    assert rules.outcome(seen.exit).event == "node_failed"
    assert "its node is being emptied" in rules.outcome(seen.exit).sentence
    assert ran(lab, work) == 1


def test_a_job_deleted_behind_our_back_is_told_with_its_log(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, LONG)
    until(backend, work, "started")
    delete(lab, "jobs", job_name(lab.hub, work.job, work.run))
    seen = until(backend, work, "ended")
    assert seen.exit is not None and seen.exit.reason == "interrupted"
    assert whole_log(backend, work) == b"here\n"
    # Somebody who still holds the old order cannot have it run a second time.
    assert lab.send(backend, work, LONG).native
    assert of(lab, work) == [] and ran(lab, work) == 1


def test_an_end_that_nobody_saw_is_found_in_the_workspace(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, COUNT)
    wait_for(lambda: True if (lab.run_folder(work) / "end").exists() else None, 60, "its end")
    delete(lab, "jobs", job_name(lab.hub, work.job, work.run))
    wait_for(lambda: None if of(lab, work) else True, 30, "the Job being gone")
    late = lab.backend()
    assert event(until(late, work, "ended")) == "succeeded"


def test_a_job_deleted_before_its_pod_began_never_ran_and_never_will(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work(cpus_per_node=64)
    lab.send(backend, work, COUNT)
    delete(lab, "jobs", job_name(lab.hub, work.job, work.run))
    until(backend, work, "never_ran")
    assert (lab.run_folder(work) / "run.lock" / "pod").read_text() == "nobody\n"


def test_a_porter_that_goes_is_replaced(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, COUNT)
    until(backend, work, "ended")
    for each in lab.pods("porter"):
        delete(lab, "pods", each["metadata"]["name"], seconds=0)
    assert wait_for(lambda: _folder(backend, work), 120, "another porter").end is not None


def _folder(backend, work):  # type: ignore[no-untyped-def]
    try:
        return backend.porter.folder(work.job, work.run)
    except ClusterAway:
        return None


# --- the watch


def test_a_cluster_that_is_away_says_nothing_of_a_job_and_all_of_it_afterwards(lab: Lab, proxy: FaultProxy) -> None:
    backend = lab.backend(proxy.url)
    work = lab.work()
    lab.send(backend, work, "echo run >> count; while [ ! -e go ]; do sleep 0.1; done")
    until(backend, work, "started")
    proxy.down = True
    proxy.cut()
    (lab.run_folder(work) / "work" / "go").touch()
    wait_for(lambda: True if (lab.run_folder(work) / "end").exists() else None, 60, "its end")
    assert backend.observe(work.job, work.run).sight == "started"
    proxy.down = False
    assert event(until(backend, work, "ended")) == "succeeded"
    assert ran(lab, work) == 1


def test_a_watch_that_breaks_off_in_mid_event_goes_on_where_it_was(lab: Lab, proxy: FaultProxy) -> None:
    backend = lab.backend(proxy.url)
    breaks = [proxy.add("break_off", "GET", f"/{kind}?", times=3) for kind in ("jobs", "pods")]
    for each in breaks:
        each.path = "watch=true"
    work = lab.work()
    lab.send(backend, work, COUNT)
    assert event(until(backend, work, "ended")) == "succeeded"
    assert sum(each.happened for each in breaks) > 0


def test_what_the_server_has_forgotten_is_listed_again(lab: Lab, proxy: FaultProxy) -> None:
    backend = lab.backend(proxy.url)
    work = lab.work()
    lab.send(backend, work, COUNT)
    until(backend, work, "started", "ended")
    # Whichever of the two is answered so asks for a list again: which one takes the answers is not ours to say.
    before = backend.mirror.jobs.lists + backend.mirror.pods.lists
    gone = '{"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}\n'
    expired = proxy.add("answer", "GET", "watch=true", times=2, status=200, body=gone)
    refused = proxy.add("answer", "GET", "watch=true", times=2, status=410, body='{"message": "too old"}')
    proxy.cut()
    wait_for(lambda: True if expired.happened + refused.happened == 4 else None, 60, "the watch being refused")
    lists = lambda: backend.mirror.jobs.lists + backend.mirror.pods.lists  # noqa: E731
    wait_for(lambda: True if lists() > before else None, 60, "another list")
    assert event(until(backend, work, "ended")) == "succeeded"


def test_after_a_compaction_and_a_restart_of_the_server_the_mirror_is_right_again(lab: Lab, proxy: FaultProxy) -> None:
    backend = lab.backend(proxy.url)
    work, other = lab.work(), lab.work()
    lab.send(backend, work, "echo run >> count; while [ ! -e go ]; do sleep 0.1; done")
    until(backend, work, "started")
    before, version = backend.mirror.jobs.lists, backend.mirror.jobs._version
    proxy.down = True
    proxy.cut()
    lab.send(lab.backend(), other, COUNT)
    (lab.run_folder(work) / "work" / "go").touch()
    wait_for(lambda: True if (lab.run_folder(work) / "end").exists() else None, 60, "its end")
    lab.kube.compact()
    lab.kube.end("api", hard=True)
    lab.kube.start_api()
    with pytest.raises(Refused, match="too old") as gone:
        # From where the mirror was, the server really knows nothing any more.
        list(lab.api().watch("jobs", version, 5))
    assert gone.value.status == 410
    proxy.down = False
    assert event(until(backend, work, "ended")) == "succeeded"
    assert event(until(backend, other, "ended")) == "succeeded"
    wait_for(lambda: True if backend.mirror.jobs.lists > before else None, 60, "another list")
    assert ran(lab, work) == ran(lab, other) == 1


@pytest.mark.parametrize("seed", range(3))
def test_whatever_goes_wrong_in_whatever_order_each_run_happens_once(lab: Lab, proxy: FaultProxy, seed: int) -> None:
    """Submissions through a connection that fails at every turn, each repeated until it is known what became of it."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    works = [lab.work() for _ in range(4)]
    steady = lab.backend()
    steady.porter.folder(works[0].job, 1)
    for _ in range(12):
        method = chance.choice(["GET", "GET", "POST"])
        path = {"GET": chance.choice(["/jobs", "/pods", "/exec"]), "POST": "/jobs"}[method]
        kind = chance.choice(["lose_answer", "refuse", "break_off", "answer"])
        if path == "/exec" and kind == "lose_answer":
            kind = "break_off"
        proxy.add(kind, method, path, status=chance.choice([429, 500, 502, 503, 504]), body="{}")
    backend = lab.backend(proxy.url)
    laid = archive(lab.folder, COUNT, {})

    def submitted(work: Work) -> str | None:
        if chance.random() < 0.2:
            proxy.cut()
        with contextlib.suppress(ClusterAway):
            there = backend.submit(work, laid)
            assert not there.refusal, there
            return there.native or None
        return None

    for work in works:
        native = wait_for(lambda work=work: submitted(work), 120, "its submission")
        assert of(lab, work) == [native]
    proxy.faults.clear()
    for work in works:
        assert event(until(steady, work, "ended")) == "succeeded"
        assert ran(lab, work) == 1 and len(of(lab, work)) == 1
