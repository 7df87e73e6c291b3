"""What Kubernetes says of a run is judged by what is there now; what nobody saw is said to be unknown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import rules
from hub.jobs.backends import pod_side
from hub.jobs.backends.kubernetes_rules import HELD
from hub.jobs.backends.kubernetes_sight import Verdict, finished, judge
from hub.jobs.backends.pod_side import End, Folder

WORDS = (
    "pod uid-1\ncode {code}\ngot {got}\nlate {late}\nstart 100\nend 160\noom {oom}\npeak 1048576\n"
    "times 0m1.50s 0m0.25s\nlog 12\n"
)
LOCKED = Folder(staged=True, uid="j", holder="uid-1")
FREE = Folder(staged=True, uid="j")
FAILED = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]


def words(code: int = 0, got: str = "", late: str = "", oom: int = 0) -> str:
    return WORDS.format(code=code, got=got, late=late, oom=oom)


def job(*, stopped: str = "", suspend: bool | None = None, conditions: Any = ()) -> dict[str, Any]:
    notes = {"collegium/stopped": stopped} if stopped else {}
    held = bool(stopped) if suspend is None else suspend
    metadata = {"uid": "j", "annotations": notes}
    return {"metadata": metadata, "spec": {"suspend": held}, "status": {"conditions": list(conditions)}}


def pod(phase: str = "Running", *, conditions: Any = (), node: str = "", **known: Any) -> dict[str, Any]:
    state = {name: known.pop(name) for name in ("waiting", "running", "terminated") if name in known}
    status: dict[str, Any] = {"phase": phase, "conditions": list(conditions), **known}
    if state:
        status["containerStatuses"] = [{"name": "job", "state": state}]
    return {"metadata": {"uid": "uid-1"}, "spec": {"nodeName": node} if node else {}, "status": status}


def ended(code: int = 0, message: str = "", reason: str = "", **known: Any) -> dict[str, Any]:
    said = {"exitCode": code, "message": message, "reason": reason or ("Error" if code else "Completed")}
    said |= {"startedAt": "2026-11-29T07:00:00Z", "finishedAt": "2026-11-29T07:01:00Z"}
    return pod("Failed" if code else "Succeeded", terminated=said, **known)


def sentence(verdict: Verdict) -> tuple[str, str]:
    assert verdict.seen.sight == "ended" and verdict.seen.exit is not None
    found = rules.outcome(verdict.seen.exit)
    return found.event, found.sentence


def unschedulable(why: str) -> dict[str, Any]:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}


def disrupted(reason: str) -> dict[str, Any]:
    return {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "words"}


def test_a_container_that_ran_out_of_memory_without_a_word_held_all_it_had() -> None:
    silent = ended(137, "", "OOMKilled")
    silent["spec"]["containers"] = [{"resources": {"limits": {"memory": "64M"}}}]
    found = judge(job(), [silent]).seen.exit
    assert found is not None and (found.reason, found.peak_memory_bytes) == ("memory", 64 * 10**6)


@pytest.mark.parametrize(
    ("held", "seconds", "said"),
    [
        ("300", 60, 300 << 10),  # the kernel's mark has files in it
        ("2000", 60, 1 << 20),  # what programs share is counted for each of them
        ("300", 5, 1 << 20),  # nobody looked often enough
        ("", 60, 1 << 20),
        ("x", 60, 1 << 20),
    ],
)
def test_the_memory_of_programs_is_what_they_held_and_never_more_than_the_kernels_mark(
    held: str, seconds: int, said: int
) -> None:
    told = pod_side.end(words().replace("end 160", f"end {100 + seconds}") + f"held {held}\n")
    assert told is not None and told.peak == said


def test_the_time_of_programs_is_what_the_control_group_counted_where_it_did() -> None:
    counted, uncounted = (pod_side.end(words() + f"used {used}\n") for used in ("2500000000", ""))
    assert counted is not None and counted.cpu_seconds == 2.5
    assert uncounted is not None and uncounted.cpu_seconds == 1.75


@pytest.mark.parametrize(
    ("deleted", "grace", "said"),
    [
        ("2026-11-29T07:00:59Z", 0, "interrupted"),
        ("2026-11-29T07:01:20Z", 30, "interrupted"),  # asked at 07:00:50
        ("2026-11-29T07:01:20Z", 0, "signalled"),  # it had been killed before
        ("", 0, "signalled"),
    ],
)
def test_a_program_killed_because_its_pod_was_deleted_is_told_from_one_that_was_killed(
    deleted: str, grace: int, said: str
) -> None:
    killed = ended(137)
    killed["metadata"] |= {"deletionTimestamp": deleted, "deletionGracePeriodSeconds": grace} if deleted else {}
    found = judge(job(), [killed]).seen.exit
    assert found is not None and found.reason == said
    killed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = 139
    found = judge(job(), [killed]).seen.exit
    assert found is not None and found.reason == "signalled"


def silent(**head: Any) -> dict[str, Any]:
    """A running pod, whose node has not been heard of for long."""
    seen = pod(conditions=[{"type": "Ready", "status": "False"}], node="n1", running={"startedAt": "x"})
    seen["metadata"] |= head
    return seen


def test_a_pod_whose_node_is_silent_is_said_to_run_as_far_as_anybody_knows() -> None:
    seen = judge(job(), [silent()]).seen
    assert seen.sight == "started" and seen.trouble.startswith("Its node does not answer")
    assert "given it up" in judge(job(), [silent(deletionTimestamp="2026-11-29T07:00:59Z")]).seen.trouble
    assert judge(job(stopped="cancelled"), [silent()]).seen.trouble == ""
    ready = pod(conditions=[{"type": "Ready", "status": "True"}], running={"startedAt": "x"})
    assert judge(job(), [ready]).seen.trouble == ""


# --- waiting


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (pod("Pending"), "Waiting for a node."),
        (pod("Pending", node="n1"), "A node has taken it; its image and its volumes are being brought."),
        (
            pod("Pending", node="n1", waiting={"reason": "ContainerCreating"}),
            "A node has taken it; its image and its volumes are being brought.",
        ),
        (
            pod("Pending", conditions=[unschedulable(
                "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No victims."
            )]),
            "No node can take it now: 0/3 nodes are available: 3 Insufficient cpu.",
        ),
        (
            pod("Pending", conditions=[unschedulable("")]),
            "No node can take it now: Unschedulable.",
        ),
        (
            pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
            "The cluster's own queue holds it until it is its turn.",
        ),
        (
            pod("Pending", node="n1", waiting={"reason": "ErrImagePull", "message": "dial tcp: i/o timeout"}),
            "Its image cannot be had yet, and the cluster keeps trying: dial tcp: i/o timeout.",
        ),
        (
            pod("Pending", node="n1", waiting={"reason": "ImagePullBackOff"}),
            "Its image cannot be had yet, and the cluster keeps trying: ImagePullBackOff.",
        ),
        (
            pod("Pending", node="n1", waiting={"reason": "CreateContainerConfigError", "message": "no secret\n x"}),
            "Its container cannot be made yet (CreateContainerConfigError): no secret x.",
        ),
    ],
)  # fmt: skip
def test_what_a_pod_waits_for_is_said_in_words(seen: dict[str, Any], said: str) -> None:
    verdict = judge(job(), [seen])
    assert (verdict.seen.sight, verdict.seen.detail, verdict.stop) == ("waiting", said, "")
    assert verdict.seen.native == "j"


def test_a_held_job_says_that_somebody_has_to_release_it() -> None:
    held = {"metadata": {"uid": "u", "annotations": {HELD: "yes"}}, "spec": {"suspend": True}}
    seen = judge(held, []).seen
    assert (seen.sight, seen.detail) == ("waiting", "Held back until somebody releases it.")


def test_a_job_without_a_pod_waits_for_the_cluster_or_for_its_queue() -> None:
    assert judge(job(), []).seen.detail == "The cluster has not made its pod yet."
    assert judge(job(suspend=True), []).seen.detail == "The cluster's own queue holds it until it is its turn."


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("InvalidImageName", "couldn't parse image name"),
        ("ErrImageNeverPull", ""),
        ("ErrImagePull", 'failed to resolve reference "x": x: not found'),
        ("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: x: not found'),
        ("ErrImagePull", "pull access denied, repository does not exist or may require authorization"),
        ("ErrImagePull", "unexpected status from HEAD request: 403 Forbidden"),
        ("ErrImagePull", "401 Unauthorized"),
        ("ErrImagePull", "no match for platform in manifest"),
    ],
)
def test_an_image_that_will_never_come_is_a_reason_to_stop(reason: str, message: str) -> None:
    verdict = judge(job(), [pod("Pending", node="n", waiting={"reason": reason, "message": message})])
    assert verdict.seen.sight == "waiting"
    assert verdict.stop.startswith("its image cannot be had: ")
    assert verdict.seen.detail[:-1] == verdict.stop[0].upper() + verdict.stop[1:]


def test_of_a_registrys_answer_its_own_words_are_kept() -> None:
    image = "registry.test/some/image@sha256:" + "0" * 64
    message = (
        f'Back-off pulling image "{image}": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack '
        f'image "{image}": failed to resolve reference "{image}": {image}: not found'
    )
    verdict = judge(job(), [pod("Pending", node="n", waiting={"reason": "ImagePullBackOff", "message": message})])
    assert verdict.stop == f"its image cannot be had: {image}: not found"


def test_after_it_was_stopped_for_that_the_job_fails_with_the_reason() -> None:
    stopped = job(stopped="its image cannot be had: not found")
    assert judge(stopped, [pod("Pending")]).seen.sight == "waiting"
    assert judge(stopped, []).look
    verdict = judge(stopped, [], FREE)
    assert sentence(verdict) == (
        "failed", "The program could not be started: its image cannot be had: not found.",
    )  # fmt: skip


# --- running and ending


def test_a_running_container_is_a_started_job() -> None:
    assert judge(job(), [pod(running={"startedAt": "x"})]).seen.sight == "started"
    assert judge(job(stopped="cancelled"), [pod(running={})]).seen.sight == "started"


def test_the_wrappers_last_words_are_the_end_and_what_it_took() -> None:
    verdict = judge(job(), [ended(0, words())])
    assert sentence(verdict) == ("succeeded", "Finished.")
    found = verdict.seen.exit
    assert found is not None
    assert (found.started_at, found.ended_at, found.seconds) == (100, 160, 60)
    assert (found.cpu_seconds, found.peak_memory_bytes, found.log_bytes) == (1.75, 1 << 20, 12)


MEMORY = ("ran_out_of_memory", "Ended by the hub, because it used more memory than it asked for.")


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (ended(7, words(7)), ("failed", "The program ended with exit code 7.")),
        (ended(127, words(127)), ("failed", "The program ended with exit code 127.")),
        (
            ended(96, words(96)),
            ("failed", "The program could not be started: the folder it should start in is not there."),
        ),
        (ended(139, words(139)), ("failed", "The program was killed by SIGSEGV.")),
        (ended(137, words(137, oom=1)), MEMORY),
        (ended(137, words(137), "OOMKilled"), MEMORY),
        (ended(137, "", "OOMKilled"), MEMORY),
        (ended(1, words(1), "OOMKilled"), ("failed", "The program ended with exit code 1.")),
        (ended(0, words(0), "OOMKilled"), ("succeeded", "Finished.")),
        (ended(143, words(143, "TIME", "1")), ("timed_out", "Ended by the hub, because its time ran out.")),
        (
            ended(143, words(143, "TERM")) | {},
            ("node_failed", "Ended with the machine it ran on: its pod was deleted on the cluster."),
        ),
        (
            ended(143, words(143, "TERM"), conditions=[disrupted("PreemptionByScheduler")]),
            ("node_failed", "Ended with the machine it ran on: a job of higher priority took its place."),
        ),
        (
            ended(143, words(143, "TERM"), conditions=[disrupted("Strange")]),
            ("node_failed", "Ended with the machine it ran on: words."),
        ),
        (ended(137), ("failed", "The program was killed by SIGKILL.")),
        (
            ended(137, conditions=[disrupted("DeletionByTaintManager")]),
            ("node_failed", "Ended with the machine it ran on: its node was taken out of service."),
        ),
        (
            ended(128, 'exec: "/bin/sh": stat /bin/sh: no such file or directory', "StartError"),
            (
                "failed",
                "The program could not be started: its image has no /bin/sh, by which the hub starts a program.",
            ),
        ),
        (
            ended(128, "mount: not permitted", "ContainerCannotRun"),
            ("failed", "The program could not be started: mount: not permitted."),
        ),
        (ended(5), ("failed", "The program ended with exit code 5.")),
        (ended(0), ("succeeded", "Finished.")),
    ],
)  # fmt: skip
def test_every_end_of_a_container_is_an_end_of_the_job(seen: dict[str, Any], said: tuple[str, str]) -> None:
    assert sentence(judge(job(conditions=FAILED), [seen])) == said


def failed(reason: str, message: str = "", **known: Any) -> dict[str, Any]:
    return pod("Failed", reason=reason, message=message, **known)


@pytest.mark.parametrize(
    ("seen", "event", "part"),
    [
        (
            failed("Evicted", "The node was low on resource: memory."),
            "node_failed",
            "its node put it out: The node was",
        ),
        (failed("Evicted"), "node_failed", "its node put it out: evicted."),
        (
            failed("Evicted", 'Usage of EmptyDir volume "temporary" exceeds the limit "1Mi".'),
            "failed",
            "it wrote more than a job may there",
        ),
        (
            failed("Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi."),
            "failed",
            "it wrote more than a job may there",
        ),
        (
            failed("DeadlineExceeded", waiting={"reason": "ErrImagePull", "message": "i/o timeout"}),
            "failed",
            "could not be started: it did not come so far in the time it had; its image cannot be had yet",
        ),
    ],
)
def test_a_pod_that_was_put_out_says_why(seen: dict[str, Any], event: str, part: str) -> None:
    found, said = sentence(judge(job(conditions=FAILED), [seen]))
    assert found == event and part in said


@pytest.mark.parametrize("message", [words(143, "TERM"), ""])
def test_a_pod_beyond_its_deadline_timed_out(message: str) -> None:
    seen = ended(143 if message else 137, message)
    seen["status"]["reason"] = "DeadlineExceeded"
    assert sentence(judge(job(conditions=FAILED), [seen]))[0] == "timed_out"


def test_a_pod_that_its_node_turned_away_never_ran() -> None:
    verdict = judge(job(conditions=FAILED), [failed("OutOfcpu", "Node didn't have enough resource: cpu")])
    assert verdict.seen.sight == "never_ran"
    assert "Node didn't have enough resource: cpu" in verdict.seen.detail


# --- cancelling


def test_cancelled_while_it_ran_is_cancelled_and_an_end_before_that_is_that_end() -> None:
    stopped = job(stopped="cancelled")
    assert sentence(judge(stopped, [ended(143, words(143, "TERM"))])) == ("was_cancelled", "Cancelled.")
    assert sentence(judge(stopped, [ended(137)])) == ("was_cancelled", "Cancelled.")
    assert sentence(judge(stopped, [ended(3, words(3))])) == ("failed", "The program ended with exit code 3.")
    assert judge(stopped, []).look
    told = Folder(staged=True, uid="j", holder="uid-1", end=pod_side.end(words(143, "TERM")))
    assert sentence(judge(stopped, [], told)) == ("was_cancelled", "Cancelled.")
    assert sentence(judge(stopped, [], LOCKED)) == ("was_cancelled", "Cancelled.")


def test_cancelled_before_it_ran_never_ran() -> None:
    assert judge(job(stopped="cancelled"), [], FREE).seen.sight == "never_ran"
    assert judge(job(stopped="cancelled"), [pod("Pending")]).seen.sight == "waiting"


def test_somebody_elses_suspension_cancels_nothing() -> None:
    assert judge(job(suspend=True), []).seen.sight == "waiting"


# --- gone behind our back


def test_a_vanished_run_is_asked_of_its_folder_before_anything_is_said() -> None:
    for gone in (None, job(conditions=FAILED)):
        assert judge(gone, []).look and judge(gone, []).seen.sight == "nothing"


def test_a_vanished_pod_that_wrote_its_end_ended() -> None:
    told = Folder(staged=True, uid="j", holder="uid-1", end=pod_side.end(words(0)))
    for gone in (None, job(conditions=FAILED)):
        assert sentence(judge(gone, [], told)) == ("succeeded", "Finished.")


def test_a_vanished_pod_that_held_the_lock_and_wrote_no_end_is_lost() -> None:
    for gone in (None, job(conditions=FAILED)):
        verdict = judge(gone, [], LOCKED)
        assert verdict.seen.sight == "lost"
        assert "deleted on the cluster" in verdict.seen.detail


def test_what_never_took_the_lock_never_ran_once_nothing_can_any_more() -> None:
    assert judge(job(conditions=FAILED), [], FREE).seen.sight == "never_ran"
    assert judge(None, [], FREE).seen.sight == "nothing"  # a Job may still be on its way
    assert judge(None, [], Folder(staged=True, holder="nobody")).seen.sight == "never_ran"


def test_a_second_pod_that_left_as_a_duplicate_says_nothing_of_the_first() -> None:
    second = ended(97, "duplicate\n")
    assert judge(job(conditions=FAILED), [second]).look
    assert judge(job(conditions=FAILED), [second], LOCKED).seen.sight == "lost"
    assert sentence(judge(job(), [ended(0, words()), second])) == ("succeeded", "Finished.")
    mine = Folder(staged=True, uid="j", holder="uid-1", end=pod_side.end(words(143, "TERM")))
    assert sentence(judge(job(conditions=FAILED), [second], mine))[0] == "node_failed"
    # A program may end with 97 of its own accord.
    assert sentence(judge(job(), [ended(97, words(97))])) == ("failed", "The program ended with exit code 97.")


def test_a_container_of_which_the_kubelet_knows_nothing_is_asked_of_the_folder() -> None:
    unknown = ended(137, "", "ContainerStatusUnknown")
    stopped = job(stopped="its image cannot be had: not found")
    assert judge(stopped, [unknown]).look
    assert sentence(judge(stopped, [unknown], FREE))[0] == "failed"
    assert judge(job(stopped="cancelled"), [unknown], FREE).seen.sight == "never_ran"
    assert judge(job(conditions=FAILED), [unknown], LOCKED).seen.sight == "lost"
    # While the Job may still make another pod, nothing is over.
    assert judge(job(), [unknown], FREE).seen.sight == "waiting"
    assert judge(job(conditions=FAILED), [unknown], FREE).seen.sight == "never_ran"


@pytest.mark.parametrize("kind", ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"])
def test_a_job_is_over_when_one_of_its_conditions_says_so(kind: str) -> None:
    assert finished(job(conditions=[{"type": kind, "status": "True"}]))
    assert not finished(job(conditions=[{"type": kind, "status": "False"}]))
    assert not finished(job(conditions=[{"type": "Suspended", "status": "True"}]))


# --- whatever is said


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(st.text(max_size=300))
def test_last_words_that_cannot_be_read_are_none(text: str) -> None:
    found = pod_side.end(text)
    assert found is None or isinstance(found, End)
    assert isinstance(pod_side.folders(text), dict)


@given(code=st.integers(0, 255), message=st.text(max_size=60), reason=st.text(max_size=30), phase=st.text(max_size=9))
def test_every_terminated_container_has_an_end_that_can_be_told(
    code: int, message: str, reason: str, phase: str
) -> None:
    seen = pod(phase, terminated={"exitCode": code, "message": message, "reason": reason, "startedAt": message})
    verdict = judge(job(), [seen])
    if not (code == 97 and message.strip() == "duplicate") and reason != "ContainerStatusUnknown":
        assert sentence(verdict)[1]


def test_one_that_is_to_start_again_is_certain_to_run_no_more_before_it_does() -> None:
    there = job(stopped="requeued")
    running = pod(running={"startedAt": "2026-11-29T07:00:00Z"})
    assert judge(there, [running]).seen.sight == "started"
    assert judge(there, [ended(143, words(143, "TERM"))]).seen.sight == "again"
    # A program that catches the signal, and one that had to be killed.
    assert judge(there, [ended(0, words(0, "TERM"))]).seen.sight == "again"
    assert judge(there, [ended(137)]).seen.sight == "again"
    # One that ended by itself before it was told to has ended, and is not run again.
    assert sentence(judge(there, [ended(0, words(0))])) == ("succeeded", "Finished.")
    assert sentence(judge(there, [ended(3, words(3))])) == ("failed", "The program ended with exit code 3.")
    assert judge(there, []).look
    end = pod_side.end(words(143, "TERM"))
    assert judge(there, [], Folder(staged=True, uid="j", holder="uid-1", end=end)).seen.sight == "again"
    assert judge(there, [], FREE).seen.sight == "again"
    # Whether its pod still runs somewhere, nobody can tell.
    assert judge(there, [], LOCKED).seen.sight == "lost"
