"""E-mail addresses that somebody proved to own: by a link that was sent there and opened while signed in.

Typing an address proves nothing, so a pending one is kept nowhere but in its link; only at the button's press is it
somebody's. That an address belongs to an account already is told to whoever holds the mailbox, and to nobody else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Annotated, ClassVar

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Actor, Context, Scope
from hub.core.errors import Conflict, NotAllowed, NotFound, TooMany
from hub.core.house import House
from hub.core.ids import derived_secret, new_id
from hub.people import guesses, mail, once, rules
from hub.people.tables import emails, persons
from hub.people.tables import once as once_table

Address = Annotated[str, Meta(min_length=3, max_length=254)]
KIND = "email"
_PREFIX = "clge"


class AddEmail(Action, frozen=True, tag="email_add"):
    """Add an e-mail address of yours: a link is sent there, and opening it proves that the address is yours."""

    email: Address


class EmailAskedView(msgspec.Struct, frozen=True):
    """Where the link was sent, and how long it is good."""

    email: str
    expires: str


def _count(act: AddEmail, house: House, actor: Actor) -> None:
    """Nobody makes the hub write to strangers without end."""
    mail.require_server(house.settings)
    try:
        guesses.take(house, {f"mail:{actor.id}": limits.EMAIL_LINKS_PER_PERSON})
    except TooMany as error:
        raise TooMany(
            "you had many links sent a moment ago",
            code="too_many_mails",
            hint="wait a little",
            retry_after_seconds=error.retry_after_seconds,
        ) from None


@handles(AddEmail, needs="email:add", before=_count)
def add_email(act: AddEmail, ctx: Context) -> EmailAskedView:
    """The answer is the same whoever the address belongs to."""
    ctx.access.hub("email:add")
    _themselves(ctx)
    address = rules.normal_email(act.email)
    link = new_id("eml")
    secret = derived_secret(ctx.house.secret, _PREFIX, KIND, link)
    expires = ctx.now + dt.timedelta(seconds=limits.EMAIL_LINK_SECONDS)
    once.issue(ctx.tx, secret, KIND, person=ctx.actor.id, expires_at=expires, email=address, link=link)
    mail.send(
        ctx,
        to=address,
        subject="Is this your address?",
        text=f"{ctx.actor.name} (@{ctx.actor.handle}) says that {address} is theirs.\n\n"
        f"If that is you, open this page while you are signed in:\n\n"
        f"{ctx.settings.origin}/email/{mail.SECRET_HERE}\n\n"
        f"It works once, until {expires:%Y-%m-%d %H:%M} UTC. If it is not you, there is nothing to do.\n",
        about=link,
        secret=(_PREFIX, KIND, link),
    )
    ctx.about("person", ctx.actor.id, link=link)
    return EmailAskedView(address, iso(expires))


class VerifyEmail(Action, frozen=True, tag="email_verify"):
    """Prove that an address is yours, by the secret that was sent there."""

    secret: Annotated[str, Meta(min_length=1, max_length=200)]
    secret_fields: ClassVar[tuple[str, ...]] = ("secret",)


class EmailView(msgspec.Struct, frozen=True):
    """An address, and when it was proved; nothing while its link was not opened."""

    email: str
    verified: str | None
    standing: str = ""


@handles(VerifyEmail, needs="email:verify")
def verify_email(act: VerifyEmail, ctx: Context) -> EmailView:
    """Only who asked for the link may use it: else somebody could make a stranger's address their own by a click."""
    ctx.access.hub("email:verify")
    _themselves(ctx)
    address = once.consume(ctx, act.secret, kind=KIND, person=ctx.actor.id).facts["email"]
    values = {"person": ctx.actor.id, "verified_at": ctx.now}
    if not ctx.tx.insert_new(emails, email=address, **values):
        # A claim that nobody proved gives way to a proof.
        taken = ctx.execute(
            sa.update(emails)
            .where(emails.c.email == address, sa.or_(emails.c.verified_at.is_(None), emails.c.person == ctx.actor.id))
            .values(**values)
        )
        if taken.rowcount != 1:
            raise Conflict(
                "this address belongs to another account of this hub",
                code="email_taken",
                hint="sign in to that account and remove it there first",
            )
    ctx.about("person", ctx.actor.id)
    return EmailView(address, iso(ctx.now))


