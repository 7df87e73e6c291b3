"""Does each cluster that was made known still answer, and with the host key that was compared?"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.errors import HubError
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs.clusters import reaching
from hub.jobs.clusters.rules import Jump, fingerprint
from hub.jobs.clusters.tables import clusters
from hub.setup.rules import Check


def test(house: House, settings: Settings, by: str | None) -> list[Check]:
    """Ask each for its host key, which needs no account; of one behind another host, that one is asked."""
    with house.db.read() as conn:
        rows = conn.execute(sa.select(clusters).where(clusters.c.removed_at.is_(None)).order_by(clusters.c.name)).all()
    if not rows:
        return [Check("cluster", False, "None is known.", "Add one, or skip this step.")]
    return [_asked(row) for row in rows]


def _asked(row: Any) -> Check:
    host, port, pinned, way = row.host, row.port, tuple(row.host_keys), ""
    if row.jump:
        hop = msgspec.convert(row.jump, Jump)
        host, port, pinned, way = hop.host, hop.port, hop.host_keys, f"; {row.host} lies behind it"
    try:
        shown = fingerprint(reaching.shown_key(host, port))
    except HubError as error:
        return Check(row.name, False, f"{error.message}.", "See that the hub may reach its SSH port.")
    if shown not in {fingerprint(each) for each in pinned}:
        words = f"{host} answers with another host key than the one that was compared: {shown}."
        return Check(row.name, False, words, "Compare it with what its staff say, and trust it on its page.")
    return Check(row.name, True, f"{host} answers with the host key that was compared{way}.")
