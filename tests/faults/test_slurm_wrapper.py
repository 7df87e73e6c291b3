"""The script that Slurm starts, under this machine's own shells: a signal does not hide how the program ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hub.jobs.backends import far_side
from hub.jobs.backends.far_side import DUPLICATE, Program

pytestmark = pytest.mark.slow

# Ends with 5 when it is told to, at once or after a while; `up` says that its trap stands.
ENDS = ["sh", "-c", "trap '$0; exit 5' TERM; : > up; while :; do :; done"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "it's a root"
    (root / "events").mkdir(parents=True)
    (root / "jobs" / "job_1" / "1" / "work").mkdir(parents=True)
    return root


def start(
    root: Path, shell: list[str], command: list[str], native: str = "77", **around: str
) -> subprocess.Popen[bytes]:
    run = root / "jobs" / "job_1" / "1"
    script = run / "run.sh"
    script.write_text(far_side.run_script(str(root), "job_1", 1, Program(command=command, variables={})))
    known = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": native, **around}
    return subprocess.Popen([*shell, str(script)], env=known, stderr=subprocess.DEVNULL, start_new_session=True)


def end(root: Path) -> dict[str, str]:
    lines = (root / "jobs" / "job_1" / "1" / "end").read_text().splitlines()
    return {name: value for name, _, value in (line.partition(" ") for line in lines)}


def test_a_program_that_ends_by_itself_after_a_signal_ended_as_it_says(root: Path, shell: list[str]) -> None:
    for pause in ("true", "sleep 0.3") * 5:
        for left in ("run.lock", "work/up"):
            (root / "jobs" / "job_1" / "1" / left).unlink(missing_ok=True)
        running = start(root, shell, [*ENDS, pause])
        deadline = time.monotonic() + 15
        while not (root / "jobs" / "job_1" / "1" / "work" / "up").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 5
        assert (end(root)["code"], end(root)["got"], end(root)["id"]) == ("5", "TERM", "77")


def test_another_copy_of_a_job_leaves_and_the_same_one_may_enter_again(root: Path, shell: list[str]) -> None:
    assert start(root, shell, ["sh", "-c", "exit 3"]).wait(20) == 3
    assert start(root, shell, ["sh", "-c", "exit 4"], native="78").wait(20) == DUPLICATE
    assert end(root)["code"] == "3"
    assert start(root, shell, ["sh", "-c", "exit 0"]).wait(20) == 0


def test_a_program_that_ended_well_is_not_run_again_and_one_that_did_not_is(root: Path, shell: list[str]) -> None:
    work = root / "jobs" / "job_1" / "1" / "work"
    for restarts, code, runs in (("0", 3, 1), ("1", 3, 2), ("2", 0, 3), ("3", 0, 3)):
        (root / "events" / "job_1.1.EXIT").unlink(missing_ok=True)
        program = ["sh", "-c", f"echo x >> runs; exit {code}"]
        assert start(root, shell, program, SLURM_RESTART_COUNT=restarts).wait(20) == code
        assert len((work / "runs").read_text().split()) == runs
        assert (root / "events" / "job_1.1.EXIT").exists()
    assert end(root)["code"] == "0"
