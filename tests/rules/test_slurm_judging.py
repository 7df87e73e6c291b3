"""What became of a run is decided from what was seen, in the order of how far it can be trusted, and never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from hub.jobs.backends import ends, judging
from hub.jobs.backends.ends import End, Folder
from hub.jobs.backends.judging import Absence, Known
from hub.jobs.backends.slurm_rules import Row, token_of

TOKEN = token_of("hub", "job_1", 1)
KNOWN = Known("job_1", 1, TOKEN, "sum", "7")
NAMELESS = Known("job_1", 1, TOKEN, "sum")
NOW = 10_000.0


def row(state: str, base: str = "7", **known: Any) -> Row:
    return Row(id=base, base=base, state=state, token=TOKEN, **known)


def end(code: int = 0, **known: Any) -> End:
    return End(**{"id": "7", "code": code, "start": 100.0, "end": 160.0, "cpu_seconds": 30.0, **known})


def folder(*found: End, **known: Any) -> Folder:
    return Folder("7", "7", {str(n) if n else "": each for n, each in enumerate(found)}, **known)


def away(seconds: float, polls: int = 5) -> Absence:
    return Absence(NOW - seconds, polls)


def test_what_the_far_side_prints_is_read() -> None:
    text = (
        "@ job_1/1\ngiven 7\nlog  12\nlock 7\nend \nid 7\ncode 3\ngot \nstart 100\nend 160\noom 0\npeak 2048\n"
        "times 0m1.250000s 1m0.10s\nnode n1\n"
        "@ job_2/4\nlock nobody\n"
        "@ job_3/1\ngiven 9\nend .4\nid 9\ncode 0\ngot TERM\nend .5\nid 9\ncode rubbish\n"
        "@ nonsense\n"
    )
    found = ends.folders(text)
    assert found["job_1", 1] == Folder(
        "7", "7", {"": End("7", 3, "", 100.0, 160.0, 0, 2048, 61.35, "n1")}, log_bytes=12
    )
    assert found["job_2", 4] == Folder(None, "nobody")
    assert found["job_3", 1].ends == {"4": End("9", 0, "TERM")}
    assert len(found) == 3


@pytest.mark.parametrize(
    ("state", "sight"),
    [("PENDING", "waiting"), ("RUNNING", "started"), ("COMPLETING", "started"), ("REQUEUED", "waiting")],
)
def test_a_listed_job_is_what_slurm_says(state: str, sight: str) -> None:
    seen = judging.listed(KNOWN, [row(state)], None, None, NOW).seen
    assert seen is not None and (seen.sight, seen.native) == (sight, "7")


def test_a_completed_job_has_ended_well_only_with_an_end_of_its_own() -> None:
    assert judging.listed(KNOWN, [row("COMPLETED")], folder(), None, NOW).seen is None
    assert judging.listed(KNOWN, [row("COMPLETED")], folder(), away(10), NOW).seen is None
    lost = judging.listed(KNOWN, [row("COMPLETED")], folder(), away(100), NOW).seen
    assert lost is not None and lost.sight == "lost"
    of_another = judging.listed(KNOWN, [row("COMPLETED")], folder(end(id="6")), None, NOW).seen
    assert of_another is None
    seen = judging.listed(KNOWN, [row("COMPLETED")], folder(end()), None, NOW).seen
    assert seen is not None and seen.exit is not None
    assert (seen.exit.reason, seen.exit.code, seen.exit.seconds, seen.exit.cpu_seconds) == ("exited", 0, 60.0, 30.0)


@pytest.mark.parametrize(
    ("state", "found", "reason", "code", "signal"),
    [
        ("FAILED", [end(3)], "exited", 3, None),
        ("FAILED", [end(139)], "signalled", None, 11),
        ("FAILED", [end(1, oom=1)], "memory", None, None),
        ("FAILED", [end(96)], "not_started", None, None),
        ("FAILED", [], "failed", None, None),
        ("OUT_OF_MEMORY", [end(0)], "memory", None, None),
        ("OUT_OF_MEMORY", [], "memory", None, None),
        ("TIMEOUT", [end(143, got="TERM")], "timed_out", None, None),
        ("CANCELLED", [end(143, got="TERM")], "cancelled", None, None),
        ("CANCELLED", [], "cancelled", None, None),
        ("NODE_FAIL", [], "interrupted", None, None),
        ("PREEMPTED", [end(143, got="TERM")], "interrupted", None, None),
        ("COMPLETED", [end(0), end(0), end(5)], "exited", 5, None),
    ],
)
def test_an_end_is_slurms_word_made_exact(
    state: str, found: list[End], reason: str, code: int | None, signal: int | None
) -> None:
    seen = judging.listed(KNOWN, [row(state)], folder(*found), None, NOW).seen
    assert seen is not None and seen.exit is not None
    assert (seen.exit.reason, seen.exit.code, seen.exit.signal) == (reason, code, signal)


@pytest.mark.parametrize(
    ("found", "believed"),
    [
        (end(0), True),
        (end(0, oom=0), True),
        (end(0, oom=2), False),
        (end(0, got="TERM"), False),
        (end(1), False),
        (end(137), False),
        (end(0, id="6"), False),
    ],
)
def test_a_wrappers_own_word_is_enough_for_a_good_end_only(found: End, believed: bool) -> None:
    assert (ends.first_hand(folder(found), "7") is not None) is believed


def test_of_two_jobs_with_one_token_the_holder_of_the_lock_is_the_one() -> None:
    both = [row("RUNNING", "7"), row("PENDING", "8")]
    assert judging.listed(KNOWN, both, Folder("7", "7"), None, NOW).strangers == ("8",)
    other = judging.listed(KNOWN, [row("PENDING", "7"), row("RUNNING", "8")], Folder("7", "8"), None, NOW)
    assert other.strangers == ("7",)
    assert other.seen is not None and other.seen.native == "8"
    for nobody_yet in (None, Folder("7", None)):
        assert judging.listed(KNOWN, [row("PENDING", "7"), row("PENDING", "8")], nobody_yet, None, NOW).strangers == ()
    gone = judging.listed(KNOWN, [row("RUNNING", "7"), row("FAILED", "8")], Folder("7", "7"), None, NOW)
    assert gone.strangers == ()


def test_a_job_that_is_missing_is_looked_up_before_anything_is_said() -> None:
    first = judging.unlisted(KNOWN, folder(), away(0, polls=0), NOW, accounting=True)
    assert (first.seen, first.ask_accounting, first.forbid) == (None, False, False)
    second = judging.unlisted(KNOWN, folder(), away(10, polls=1), NOW, accounting=True)
    assert second.ask_accounting and second.seen is None
    clean = judging.unlisted(KNOWN, folder(end()), away(0, polls=0), NOW, accounting=True).seen
    assert clean is not None and clean.sight == "ended"


@pytest.mark.parametrize(
    ("seconds", "answered", "sight"),
    [(599, True, None), (601, True, "lost"), (601, False, None), (3601, False, "lost")],
)
def test_nobody_knows_only_after_long_enough(seconds: float, answered: bool, sight: str | None) -> None:
    verdict = judging.unaccounted(KNOWN, folder(), away(seconds), NOW, answered=answered)
    assert (verdict.seen.sight if verdict.seen else None) == sight
    assert not verdict.forbid


def test_its_own_word_is_the_last_one_when_there_is_no_better() -> None:
    kept = folder(end(143, got="TERM"))
    assert judging.unaccounted(KNOWN, kept, away(10), NOW, answered=True).seen is None
    seen = judging.unaccounted(KNOWN, kept, away(601), NOW, answered=True).seen
    assert seen is not None and seen.exit is not None and seen.exit.signal == 15


@pytest.mark.parametrize(
    ("polls", "seconds", "answered", "forbid"),
    [(1, 60, True, False), (2, 10, True, False), (2, 20, True, True), (9, 900, False, False)],
)
def test_a_run_without_an_id_is_forbidden_after_two_answers_that_do_not_name_it(
    polls: int, seconds: float, answered: bool, forbid: bool
) -> None:
    nothing = Folder()
    assert judging.unaccounted(NAMELESS, nothing, away(seconds, polls), NOW, answered=answered).forbid is forbid
    assert judging.unaccounted(KNOWN, nothing, away(seconds, polls), NOW, answered=answered).forbid is False
    known_there = Folder(given="7")
    assert judging.unaccounted(NAMELESS, known_there, away(seconds, polls), NOW, answered=answered).forbid is False


def test_without_accounting_the_folder_decides_after_a_while() -> None:
    killed = folder(end(137))
    assert judging.unlisted(KNOWN, killed, away(10), NOW, accounting=False).seen is None
    seen = judging.unlisted(KNOWN, killed, away(100), NOW, accounting=False).seen
    assert seen is not None and seen.exit is not None and seen.exit.signal == 9
    lost = judging.unlisted(KNOWN, folder(), away(100), NOW, accounting=False).seen
    assert lost is not None and lost.sight == "lost"


def test_accounting_lags_and_is_believed_about_ends_only() -> None:
    assert judging.accounted(KNOWN, [row("COMPLETED")], folder()).seen is None
    seen = judging.accounted(KNOWN, [row("RUNNING")], folder()).seen
    assert seen is not None and seen.sight == "started"
    ended = judging.accounted(KNOWN, [row("FAILED", "6", code=97), row("FAILED", "7", code=2)], folder()).seen
    assert ended is not None and ended.exit is not None and (ended.exit.code, ended.native) == (2, "7")


def test_once_a_job_holds_the_lock_what_becomes_of_a_copy_says_nothing() -> None:
    copy = [row("FAILED", "8", code=97)]
    assert judging.of_the_holder(copy, Folder("7", "7")) == []
    assert judging.of_the_holder(copy, Folder("7", None)) == copy
    assert judging.of_the_holder(copy, Folder("7", "nobody")) == copy
    both = [row("COMPLETED", "7"), *copy]
    assert judging.of_the_holder(both, Folder("8", "7")) == both


@pytest.mark.parametrize(
    ("state", "found", "reason"),
    [
        ("FAILED", (), "memory"),
        ("CANCELLED", (), "memory"),
        ("FAILED", (end(137, got="TERM"),), "memory"),
        ("COMPLETED", (end(0),), "exited"),  # whatever a program writes into its own log
        ("FAILED", (end(0),), "failed"),
        ("TIMEOUT", (), "timed_out"),
    ],
)
def test_a_job_killed_for_its_memory_without_control_groups_is_known_by_the_word_of_slurm_s_daemon(
    state: str, found: tuple[End, ...], reason: str
) -> None:
    said = ends.together(row(state, reason="JobLaunchFailure" if not found else ""), folder(*found, greedy=True))
    assert said is not None and said.exit is not None and said.exit.reason == reason
    assert ends.folders("@ job_1/1\ngiven 7\nlog 12\ngreedy\nlock 7\n")["job_1", 1].greedy


def test_the_end_of_an_array_spans_all_its_tasks_and_says_what_they_ran_together() -> None:
    tasks = {
        "0": end(start=100.0, end=160.0),
        "1": end(code=3, start=160.0, end=200.0),
        "2": end(start=200.0, end=290.0),
    }
    there = Folder("7", "7", {**tasks, "3": end(id="6", start=0.0, end=9000.0)})
    for seen in (ends.together(row("FAILED"), there), ends.vanished(there, "7")):
        assert seen is not None and seen.exit is not None
        assert (seen.exit.code, seen.exit.started_at, seen.exit.ended_at, seen.exit.seconds) == (3, 100, 290, 190)
        assert (seen.exit.tasks, seen.exit.task_seconds) == (3, 60 + 40 + 90)
    cut = ends.together(row("TIMEOUT"), there)
    assert cut is not None and cut.exit is not None
    assert (cut.exit.reason, cut.exit.tasks, cut.exit.task_seconds) == ("timed_out", 3, 190)
    alone = ends.together(row("COMPLETED"), folder(end()))
    assert alone is not None and alone.exit is not None and alone.exit.tasks == 0
