"""Jobs are held, released and started again: at once in the hub's own queue, by a wish where a cluster has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import Conflict, NotAllowed
from hub.core.house import House
from hub.jobs import rules, views
from hub.jobs.clusters import connecting
from hub.jobs.port import PassedOn, Wished
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger
from tests.actions.cluster_fixtures import PaperCluster
from tests.jobs import run_steps

Perform = Callable[..., Any]


@pytest.fixture
def raven(house: House, ana: Actor) -> PaperCluster:
    return PaperCluster(house, ana)


@pytest.fixture
def waiting(house: House, ana: Actor, perform: Perform, raven: PaperCluster) -> str:
    """A job of hers that Slurm has, and lets wait."""
    job = str(perform(ana, "job_submit", script="#!/bin/sh\n", job_type="slurm")["id"])
    run_steps(house)
    raven.tell(job, "waiting", "Waiting behind jobs that go before it.")
    return job


def job_of(house: House, actor: Actor, ref: str) -> views.JobView:
    with house.scope(actor) as scope:
        return views.job(scope, ref)


def lines(house: House, job: str) -> list[str]:
    with house.db.read() as conn:
        return list(conn.execute(sa.select(ledger.c.action).where(ledger.c.object == job)).scalars())


def test_a_job_in_the_hubs_queue_is_held_at_once_and_does_not_start_before_it_is_released(
    house: House, ana: Actor, perform: Perform
) -> None:
    job = perform(ana, "job_submit", script="#!/bin/sh\n")["id"]
    held = perform(ana, "job_hold", job=job)
    assert (held["state"], held["held"], held["reason"]) == ("HELD", True, "Held back until somebody releases it.")
    run_steps(house)
    assert job_of(house, ana, job).state == "HELD"
    assert perform(ana, "job_hold", job=job)["state"] == "HELD"
    assert perform(ana, "job_release", job=job)["state"] == "QUEUED"
    assert lines(house, job) == [*("job_submit", "job_observed", "job_hold", "job_hold", "job_observed", "job_release")]
    with pytest.raises(Conflict, match="nobody holds it back") as caught:
        perform(ana, "job_release", job=job)
    assert (caught.value.code, caught.value.status) == ("job_not_held", 409)


def test_a_wish_is_written_down_for_the_agent_until_it_was_passed_on(
    house: House, ana: Actor, perform: Perform, raven: PaperCluster, waiting: str
) -> None:
    asked = perform(ana, "job_hold", job=waiting)
    assert (asked["state"], asked["wish"], asked["reason"]) == ("PENDING", "hold", "Being held back.")
    assert raven.watched(waiting).wish == Wished("hold", 1)
    assert perform(ana, "job_hold", job=waiting)["wish"] == "hold"
    assert raven.watched(waiting).wish == Wished("hold", 1), "asked again before it was passed on, it is one wish"
    raven.tell(waiting, "nothing", wish=PassedOn(1))
    seen = job_of(house, ana, waiting)
    assert (seen.wish, seen.held, seen.reason) == (None, True, "Held back until somebody releases it.")
    assert raven.watched(waiting).wish is None
    said = len(lines(house, waiting))
    raven.tell(waiting, "nothing", wish=PassedOn(1))
    assert len(lines(house, waiting)) == said, "told twice, it happened once"
    assert perform(ana, "job_release", job=waiting)["reason"] == "Being released."
    raven.tell(waiting, "nothing", wish=PassedOn(2))
    assert not job_of(house, ana, waiting).held


def test_a_wish_that_was_not_passed_on_by_the_end_is_forgotten_with_it(
    perform: Perform, ana: Actor, raven: PaperCluster, waiting: str
) -> None:
    perform(ana, "job_hold", job=waiting)
    raven.tell(waiting, "lost", "Nobody knows of it.")
    row = raven.row(waiting)
    assert (row.state, row.wish) == ("UNKNOWN_OUTCOME", None)


def test_only_the_newest_wish_counts(
    house: House, ana: Actor, perform: Perform, raven: PaperCluster, waiting: str
) -> None:
    perform(ana, "job_hold", job=waiting)
    perform(ana, "job_release", job=waiting)
    raven.tell(waiting, "nothing", wish=PassedOn(1))
    assert raven.watched(waiting).wish == Wished("release", 2)
    assert not job_of(house, ana, waiting).held


def test_what_the_scheduler_would_not_do_is_told_in_its_words(
    house: House, ana: Actor, perform: Perform, raven: PaperCluster, waiting: str
) -> None:
    perform(ana, "job_hold", job=waiting)
    raven.tell(waiting, "nothing", wish=PassedOn(1, "it has started already"))
    seen = job_of(house, ana, waiting)
    assert (seen.held, seen.notes) == (False, ("It could not be held back: it has started already.",))


def test_a_running_job_is_started_again_by_its_submitter_and_not_held(
    house: House, ana: Actor, perform: Perform, raven: PaperCluster, waiting: str
) -> None:
    with pytest.raises(Conflict, match="it has not started") as caught:
        perform(ana, "job_requeue", job=waiting)
    assert caught.value.code == "job_not_running"
    raven.tell(waiting, "started", "fox7")
    with pytest.raises(Conflict, match="it runs already") as caught:
        perform(ana, "job_hold", job=waiting)
    assert (caught.value.code, caught.value.hint is not None) == ("job_is_running", True)
    assert perform(ana, "job_requeue", job=waiting)["reason"] == "Being taken off its node, to start again."
    raven.tell(waiting, "nothing", wish=PassedOn(1))
    raven.tell(waiting, "waiting", "In Slurm's queue.")
    assert (job_of(house, ana, waiting).state, raven.row(waiting).run) == ("PENDING", 1)
    assert raven.row(waiting).nodes is None


def test_nothing_is_wished_of_a_job_that_is_being_cancelled(
    ana: Actor, perform: Perform, raven: PaperCluster, waiting: str
) -> None:
    perform(ana, "job_cancel", job=waiting)
    with pytest.raises(Conflict, match="being cancelled"):
        perform(ana, "job_hold", job=waiting)
    assert raven.watched(waiting).wish is None


def test_on_kubernetes_a_job_that_starts_again_is_its_next_run(house: House, ana: Actor, perform: Perform) -> None:
    anthill = PaperCluster(house, ana, "anthill", kind="kubernetes")
    job = perform(ana, "job_submit", script="#!/bin/sh\n", cluster="anthill")["id"]
    run_steps(house)
    anthill.tell(job, "waiting", "Waiting for a node.")
    assert perform(ana, "job_hold", job=job)["wish"] == "hold"
    anthill.tell(job, "started")
    assert perform(ana, "job_requeue", job=job)["reason"] == "Being taken off its node, to start again."
    anthill.tell(job, "started", wish=PassedOn(2))
    assert job_of(house, ana, job).state == "RUNNING"
    anthill.tell(job, "again")
    assert job_of(house, ana, job).state == "QUEUED"
    run_steps(house)
    assert (job_of(house, ana, job).state, anthill.row(job).run) == ("SUBMITTING", 2)


def test_what_this_machine_cannot_be_asked_for_is_named_with_a_way_out(
    house: House, ana: Actor, perform: Perform
) -> None:
    job = perform(ana, "job_submit", script="#!/bin/sh\n", job_type="local")["id"]
    running = {"state": "RUNNING", "run": 1}
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == job).values(**running)) and None)
    with pytest.raises(Conflict, match="on local already") as caught:
        perform(ana, "job_requeue", job=job)
    assert caught.value.code == "cannot_honour" and "job cancel" in str(caught.value.hint)


def test_others_jobs_are_held_by_who_may_cancel_any_and_started_again_by_nobody_else(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    from tests.actions.test_jobs import _grant

    perform(ana, "session_create", name="hcl")
    house.db.write(_grant(house, "ana", "hcl", ben))
    hers = perform(ana, "job_submit", script="#!/bin/sh\n", session_id="hcl")["id"]
    for wish in ("job_hold", "job_release", "job_requeue"):
        with pytest.raises(NotAllowed):
            perform(ben, wish, job=hers)
    cluster = PaperCluster(house, ben)
    his = perform(ben, "job_submit", script="#!/bin/sh\n", session_id="ana/hcl", job_type="slurm")["id"]
    assert perform(ana, "job_hold", job=his)["state"] == "HELD"
    assert perform(ana, "job_release", job=his)["state"] == "QUEUED"
    run_steps(house)
    cluster.tell(his, "started", "fox7")
    with pytest.raises(NotAllowed, match="only they can ask that") as caught:
        perform(ana, "job_requeue", job=his)
    assert caught.value.code == "not_your_job"


def connection(house: House, actor: Actor, job: str, **more: Any) -> connecting.ConnectionView:
    with house.scope(actor) as scope:
        return connecting.connection(scope, job, **more)


def test_the_way_to_a_running_jobs_node_is_told_to_its_submitter_once_there_is_one(
    house: House, ana: Actor, perform: Perform
) -> None:
    jump = {"host": "gate.example.org", "host_keys": ["ssh-ed25519 AAAA"]}
    raven = PaperCluster(house, ana, jump=jump, portal_url="https://portal.example.org/")
    job = perform(ana, "job_submit", script="#!/bin/sh\n", job_type="slurm")["id"]
    run_steps(house)
    raven.tell(job, "waiting", "Waiting behind jobs that go before it.")
    with pytest.raises(Conflict, match="no node yet: Waiting behind jobs") as caught:
        connection(house, ana, job)
    assert caught.value.code == "no_node_yet"
    raven.tell(job, "started")
    with pytest.raises(Conflict, match="no node yet: Running") as caught:
        connection(house, ana, job)
    raven.tell(job, "started", "fox[07-09]")
    found = connection(house, ana, job, port=6006)
    hops = "ana@gate.example.org,ana@raven.example"
    assert found.command == f"ssh -J {hops} -L 6006:localhost:6006 ana@fox07"
    assert (found.url, found.portal_url) == ("http://localhost:6006/", "https://portal.example.org/")
    raven.tell(job, "ended", exit=rules.Exit("exited", code=0))
    with pytest.raises(Conflict) as caught:
        connection(house, ana, job)
    assert caught.value.code == "job_is_over"


def test_the_way_in_is_told_to_nobody_else_and_for_nothing_that_is_not_on_a_cluster(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    from tests.actions.test_jobs import _grant

    perform(ana, "session_create", name="hcl")
    house.db.write(_grant(house, "ana", "hcl", ben))
    raven = PaperCluster(house, ana)
    job = perform(ana, "job_submit", script="#!/bin/sh\n", session_id="hcl", job_type="slurm")["id"]
    run_steps(house)
    raven.tell(job, "started", "fox7")
    with pytest.raises(NotAllowed, match="only its submitter has a way in"):
        connection(house, ben, job)
    here = perform(ana, "job_submit", script="#!/bin/sh\n")["id"]
    with pytest.raises(Conflict) as caught:
        connection(house, ana, here)
    assert caught.value.code == "not_on_cluster"
