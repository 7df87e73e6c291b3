"""How busy the clusters are, as their agents told it last."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.port import Load, Standing


def known(conn: sa.Connection) -> dict[str, Load]:
    """By the name of the cluster; of what several accounts have told, what was told last."""
    rows = conn.execute(
        sa.select(clusters.c.name, cluster_accounts.c.standing)
        .join(clusters, clusters.c.id == cluster_accounts.c.cluster)
        .where(cluster_accounts.c.removed_at.is_(None), clusters.c.removed_at.is_(None))
        .order_by(clusters.c.name)
    )
    found: dict[str, Load] = {}
    for row in rows:
        load = None if row.standing is None else msgspec.convert(row.standing, Standing).load
        if load is not None and (row.name not in found or load.told_at > found[row.name].told_at):
            found[row.name] = load
    return found
