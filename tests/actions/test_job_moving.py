"""A job that waits longer than was promised moves at most a few times, and only when it surely has not started."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.house import House
from hub.core.steps import steps
from hub.jobs import views
from hub.jobs.clusters.house_port import ClusterHousePort
from hub.jobs.dry_plan import plan_job
from hub.jobs.plan_tables import job_plans
from hub.jobs.planning import AGAIN_SECONDS, MOST_MOVES, SOONEST_SECONDS
from hub.jobs.port import Observation, Report
from hub.jobs.rules import Exit
from hub.jobs.tables import jobs
from hub.web.pages import words
from hub.web.pages.job import placing
from tests.actions.cluster_fixtures import account_on, answers
from tests.conftest import Perform
from tests.jobs import run_steps

SCRIPT = "#!/bin/sh\ntrue\n"
TWO_NODES = {"nodes": 2, "time": 60}
HOUR = 3600.0


class Waiting:
    """A job on the cheap cluster, promised to start at once; the dear one would take it at once as well."""

    def __init__(self, house: House, ana: Actor, perform: Perform, clock: FrozenClock, **more: Any) -> None:
        self.house, self.ana, self.clock = house, ana, clock
        self.accounts = {
            "raven": account_on(house, ana, "raven", price_per_core_hour=0.1),
            "swift": account_on(house, ana, "swift", price_per_core_hour=0.5),
        }
        self.ports = {name: ClusterHousePort(house, account) for name, account in self.accounts.items()}
        wish = {"script": SCRIPT, "resources": TWO_NODES, **more}
        plan_job(house, ana, wish)  # both answer before it is submitted, so that its end is promised
        for account in self.accounts.values():
            answers(house, account, 0)
        self.job = str(perform(ana, "job_submit", **wish)["id"])
        run_steps(house)

    def row(self) -> Any:
        with self.house.db.read() as conn:
            return conn.execute(sa.select(jobs).where(jobs.c.id == self.job)).one()

    def plan(self) -> Any:
        with self.house.db.read() as conn:
            return conn.execute(sa.select(job_plans).where(job_plans.c.job == self.job)).one()

    def seen(self, on: str, sight: Any, *, starts_in: float | None = None, run: int | None = None, **more: Any) -> None:
        """What the agent of that account reports of the job's run."""
        port = self.ports[on]
        epoch = port.lease("agent-1")
        assert epoch is not None
        starts = 0.0 if starts_in is None else self.clock.now().timestamp() + starts_in
        found = Observation(sight, native="7", starts_at=starts, **more)
        port.report(epoch, [Report(self.job, run or self.row().run, found)])

    def leaves(self, on: str) -> list[bool]:
        port = self.ports[on]
        epoch = port.lease("agent-1")
        assert epoch is not None
        return [each.leaves for each in port.watched(epoch)]

    def think(self, **answered: float | None) -> None:
        """Let it be thought over, with what the schedulers answer when they are asked for it."""
        run_steps(self.house)
        for name, starts_in in answered.items():
            answers(self.house, self.accounts[name], starts_in)
        self.clock.advance(6)
        run_steps(self.house)


@pytest.fixture
def waiting(house: House, ana: Actor, perform: Perform, clock: FrozenClock) -> Waiting:
    one = Waiting(house, ana, perform, clock, within=180)
    one.seen("raven", "waiting", starts_in=0)
    assert (one.row().state, one.row().backend) == ("PENDING", "raven")
    return one


