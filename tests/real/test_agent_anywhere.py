"""A person's own agent: the hub holds nothing that could sign in, and a job goes all the way and back, once.

A whole hub, a real Slurm behind a real sshd, OpenSSH's own ssh-agent and ControlMaster, and `collegium agent` as the
person would start it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.problems import NOT_ALLOWED, NOT_SIGNED_IN
from hub.jobs.clusters.rules import fingerprint
from tests.embedded import COLLEGIUM, Hub
from tests.real.slurm_box import SlurmBox
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = Hub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.close()


class Desk:
    """The person's own machine: what lets them in lies here, and their agent runs here."""

    def __init__(self, root: Path, hub: Hub, box: SlurmBox, token: str) -> None:
        self.root, self.hub, self.box = root, hub, box
        self.socket = box.base / f"{root.name}.sock"  # the path of a socket has few characters
        self.keeper: subprocess.Popen[bytes] | None = None
        self.agents: list[subprocess.Popen[bytes]] = []
        self.log = root / "agent.log"
        self.keep(token)

    def keep(self, token: str) -> None:
        (self.root / "token").write_text(token + "\n")

    def start_ssh_agent(self) -> None:
        self.keeper = subprocess.Popen(["ssh-agent", "-D", "-a", str(self.socket)], stdout=subprocess.DEVNULL)
        wait_for(self.socket.exists, 10, "the ssh-agent")
        self.ssh_add(str(self.box.client_key))

    def ssh_add(self, *what: str) -> None:
        environ = {**os.environ, "SSH_AUTH_SOCK": str(self.socket)}
        subprocess.run(["ssh-add", "-q", *what], env=environ, check=True, capture_output=True)

    def open_line(self) -> None:
        """What a person does with `ssh -M`, whatever their site asks of them."""
        known = self.root / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.box.port} {self.box.host_key}\n")
        argv = ["ssh", "-F", "none", "-M", "-N", "-S", str(self.socket), "-i", str(self.box.client_key)]
        argv += ["-o", f"UserKnownHostsFile={known}", "-p", str(self.box.port), "-l", self.box.user, "127.0.0.1"]
        self.keeper = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        wait_for(self.socket.exists, 20, "the line")

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        environ = {**self.hub.environ, "SSH_AUTH_SOCK": str(self.socket), "XDG_STATE_HOME": str(self.root / "state")}
        environ.pop("COLLEGIUM_DATA")
        words = ["agent", "--hub", self.hub.url, "--cluster", "raven", "--token-file", str(self.root / "token"), *more]
        with self.log.open("ab") as said:
            made = subprocess.Popen([*COLLEGIUM, *words], env=environ, cwd=self.root, stdout=said, stderr=said)
        self.agents.append(made)
        return made

    def until(self, holds: Callable[[], Any], what: str, seconds: float = 90.0) -> None:
        wait_for(holds, seconds, lambda: f"{what}:\n{self.log.read_text()[-5000:]}")

    def said(self, words: str) -> Callable[[], bool]:
        return lambda: words in self.log.read_text()

    def close(self) -> None:
        for one in [*self.agents, *([self.keeper] if self.keeper else [])]:
            if one.poll() is None:
                one.terminate()
        for one in [*self.agents, *([self.keeper] if self.keeper else [])]:
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


@pytest.fixture
def desk(hub: Hub, slurm: SlurmBox, tmp_path: Path) -> Iterator[Desk]:
    slurm.empty()
    shown = ("cluster", "add", "raven", "127.0.0.1", "--port", str(slurm.port))
    hub(*shown, "--fingerprint", fingerprint(slurm.host_key))
    desk = Desk(tmp_path, hub, slurm, hub.json("cluster", "join", "raven", slurm.user, "--agent")["secret"])
    yield desk
    desk.close()
    hub("cluster", "leave", "raven")
    hub("cluster", "remove", "raven")


def state(hub: Hub, job: str) -> str:
    return str(hub.json("job", "status", job)["state"])


def let_in(desk: Desk) -> None:
    desk.until(desk.said("Signed in to"), "signing in")
    assert hub_says(desk.hub, "cluster", "test", "raven")["connected"] in (True, False)


