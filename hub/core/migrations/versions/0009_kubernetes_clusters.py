"""Kubernetes clusters, with the hub's own account on each"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kubernetes_clusters",
        sa.Column("cluster", sa.String(length=40), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("described", hub.core.database.Json(), nullable=False),
        sa.Column("token_until", hub.core.database.Instant(), nullable=True),
        sa.Column("attested_by", sa.String(length=64), nullable=False),
        sa.Column("attested_at", hub.core.database.Instant(), nullable=False),
        sa.Column("sessions", hub.core.database.Json(), nullable=True),
        sa.ForeignKeyConstraint(["cluster"], ["clusters.id"], name=op.f("fk_kubernetes_clusters_cluster_clusters")),
        sa.PrimaryKeyConstraint("cluster", name=op.f("pk_kubernetes_clusters")),
    )
