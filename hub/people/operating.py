"""What operators do to accounts: give a role in the hub, disable, enable, take lost means of sign-in away.

There is always an operator left: the last one can be neither disabled nor made a member.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, NotFound
from hub.people import accounts, authenticators, sign_ins, step_up
from hub.people.passwords import Code
from hub.people.tables import passkeys, passwords, persons

Who = Annotated[str, Meta(min_length=1, max_length=64)]


class SetRole(Action, frozen=True, tag="account_role"):
    """Give a person another role in this hub; their sign-ins end."""

    person: Who
    hub_role: Literal["operator", "member", "guest"]
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


class Disable(Action, frozen=True, tag="account_disable"):
    """Disable an account: nothing of theirs works until it is enabled again, and nothing of theirs is lost."""

    person: Who
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


class Enable(Action, frozen=True, tag="account_enable"):
    """Enable a disabled account; they sign in again."""

    person: Who


class Reset(Action, frozen=True, tag="account_reset"):
    """Take password, authenticator app and passkeys of a person away who lost them; they come in by a new link."""

    person: Who
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


class AccountChanged(msgspec.Struct, frozen=True, kw_only=True):
    """An account after it was changed; `cookie` replaces the operator's own."""

    person: str
    handle: str
    hub_role: str
    disabled: bool
    cookie: str | None = None


@handles(SetRole, needs="account:change")
def set_role(act: SetRole, ctx: Context) -> AccountChanged:
    """The rights change at once, also for tokens: they are looked up with each request."""
    person = _begin(ctx, act.person, act.code, "changing somebody's role in the hub")
    if act.hub_role != "operator":
        _refuse_last(ctx, person)
    ctx.execute(sa.update(persons).where(persons.c.id == person).values(hub_role=act.hub_role))
    ended = sign_ins.end_all(ctx.tx, person, ctx.now, but=ctx.actor.sign_in_id)
    ctx.about("person", person, hub_role=act.hub_role, ended=ended)
    return _changed(ctx, person)


@handles(Disable, needs="account:change")
def disable(act: Disable, ctx: Context) -> AccountChanged:
    """Sign-ins end, tokens and links in chat stop; all of it at once."""
    person = _begin(ctx, act.person, act.code, "disabling an account")
    _refuse_last(ctx, person)
    ctx.execute(sa.update(persons).where(persons.c.id == person).values(disabled_at=ctx.now))
    ended = sign_ins.end_all(ctx.tx, person, ctx.now)
    ctx.about("person", person, ended=ended)
    return _changed(ctx, person)


@handles(Enable, needs="account:change")
def enable(act: Enable, ctx: Context) -> AccountChanged:
    """Their tokens work again; browsers sign in anew."""
    ctx.access.hub("account:change")
    person = _found(ctx, act.person)
    ctx.execute(sa.update(persons).where(persons.c.id == person).values(disabled_at=None))
    ctx.about("person", person)
    return _changed(ctx, person)


@handles(Reset, needs="account:change")
def reset(act: Reset, ctx: Context) -> AccountChanged:
    """What is left is the account itself."""
    person = _begin(ctx, act.person, act.code, "taking away what somebody signs in with")
    ctx.execute(sa.delete(passwords).where(passwords.c.person == person))
    ctx.execute(sa.delete(passkeys).where(passkeys.c.person == person))
    authenticators.forget(ctx, person)
    ended = sign_ins.end_all(ctx.tx, person, ctx.now, but=ctx.actor.sign_in_id)
    ctx.about("person", person, ended=ended)
    return _changed(ctx, person)


def _begin(ctx: Context, who: str, code: str | None, what: str) -> str:
    ctx.access.hub("account:change")
    step_up.prove(ctx, code, what)
    return _found(ctx, who)


def _found(ctx: Context, who: str) -> str:
    person = accounts.named(ctx.conn, who)
    if person is None or ctx.execute(sa.select(persons.c.id).where(persons.c.id == person)).first() is None:
        raise NotFound(f"there is no person {who!r}", code="person_not_found", path="$.params.person")
    return person


def _refuse_last(ctx: Context, person: str) -> None:
    """Two operators who remove each other at the same moment: the locks let one of them go first."""
    able = set(
        ctx.execute(
            sa.select(persons.c.id)
            .where(persons.c.hub_role == "operator", persons.c.disabled_at.is_(None))
            .order_by(persons.c.id)
            .with_for_update()
        ).scalars()
    )
    if able == {person}:
        raise Conflict(
            "this is the hub's last operator", code="last_operator", hint="make somebody else an operator first"
        )


def _changed(ctx: Context, person: str) -> AccountChanged:
    row = ctx.execute(sa.select(persons).where(persons.c.id == person)).one()
    cookie = sign_ins.renew(ctx) if person == ctx.actor.id else None
    return AccountChanged(
        person=person, handle=row.handle, hub_role=row.hub_role, disabled=row.disabled_at is not None, cookie=cookie
    )
