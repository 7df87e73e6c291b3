"""Carrying out one step: a step's id comes in from RQ, everything else is read from SQL under a lease.

RQ carries ids and wakes workers; its retries, results and timeouts are not used. A step that fails for a while is put
off and tried again; one that fails for good says so on its object, in the same transaction.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import threading

import sqlalchemy as sa
import structlog

from hub.core import limits, steps
from hub.core.database import Tx
from hub.core.errors import HubError
from hub.core.house import House

log = structlog.get_logger()
_house: list[House] = []


def serve(house: House) -> None:
    """The hub whose steps this process carries out."""
    _house[:] = [house]


def run_step(step_id: str) -> None:
    """RQ's entry point."""
    carry_out(_house[0], step_id)


def holder() -> str:
    """A name for this process and thread among those that hold leases."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"


def carry_out(house: House, step_id: str) -> bool:
    """Claim the step and run it; False when there was nothing to claim."""
    step = house.db.write(lambda tx: steps.claim(tx, step_id, holder(), house.clock.now()))
    if step is None:
        return False
    structlog.contextvars.bind_contextvars(step=step.id, kind=step.kind, attempt=step.attempt)
    try:
        with _Lease(house, step):
            steps.RUNNERS[step.kind](step, house)
        house.db.write(lambda tx: _finish_unless_done(tx, step, house.clock.now()))
    except steps.StaleStep:
        log.warning("step.overtaken")
    except steps.Retry as retry:
        _put_off(house, step, retry.reason, retry.after_seconds)
    except HubError as error:
        if error.temporary:
            _put_off(house, step, str(error), _backoff(step.attempt))
        else:
            _give_up(house, step, str(error))
    except Exception as error:
        log.error("step.failed", exc_info=True)
        _put_off(house, step, f"{type(error).__name__}: {error}", _backoff(step.attempt))
    finally:
        structlog.contextvars.unbind_contextvars("step", "kind", "attempt")
    return True


def _finish_unless_done(tx: Tx, step: steps.Step, now: dt.datetime) -> None:
    """A runner may have finished the step together with its last write; then there is nothing left to do."""
    tx.execute(
        sa.update(steps.steps)
        .where(steps.steps.c.id == step.id, steps.steps.c.attempt == step.attempt, steps.steps.c.done_at.is_(None))
        .values(done_at=now, lease_until=None, error=None)
    )


def _backoff(attempt: int) -> float:
    return float(min(60.0, 0.5 * 1.7**attempt))


def _put_off(house: House, step: steps.Step, reason: str, seconds: float) -> None:
    if step.attempt >= limits.STEP_ATTEMPTS:
        _give_up(house, step, reason)
        return
    due = house.clock.now() + dt.timedelta(seconds=seconds)
    try:
        house.db.write(lambda tx: steps.put_off(tx, step, due, reason))
    except steps.StaleStep:
        log.warning("step.overtaken")


def _give_up(house: House, step: steps.Step, reason: str) -> None:
    def work(tx: Tx) -> None:
        steps.give_up(tx, step, house.clock.now(), reason)
        if step.kind in steps.GIVEN_UP:
            steps.GIVEN_UP[step.kind](tx, house, step, reason)

    log.error("step.given_up", reason=reason)
    try:
        house.db.write(work)
    except steps.StaleStep:
        log.warning("step.overtaken")


class _Lease:
    """Renews a step's lease from a thread while the step runs."""

    def __init__(self, house: House, step: steps.Step) -> None:
        self._house, self._step = house, step
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(limits.STEP_LEASE_SECONDS / 3):
            try:
                self._house.db.write(lambda tx: steps.renew(tx, self._step, self._house.clock.now()))
            except steps.StaleStep:
                return  # The runner's own next write finds out too, and rolls back.
            except HubError as error:
                log.warning("lease.not_renewed", error=str(error))
