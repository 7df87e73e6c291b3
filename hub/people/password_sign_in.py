"""Signing in with a password, on two pages where an authenticator app is set up; setting a password; proving anew.

Hashing is done before the unit of work, since it is slow on purpose; inside, what it found is held against the row
again. Unknown people, wrong passwords and wrong codes are refused in the same words, at the same cost.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.context import Actor, Context
from hub.core.errors import HubError, InvalidInput, NotAllowed, NotSignedIn
from hub.core.house import House
from hub.people import accounts, authenticators, factors, guesses, once, passkeys, passwords, sign_ins, step_up
from hub.people.authenticators import Changed
from hub.people.passwords import Code
from hub.people.sign_ins import SecondPageView, SignedInView
from hub.people.tables import emails, persons
from hub.people.tables import passwords as stored_passwords

Password = Annotated[str, Meta(min_length=1, max_length=limits.PASSWORD_CHARACTERS)]


class SignInByPassword(Action, frozen=True, tag="sign_in_password"):
    """Sign in with a password, by handle or verified e-mail."""

    who: Annotated[str, Meta(min_length=1, max_length=254)]
    password: Password
    secret_fields: ClassVar[tuple[str, ...]] = ("password",)


class SignInByCode(Action, frozen=True, tag="sign_in_code"):
    """The second page of a sign-in: a code of the authenticator app, or a recovery code."""

    second: Annotated[str, Meta(min_length=1, max_length=200)]
    code: Code
    secret_fields: ClassVar[tuple[str, ...]] = ("second", "code")


class SetPassword(Action, frozen=True, tag="account_password"):
    """Set or change your password; your other sign-ins end."""

    password: Password
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("password", "code")


class StepUp(Action, frozen=True, tag="step_up"):
    """Prove anew that it is you: with password and authenticator code (whichever you have set up), or a passkey."""

    password: Password | None = None
    totp: Code | None = None
    passkey: Annotated[str, Meta(min_length=1, max_length=limits.PASSKEY_ANSWER_CHARACTERS)] | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("password", "totp", "passkey")


class _Checked(msgspec.Struct, frozen=True):
    """What was found before the unit of work: whose password it was, as it was stored, and how to store it today."""

    person: str | None
    stored: str = ""
    again: str | None = None


def refused() -> NotSignedIn:
    """One answer for an unknown person, a wrong password and a wrong code."""
    return NotSignedIn("that did not fit", code="sign_in_refused", hint="look at what you typed and try again")


def _check(house: House, person: str | None, password: str) -> _Checked:
    with house.db.read() as conn:
        stored: str | None = conn.execute(
            sa.select(stored_passwords.c.stored)
            .join(persons, persons.c.id == stored_passwords.c.person)
            .where(stored_passwords.c.person == person, persons.c.disabled_at.is_(None))
        ).scalar()
    if stored is None:
        passwords.spend(password)
        return _Checked(None)
    if not passwords.matches(stored, password):
        return _Checked(None)
    return _Checked(person, stored, passwords.hashed(password) if passwords.is_outdated(stored) else None)


def _still_holds(ctx: Context, checked: _Checked) -> bool:
    """Whether the person is still there and has still that password; keeps it under today's parameters."""
    if checked.person is None or accounts.actor_of(ctx.conn, checked.person) is None:
        return False
    values = {"stored": checked.again or checked.stored}
    found = ctx.execute(
        sa.update(stored_passwords)
        .where(stored_passwords.c.person == checked.person, stored_passwords.c.stored == checked.stored)
        .values(**values)
    )
    return found.rowcount == 1


def _check_sign_in(act: SignInByPassword, house: House, actor: Actor) -> _Checked:
    with house.db.read() as conn:
        person = _named(conn, act.who)
    guesses.take(house, guesses.at_account(person, act.who, actor.address))
    return _check(house, person, act.password)


def _named(conn: sa.Connection, who: str) -> str | None:
    text = who.strip()
    if "@" not in text.removeprefix("@"):
        return accounts.by_handle(conn, text.removeprefix("@").lower())
    try:
        return accounts.by_verified_email(conn, text)
    except InvalidInput:
        return None


@handles(SignInByPassword, needs="sign_in:use", before=_check_sign_in)
def sign_in_by_password(act: SignInByPassword, ctx: Context) -> SignedInView | SecondPageView:
    """In at once, or on to the second page."""
    ctx.access.hub("sign_in:use")
    checked: _Checked = ctx.prepared
    if checked.person is None or not _still_holds(ctx, checked):
        raise refused()
    sign_ins.forgive(ctx, checked.person)
    return sign_ins.begin_or_ask(ctx, checked.person, "password")


