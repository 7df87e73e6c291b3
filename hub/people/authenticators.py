"""Authenticator apps (TOTP): set up, asked, taken away.

A code is accepted for its own half minute and the ones beside it, and moves the person's last accepted step forward by
one conditional UPDATE: however many show the same code at once, one is let in. The seed is sealed under the person's
key domain and can be read by them alone, freshly proved, until it is confirmed.
"""

from __future__ import annotations

import datetime as dt
import hmac
from typing import Annotated, Any, ClassVar

import msgspec
import pyotp
import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Context, Scope
from hub.core.errors import Conflict, HubError, InvalidInput, NotFound
from hub.core.house import House
from hub.core.keys import seal, unseal
from hub.people import factors, guesses, once, recovery, sign_ins, step_up
from hub.people.passwords import Code
from hub.people.tables import authenticators

STEP_SECONDS = 30
DIGITS = 6


class Setup(msgspec.Struct, frozen=True):
    """What an app needs to know, shown until it is confirmed."""

    seed: str
    url: str


class BeginAuthenticator(Action, frozen=True, tag="account_authenticator_begin"):
    """Make a seed for an authenticator app; it counts for nothing until one of its codes is shown."""

    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


class ConfirmAuthenticator(Action, frozen=True, tag="account_authenticator_confirm"):
    """Show that the app works, by a code of it; from then on each sign-in by password or link asks for one."""

    totp: Annotated[str, Meta(min_length=1, max_length=20)]
    secret_fields: ClassVar[tuple[str, ...]] = ("totp",)


class RemoveAuthenticator(Action, frozen=True, tag="account_authenticator_remove"):
    """Take the authenticator app away, and its recovery codes with it."""

    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


class RenewRecoveryCodes(Action, frozen=True, tag="account_recovery_codes"):
    """Ten fresh recovery codes, shown once; the old ones are worth nothing."""

    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What was set up or taken away; `cookie` replaces the browser's, `codes` are shown this once."""

    person: str
    cookie: str | None = None
    codes: list[str] = []


@handles(BeginAuthenticator, needs="account:secure")
def begin(act: BeginAuthenticator, ctx: Context) -> Changed:
    """A fresh seed takes the place of one that was never confirmed."""
    person = sign_ins.the_person(ctx)
    step_up.prove(ctx, act.code, "setting up an authenticator app")
    if factors.of(ctx.conn, person).authenticator:
        raise Conflict("you have an authenticator app already", code="authenticator_there", hint="remove it first")
    ctx.execute(sa.delete(authenticators).where(authenticators.c.person == person))
    sealed = seal(ctx.house.keys.domain_in(ctx.tx, person), pyotp.random_base32().encode(), _about(person))
    ctx.execute(sa.insert(authenticators).values(person=person, sealed=sealed, begun_at=ctx.now, last_step=0))
    ctx.about("person", person)
    return Changed(person=person)


def _count_guess(act: Any, house: House, actor: Any) -> None:
    guesses.take(house, guesses.at_account(f"code:{actor.id}", "", actor.address))


@handles(ConfirmAuthenticator, needs="account:secure", before=_count_guess)
def confirm(act: ConfirmAuthenticator, ctx: Context) -> Changed:
    """The code that shows it is used up by that."""
    person = sign_ins.the_person(ctx)
    row = ctx.execute(
        sa.select(authenticators).where(authenticators.c.person == person, authenticators.c.confirmed_at.is_(None))
    ).first()
    if row is None:
        raise NotFound("no authenticator app of yours waits to be confirmed", code="authenticator_not_found")
    if not accept(ctx, person, act.totp, confirmed=False):
        raise InvalidInput(
            "this is not the code the app should show now; nothing was changed",
            code="code_not_valid",
            path="$.params.totp",
            hint="look whether the clock of the device is right, and try the next code",
        )
    guesses.give_back(ctx.tx, guesses.at_account(f"code:{person}", "", ctx.actor.address))
    ctx.execute(sa.update(authenticators).where(authenticators.c.person == person).values(confirmed_at=ctx.now))
    sign_ins.end_all(ctx.tx, person, ctx.now, but=ctx.actor.sign_in_id)
    ctx.about("person", person)
    return Changed(person=person, cookie=sign_ins.renew(ctx, proved=True), codes=recovery.renew(ctx, person))


