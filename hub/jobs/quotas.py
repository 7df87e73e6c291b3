"""What people and sessions may use within a term: counted at its worst at submission, told before it is too much.

Five accounts are counted: the person in the whole hub, the session, each member in it, the students of a class
together, and each of them. A group is a session, and a class is a session in which somebody is a student: the model has
nothing above sessions, so a course whose groups work in sessions of their own has a quota for each of these, and none
for all of them at once. What who leads a class does in it counts for none of its students.
What is held by jobs that have not ended counts as if they took all the time they may, so that what was allowed is
never found to have been too much.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.context import Context, Scope
from hub.core.errors import Conflict
from hub.jobs import holding, rules, shares
from hub.jobs.economy import shown_money
from hub.jobs.plan_tables import job_plans
from hub.jobs.plan_tables import quotas as quota_table
from hub.jobs.plans import Settled
from hub.jobs.shares import Account, Quota, Used
from hub.jobs.tables import jobs
from hub.people.views import PersonView, people
from hub.sessions import grants
from hub.sessions.names import full_name, known_sessions

TERM_DAYS = 30
WARN_AT = (0.8, 1.0)
# Kinds of quotas that count for students only: all of them together, and each.
OF_STUDENTS = ("class", "student")
# Kinds of quotas that many people have, each for themselves.
EACH = ("member", "student")
_SHOWN = {
    "core_hours": "core hours",
    "gpu_hours": "GPU hours",
    "money": "money",
    "open": "jobs that have not ended",
}


class AmountView(msgspec.Struct, frozen=True):
    """One bound: at most so much within the term, so much used or reserved, so much left."""

    what: str  # core_hours, gpu_hours, money, open
    most: float
    used: float
    left: float


class QuotaView(msgspec.Struct, frozen=True, kw_only=True):
    """A quota that counts for the reader. `of` is whose in words, `who` who can raise it; a soft one only warns."""

    kind: str  # person, session, member, class, student
    subject: str
    of: str
    who: str
    hard: bool
    days: int
    amounts: list[AmountView]


class PersonQuotaView(msgspec.Struct, frozen=True, kw_only=True):
    """What one person used of a bound that each member, or each student, of a session has."""

    person: PersonView
    kind: str
    amounts: list[AmountView]


class QuotasView(msgspec.Struct, frozen=True):
    """Several, the reader's own first; `people` are those who used something of what each may, for who leads it."""

    quotas: list[QuotaView]
    currency: str
    people: list[PersonQuotaView] = []


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A quota as it is kept. `account` is whose use counts; `who` is who can raise it, in words."""

    account: Account
    quota: Quota
    kind: str
    subject: str
    hard: bool
    of: str  # whose it is, as the person is told
    who: str


class Reached(msgspec.Struct, frozen=True):
    """A part of a quota that a submission has just reached; the sentence begins with whose it is."""

    bound: Bound
    what: str
    threshold: float
    sentence: str


_BOUNDS = sa.select(quota_table).where(
    sa.or_(
        sa.and_(quota_table.c.kind == "person", quota_table.c.subject == sa.bindparam("person")),
        sa.and_(quota_table.c.kind != "person", quota_table.c.subject == sa.bindparam("session")),
    )
)


def check(ctx: Context, session: str, settled: Sequence[Settled]) -> tuple[list[str], list[Reached]]:
    """What the submitter is warned of, and what is newly reached. Raises Conflict for a hard quota that these jobs
    together would break.

    Submissions that count for one account are looked at one after the other, else two could both be the last.
    """
    bounds = bounds_for(ctx, session, ctx.actor.id)
    if not bounds:
        return [], []
    for bound in bounds:
        ctx.tx.alone(f"quota {bound.account.kind} {bound.account.id}")
    over, warnings, reached = _judged(ctx, session, settled, ctx.actor.id)
    if over:
        raise Conflict(
            " ".join(over) + " Nothing was submitted.",
            code="over_quota",
            path="$.params.resources",
            errors=over,
            hint="ask for less, cancel what is not needed, or ask who is named to raise it",
        )
    return warnings, reached


def judge(
    scope: Scope, session: str, settled: Sequence[Settled], person: str | None = None
) -> tuple[list[str], list[str]]:
    """(what would be broken, what is warned of), a sentence each; nothing where there are no quotas."""
    over, warnings, _ = _judged(scope, session, settled, person or scope.actor.id)
    return over, warnings


def _judged(
    scope: Scope, session: str, settled: Sequence[Settled], person: str
) -> tuple[list[str], list[str], list[Reached]]:
    bounds = bounds_for(scope, session, person)
    if not bounds or not settled:
        return [], [], []
    wanted, unknown = Used(), ""
    for each in settled:
        most = each.most
        unknown = unknown or ("" if most.money is not None else each.place.offer.backend)
        wanted += Used(most.core_hours, most.gpu_hours, most.money or 0.0, open=1)
    over: list[str] = []
    warnings: list[str] = []
    reached: list[Reached] = []
    for bound in bounds:
        used = used_by(scope, bound.account, session)
        broken = [
            _broken(bound, each.what, used, wanted)
            for each in shares.breaks(wanted, {bound.account: used}, {bound.account: bound.quota})
        ]
        if unknown and bound.quota.money is not None:
            broken.append(f"Nobody has said what {unknown} costs, and {bound.of} has a quota of money.")
        (over if bound.hard else warnings).extend(broken)
        close = _close(bound, used, wanted)
        reached += close
        if not broken:
            warnings += [f"With this job {each.sentence}" for each in close]
    return over, warnings, reached


def of_session(scope: Scope, ref: str) -> QuotasView:
    """What bounds the reader's jobs in one session, and its students' for who may change that."""
    session = scope.access.session(ref, "job:read")
    leads = scope.access.may(session, "quota:set")
    bounds = _bounds(scope, session, scope.actor.id, of_students=leads)
    each_of = _of_people(scope, session, bounds) if leads else []
    return QuotasView([view(scope, each, session) for each in bounds], scope.settings.currency, each_of)


def _of_people(scope: Scope, session: str, bounds: Sequence[Bound]) -> list[PersonQuotaView]:
    """What each person used of what each may, who used most of it first."""
    each_of = [bound for bound in bounds if bound.kind in EACH]
    if not each_of:
        return []
    used = used_by_each(scope, session)
    leaders = grants.no_students(scope, session)
    who = people(scope, set(used))
    found = [
        PersonQuotaView(person=who[person], kind=bound.kind, amounts=amounts_of(used[person], bound.quota))
        for bound in each_of
        for person in used
        if bound.kind != "student" or person not in leaders
    ]
    return sorted(found, key=lambda one: (-max(map(share_of, one.amounts), default=0.0), one.person.id, one.kind))


def mine(scope: Scope, *, led: bool = False) -> QuotasView:
    """What bounds the reader's jobs anywhere; with `led` the students' of classes they lead as well."""
    scope.access.hub("hub:read")
    known = scope.execute(known_sessions(scope)).scalars().all()
    seen = [each for each in known if scope.access.may(each, "job:read")]
    rows = scope.execute(
        sa.select(quota_table).where(
            sa.or_(
                sa.and_(quota_table.c.kind == "person", quota_table.c.subject == scope.actor.id),
                sa.and_(quota_table.c.kind != "person", quota_table.c.subject.in_(seen)),
            )
        )
    ).all()
    bounds = [
        bound_of(scope, row, scope.actor.id)
        for row in sorted(rows, key=lambda row: (row.kind != "person", row.subject, row.kind))
        if row.kind not in OF_STUDENTS
        or grants.is_student(scope, row.subject, scope.actor.id)
        or (led and scope.access.may(row.subject, "quota:set"))
    ]
    return QuotasView([view(scope, each, each.subject) for each in bounds], scope.settings.currency)


def view(scope: Scope, bound: Bound, session: str) -> QuotaView:
    amounts = amounts_of(used_by(scope, bound.account, session), bound.quota)
    return QuotaView(
        kind=bound.kind,
        subject=bound.subject,
        of=bound.of,
        who=bound.who,
        hard=bound.hard,
        days=TERM_DAYS,
        amounts=amounts,
    )


def amounts_of(used: Used, quota: Quota) -> list[AmountView]:
    """A quota and how much of it was used, bound by bound."""
    return [
        AmountView(what, getattr(quota, what), getattr(used, what), left)
        for what, left in shares.left(used, quota).items()
    ]


def share_of(amount: AmountView) -> float:
    """How much of a bound is used or reserved; a bound of nothing is all used."""
    return amount.used / amount.most if amount.most else 1.0


def bounds_for(scope: Scope, session: str, person: str) -> list[Bound]:
    """The quotas that a job of this person in this session counts for."""
    return _bounds(scope, session, person)


def _bounds(scope: Scope, session: str, person: str, *, of_students: bool = False) -> list[Bound]:
    rows = scope.execute(_BOUNDS, {"person": person, "session": session}).all()
    if any(row.kind in OF_STUDENTS for row in rows) and not of_students:
        of_students = grants.is_student(scope, session, person)
    kept = [row for row in rows if of_students or row.kind not in OF_STUDENTS]
    return [bound_of(scope, row, person) for row in sorted(kept, key=lambda row: str(row.kind))]


def bound_of(scope: Scope, row: Any, person: str) -> Bound:
    name = "" if row.kind == "person" else full_name(scope, row.subject)
    who = "an operator of this hub" if row.kind == "person" else f"who leads {name}"
    if row.kind == "person":
        account, of = Account("person", row.subject), "you"
    elif row.kind == "session":
        account, of = Account("group", row.subject), f"the session {name}"
    elif row.kind == "class":
        account, of = Account("class", row.subject), f"the class {name}"
    elif row.kind == "member":
        account, of = Account("member", person), f"each member of {name}"
    else:
        account, of = Account("student", person), f"each student of {name}"
    quota = Quota(core_hours=row.core_hours, gpu_hours=row.gpu_hours, money=row.money, open=row.open)
    return Bound(account=account, quota=quota, kind=row.kind, subject=row.subject, hard=row.hard, of=of, who=who)


def used_by(scope: Scope, account: Account, session: str) -> Used:
    """What this account used within the term and still holds; in this session only, but for a person.

    Of each student, for somebody who is none: the most that any of them used.
    """
    where = [] if account.kind == "person" else [jobs.c.session == session]
    others = grants.no_students(scope, session) if account.kind in OF_STUDENTS else frozenset[str]()
    of_all = account.kind == "student" and account.id in others
    if account.kind == "class" or of_all:
        where.append(jobs.c.submitted_by.not_in(others))
    elif account.kind != "group":
        where.append(jobs.c.submitted_by == account.id)
    query = _sums(scope, where)
    if of_all:
        each = query.group_by(jobs.c.submitted_by).subquery()
        query = sa.select(*(sa.func.coalesce(sa.func.max(one), 0).label(one.name) for one in each.c))
    return _used(scope.execute(query).one())


def used_by_each(scope: Scope, session: str) -> dict[str, Used]:
    """The same of each person who used anything in a session, in one look."""
    query = _sums(scope, [jobs.c.session == session]).add_columns(jobs.c.submitted_by).group_by(jobs.c.submitted_by)
    return {row.submitted_by: _used(row) for row in scope.execute(query)}


def _used(row: Any) -> Used:
    return Used(float(row.cores), float(row.gpus), float(row.money), open=int(row.open))


def _sums(scope: Scope, where: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    ended = jobs.c.state.in_(rules.TERMINAL)
    ran = sa.func.coalesce(holding.HELD_MICROS, 0)
    longest = sa.cast(job_plans.c.wall_seconds, sa.BigInteger) * 1_000_000
    hours = sa.cast(sa.case((ended, ran), else_=longest), sa.Float) / 3.6e9
    cores, gpus = hours * job_plans.c.cores, hours * job_plans.c.gpus
    core_hour, gpu_hour = (sa.func.coalesce(each, 0.0) for each in (job_plans.c.core_hour, job_plans.c.gpu_hour))
    return (
        sa.select(
            sa.func.coalesce(sa.func.sum(cores), 0.0).label("cores"),
            sa.func.coalesce(sa.func.sum(gpus), 0.0).label("gpus"),
            sa.func.coalesce(sa.func.sum(cores * core_hour + gpus * gpu_hour), 0.0).label("money"),
            sa.func.coalesce(sa.func.sum(sa.case((ended, 0), else_=1)), 0).label("open"),
        )
        .select_from(jobs.join(job_plans, job_plans.c.job == jobs.c.id))
        .where(*where, sa.or_(~ended, jobs.c.submitted_at >= scope.now - dt.timedelta(days=TERM_DAYS)))
    )


def _broken(bound: Bound, what: str, used: Used, wanted: Used) -> str:
    left = shares.left(used, bound.quota)[what]
    most = getattr(bound.quota, what)
    asks = _amount(what, getattr(wanted, what))
    has = "have" if bound.of == "you" else "has"
    term = "" if what == "open" else f" in {TERM_DAYS} days"
    return (
        f"It may take {asks}, and {bound.of} {has} {_amount(what, left)} left of {_amount(what, most)}{term}; "
        f"{bound.who} can raise it."
    )


def _close(bound: Bound, used: Used, wanted: Used) -> list[Reached]:
    """The one highest threshold that each bound newly reaches with this."""
    found = []
    for what in _SHOWN:
        most = getattr(bound.quota, what)
        before, takes = getattr(used, what), getattr(wanted, what)
        if most is None or takes <= 0 or what == "open":
            continue
        # What a job takes to the last bit of a quota has reached it, whatever floating point says.
        for warned in shares.warnings(before, before + takes + 1e-9, most, WARN_AT):
            has = "have" if bound.of == "you" else "has"
            said = _amount(what, min(warned.spent, most))
            part = "all" if warned.threshold >= 1 else f"{warned.threshold:.0%} or more"
            of = _amount(what, most)
            sentence = f"{bound.of} {has} used or reserved {said} of {of} in {TERM_DAYS} days: {part}."
            found.append(Reached(bound, what, warned.threshold, sentence))
    return found


def _amount(what: str, amount: float) -> str:
    if what == "money":
        return f"a cost of {shown_money(amount)}"
    amount = round(amount, 6)
    number = f"{amount:g}" if amount == int(amount) else f"{amount:.1f}"
    return f"{number} {_SHOWN[what]}"