def _count_code(act: SignInByCode, house: House, actor: Actor) -> guesses.Subjects:
    with house.db.read() as conn:
        begun = once.look(conn, act.second, "second_page", house.clock.now())
    person = None if begun is None else f"code:{begun.person}"
    subjects = guesses.at_account(person, act.second, actor.address)
    guesses.take(house, subjects)
    return subjects


@handles(SignInByCode, needs="sign_in:use", before=_count_code)
def sign_in_by_code(act: SignInByCode, ctx: Context) -> SignedInView:
    """The second page is used up only by a code that fits; a wrong one may be typed again."""
    ctx.access.hub("sign_in:use")
    try:
        begun = once.consume(ctx, act.second, kind="second_page")
    except HubError:
        raise NotSignedIn(
            "this took too long, or was finished already", code="second_page_over", hint="begin at the sign-in page"
        ) from None
    person = begun.person
    if person is None or accounts.actor_of(ctx.conn, person) is None:
        raise refused()
    by = authenticators.accept_any(ctx, person, act.code)
    if by is None:
        raise refused()
    guesses.give_back(ctx.tx, ctx.prepared)
    return sign_ins.begin(ctx, person, str(begun.facts.get("how", "password")))


def _hash_new(act: SetPassword, house: House, actor: Actor) -> str:
    with house.db.read() as conn:
        known = list(conn.execute(sa.select(emails.c.email).where(emails.c.person == actor.id)).scalars())
    passwords.check(act.password, (actor.handle, actor.name, *known), house.settings.breached_passwords)
    return passwords.hashed(act.password)


@handles(SetPassword, needs="account:secure", before=_hash_new)
def set_password(act: SetPassword, ctx: Context) -> Changed:
    """Other browsers are signed out: one of them may be why it is changed."""
    person = sign_ins.the_person(ctx)
    step_up.prove(ctx, act.code, "setting a password")
    if not ctx.tx.insert_new(stored_passwords, person=person, stored=ctx.prepared, set_at=ctx.now):
        ctx.execute(
            sa.update(stored_passwords)
            .where(stored_passwords.c.person == person)
            .values(stored=ctx.prepared, set_at=ctx.now)
        )
    ended = sign_ins.end_all(ctx.tx, person, ctx.now, but=ctx.actor.sign_in_id)
    ctx.about("person", person, ended=ended)
    return Changed(person=person, cookie=sign_ins.renew(ctx))


def _check_step_up(act: StepUp, house: House, actor: Actor) -> _Checked:
    if actor.kind != "person":
        return _Checked(None)
    guesses.take(house, _subjects(act, actor))
    return _Checked(None) if act.password is None else _check(house, actor.id, act.password)


def _subjects(act: StepUp, actor: Actor) -> guesses.Subjects:
    """Nobody guesses a passkey, so it works while somebody else uses the account's guesses up."""
    subjects = guesses.at_account(actor.id, "", actor.address)
    return {each: most for each, most in subjects.items() if act.passkey is None or each.startswith("address:")}


@handles(StepUp, needs="account:secure", before=_check_step_up)
def prove_anew(act: StepUp, ctx: Context) -> Changed:
    """Everything the person has set up is asked, or the passkey alone; then the sign-in counts as fresh."""
    person = sign_ins.the_person(ctx)
    if ctx.actor.sign_in_id is None:
        raise InvalidInput(
            "only a browser's sign-in can be proved anew", hint="`collegium step-up` prints a code on the hub's machine"
        )
    by = _proved_by(act, ctx, person)
    if by is None:
        raise NotAllowed("that did not fit; nothing was changed", code="step_up_refused")
    guesses.give_back(ctx.tx, _subjects(act, ctx.actor))
    ctx.about("sign_in", ctx.actor.sign_in_id, person=person, proof=by)
    return Changed(person=person, cookie=sign_ins.renew(ctx, proved=True))


def _proved_by(act: StepUp, ctx: Context, person: str) -> str | None:
    if act.passkey is not None:
        return "passkey" if passkeys.accept(ctx, act.passkey, person) == person else None
    have = factors.of(ctx.conn, person)
    if not (have.password or have.authenticator):
        raise NotAllowed(
            "you have set up nothing to prove yourself with here",
            code="nothing_to_prove_with",
            hint="sign out and in again: a fresh sign-in is a proof",
        )
    if have.password and not (ctx.prepared.person == person and _still_holds(ctx, ctx.prepared)):
        return None
    if have.authenticator and (act.totp is None or authenticators.accept_any(ctx, person, act.totp) is None):
        return None
    return "+".join([*(["password"] if have.password else []), *(["totp"] if have.authenticator else [])])
