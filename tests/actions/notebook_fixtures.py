"""What notebook tests begin with: files in a session, a proof of presence, keys and detached signatures."""

from __future__ import annotations

import base64
import datetime as dt
import io
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts import leases, versions
from hub.core.context import Actor
from hub.core.house import House
from hub.core.ids import new_secret
from hub.notebook import dsse, proofs
from hub.people import once
from hub.perform import record
from hub.sessions.tables import grants, sessions

ENTRY = {
    "title": "Quantum Oscillator Analysis",
    "content": "Analyzed the energy levels of a quantum harmonic oscillator",
    "tools_used": ["cas", "plot", "quantum"],
    "artifacts": ["energy_levels.png", "wavefunctions.svg"],
    "conclusions": "Energy levels follow E_n = (n + 1/2)ℏω",
}
PLAIN = {"title": "A day", "content": "Nothing to cite"}


def personal(house: House, person: Actor) -> str:
    """The id of somebody's own session."""
    with house.db.read() as conn:
        found: str = conn.execute(
            sa.select(sessions.c.id).where(sessions.c.owner == person.id, sessions.c.personal.is_(True))
        ).scalar_one()
    return found


def grant(house: House, session: str, person: Actor, role: str) -> None:
    """Give somebody a role in a session."""
    row = {"session": session, "subject": person.id, "via": "share", "role": role, "at": house.clock.now()}
    house.db.write(lambda tx: tx.execute(sa.insert(grants).values(**row)) and None)


def put_file(house: House, person: Actor, path: str, content: bytes, **about: Any) -> versions.Pinned:
    """A version of a file in the person's own session."""
    session = about.pop("session", None) or personal(house, person)
    blob = leases.keep(house, session, io.BytesIO(content), owner=person.id, filename=path)
    return record(
        house, "artifact_versioning", lambda ctx: versions.add(ctx, session, path, blob.digest, **about), person
    )


def seed_files(house: House, person: Actor, session: str | None = None) -> None:
    """The files the seed's entry cites."""
    put_file(house, person, "energy_levels.png", b"\x89PNG levels", session=session)
    put_file(house, person, "wavefunctions.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", session=session)


def step_up_code(house: House, person: Actor) -> str:
    """A one-time code that proves the person is here."""
    secret, expires_at = new_secret("clgc"), house.clock.now() + dt.timedelta(minutes=5)
    house.db.write(lambda tx: once.issue(tx, secret, "step_up", person=person.id, expires_at=expires_at))
    return secret


def signed_in(person: Actor, at: dt.datetime) -> Actor:
    """The person in a browser, signed in at this moment."""
    return msgspec.structs.replace(person, sign_in_id="sin_1", signed_in_at=at)


def detached(house: House, person: Actor, entry: str, key: str, private: bytes, **wanted: Any) -> str:
    """The envelope a client makes from what the hub says is to be signed."""
    with house.scope(person) as scope:
        asked = proofs.to_sign(scope, entry, key, **wanted)
    return dsse.seal(base64.b64decode(asked.payload), private, asked.key).decode()
