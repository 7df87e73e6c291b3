"""A whole hub under rough treatment, on SQLite and on PostgreSQL: nothing acknowledged is lost, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded import Hub
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

COUNTING = "#!/bin/bash\necho begun >> begun.txt\nfor each in $(seq 40); do echo $each; sleep 0.25; done\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hub]:
    settings = {}
    if request.param == "postgresql":
        import psycopg

        server = request.getfixturevalue("postgres_url")
        name = f"hub_{os.getpid()}_{time.monotonic_ns()}"
        with psycopg.connect(server, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}")
        settings["COLLEGIUM_DATABASE_URL"] = server.rsplit("/", 1)[0] + f"/{name}"
    hub = Hub(tmp_path, **settings)
    hub.write("count.sh", COUNTING)
    yield hub
    if hub.up.poll() is None:
        hub.close()


def state(hub: Hub, job: str) -> str:
    return str(hub.json("job", "status", job)["state"])


def test_the_way_from_a_command_to_a_signed_result(hub: Hub) -> None:
    hub("job", "submit", "count.sh", "--name", "count", "--follow")
    hub("note", "post", "A count", "--text", "It counts: $E_n$", "--attach", "begun.txt")
    hub("key", "create", "mine")
    # A verb of the operator reads the hub's own settings, so it runs in a process that has them.
    code, _ = hub.begin("step-up", stdout=subprocess.PIPE).communicate(timeout=60)
    hub("window", "open", code.strip())
    hub("note", "sign", "1", "--key", "mine")
    assert "Verified" in hub("verify", "1")
    assert "holds" in hub("verify")


def test_kill_9_of_the_house_in_mid_job_leaves_nothing_alive_and_the_job_says_so(hub: Hub) -> None:
    job = hub.json("job", "submit", "count.sh")["id"]
    wait_for(lambda: state(hub, job) == "RUNNING", 90, "the job runs")
    seen = wait_for(
        lambda: (log := hub("job", "logs", job)).startswith("1\n2\n") and log, 60, "the first lines are shown"
    )
    assert len(hub.processes()) > 6
    hub.up.kill()
    hub.up.wait()
    wait_for(lambda: not hub.processes(), 60, f"everything ends: {hub.processes()}")
    hub.up = hub.start()
    wait_for(lambda: state(hub, job) == "NODE_FAILED", 90, "the job tells that its hub was stopped")
    assert hub("job", "logs", job).startswith(seen), "a line that was shown is gone"
    assert "holds" in hub("verify")


def test_workers_agent_and_web_killed_in_mid_job_run_it_once_to_its_end(hub: Hub) -> None:
    job = hub.json("job", "submit", "count.sh")["id"]
    wait_for(lambda: state(hub, job) == "RUNNING", 90, "the job runs")
    for kind in ("work", "agent", "web"):
        for pid, command in hub.processes().items():
            if f"hub.cli {kind}" in command:
                os.kill(pid, signal.SIGKILL)
    wait_for(lambda: _state_if_told(hub, job) == "SUCCEEDED", 150, "the job ends well")
    ended = hub.json("job", "status", job)
    hub("artifact", "get", "begun.txt")
    assert (hub.here / "begun.txt").read_text() == "begun\n", "it was begun more than once"
    assert [output["path"] for output in ended["outputs"]] == ["begun.txt"]
    assert hub("job", "logs", job).split() == [str(n) for n in range(1, 41)]


def _state_if_told(hub: Hub, job: str) -> str:
    """How the job stands, or nothing while web is away."""
    try:
        return state(hub, job)
    except AssertionError:
        return ""
