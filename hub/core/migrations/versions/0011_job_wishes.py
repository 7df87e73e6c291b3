"""jobs on a cluster are held, released and requeued, tell their nodes, and are watched though others submitted them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("wish", sa.String(length=8), nullable=True))
        batch_op.add_column(sa.Column("wish_number", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("nodes", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("attached", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("log_path", sa.Text(), nullable=True))
