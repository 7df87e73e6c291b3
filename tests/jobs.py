"""What tests of jobs share: a file in a session, the worker's and the agent's turns without their processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from hub.artifacts import leases
from hub.core import steps
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.agent import Agent
from hub.jobs.house_port import HousePort
from hub.jobs.starting import local
from hub.sessions.tables import sessions
from hub.work.entry import carry_out

KINDS = ("place_jobs", "start_job", "collect_job", "think_again", "tell_of_certificate")


def personal(house: House, actor: Actor) -> str:
    with house.db.read() as conn:
        query = sa.select(sessions.c.id).where(sessions.c.owner == actor.id, sessions.c.personal.is_(True))
        return str(conn.execute(query).scalar_one())


def add_file(house: House, actor: Actor, perform: Callable[..., Any], path: str, data: bytes) -> dict[str, Any]:
    """Bytes uploaded to the actor's own session, and a version that names them."""
    session = personal(house, actor)
    blob = leases.keep(house, session, [data], owner=actor.id, filename=path)
    made: dict[str, Any] = perform(actor, "artifact_versioning", artifact_path=path, digest=blob.digest)
    return made


def run_steps(house: House, kinds: Sequence[str] | None = None) -> int:
    """Carry out every due step of jobs, as workers would; says how many there were."""
    done = 0
    while True:
        with house.db.read() as conn:
            due = conn.execute(
                sa.select(steps.steps.c.id).where(
                    steps.steps.c.kind.in_(KINDS if kinds is None else kinds),
                    steps.steps.c.done_at.is_(None),
                    steps.steps.c.due_at <= house.clock.now(),
                    sa.or_(steps.steps.c.lease_until.is_(None), steps.steps.c.lease_until < house.clock.now()),
                )
            ).scalars()
            ids = list(due)
        if not ids:
            return done
        for step in ids:
            done += carry_out(house, step)


def agent(house: House, name: str = "agent-1") -> Agent:
    return Agent(HousePort(house), local(house.settings), name)


def run_until(house: House, reached: Callable[[], object], seconds: float = 45.0, *, by: Agent | None = None) -> None:
    """Let workers and agent take turns until it is so."""
    watcher = by or agent(house)
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it did not happen in time"
        run_steps(house)
        asyncio.run(watcher.turn())
        time.sleep(0.01)
