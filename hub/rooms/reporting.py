"""Reporting a message to those who moderate its room, and what they make of it.

Nobody else learns that something was reported: the ledger's line belongs to no session, so only its actor reads it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotAllowed
from hub.core.ids import new_id
from hub.core.keys import seal
from hub.rooms import changing, rules, views
from hub.rooms.names import Ref
from hub.rooms.tables import message_reports as reports


class ReportMessage(Action, frozen=True, kw_only=True, tag="message_report"):
    """Show a message to those who moderate the room, with a word why."""

    message: Ref
    reason: Annotated[str, Meta(max_length=limits.MESSAGE_CHARACTERS)] = ""


class SettleReport(Action, frozen=True, kw_only=True, tag="message_report_settle"):
    """Say what comes of a report: the message goes, or it stays."""

    report: Ref
    outcome: Literal["removed", "dismissed"]


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """A report that was made or settled."""

    report: str
    outcome: str | None = None


@handles(ReportMessage, needs="room:join")
def report_message(act: ReportMessage, ctx: Context) -> Reported:
    """The text is copied as it is now: what is edited or removed afterwards can still be looked into."""
    row = views.row(ctx, ctx.access.find("message", act.message, "room:join"))
    if row.author == ctx.actor.id:
        raise InvalidInput("your own message you can remove", path="$.params.message")
    earlier = ctx.execute(
        sa.select(reports.c.id).where(reports.c.message == row.id, reports.c.reporter == ctx.actor.id)
    ).scalar()
    if earlier is not None:
        ctx.about("report", earlier, None, repeated=True)
        return Reported(report=earlier)
    if row.removed_at is not None:
        raise Conflict("that message was removed", code="message_removed", path="$.params.message")
    report = new_id("rpt")
    key = ctx.house.keys.domain_in(ctx.tx, row.session)
    ctx.tx.insert_new(
        reports,
        id=report,
        session=row.session,
        message=row.id,
        reporter=ctx.actor.id,
        text_sealed=seal(key, views.text(ctx, row).encode(), f"report:{report}:text"),
        reason_sealed=seal(key, rules.clean_text(act.reason).encode(), f"report:{report}:reason"),
        at=ctx.now,
        settled_at=None,
        settled_by=None,
        outcome=None,
    )
    ctx.about("report", report, None)
    ctx.publish(f"session:{row.session}", {"kind": "for_moderators", "what": "report"})
    return Reported(report=report)


@handles(SettleReport, needs="room:moderate")
def settle_report(act: SettleReport, ctx: Context) -> Reported:
    """Nobody settles what was said of themselves."""
    report = ctx.access.find("report", act.report, "room:moderate")
    ctx.tx.alone(f"report:{report}")
    row = ctx.execute(sa.select(reports).where(reports.c.id == report)).one()
    message = views.row(ctx, row.message)
    if ctx.actor.id == message.author:
        raise NotAllowed("a report about your own message is for somebody else who moderates here")
    if row.settled_at is not None and row.outcome != act.outcome:
        raise Conflict(f"this report was settled already: {row.outcome}", code="report_settled")
    if row.settled_at is None:
        ctx.execute(
            sa.update(reports)
            .where(reports.c.id == report)
            .values(settled_at=ctx.now, settled_by=ctx.actor.id, outcome=act.outcome)
        )
        if act.outcome == "removed":
            changing.wipe(ctx, row.message)
    ctx.about("report", report, None, outcome=act.outcome)
    ctx.publish(f"session:{row.session}", {"kind": "for_moderators", "what": "report"})
    return Reported(report=report, outcome=act.outcome)
