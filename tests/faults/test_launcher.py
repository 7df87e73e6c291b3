"""The launcher leaves nothing behind: not after Ctrl-C, not after `kill -9`, not when a child will not listen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HOUSE = """
import asyncio, sys
from pathlib import Path
from hub.core import launcher
from hub.core.valkey import valkey
folder, guard = Path(sys.argv[1]), sys.argv[2] == "guard"
def child(word):
    kid = "crasher" if word == "trimming" else word
    return launcher.Child(word, (sys.executable, str(folder / "kid.py"), str(folder), kid),
                          ready=(folder / f"{kid}.pid").exists, is_needed=word != "trimming")
children = [valkey(folder / "valkey", folder / "v.sock")] if "valkey" in sys.argv[3:] else []
children += [child(word) for word in sys.argv[3:] if word != "valkey"]
house = launcher.Launcher(children, folder / "logs", console=sys.stdout, grace_seconds=0.5,
                          first_pause_seconds=0.01, guard=guard)
async def ready():
    for name, pid in house.pids.items():
        (folder / f"{name}.leader").write_text(str(pid))
    (folder / "ready").write_text("yes")
try:
    asyncio.run(house.run(ready))
except launcher.LaunchFailed as failure:
    sys.exit(str(failure))
"""

KID = """
import os, signal, subprocess, sys, time
from pathlib import Path
from hub.core import parent
folder, word = Path(sys.argv[1]), sys.argv[2]
inherited = os.environ.get(parent.PARENT_PIPE)
parent.die_with_parent(grace_seconds=0.5)
def announce(name, pid):
    (folder / f"{name}.tmp").write_text(str(pid))
    (folder / f"{name}.tmp").rename(folder / f"{name}.pid")
if word == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if word == "grandparent":
    announce("grandchild", subprocess.Popen(["sleep", "777"]).pid)
if word == "runner":  # as a job's runner: a session of its own, and the house's stream handed on
    held = parent.inherited_pipe()
    code = "import os, sys, time; os.read(int(sys.argv[1]), 1); time.sleep(0.2)"
    runner = subprocess.Popen([sys.executable, "-c", code, str(held)], pass_fds=[held], start_new_session=True)
    announce("runners_own", runner.pid)
announce(word, os.getpid())
if word == "crasher":
    with (folder / "crashes").open("a") as file:
        print(os.getpid(), file=file)
    sys.exit(3)
print("hello from", word, flush=True)
while True:
    time.sleep(0.05)
"""


def alive(pid: int) -> bool:
    """Zombies count as gone: nobody here may be left to reap them."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(true: Callable[[], bool], seconds: float = 45.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class House:
    """A launcher in a process of its own, with the words of its children."""

    def __init__(self, folder: Path, *words: str, guard: bool = False) -> None:
        self.folder = folder
        (folder / "kid.py").write_text(KID)
        argv = [sys.executable, "-c", HOUSE, str(folder), "guard" if guard else "signal", *words]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONPATH": "."}
        )

    def ready(self) -> House:
        wait_until(lambda: (self.folder / "ready").exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.output()
        return self

    def pids(self) -> list[int]:
        files = [*self.folder.glob("*.pid"), *self.folder.glob("*.leader")]
        return sorted({int(file.read_text()) for file in files})

    def output(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def nobody_left(self) -> bool:
        return not any(alive(pid) for pid in self.pids())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def build(*words: str, guard: bool = False) -> House:
        houses.append(House(tmp_path, *words, guard=guard))
        return houses[-1]

    yield build
    for each in houses:
        each.process.kill()
        each.process.wait()
        assert each.process.stdout is not None
        each.process.stdout.close()


@pytest.mark.parametrize(
    "guard",
    [pytest.param(False, id="parent-death signal"), pytest.param(True, id="guard process", marks=pytest.mark.real)],
)
def test_kill_9_of_the_launcher_leaves_no_orphan(house: Callable[..., House], guard: bool) -> None:
    up = house("valkey", "worker", "grandparent", "stubborn", "runner", guard=guard).ready()
    pids = up.pids()
    assert len(pids) == 7
    assert all(alive(pid) for pid in pids)
    server = valkey_pids(up.folder)
    up.process.kill()
    wait_until(up.nobody_left)
    wait_until(lambda: not any(alive(pid) for pid in server))


def valkey_pids(folder: Path) -> list[int]:
    """The server itself: under a guard it is the guard's child."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"unixsocket {folder}/v.sock".encode() in (
                entry / "cmdline"
            ).read_bytes().replace(b"\0", b" "):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_ctrl_c_stops_everything_even_the_stubborn_and_waits_for_job_runners(house: Callable[..., House]) -> None:
    up = house("valkey", "worker", "grandparent", "stubborn", "runner").ready()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(15) == 0
    assert up.nobody_left(), "all were gone before the launcher said it was done"
    assert "worker  | hello from worker" in up.output()
    assert "hello from worker" in (up.folder / "logs" / "worker.log").read_text()


def test_a_crashed_child_is_started_again_and_the_others_stay(house: Callable[..., House]) -> None:
    up = house("worker", "web").ready()
    first = int((up.folder / "worker.pid").read_text())
    web = int((up.folder / "web.pid").read_text())
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: int((up.folder / "worker.pid").read_text()) != first)
    assert alive(web)


def test_a_child_that_always_crashes_closes_the_house_with_its_name(house: Callable[..., House]) -> None:
    up = house("worker", "crasher")
    assert up.process.wait(20) == 1
    assert "crasher ended 5 times in a row, last with 3; see" in up.output()
    assert len((up.folder / "crashes").read_text().splitlines()) == 5
    assert up.nobody_left()


def test_what_the_house_can_do_without_never_closes_it(house: Callable[..., House]) -> None:
    up = house("worker", "trimming").ready()
    wait_until(lambda: len((up.folder / "crashes").read_text().split()) > 6)
    assert up.process.poll() is None


def test_a_child_that_never_becomes_ready_is_named(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from hub.core.launcher import *\n"
        "child = Child('web', ('sleep', '77'), ready=lambda: False, ready_seconds=0.2)\n"
        f"asyncio.run(Launcher([child], Path({str(tmp_path)!r}), grace_seconds=1).run())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert "LaunchFailed: web was not ready after 0.2 s" in done.stderr


@pytest.mark.real
def test_a_second_house_over_the_same_folder_starts_at_once_after_kill_9(house: Callable[..., House]) -> None:
    first = house("valkey", "worker").ready()
    first.process.kill()
    first.process.wait()
    (first.folder / "ready").unlink()
    (first.folder / "worker.pid").unlink()
    second = house("valkey", "worker").ready()
    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(15) == 0
