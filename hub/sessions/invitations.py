"""Invitations: a secret link for somebody the hub does not know yet, mailed where it can be, taken up once.

An invitation binds whoever holds its link, or who proved to own the address it was sent to; an address that somebody
typed binds nobody. Who has no account makes one and comes in with one press of a button, in one transaction.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, ClassVar

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits, steps
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Actor, Context, Scope
from hub.core.errors import Conflict, NotFound
from hub.core.house import House
from hub.core.ids import new_id, secret_digest
from hub.core.roles import SessionRole
from hub.people import accounts, mail, once, passwords, sign_ins, verified_email
from hub.people import rules as people_rules
from hub.people import views as people
from hub.people.tables import once as once_table
from hub.people.tables import passwords as stored_passwords
from hub.people.tables import persons
from hub.sessions import names
from hub.sessions.tables import grants as grants_table
from hub.sessions.tables import invitations, sessions

Secret = Annotated[str, Meta(min_length=1, max_length=200)]
KIND = "invitation"
_MAY = {"read": "read along", "read_write": "read and write", "admin": "read, write and share it"}


class InvitationView(msgspec.Struct, frozen=True):
    """Somebody who is invited; the secret link is returned to the inviter, who may pass it on."""

    invitation: str
    email: str
    role: str
    url: str
    secret: str | None
    expires: str
    mailed: bool = False


def invite(
    ctx: Context, session_id: str, email: str, role: SessionRole, expires: dt.datetime | None, index: int
) -> InvitationView:
    """Invite an address, by mail where the hub sends any. Earlier open invitations of it here are withdrawn."""
    _supersede(ctx, session_id, email)
    invitation = new_id("inv")
    secret = ctx.reveal(f"invitations.{index}.secret", "clgi", KIND, invitation)
    ctx.execute(
        sa.insert(invitations).values(
            id=invitation,
            session=session_id,
            email=email,
            role=role,
            by=ctx.actor.id,
            grant_expires_at=expires,
            created_at=ctx.now,
        )
    )
    until = _ends(ctx.now, expires)
    once.issue(ctx.tx, secret, KIND, person=None, expires_at=until, invitation=invitation)
    mailed = mail.can_send(ctx.settings)
    if mailed:
        _write(ctx, session_id, invitation, email, role, until)
    return InvitationView(invitation, email, role, f"{ctx.settings.origin}/invitation", secret, iso(until), mailed)


def _ends(created: dt.datetime, grant_ends: dt.datetime | None) -> dt.datetime:
    until = created + dt.timedelta(seconds=limits.INVITATION_SECONDS)
    return until if grant_ends is None else min(until, grant_ends)


def _supersede(ctx: Context, session_id: str, email: str) -> None:
    """Who is invited anew has one link that works, with the role that was said last."""
    withdraw(ctx, session_id, invitations.c.email == email)


def withdraw(ctx: Context, session_id: str, which: sa.ColumnElement[bool]) -> list[str]:
    """Withdraw those of a session's open invitations, and their mails that have not gone out yet; their ids."""
    withdrawn = ctx.execute(
        sa.update(invitations)
        .where(invitations.c.session == session_id, which, _is_open())
        .values(withdrawn_at=ctx.now)
        .returning(invitations.c.id)
    )
    ids = sorted(withdrawn.scalars())
    for invitation in ids:
        steps.cancel(ctx.tx, mail.STEP, invitation, ctx.now)
    return ids


def _is_open() -> sa.ColumnElement[bool]:
    return invitations.c.accepted_by.is_(None) & invitations.c.withdrawn_at.is_(None)


def _write(ctx: Context, session_id: str, invitation: str, email: str, role: str, until: dt.datetime) -> None:
    title = ctx.execute(sa.select(sessions.c.title).where(sessions.c.id == session_id)).scalar_one()
    plain = people_rules.visible_name(title)
    mail.send(
        ctx,
        to=email,
        subject=f"{ctx.actor.name} invites you to “{plain}”",
        text=f"{ctx.actor.name} (@{ctx.actor.handle}) invites you to the session “{plain}” on Collegium, where you may "
        f"{_MAY.get(role, role)}.\n\n{ctx.settings.origin}/{KIND}/{mail.SECRET_HERE}\n\n"
        f"The link is for you alone and works once, until {until:%Y-%m-%d %H:%M} UTC. You need no account yet.\n",
        about=invitation,
        secret=("clgi", KIND, invitation),
    )


