"""The door for agents elsewhere: a token opens one account and nothing else, and what comes twice is heard once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, NotFound, Unavailable
from hub.core.house import House
from hub.jobs import logs, views
from hub.jobs.clusters import choosing, serving
from hub.jobs.clusters import views as cluster_views
from hub.jobs.clusters.tables import cluster_accounts
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger, ledger_bodies
from hub.people.tables import persons
from tests.conftest import Perform
from tests.jobs import add_file, run_steps
from tests.web.conftest import HOST_KEY

READY = {"standing": {"reached": True, "version": "22.05.8"}}


class Elsewhere:
    """A person's agent, as the wire has it."""

    def __init__(self, client: TestClient, secret: str, name: str = "desk:1") -> None:
        self.client, self.name = client, name
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.epoch: int | None = None
        self.told = 0

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(f"/api/agent/{path}", json=body, headers=self.headers)

    def work(self, **more: Any) -> Any:
        answer = self.post("work", agent=self.name, **more)
        assert answer.status_code == 200, answer.text
        self.epoch = answer.json()["epoch"]
        return answer.json()

    def report(self, job: str, sight: str, **seen: Any) -> Any:
        self.told += 1
        report = {"job": job, "run": 1, "seen": {"sight": sight, **seen}, "log_size": seen.pop("log_size", 0)}
        return self.post("report", epoch=self.epoch, number=self.told, reports=[report])

    def log(self, job: str, offset: int, piece: bytes) -> Any:
        where = {"epoch": self.epoch, "job": job, "offset": offset}
        return self.client.post("/api/agent/log", params=where, content=piece, headers=self.headers)

    def put(self, job: str, at: int, offset: int, piece: bytes) -> Any:
        where = {"epoch": self.epoch, "job": job, "run": 1, "at": at, "offset": offset}
        return self.client.put("/api/agent/outputs", params=where, content=piece, headers=self.headers)


@pytest.fixture
def agent(client: Callable[..., TestClient], secret: str) -> Elsewhere:
    made = Elsewhere(client(), secret)
    assert made.post("ready", **READY).status_code == 200
    made.work()
    return made


@pytest.fixture
def job(agent: Elsewhere, house: House, ana: Actor, perform: Perform) -> str:
    add_file(house, ana, perform, "numbers.csv", b"1\n2\n3\n")
    made = perform(ana, "job_submit", script="#!/bin/sh\nwc numbers.csv\n", job_type="slurm", artifacts=["numbers.csv"])
    run_steps(house)
    return str(made["id"])


def state(house: House, actor: Actor, job: str) -> str:
    with house.scope(actor) as scope:
        return views.job(scope, job).state


def test_an_account_with_an_agent_has_no_credential_here_and_only_the_digest_of_its_token(
    house: House, secret: str, ana: Actor, perform: Perform
) -> None:
    with house.db.read() as conn:
        row = conn.execute(sa.select(cluster_accounts)).one()
        lines = b"".join(conn.execute(sa.select(ledger_bodies.c.bytes)).scalars())
    assert (row.kind, row.public_key, row.private_sealed, row.tested_at) == ("agent", "", None, None)
    assert row.token_digest == hashlib.sha256(secret.encode()).digest()
    assert secret not in str(tuple(row)) and secret.encode() not in lines
    again = perform(ana, "cluster_join", cluster="raven", login="ana1", agent=True)
    assert again["secret"] is None and again["line"] == ""
    with pytest.raises(Conflict, match="an agent of yours signs in"):
        perform(ana, "cluster_join", cluster="raven", login="ana1")


def test_a_job_says_that_it_waits_for_the_agent(house: House, clock: FrozenClock, job: str, ana: Actor) -> None:
    with house.scope(ana) as scope:
        assert views.job(scope, job).reason == "Being handed to the machine that runs it."
    clock.advance(limits.AGENT_LEASE_SECONDS + 1)
    with house.scope(ana) as scope:
        assert views.job(scope, job).reason == views.AGENT_ABSENT


def test_the_page_of_a_cluster_asks_for_no_line_where_an_agent_signs_in(
    client: Callable[..., TestClient], agent: Elsewhere, clock: FrozenClock, ana: Actor, perform: Perform
) -> None:
    page = client(ana).get("/clusters/raven")
    assert page.status_code == 200 and "An agent of your own signs in" in page.text
    assert "authorized_keys" not in page.text and "raven let ana1 in" in page.text
    clock.advance(limits.AGENT_LEASE_SECONDS + 1)
    assert "it is not connected" in client(ana).get("/clusters/raven").text
    perform(ana, "cluster_leave", cluster="raven")
    assert "authorized_keys" not in client(ana).get("/clusters").text


