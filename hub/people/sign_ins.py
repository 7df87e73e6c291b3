"""A browser's sign-ins: begun, renewed under a new cookie, listed, ended.

The cookie changes at every change of privilege, so one that was copied before is worth nothing after; the sign-in
itself, with what hangs on it (open rooms, signing windows), goes on.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context, Scope
from hub.core.database import Tx
from hub.core.errors import NotAllowed, NotFound
from hub.core.ids import new_id, secret_digest
from hub.people import accounts, factors, guesses, once
from hub.people.tables import sign_ins


class SignedInView(msgspec.Struct, frozen=True):
    """The cookie of a fresh sign-in."""

    cookie: str
    person: str
    expires: str


class SecondPageView(msgspec.Struct, frozen=True):
    """The first half of a sign-in: `second` is what `sign_in_code` wants beside the code."""

    second: str
    expires: str


class SignInRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of your sign-ins."""

    sign_in: str
    agent: str
    how: str
    at: str
    seen: str  # to the hour
    here: bool


class EndOther(Action, frozen=True, tag="sign_out_other"):
    """End one of your sign-ins, in whatever browser it is."""

    sign_in: Annotated[str, Meta(max_length=64)]


class EndOthers(Action, frozen=True, tag="sign_out_others"):
    """End all your sign-ins but the one you are using."""


class EndedMany(msgspec.Struct, frozen=True):
    """How many sign-ins were ended."""

    ended: int


def begin(ctx: Context, person: str, how: str) -> SignedInView:
    """Remember this browser as the person's, and name the sign-in for the ledger."""
    attempt = new_id("sin")
    cookie = ctx.reveal("cookie", "clgc", "cookie", attempt)
    sign_in = accounts.sign_in(ctx.tx, cookie, ctx.now, person=person, how=how, agent=ctx.actor.agent)
    ctx.about("sign_in", sign_in, person=person, how=how)
    return SignedInView(cookie, person, iso(ctx.now + dt.timedelta(seconds=limits.SIGN_IN_SECONDS)))


def begin_or_ask(ctx: Context, person: str, how: str) -> SignedInView | SecondPageView:
    """As `begin`, except for who has set up an authenticator app: they show its code first, on a second page."""
    if not factors.of(ctx.conn, person).authenticator:
        return begin(ctx, person, how)
    attempt = new_id("sec")
    secret = ctx.reveal("second", "clgh", "second_page", attempt)
    expires = ctx.now + dt.timedelta(seconds=limits.SECOND_PAGE_SECONDS)
    once.issue(ctx.tx, secret, "second_page", person=person, expires_at=expires, how=how)
    ctx.about("person", person, how=how, second_page=attempt)
    return SecondPageView(secret, iso(expires))


def renew(ctx: Context, *, proved: bool = False) -> str | None:
    """A new cookie for the sign-in that acts, and the old one dead; None for who came by a token."""
    if ctx.actor.sign_in_id is None or ctx.actor.by_service is not None:
        return None
    cookie = ctx.reveal("cookie", "clgc", "cookie", new_id("sin"))
    values = {"digest": secret_digest(cookie), **({"proved_at": ctx.now} if proved else {})}
    ctx.execute(sa.update(sign_ins).where(sign_ins.c.id == ctx.actor.sign_in_id).values(**values))
    return cookie


def end_all(tx: Tx, person: str, now: dt.datetime, *, but: str | None = None) -> int:
    """End a person's sign-ins, except perhaps one; says how many."""
    return tx.execute(
        sa.update(sign_ins)
        .where(sign_ins.c.person == person, sign_ins.c.ended_at.is_(None), sign_ins.c.id != (but or ""))
        .values(ended_at=now)
    ).rowcount


def the_person(ctx: Context) -> str:
    """The id of the person who acts for themselves. Raises NotAllowed for guests by link and for services."""
    ctx.access.hub("account:secure")
    if ctx.actor.kind != "person" or ctx.actor.by_service is not None:
        raise NotAllowed("only the person themselves can do this, in their own browser or shell")
    return ctx.actor.id


@handles(EndOther, needs="sign_in:end")
def end_other(act: EndOther, ctx: Context) -> EndedMany:
    """Another's sign-in is as unknown as none."""
    ctx.access.hub("sign_in:end")
    ended = ctx.execute(
        sa.update(sign_ins)
        .where(sign_ins.c.id == act.sign_in, sign_ins.c.person == ctx.actor.id, sign_ins.c.ended_at.is_(None))
        .values(ended_at=ctx.now)
    )
    if ended.rowcount != 1:
        raise NotFound("you have no such sign-in that lasts", code="sign_in_not_found", path="$.params.sign_in")
    ctx.about("sign_in", act.sign_in, person=ctx.actor.id)
    return EndedMany(1)


@handles(EndOthers, needs="sign_in:end")
def end_others(act: EndOthers, ctx: Context) -> EndedMany:
    """All at once, open rooms in those browsers too."""
    ctx.access.hub("sign_in:end")
    person = the_person(ctx)
    ended = end_all(ctx.tx, person, ctx.now, but=ctx.actor.sign_in_id)
    ctx.about("person", person, ended=ended)
    return EndedMany(ended)


def mine(scope: Scope) -> list[SignInRow]:
    """Your sign-ins that last, the newest first."""
    rows = scope.execute(
        sa.select(sign_ins)
        .where(sign_ins.c.person == scope.actor.id, sign_ins.c.ended_at.is_(None), sign_ins.c.expires_at > scope.now)
        .order_by(sign_ins.c.at.desc(), sign_ins.c.id)
    )
    return [
        SignInRow(
            sign_in=row.id,
            agent=row.agent or "a browser",
            how=row.how or "link",
            at=iso(row.at),
            seen=iso(row.seen_at or row.at),
            here=row.id == scope.actor.sign_in_id,
        )
        for row in rows
    ]


def forgive(ctx: Context, person: str) -> None:
    """Give back the guess that was none."""
    guesses.give_back(ctx.tx, guesses.at_account(person, "", ctx.actor.address))
