"""a short-lived certificate that signs the hub in as somebody on a cluster"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("cluster_accounts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("certificate", hub.core.database.Json(), nullable=True))
        batch_op.add_column(sa.Column("certificate_until", hub.core.database.Instant(), nullable=True))
