"""A job's runner bounds its program, tells how it ended, and leaves nothing running: with the sandbox and without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.jobs import sandbox
from hub.jobs.cgroup import Cgroup
from hub.jobs.processes import groups

pytestmark = pytest.mark.slow

SANDBOXED = pytest.param(True, id="sandboxed", marks=pytest.mark.real)
BOTH = pytest.mark.parametrize("sandboxed", [pytest.param(False, id="plain"), SANDBOXED])
MIB = 1 << 20


def wait_until(true: Callable[[], object], seconds: float = 45.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class Job:
    """A folder with a spec, and the runner that was started on it."""

    def __init__(self, folder: Path, argv: list[str], *, sandboxed: bool = False, **limits: int) -> None:
        self.folder = folder
        for name in ("work", "tmp", "shm"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        work = folder / "work"
        wrapper = sandbox.wrapper(cwd=work, work=work, temporary=folder / "tmp", shared_memory=folder / "shm")
        self.marker = f"COLLEGIUM_JOB={folder}"
        spec = {
            "token": "t1",
            "argv": argv,
            "wrapper": wrapper if sandboxed else [],
            "cwd": str(work),
            "env": {"PATH": os.environ["PATH"], "COLLEGIUM_JOB": str(folder)},
            "watched": [str(folder / name) for name in ("work", "tmp", "shm")],
            "grace_seconds": 0.5,
            "limits": {"log_bytes": 64 * MIB, "processes": 64, "wall_seconds": 30, **limits},
        }
        (folder / "spec.json").write_text(json.dumps(spec))

    def start(self, **options: Any) -> Job:
        argv = [sys.executable, "-I", "-m", "hub.jobs.runner", str(self.folder)]
        self.process = subprocess.Popen(argv, start_new_session=True, **options)
        return self

    def end(self) -> dict[str, Any]:
        assert self.process.wait(30) == 0
        last: dict[str, Any] = json.loads((self.folder / "exit.json").read_text())
        wait_until(lambda: not self.processes())
        return last

    def log(self) -> bytes:
        path = self.folder / "log"
        return path.read_bytes() if path.exists() else b""

    def processes(self) -> list[int]:
        """Whoever still carries the job's mark in its environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self.marker.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    jobs: list[Job] = []

    def build(script: str, *, sandboxed: bool = False, **limits: int) -> Job:
        jobs.append(Job(tmp_path / "job", ["bash", "-c", script], sandboxed=sandboxed, **limits))
        return jobs[-1]

    yield build
    for each in jobs:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        while pids := each.processes():
            for group in groups(pids):
                os.killpg(group, signal.SIGKILL)


@BOTH
def test_output_is_kept_byte_for_byte_and_the_end_is_told(job: Callable[..., Job], sandboxed: bool) -> None:
    it = job(r"printf 'a\0\xff\r50%%\rb\n'; echo oops >&2; echo made > made.txt; exit 7", sandboxed=sandboxed).start()
    last = it.end()
    assert it.log() == b"a\0\xff\r50%\rb\noops\n"
    assert (last["reason"], last["code"], last["log_bytes"], last["sandboxed"]) == ("exited", 7, 15, sandboxed)
    assert (it.folder / "work" / "made.txt").read_text() == "made\n"
    assert json.loads((it.folder / "started.json").read_text())["token"] == "t1"


def test_a_second_runner_for_the_same_folder_leaves_as_a_duplicate(job: Callable[..., Job]) -> None:
    it = job("echo once >> once.txt; sleep 0.3").start()
    wait_until((it.folder / "run.lock").exists)
    again = subprocess.run([sys.executable, "-I", "-m", "hub.jobs.runner", str(it.folder)], check=False)
    assert again.returncode == 3
    it.end()
    late = subprocess.run([sys.executable, "-I", "-m", "hub.jobs.runner", str(it.folder)], check=False)
    assert late.returncode == 3
    assert (it.folder / "work" / "once.txt").read_text() == "once\n"


def test_many_runners_at_once_run_the_program_once(job: Callable[..., Job]) -> None:
    it = job("echo once >> once.txt")
    argv = [sys.executable, "-I", "-m", "hub.jobs.runner", str(it.folder)]
    racers = [subprocess.Popen(argv, start_new_session=True) for _ in range(6)]
    it.process = racers[0]
    assert sorted(racer.wait(30) for racer in racers) == [0, 3, 3, 3, 3, 3]
    assert (it.folder / "work" / "once.txt").read_text() == "once\n"


