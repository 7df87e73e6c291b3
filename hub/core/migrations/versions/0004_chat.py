"""edits, threads, private messages, reactions and reports"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "message_reactions",
        sa.Column("message", sa.String(length=40), nullable=False),
        sa.Column("emoji", sa.String(length=16), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("at", hub.core.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name=op.f("fk_message_reactions_message_messages")),
        sa.PrimaryKeyConstraint("message", "emoji", "person", name=op.f("pk_message_reactions")),
    )
    op.create_table(
        "message_reports",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("message", sa.String(length=40), nullable=False),
        sa.Column("reporter", sa.String(length=64), nullable=False),
        sa.Column("text_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("at", hub.core.database.Instant(), nullable=False),
        sa.Column("settled_at", hub.core.database.Instant(), nullable=True),
        sa.Column("settled_by", sa.String(length=64), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(["message"], ["messages.id"], name=op.f("fk_message_reports_message_messages")),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_message_reports_session_sessions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_reports")),
        sa.UniqueConstraint("message", "reporter", name=op.f("uq_message_reports_message")),
    )
    op.create_index(op.f("ix_message_reports_session"), "message_reports", ["session"])
    op.add_column("messages", sa.Column("change", sa.Integer(), nullable=True))
    op.execute(sa.text("UPDATE messages SET change = sequence"))
    # What was said before this revision has not been changed since.
    with op.batch_alter_table("messages") as batch_op:
        batch_op.alter_column("change", existing_type=sa.Integer(), nullable=False)
        batch_op.add_column(sa.Column("recipient", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("thread", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("about", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("edited_at", hub.core.database.Instant(), nullable=True))
        batch_op.add_column(sa.Column("removed_at", hub.core.database.Instant(), nullable=True))
        batch_op.add_column(sa.Column("removed_by", sa.String(length=64), nullable=True))
        batch_op.create_index(op.f("ix_messages_thread"), ["thread"])
        batch_op.create_index("ix_messages_session_change", ["session", "change"], unique=True)
