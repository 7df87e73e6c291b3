"""shared drafts"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "drafts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.Integer(), nullable=False),
        sa.Column("log_updates", sa.Integer(), nullable=False),
        sa.Column("log_bytes", sa.Integer(), nullable=False),
        sa.Column("state_bytes", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", hub.core.database.Instant(), nullable=False),
        sa.Column("updated_at", hub.core.database.Instant(), nullable=False),
        sa.Column("removed_at", hub.core.database.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_drafts_session_sessions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drafts")),
        sa.UniqueConstraint("session", "number", name=op.f("uq_drafts_session")),
    )
    op.create_table(
        "draft_updates",
        sa.Column("draft", sa.String(length=40), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("at", hub.core.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["draft"], ["drafts.id"], name=op.f("fk_draft_updates_draft_drafts")),
        sa.PrimaryKeyConstraint("draft", "sequence", name=op.f("pk_draft_updates")),
    )
    op.create_table(
        "draft_checkpoints",
        sa.Column("draft", sa.String(length=40), nullable=False),
        sa.Column("up_to", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("at", hub.core.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["draft"], ["drafts.id"], name=op.f("fk_draft_checkpoints_draft_drafts")),
        sa.PrimaryKeyConstraint("draft", "up_to", name=op.f("pk_draft_checkpoints")),
    )
    op.create_table(
        "draft_versions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("draft", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("at", hub.core.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["draft"], ["drafts.id"], name=op.f("fk_draft_versions_draft_drafts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_draft_versions")),
        sa.UniqueConstraint("draft", "number", name=op.f("uq_draft_versions_draft")),
    )
    with op.batch_alter_table("entry_versions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("draft_version", sa.String(length=40), nullable=True))