def hub_says(hub: Hub, *words: str) -> Any:
    """Once the agent, which may have been started a moment ago, is known to be there."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return hub.json(*words)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_a_job_goes_there_and_back_once_though_its_agent_is_killed_in_the_middle(hub: Hub, desk: Desk) -> None:
    desk.start_ssh_agent()
    first = desk.start()
    let_in(desk)
    numbers = os.urandom(300_000)  # more than travels with a command
    (hub.here / "numbers.bin").write_bytes(numbers)
    hub.write(
        "work.sh",
        "#!/bin/bash\necho begun >> $HOME/begun\nsha256sum numbers.bin\nuntil [ -e $HOME/go ]; do sleep 0.2; done\n"
        "head -c 9000000 /dev/zero > big.bin\necho done > out.txt\necho ended\n",
    )
    desk.box.sh("rm -f begun go")
    job = hub.json("job", "submit", "work.sh", "--cluster", "raven", "--in", "numbers.bin")["id"]
    desk.until(lambda: state(hub, job) == "RUNNING", "the start")
    digest = hashlib.sha256(numbers).hexdigest()
    desk.until(lambda: digest in hub("job", "logs", job), "the first lines of the log")
    first.send_signal(signal.SIGKILL)
    first.wait()
    desk.box.sh("touch go")
    desk.box.sh('until [ -z "$(squeue -h --me -o %i)" ]; do sleep 0.2; done')
    assert state(hub, job) == "RUNNING"  # nobody has told the hub
    desk.start()
    desk.until(lambda: state(hub, job) in ("SUCCEEDED", "FAILED", "UNKNOWN_OUTCOME"), "the end")
    ended = hub.json("job", "status", job)
    assert (ended["state"], ended["exit_code"]) == ("SUCCEEDED", 0), ended
    assert [each["path"] for each in ended["outputs"]] == ["big.bin", "out.txt"]
    assert hub("job", "logs", job) == f"{digest}  numbers.bin\nended\n"
    assert desk.box.sh("cat begun") == "begun"
    hub("artifact", "get", "out.txt", "--force")
    assert (hub.here / "out.txt").read_text() == "done\n"
    hub("artifact", "get", "big.bin", "--force")
    assert (hub.here / "big.bin").read_bytes() == bytes(9_000_000)
    with sqlite3.connect(hub.data / "hub.sqlite3") as record:
        kind, public, private = record.execute(
            "SELECT kind, public_key, private_sealed FROM cluster_accounts WHERE removed_at IS NULL"
        ).fetchone()
    assert (kind, public, private) == ("agent", "", None)
    desk.until(lambda: not list((desk.root / "state").rglob("work")), "what was brought is cleared away here")


def test_a_running_job_is_cancelled_and_a_revoked_token_ends_the_agent(hub: Hub, desk: Desk) -> None:
    desk.start_ssh_agent()
    agent = desk.start()
    let_in(desk)
    hub.write("long.sh", "#!/bin/bash\necho here\nsleep 600\n")
    job = hub.json("job", "submit", "long.sh", "--cluster", "raven")["id"]
    desk.until(lambda: "here" in hub("job", "logs", job), "the first line")
    hub("job", "cancel", job)
    desk.until(lambda: state(hub, job) == "CANCELLED", "the cancellation")
    hub("cluster", "token", "raven", "--revoke")
    assert agent.wait(10) == NOT_SIGNED_IN, desk.log.read_text()
    assert "not valid any more" in desk.log.read_text()
    desk.keep(hub.json("cluster", "token", "raven")["secret"])
    again = desk.start()
    desk.until(lambda: desk.log.read_text().count("Signed in to") == 2, "signing in with the new token")
    again.terminate()
    assert again.wait(20) == 0


def test_a_line_that_the_person_opened_serves_as_well_and_none_is_opened_beside_it(hub: Hub, desk: Desk) -> None:
    desk.open_line()
    desk.start("--control-path", str(desk.socket))
    let_in(desk)
    (hub.here / "numbers.bin").write_bytes(os.urandom(300_000))
    hub.write("work.sh", "#!/bin/bash\nhead -c 3000000 /dev/zero > big.bin\nwc -c < numbers.bin\n")
    job = hub.json("job", "submit", "work.sh", "--cluster", "raven", "--in", "numbers.bin")["id"]
    desk.until(lambda: state(hub, job) in ("SUCCEEDED", "FAILED", "UNKNOWN_OUTCOME"), "the end")
    ended = hub.json("job", "status", job)
    assert (ended["state"], [each["path"] for each in ended["outputs"]]) == ("SUCCEEDED", ["big.bin"]), ended
    hub("artifact", "get", "big.bin", "--force")
    assert (hub.here / "big.bin").read_bytes() == bytes(3_000_000)
    assert hub("job", "logs", job) == "300000\n"
    assert desk.keeper is not None
    desk.keeper.terminate()
    desk.keeper.wait(10)
    job = hub.json("job", "submit", "work.sh", "--cluster", "raven", "--in", "numbers.bin")["id"]
    desk.until(lambda: "no master answers" in str(hub.json("cluster", "list")), "the loss of the line is told")
    assert state(hub, job) == "SUBMITTING"
    desk.open_line()
    desk.until(lambda: state(hub, job) == "SUCCEEDED", "the job that waited for the line", 150)


def test_who_is_not_let_in_is_told_here_and_at_the_hub(hub: Hub, desk: Desk) -> None:
    desk.start_ssh_agent()
    desk.ssh_add("-D")
    desk.ssh_add(str(desk.box.new_key(f"other{time.monotonic_ns()}")))
    agent = desk.start()
    assert agent.wait(60) == NOT_ALLOWED, desk.log.read_text()
    assert "does not accept the key" in desk.log.read_text()
    told = hub("cluster", "list")
    assert "not tried yet" in told or "does not accept" in told
