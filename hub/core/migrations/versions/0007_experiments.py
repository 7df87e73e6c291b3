"""experiments are tried again, cancelled and resumed; so are the steps of workflows"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workflow_steps",
        sa.Column("workflow", sa.String(length=40), nullable=False),
        sa.Column("step", sa.String(length=200), nullable=False),
        sa.Column("retries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("kept", sa.String(length=40), nullable=True),
        sa.Column("kept_for", hub.core.database.Json(), nullable=True),
        sa.ForeignKeyConstraint(["workflow"], ["workflows.id"], name=op.f("fk_workflow_steps_workflow_workflows")),
        sa.PrimaryKeyConstraint("workflow", "step", name=op.f("pk_workflow_steps")),
    )
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("resumes", sa.String(length=40), nullable=True))
    with op.batch_alter_table("experiment_nodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tries", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("pinned", hub.core.database.Json(), nullable=True))
