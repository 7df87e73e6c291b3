"""An array on Kubernetes is told by its tasks: it runs while one runs, and ends as its worst; nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import arrays, rules
from hub.jobs.backends import pod_side
from hub.jobs.backends.kubernetes_array import PLACE, judge
from hub.jobs.backends.pod_side import Folder
from tests.rules import test_kubernetes_sight as one

DONE = [{"type": "Failed", "status": "True", "reason": "FailedIndexes"}]


def job(count: int = 3, *, stopped: str = "", conditions: Any = (), **status: Any) -> dict[str, Any]:
    made = one.job(stopped=stopped, conditions=conditions)
    made["spec"] |= {"completionMode": "Indexed", "completions": count}
    made["status"] |= status
    return made


def at(place: int, pod: dict[str, Any]) -> dict[str, Any]:
    pod["metadata"] = {"uid": f"uid-{place}", "annotations": {PLACE: str(place)}}
    return pod


def ended(place: int, code: int = 0, got: str = "") -> dict[str, Any]:
    return at(place, one.ended(code, one.words(code, got)))


def running(place: int) -> dict[str, Any]:
    return at(place, one.pod(running={"startedAt": "2026-11-29T07:00:00Z"}))


def waiting(place: int) -> dict[str, Any]:
    return at(place, one.pod("Pending", conditions=[one.unschedulable("0/1 nodes are available: Insufficient cpu.")]))


def test_it_waits_until_a_task_runs_and_runs_until_none_is_to_come() -> None:
    assert judge(job(), []).seen.sight == "waiting"
    assert "Insufficient cpu" in judge(job(), [waiting(0), waiting(1)]).seen.detail
    assert judge(job(), [running(0), waiting(1)]).seen.sight == "started"
    # With %1, between two tasks nothing runs, and it has not gone back to its queue.
    assert judge(job(), [ended(0)]).seen.sight == "started"
    assert judge(job(), [ended(0), ended(1), running(2)]).seen.native == "j"


def test_it_ends_well_when_all_do_and_else_as_the_worst_of_them() -> None:
    assert one.sentence(judge(job(), [ended(0), ended(1), ended(2)])) == ("succeeded", "Finished.")
    mixed = judge(job(conditions=DONE), [ended(0), ended(1, 7), ended(2, 3)])
    assert one.sentence(mixed) == ("failed", "The program ended with exit code 7.")
    assert mixed.seen.exit is not None
    assert (mixed.seen.exit.cpu_seconds, mixed.seen.exit.seconds) == (pytest.approx(5.25), 60)


def test_a_task_whose_pod_is_gone_is_looked_for_in_the_folder_and_its_end_is_found_there() -> None:
    there = job(conditions=DONE, failedIndexes="1", completedIndexes="0,2")
    assert judge(there, [ended(0), ended(2)]).look
    end = pod_side.end(one.words(4))
    assert end is not None
    held = Folder(staged=True, uid="j", holder="a", count=3, holders={0: "a", 1: "b", 2: "c"}, ends={1: end})
    found = judge(there, [ended(0), ended(2)], held)
    assert one.sentence(found) == ("failed", "The program ended with exit code 4.")


def test_a_task_that_began_and_left_no_end_makes_the_whole_unaccounted_for() -> None:
    held = Folder(staged=True, uid="j", holder="a", count=2, holders={0: "a", 1: "b"})
    found = judge(job(2, conditions=DONE), [ended(0)], held).seen
    assert found.sight == "lost" and found.detail.startswith("of its 2 tasks 1 left no end")
    assert judge(None, [], held).seen.sight == "lost"


def test_one_that_was_cancelled_before_it_began_never_ran_and_after_that_it_is_cancelled() -> None:
    there = job(2, stopped="cancelled")
    assert judge(there, [], Folder(staged=True, uid="j", count=2)).seen.sight == "never_ran"
    begun = Folder(staged=True, uid="j", holder="a", count=2, holders={0: "a"})
    assert one.sentence(judge(there, [ended(0)], begun)) == ("was_cancelled", "Cancelled.")
    assert judge(there, [running(0)]).seen.sight == "started"


def test_an_array_whose_job_is_gone_before_a_task_began_never_ran() -> None:
    assert judge(None, []).look
    assert judge(None, [], Folder(staged=True, uid="j", holder="nobody", count=2)).seen.sight == "never_ran"


def test_an_image_that_cannot_be_had_stops_it_unless_a_task_has_begun() -> None:
    hopeless = {"reason": "InvalidImageName", "message": "no image"}
    bad = at(1, one.pod("Pending", waiting=hopeless))
    assert judge(job(), [bad]).stop and not judge(job(), [running(0), bad]).stop


def test_a_job_that_is_no_array_is_judged_as_one_run() -> None:
    assert judge(one.job(), [one.ended()]).seen == one.judge(one.job(), [one.ended()]).seen


@given(st.lists(st.sampled_from(["good", "bad", "running", "waiting", "none"]), min_size=1, max_size=6))
def test_it_is_never_over_before_all_of_its_tasks_are(states: list[str]) -> None:
    make = {"good": ended, "bad": lambda place: ended(place, 1), "running": running, "waiting": waiting}
    pods = [make[state](place) for place, state in enumerate(states) if state != "none"]
    found = judge(job(len(states)), pods).seen
    over = {"good", "bad"}.issuperset(states)
    assert (found.sight == "ended") == over
    if over:
        assert found.exit is not None
        assert rules.outcome(found.exit).event == ("failed" if "bad" in states else "succeeded")


@pytest.mark.parametrize(
    ("said", "numbers", "at_once"),
    [("0-3", [0, 1, 2, 3], None), ("7,1,3-5%2", [1, 3, 4, 5, 7], 2), ("0-100:50%9", [0, 50, 100], 9)],
)
def test_an_array_is_read_as_slurm_reads_it(said: str, numbers: list[int], at_once: int | None) -> None:
    assert (arrays.numbers(said), arrays.at_once(said)) == (numbers, at_once)


@pytest.mark.parametrize("said", ["0-3%", "0-3%0", "0-3%-1", "0-3%x", "0-3%1%2"])
def test_a_limit_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="after % stands"):
        arrays.at_once(said)
