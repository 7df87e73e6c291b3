"""a deadline and a budget of whole workflows"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("workflows", schema=None) as batch_op:
        batch_op.add_column(sa.Column("deadline", hub.core.database.Instant(), nullable=True))
        batch_op.add_column(sa.Column("budget", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("spent", sa.Float(), server_default="0", nullable=False))
