"""A worker killed or stopped at any moment of a start or a collection: the job runs once and ends once.

Those with a worker of their own take seconds each, because a lease must lapse; they run with the real components.
"""

from __future__ import annotations

import asyncio
import datetime as dt
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
import sqlalchemy as sa

from hub import app
from hub.artifacts.tables import versions
from hub.core import steps
from hub.core.bus import MemoryBus
from hub.core.clock import SystemClock
from hub.core.context import Actor
from hub.core.database import metadata
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs import house_port, rules, sandbox, views
from hub.jobs.starting import local
from hub.ledger.tables import ledger
from hub.perform import perform
from tests.conftest import make_person
from tests.jobs import agent, run_until

LEASE = dt.timedelta(seconds=1)

# A worker without RQ: it carries out what is due, and is struck by a signal of its own at the named point.
WORKER = """
import datetime as dt, fcntl, importlib, os, signal, sys, threading, time
from pathlib import Path
from hub import app
from hub.core import steps
from hub.core.bus import MemoryBus
from hub.core.settings import Settings
from hub.jobs import sandbox
from tests.jobs import run_steps
steps._LEASE = dt.timedelta(seconds=1)
sandbox.works = lambda: False
data, point, blow = Path(sys.argv[1]), sys.argv[2], getattr(signal, sys.argv[3])
owner, name = point.rsplit(".", 1)
try:
    holder = importlib.import_module(owner)
except ModuleNotFoundError:
    module, cls = owner.rsplit(".", 1)
    holder = getattr(importlib.import_module(module), cls)
real = getattr(holder, name)
def struck(*args, **kwargs):
    setattr(holder, name, real)
    # Our writer answers just before it gives its turn back: whoever is stopped in between holds up everybody.
    if threading.current_thread() is threading.main_thread():
        with (data / "hub.turn").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
    (data / "struck").touch()
    os.kill(os.getpid(), blow)
    return real(*args, **kwargs)
setattr(holder, name, struck)
house = app.build(Settings(data=data), bus=MemoryBus())
while True:
    run_steps(house)
    time.sleep(0.02)
"""

START_POINTS = [
    "hub.jobs.starting._prepare",
    "hub.jobs.backends.local.LocalBackend.put_in_place",
    "hub.jobs.backends.local.LocalBackend.start",
    "hub.jobs.backends.local.LocalBackend.wait_started",
    "hub.jobs.starting._settle",
]
COLLECT_POINTS = ["hub.jobs.collection._store"]
# Within the unit of work itself: whoever is stopped there holds the database up for everybody, until it goes on.
COMMIT_POINTS = ["hub.jobs.collection._record"]


def in_words(points: list[str]) -> list[Any]:
    return [pytest.param(point, id=point.rpartition(".")[2]) for point in points]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A hub under the real clock, with leases of one second."""
    monkeypatch.setattr(steps, "_LEASE", LEASE)
    monkeypatch.setattr(house_port, "_LEASE", LEASE)
    monkeypatch.setattr(sandbox, "works", lambda: False)
    house = app.build(Settings(data=tmp_path / "data"), clock=SystemClock(), bus=MemoryBus())
    metadata.create_all(house.db.write_engine)
    yield house
    house.close()


@pytest.fixture
def worker(house: House) -> Iterator[Callable[[str, str], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(point: str, blow: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", WORKER, str(house.settings.data), point, blow]
        started.append(subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": "."}, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def wait_until(true: Callable[[], object], seconds: float = 45.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def submit(house: House, actor: Actor, script: str) -> str:
    return str(perform(house, {"action": "job_submit", "script": script}, actor).result["id"])


def job_of(house: House, actor: Actor, job: str) -> views.JobView:
    with house.scope(actor) as scope:
        return views.job(scope, job)


def effects(house: House, job: str) -> tuple[list[str], int]:
    """The ledger's lines about a job, and how many versions it made."""
    with house.db.read() as conn:
        lines = conn.execute(sa.select(ledger.c.action).where(ledger.c.object == job)).scalars().all()
        made = conn.execute(sa.select(sa.func.count()).where(versions.c.job == job)).scalar_one()
    return list(lines), int(made)


def ran_once(house: House, actor: Actor, job: str, tally: Path) -> None:
    run_until(house, lambda: job_of(house, actor, job).state in rules.TERMINAL)
    done = job_of(house, actor, job)
    assert (done.state, done.reason) == ("SUCCEEDED", "Finished.")
    assert tally.read_text() == "ran\n"
    lines, made = effects(house, job)
    # Placed, started, ended, collected; a start whose witness died may be seen only by its end.
    assert (lines[0], len(lines) in (4, 5), made) == ("job_submit", True, 1)


@pytest.mark.real
@pytest.mark.parametrize("point", in_words(START_POINTS + COLLECT_POINTS + COMMIT_POINTS))
def test_kill_9_of_a_worker_anywhere_runs_the_job_once(
    house: House, worker: Callable[..., Any], tmp_path: Path, point: str
) -> None:
    ana = make_person(house, "ana")
    tally = tmp_path / "tally"
    job = submit(house, ana, f"#!/bin/bash\necho ran >> {tally}\necho 1 > out.txt\n")
    killed = worker(point, "SIGKILL")
    watcher = agent(house)
    while killed.poll() is None:
        asyncio.run(watcher.turn())
        time.sleep(0.02)
    assert killed.returncode == -signal.SIGKILL
    ran_once(house, ana, job, tally)


