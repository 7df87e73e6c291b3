"""A job that its owner submitted elsewhere is recorded, followed and told of, and nothing of it is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.jobs import views
from hub.jobs.port import Attached, PassedOn
from hub.jobs.rules import Exit
from tests.actions.cluster_fixtures import PaperCluster
from tests.jobs import run_steps

Perform = Callable[..., Any]


@pytest.fixture
def raven(house: House, ana: Actor) -> PaperCluster:
    return PaperCluster(house, ana)


def job_of(house: House, actor: Actor, ref: str) -> views.JobView:
    with house.scope(actor) as scope:
        return views.job(scope, ref)


def test_it_is_followed_from_where_it_is_to_its_end_and_nothing_is_fetched(
    house: House, ana: Actor, perform: Perform, raven: PaperCluster
) -> None:
    made = perform(ana, "job_watch", cluster="raven", native="41")
    assert (made["state"], made["reason"], made["name"]) == ("SUBMITTING", "Being looked for on raven.", "raven:41")
    assert perform(ana, "job_watch", cluster="raven", native="41")["id"] == made["id"]
    run_steps(house)
    job = made["id"]
    seen = raven.watched(job)
    assert (seen.native, seen.attached, seen.state, seen.log_path) == ("41", True, "SUBMITTING", "")
    told = Attached(name="relax", log_path="/users/ana1/slurm-41.out", started_at=1000.0)
    raven.tell(job, "started", "fox7", native="41", attached=told)
    seen = raven.watched(job)
    assert (seen.name, seen.log_path, seen.state) == ("relax", "/users/ana1/slurm-41.out", "RUNNING")
    now = job_of(house, ana, job)
    assert (now.name, now.attached, now.cost, now.script.digest) == ("relax", True, None, "")
    assert now.started_at is not None and now.started_at.timestamp() == 1000.0
    assert "only looks on" in now.notes[0]
    raven.port.append_log(raven.epoch, job, 0, b"hello\n")
    raven.tell(job, "ended", native="41", exit=Exit("exited", code=3), log_size=6)
    assert all(each.job != job for each in raven.port.watched(raven.epoch)), "nothing is left to be fetched"
    run_steps(house)
    now = job_of(house, ana, job)
    assert (now.state, now.exit_code, now.log_total_bytes, now.log_done, now.outputs) == ("FAILED", 3, 6, True, [])
    assert perform(ana, "job_watch", cluster="raven", native="41")["id"] != job


def test_one_that_the_cluster_does_not_know_fails_with_that(
    house: House, ana: Actor, perform: Perform, raven: PaperCluster
) -> None:
    job = perform(ana, "job_watch", cluster="raven", native="41")["id"]
    raven.tell(job, "refused", "Slurm knows no job 41 of yours there.", native="")
    now = job_of(house, ana, job)
    assert (now.state, now.reason) == ("FAILED", "Slurm knows no job 41 of yours there.")


def test_a_job_of_the_hubs_own_is_not_recorded_twice(
    house: House, ana: Actor, perform: Perform, raven: PaperCluster
) -> None:
    job = perform(ana, "job_submit", script="#!/bin/sh\n", job_type="slurm")["id"]
    run_steps(house)
    raven.tell(job, "waiting", "In Slurm's queue.", native="7")
    assert perform(ana, "job_watch", cluster="raven", native="7")["id"] == job


def test_only_an_account_of_ones_own_is_looked_at(
    house: House, ana: Actor, ben: Actor, perform: Perform, raven: PaperCluster
) -> None:
    with pytest.raises(NotFound) as caught:
        perform(ben, "job_watch", cluster="raven", native="41")
    assert caught.value.code == "account_not_found"
    PaperCluster(house, ben, "anthill", kind="kubernetes")
    with pytest.raises(Conflict, match="no Slurm cluster"):
        perform(ben, "job_watch", cluster="anthill", native="41")
    for odd in ("", "0", "-1", "4;id", "4_", "$(id)", "1234567890123"):
        with pytest.raises(InvalidInput):
            perform(ana, "job_watch", cluster="raven", native=odd)


def test_it_is_ended_or_held_by_nobody_but_its_owner(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    from tests.actions.test_jobs import _grant

    perform(ana, "session_create", name="hcl")
    house.db.write(_grant(house, "ana", "hcl", ben))
    raven = PaperCluster(house, ben)
    job = perform(ben, "job_watch", cluster="raven", native="41", session_id="ana/hcl")["id"]
    raven.tell(job, "waiting", "Waiting behind jobs that go before it.", native="41")
    for action in ("job_cancel", "job_hold", "job_release"):
        with pytest.raises(NotAllowed) as caught:
            perform(ana, action, job=job)
        assert caught.value.code == "not_your_job"
    assert job_of(house, ana, job).may == ()
    perform(ben, "job_hold", job=job)
    raven.tell(job, "nothing", native="", wish=PassedOn(1))
    assert job_of(house, ben, job).held
    assert perform(ben, "job_cancel", job=job)["cancel_asked"]


@pytest.mark.parametrize("seen", ["", "waiting", "started"])
def test_who_watches_it_stops_and_it_is_left_to_itself(
    house: House, ana: Actor, ben: Actor, perform: Perform, raven: PaperCluster, seen: str
) -> None:
    job = perform(ana, "job_watch", cluster="raven", native="41")["id"]
    if seen:
        raven.tell(job, seen, "fox7", native="41")
    with pytest.raises(NotFound):
        perform(ben, "job_unwatch", job=job)
    left = perform(ana, "job_unwatch", job=job)
    assert (left["state"], left["cancel_asked"]) == ("UNKNOWN_OUTCOME", False)
    assert left["reason"].startswith("No longer watched")
    assert all(each.job != job for each in raven.port.watched(raven.epoch)), "its agent asks of it no more"
    with pytest.raises(Conflict, match="watched no more"):
        perform(ana, "job_unwatch", job=job)
    assert perform(ana, "job_watch", cluster="raven", native="41")["id"] != job, "it can be watched anew"


def test_a_job_of_the_hubs_own_is_not_left_to_itself(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    from tests.actions.test_jobs import _grant

    perform(ana, "session_create", name="hcl")
    house.db.write(_grant(house, "ana", "hcl", ben))
    raven = PaperCluster(house, ben)
    own = perform(ben, "job_submit", script="#!/bin/sh\n", job_type="slurm", session_id="ana/hcl")["id"]
    with pytest.raises(Conflict) as caught:
        perform(ben, "job_unwatch", job=own)
    assert caught.value.code == "not_attached"
    watched = perform(ben, "job_watch", cluster="raven", native="41", session_id="ana/hcl")["id"]
    raven.tell(watched, "waiting", "In the queue.", native="41")
    with pytest.raises(NotAllowed) as refused:
        perform(ana, "job_unwatch", job=watched)
    assert refused.value.code == "not_your_job"
