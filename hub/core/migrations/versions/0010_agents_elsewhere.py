"""accounts on clusters whose agents run where their people are, and by which token"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("cluster_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(length=16), server_default="key", nullable=False))
        batch_op.add_column(sa.Column("token", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("token_digest", sa.LargeBinary(length=32), nullable=True))
        batch_op.create_index("ix_cluster_accounts_token_digest", ["token_digest"], unique=True)

    with op.batch_alter_table("backends", schema=None) as batch_op:
        batch_op.add_column(sa.Column("heard", sa.Integer(), server_default="0", nullable=False))
