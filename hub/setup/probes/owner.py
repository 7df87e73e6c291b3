"""Can the owner be written to, and can they come in without the machine the hub runs on?"""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.house import House
from hub.core.settings import Settings
from hub.people import embedded
from hub.people.tables import emails, passkeys, passwords, persons
from hub.setup.rules import Check


def test(house: House, settings: Settings, by: str | None) -> list[Check]:
    """Look at the operator who asked; without one, at the first."""
    with house.db.read() as conn:
        person = by or embedded.owner_id(conn)
        row = conn.execute(sa.select(persons).where(persons.c.id == person)).one()
        has_mail = conn.execute(sa.select(emails.c.email).where(emails.c.person == person)).first() is not None
        signs_in = any(
            conn.execute(sa.select(table.c.person).where(table.c.person == person)).first() is not None
            for table in (passwords, passkeys)
        )
    return [
        Check("name", True, f"{row.name}, @{row.handle}."),
        Check("e-mail", has_mail, "Set." if has_mail else "None is set.", "" if has_mail else "Name your address."),
        _sign_in(signs_in, settings),
    ]


def _sign_in(signs_in: bool, settings: Settings) -> Check:
    if signs_in:
        return Check("sign-in", True, "By password or passkey.")
    words = "By one-time links from this machine only."
    hint = f"Set a password or a passkey at {settings.origin}/me/security."
    # On one's own machine a link from the shell is enough; from elsewhere there is no shell.
    return Check("sign-in", settings.is_loopback, words, hint)
