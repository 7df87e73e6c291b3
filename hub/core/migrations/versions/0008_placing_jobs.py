"""jobs are placed by price, start and deadline; what people and sessions use has bounds"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_plans",
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("wall_seconds", sa.Integer(), nullable=False),
        sa.Column("core_hour", sa.Float(), nullable=True),
        sa.Column("gpu_hour", sa.Float(), nullable=True),
        sa.Column("deadline", hub.core.database.Instant(), nullable=True),
        sa.Column("budget", sa.Float(), nullable=True),
        sa.Column("offers", hub.core.database.Json(), nullable=True),
        sa.Column("why", sa.Text(), server_default="", nullable=False),
        sa.Column("ends_at", hub.core.database.Instant(), nullable=True),
        sa.Column("starts_at", hub.core.database.Instant(), nullable=True),
        sa.Column("thought_at", hub.core.database.Instant(), nullable=True),
        sa.Column("moves", sa.Integer(), server_default="0", nullable=False),
        sa.Column("said", sa.Text(), server_default="", nullable=False),
        sa.Column("going", hub.core.database.Json(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_job_plans_job_jobs")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_plans")),
    )
    op.create_table(
        "start_estimates",
        sa.Column("account", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("options", hub.core.database.Json(), nullable=False),
        sa.Column("asked_at", hub.core.database.Instant(), nullable=False),
        sa.Column("answered_at", hub.core.database.Instant(), nullable=True),
        sa.Column("starts_at", hub.core.database.Instant(), nullable=True),
        sa.Column("refusal", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("account", "digest", name=op.f("pk_start_estimates")),
    )
    op.create_table(
        "quotas",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("core_hours", sa.Float(), nullable=True),
        sa.Column("gpu_hours", sa.Float(), nullable=True),
        sa.Column("money", sa.Float(), nullable=True),
        sa.Column("open", sa.Integer(), nullable=True),
        sa.Column("hard", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("set_by", sa.String(length=64), nullable=False),
        sa.Column("set_at", hub.core.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_quotas")),
    )
