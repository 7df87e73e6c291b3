"""The people an embedded hub begins with: its owner, who operates it, and the service that is its live process.

Whoever can read the data folder is the operator; that is the trust model of a laptop, and deploy/security.md says so.
"""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from hub.core.database import Tx
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.core.ids import new_id, new_secret, secret_digest
from hub.people import accounts
from hub.people.tables import persons, tokens

OPERATOR_TOKEN = "operator.token"  # noqa: S105 - the name of a file
LIVE_TOKEN = "keys/live.token"  # noqa: S105
BOT_TOKEN = "keys/bot.token"  # noqa: S105
TOKEN_LEAST_CHARACTERS = 32


def make_first_people(tx: Tx, house: House) -> None:
    """Make the owner when there is nobody yet."""
    if tx.execute(sa.select(persons.c.id).limit(1)).first() is not None:
        return
    handle = house.settings.owner_handle
    accounts.make(tx, handle=handle, name=handle.title(), hub_role="operator", now=house.clock.now())


def owner_id(conn: sa.Connection) -> str:
    """The first operator: the owner of an embedded hub."""
    found: str = conn.execute(
        sa.select(persons.c.id).where(persons.c.hub_role == "operator").order_by(persons.c.created_at).limit(1)
    ).scalar_one()
    return found


def write_tokens(house: House) -> None:
    """See to it that both token files (mode 600) exist and hold tokens that are good."""
    data = house.settings.data.absolute()
    with house.db.read() as conn:
        owner = owner_id(conn)
    _see_to(house, data / OPERATOR_TOKEN, owner, "operator.token", "api")
    services = (("live", house.settings.live_token, LIVE_TOKEN), ("bot", house.settings.bot_token, BOT_TOKEN))
    for name, given, file in services:
        if given:
            _admit(house, given, name)
        else:
            _see_to(house, data / file, None, name, "service")


def live_token(house_data: Path, given: str) -> str:
    """The service token of the live process: the one set, or the one kept under DATA."""
    return given or (house_data.absolute() / LIVE_TOKEN).read_text().strip()


def _admit(house: House, secret: str, name: str) -> None:
    """Know a service's token that was set from outside, by its digest; the one it had before is good no more."""
    if len(secret) < TOKEN_LEAST_CHARACTERS:
        raise InvalidInput(
            f"the {name} token has fewer than {TOKEN_LEAST_CHARACTERS} characters",
            code="bad_setting",
            path=f"COLLEGIUM_{name.upper()}_TOKEN",
            hint="`openssl rand -hex 32` makes one",
        )

    def work(tx: Tx) -> None:
        mine = (tokens.c.kind == "service", tokens.c.name == name, tokens.c.revoked_at.is_(None))
        others = sa.update(tokens).where(*mine, tokens.c.digest != secret_digest(secret))
        tx.execute(others.values(revoked_at=house.clock.now()))
        known = tx.execute(sa.select(tokens.c.revoked_at).where(tokens.c.digest == secret_digest(secret))).first()
        if known is not None and known.revoked_at is not None:
            raise InvalidInput(
                f"the {name} token was in use before and replaced; make a new one",
                code="bad_setting",
                path=f"COLLEGIUM_{name.upper()}_TOKEN",
            )
        if known is None:
            row = {"person": None, "kind": "service", "name": name, "digest": secret_digest(secret)}
            tx.execute(sa.insert(tokens).values(id=new_id("tok"), created_at=house.clock.now(), **row))

    house.db.write(work)


def _see_to(house: House, path: Path, person: str | None, name: str, kind: str) -> None:
    if path.exists():
        with house.db.read() as conn:
            if accounts.actor_by_token(conn, path.read_text().strip(), house.clock.now()) is not None:
                return
    secret = new_secret("clg")

    def work(tx: Tx) -> None:
        tx.execute(
            sa.insert(tokens).values(
                id=new_id("tok"),
                person=person,
                kind=kind,
                name=name,
                digest=secret_digest(secret),
                created_at=house.clock.now(),
            )
        )

    house.db.write(work)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    temporary.replace(path)
