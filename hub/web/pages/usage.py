"""How busy the hub is, and what jobs used and cost: of one session or class, and of all the reader takes part in."""

from __future__ import annotations

import msgspec

from hub.core.context import Scope
from hub.jobs import quotas, usage
from hub.jobs.machine import MachineView
from hub.jobs.usage import Sums, UsageView
from hub.sessions import views as sessions
from hub.web.pages import frames, render, words
from hub.web.pages.faces import Act, Crumb, Usage

_WHERE = {"local": "this hub"}
TERMS = (7, 30, 90)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table of sums; `share` is its part of all core hours."""

    name: str
    href: str
    jobs: str
    failed: str
    hours: str
    share: float
    cost: str
    waited: str


class Table(msgspec.Struct, frozen=True):
    """Rows under one heading."""

    id: str
    title: str
    first: str
    rows: list[Line]


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A bound of a quota; `share` is how much of it is used or reserved."""

    name: str
    used: str
    most: str
    share: float
    remark: str


def of_session(scope: Scope, params: dict[str, str]) -> str:
    """GET /s/{owner}/{name}/usage?days="""
    session = sessions.session(scope, frames.ref(params))
    view = usage.session_usage(scope, session.id, frames.number(params, "days") or usage.TERM_DAYS)
    here = f"{frames.home_of(session)}/usage"
    bounds = quotas.of_session(scope, session.id)
    return render.html(
        "usage.html",
        frames.within(scope, session, "Use and cost", "Jobs"),
        now=scope.now,
        title="Use and cost",
        says=_says(view),
        terms=_terms(here, (scope.now - view.since).days),
        machine=[],
        queues=[],
        queue_says="",
        quotas=_quotas(bounds),
        each=_each(bounds),
        tables=[_people(view), _backends(view)] if view.total.jobs else [],
        currency=view.currency,
    )


def everywhere(scope: Scope, params: dict[str, str]) -> str:
    """GET /resources?days="""
    now = usage.resources(scope)
    view = usage.usage(scope, frames.number(params, "days") or usage.TERM_DAYS)
    return render.html(
        "usage.html",
        frames.plain(scope, "Resources", (Crumb("Resources"),)),
        now=scope.now,
        title="Resources",
        says=_says(view),
        terms=_terms("/resources", (scope.now - view.since).days),
        machine=_machine(now.machine),
        queues=now.queues,
        queue_says=_queue_says(now),
        where=_WHERE,
        words=words,
        quotas=_quotas(quotas.mine(scope)),
        each=[],
        tables=[_sessions(view), _backends(view)] if view.total.jobs else [],
        currency=view.currency,
    )


_UNITS = {"core_hours": "core hours", "gpu_hours": "GPU hours", "open": "open jobs"}


def _quotas(view: quotas.QuotasView) -> list[Bound]:
    return [bound(each, amount, view.currency) for each in view.quotas for amount in each.amounts]


def bound(of: quotas.QuotaView, amount: quotas.AmountView, currency: str) -> Bound:
    """A bound of a quota, in words."""
    used, most, unit = _amounts(amount, currency)
    whose = "You" if of.kind == "person" else words.sentence(of.of) + (", you" if of.kind == "member" else "")
    share = min(1.0, quotas.share_of(amount))
    full = "All of it is used or reserved. " if share >= 1 else "80 % or more. " if share >= 0.8 else ""
    soft = "" if of.hard else " It is only warned of."
    return Bound(
        name=whose,
        used=used,
        most=f"{most} {unit}" + ("" if amount.what == "open" else f" in {of.days} days"),
        share=share,
        remark=f"{full}{words.sentence(of.who)} can raise it.{soft}",
    )


def _amounts(amount: quotas.AmountView, currency: str) -> tuple[str, str, str]:
    """(used, at most, of what) in words."""
    money = amount.what == "money"
    used, most = (
        words.money(each) if money else f"{each:,.1f}".removesuffix(".0") for each in (amount.used, amount.most)
    )
    return used, most, currency if money else _UNITS[amount.what]


def _each(view: quotas.QuotasView) -> list[Bound]:
    """What single people used of what each may; for who leads the session."""
    found = []
    for one in view.people:
        for amount in one.amounts:
            used, most, unit = _amounts(amount, view.currency)
            share = min(1.0, quotas.share_of(amount))
            full = "All of it." if share >= 1 else "80 % or more." if share >= 0.8 else ""
            who = f"{one.person.name}, as a {one.kind}"
            term = "" if amount.what == "open" else f" in {quotas.TERM_DAYS} days"
            found.append(Bound(name=who, used=used, most=f"{most} {unit}{term}", share=share, remark=full))
    return found


def _terms(here: str, days: int) -> list[Act]:
    return [Act(f"{each} days", href=f"{here}?days={each}", look="main" if each == days else "") for each in TERMS]


def _says(view: UsageView) -> str:
    total = view.total
    if not total.jobs:
        return "No job was submitted in this time."
    said = f"{words.sentence(words.count(total.jobs, 'job'))} submitted since {words.moment(view.since)} UTC"
    said += f", {words.number(total.failed)} failed" if total.failed else ""
    said += f", {words.number(total.alive)} not ended yet" if total.alive else ""
    said += f". {words.hours(total.core_hours)} core hours"
    if total.cost is None:
        return f"{said}, at a cost that is not known for all of them."
    return f"{said}, {words.money(total.cost)} {view.currency} at the prices of now." if total.cost else f"{said}."


def _queue_says(now: usage.ResourcesView) -> str:
    work = f"{words.sentence(words.part(now.steps_held))} of {words.number(now.workers)} workers at work"
    due = f"{words.count(now.steps_due, 'step')} of the hub's own work due"
    return f"{work}, {due}. This hub runs {words.count(now.places, 'job')} at a time."


def _machine(view: MachineView) -> list[Usage]:
    found = []
    if view.load is not None:
        found.append(_used("Load", f"{view.load:.1f}", words.count(view.cores, "core"), view.load / view.cores))
    for name, most, free, shown in (
        ("Memory", view.memory_bytes, view.memory_free_bytes, words.memory),
        ("Disk of the hub's data", view.disk_bytes, view.disk_free_bytes, words.size),
    ):
        if most and free is not None:
            found.append(_used(name, shown(most - free), shown(most), (most - free) / most))
    return found


def _used(name: str, used: str, most: str, share: float) -> Usage:
    return Usage(name, used, most, min(1.0, max(0.0, share)), "Nearly all of it." if share > 0.9 else "")


def _line(name: str, href: str, sums: Sums, all_hours: float) -> Line:
    return Line(
        name=name,
        href=href,
        jobs=f"{sums.jobs:,}",
        failed=f"{sums.failed:,}",
        hours=words.hours(sums.core_hours),
        share=sums.core_hours / all_hours if all_hours else 0.0,
        cost="unknown" if sums.cost is None else words.money(sums.cost),
        waited="" if sums.waited_seconds is None else words.duration(sums.waited_seconds),
    )


def _people(view: UsageView) -> Table:
    hours = view.total.core_hours
    return Table("people", "By person", "Person", [_line(e.person.name, "", e.sums, hours) for e in view.people])


def _sessions(view: UsageView) -> Table:
    hours = view.total.core_hours
    rows = [_line(each.name, f"/s/{each.name}/usage", each.sums, hours) for each in view.sessions]
    return Table("sessions", "By session or class", "Session", rows)


def _backends(view: UsageView) -> Table:
    hours = view.total.core_hours
    rows = [_line(_WHERE.get(each.backend, each.backend), "", each.sums, hours) for each in view.backends]
    return Table("backends", "By where it ran", "Where", rows)
