"""What can be read about people."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.core.clock import iso
from hub.core.context import Scope
from hub.people.tables import persons, tokens


class PersonView(msgspec.Struct, frozen=True):
    """A person as others in a session see them."""

    id: str
    handle: str
    name: str


class MeView(msgspec.Struct, frozen=True):
    """Who the hub takes you for."""

    id: str
    kind: str
    handle: str
    name: str
    hub_role: str
    scopes: tuple[str, ...] | None
    public_url_is_loopback: bool = False  # links to this hub open on its own machine only


class TokenRow(msgspec.Struct, frozen=True):
    """One of your API tokens, without its secret."""

    token: str
    name: str
    created: str
    expires: str | None
    revoked: bool
    scopes: tuple[str, ...] | None


def me(scope: Scope) -> MeView:
    """The actor themselves."""
    actor = scope.actor
    scopes = None if actor.scopes is None else tuple(sorted(actor.scopes))
    return MeView(actor.id, actor.kind, actor.handle, actor.name, actor.hub_role, scopes, scope.settings.is_loopback)


# Built once; one person, as mostly, needs no list in it.
_ONE = sa.select(persons.c.id, persons.c.handle, persons.c.name).where(persons.c.id == sa.bindparam("which"))
_SOME = sa.select(persons.c.id, persons.c.handle, persons.c.name).where(
    persons.c.id.in_(sa.bindparam("ids", expanding=True))
)


def people(scope: Scope, ids: set[str]) -> dict[str, PersonView]:
    """The people with these ids, by id; the hub itself and deleted people under a plain word."""
    rows = scope.execute(_SOME, {"ids": list(ids)}) if len(ids) != 1 else scope.execute(_ONE, {"which": min(ids)})
    found = {row.id: PersonView(row.id, row.handle, row.name) for row in rows}
    for missing in ids - found.keys():
        name = "Collegium" if missing == "hub" else "a guest"
        found[missing] = PersonView(missing, "", name)
    return found


def person(scope: Scope, person_id: str) -> PersonView:
    """One person."""
    return people(scope, {person_id})[person_id]


def my_tokens(scope: Scope) -> list[TokenRow]:
    """Your API tokens, newest first."""
    rows = scope.execute(
        sa.select(tokens).where(tokens.c.person == scope.actor.id).order_by(tokens.c.created_at.desc())
    )
    return [
        TokenRow(
            row.id,
            row.name,
            iso(row.created_at),
            None if row.expires_at is None else iso(row.expires_at),
            row.revoked_at is not None,
            None if row.scopes is None else tuple(row.scopes),
        )
        for row in rows
    ]
