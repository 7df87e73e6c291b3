"""a deadline and a budget of whole experiments"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("deadline", hub.core.database.Instant(), nullable=True))
        batch_op.add_column(sa.Column("budget", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("spent", sa.Float(), server_default="0", nullable=False))
    with op.batch_alter_table("experiment_nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("terms", hub.core.database.Json(), nullable=True))