def test_the_hub_itself_starts_no_agent_for_such_an_account(house: House, job: str) -> None:
    usable, busy = serving.Accounts(house, "here")._rows()
    assert usable == {} and len(busy) == 1


def test_jobs_go_there_only_after_the_agent_was_let_in_and_prefer_one_that_is_connected(
    house: House, clock: FrozenClock, client: Callable[..., TestClient], secret: str, ana: Actor, perform: Perform
) -> None:
    with pytest.raises(Unavailable, match="no tested account"):
        perform(ana, "job_submit", script="#!/bin/sh\n", job_type="slurm")
    with pytest.raises(Unavailable, match="not connected"):
        perform(ana, "cluster_test", cluster="raven")
    agent = Elsewhere(client(), secret)
    agent.work()
    agent.post("ready", standing={"reached": False, "said": "no key in the ssh-agent"})
    with pytest.raises(Unavailable, match="no key in the ssh-agent"):
        perform(ana, "cluster_test", cluster="raven")
    agent.post("ready", **READY)
    tried = perform(ana, "cluster_test", cluster="raven")
    assert tried["connected"] is True and tried["standing"]["version"] == "22.05.8"
    with house.scope(ana) as scope:
        assert choosing.account(scope, "raven").reached
    clock.advance(limits.AGENT_LEASE_SECONDS + 1)
    with house.scope(ana) as scope:
        assert not choosing.account(scope, "raven").reached
        assert cluster_views.all_clusters(scope).clusters[0].account.connected is False  # type: ignore[union-attr]


def test_a_token_opens_its_account_and_nothing_else(
    client: Callable[..., TestClient], agent: Elsewhere, ana: Actor
) -> None:
    place = agent.client.get("/api/agent/account", headers=agent.headers).json()
    assert (place["cluster"], place["login"], place["host_keys"]) == ("raven", "ana1", [HOST_KEY])
    for path in ("/api/me", "/api/jobs", "/api/clusters", "/api/events"):
        assert agent.client.get(path, headers=agent.headers).status_code == 401, path
    for path in ("account", "content"):
        assert client(ana).get(f"/api/agent/{path}").status_code == 401
        assert client().get(f"/api/agent/{path}").status_code == 401
    assert client(ana).post("/api/agent/work", json={"agent": "x"}).status_code == 401


def test_work_is_told_at_once_when_there_is_some_and_waited_for_when_there_is_none(
    house: House, agent: Elsewhere, ana: Actor, perform: Perform
) -> None:
    idle = agent.work()
    answers: list[Any] = []
    waiting = threading.Thread(
        target=lambda: answers.append(agent.work(epoch=idle["epoch"], mark=idle["mark"], seconds=20))
    )
    waiting.start()
    job = perform(ana, "job_submit", script="#!/bin/sh\n", job_type="slurm")["id"]
    run_steps(house)
    waiting.join(10)
    assert [each["job"] for each in answers[0]["watched"]] == [job]
    assert answers[0]["watched"][0]["state"] == "SUBMITTING"
    assert agent.work(epoch=answers[0]["epoch"], mark=answers[0]["mark"], seconds=0.0)["mark"] == answers[0]["mark"]


def test_a_revoked_token_ends_the_waiting_and_a_new_one_takes_its_place(
    agent: Elsewhere, ana: Actor, perform: Perform
) -> None:
    idle = agent.work()
    answers: list[Any] = []
    asked = {"agent": agent.name, "epoch": idle["epoch"], "mark": idle["mark"], "seconds": 20}
    waiting = threading.Thread(target=lambda: answers.append(agent.post("work", **asked)))
    waiting.start()
    perform(ana, "cluster_token", cluster="raven", revoke=True)
    waiting.join(5)  # a second is promised; what is waited for here is that it ends long before the 20
    assert answers[0].status_code == 401 and answers[0].json()["code"] == "agent_token_refused"
    fresh = perform(ana, "cluster_token", cluster="raven")["secret"]
    assert agent.post("work", agent="x").status_code == 401
    assert Elsewhere(agent.client, fresh, agent.name).work()["epoch"] == idle["epoch"]


