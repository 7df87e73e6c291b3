"""Settings that were stored by setting up, and how they lie over those given from outside: what is given wins."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.context import Context
from hub.core.house import House
from hub.core.keys import seal, unseal
from hub.core.settings import Settings
from hub.setup.rules import STORED
from hub.setup.tables import hub_settings

DOMAIN = "hub"


def overlaid(house: House) -> Settings:
    """The settings this hub runs by: those given from outside, over those stored, over the defaults."""
    return _over(house.given_settings, _read(house))


def _over(given: Settings, found: dict[str, Any]) -> Settings:
    values = {name: value for name, value in found.items() if name in STORED and not given.is_given(name)}
    return msgspec.structs.replace(given, **values) if values else given


def overlaid_in(ctx: Context) -> Settings:
    """As `overlaid`, with what this very action has stored."""
    found = _opened(ctx.house, ctx.conn, ctx.house.keys.domain_in(ctx.tx, DOMAIN))
    return _over(ctx.house.given_settings, found)


def keep(ctx: Context, **values: str) -> list[str]:
    """Store these settings, sealed; an empty one is forgotten. Returns the names of those that changed."""
    before = _opened(ctx.house, ctx.conn, ctx.house.keys.domain_in(ctx.tx, DOMAIN))
    changed = sorted(name for name, value in values.items() if before.get(name, "") != value)
    for name in changed:
        _put(ctx, name, values[name])
    return changed


def put_aside(ctx: Context, name: str, value: str) -> None:
    """Keep something for a test that is not a setting (tokens that are not proven yet); empty forgets it."""
    _put(ctx, name, value)


def set_aside(house: House, name: str) -> str:
    """What `put_aside` kept, or nothing."""
    return _read(house).get(name, "")


def _put(ctx: Context, name: str, value: str) -> None:
    ctx.execute(sa.delete(hub_settings).where(hub_settings.c.name == name))
    if value:
        sealed = seal(ctx.house.keys.domain_in(ctx.tx, DOMAIN), value.encode(), _about(name))
        ctx.execute(sa.insert(hub_settings).values(name=name, sealed=sealed, set_by=ctx.actor.id, at=ctx.now))


def _read(house: House) -> dict[str, str]:
    with house.db.read() as conn:
        if not sa.inspect(conn).has_table(hub_settings.name):
            return {}  # The schema is older than setting up is; it is about to be brought up to date.
        names = conn.execute(sa.select(hub_settings.c.name).limit(1)).first()
    if names is None:
        return {}
    key = house.keys.domain(DOMAIN)
    with house.db.read() as conn:
        return _opened(house, conn, key)


def _opened(house: House, conn: sa.Connection, key: bytes) -> dict[str, Any]:
    return {
        row.name: unseal(key, row.sealed, _about(row.name)).decode() for row in conn.execute(sa.select(hub_settings))
    }


def _about(name: str) -> str:
    return f"setting:{name}"
