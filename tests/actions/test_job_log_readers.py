"""Who reads a log is known for a while: the mark is made by a look, renewed now and then, and lapses by itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import logs, reading, views
from hub.jobs.house_port import HousePort
from hub.jobs.tables import jobs, log_readers
from tests.conftest import settle

Perform = Callable[..., Any]
ACCOUNT = "acc_1"


@pytest.fixture
def job(house: House, ana: Actor, perform: Perform) -> str:
    """A job that runs on a cluster, as far as the record goes."""
    made = perform(ana, "job_submit", script="#!/bin/sh\ntrue\n", job_type="local")["id"]
    there = {"account": ACCOUNT, "backend": ACCOUNT, "state": "RUNNING"}
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == made).values(**there)))
    return str(made)


def read(house: House, actor: Actor, job: str) -> bool:
    with house.scope(actor) as scope:
        followed = views.log_piece(scope, job).followed
    settle(house)
    return followed


def told(house: House) -> list[bool]:
    """Whether each log is read, as the agent is told."""
    port = HousePort(house, ACCOUNT)
    epoch = port.lease("agent-1")
    assert epoch is not None
    return [each.read for each in port.watched(epoch)]


def marks(house: House) -> list[dt.datetime]:
    with house.db.read() as conn:
        return list(conn.execute(sa.select(log_readers.c.until)).scalars())


def test_a_look_marks_the_log_and_wakes_the_agent_and_the_mark_lapses(
    house: House, ana: Actor, job: str, clock: FrozenClock, bus: MemoryBus
) -> None:
    assert told(house) == [False]
    assert not read(house, ana, job)
    assert told(house) == [True]
    assert (f"agent:{ACCOUNT}", {"read": 1}) in bus.published
    assert read(house, ana, job)
    clock.set(clock.now() + reading.HOLDS)
    assert told(house) == [False]
    assert not read(house, ana, job)
    assert told(house) == [True]


def test_a_hundred_looks_in_a_moment_are_one_write(house: House, ana: Actor, job: str, clock: FrozenClock) -> None:
    read(house, ana, job)
    first = marks(house)
    clock.set(clock.now() + reading.RENEWED_AFTER)
    for _ in range(100):
        read(house, ana, job)
    assert marks(house) == first
    clock.set(clock.now() + dt.timedelta(seconds=1))
    read(house, ana, job)
    assert marks(house) == [clock.now() + reading.HOLDS]


def test_who_looks_at_a_job_s_card_reads_its_progress(house: House, ana: Actor, job: str) -> None:
    with house.scope(ana) as scope:
        views.job(scope, job)
    settle(house)
    assert told(house) == [False]
    with house.scope(ana) as scope:
        views.looked_at(scope, job)
    settle(house)
    assert told(house) == [True]


def test_cards_in_chats_are_readers_of_all_their_jobs(
    house: House, ana: Actor, job: str, perform: Perform, clock: FrozenClock
) -> None:
    other = str(perform(ana, "job_submit", script="#!/bin/sh\ntrue\n", job_type="local")["id"])
    with house.scope(ana) as scope:
        assert {row.id for row in views.some_looked_at(scope, {job, other, "job_unknown"})} == {job, other}
    settle(house)
    assert told(house) == [True]
    assert marks(house) == [clock.now() + reading.HOLDS]


def test_who_may_not_read_marks_nothing_and_what_lapsed_is_forgotten(
    house: House, ana: Actor, ben: Actor, job: str, clock: FrozenClock
) -> None:
    with pytest.raises(Exception, match="no "):
        read(house, ben, job)
    assert marks(house) == []
    read(house, ana, job)
    clock.set(clock.now() + reading.HOLDS + dt.timedelta(seconds=1))
    house.db.write(lambda tx: reading.forget_lapsed(tx, clock.now()))
    assert marks(house) == []


def test_a_log_that_is_complete_or_lies_here_is_nobody_s_to_follow(house: House, ana: Actor, job: str) -> None:
    logs.store(house.settings.data).append(job, 0, b"all\n")
    house.db.write(lambda tx: tx.execute(sa.update(jobs).values(state="SUCCEEDED", log_done=True)))
    assert read(house, ana, job)
    house.db.write(lambda tx: tx.execute(sa.update(jobs).values(state="RUNNING", log_done=False, account=None)))
    assert read(house, ana, job)
    assert marks(house) == []