class RemoveEmail(Action, frozen=True, tag="email_remove"):
    """Remove one of your e-mail addresses: it signs nobody in and brings no invitation any more."""

    email: Address


@handles(RemoveEmail, needs="email:add")
def remove_email(act: RemoveEmail, ctx: Context) -> EmailView:
    """Links that were sent to it end with it."""
    ctx.access.hub("email:add")
    _themselves(ctx)
    address = rules.normal_email(act.email)
    own = (once_table.c.kind == KIND) & (once_table.c.person == ctx.actor.id) & once_table.c.used_at.is_(None)
    pending = [row.digest for row in ctx.execute(sa.select(once_table).where(own)) if row.facts.get("email") == address]
    ctx.execute(sa.update(once_table).where(once_table.c.digest.in_(pending)).values(used_at=ctx.now))
    gone = ctx.execute(sa.delete(emails).where(emails.c.email == address, emails.c.person == ctx.actor.id)).rowcount
    if not gone and not pending:
        raise NotFound("you have no such address here", code="email_not_found", path="$.params.email")
    ctx.about("person", ctx.actor.id)
    return EmailView(address, None)


def _themselves(ctx: Context) -> None:
    if ctx.actor.kind != "person" or ctx.actor.by_service is not None:
        raise NotAllowed("only the person themselves can do this, in their own browser or shell")


def mine(scope: Scope) -> list[EmailView]:
    """Your addresses: those you proved, those somebody typed, and those whose link waits to be opened."""
    rows = scope.execute(sa.select(emails).where(emails.c.person == scope.actor.id).order_by(emails.c.email))
    found = {row.email: EmailView(row.email, None if row.verified_at is None else iso(row.verified_at)) for row in rows}
    links = scope.execute(
        sa.select(once_table).where(
            once_table.c.kind == KIND,
            once_table.c.person == scope.actor.id,
            once_table.c.used_at.is_(None),
            once_table.c.expires_at > scope.now,
        )
    ).all()
    standing = mail.standing(scope, {row.facts["link"] for row in links})
    for row in sorted(links, key=lambda each: each.expires_at):
        address = row.facts["email"]
        if address not in found or found[address].verified is None:
            found[address] = EmailView(address, None, standing.get(row.facts["link"], ""))
    return list(found.values())


def verified(scope: Scope) -> set[str]:
    """The addresses the actor proved to own."""
    if scope.actor.kind != "person":
        return set()
    return set(
        scope.execute(
            sa.select(emails.c.email).where(emails.c.person == scope.actor.id, emails.c.verified_at.is_not(None))
        ).scalars()
    )


class Landing(msgspec.Struct, frozen=True):
    """What the page of a link says before it is used: which address, and who said it is theirs."""

    email: str
    name: str
    handle: str
    is_mine: bool


def landing(scope: Scope, secret: str) -> Landing | None:
    """Look at a link without using it."""
    found = once.look(scope.conn, secret, KIND, scope.now)
    if found is None:
        return None
    row = scope.execute(sa.select(persons).where(persons.c.id == found.person)).one()
    return Landing(found.facts["email"], row.name, row.handle, found.person == scope.actor.id)


def of_people(scope: Scope, people: Collection[str]) -> dict[str, str]:
    """One proved address of each of these people who has one and whose account is not disabled."""
    rows = scope.execute(
        sa.select(emails.c.person, sa.func.min(emails.c.email).label("email"))
        .join(persons, persons.c.id == emails.c.person)
        .where(emails.c.person.in_(people), emails.c.verified_at.is_not(None), persons.c.disabled_at.is_(None))
        .group_by(emails.c.person)
    )
    return {row.person: row.email for row in rows}
