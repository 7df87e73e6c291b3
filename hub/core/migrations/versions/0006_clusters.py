"""clusters and the accounts people have on them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clusters",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("host_keys", hub.core.database.Json(), nullable=False),
        sa.Column("jump", hub.core.database.Json(), nullable=True),
        sa.Column("root", sa.Text(), server_default="", nullable=False),
        sa.Column("path", hub.core.database.Json(), nullable=False),
        sa.Column("defaults", hub.core.database.Json(), nullable=False),
        sa.Column("price_per_core_hour", sa.Float(), nullable=True),
        sa.Column("price_per_gpu_hour", sa.Float(), nullable=True),
        sa.Column("portal_url", sa.Text(), server_default="", nullable=False),
        sa.Column("made_by", sa.String(length=64), nullable=False),
        sa.Column("made_at", hub.core.database.Instant(), nullable=False),
        sa.Column("removed_at", hub.core.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.UniqueConstraint("name", name=op.f("uq_clusters_name")),
    )
    op.create_table(
        "cluster_accounts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("cluster", sa.String(length=40), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("login", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("private_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("made_at", hub.core.database.Instant(), nullable=False),
        sa.Column("tested_at", hub.core.database.Instant(), nullable=True),
        sa.Column("removed_at", hub.core.database.Instant(), nullable=True),
        sa.Column("standing", hub.core.database.Json(), nullable=True),
        sa.ForeignKeyConstraint(["cluster"], ["clusters.id"], name=op.f("fk_cluster_accounts_cluster_clusters")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cluster_accounts")),
    )
    with op.batch_alter_table("cluster_accounts", schema=None) as batch_op:
        batch_op.create_index("ix_cluster_accounts_person", ["person"], unique=False)

    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("account", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("native", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("waits_for", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("fetched_run", sa.Integer(), server_default="0", nullable=False))
        batch_op.create_index("ix_jobs_account_state", ["account", "state"], unique=False)