def test_leaving_removing_and_disabling_end_a_token(
    house: House, agent: Elsewhere, ana: Actor, perform: Perform
) -> None:
    for disabled_at, status in ((house.clock.now(), 401), (None, 200)):
        found = sa.update(persons).where(persons.c.id == ana.id).values(disabled_at=disabled_at)
        house.db.write(lambda tx, found=found: tx.execute(found))
        assert agent.post("work", agent="desk:1").status_code == status
    assert agent.post("work", agent="desk:1").status_code == 200
    perform(ana, "cluster_leave", cluster="raven")
    assert agent.post("work", agent="desk:1").status_code == 401
    with house.db.read() as conn:
        assert conn.execute(sa.select(cluster_accounts.c.token_digest)).scalar_one() is None
    with pytest.raises(NotFound):
        perform(ana, "cluster_token", cluster="raven")


def test_a_second_agent_stands_by_until_the_first_is_gone_and_then_fences_it(
    clock: FrozenClock, agent: Elsewhere, secret: str, job: str
) -> None:
    second = Elsewhere(agent.client, secret, "laptop:2")
    assert second.work()["epoch"] is None
    clock.advance(limits.AGENT_LEASE_SECONDS + 1)
    before = agent.epoch
    assert second.work()["epoch"] == before + 1  # type: ignore[operator]
    late = agent.report(job, "waiting", native="77")
    assert late.status_code == 409 and late.json()["code"] == "overtaken"
    assert agent.log(job, 0, b"x").status_code == 409
    assert agent.post("order", epoch=before, job=job).json()["code"] == "overtaken"


def test_from_an_order_to_what_the_job_made(house: House, agent: Elsewhere, job: str, ana: Actor) -> None:
    order = agent.post("order", epoch=agent.epoch, job=job).json()
    (given,) = order["inputs"]
    where = {"epoch": agent.epoch, "job": job, "digest": given["digest"]}
    got = agent.client.get("/api/agent/content", params=where, headers=agent.headers)
    assert got.content == b"1\n2\n3\n"
    rest = agent.client.get("/api/agent/content", params={**where, "offset": 4}, headers=agent.headers)
    assert rest.content == b"3\n"
    laid = agent.post("given", epoch=agent.epoch, job=job).json()
    assert laid["numbers.csv"]["digest"] == given["digest"]

    assert agent.report(job, "waiting", native="77").json()["watched"][0]["native"] == "77"
    agent.report(job, "started")
    assert agent.log(job, 0, b"hel").json() == {"size": 3}
    assert agent.log(job, 0, b"hello\n").json() == {"size": 6}
    end = {"reason": "exited", "code": 0, "started_at": 1717243200.0, "ended_at": 1717243201.0}
    assert agent.report(job, "ended", exit=end, log_size=10**9).status_code == 200
    assert logs.store(house.settings.data).read(job, 0) == b"hello\n"
    assert agent.log(job, 0, b"HELLO\n").status_code == 200  # its outputs are still awaited, so it is at work
    made = b"12 bytes or\n" * 100
    file = {"path": "out/total.txt", "size": len(made), "mtime_ns": 1717243200 * 10**9}
    file["digest"] = hashlib.sha256(made).hexdigest()
    there = {"cluster": "raven", "folder": "/h/r", "refer": []}
    announced = {"epoch": agent.epoch, "job": job, "run": 1, "files": [file], "there": there}
    assert agent.post("outputs", **announced).json() == {"offsets": [0]}
    done = {"epoch": agent.epoch, "job": job, "run": 1}
    assert agent.post("fetched", **done).json()["code"] == "files_missing"
    assert agent.put(job, 0, 0, made[:500]).json() == {"size": 500}
    assert agent.post("outputs", **announced).json() == {"offsets": [500]}
    assert agent.put(job, 0, 700, made[700:]).json()["code"] == "offset_differs"
    assert agent.put(job, 0, 500, made[500:] + b"!").json()["code"] == "file_too_long"
    assert agent.put(job, 0, 500, made[500:]).json() == {"size": len(made)}
    assert agent.put(job, 0, 500, made[500:]).json() == {"size": len(made)}
    assert agent.post("outputs", **announced).json() == {"offsets": [None]}
    assert agent.post("fetched", **done).status_code == 200
    run_steps(house)
    with house.scope(ana) as scope:
        ended = views.job(scope, job)
    assert (ended.state, [each.path for each in ended.outputs]) == ("SUCCEEDED", ["out/total.txt"])
    assert agent.post("fetched", **done).status_code == 404
    assert agent.log(job, 0, b"forged").status_code == 404
    assert logs.store(house.settings.data).read(job, 0) == b"HELLO\n"


