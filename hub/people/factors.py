"""What a person can prove themselves with, and whether that is enough for their role."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.core.roles import HubRole
from hub.core.settings import Settings
from hub.people.tables import authenticators, passkeys, passwords, recovery_codes

# What somebody may do whose role needs a second factor and who has none: set one up, or leave.
ENROLLING = frozenset({"account:secure", "sign_in:use", "sign_in:end"})


class Factors(msgspec.Struct, frozen=True, kw_only=True):
    """Which means of proof a person has set up."""

    password: bool
    authenticator: bool
    passkeys: int
    recovery_codes: int

    @property
    def has_second(self) -> bool:
        """A passkey counts for two: it is something one has, opened by something one knows or is."""
        return self.authenticator or self.passkeys > 0


def of(conn: sa.Connection, person: str) -> Factors:
    """The means of one person."""

    def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
        query = sa.select(sa.func.count()).select_from(table).where(table.c.person == person, *conditions)
        return int(conn.execute(query).scalar_one())

    return Factors(
        password=count(passwords) > 0,
        authenticator=count(authenticators, authenticators.c.confirmed_at.is_not(None)) > 0,
        passkeys=count(passkeys),
        recovery_codes=count(recovery_codes, recovery_codes.c.used_at.is_(None)),
    )


def must_enrol(conn: sa.Connection, settings: Settings, person: str, hub_role: HubRole) -> bool:
    """Whether this hub asks a second factor of this role and the person has set up none."""
    wanted = settings.second_factor_for
    if wanted == "nobody" or (wanted == "operator" and hub_role != "operator"):
        return False
    return not of(conn, person).has_second
