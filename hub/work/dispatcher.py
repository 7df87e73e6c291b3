"""The two loops beside the workers: due steps are pushed again, committed lines get their number.

Any process that works may run them. The sequencer holds an SQL lease; the dispatcher needs none, because pushing a step
twice is harmless.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import Any

import sqlalchemy as sa
import structlog

from hub import perform
from hub.core import steps
from hub.core.database import Tx
from hub.core.errors import HubError
from hub.core.house import House
from hub.jobs import reading, sweeping
from hub.ledger import checkpoints, followers, sequencer
from hub.ledger.keys import CheckpointKey
from hub.people import device_codes, guesses, mail, once
from hub.work.entry import holder

log = structlog.get_logger()
SWEEP_SECONDS = 1.0
PUSH_AGAIN_SECONDS = 5.0
NUMBER_POLL_SECONDS = 0.25
GATHER_SECONDS = 0.03
CHECKPOINT_SECONDS = 1.0
HOUSEKEEPING = "housekeeping"


class Loops:
    """Runs the dispatcher and the sequencer in threads until told to stop."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._threads = [
            threading.Thread(target=self._dispatch, name="dispatcher", daemon=True),
            threading.Thread(target=self._sequence, name="sequencer", daemon=True),
        ]

    def start(self) -> None:
        self._unlisten = self._house.bus.listen("pending", self._heard)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._unlisten()
        for thread in self._threads:
            thread.join(timeout=5)

    def _heard(self, channel: str, message: dict[str, Any]) -> None:
        self._wake.set()

    def _dispatch(self) -> None:
        pushed: dict[str, float] = {}
        while not self._stop.wait(SWEEP_SECONDS):
            now = time.monotonic()
            pushed = {step: at for step, at in pushed.items() if now - at < PUSH_AGAIN_SECONDS}
            try:
                with self._house.db.read() as conn:
                    due = steps.due(conn, self._house.clock.now())
            except Exception as error:
                log.warning("dispatcher.failed", error=str(error))
                continue
            for queue, step_id in due:
                if step_id not in pushed:
                    pushed[step_id] = now
                    self._house.bus.push(queue, step_id)

    def _sequence(self) -> None:
        name, signed_at = holder(), 0.0
        while not self._stop.is_set():
            try:
                number_all(self._house, name)
                if time.monotonic() - signed_at >= CHECKPOINT_SECONDS and sign_checkpoint(self._house):
                    signed_at = time.monotonic()
            except sequencer.LostLease:
                log.info("sequencer.overtaken")
            except Exception as error:
                log.warning("sequencer.failed", error=str(error), exc_info=not isinstance(error, HubError))
                self._stop.wait(1)
            self._wake.wait(NUMBER_POLL_SECONDS)
            # What follows closely is numbered together: each pass takes the writers' turn once.
            self._stop.wait(GATHER_SECONDS)
            self._wake.clear()


def number_all(house: House, name: str) -> int:
    """Number every line that waits, and wake the followers; returns how many."""
    total = 0
    while True:
        with house.db.read() as conn:
            if not sequencer.is_due(conn, name, house.clock.now()):
                break
        numbered = sequencer.pass_once(house.db, name, house.clock.now())
        if not numbered:
            break
        total += numbered
    if total:
        house.bus.publish("ledger", {})
    return total


def sign_checkpoint(house: House) -> bool:
    """Sign the tree as it stands if it grew since the last checkpoint."""
    with house.db.read() as conn:
        newest = checkpoints.newest(conn)
        size = followers.newest(conn) + 1
    if size == 0 or (newest is not None and newest.size >= size):
        return False
    key = house.port(CheckpointKey)
    made = house.db.write(lambda tx: checkpoints.make(tx, key.private, key.origin, house.clock.now()))
    return made is not None


@steps.runs(HOUSEKEEPING)
def keep_house(step: steps.Step, house: House) -> None:
    """Once an hour: what was promised to be kept for a while, and no longer, goes."""
    now = house.clock.now()
    sweeping.sweep_here(house)

    def work(tx: Tx) -> None:
        perform.forget_old_answers(tx, now)
        once.forget_lapsed(tx, now - dt.timedelta(days=1))
        guesses.forget_old(tx, now)
        device_codes.forget_lapsed(tx, now - dt.timedelta(days=1))
        mail.forget_old(tx, now - dt.timedelta(days=30))
        reading.forget_lapsed(tx, now)
        tx.execute(sa.delete(steps.steps).where(steps.steps.c.done_at < now - dt.timedelta(days=30)))
        steps.finish(tx, step, now)
        steps.add(tx, HOUSEKEEPING, "hub", queue="default", due_at=now + dt.timedelta(hours=1), args={})

    house.db.write(work)


def schedule_housekeeping(house: House) -> None:
    """Make sure that one such step is open."""

    def work(tx: Tx) -> None:
        open_one = tx.execute(
            sa.select(steps.steps.c.id).where(steps.steps.c.kind == HOUSEKEEPING, steps.steps.c.done_at.is_(None))
        ).first()
        if open_one is None:
            steps.add(tx, HOUSEKEEPING, "hub", queue="default", due_at=house.clock.now(), args={})

    house.db.write(work)