def test_bytes_that_are_not_those_announced_are_thrown_away(house: House, agent: Elsewhere, job: str) -> None:
    agent.post("order", epoch=agent.epoch, job=job)
    agent.report(job, "waiting", native="77")
    agent.report(job, "ended", exit={"reason": "exited", "code": 0})
    file = {"path": "a", "size": 3, "mtime_ns": 1, "digest": hashlib.sha256(b"abc").hexdigest()}
    there = {"cluster": "raven", "folder": "/h/r", "refer": []}
    agent.post("outputs", epoch=agent.epoch, job=job, run=1, files=[file], there=there)
    assert agent.put(job, 0, 0, b"abd").json()["code"] == "digest_differs"
    assert agent.put(job, 0, 0, b"abc").json() == {"size": 3}
    # Another file of the same size and time is another file.
    file["digest"] = hashlib.sha256(b"xyz").hexdigest()
    again = agent.post("outputs", epoch=agent.epoch, job=job, run=1, files=[file], there=there)
    assert again.json() == {"offsets": [0]}


def test_a_report_that_comes_twice_or_late_is_heard_once(house: House, agent: Elsewhere, job: str, ana: Actor) -> None:
    first = {"job": job, "run": 1, "seen": {"sight": "waiting", "native": "77", "detail": "In Slurm's queue."}}
    then = {"job": job, "run": 1, "seen": {"sight": "started"}}
    agent.post("report", epoch=agent.epoch, number=1, reports=[first])
    for _ in range(2):
        assert agent.post("report", epoch=agent.epoch, number=2, reports=[then]).status_code == 200
    # The first one's connection hung, and its second try comes behind: the job was not requeued.
    late = agent.post("report", epoch=agent.epoch, number=1, reports=[first]).json()
    assert late["watched"][0]["state"] == state(house, ana, job) == "RUNNING"
    query = sa.select(sa.func.count()).where(ledger.c.object == job, ledger.c.action == "job_observed")
    with house.db.read() as conn:
        assert conn.execute(query).scalar_one() == 3  # placed, accepted, started


