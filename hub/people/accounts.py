"""Making people, and turning what they prove themselves with into an Actor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Actor
from hub.core.database import Tx
from hub.core.ids import looks_like_id, new_id, secret_digest
from hub.core.roles import HubRole
from hub.people import rules
from hub.people.tables import chat_identities, emails, persons, sign_ins, tokens

# What else is made with a person (their personal session), told downward by the feature that makes it.
MADE: list[Callable[[Tx, str, dt.datetime], None]] = []


# Asked by every request, and so built once.
_BY_ID = sa.select(persons).where(persons.c.id == sa.bindparam("person_id"), persons.c.disabled_at.is_(None))
_BY_CHAT = (
    sa.select(persons)
    .join(chat_identities, chat_identities.c.person == persons.c.id)
    .where(
        chat_identities.c.platform == sa.bindparam("platform"),
        chat_identities.c.workspace == sa.bindparam("workspace"),
        chat_identities.c.user == sa.bindparam("user"),
        persons.c.disabled_at.is_(None),
    )
)
_LIVE_TOKEN = sa.select(tokens).where(
    tokens.c.revoked_at.is_(None), sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > sa.bindparam("now"))
)
_BY_TOKEN = _LIVE_TOKEN.where(tokens.c.digest == sa.bindparam("which"))
_BY_TOKEN_ID = _LIVE_TOKEN.where(tokens.c.id == sa.bindparam("which"))


def make(
    tx: Tx, *, handle: str | None, name: str, hub_role: HubRole, now: dt.datetime, email: str | None = None
) -> str:
    """A new person; returns the id. Raises InvalidInput for a bad handle; the caller checks that it is free."""
    person_id = new_id("per")
    row = {"id": person_id, "name": rules.checked_name(name), "hub_role": hub_role, "created_at": now}
    if handle is not None:
        tx.execute(sa.insert(persons).values(handle=rules.checked_handle(handle), **row))
    else:
        # Two of one name may be made at the same moment: whoever comes second takes the next free handle.
        while not tx.insert_new(persons, handle=_free_handle(tx, name), **row):
            continue
    if email is not None:
        tx.execute(sa.insert(emails).values(email=rules.normal_email(email), person=person_id))
    for also in MADE:
        also(tx, person_id, now)
    return person_id


def _free_handle(tx: Tx, name: str) -> str:
    return rules.handle_from(name, frozenset(tx.execute(sa.select(persons.c.handle)).scalars()))


def actor_of(conn: sa.Connection, person_id: str) -> Actor | None:
    """The person as an actor, if they exist and are not disabled."""
    return _actor(conn.execute(_BY_ID, {"person_id": person_id}).first())


def _actor(row: sa.Row[Any] | None) -> Actor | None:
    return None if row is None else Actor(id=row.id, name=row.name, handle=row.handle, hub_role=row.hub_role)


def by_handle(conn: sa.Connection, handle: str) -> str | None:
    """The id of the person with this handle."""
    found: str | None = conn.execute(sa.select(persons.c.id).where(persons.c.handle == handle)).scalar()
    return found


def named(conn: sa.Connection, ref: str) -> str | None:
    """The id of the person somebody means: an id is taken as it is, `@handle` and `handle` are looked up."""
    return ref if looks_like_id(ref, "per") else by_handle(conn, ref.removeprefix("@").lower())


def by_verified_email(conn: sa.Connection, email: str) -> str | None:
    """The id of the person who proved to own this address."""
    found: str | None = conn.execute(
        sa.select(emails.c.person).where(emails.c.email == rules.normal_email(email), emails.c.verified_at.is_not(None))
    ).scalar()
    return found


def actor_by_token(conn: sa.Connection, secret: str, now: dt.datetime) -> Actor | None:
    """Who an API or service token speaks for; None for an unknown, revoked or expired one."""
    return _actor_by_token(conn, _BY_TOKEN, secret_digest(secret), now)


def actor_by_token_id(conn: sa.Connection, token_id: str, now: dt.datetime) -> Actor | None:
    """As `actor_by_token`, for who knows the token's id and was shown the token before."""
    return _actor_by_token(conn, _BY_TOKEN_ID, token_id, now)


def _actor_by_token(conn: sa.Connection, query: sa.Select[Any], which: object, now: dt.datetime) -> Actor | None:
    row = conn.execute(query, {"which": which, "now": now}).first()
    if row is None:
        return None
    if row.person is None:
        return Actor(id=row.id, name=row.name, kind="service", hub_role="service", token_id=row.id)
    actor = actor_of(conn, row.person)
    if actor is None:
        return None
    scopes = None if row.scopes is None else frozenset(row.scopes)
    return Actor(
        id=actor.id, name=actor.name, handle=actor.handle, hub_role=actor.hub_role, token_id=row.id, scopes=scopes
    )


def actor_by_chat(conn: sa.Connection, identity: str) -> Actor | None:
    """The person linked to `PLATFORM:WORKSPACE:USER`; None for a chat account the hub does not know."""
    platform, _, rest = identity.partition(":")
    workspace, _, user = rest.partition(":")
    return _actor(conn.execute(_BY_CHAT, {"platform": platform, "workspace": workspace, "user": user}).first())


def sign_in(
    tx: Tx,
    secret: str,
    now: dt.datetime,
    *,
    person: str | None = None,
    link: str | None = None,
    how: str = "link",
    agent: str = "",
) -> str:
    """Remember a browser's sign-in under `secret`; returns its id."""
    sign_in_id = new_id("sin")
    tx.execute(
        sa.insert(sign_ins).values(
            id=sign_in_id,
            person=person,
            link=link,
            digest=secret_digest(secret),
            at=now,
            how=how,
            agent=agent or None,
            seen_at=now.replace(minute=0, second=0, microsecond=0),
            expires_at=now + dt.timedelta(seconds=limits.SIGN_IN_SECONDS),
        )
    )
    return sign_in_id


def live_sign_in(conn: sa.Connection, secret: str, now: dt.datetime) -> sa.Row[Any] | None:
    """The sign-in a cookie stands for, while it lasts."""
    return _live_sign_in(conn, sign_ins.c.digest == secret_digest(secret), now)


def live_sign_in_by_id(conn: sa.Connection, sign_in_id: str, now: dt.datetime) -> sa.Row[Any] | None:
    """As `live_sign_in`, for who knows its id and was shown the cookie before."""
    return _live_sign_in(conn, sign_ins.c.id == sign_in_id, now)


def _live_sign_in(conn: sa.Connection, which: sa.ColumnElement[bool], now: dt.datetime) -> sa.Row[Any] | None:
    return conn.execute(
        sa.select(sign_ins).where(which, sign_ins.c.ended_at.is_(None), sign_ins.c.expires_at > now)
    ).first()
