"""The port over HTTPS: whatever is lost on the way is told again, and nothing is done twice for it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import httpx
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.jobs import remote, views
from hub.jobs.anywhere.http_port import HttpPort, Refused, Unfit
from hub.jobs.anywhere.run import checked_url, way_of
from hub.jobs.backends.slurm import SlurmBackend
from hub.jobs.cluster_agent import ClusterAgent
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.plan_tables import start_estimates
from hub.jobs.port import Answer, Away, Observation, Overtaken, Question, Report, Standing, Sweep
from hub.jobs.remote import Remote
from hub.jobs.rules import Exit
from hub.jobs.ssh import Connection, Login
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger
from tests.conftest import Perform
from tests.jobs import add_file, run_steps
from tests.web.conftest import ORIGIN

NUMBERS = bytes(range(256)) * 4096


class Wire(httpx.BaseTransport):
    """The way to the hub, and what happens on it: `next` for the next request, `always` for each."""

    def __init__(self, application: TestClient) -> None:
        self._application = application
        self.always = ""
        self.next: list[str] = []
        self.paths: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        what = self.next.pop(0) if self.next else self.always
        self.paths.append(request.url.path.rpartition("/")[2])
        if what == "away":
            raise httpx.ConnectError("connection refused")
        if what == "proxy":
            return httpx.Response(502, content=b"<h1>Bad Gateway</h1>")
        if what == "page":
            return httpx.Response(200, content=b"<h1>Welcome to the hotel</h1>")
        answer = self._application.request(
            request.method, str(request.url), headers=dict(request.headers), content=request.read()
        )
        if what == "lost":
            raise httpx.ReadTimeout("the answer never came")
        if what == "cut":
            return httpx.Response(answer.status_code, stream=Cut(answer.content))
        return httpx.Response(answer.status_code, content=answer.content)


class Cut(httpx.SyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content[: len(self._content) // 2]
        raise httpx.ReadError("connection reset")


@pytest.fixture
def wire(client: Callable[..., TestClient]) -> Wire:
    return Wire(client())


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def port(wire: Wire, secret: str, tmp_path: Path, said: list[str]) -> Iterator[HttpPort]:
    made = HttpPort(ORIGIN, secret, tmp_path / "state", transport=wire, say=said.append, pause=lambda _: None)
    made.ready(Standing(reached=True, version="22.05.8"))
    made.ask_once(0)
    yield made
    made.close()


@pytest.fixture
def job(port: HttpPort, house: House, ana: Actor, perform: Perform) -> str:
    add_file(house, ana, perform, "numbers.bin", NUMBERS)
    made = perform(ana, "job_submit", script="#!/bin/sh\n", job_type="slurm", artifacts=["numbers.bin"])
    run_steps(house)
    port.ask_once(0)
    return str(made["id"])


def epoch_of(port: HttpPort) -> int:
    epoch = port.lease("")
    assert epoch is not None
    return epoch


def see(port: HttpPort, job: str, sight: Any, **more: Any) -> None:
    port.report(epoch_of(port), [Report(job, 1, Observation(sight, **more))])


def observed(house: House, job: str) -> int:
    query = sa.select(sa.func.count()).where(ledger.c.object == job, ledger.c.action == "job_observed")
    with house.db.read() as conn:
        return int(conn.execute(query).scalar_one())


def state(house: House, ana: Actor, job: str) -> str:
    with house.scope(ana) as scope:
        return views.job(scope, job).state


def test_a_report_whose_answer_was_lost_is_told_again_and_heard_once(
    house: House, ana: Actor, port: HttpPort, wire: Wire, job: str
) -> None:
    see(port, job, "waiting", native="77")
    before = observed(house, job)
    wire.next = ["lost"]
    with pytest.raises(Away):
        see(port, job, "started")
    assert state(house, ana, job) == "RUNNING"
    see(port, job, "started")
    assert observed(house, job) == before + 1
    assert [each.state for each in port.watched(epoch_of(port))] == ["RUNNING"]


def test_a_hub_that_is_away_is_told_later_what_became_of_the_jobs_in_its_order(
    house: House, ana: Actor, port: HttpPort, wire: Wire, job: str, said: list[str]
) -> None:
    see(port, job, "waiting", native="77")
    before = observed(house, job)
    # Nothing listens at this port: what the cluster would tell is told by the test.
    login = Login("127.0.0.1", "ana1", ("ssh-ed25519 " + "A" * 68,), 1)
    backend = SlurmBackend(Connection(login, asyncssh.generate_private_key("ssh-ed25519")), "hub")
    agent = ClusterAgent(port, backend, port.name, "raven")
    agent._epoch, agent._watched = port.lease(""), port.watched(epoch_of(port))

    async def story() -> None:
        wire.always = "away"
        for _ in range(2):
            await agent._report([((job, 1), Observation("started", native="77"))])
        await agent._report([((job, 1), Observation("waiting", native="77", detail="Begun again."))])
        assert state(house, ana, job) == "PENDING" and len(port.watched(epoch_of(port))) == 1
        wire.always = ""
        await agent._report([])

    asyncio.run(story())
    assert agent._untold == []
    with house.scope(ana) as scope:
        found = views.job(scope, job)
    assert (found.state, found.reason) == ("PENDING", "Begun again.") and found.started_at is not None
    assert observed(house, job) == before + 2  # it started, and was requeued
    away, back = (line for line in said if "The hub at" in line)
    assert "cannot be reached" in away and "answers again" in back


def test_inputs_go_on_where_they_broke_off_and_are_checked(port: HttpPort, wire: Wire, job: str) -> None:
    order = port.order(epoch_of(port), job)
    assert order is not None and (port.folder(job, 1) / "given.json").exists()
    digest = order.inputs[0]["digest"]
    wire.next = ["cut", "away", "cut"]
    assert b"".join(port.content(epoch_of(port), job, digest)) == NUMBERS
    wire.always = "away"
    with pytest.raises(Away):
        list(port.content(epoch_of(port), job, digest))


def test_outputs_go_home_once_whatever_is_lost(
    house: House, ana: Actor, port: HttpPort, wire: Wire, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.jobs.anywhere.http_port.FILE_PIECE_BYTES", 100)
    port.order(epoch_of(port), job)
    see(port, job, "waiting", native="77")
    assert port.append_log(epoch_of(port), job, 0, b"hello\n") == 6
    assert port.watched(epoch_of(port))[0].log_size == 6
    see(port, job, "ended", exit=Exit("exited", code=0))
    home = port.folder(job, 1)
    for path, content in {"a.txt": b"a" * 250, "deep/b.txt": b"b" * 100, "empty": b""}.items():
        (home / "work" / path).parent.mkdir(parents=True, exist_ok=True)
        (home / "work" / path).write_bytes(content)
    remote.keep(home, Remote("raven", "/h/r", []))
    for faults in (["away"], ["", "", "lost"], ["", "away"], [""] * 5 + ["lost"]):
        wire.next = list(faults)
        with pytest.raises(Away):
            port.fetched(epoch_of(port), job, 1)
    sent = wire.paths.count("outputs")
    port.fetched(epoch_of(port), job, 1)
    assert not home.exists()
    run_steps(house)
    with house.scope(ana) as scope:
        ended = views.job(scope, job)
    assert ended.state == "SUCCEEDED"
    assert [each.path for each in ended.outputs] == ["a.txt", "deep/b.txt", "empty"]
    assert wire.paths.count("outputs") - sent == 1  # it was all there: only its being announced came again


def test_an_agent_on_another_machine_learns_how_the_inputs_were_laid(
    port: HttpPort, wire: Wire, secret: str, clock: FrozenClock, job: str, tmp_path: Path
) -> None:
    port.order(epoch_of(port), job)
    see(port, job, "waiting", native="77")
    see(port, job, "ended", exit=Exit("exited", code=0))
    clock.advance(limits.AGENT_LEASE_SECONDS + 1)
    other = HttpPort(ORIGIN, secret, tmp_path / "elsewhere", transport=wire)
    other.ask_once(0)
    laid = (other.folder(job, 1) / "given.json").read_bytes()
    assert laid == (port.folder(job, 1) / "given.json").read_bytes()
    assert hashlib.sha256(NUMBERS).hexdigest().encode() in laid
    # The first one is fenced, and knows it from the first answer on.
    with pytest.raises(Overtaken):
        port.append_log(other.lease("") - 1, job, 0, b"x")  # type: ignore[operator]
    assert port.lease("") is None
    with pytest.raises(Overtaken):
        port.watched(1)


def test_questions_and_rates_come_with_the_work_and_are_answered_once(
    house: House, ana: Actor, port: HttpPort, clock: FrozenClock
) -> None:
    with house.db.read() as conn:
        account = conn.execute(sa.select(cluster_accounts.c.id)).scalar_one()
    options = ["--nodes=2"]
    asked = {"account": account, "digest": "d1", "options": options, "asked_at": house.clock.now()}
    house.db.write(lambda tx: tx.execute(sa.insert(start_estimates).values(**asked)))
    rate = [{"from": "08:00", "to": "18:00", "mbit": 5.0}]
    house.db.write(lambda tx: tx.execute(sa.update(clusters).values(rate=rate)))
    port.ask_once(0)
    assert port.questions(epoch_of(port)) == [Question("d1", ("--nodes=2",))] and port.is_busy
    assert [each.mbit for each in port.rate(epoch_of(port))] == [5.0]
    clock.advance(1)
    port.answer(epoch_of(port), [Answer("d1", starts_at=1717243200.0)])
    assert port.questions(epoch_of(port)) == []
    port.ask_once(0)
    assert port.questions(epoch_of(port)) == []
    with pytest.raises(Unfit):
        port.answer(epoch_of(port), [Answer("d1", starts_at=1e300)])


def test_only_what_may_go_is_taken_for_swept(house: House, ana: Actor, port: HttpPort, job: str) -> None:
    see(port, job, "refused", detail="raven would not take it")
    assert port.sweepable(epoch_of(port)) == []
    port.swept(epoch_of(port), Sweep(jobs=(job,), folders=1, size_bytes=10))
    with house.db.read() as conn:
        assert conn.execute(sa.select(jobs.c.swept_at).where(jobs.c.id == job)).scalar_one() is None
    with pytest.raises(Unfit):
        port.swept(epoch_of(port), Sweep(jobs=(), folders=-1, size_bytes=0))


def test_what_is_no_hubs_answer_is_a_hub_that_is_away(port: HttpPort, wire: Wire, job: str) -> None:
    for what in ("away", "proxy", "page", "lost"):
        wire.next = [what]
        with pytest.raises(Away):
            port.ask_once(0)
    assert len(port.watched(epoch_of(port))) == 1


def test_what_the_hub_will_never_take_is_not_sent_for_ever_as_if_it_were_away(port: HttpPort, job: str) -> None:
    with pytest.raises(Unfit, match="no id of a scheduler's job"):
        see(port, job, "waiting", native="1; rm")


def test_a_revoked_token_ends_it_for_good(port: HttpPort, ana: Actor, perform: Perform, wire: Wire, job: str) -> None:
    perform(ana, "cluster_token", cluster="raven", revoke=True)
    with pytest.raises(Refused):
        port.ask_once(0)
    asked = len(wire.paths)
    with pytest.raises(Refused):
        see(port, job, "started")
    assert len(wire.paths) == asked and port.refused is not None


def test_a_token_never_goes_in_the_clear_and_a_way_in_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for url in ("http://hub.example.org", "ftp://hub", "hub.example.org", "http://", "https://["):
        with pytest.raises(InvalidInput):
            checked_url(url)
    assert checked_url("https://hub.example.org/") == "https://hub.example.org"
    assert checked_url("http://127.0.0.1:8400") == "http://127.0.0.1:8400"
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent.sock")
    private = tmp_path / "id_ed25519"
    private.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    with pytest.raises(InvalidInput, match="not the public half"):
        way_of("", private)
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(InvalidInput, match="no ssh-agent"):
        way_of("", None)