@BOTH
def test_cancelling_asks_first_and_kills_after_the_grace_period(job: Callable[..., Job], sandboxed: bool) -> None:
    script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done"
    it = job(script, sandboxed=sandboxed).start()
    wait_until(lambda: b"ready" in it.log())
    (it.folder / "cancel").touch()
    last = it.end()
    assert last["reason"] == "cancelled"
    assert b"asked" in it.log()


def test_a_program_that_obeys_ends_before_the_grace_period(job: Callable[..., Job]) -> None:
    it = job("trap 'echo saving; exit 0' TERM; echo ready; while :; do sleep 0.02; done").start()
    wait_until(lambda: b"ready" in it.log())
    (it.folder / "cancel").touch()
    last = it.end()
    assert (last["reason"], last["code"]) == ("cancelled", 0)
    assert it.log().endswith(b"saving\n")


@BOTH
def test_what_was_forked_away_ends_too(job: Callable[..., Job], sandboxed: bool) -> None:
    it = job("(setsid sleep 777 &) ; (setsid setsid sleep 778 & ) ; echo started", sandboxed=sandboxed).start()
    last = it.end()  # `end` asserts that nobody with the job's mark is left
    assert (last["reason"], last["code"], it.log()) == ("exited", 0, b"started\n")


@BOTH
def test_a_fork_bomb_is_ended_and_named(job: Callable[..., Job], sandboxed: bool) -> None:
    # The bomb has a fuse (ten generations, a thousand processes), so that a runner that fails does not take the machine
    # with it: as root and without a sandbox nothing else would stop it.
    bomb = "f() { [ $1 -gt 9 ] || { f $(($1 + 1)) | f $(($1 + 1)) & }; sleep 20; }; f 1"
    last = job(bomb, sandboxed=sandboxed, wall_seconds=5).start().end()
    assert last["reason"] == "processes"
    assert last["detail"] == "it had more than 64 processes at once"


@BOTH
def test_memory_is_bounded_over_the_whole_tree(job: Callable[..., Job], sandboxed: bool) -> None:
    eat = f"{sys.executable} -c 'import time; a = b\"x\" * {40 * MIB}; print(1, flush=True); time.sleep(20)' & "
    last = job(eat * 3 + "wait", sandboxed=sandboxed, memory_bytes=100 * MIB).start().end()
    assert last["reason"] == "memory"
    assert last["peak_memory_bytes"] > 100 * MIB


@BOTH
def test_the_disk_is_bounded_over_many_files_and_tmp(job: Callable[..., Job], sandboxed: bool) -> None:
    place = "/tmp" if sandboxed else "."
    script = f"for i in 1 2 3 4 5 6 7 8; do head -c 4000000 /dev/zero > {place}/f$i; done; sleep 20"
    last = job(script, sandboxed=sandboxed, disk_bytes=20_000_000).start().end()
    assert (last["reason"], last["detail"]) == ("disk", "it wrote more than 20000000 bytes to its folder")


def test_one_file_cannot_outgrow_the_disk_limit_even_between_two_looks(job: Callable[..., Job]) -> None:
    it = job("head -c 40000000 /dev/zero > big", disk_bytes=20_000_000).start()
    it.end()
    assert (it.folder / "work" / "big").stat().st_size <= 20_000_000


def test_a_log_without_end_is_cut_drained_and_told(job: Callable[..., Job]) -> None:
    it = job("head -c 300000000 /dev/zero; echo the end; exit 4", log_bytes=1_000_000).start()
    last = it.end()
    assert (last["reason"], last["code"]) == ("exited", 4)
    assert (last["log_bytes"], last["log_kept_bytes"]) == (300_000_008, 1_000_000)
    assert it.log()[1_000_000:] == b"\n[collegium] the log ends here: 1000000 of 300000008 bytes were kept\n"


@pytest.mark.real
@pytest.mark.slow
def test_ten_gibibytes_of_log_fill_no_disk(job: Callable[..., Job]) -> None:
    it = job(f"head -c {10 << 30} /dev/zero", wall_seconds=120).start()
    last = it.end()
    assert (last["log_bytes"], last["log_kept_bytes"]) == (10 << 30, 64 * MIB)


