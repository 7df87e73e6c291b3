"""kill -9 of the agent at every step of a job on Kubernetes: the next agent goes on, and the job happens once.

At which step it dies is not left to chance: the proxy before the API server keeps the step's own request, or its
answer, and the agent is killed while it waits for it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from hub import app
from hub.core.bus import MemoryBus
from hub.core.context import Actor
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs import rules, views
from hub.jobs.backends.kubernetes_rules import short
from hub.jobs.tables import backends
from hub.perform import perform
from tests.conftest import make_person
from tests.jobs import run_steps
from tests.real.fault_proxy import FaultProxy, Kind
from tests.real.kube_lab import Lab
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SCRIPT = (
    "#!/bin/sh\necho run >> count; echo begun\nwhile [ ! -e go ]; do sleep 0.1; done\n"
    "echo made > made.txt; echo ended\n"
)
SMALL = {"memory": "64M", "time": "10"}
REPOSITORY = Path(__file__).parents[2]


class Step(NamedTuple):
    """What the agent asks at this step: the request of that method whose path holds the words."""

    kind: Kind
    method: str
    words: str
    when: str = ""  # the job's state before the request is to be kept


# A command in the porter's pod is asked for by a path that holds the command.
STEPS = {
    "before the folder is laid": Step("hold", "GET", "gzip+-dc"),
    "before the Job is made": Step("hold", "POST", "/jobs"),
    "after the Job was made": Step("hang", "POST", "/jobs"),
    "before its uid is noted": Step("hold", "GET", ".job.uid."),
    "while the log is read": Step("hold", "GET", "while+read+-r+d+o", "RUNNING"),
    "before results are listed": Step("hold", "GET", "find+."),
    "while results are fetched": Step("hold", "GET", "tar+-cf"),
    "before the Job is removed": Step("hold", "DELETE", "/jobs/"),
    "after the Job was removed": Step("hang", "DELETE", "/jobs/"),
    "before the folder is cleared": Step("hold", "GET", "rm+-rf+work"),
}


class Hub:
    """A hub with a clock that goes, whose one cluster is the lab's, seen through a proxy."""

    def __init__(self, lab: Lab, folder: Path, empty_database: Path) -> None:
        self.lab, self.log = lab, folder / "agents.log"
        settings = Settings(data=folder / "data", public_url="http://hub.test")
        settings.data.mkdir()
        shutil.copyfile(empty_database, settings.data / "hub.sqlite3")
        self.house: House = app.build(settings, bus=MemoryBus())
        self.proxy = FaultProxy(lab.kube.authority, lab.kube.ports["api"])
        self.ana = make_person(self.house, "ana")
        operator = make_person(self.house, "olga", hub_role="operator")
        lab.registered(self._perform, operator, "harbour", server=self.proxy.url)
        self.account = self._perform(operator, "cluster_test", cluster="harbour")["account"]
        self.agents: list[subprocess.Popen[bytes]] = []

    def _perform(self, actor: Actor, action: str, **params: Any) -> Any:
        return app_result(self.house, actor, action, params)

    def submit(self) -> str:
        wish = {"script": SCRIPT, "cluster": "harbour", "resources": SMALL}
        return str(self._perform(self.ana, "job_submit", **wish)["id"])

    def cancel(self, job: str) -> None:
        self._perform(self.ana, "job_cancel", job=job)

    def job(self, job: str) -> views.JobView:
        run_steps(self.house)
        with self.house.scope(self.ana) as scope:
            return views.job(scope, job)

    def said(self, job: str) -> bytes:
        with self.house.scope(self.ana) as scope:
            return views.log_piece(scope, job).data

    def agent(self) -> None:
        """Have one work; the lease of one that was killed before it has run out."""
        if self.agents:
            return
        ended = sa.update(backends).where(backends.c.name == self.account).values(lease_until=None)
        self.house.db.write(lambda tx: tx.execute(ended))
        argv = [sys.executable, "-m", "tests.real.agent_process", str(self.house.settings.data)]
        with self.log.open("ab") as said:
            self.agents.append(subprocess.Popen(argv, stdout=said, stderr=said, cwd=REPOSITORY))

    def kill(self) -> None:
        for each in self.agents:
            each.kill()
            each.wait()
        self.agents.clear()

    def folder(self, job: str) -> Path:
        return self.lab.volume / short(self.account) / "jobs" / job

    def starts(self, job: str) -> list[str]:
        """Each start that ever was, by who held the lock of the run."""
        return [each.read_text() for each in self.folder(job).glob("*/run.lock/pod")]

    def go(self, job: str) -> None:
        (self.folder(job) / "1" / "work" / "go").touch()

    def close(self) -> None:
        self.kill()
        self.proxy.close()
        self.house.close()


def app_result(house: House, actor: Actor, action: str, params: dict[str, Any]) -> Any:
    asked = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
    return perform(house, asked, actor).result


@pytest.fixture(scope="module")
def of_module(lab: Lab, tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Hub]:
    made = Hub(lab, Path(tmp_path_factory.mktemp("killed")), empty_database)
    yield made
    made.close()


