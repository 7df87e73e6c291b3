"""Where a job would go, when and for how much: looked at before it is submitted."""

from __future__ import annotations

import msgspec

from hub.core.context import Scope
from hub.jobs.economy import Candidate
from hub.jobs.plans import PlanView
from hub.sessions import views as sessions
from hub.web.pages import frames, job_form, render, words

_WHERE = {"local": "this hub"}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table."""

    name: str
    chosen: bool
    starts: str
    ends: str
    cost: str
    why: str


def show(scope: Scope, session_id: str | None, found: PlanView, pairs: list[tuple[str, str]]) -> str:
    """POST /jobs/plan"""
    session = sessions.session(scope, scope.access.session(session_id, "job:submit"))
    return render.html(
        "plan.html",
        frames.within(scope, session, "Where it would run", "Jobs"),
        now=scope.now,
        says=_says(found),
        places=[_place(each) for each in found.candidates],
        currency=found.currency,
        told=[*found.over, *found.warnings],
        over=bool(found.over),
        fields=pairs,
        agreed=found.chosen,
        where="" if found.chosen is None else _name(found.chosen),
    )


def _says(found: PlanView) -> str:
    gpus = f" and {words.count(found.gpus, 'GPU')}" if found.gpus else ""
    holds = f"{words.count(found.cores, 'core')}{gpus}, for {words.duration(found.wall_seconds)} at most"
    said = words.sentence(holds) + (", since you did not say how long." if found.wall_assumed else ".")
    if found.asking:
        said += f" {words.listing([_name(each) for each in found.asking])} was asked and has not answered yet."
    return said


def _place(one: Candidate) -> Place:
    cost = "unknown" if one.cost is None else words.money(one.cost)
    if one.most is not None and cost != words.money(one.most):
        cost += f" (at most {words.money(one.most)})"
    return Place(
        name=_name(one.backend),
        chosen=one.chosen,
        starts=_in(one.starts_in),
        ends=_in(one.ends_in),
        cost=cost,
        why=words.sentence(job_form.in_words(one.why)),
    )


def _name(backend: str) -> str:
    return _WHERE.get(backend, backend)


def _in(seconds: float | None) -> str:
    return "unknown" if seconds is None else "now" if seconds < 1 else f"in {words.duration(seconds)}"
