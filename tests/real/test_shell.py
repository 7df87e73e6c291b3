"""The shell against a whole hub that `collegium up` started: what a newcomer types, in the order they type it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.embedded import COLLEGIUM, Hub

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

COUNTER = """#!/bin/bash
for each in $(seq ${1:-5}); do echo "step $each/${1:-5}"; sleep 0.2; done
wc -l < data/lines.csv > count.txt
"""
LINES = "line,wavenumber\nP1,2865.1\nP2,2843.6\n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    running = Hub(tmp_path_factory.mktemp("hub"))
    running.write("run.sh", COUNTER)
    running.write("data/lines.csv", LINES)
    yield running
    running.close()


def read_until(stream: IO[str], mark: str, seconds: float = 90) -> str:
    """What comes from a process until `mark`, waiting no longer than that."""
    found, deadline = "", time.monotonic() + seconds
    while mark not in found:
        is_there, _, _ = select.select([stream], [], [], max(deadline - time.monotonic(), 0))
        piece = os.read(stream.fileno(), 4096).decode() if is_there else ""
        assert piece, f"{mark!r} did not come: {found}"
        found += piece
    return found


def test_the_token_of_scripts_is_its_owners_alone(hub: Hub) -> None:
    assert stat.S_IMODE((hub.data / "operator.token").stat().st_mode) == 0o600
    assert hub("whoami").startswith("You are Ana (ana), operator of this hub.")


def test_a_job_from_its_files_to_its_outputs(hub: Hub) -> None:
    said = hub("job", "submit", "run.sh", "3", "-i", "data/lines.csv", "-n", "count", "-t", "5", "--follow")
    lines = said.splitlines()
    assert [line for line in lines if line.startswith("step")] == ["step 1/3", "step 2/3", "step 3/3"]
    assert re.match(r"\d\d:\d\d:\d\d job \d+ “count” [a-z]+", lines[0])
    assert re.search(r"“count” succeeded after [\d.]+ s, 1 output$", lines[-1])
    hub("artifact", "get", "count.txt")
    assert (hub.here / "count.txt").read_text().strip() == "3"
    log = hub("artifact", "log", "count.txt")
    assert "made from: " in log and "data/lines.csv v1" in log and "run.sh v1" in log


def test_how_a_job_ends_is_the_exit_code(hub: Hub) -> None:
    said = hub("job", "submit", "#!/bin/sh\necho going wrong\nexit 3\n", "--wait", code=1)
    assert "failed after" in said
    assert hub.json("job", "status")["exit_code"] == 3
    with hub.begin("job", "submit", "-", "--wait", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        shell.communicate("echo from standard input\n", timeout=60)
    assert shell.returncode == 0
    assert hub("job", "logs") == "from standard input\n"


def test_a_log_that_was_stopped_goes_on_at_its_byte(hub: Hub) -> None:
    job = hub.json("job", "submit", "run.sh", "25", "-i", "data/lines.csv")
    with hub.begin("job", "logs", job["ref"], "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        first = read_until(reader.stdout, "step 3/25")
        reader.send_signal(signal.SIGINT)
        rest, told = reader.communicate(timeout=30)
    assert reader.returncode == 130
    again = re.search(r"--follow --offset (\d+)", told)
    assert again is not None and int(again[1]) == len(first + rest)
    second = hub("job", "logs", job["ref"], "--follow", "--offset", again[1])
    assert first + rest + second == "".join(f"step {each}/25\n" for each in range(1, 26))


def test_a_running_job_is_stopped(hub: Hub) -> None:
    with hub.begin("job", "submit", "run.sh", "500", "-n", "long", "--follow", stdout=subprocess.PIPE) as watcher:
        assert watcher.stdout is not None
        read_until(watcher.stdout, "step 2/500")
        number = hub.json("job", "status")["number"]
        hub("job", "cancel", str(number))
        rest, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 1 and "“long” cancelled after" in rest
    assert "has ended already" in hub("job", "cancel", str(number), code=6)


def test_ctrl_c_leaves_the_job_alone(hub: Hub) -> None:
    words = ("job", "submit", "run.sh", "8", "-i", "data/lines.csv", "--follow")
    with hub.begin(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watcher:
        assert watcher.stdout is not None
        read_until(watcher.stdout, "step 2/8")
        watcher.send_signal(signal.SIGINT)
        _, told = watcher.communicate(timeout=30)
    assert watcher.returncode == 130 and "The job goes on." in told
    assert "succeeded" in hub("job", "watch").splitlines()[-1]


def test_on_a_terminal_the_card_is_redrawn_and_its_end_stays(hub: Hub) -> None:
    ours, theirs = pty.openpty()
    environ = {**hub.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    words = ("job", "submit", "run.sh", "25", "-i", "data/lines.csv", "-n", "on a terminal", "--follow")
    process = subprocess.Popen([*COLLEGIUM, *words], env=environ, cwd=hub.here, stdout=theirs, stderr=theirs)
    os.close(theirs)
    drawn = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed.
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    assert process.wait(60) == 0
    assert b"\x1b[?25l" in drawn and drawn.count(b"\x1b[?25l") == drawn.count(b"\x1b[?25h")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    assert "● Running" in shown and "✓ Succeeded" in shown and "step 25/25" in shown


def test_an_entry_is_written_signed_and_verified(hub: Hub) -> None:
    hub.write("report.md", "# Band of HCl\n\nThe constant is $B = 10.59$.\n")
    hub("session", "create", "hcl", "--title", "Hydrogen chloride", "--use")
    assert hub("note", "post", "report.md", "-a", "data/lines.csv").startswith("entry 1 “Band of HCl”, version 1, not")
    hub("key", "create", "lab")
    assert "/me/signing" in hub("note", "sign", "1", "--key", "lab", code=4)
    hub("window", "open", hub("step-up", "--data", str(hub.data)).strip())
    assert "signed by Ana as author" in hub("note", "sign", "1", "--key", "lab")
    assert "Verified: signed once" in hub("verify", "1")
    assert "neither" in hub("note", "sign", "1", "--key", "somebody's name", code=7)
    hub("use", "--personal")


def test_a_share_opens_until_it_is_revoked(hub: Hub) -> None:
    hub("session", "create", "water")
    made = hub.json("share", "create", "ana/water", "--expires", "7d", "--uses", "2")
    assert made["url"].endswith("/l") and made["uses_left"] == 2
    assert made["link"] in hub("share", "list", "ana/water")
    hub("share", "revoke", made["link"])
    assert f"{made['link']}: read, revoked" in hub("share", "list", "ana/water")
    assert "which has passed" in hub("share", "create", "ana/water", "--expires", "2020-01-01", code=7)


def test_a_large_file_comes_back_as_it_went(hub: Hub) -> None:
    content = os.urandom(12 << 20)
    (hub.here / "large.bin").write_bytes(content)
    added = hub("artifact", "add", "large.bin", "--as", "raw/large.bin", "-m", "mass=1.5", "--from", "data/lines.csv")
    assert added.startswith("raw/large.bin version 1, 12 MiB, sha256 ")
    hub("artifact", "get", "raw/large.bin", "-o", "back.bin")
    assert (hub.here / "back.bin").read_bytes() == content


def test_what_is_wrong_is_told_and_nothing_starts(hub: Hub) -> None:
    before = len(hub.json("job", "list")["jobs"])
    assert "Did you mean `job submit`?" in hub("job", "sumbit", "run.sh", code=2)
    missing = hub("job", "submit", "run.sh", "-i", "a.csv", "-i", "b.csv", code=7)
    assert "- a.csv" in missing and "- b.csv" in missing and "Where: --in" in missing
    assert "--type" in hub("job", "submit", "run.sh", "--type", "slurm", code=8)
    assert len(hub.json("job", "list")["jobs"]) == before


def test_the_ledger_holds_beside_the_running_hub_and_in_its_folder(hub: Hub) -> None:
    assert hub("verify").startswith("The ledger holds: ")
    assert hub("verify", "--offline", "--data", str(hub.data)).startswith("The ledger holds: ")


def test_a_hub_that_stops_is_said_to_be_stopped_and_keeps_everything(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    hub("artifact", "add", "-s", "ana/personal", "/etc/hostname", "--as", "host.txt")
    hub.close()
    told = hub("whoami", code=8)
    assert f"No hub is running in {hub.data}." in told and f"collegium up --data {hub.data}" in told
    hub.up = hub.start()
    assert "host.txt version 1" in hub("artifact", "list")
    hub.close()