def test_a_job_that_would_miss_its_deadline_is_barred_first_and_then_placed_anew_once(waiting: Waiting) -> None:
    waiting.clock.advance(300)
    waiting.seen("raven", "waiting", starts_in=9 * HOUR)
    waiting.think(swift=0)
    told = waiting.plan()
    assert told.going["backend"] == "swift"
    assert told.said == "It would miss its deadline on raven, and meets it on swift."
    assert waiting.leaves("raven") == [True] and waiting.leaves("swift") == []
    assert waiting.row().state == "PENDING", "until its agent has barred the run, it is where it was"

    waiting.seen("raven", "never_ran")
    run_steps(waiting.house)
    row, plan = waiting.row(), waiting.plan()
    assert (row.state, row.backend, row.account, row.run) == ("SUBMITTING", "swift", waiting.accounts["swift"], 2)
    assert (plan.moves, plan.going, plan.core_hour) == (1, None, 0.5)
    assert waiting.leaves("raven") == [] and waiting.leaves("swift") == [False]
    waiting.seen("raven", "never_ran", run=1)
    run_steps(waiting.house)
    assert waiting.row().run == 2, "what the old place says of the old run moves nothing again"
    with waiting.house.scope(waiting.ana) as scope:
        placed = views.job(scope, waiting.job).placed
    assert placed is not None and (placed.moves, placed.candidates[0].backend) == (1, "swift")


def test_a_job_that_started_before_it_was_barred_stays_and_runs_on(waiting: Waiting) -> None:
    waiting.seen("raven", "waiting", starts_in=9 * HOUR)
    waiting.think(swift=0)
    assert waiting.leaves("raven") == [True]
    waiting.seen("raven", "started")
    row = waiting.row()
    assert (row.state, row.backend, row.run) == ("RUNNING", "raven", 1)
    assert waiting.plan().going is None and waiting.plan().said == "It started before it could be moved."
    waiting.seen("raven", "ended", exit=Exit("exited", code=0))
    assert waiting.row().state == "COLLECTING"


def test_a_job_that_ended_before_it_was_barred_is_brought_home(waiting: Waiting) -> None:
    waiting.seen("raven", "waiting", starts_in=9 * HOUR)
    waiting.think(swift=0)
    waiting.seen("raven", "ended", exit=Exit("exited", code=0))
    assert (waiting.row().state, waiting.row().backend, waiting.plan().going) == ("COLLECTING", "raven", None)


def test_a_wish_to_cancel_wins_over_a_move(waiting: Waiting, perform: Perform, ana: Actor) -> None:
    waiting.seen("raven", "waiting", starts_in=9 * HOUR)
    waiting.think(swift=0)
    perform(ana, "job_cancel", job=waiting.job)
    waiting.seen("raven", "never_ran")
    run_steps(waiting.house)
    assert (waiting.row().state, waiting.row().run) == ("CANCELLED", 1)


def test_it_stays_where_nothing_is_gained_and_says_so(waiting: Waiting) -> None:
    waiting.clock.advance(300)
    waiting.seen("raven", "waiting", starts_in=9 * HOUR)
    waiting.think(swift=10 * HOUR)
    with waiting.house.scope(waiting.ana) as scope:
        view = views.job(scope, waiting.job)
    placed = view.placed
    assert placed is not None and placed.ends_at is not None and placed.slipped_to is not None
    assert placed.slipped_to - placed.ends_at == dt.timedelta(seconds=9 * HOUR + 300)
    [promised] = [each for each in placing(view) if "It was to end by" in each]
    assert words.moment(placed.ends_at) in promised and words.moment(placed.slipped_to) in promised
    plan = waiting.plan()
    assert plan.going is None and "no other place suits it better" in plan.said


def test_a_promise_that_holds_leads_to_no_thought(waiting: Waiting) -> None:
    before = waiting.plan().thought_at
    waiting.seen("raven", "waiting", starts_in=300)
    run_steps(waiting.house)
    with waiting.house.scope(waiting.ana) as scope:
        placed = views.job(scope, waiting.job).placed
    assert placed is not None and placed.slipped_to is None
    assert (waiting.plan().thought_at, waiting.plan().going) == (before, None)


