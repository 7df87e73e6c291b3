"""What an hour costs on each backend, as its operator has said."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.context import Scope
from hub.jobs.clusters.tables import clusters
from hub.jobs.economy import Prices
from hub.jobs.transitions import LOCAL

_THERE = sa.select(clusters.c.name, clusters.c.price_per_core_hour, clusters.c.price_per_gpu_hour)


def here(scope: Scope) -> Prices:
    """On this machine."""
    return Prices(scope.settings.price_core_hour, scope.settings.price_gpu_hour)


def of(scope: Scope) -> dict[str, Prices]:
    """Prices by the backend's name; one that is missing is one that nobody has told."""
    rows = scope.execute(_THERE)
    there = {row.name: Prices(row.price_per_core_hour, row.price_per_gpu_hour) for row in rows}
    return {**there, LOCAL: here(scope)}
