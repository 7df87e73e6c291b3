"""Bounds on what may be used: an operator sets a person's, who leads a session sets its own and each member's in it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import NotFound
from hub.jobs import quotas
from hub.jobs.plan_tables import quotas as quota_table
from hub.jobs.quotas import QuotaView
from hub.people import accounts

Amount = Annotated[float, Meta(ge=0, le=1e12)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class SetPersonQuota(Action, frozen=True, tag="quota_set"):
    """Bound what a person may use in thirty days. What is left out has no bound; without any, it is gone."""

    person: Annotated[str, Meta(min_length=1, max_length=100)]
    core_hours: Amount | None = None
    gpu_hours: Amount | None = None
    money: Amount | None = None
    open: Count | None = None
    soft: bool = False  # warn and let it through


class SetSessionQuota(Action, frozen=True, tag="quota_set"):
    """Bound what a session may use in thirty days, or with `each` every member of it; as for a person.

    With `students` it is the students of a class together, or each of them, and nobody else.
    """

    session_id: Annotated[str, Meta(min_length=1, max_length=200)]
    each: bool = False
    students: bool = False
    core_hours: Amount | None = None
    gpu_hours: Amount | None = None
    money: Amount | None = None
    open: Count | None = None
    soft: bool = False


@handles(SetPersonQuota, needs="quota:set_any", when="person")
def set_person_quota(act: SetPersonQuota, ctx: Context) -> QuotaView:
    """In the place of the one before."""
    ctx.access.hub("quota:set_any")
    person = accounts.named(ctx.conn, act.person)
    if person is None:
        raise NotFound("there is nobody of that name in this hub", path="$.params.person")
    made = _set(ctx, "person", person, act)
    ctx.about("quota", person, **_facts(act))
    view = quotas.view(ctx, quotas.bound_of(ctx, made, person), "")
    return msgspec.structs.replace(view, of=act.person)


@handles(SetSessionQuota, needs="quota:set")
def set_session_quota(act: SetSessionQuota, ctx: Context) -> QuotaView:
    """In the place of the one before."""
    session = ctx.access.session(act.session_id, "quota:set")
    whole, one = ("class", "student") if act.students else ("session", "member")
    made = _set(ctx, one if act.each else whole, session, act)
    ctx.about("quota", session, session, each=act.each, students=act.students, **_facts(act))
    return quotas.view(ctx, quotas.bound_of(ctx, made, ctx.actor.id), session)


def _set(ctx: Context, kind: str, subject: str, act: SetPersonQuota | SetSessionQuota) -> Any:
    bounds = _bounds(act)
    ctx.execute(sa.delete(quota_table).where(quota_table.c.kind == kind, quota_table.c.subject == subject))
    row = {"kind": kind, "subject": subject, **bounds, "hard": not act.soft, "set_by": ctx.actor.id, "set_at": ctx.now}
    inserted = sa.insert(quota_table).values(**row).returning(quota_table)
    made = ctx.execute(inserted).one()
    if all(each is None for each in bounds.values()):
        ctx.execute(sa.delete(quota_table).where(quota_table.c.kind == kind, quota_table.c.subject == subject))
    return made


def _bounds(act: SetPersonQuota | SetSessionQuota) -> dict[str, float | int | None]:
    return {"core_hours": act.core_hours, "gpu_hours": act.gpu_hours, "money": act.money, "open": act.open}


def _facts(act: SetPersonQuota | SetSessionQuota) -> dict[str, Any]:
    return {**_bounds(act), "hard": not act.soft}
