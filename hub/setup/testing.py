"""Testing a step: begun within an action, carried out by a worker (or by the terminal that asked), then stored."""

from __future__ import annotations

import datetime as dt

import msgspec
import sqlalchemy as sa

from hub.core import steps
from hub.core.context import Context
from hub.core.database import Tx
from hub.core.house import House
from hub.perform import record
from hub.setup import stored
from hub.setup.probes import TESTS
from hub.setup.rules import Check, StepName, StepState, state_after
from hub.setup.tables import setup_steps

STEP = "setup_test"
CHANGED = "settings"  # what is published when settings were stored
# The front door is on its way to another address or certificate: so long it may take until it answers there.
RESTART_SECONDS = 3.0
RESTART_ATTEMPTS = 8


def begin(ctx: Context, step: StepName, *, later: bool) -> str:
    """Have a step tested, in place of a test that has not begun; returns the id of what was queued."""
    steps.cancel(ctx.tx, STEP, step, ctx.now)
    mark(ctx, step, "testing")
    due_at = ctx.now + dt.timedelta(seconds=RESTART_SECONDS) if later else None
    return ctx.enqueue(STEP, step, due_at=due_at, by=ctx.actor.id, patient=later)


def mark(ctx: Context, step: StepName, state: StepState, checks: list[Check] | None = None) -> None:
    """Write down how a step stands; with what its test found, when it was tested."""
    values = {"state": state, "changed_by": ctx.actor.id, "changed_at": ctx.now}
    if checks is not None:
        values |= {"checks": checks, "tested_at": ctx.now}
    if not ctx.tx.insert_new(setup_steps, **{"name": step, "checks": [], **values}):
        ctx.execute(sa.update(setup_steps).where(setup_steps.c.name == step).values(**values))


@steps.runs(STEP)
def carry(step: steps.Step, house: House) -> None:
    """Run one test and store what it found, unless somebody has begun another one meanwhile."""
    name: StepName = step.object  # type: ignore[assignment]
    checks = TESTS[name](house, stored.overlaid(house), step.args["by"])
    if step.args["patient"] and step.attempt < RESTART_ATTEMPTS and state_after(checks) == "failed":
        raise steps.Retry("the front door is being started again", 1.0)

    def work(ctx: Context) -> None:
        steps.finish(ctx.tx, step, ctx.now)
        mark(ctx, name, state_after(checks), checks)
        ctx.about("setup", name, holds=sum(check.holds for check in checks), of=len(checks))

    record(house, "setup_tested", work)


@steps.when_given_up(STEP)
def give_up(tx: Tx, house: House, step: steps.Step, reason: str) -> None:
    """The test itself could not be carried out."""
    check = Check("test", False, f"It could not be carried out: {reason[:500]}.", "Test again; else look at the log.")
    tx.execute(
        sa.update(setup_steps)
        .where(setup_steps.c.name == step.object)
        .values(state="failed", checks=[msgspec.to_builtins(check)], tested_at=house.clock.now())
    )
