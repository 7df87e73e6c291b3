"""A storm over a cluster: whatever is killed, cut, stopped, lost or repeated, each job runs once and ends as it ended.

A fake scheduler behind a real sshd does to each job what a seed says; the agents are killed, stopped and overtaken, and
the connection is cut, all the while. So it goes for the agents of the house, and for a person's own over HTTP, whose
hub is away now and then. The seed is printed, and COLLEGIUM_TEST_SEED repeats it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub import app
from hub.core.bus import MemoryBus
from hub.core.context import Actor
from hub.core.errors import Conflict
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs import rules, views
from hub.jobs.clusters.rules import fingerprint
from hub.jobs.clusters.tables import cluster_accounts
from hub.jobs.tables import jobs
from hub.perform import perform
from tests.conftest import make_person
from tests.databases import free_port
from tests.faults.storm import FakeCluster, Told, fault_of, plan_of, script_of
from tests.jobs import run_steps
from tests.real.hub_served import Served
from tests.waiting import wait_for

JOBS = int(os.environ.get("COLLEGIUM_TEST_STORM", "100"))
SEED = os.environ.get("COLLEGIUM_TEST_SEED") or str(random.SystemRandom().randrange(10**9))

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    box = FakeCluster(SEED)
    yield box
    box.close()


@pytest.fixture
def hub(tmp_path: Path, empty_database: Path) -> Iterator[House]:
    """A hub with a clock that goes, since leases run out in this story."""
    settings = Settings(data=tmp_path / "data", public_url=f"http://127.0.0.1:{free_port()}")
    settings.data.mkdir()
    shutil.copyfile(empty_database, settings.data / "hub.sqlite3")
    house = app.build(settings, bus=MemoryBus())
    yield house
    house.close()


class Agents:
    """Agent processes, of which one works and the others stand by, die or sleep."""

    served: Served | None = None

    def __init__(self, hub: House, log: Path) -> None:
        self._hub, self._log = hub, log
        self.running: list[subprocess.Popen[bytes]] = []
        self.stopped: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        argv = [sys.executable, "-m", "tests.real.agent_process", str(self._hub.settings.data)]
        with self._log.open("ab") as said:
            self.running.append(subprocess.Popen(argv, stdout=said, stderr=said, stdin=subprocess.DEVNULL))

    def kill(self, chance: random.Random) -> None:
        if self.running:
            victim = self.running.pop(chance.randrange(len(self.running)))
            victim.kill()
            victim.wait()

    def said(self, what: str) -> bool:
        return what in self._log.read_text()

    def stop(self, chance: random.Random) -> None:
        if self.running:
            sleeper = self.running.pop(chance.randrange(len(self.running)))
            sleeper.send_signal(signal.SIGSTOP)
            self.stopped.append(sleeper)

    def wake_all(self) -> None:
        for sleeper in self.stopped:
            sleeper.send_signal(signal.SIGCONT)
        self.running += self.stopped
        self.stopped = []

    def close(self) -> None:
        self.wake_all()
        for each in self.running:
            each.terminate()
        for each in self.running:
            try:
                each.wait(10)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()


class AgentsElsewhere(Agents):
    """The same of a person's own, with their ssh-agent, before a hub that can be away."""

    def __init__(self, hub: House, log: Path, cluster: FakeCluster) -> None:
        super().__init__(hub, log)
        self.home, self._socket = log.parent, cluster.base / "agent.sock"
        self._keeper = subprocess.Popen(["ssh-agent", "-D", "-a", str(self._socket)], stdout=subprocess.DEVNULL)
        wait_for(self._socket.exists, 10, "the ssh-agent")
        environ = {**os.environ, "SSH_AUTH_SOCK": str(self._socket)}
        subprocess.run(["ssh-add", "-q", str(cluster.client_key)], env=environ, check=True, capture_output=True)
        self.served = Served(hub, int(hub.settings.origin.rpartition(":")[2]))
        self.served.start()

    def start(self) -> None:
        argv = [sys.executable, "-m", "tests.real.agent_elsewhere", self._hub.settings.origin, str(self.home)]
        with self._log.open("ab") as said:
            self.running.append(
                subprocess.Popen([*argv, str(self._socket)], stdout=said, stderr=said, stdin=subprocess.DEVNULL)
            )

    def close(self) -> None:
        super().close()
        self._keeper.terminate()
        self._keeper.wait()
        assert self.served is not None
        self.served.stop()


def act(hub: House, actor: Actor, action: str, **params: Any) -> Any:
    return perform(hub, {"tool": "distributed_collaboration", "params": {"action": action, **params}}, actor).result


def signed_up(hub: House, ana: Actor, cluster: FakeCluster, agents: Agents) -> None:
    operator = make_person(hub, "olga", hub_role="operator")
    wish = {"name": "raven", "host": "127.0.0.1", "port": cluster.port, "path": [str(cluster.bin)]}
    act(hub, operator, "cluster_add", **wish, fingerprint=fingerprint(cluster.host_key))
    cluster.write("knobs.json", cluster.knobs | {"squeue_fails": 0, "squeue_slow": 0})
    if isinstance(agents, AgentsElsewhere):
        joined = act(hub, ana, "cluster_join", cluster="raven", login=cluster.user, agent=True)
        (agents.home / "token").write_text(joined["secret"])
        agents.start()
        wait_for(lambda: is_tested(hub), 60, "the agent's signing in")
    else:
        cluster.allow(act(hub, ana, "cluster_join", cluster="raven", login=cluster.user)["line"])
        act(hub, ana, "cluster_test", cluster="raven")
        agents.start()
    cluster.write("knobs.json", cluster.knobs)


