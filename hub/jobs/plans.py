"""Where a submission goes, told before it is confirmed and decided when it is: the same rules on the same facts.

The dry question records nothing but what schedulers are to be asked. Whoever asked it may send along the place they
were shown (`agreed`); if it would be another one by then, nothing is submitted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.context import Context, Scope
from hub.core.database import Tx
from hub.core.errors import Conflict, InvalidInput
from hub.jobs import economy, estimates, offers, planning
from hub.jobs.amounts import time_seconds
from hub.jobs.backends.slurm_wish import directives
from hub.jobs.clusters.rules import Target
from hub.jobs.economy import Candidate, Plan, Wish
from hub.jobs.offers import Place, Wanted
from hub.jobs.plan_tables import job_plans

Said = str | int
_OF_JOB = sa.select(job_plans).where(job_plans.c.job == sa.bindparam("job_id"))


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the submitter asks of the place: seconds until the end, money at most, and the place they were shown."""

    within: float | None = None
    budget: float | None = None
    agreed: str | None = None

    def columns(self, now: dt.datetime) -> dict[str, Any]:
        """What a row keeps of them: of a job's plan, a workflow or an experiment."""
        return {"deadline": _after(now, self.within), "budget": self.budget}


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """Every place, the chosen one first; `asking` are those whose schedulers were asked and have not answered yet.

    `over` says in a sentence each which quota the job would break, `warnings` which it comes close to.
    """

    chosen: str | None
    candidates: list[Candidate]
    cores: int
    gpus: int
    wall_seconds: int
    wall_assumed: bool
    currency: str
    asking: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class PlacedView(msgspec.Struct, frozen=True, kw_only=True):
    """How a job came to its place: why, what was promised, what its scheduler says now, how often it was moved."""

    why: str
    candidates: list[Candidate]
    deadline: dt.datetime | None = None
    budget: float | None = None
    ends_at: dt.datetime | None = None
    starts_at: dt.datetime | None = None
    slipped_to: dt.datetime | None = None  # its end by what is said now, where that is much later than was promised
    moves: int = 0
    said: str = ""  # what came of thinking its place over
    moving_to: str | None = None


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job goes and what it holds there; `plan` is None where the submitter chose the place."""

    place: Place
    terms: Terms
    plan: Plan | None = None
    ask: tuple[Place, ...] = ()

    @property
    def most(self) -> economy.Cost:
        """What it takes at its worst."""
        return economy.cost(self.place.asked.held, offers.wall_seconds(self.place.asked), self.place.offer.prices)


def terms(within: Said | None, budget: float | None, agreed: str | None = None) -> Terms:
    """Raises InvalidInput for a time that cannot be read."""
    try:
        seconds = None if within is None else float(time_seconds(within))
    except ValueError as fault:
        raise InvalidInput(str(fault), code="bad_amount", path="$.params.within") from None
    return Terms(within=seconds, budget=budget, agreed=agreed)


def wanted(scope: Scope, session: str, resources: Any, environment: Any, head: str, digest: str) -> Wanted:
    """What is to be placed for the actor. Raises InvalidInput for options in the script that cannot be read."""
    try:
        said = tuple(directives(head))
    except ValueError as fault:
        raise InvalidInput(str(fault), code="cannot_honour", path="$.params.script") from None
    return Wanted(
        person=scope.actor.id,
        session=session,
        resources=resources,
        environment=environment,
        said=said,
        script=digest,
    )


def settle(
    scope: Scope, want: Wanted, target: Target | None, asked: Terms, places: Sequence[Place] | None = None
) -> Settled:
    """The place a job goes to: `target` where the submitter chose, else by the rules. Raises Conflict and InvalidInput.

    A chosen place is not refused for a deadline or for what a scheduler said a while ago, only for the budget.
    `places` are all of them, where they are known already.
    """
    if target is not None:
        known = places_of(scope, msgspec.structs.replace(want, only=target)) if places is None else places
        own = [each for each in known if each.target == target]
        if not own:
            raise InvalidInput(f"{target.backend} is no place for it", code="cannot_honour", path="$.params.job_type")
        free = msgspec.structs.replace(own[0].offer, refusals=(), reached=True)
        made = economy.plan(_wish(own[0], asked), [free])
        if made.chosen is None:
            raise _no_place(made)
        return Settled(place=own[0], terms=asked)
    places = places_of(scope, want) if places is None else places
    made = plan(places, asked)
    chosen = made.chosen
    if chosen is None:
        raise _no_place(made)
    if asked.agreed is not None and asked.agreed != chosen.backend:
        raise Conflict(
            f"it would now go to {chosen.backend} and not to {asked.agreed[:60]}: {chosen.why}; nothing was submitted",
            code="plan_changed",
            path="$.params.agreed",
            errors=_lines(made),
            hint="look at the plan again, or name the place yourself with `cluster` or `job_type`",
        )
    found = next(each for each in places if each.offer.backend == chosen.backend)
    return Settled(place=found, terms=asked, plan=made, ask=tuple(each for each in places if each.question))


def places_of(scope: Scope, want: Wanted) -> list[Place]:
    """Every place for it. Raises InvalidInput for amounts that nobody can read."""
    try:
        return offers.all_of(scope, want)
    except ValueError as fault:
        raise InvalidInput(str(fault), code="cannot_honour", path="$.params.resources") from None


def plan(places: Sequence[Place], asked: Terms) -> Plan:
    """The table of these places; each is counted for what the job would hold there."""
    made = [economy.candidate(_wish(each, asked), each.offer) for each in places]
    return economy.decide(made, within=asked.within)


def view(made: Plan, places: Sequence[Place], currency: str) -> PlanView:
    """The table as it is shown; what the job holds is told of the chosen place."""
    chosen = made.chosen
    at = next((each for each in places if chosen is not None and each.offer.backend == chosen.backend), places[0])
    return PlanView(
        chosen=None if chosen is None else chosen.backend,
        candidates=list(made.candidates),
        cores=at.asked.held.cores,
        gpus=at.asked.held.gpus,
        wall_seconds=offers.wall_seconds(at.asked),
        wall_assumed=at.asked.wall_seconds is None,
        currency=currency,
        asking=tuple(each.offer.backend for each in places if each.question is not None),
    )


def with_quotas(shown: PlanView, over: Sequence[str], warnings: Sequence[str]) -> PlanView:
    return msgspec.structs.replace(shown, over=tuple(over), warnings=tuple(warnings))


def ask(tx: Tx, places: Sequence[Place], now: dt.datetime) -> None:
    """Have the schedulers asked what is not known yet."""
    for each in places:
        if each.question is not None and each.target.account is not None:
            estimates.ask(tx, each.target.account, each.question, now)


def record(ctx: Context, job: str, settled: Settled) -> None:
    """Keep what a job holds where it goes, at which prices, and the table it was placed by."""
    place, made, asked = settled.place, settled.plan, settled.terms
    chosen = None if made is None else made.chosen
    ctx.tx.insert(
        job_plans,
        job=job,
        **charges(place),
        **asked.columns(ctx.now),
        offers=None if made is None else msgspec.to_builtins(list(made.candidates)),
        why="" if chosen is None else chosen.why,
        ends_at=None if chosen is None else _after(ctx.now, chosen.ends_in),
    )
    ask(ctx.tx, settled.ask, ctx.now)
    for each in settled.ask:
        ctx.publish(f"agent:{each.target.account}", {"estimate": True})


def charges(place: Place) -> dict[str, Any]:
    """What is counted for a job at this place."""
    held, prices = place.asked.held, place.offer.prices
    return {
        "cores": held.cores,
        "gpus": held.gpus,
        "wall_seconds": offers.wall_seconds(place.asked),
        "tasks": place.asked.tasks,
        "core_hour": prices.core_hour,
        "gpu_hour": prices.gpu_hour,
    }


def facts(settled: Settled) -> dict[str, Any]:
    """What the ledger keeps of the choice: the place, numbers of its offer, and of how many it was the one."""
    made = settled.plan
    if made is None or (chosen := made.chosen) is None:
        return {}
    told = {"starts_in": chosen.starts_in, "ends_in": chosen.ends_in, "cost": chosen.cost, "most": chosen.most}
    return {
        "placed": settled.place.target.account or chosen.backend,
        "why": chosen.why,
        **told,
        "of": len(made.candidates),
    }


def of_job(scope: Scope, job: str) -> Any | None:
    """What is kept of where this job goes, and what it holds there."""
    return scope.execute(_OF_JOB, {"job_id": job}).first()


def run_seconds(row: Any) -> float:
    """How long it was expected to run when it was placed."""
    chosen = next((each for each in row.offers or () if each["chosen"]), None)
    if chosen is None or chosen["starts_in"] is None or chosen["ends_in"] is None:
        return float(row.wall_seconds)
    return float(chosen["ends_in"] - chosen["starts_in"])


def placed(row: Any | None, now: dt.datetime) -> PlacedView | None:
    """How a job came to its place; None where its submitter chose, and said nothing of time or money."""
    if row is None or (row.offers is None and row.deadline is None and row.budget is None):
        return None
    return PlacedView(
        why=row.why,
        candidates=msgspec.convert(row.offers or [], list[Candidate]),
        deadline=row.deadline,
        budget=row.budget,
        ends_at=row.ends_at,
        starts_at=row.starts_at,
        slipped_to=_slipped_to(row, now),
        moves=row.moves,
        said=row.said,
        moving_to=None if row.going is None else row.going["backend"],
    )


def _slipped_to(row: Any, now: dt.datetime) -> dt.datetime | None:
    if row.starts_at is None or row.ends_at is None:
        return None
    ends: dt.datetime = max(row.starts_at, now) + dt.timedelta(seconds=run_seconds(row))
    promised = planning.Promise("", (row.ends_at - now).total_seconds())
    return ends if planning.slipped(promised, (ends - now).total_seconds()) else None


def _wish(place: Place, asked: Terms) -> Wish:
    return Wish(
        held=place.asked.held,
        wall_seconds=float(offers.wall_seconds(place.asked)),
        ends_within=asked.within,
        budget=asked.budget,
    )


def _after(now: dt.datetime, seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else now + dt.timedelta(seconds=seconds)


def _no_place(made: Plan) -> Conflict:
    return Conflict(
        "there is no place for this job: " + "; ".join(_lines(made))[:1000],
        code="no_place",
        path="$.params.resources",
        errors=_lines(made),
        hint="ask for less, or for a larger `budget`",
    )


def _lines(made: Plan) -> list[str]:
    return [f"{each.backend}: {each.why}" for each in made.candidates]
