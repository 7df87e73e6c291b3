"""Who is told that a quota is nearly or wholly used: the submitter on the job, who can raise it by mail and at home.

Told at 80 % and at 100 %, once a day for each quota and threshold: jobs that end give back what they did not use, so
that one threshold may be passed again and again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from hub.core.context import Context, Scope
from hub.jobs import quotas
from hub.jobs.plans import Settled
from hub.jobs.quotas import AmountView, QuotaView, Reached
from hub.jobs.tables import jobs
from hub.people import mail, verified_email
from hub.people.tables import mails
from hub.sessions import grants
from hub.sessions.names import full_name

# Quotas of many people together: that one is reached, its last submitter alone cannot mend.
OF_ALL = ("session", "class")
AGAIN = dt.timedelta(days=1)


class CloseView(msgspec.Struct, frozen=True, kw_only=True):
    """A bound of which 80 % or more are used or reserved, when something last was, and whether the reader can raise it.

    `session` is where it counts, None for a person's in the whole hub.
    """

    quota: QuotaView
    amount: AmountView
    session: str | None
    session_name: str
    at: dt.datetime
    mine: bool


def check(ctx: Context, session: str, settled: Sequence[Settled]) -> list[str]:
    """As `quotas.check`; what these jobs newly reach of a quota of many is told to whoever can raise it."""
    warned, reached = quotas.check(ctx, session, settled)
    for each in reached:
        if each.bound.kind in OF_ALL:
            _tell(ctx, session, each)
    return warned


def close(scope: Scope) -> list[CloseView]:
    """What the reader can do something about: their own quotas, and those of sessions they lead."""
    found = []
    for each in quotas.mine(scope, led=True).quotas:
        session = None if each.kind == "person" else each.subject
        leads = session is not None and scope.access.may(session, "quota:set")
        if each.kind in OF_ALL and not leads:
            continue
        found += [
            CloseView(
                quota=each,
                amount=amount,
                session=session,
                session_name="" if session is None else full_name(scope, session),
                at=_last(scope, session),
                mine=leads,
            )
            for amount in each.amounts
            if amount.what != "open" and quotas.share_of(amount) >= quotas.WARN_AT[0]
        ]
    return found


def _tell(ctx: Context, session: str, reached: Reached) -> None:
    bound, percent = reached.bound, round(reached.threshold * 100)
    ctx.about(
        "quota", bound.subject, session, action="quota_reached", of=bound.kind, what=reached.what, percent=percent
    )
    key = f"{bound.kind} {bound.subject} {reached.what} {percent}"
    about = f"quota_{hashlib.sha256(key.encode()).hexdigest()[:26]}"
    told = sa.select(mails.c.id).where(mails.c.about == about, mails.c.at > ctx.now - AGAIN).limit(1)
    if not mail.can_send(ctx.settings) or ctx.execute(told).first() is not None:
        return
    # Who submitted it is told by the job itself.
    leaders = [each for each in grants.who_may(ctx, session, "quota:set") if each != ctx.actor.id]
    name = full_name(ctx, session)
    said = f"{reached.sentence[:1].upper()}{reached.sentence[1:]}"
    for address in verified_email.of_people(ctx, leaders).values():
        mail.send(
            ctx,
            to=address,
            subject=f"{percent} % of a quota of {name}",
            text=f"{said}\n\nWho used how much: {ctx.settings.origin}/s/{name}/usage\n"
            f"You can raise it: collegium quota set --session {name}\n\n"
            "You lead this session. The same is told again a day from now at the earliest.\n",
            about=about,
        )


def _last(scope: Scope, session: str | None) -> dt.datetime:
    """When something was last counted."""
    where = jobs.c.submitted_by == scope.actor.id if session is None else jobs.c.session == session
    last = scope.execute(sa.select(sa.func.max(jobs.c.submitted_at)).where(where)).scalar()
    return scope.now if last is None else last