@pytest.fixture
def hub(of_module: Hub) -> Iterator[Hub]:
    """The agent that ended one test's job is the one that is killed in the next."""
    of_module.proxy.faults.clear()
    yield of_module
    # What a test that failed left there must not take up the node's room.
    for each in of_module.lab.jobs():
        path = f"/apis/batch/v1/namespaces/{of_module.lab.namespace}/jobs/{each['metadata']['name']}"
        of_module.lab.kube.ask(path, {"propagationPolicy": "Background"}, "DELETE")


def jobs_there(hub: Hub, job: str) -> int:
    return sum(each["metadata"]["labels"]["collegium/job"] == job for each in hub.lab.jobs())


def is_over(hub: Hub, job: str) -> bool | None:
    return hub.job(job).state in rules.TERMINAL or None


@pytest.mark.parametrize("name", STEPS)
def test_an_agent_killed_at_a_step_leaves_a_job_that_happens_once(hub: Hub, name: str) -> None:
    step = STEPS[name]
    job = hub.submit()
    if not step.when:
        fault = hub.proxy.add(step.kind, step.method, step.words)
    hub.agent()
    early = step.when or step.words in ("gzip+-dc", "/jobs", ".job.uid.")
    if not early:
        wait_for(lambda: hub.job(job).state == "RUNNING" or None, 90, "the program's start")
        hub.go(job)
    if step.when:
        wait_for(lambda: hub.job(job).state == step.when or None, 90, f"the job being {step.when}")
        fault = hub.proxy.add(step.kind, step.method, step.words)
    wait_for(lambda: (hub.job(job), fault.happened)[1] or None, 90, f"the moment {name}")
    hub.kill()
    hub.agent()
    if early:
        wait_for(lambda: hub.job(job).state == "RUNNING" or None, 90, "the program's start")
        hub.go(job)
    wait_for(lambda: is_over(hub, job), 120, "its end")
    seen = hub.job(job)
    assert (seen.state, seen.reason) == ("SUCCEEDED", "Finished."), hub.log.read_text()[-4000:]
    assert {each.path for each in seen.outputs} == {"count", "go", "made.txt"}
    assert hub.said(job) == b"begun\nended\n"
    assert len(hub.starts(job)) == 1 and jobs_there(hub, job) <= 1
    assert [each.name for each in hub.folder(job).iterdir()] == ["1"]


@pytest.mark.parametrize("kind", ["hold", "hang"])
def test_an_agent_killed_while_it_cancels_leaves_a_job_that_is_cancelled_by_the_next(hub: Hub, kind: Kind) -> None:
    job = hub.submit()
    hub.agent()
    wait_for(lambda: hub.job(job).state == "RUNNING" or None, 90, "the program's start")
    fault = hub.proxy.add(kind, "PATCH", "/jobs/")
    hub.cancel(job)
    wait_for(lambda: fault.happened or None, 60, "the cancellation being asked for")
    hub.kill()
    hub.agent()
    wait_for(lambda: is_over(hub, job), 120, "its end")
    assert (hub.job(job).state, hub.job(job).reason) == ("CANCELLED", "Cancelled.")
    assert len(hub.starts(job)) == 1 and hub.said(job) == b"begun\n"


def test_a_job_that_was_to_be_cancelled_when_its_agent_died_before_it_was_made_never_runs(hub: Hub) -> None:
    job = hub.submit()
    fault = hub.proxy.add("hold", "POST", "/jobs")
    hub.agent()
    wait_for(lambda: (hub.job(job), fault.happened)[1] or None, 90, "the Job about to be made")
    hub.kill()
    hub.cancel(job)
    hub.agent()
    wait_for(lambda: is_over(hub, job), 120, "its end")
    assert hub.job(job).state == "CANCELLED" and jobs_there(hub, job) == 0
    assert hub.starts(job) == ["nobody\n"]


def test_jobs_go_on_through_a_restart_of_the_api_server_and_one_of_their_agent(hub: Hub) -> None:
    """Both at once, while one job runs and ends unseen, and another is to be handed over."""
    kube = hub.lab.kube
    runs = hub.submit()
    hub.agent()
    wait_for(lambda: hub.job(runs).state == "RUNNING" or None, 90, "the program's start")
    kube.end("api", hard=True)
    hub.kill()
    late = hub.submit()
    hub.agent()
    hub.go(runs)
    wait_for(lambda: (hub.folder(runs) / "1" / "end").exists() or None, 60, "an end that nobody sees")
    kube.start_api()
    wait_for(lambda: is_over(hub, runs), 120, "its end")
    # The node has room for one of them only.
    wait_for(lambda: hub.job(late).state == "RUNNING" or None, 120, "the program's start")
    hub.go(late)
    wait_for(lambda: is_over(hub, late), 120, "its end")
    for job in (runs, late):
        assert (hub.job(job).state, hub.job(job).reason) == ("SUCCEEDED", "Finished.")
        assert len(hub.starts(job)) == 1 and hub.said(job) == b"begun\nended\n"
