"""Jobs that the hub did not submit: what Slurm tells of them is read, and what it does not tell is not made up."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from hub.jobs.backends import far_side, slurm_outside
from hub.jobs.backends.judging import Absence, Known
from hub.jobs.backends.slurm_rules import Row
from hub.jobs.port import Attached

NOW = 10_000.0
RECORD = """JobId=5 ArrayJobId=4 ArrayTaskId=2 JobName=na me JobState=FAILED
   UserId=ana1(1001) GroupId=ana1(1001) MCS_label=N/A
   Priority=4294901759 Nice=0 Account=(null) QOS=normal
   JobState=RUNNING Reason=None Dependency=(null)
   Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=3:9
   RunTime=00:01:02 TimeLimit=00:05:00 TimeMin=N/A
   StartTime=2026-11-29T17:10:21 EndTime=2026-11-29T17:15:21 Deadline=N/A
   NodeList=fake[1-2]
   BatchHost=fake1
   Command=(null)
   StdErr=/users/ana1/sp ace-%N.log
   StdOut=/users/ana1/sp ace-%N.log
   Power=
"""


def known(native: str = "12", **more: Any) -> Known:
    return Known("job_1", 1, "k0", "raven:12", native, attached=True, **more)


def row(id_: str, state: str = "RUNNING", **more: Any) -> Row:
    return Row(id=id_, base=id_.partition("_")[0], state=state, token=None, **more)


def test_a_record_is_read_whatever_its_job_is_called() -> None:
    one = slurm_outside.shown(RECORD)[0]
    assert (one.name, one.log_path) == ("na me JobState=FAILED", "/users/ana1/sp ace-fake1.log")
    assert (one.row.id, one.row.base, one.row.state, one.row.nodes) == ("4_2", "4", "RUNNING", "fake[1-2]")
    assert (one.row.code, one.row.signal, one.row.seconds) == (3, 9, 62.0)
    assert one.row.start == dt.datetime(2026, 11, 29, 17, 10, 21, tzinfo=dt.UTC)
    assert slurm_outside.attached([one]).started_at == one.row.start.timestamp()
    assert slurm_outside.attached([one, one]).log_path == "", "tasks of an array write logs of their own"


@pytest.mark.parametrize("text", ["", "slurm_load_jobs error: Invalid job id specified", "JobId=7 JobName=x\n", "\0"])
def test_what_is_no_record_is_none(text: str) -> None:
    assert slurm_outside.shown(text) == []


@pytest.mark.parametrize("path", ["/dev/null", "(null)", "relative.log"])
def test_what_is_no_file_is_not_read_as_a_log(path: str) -> None:
    text = RECORD.replace("StdOut=/users/ana1/sp ace-%N.log", f"StdOut={path}").replace("RUNNING", "PENDING")
    assert slurm_outside.attached(slurm_outside.shown(text)) == Attached(name="na me JobState=FAILED")


def test_a_job_is_found_by_its_number_and_a_task_by_its_own() -> None:
    rows = [row("12_1", "COMPLETED"), row("12_3"), row("12_[4-6,9%2]", "PENDING"), row("120"), row("1")]
    found = {native: slurm_outside.mine(known(native), rows) for native in ("12", "12_1", "12_5", "12_9", "12_7", "2")}
    assert {native: one and (one.id, one.state) for native, one in found.items()} == {
        "12": ("12_3", "RUNNING"),
        "12_1": ("12_1", "COMPLETED"),
        "12_5": ("12_[4-6,9%2]", "PENDING"),
        "12_9": ("12_[4-6,9%2]", "PENDING"),
        "12_7": None,
        "2": None,
    }


def test_an_end_has_its_exit_code_where_slurm_still_tells_it() -> None:
    listed = row("12", "FAILED")
    records = slurm_outside.shown(RECORD.replace("   JobState=RUNNING", "   JobState=FAILED").replace("3:9", "3:0"))
    end = slurm_outside.ended(listed, records).exit
    assert end is not None and (end.reason, end.code) == ("exited", 3)
    end = slurm_outside.ended(listed, []).exit
    assert end is not None and (end.reason, end.code) == ("failed", None)


def test_a_job_that_nobody_knows_is_refused_and_one_that_was_seen_is_lost_only_after_long() -> None:
    never, was = known(seen=False), known()
    away = Absence(NOW - 6, polls=1)
    refused = slurm_outside.absent(never, away, NOW, answered=True)
    assert refused is not None and (refused.sight, refused.detail) == (
        "refused",
        "Slurm knows no job 12 of yours there.",
    )
    assert slurm_outside.absent(never, away, NOW, answered=False) is None
    assert slurm_outside.absent(never, Absence(NOW - 6), NOW, answered=True) is None
    assert slurm_outside.absent(was, away, NOW, answered=True) is None
    lost = slurm_outside.absent(was, Absence(NOW - 3600, polls=9), NOW, answered=True)
    assert lost is not None and lost.sight == "lost"


def test_a_path_reaches_the_shell_as_one_word() -> None:
    script = far_side.file_pieces([("job_1", 1, 5, "/users/it's/$(id) a\nb.log")])
    assert "piece job_1/1 5 '/users/it'\"'\"'s/$(id) a\nb.log'" in script
