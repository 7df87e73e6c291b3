"""Expiring links: hashed, revocable, counted, checked by one rule on every surface.

A link is opened by POST after a landing page, so that a chat's link preview spends no use. Who opens one without an
account looks around as a guest with the link's role; rights end the moment the link is revoked or expires. A link with
a passphrase says nothing of what it opens until the passphrase is right.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, ClassVar, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.access import GUARDS, Guarded, guards
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Actor, Context, Scope
from hub.core.errors import InvalidInput, NotFound
from hub.core.ids import new_id, secret_digest
from hub.people import accounts, passwords
from hub.sessions import grants, names, passphrases, rules
from hub.sessions.tables import grants as grants_table
from hub.sessions.tables import links, sessions


@guards("link")
def guard_link(conn: sa.Connection, link_id: str) -> Guarded | None:
    row = conn.execute(sa.select(links.c.session, links.c.created_by).where(links.c.id == link_id)).first()
    return None if row is None else Guarded(row.session, row.created_by)


class CreateLink(Action, frozen=True, tag="link_create"):
    """Make an expiring link to a session, or to one page of it."""

    session_id: Annotated[str, Meta(max_length=200)] | None = None
    role: Literal["read", "read_write"] = "read"
    expires: Annotated[dt.datetime, Meta(tz=True)] | None = None
    uses: Annotated[int, Meta(ge=1, le=limits.LINK_USES)] | None = None
    label: Annotated[str, Meta(max_length=limits.TITLE_CHARACTERS)] = ""
    passphrase: (
        Annotated[str, Meta(min_length=limits.PASSPHRASE_LEAST_CHARACTERS, max_length=limits.PASSPHRASE_CHARACTERS)]
        | None
    ) = None
    target: Annotated[str, Meta(max_length=200, pattern=r"^(/(entries|jobs|artifacts)/[a-z]+_[0-9a-z]{26})?$")] = ""
    secret_fields: ClassVar[tuple[str, ...]] = ("passphrase",)


class LinkView(msgspec.Struct, frozen=True):
    """A fresh link; its URL is shown this once."""

    link: str
    session: str
    role: str
    url: str
    secret: str
    expires: str
    uses_left: int | None
    has_passphrase: bool


@handles(CreateLink, needs="link:create")
def create_link(act: CreateLink, ctx: Context) -> LinkView:
    """Store the digest of a derived secret."""
    session_id = grants.settled(ctx, act.session_id, "link:create")
    rules.checked_expiry(act.expires, ctx.now)
    grants.refuse_above_own(ctx, session_id, act.role)
    if act.target:
        _, kind, object_id = act.target.split("/")
        singular = {"entries": "entry", "jobs": "job", "artifacts": "artifact"}[kind]
        if ctx.access.find(singular, object_id, f"{singular}:read") and not _in_session(
            ctx, singular, object_id, session_id
        ):
            raise InvalidInput("this page belongs to another session", path="$.params.target")
    link_id = new_id("lnk")
    secret = ctx.reveal("secret", "clgl", "link", link_id)
    expires = act.expires or ctx.now + dt.timedelta(seconds=limits.LINK_SECONDS_DEFAULT)
    ctx.execute(
        sa.insert(links).values(
            id=link_id,
            session=session_id,
            digest=secret_digest(secret),
            role=act.role,
            passphrase=None if act.passphrase is None else passwords.hashed(act.passphrase),
            label=rules.checked_title(act.label, "$.params.label"),
            target=act.target,
            created_by=ctx.actor.id,
            created_at=ctx.now,
            expires_at=expires,
            uses_left=act.uses,
        )
    )
    asks = act.passphrase is not None
    ctx.about("link", link_id, session_id, role=act.role, expires=iso(expires), uses=act.uses, passphrase=asks)
    url = f"{ctx.settings.origin}/l"
    return LinkView(link_id, session_id, act.role, url, secret, iso(expires), act.uses, asks)


def _in_session(ctx: Context, kind: str, object_id: str, session_id: str) -> bool:
    guarded = GUARDS[kind](ctx.conn, object_id)
    return guarded is not None and guarded.session_id == session_id


class RevokeLink(Action, frozen=True, tag="link_revoke"):
    """Revoke an expiring link; whoever came by it is out at once."""

    link: Annotated[str, Meta(max_length=64)]


class RevokedLink(msgspec.Struct, frozen=True):
    """The link that no longer opens anything."""

    link: str


@handles(RevokeLink, needs="link:create")
def revoke_link(act: RevokeLink, ctx: Context) -> RevokedLink:
    """What the link granted to people with an account goes with it."""
    link_id = ctx.access.find("link", act.link, "link:create")
    session_id = end(ctx, link_id)
    ctx.about("link", link_id, session_id)
    return RevokedLink(link_id)


def end(ctx: Context, link_id: str) -> str:
    """Revoke a link and take what it gave; returns its session. The first moment it was revoked stands."""
    session_id: str = ctx.execute(
        sa.update(links)
        .where(links.c.id == link_id)
        .values(revoked_at=sa.func.coalesce(links.c.revoked_at, sa.literal(ctx.now, links.c.revoked_at.type)))
        .returning(links.c.session)
    ).scalar_one()
    ctx.execute(sa.delete(grants_table).where(grants_table.c.via == f"link:{link_id}"))
    return session_id


def is_open(now: dt.datetime) -> sa.ColumnElement[bool]:
    """Which links still let somebody in."""
    return sa.and_(grants.link_holds(now), sa.or_(links.c.uses_left.is_(None), links.c.uses_left > 0))


class OpenLink(Action, frozen=True, tag="link_open"):
    """Open an expiring link: a person gains its role, anybody else looks around as its guest."""

    secret: Annotated[str, Meta(min_length=1, max_length=200)]
    passphrase: Annotated[str, Meta(max_length=limits.PASSPHRASE_CHARACTERS)] | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("secret", "passphrase")
    counts_refusals: ClassVar[str] = "secret"


class OpenedView(msgspec.Struct, frozen=True):
    """Where the link leads; `cookie` is set for who has no account here."""

    link: str
    session: str
    role: str
    path: str
    cookie: str | None


@handles(OpenLink, needs="link:open")
def open_link(act: OpenLink, ctx: Context) -> OpenedView:
    """One conditional UPDATE spends a use, so that of many openers no more than allowed come in."""
    ctx.access.hub("link:open")
    found = ctx.execute(
        sa.select(links).where(links.c.digest == secret_digest(act.secret), is_open(ctx.now)).with_for_update()
    ).first()
    if found is None:
        raise _not_valid()
    passphrases.check(ctx, found, act.passphrase)
    row = ctx.execute(
        sa.update(links)
        .where(links.c.id == found.id, is_open(ctx.now))
        .values(uses=links.c.uses + 1, uses_left=links.c.uses_left - 1)
        .returning(links)
    ).first()
    if row is None:
        raise _not_valid()
    cookie = None
    if ctx.actor.kind == "person":
        ctx.tx.insert_new(
            grants_table,
            session=row.session,
            subject=ctx.actor.id,
            via=f"link:{row.id}",
            role=row.role,
            expires_at=row.expires_at,
            at=ctx.now,
        )
    else:
        cookie = ctx.reveal("cookie", "clgc", "link_cookie", new_id("sin"))
        accounts.sign_in(ctx.tx, cookie, ctx.now, link=row.id)
    ctx.about("link", row.id, row.session, person=ctx.actor.id if ctx.actor.kind == "person" else None)
    path = row.target or f"/s/{names.full_name(ctx, row.session)}"
    return OpenedView(row.id, row.session, row.role, path, cookie)


def _not_valid() -> NotFound:
    return NotFound(
        "this link is unknown, expired, revoked or used up",
        code="link_not_valid",
        hint="ask whoever sent it for a fresh one",
    )


def guest(conn: sa.Connection, link_id: str, sign_in_id: str, now: dt.datetime) -> Actor | None:
    """The actor of a guest's cookie, while the link holds."""
    row = conn.execute(sa.select(links).where(links.c.id == link_id, grants.link_holds(now))).first()
    if row is None:
        return None
    return Actor(
        id=f"guest:{sign_in_id}",
        name="A guest",
        kind="link",
        hub_role="guest",
        sign_in_id=sign_in_id,
        link_id=row.id,
        link_session=row.session,
        link_role=row.role,
    )


class Landing(msgspec.Struct, frozen=True):
    """What the landing page may say before anything is spent; of a link with a passphrase only that it has one."""

    valid: bool
    title: str
    role: str
    expires: str
    asks: bool = False


def landing(scope: Scope, secret: str) -> Landing:
    """Look at a link without spending a use; says nothing of links that do not open."""
    row = scope.execute(
        sa.select(links, sessions.c.title)
        .join(sessions, sessions.c.id == links.c.session)
        .where(links.c.digest == secret_digest(secret), is_open(scope.now))
    ).first()
    if row is None:
        return Landing(False, "", "", "")
    if row.passphrase is not None:
        return Landing(True, "", "", "", asks=True)
    return Landing(True, row.title, row.role, iso(row.expires_at))
