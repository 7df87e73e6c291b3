"""who reads which log; what was swept; when a cluster purges, and how fast results may come from it"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_readers",
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("until", hub.core.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_log_readers")),
    )
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("purge_days", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("rate", hub.core.database.Json(), nullable=True))
    with op.batch_alter_table("cluster_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("swept_at", hub.core.database.Instant(), nullable=True))
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("unfetched", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("swept_at", hub.core.database.Instant(), nullable=True))