def test_a_start_that_slips_at_every_poll_leads_to_one_thought_at_a_time(waiting: Waiting) -> None:
    """Each thought that leaves it where it is has the next one after it: they must not become more and more."""
    for polls in range(1, 11):
        waiting.clock.advance(SOONEST_SECONDS + 10)
        waiting.seen("raven", "waiting", starts_in=9 * HOUR + 60 * polls)
        waiting.think(swift=10 * HOUR)
        with waiting.house.db.read() as conn:
            to_come = sa.select(steps.c.due_at).where(steps.c.kind == "think_again", steps.c.done_at.is_(None))
            assert len(conn.execute(to_come).all()) == 1, (
                "each thought that left it where it is has the next one after it"
            )


def test_a_word_of_a_scheduler_brings_the_next_thought_forward_and_is_followed_by_others(waiting: Waiting) -> None:
    waiting.clock.advance(SOONEST_SECONDS + 10)
    waiting.seen("raven", "waiting", starts_in=9 * HOUR)
    waiting.think(swift=10 * HOUR)
    first = waiting.plan().thought_at
    waiting.clock.advance(SOONEST_SECONDS + 10)
    waiting.seen("raven", "waiting", starts_in=9 * HOUR + 60)
    waiting.think(swift=10 * HOUR)
    second = waiting.plan().thought_at
    assert SOONEST_SECONDS < (second - first).total_seconds() < AGAIN_SECONDS
    waiting.clock.advance(AGAIN_SECONDS)
    waiting.think(swift=0)
    assert waiting.plan().going["backend"] == "swift", "without another word of the scheduler"


def test_after_a_few_moves_it_stays(waiting: Waiting) -> None:
    moved = {"moves": MOST_MOVES}
    waiting.house.db.write(lambda tx: tx.execute(sa.update(job_plans).values(**moved)))
    waiting.seen("raven", "waiting", starts_in=9 * HOUR)
    waiting.think(swift=0)
    assert waiting.plan().going is None
    assert waiting.plan().said == f"It was moved {MOST_MOVES} times already and stays where it is."


def test_a_quota_keeps_it_from_a_place_that_costs_too_much(waiting: Waiting, perform: Perform, ana: Actor) -> None:
    perform(ana, "quota_set", session_id="personal", money=0.5)
    waiting.seen("raven", "waiting", starts_in=9 * HOUR)
    waiting.think(swift=0)
    assert waiting.plan().going is None and "A quota keeps it from going there" in waiting.plan().said


def test_one_that_waits_here_for_too_long_moves_at_once(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    account = account_on(house, ana, "raven", price_per_core_hour=1.0)
    for _ in range(2):
        perform(ana, "job_submit", script=SCRIPT, job_type="local", resources={"time": 600})
    run_steps(house)
    job = str(perform(ana, "job_submit", script=SCRIPT, resources={"time": 60}, within=720)["id"])
    with house.db.read() as conn:
        assert conn.execute(sa.select(jobs.c.backend).where(jobs.c.id == job)).scalar_one() == "local"
    longer = sa.update(jobs).where(jobs.c.id != job).values(resources={"time": 1440})
    house.db.write(lambda tx: tx.execute(longer))  # the promise was made by limits that did not hold
    clock.advance(10 * HOUR + 700)
    run_steps(house)
    answers(house, account, 0)
    clock.advance(6)
    run_steps(house)
    with house.db.read() as conn:
        row = conn.execute(sa.select(jobs).where(jobs.c.id == job)).one()
    assert (row.state, row.backend, row.account) == ("SUBMITTING", "raven", account)


def test_a_place_of_the_submitters_own_choice_is_never_thought_over(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    one = Waiting(house, ana, perform, clock, cluster="raven")
    one.seen("raven", "waiting", starts_in=0)
    one.seen("raven", "waiting", starts_in=90 * HOUR)
    clock.advance(dt.timedelta(days=1).total_seconds())
    one.think(swift=0)
    assert one.plan().going is None and one.row().backend == "raven"
