"""what the tasks of an array held, each for itself, where all of them together were counted over the whole time"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("job_plans", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tasks", sa.Integer(), server_default="1", nullable=False))
        batch_op.add_column(sa.Column("held_seconds", sa.Float(), nullable=True))