@handles(RemoveAuthenticator, needs="account:secure")
def remove(act: RemoveAuthenticator, ctx: Context) -> Changed:
    """Whoever may sign in with less afterwards must be the person, now."""
    person = sign_ins.the_person(ctx)
    step_up.prove(ctx, act.code, "removing your authenticator app")
    forget(ctx, person)
    ctx.about("person", person)
    return Changed(person=person, cookie=sign_ins.renew(ctx))


@handles(RenewRecoveryCodes, needs="account:secure")
def renew_codes(act: RenewRecoveryCodes, ctx: Context) -> Changed:
    """Codes stand in for the app, so there must be one."""
    person = sign_ins.the_person(ctx)
    step_up.prove(ctx, act.code, "making new recovery codes")
    if not factors.of(ctx.conn, person).authenticator:
        raise NotFound("you have no authenticator app that they could stand in for", code="authenticator_not_found")
    ctx.about("person", person)
    return Changed(person=person, codes=recovery.renew(ctx, person))


def setup(scope: Scope) -> Setup | None:
    """The seed that waits to be confirmed, for the person themselves, freshly proved."""
    row = scope.execute(
        sa.select(authenticators).where(
            authenticators.c.person == scope.actor.id, authenticators.c.confirmed_at.is_(None)
        )
    ).first()
    if row is None or not step_up.is_fresh(scope):
        return None
    seed = unseal(scope.house.keys.domain(row.person), row.sealed, _about(row.person)).decode()
    name = f"{scope.actor.handle}@{scope.settings.origin.partition('://')[2]}"
    return Setup(seed, pyotp.TOTP(seed).provisioning_uri(name=name, issuer_name="Collegium"))


def accept(ctx: Context, person: str, code: str, *, confirmed: bool = True) -> bool:
    """Use up a code of the person's app; False when it is wrong, too old, or was used."""
    row = ctx.execute(sa.select(authenticators).where(authenticators.c.person == person)).first()
    if row is None or (row.confirmed_at is not None) != confirmed:
        return False
    seed = unseal(ctx.house.keys.domain_in(ctx.tx, person), row.sealed, _about(person)).decode()
    step = _step_of(seed, code, ctx.now)
    if step is None:
        return False
    # The step only grows, so of two who show the same code one changes the row and the other finds nothing to change.
    moved = ctx.execute(
        sa.update(authenticators)
        .where(authenticators.c.person == person, authenticators.c.last_step < step)
        .values(last_step=step)
    )
    return moved.rowcount == 1


def accept_any(ctx: Context, person: str, code: str) -> str | None:
    """How a code proved the person: by the app, a recovery code, or the shell's one-time code; None when it did not."""
    text = "".join(code.split())
    if accept(ctx, person, text):
        return "totp"
    if recovery.use(ctx.tx, person, text, ctx.now):
        return "recovery"
    try:
        once.consume(ctx, text, kind="step_up", person=person)
    except HubError:
        return None
    return "code"


def forget(ctx: Context, person: str) -> None:
    """Take a person's app and recovery codes away."""
    ctx.execute(sa.delete(authenticators).where(authenticators.c.person == person))
    recovery.forget(ctx.tx, person)


def _step_of(seed: str, code: str, now: dt.datetime) -> int | None:
    """The time step whose code this is: the present one or a neighbour, the newest first."""
    if len(code) != DIGITS or not code.isascii() or not code.isdigit():
        return None
    here, found = int(now.timestamp()) // STEP_SECONDS, None
    app = pyotp.HOTP(seed)
    for step in (here - 1, here, here + 1):
        if hmac.compare_digest(app.at(step), code):
            found = step
    return found


def _about(person: str) -> str:
    return f"authenticator:{person}"