class AcceptInvitation(Action, frozen=True, tag="invitation_accept"):
    """Take up an invitation by its secret link."""

    secret: Secret
    secret_fields: ClassVar[tuple[str, ...]] = ("secret",)


class AcceptOwnInvitation(Action, frozen=True, tag="invitation_accept"):
    """Take up an invitation that was sent to an address you proved to be yours."""

    invitation: Annotated[str, Meta(min_length=1, max_length=64)]


class AcceptedView(msgspec.Struct, frozen=True):
    """The session one belongs to now."""

    session: str
    name: str
    url: str


@handles(AcceptInvitation, needs="invitation:accept")
def accept_invitation(act: AcceptInvitation, ctx: Context) -> AcceptedView:
    """Whoever holds the link is meant: an invitation never binds by a typed address."""
    ctx.access.hub("invitation:accept")
    used = once.consume(ctx, act.secret, kind=KIND)
    return _take_up(ctx, used.facts["invitation"], ctx.actor.id)


@handles(AcceptOwnInvitation, needs="invitation:accept", when="invitation")
def accept_own_invitation(act: AcceptOwnInvitation, ctx: Context) -> AcceptedView:
    """What was sent to somebody else's address is as unknown as none."""
    ctx.access.hub("invitation:accept")
    own = sa.select(invitations).where(
        invitations.c.id == act.invitation, invitations.c.email.in_(verified_email.verified(ctx))
    )
    row = ctx.execute(own).first()
    if row is None or _ends(row.created_at, row.grant_expires_at) <= ctx.now:
        raise NotFound("there is no such invitation for you", code="invitation_not_found", path="$.params.invitation")
    return _take_up(ctx, row.id, ctx.actor.id)


def _take_up(ctx: Context, invitation: str, person: str) -> AcceptedView:
    """One conditional UPDATE: of many that race, by whatever way, one is in."""
    row = ctx.execute(
        sa.update(invitations)
        .where(invitations.c.id == invitation, _is_open())
        .values(accepted_by=person)
        .returning(invitations)
    ).first()
    if row is None:
        raise NotFound(
            "this invitation was withdrawn or taken up already",
            code="secret_not_valid",
            hint="whoever sent it can invite you again",
        )
    if ctx.execute(sa.select(sessions.c.owner).where(sessions.c.id == row.session)).scalar() == person:
        raise Conflict("this session is yours already", code="already_owner", hint="pass the invitation on")
    values = {"role": row.role, "expires_at": row.grant_expires_at, "at": ctx.now}
    ctx.tx.insert_new(grants_table, session=row.session, subject=person, via=f"invitation:{row.id}", **values)
    ctx.about("session", row.session, row.session, action="grant_change", person=person, role=row.role)
    return AcceptedView(row.session, names.full_name(ctx, row.session), names.room_url(ctx, row.session))


class JoinByInvitation(Action, frozen=True, tag="invitation_join"):
    """Make an account by an invitation's secret link, and take the invitation up; you are signed in at once."""

    secret: Secret
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    handle: Annotated[str, Meta(max_length=64)] | None = None
    password: Annotated[str, Meta(min_length=1, max_length=limits.PASSWORD_CHARACTERS)] | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("secret", "password")


class JoinedView(msgspec.Struct, frozen=True):
    """A fresh account, the cookie of its first sign-in, and where the invitation led."""

    person: str
    handle: str
    session: str
    name: str
    path: str
    cookie: str


def _hash(act: JoinByInvitation, house: House, actor: Actor) -> str | None:
    """Only for who holds a good link: hashing is slow on purpose."""
    if act.password is None:
        return None
    with house.db.read() as conn:
        found = once.look(conn, act.secret, KIND, house.clock.now())
        if found is None:
            return None
        row = conn.execute(sa.select(invitations.c.email).where(invitations.c.id == found.facts["invitation"])).one()
    passwords.check(act.password, (act.handle or "", act.name, row.email), house.settings.breached_passwords)
    return passwords.hashed(act.password)