def is_tested(hub: House) -> bool:
    with hub.db.read() as conn:
        return conn.execute(sa.select(cluster_accounts.c.tested_at)).scalar_one() is not None


def submitted(hub: House, ana: Actor, cluster: FakeCluster, plans: dict[str, dict[str, Any]]) -> dict[str, str]:
    cluster.write("plans.json", plans)
    made = {}
    for name, plan in plans.items():
        made[name] = act(hub, ana, "job_submit", name=name, job_type="slurm", script=script_of(name, plan))["id"]
    return made


@pytest.mark.parametrize("where", ["house", "elsewhere"])
def test_each_job_runs_once_and_ends_as_it_ended(hub: House, cluster: FakeCluster, tmp_path: Path, where: str) -> None:
    print(f"COLLEGIUM_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    ana = make_person(hub, "ana")
    plans = {f"p{n:04}": plan_of(chance) for n in range(JOBS)}
    log = tmp_path / "agents.log"
    agents = Agents(hub, log) if where == "house" else AgentsElsewhere(hub, log, cluster)
    began, storm = time.monotonic(), 60.0 if JOBS > 20 else 20.0
    next_blow, blows = 3.0, 0
    try:
        signed_up(hub, ana, cluster, agents)
        made = submitted(hub, ana, cluster, plans)
        to_cancel = [made[name] for name, plan in plans.items() if plan["run"] == "cancel"]
        while open_jobs(hub):
            passed = time.monotonic() - began
            assert passed < 600, told(hub, plans, made, tmp_path, "not all have ended")
            run_steps(hub)
            if to_cancel and chance.random() < 0.1:
                with contextlib.suppress(Conflict):  # it was over before
                    act(hub, ana, "job_cancel", job=to_cancel.pop(chance.randrange(len(to_cancel))))
            if passed > next_blow and passed < storm:
                blow(agents, cluster, chance)
                blows += 1
                next_blow = passed + chance.uniform(1, 5)
            elif passed >= storm and (agents.stopped or not agents.running):
                agents.wake_all()
                agents.start()
            elif passed >= storm and agents.served is not None and agents.served.is_away:
                agents.served.start()
            time.sleep(0.05)
        seconds = time.monotonic() - began
    finally:
        agents.close()
    wrong = [said for name in plans if (said := fault(hub, ana, cluster, name, plans[name], made[name]))]
    assert not wrong, told(hub, plans, made, tmp_path, "\n".join(wrong))
    print(f"{JOBS} jobs in {seconds:.0f} s, {blows} blows, {submitted_again(hub)} submitted again")


def blow(agents: Agents, cluster: FakeCluster, chance: random.Random) -> None:
    """One thing that goes wrong with us, and somebody who takes over."""
    served = agents.served
    match chance.choice(["kill", "kill", "stop", "wake", "cut", "reset", *(["away"] * 2 if served else [])]):
        case "away" if served is not None:
            if served.is_away:
                served.start()
            else:
                served.stop()
        case "kill":
            agents.kill(chance)
        case "stop":
            agents.stop(chance)
        case "wake":
            agents.wake_all()
        case "cut":
            cluster.cut()
        case "reset":
            cluster.sh("echo 1 > fake/next")  # ids begin anew
    if not agents.running:
        agents.start()


def open_jobs(hub: House) -> int:
    with hub.db.read() as conn:
        query = sa.select(sa.func.count()).where(jobs.c.state.not_in(rules.TERMINAL))
        return int(conn.execute(query).scalar_one())


def submitted_again(hub: House) -> int:
    """How many jobs needed a second run, because it was certain that the first had never begun."""
    with hub.db.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).where(jobs.c.run > 1)).scalar_one())


def fault(hub: House, ana: Actor, cluster: FakeCluster, name: str, plan: dict[str, Any], job: str) -> str:
    """What is wrong with what became of a job; empty when nothing is."""
    with hub.scope(ana) as scope:
        view = views.job(scope, job)
        log = views.log_piece(scope, job).data.decode()
    outputs = [each.path for each in view.outputs]
    told = Told(view.state, view.exit_code, view.reason, outputs, view.notes, log)
    return fault_of(cluster.home / "truth" / name, name, plan, told)[1]


def told(hub: House, plans: dict[str, Any], made: dict[str, str], folder: Path, what: str) -> str:
    with hub.db.read() as conn:
        rows = conn.execute(sa.select(jobs).where(jobs.c.state.not_in(rules.TERMINAL))).all()
    left = [f"{row.name} {row.state} run {row.run} native {row.native}: {plans[row.name]}" for row in rows]
    log = (folder / "agents.log").read_text()[-6000:]
    return f"COLLEGIUM_TEST_SEED={SEED}: {what}\n" + "\n".join(left) + f"\n{log}"