def test_another_persons_job_is_as_unknown_as_none(
    client: Callable[..., TestClient], house: House, agent: Elsewhere, job: str, ben: Actor, ana: Actor,
    perform: Perform,
) -> None:  # fmt: skip
    bens = Elsewhere(client(), perform(ben, "cluster_join", cluster="raven", login="ben1", agent=True)["secret"])
    bens.post("ready", **READY)
    assert bens.work()["watched"] == []
    digest = agent.post("order", epoch=agent.epoch, job=job).json()["inputs"][0]["digest"]
    for which in (job, "job_" + "0" * 26):
        where = {"epoch": bens.epoch, "job": which, "digest": digest}
        answers = [
            bens.post("order", epoch=bens.epoch, job=which),
            bens.post("given", epoch=bens.epoch, job=which),
            bens.log(which, 0, b"x"),
            bens.put(which, 0, 0, b"x"),
            bens.post("fetched", epoch=bens.epoch, job=which, run=1),
            bens.client.get("/api/agent/content", params=where, headers=bens.headers),
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert {answer.json()["detail"] for answer in answers} == {"no such job is at work under this account"}
    assert bens.report(job, "lost").status_code == 200
    assert state(house, ana, job) == "SUBMITTING"
    assert logs.store(house.settings.data).size(job) == 0


def test_an_input_of_another_job_is_not_given(house: House, agent: Elsewhere, job: str, ana: Actor) -> None:
    unknown = {"epoch": agent.epoch, "job": job, "digest": "0" * 64}
    answer = agent.client.get("/api/agent/content", params=unknown, headers=agent.headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "input_not_found")
    digest = agent.post("order", epoch=agent.epoch, job=job).json()["inputs"][0]["digest"]
    agent.report(job, "waiting", native="77")
    late = agent.client.get("/api/agent/content", params={**unknown, "digest": digest}, headers=agent.headers)
    assert late.status_code == 404  # once it is submitted, nobody needs them


def of_run(seen: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"epoch": 1, "number": 1, "reports": [{"job": "j", "run": 1, "seen": seen, **more}]}


BAD = [
    ("work", {"agent": ""}, "$.agent"),
    ("work", {"agent": "a", "seconds": 1e9}, "$.seconds"),
    ("work", {"agent": "a", "more": 1}, "$"),
    ("work", [], "$"),
    ("report", {"epoch": 1, "number": 0, "reports": []}, "$.number"),
    ("report", {"epoch": 1, "number": 2**40, "reports": []}, "$.number"),
    ("report", of_run({"sight": "no"}), "$.reports[0].seen.sight"),
    ("report", of_run({"sight": "started"}, log_size=-1), "$.reports[0].log_size"),
    ("report", of_run({"sight": "ended", "exit": {"reason": "x", "ended_at": 1e300}}),
     "$.reports[0].seen.exit.ended_at"),
    ("report", of_run({"sight": "waiting", "native": "1; rm"}), "$.reports[0].seen.native"),
    ("report", of_run({"sight": "waiting", "detail": "a\0b"}), "$.reports[0].seen"),
    ("ready", {"standing": {"reached": True, "version": "\0"}}, "$.standing"),
    ("stands", {"epoch": 1, "standing": {"reached": "yes"}}, "$.standing.reached"),
    ("order", {"epoch": 1, "job": ""}, "$.job"),
]  # fmt: skip


def test_bad_input_is_refused_with_its_place(agent: Elsewhere) -> None:
    for path, body, where in BAD:
        answer = agent.client.post(f"/api/agent/{path}", json=body, headers=agent.headers)
        assert (answer.status_code, answer.json()["path"]) == (400, where), answer.text
    raw = agent.client.post("/api/agent/work", content=b"\xff{", headers=agent.headers)
    assert raw.status_code == 400
    huge = {"epoch": agent.epoch, "job": "j", "offset": "9" * 30}
    answer = agent.client.post("/api/agent/log", params=huge, content=b"", headers=agent.headers)
    assert (answer.status_code, answer.json()["path"]) == (400, "offset")


def test_a_name_that_climbs_out_is_refused_before_a_byte_comes(agent: Elsewhere, job: str) -> None:
    agent.post("order", epoch=agent.epoch, job=job)
    agent.report(job, "waiting", native="77")
    agent.report(job, "ended", exit={"reason": "exited", "code": 0})
    there = {"cluster": "raven", "folder": "/h/r", "refer": []}
    for path in ("../up", "/etc/passwd", "a//b", "a/../b", "", "a\0b", "x" * 300, "e\u0301"):
        file = {"path": path, "size": 1, "mtime_ns": 1, "digest": "0" * 64}
        answer = agent.post("outputs", epoch=agent.epoch, job=job, run=1, files=[file], there=there)
        assert (answer.status_code, answer.json()["path"]) == (400, "$.files[0].path"), path
    assert agent.put(job, 0, 0, b"x").json()["code"] == "not_announced"
    one = {"size": 1, "mtime_ns": 1, "digest": hashlib.sha256(b"x").hexdigest()}
    files = [{"path": "a", **one}, {"path": "a/b", **one}]
    agent.post("outputs", epoch=agent.epoch, job=job, run=1, files=files, there=there)
    assert agent.put(job, 0, 0, b"x").status_code == 200
    assert agent.put(job, 1, 0, b"x").json()["detail"] == "a/b cannot lie there"


def test_more_than_may_come_home_is_refused_unless_it_was_asked_for(agent: Elsewhere, job: str, house: House) -> None:
    agent.post("order", epoch=agent.epoch, job=job)
    agent.report(job, "waiting", native="77")
    assert agent.log(job, limits.LOG_BYTES, b"x").status_code == 413
    assert agent.log(job, 0, b"x" * (limits.AGENT_LOG_PIECE_BYTES + 1)).status_code == 413
    agent.report(job, "ended", exit={"reason": "exited", "code": 0})
    there = {"cluster": "raven", "folder": "/h/r", "refer": []}

    def announce(count: int, size: int) -> Any:
        files = [{"path": f"f{at}", "size": size, "mtime_ns": 1, "digest": "0" * 64} for at in range(count)]
        return agent.post("outputs", epoch=agent.epoch, job=job, run=1, files=files, there=there)

    assert announce(1, limits.COLLECT_FILE_BYTES + 1).json()["path"] == "$.files[0].size"
    assert announce(limits.COLLECT_FILES + 1, 1).json()["path"] == "$.files"
    assert announce(limits.COLLECT_BYTES // limits.COLLECT_FILE_BYTES + 1, limits.COLLECT_FILE_BYTES).status_code == 413
    assert announce(2, 1).status_code == 200
    house.db.write(lambda tx: tx.execute(sa.update(jobs).values(fetch_patterns=["f0"])))
    assert announce(1, limits.COLLECT_FILE_BYTES + 1).status_code == 200
    assert announce(2, limits.COLLECT_FILE_BYTES + 1).json()["path"] == "$.files[1].size"
    assert announce(1, limits.COLLECT_ASKED_BYTES + 1).json()["path"] == "$.files[0].size"