@handles(JoinByInvitation, needs="invitation:join", before=_hash)
def join_by_invitation(act: JoinByInvitation, ctx: Context) -> JoinedView:
    """The address it was sent to is not theirs by that: who invited them holds the link as well."""
    ctx.access.hub("invitation:join")
    if ctx.actor.kind == "person":
        raise Conflict(
            f"you are signed in as {ctx.actor.name}",
            code="signed_in",
            hint="accept the invitation as that, or sign out first",
        )
    used = once.consume(ctx, act.secret, kind=KIND)
    if act.handle is not None and accounts.by_handle(ctx.conn, act.handle) is not None:
        raise Conflict(f"the handle {act.handle!r} is taken", code="handle_taken", path="$.params.handle")
    person = accounts.make(ctx.tx, handle=act.handle, name=act.name, hub_role="member", now=ctx.now)
    if ctx.prepared is not None:
        ctx.tx.insert_new(stored_passwords, person=person, stored=ctx.prepared, set_at=ctx.now)
    ctx.about("person", person, action="account_create", invitation=used.facts["invitation"])
    accepted = _take_up(ctx, used.facts["invitation"], person)
    signed_in = sign_ins.begin(ctx, person, "link")
    handle = ctx.execute(sa.select(persons.c.handle).where(persons.c.id == person)).scalar_one()
    path = f"/s/{accepted.name}"
    return JoinedView(person, handle, accepted.session, accepted.name, path, signed_in.cookie)


class InvitationRow(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody invited who has not come yet; addresses are shown to those who may share."""

    id: str
    email: str
    role: str
    created: str
    expires: str = ""
    mail: str = ""  # what became of the mail, in words


def open_ones(scope: Scope, session_id: str) -> list[InvitationRow]:
    """The invitations of a session that can still be taken up, oldest first; the caller may share it."""
    rows = scope.execute(
        sa.select(invitations)
        .where(invitations.c.session == session_id, _is_open())
        .order_by(invitations.c.created_at, invitations.c.id)
    ).all()
    standing = mail.standing(scope, {row.id for row in rows})
    found = []
    for row in rows:
        ends = _ends(row.created_at, row.grant_expires_at)
        if ends > scope.now:
            told = standing.get(row.id, "")
            found.append(
                InvitationRow(
                    id=row.id, email=row.email, role=row.role, created=iso(row.created_at), expires=iso(ends), mail=told
                )
            )
    return found


class Landing(msgspec.Struct, frozen=True, kw_only=True):
    """What one may know of an invitation whose link one holds, or which was sent to one's own address."""

    id: str
    state: str  # open | mine | used | withdrawn | expired
    title: str
    session: str  # owner/name
    role: str
    by: people.PersonView
    email: str
    created: str
    expires: str


def landing(scope: Scope, secret: str) -> Landing | None:
    """Look at an invitation without spending it."""
    found = scope.execute(
        sa.select(once_table.c.facts).where(once_table.c.digest == secret_digest(secret), once_table.c.kind == KIND)
    ).scalar()
    row = None
    if found is not None:
        row = scope.execute(sa.select(invitations).where(invitations.c.id == found["invitation"])).first()
    return None if row is None else _landing(scope, row)


def mine(scope: Scope) -> list[Landing]:
    """The open invitations sent to addresses the actor proved to own, newest first."""
    rows = scope.execute(
        sa.select(invitations)
        .where(invitations.c.email.in_(verified_email.verified(scope)), _is_open())
        .order_by(invitations.c.created_at.desc(), invitations.c.id)
        .limit(limits.PAGE_ITEMS)
    ).all()
    return [each for each in (_landing(scope, row) for row in rows) if each.state == "open"]


def _landing(scope: Scope, row: sa.Row[tuple[object, ...]]) -> Landing:
    ends = _ends(row.created_at, row.grant_expires_at)
    state = "open"
    if row.accepted_by is not None:
        state = "mine" if row.accepted_by == scope.actor.id else "used"
    elif row.withdrawn_at is not None:
        state = "withdrawn"
    elif ends <= scope.now:
        state = "expired"
    return Landing(
        id=row.id,
        state=state,
        title=scope.execute(sa.select(sessions.c.title).where(sessions.c.id == row.session)).scalar_one(),
        session=names.full_name(scope, row.session),
        role=row.role,
        by=people.person(scope, row.by),
        email=row.email,
        created=iso(row.created_at),
        expires=iso(ends),
    )