@pytest.mark.real
@pytest.mark.parametrize("point", in_words(START_POINTS + COLLECT_POINTS))
def test_a_worker_stopped_past_its_lease_changes_nothing_when_it_wakes(
    house: House, worker: Callable[..., Any], tmp_path: Path, point: str
) -> None:
    ana = make_person(house, "ana")
    tally = tmp_path / "tally"
    job = submit(house, ana, f"#!/bin/bash\necho ran >> {tally}\necho 1 > out.txt\n")
    stopped = worker(point, "SIGSTOP")
    watcher = agent(house)

    def asleep() -> bool:
        asyncio.run(watcher.turn())
        return (house.settings.data / "struck").exists()

    wait_until(asleep)
    ran_once(house, ana, job, tally)
    stopped.send_signal(signal.SIGCONT)
    next_job = submit(house, ana, "#!/bin/bash\ntrue\n")  # which the woken worker may carry out: it is alive
    run_until(house, lambda: job_of(house, ana, next_job).state == "SUCCEEDED")
    ran_once(house, ana, job, tally)


@pytest.mark.real
def test_the_job_outlives_worker_and_agent_and_is_adopted_again(
    house: House, worker: Callable[..., Any], tmp_path: Path
) -> None:
    ana = make_person(house, "ana")
    go = tmp_path / "go"
    job = submit(house, ana, f"#!/bin/bash\necho one; while [ ! -e {go} ]; do sleep 0.02; done; echo two\n")
    busy = worker("hub.jobs.collection._look", "SIGKILL")
    watcher = agent(house, "first")
    wait_until(lambda: asyncio.run(watcher.turn()) and job_of(house, ana, job).log_size_bytes)
    busy.kill()
    busy.wait()
    go.touch()
    adopted = agent(house, "second")
    run_until(house, lambda: job_of(house, ana, job).state == "SUCCEEDED", by=adopted)
    with house.scope(ana) as scope:
        assert views.log_piece(scope, job).data == b"one\ntwo\n"


def running(house: House, actor: Actor) -> tuple[str, Path]:
    job = submit(house, actor, "#!/bin/bash\necho ready\n(setsid sleep 777 &)\nsleep 777\n")
    run_until(house, lambda: job_of(house, actor, job).log_size_bytes == 6)
    return job, local(house.settings).folder(job, 1)


def test_a_killed_runner_leaves_an_outcome_nobody_knows_and_no_process(house: House) -> None:
    ana = make_person(house, "ana")
    job, folder = running(house, ana)
    os.kill(json.loads((folder / "run.lock").read_text())["pid"], signal.SIGKILL)
    run_until(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    done = job_of(house, ana, job)
    assert done.state == "UNKNOWN_OUTCOME"
    assert done.reason == (
        "Nobody can account for this job: its runner was killed, and nobody saw how the job ended. "
        "It may have run, wholly or in part."
    )
    assert done.log_done
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if f"{job}/1".encode() in environment(pid)]


def environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def test_after_a_restart_of_the_machine_the_job_ended_with_its_node(house: House) -> None:
    ana = make_person(house, "ana")
    job, folder = running(house, ana)
    holder = json.loads((folder / "run.lock").read_text())
    os.kill(holder["pid"], signal.SIGKILL)
    (folder / "run.lock").write_text(json.dumps({**holder, "boot_id": "an earlier boot"}))
    run_until(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    done = job_of(house, ana, job)
    assert (done.state, done.reason) == (
        "NODE_FAILED",
        "Ended with the machine it ran on: the machine was restarted.",
    )


def test_a_runner_that_died_before_anything_started_is_followed_by_another(house: House, tmp_path: Path) -> None:
    ana = make_person(house, "ana")
    tally = tmp_path / "tally"
    job = submit(house, ana, f"#!/bin/bash\necho ran >> {tally}\n")
    backend = local(house.settings)

    def start_and_die(job: str, run: int) -> None:
        if run > 1:
            return type(backend).start(backend, job, run)
        assert backend.forbid(job, run)  # as a runner that took the lock and was killed
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hub.jobs.starting.local", lambda _: backend)
        patch.setattr(backend, "start", start_and_die, raising=False)
        run_until(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    assert job_of(house, ana, job).state == "SUCCEEDED"
    assert tally.read_text() == "ran\n"
    assert backend.folder(job, 2).exists()


def test_a_folder_that_vanished_under_a_running_job_is_an_outcome_nobody_knows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr("hub.jobs.agent.PATIENCE_SECONDS", 0.1)
    ana = make_person(house, "ana")
    job, folder = running(house, ana)
    pid = json.loads((folder / "run.lock").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder)
    run_until(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    assert job_of(house, ana, job).state == "UNKNOWN_OUTCOME"
    from hub.jobs.backends.local import end_remains

    end_remains(f"{job}/1")
