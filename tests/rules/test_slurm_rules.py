"""What Slurm says is understood, whatever stands around it; what cannot be read says nothing of any job."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import rules
from hub.jobs.backends import slurm_rules as slurm
from hub.jobs.backends.slurm_rules import ENDED, RUNNING, WAITING, Row
from hub.jobs.port import Room

TOKEN = slurm.token_of("hub", "job_1", 1)
AT = dt.datetime(2026, 11, 29, 7, 34, 52, tzinfo=dt.UTC)


def row(state: str, **known: object) -> Row:
    return Row(**{"id": "7", "base": "7", "state": state, "token": TOKEN, **known})  # type: ignore[arg-type]


def test_a_token_is_the_same_whoever_works_it_out_and_another_for_another_run() -> None:
    assert slurm.token_of("hub", "job_1", 1) == TOKEN
    others = {slurm.token_of("hub", "job_1", 2), slurm.token_of("hub", "job_2", 1), slurm.token_of("hub2", "job_1", 1)}
    assert len(others | {TOKEN}) == 4


@given(st.text(max_size=300))
def test_every_name_becomes_one_that_slurm_and_we_can_read(name: str) -> None:
    made = slurm.job_name(name, TOKEN)
    assert made.isascii() and not made.startswith("-") and "|" not in made and len(made) <= 90
    assert slurm.token_in(made) == TOKEN
    assert slurm.token_in(f"(null)|{made}") == TOKEN
    assert slurm.token_in(f"{made}|allocation") == TOKEN


def test_squeue_is_read_line_by_line_and_banners_are_passed_over() -> None:
    name = f"seed.{TOKEN}"
    text = (
        "*** maintenance on Monday ***\n"
        f"41|41|RUNNING|None|2026-11-29T07:34:52|2026-11-29T07:34:50|fake[1-2]|{name}|{name}\n"
        f"43_[2-9%3]|43|PENDING|JobArrayTaskLimit|N/A|2026-11-29T07:34:50||{name}|{name}\n"
        f"43_1|43|COMPLETING|None|2026-11-29T07:34:52|2026-11-29T07:34:50|fake3|{name}|{name}\n"
        "44|44|PENDING|Priority|2026-11-30T00:00:00|2026-11-29T07:34:50||(null)|a|b|c\n"
        "45|45|PENDING\n"
        "slurm_load_jobs error: Unable to contact slurm controller\n"
    )
    rows = slurm.squeue(text)
    assert [(each.id, each.base, each.state, each.token) for each in rows] == [
        ("41", "41", "RUNNING", TOKEN),
        ("43_[2-9%3]", "43", "PENDING", TOKEN),
        ("43_1", "43", "COMPLETING", TOKEN),
        ("44", "44", "PENDING", None),
    ]
    assert rows[0].start == AT
    assert rows[1].start is None
    assert slurm.by_token(rows)[TOKEN].state in ("RUNNING", "COMPLETING")


def test_sacct_is_read_and_a_job_is_known_by_its_comment_before_its_name_is_there() -> None:
    text = (
        f"41|COMPLETED|0:0|2026-11-29T07:34:52|2026-11-29T07:34:52|2026-11-29T07:34:55|3|fake1|seed.{TOKEN}|allocation\n"
        "42|CANCELLED by 1000|0:15|2026-11-29T07:34:52|Unknown|2026-11-29T07:34:55|0|None assigned||other\n"
        f"43|FAILED|7:0|2026-11-29T07:34:52|2026-11-29T07:34:52|2026-11-29T07:34:55|3|fake1||x.{TOKEN}\n"
        "Slurm accounting storage is disabled\n"
    )
    rows = slurm.sacct(text)
    assert [(each.id, each.state, each.token, each.code, each.signal, each.nodes) for each in rows] == [
        ("41", "COMPLETED", TOKEN, 0, None, "fake1"),
        ("42", "CANCELLED", None, 0, 15, ""),
        ("43", "FAILED", TOKEN, 7, None, "fake1"),
    ]


def test_every_state_stands_somewhere_and_nowhere_twice() -> None:
    assert not WAITING & RUNNING and not RUNNING & ENDED and not WAITING & ENDED
    assert row("SOMETHING_NEW").standing == "unknown"
    assert slurm.observation(row("SOMETHING_NEW")).sight == "nothing"


@pytest.mark.parametrize("state", sorted(WAITING | RUNNING | ENDED))
def test_every_state_says_something_that_the_house_understands(state: str) -> None:
    seen = slurm.observation(row(state, code=3 if state == "FAILED" else None))
    assert seen.native == "7"
    if state in WAITING:
        assert seen.sight == "waiting" and seen.detail.endswith(".")
    elif state in RUNNING:
        assert seen.sight == "started"
    else:
        assert seen.sight == "ended" and seen.exit is not None
        assert rules.outcome(seen.exit).event != "lost"


@pytest.mark.parametrize(
    ("known", "event", "said"),
    [
        ({"state": "COMPLETED"}, "succeeded", "Finished."),
        ({"state": "FAILED", "code": 7}, "failed", "The program ended with exit code 7."),
        ({"state": "FAILED", "code": 0, "signal": 9}, "failed", "The program was killed by SIGKILL."),
        ({"state": "FAILED", "reason": "NonZeroExitCode"}, "failed", "Failed: NonZeroExitCode."),
        ({"state": "FAILED", "reason": "JobLaunchFailure"}, "failed", "could not be started: JobLaunchFailure."),
        ({"state": "TIMEOUT"}, "timed_out", "its time limit was reached."),
        ({"state": "DEADLINE"}, "timed_out", "its deadline was reached."),
        ({"state": "OUT_OF_MEMORY", "code": 0}, "ran_out_of_memory", "it used more memory than it asked for."),
        ({"state": "CANCELLED", "signal": 15}, "was_cancelled", "Cancelled."),
        ({"state": "NODE_FAIL"}, "node_failed", "a node of it failed."),
        ({"state": "PREEMPTED"}, "node_failed", "make room for a job that goes before it."),
    ],
)
def test_an_end_is_told_as_what_it_is(known: dict[str, object], event: str, said: str) -> None:
    end = slurm.observation(row(**known)).exit  # type: ignore[arg-type]
    assert end is not None
    found = rules.outcome(end)
    assert found.event == event
    assert found.sentence.endswith(said)


def test_an_array_runs_while_a_task_runs_and_ends_as_the_worst_of_them() -> None:
    def fold(*states: str) -> str:
        return slurm.fold([row(state, id=f"7_{n}") for n, state in enumerate(states)]).state

    assert fold("COMPLETED", "RUNNING", "PENDING") == "RUNNING"
    assert fold("COMPLETED", "PENDING") == "RUNNING"
    assert fold("PENDING", "PENDING") == "PENDING"
    assert fold("COMPLETED", "FAILED", "COMPLETED") == "FAILED"
    assert fold("COMPLETED", "COMPLETED") == "COMPLETED"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Priority", "Waiting behind jobs that go before it."),
        ("(Resources)", "Next in line; waiting for nodes to become free."),
        ("Dependency", "Waiting for another job to end."),
        ("QOSMaxCpuPerUserLimit", "Waiting because of a limit of the cluster: QOSMaxCpuPerUserLimit."),
        ("AssocGrpBillingMinutes", "Waiting because of a limit of the cluster: AssocGrpBillingMinutes."),
        (
            "ReqNodeNotAvail, UnavailableNodes:fake3",
            "The nodes it needs are not available now, perhaps for maintenance.",
        ),
        ("SomethingNew", "Waiting; Slurm says: SomethingNew."),
        ("", "In Slurm's queue."),
    ],
)
def test_why_a_job_waits_is_told_in_words(reason: str, said: str) -> None:
    assert slurm.waiting_sentence(reason, None) == said
    assert slurm.waiting_sentence(reason, AT) == f"{said} Expected to start at 2026-11-29 07:34 UTC."


def test_a_job_that_can_never_start_is_given_no_hour() -> None:
    said = slurm.waiting_sentence("DependencyNeverSatisfied", AT)
    assert said.startswith("It will never start") and "Expected" not in said


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("41\n", "41"),
        ("41;raven\n", "41"),
        ("welcome to raven\n41\n", "41"),
        ("", None),
        ("Submitted batch job 41", None),
        ("41 42", None),
    ],
)
def test_the_id_is_read_from_what_sbatch_prints(text: str, id_: str | None) -> None:
    assert slurm.accepted(text) == id_


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        (
            "sbatch: error: invalid partition specified: nope\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            "invalid partition specified: nope; Invalid partition name specified",
        ),
        (
            "sbatch: error: Batch job submission failed: Requested node configuration is not available",
            "Requested node configuration is not available",
        ),
        ("sbatch: unrecognized option '--site-option=7'", "unrecognized option '--site-option=7'"),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", ""),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", ""),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", ""),
        ("sbatch: error: slurm_receive_msg: Transport endpoint is not connected", ""),
        ("", ""),
        ("Killed", ""),
    ],
)
def test_a_refusal_is_certain_or_it_is_none(text: str, certain: str) -> None:
    assert slurm.refusal(text) == certain


def test_an_estimate_is_an_hour_or_a_reason() -> None:
    said = "sbatch: Job 9 to start at 2026-11-29T07:34:52 using 32 processors on nodes fake[1-2] in partition debug"
    assert slurm.test_only(said) == slurm.Estimate(AT)
    never = "allocation failure: Requested node configuration is not available"
    for text in (f"sbatch: error: {never}", never, f"sbatch: {never}\n"):
        found = slurm.test_only(text)
        assert (found.refusal, found.is_sure) == ("Requested node configuration is not available", True)
    for text in (
        "",
        "sbatch: error: Unable to contact slurm controller (connect failure)",
        "allocation failure: try again",
    ):
        assert not slurm.test_only(text).is_sure, "a conversation that broke off refuses nothing"


def test_sinfo_adds_up_the_lines_of_a_partition() -> None:
    text = (
        "debug*|up|infinite|3|idle|16|65536|0/48/0/48|(null)\n"
        "debug*|up|infinite|1|mix|16|65536|8/8/0/16|gpu:a100:4\n"
        "narrow|down|10:00|1|drain*|8|1024|0/0/8/8|(null)\n"
        "broken|line\n"
    )
    debug, narrow = slurm.sinfo(text)
    assert (debug.name, debug.is_default, debug.up, debug.wall_seconds) == ("debug", True, True, None)
    assert (debug.nodes, debug.idle_nodes, debug.idle_cpus, debug.gpus) == (4, 3, 56, "gpu:a100:4")
    assert slurm.room(debug) == Room(
        name="debug", nodes=4, idle_nodes=3, cpus=64, cpus_taken=8, memory_bytes=4 * (64 << 30)
    )
    assert slurm.waiting(f"{text}waiting 12\n") == 12 and slurm.waiting(text) is None
    assert (narrow.up, narrow.wall_seconds, narrow.memory_bytes, narrow.idle_nodes) == (False, 600, 1 << 30, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1-02:03:04", 93784), ("02:03:04", 7384), ("03:04", 184), ("infinite", None), ("UNLIMITED", None), ("", None)],
)
def test_lengths_of_time_are_read(text: str, seconds: int | None) -> None:
    assert slurm.elapsed(text) == seconds


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=500))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    for read in (slurm.squeue, slurm.sacct, slurm.sinfo, slurm.accepted, slurm.refusal, slurm.test_only):
        read(text)
    slurm.moment(text)
    slurm.elapsed(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Requested operation is presently disabled for job 2", "Requested operation is presently disabled"),
        (
            "Job has already finished for job 1\nslurm_suspend error: Job has already finished",
            "Job has already finished",
        ),
        ("slurm_load_jobs error: Invalid job id specified", "Invalid job id specified"),
        ("scontrol: error: Unable to contact slurm controller (connect failure)", ""),
        ("Requested operation is presently disabled\nSocket timed out on send/recv operation", ""),
        ("what is this", ""),
        ("", ""),
    ],
)
def test_scontrol_has_refused_only_where_that_is_certain(text: str, said: str) -> None:
    assert slurm.control_refusal(text) == (f"Slurm says: {said}" if said else "")


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ("RUNNING ", "it has started already; Slurm says RUNNING"),
        ("COMPLETING ", "it is ending"),
        ("COMPLETED ", "Slurm says it is COMPLETED"),
        ("ARRAY", "it is an array, whose tasks are not started again all at once"),
        ("", "Slurm says it is nowhere"),
    ],
)
def test_a_state_in_which_a_wish_comes_too_late_is_told(states: str, said: str) -> None:
    assert slurm.not_now(states) == said
