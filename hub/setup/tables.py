"""What setting up stores: settings, sealed under the hub's own key, and how each step stands."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, metadata

hub_settings = sa.Table(
    "hub_settings",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # about `setting:<name>`
    sa.Column("set_by", sa.String(40), nullable=False),
    sa.Column("at", Instant, nullable=False),
)

setup_steps = sa.Table(
    "setup_steps",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),  # testing | done | failed | skipped
    sa.Column("checks", Json, nullable=False),  # what the last test found, in words
    sa.Column("tested_at", Instant),
    sa.Column("changed_by", sa.String(40), nullable=False),
    sa.Column("changed_at", Instant, nullable=False),
)