@BOTH
def test_time_runs_out(job: Callable[..., Job], sandboxed: bool) -> None:
    last = job("sleep 20", sandboxed=sandboxed, wall_seconds=1).start().end()
    assert (last["reason"], last["detail"]) == ("timed_out", "it ran longer than 1 s")


@BOTH
def test_the_house_closing_interrupts_the_job(job: Callable[..., Job], sandboxed: bool) -> None:
    held, ours = os.pipe()
    environment = {**os.environ, "COLLEGIUM_PARENT_PIPE": str(held)}
    it = job("echo ready; sleep 20", sandboxed=sandboxed).start(pass_fds=[held], env=environment)
    os.close(held)
    wait_until(lambda: b"ready" in it.log())
    os.close(ours)
    last = it.end()
    assert (last["reason"], last["detail"]) == ("interrupted", "the hub was stopped")


def test_sigterm_to_the_runner_interrupts_the_job(job: Callable[..., Job]) -> None:
    it = job("echo ready; sleep 20").start()
    wait_until(lambda: b"ready" in it.log())
    it.process.terminate()
    assert it.end()["reason"] == "interrupted"


@BOTH
def test_kill_9_of_the_runner_takes_the_program_along_and_tells_nothing(
    job: Callable[..., Job], sandboxed: bool
) -> None:
    it = job("echo ready; exec sleep 20", sandboxed=sandboxed).start()
    wait_until(lambda: b"ready" in it.log())
    it.process.kill()
    it.process.wait()
    wait_until(lambda: not it.processes())
    assert (it.folder / "started.json").exists()
    assert not (it.folder / "exit.json").exists()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    last = Job(tmp_path / "job", ["no-such-program"]).start().end()
    assert (last["reason"], last["code"]) == ("not_started", None)
    assert last["detail"] == "no-such-program: No such file or directory"


def test_a_death_by_signal_is_told(job: Callable[..., Job]) -> None:
    last = job("kill -SEGV $$").start().end()
    assert (last["reason"], last["signal"]) == ("signalled", signal.SIGSEGV)


def test_the_runner_survives_the_death_of_whoever_started_it(job: Callable[..., Job]) -> None:
    it = job("sleep 0.4; echo done")
    code = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:], start_new_session=True); time.sleep(20)"
    argv = [sys.executable, "-c", code, sys.executable, "-I", "-m", "hub.jobs.runner", str(it.folder)]
    it.process = subprocess.Popen(argv, start_new_session=True)
    wait_until((it.folder / "started.json").exists)
    os.killpg(it.process.pid, signal.SIGKILL)
    it.process.wait()
    wait_until((it.folder / "exit.json").exists)
    assert it.log() == b"done\n"


@pytest.mark.real
def test_the_sandbox_hides_the_house_and_the_network(job: Callable[..., Job], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the hub's key")
    script = (
        f"cat {secret}; cat ../spec.json; echo x > /usr/x; echo x > /x; echo x > /dev/x; ls /root /home;"
        ""
        " cat /proc/net/dev | tail -n +3; cat /etc/shadow; touch ok; touch /tmp/ok && echo fine"
    )
    it = job(script, sandboxed=True).start()
    it.end()
    log = it.log().decode()
    assert "the hub's key" not in log
    assert "fine" in log
    assert (it.folder / "work" / "ok").exists()
    assert log.count("Read-only file system") == 3
    # The secret, the specification, /root and /home; and what a bare system lacks besides.
    assert log.count("No such file or directory") >= 4
    assert "eth" not in log


def test_a_cgroup_is_given_its_limits_and_asked_what_it_did(tmp_path: Path) -> None:
    group = Cgroup(str(tmp_path), "job-1", {"memory_bytes": 1000, "processes": 7})
    assert (group.path / "memory.max").read_text() == "1000"
    assert (group.path / "pids.max").read_text() == "7"
    assert group.verdict() is None
    (group.path / "memory.events").write_text("low 0\noom_kill 1\n")
    assert group.verdict() == "memory"
    (group.path / "memory.events").write_text("low 0\noom_kill 0\n")
    (group.path / "pids.events").write_text("max 3\n")
    assert group.verdict() == "processes"
