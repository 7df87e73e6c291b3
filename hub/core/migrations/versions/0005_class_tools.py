"""hands, doors, polls and standings of rooms"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import hub.core.database

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "room_doors",
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", hub.core.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_room_doors_session_sessions")),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_room_doors")),
    )
    op.create_table(
        "room_hands",
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("question_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("quiet", sa.Boolean(), nullable=False),
        sa.Column("at", hub.core.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_room_hands_session_sessions")),
        sa.PrimaryKeyConstraint("session", "person", name=op.f("pk_room_hands")),
    )
    op.create_table(
        "room_polls",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("asked_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("options", sa.Integer(), nullable=False),
        sa.Column("anonymous", sa.Boolean(), nullable=False),
        sa.Column("shown_at_end", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", hub.core.database.Instant(), nullable=False),
        sa.Column("closed_at", hub.core.database.Instant(), nullable=True),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_room_polls_session_sessions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_room_polls")),
    )
    with op.batch_alter_table("room_polls", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_room_polls_session"), ["session"], unique=False)

    op.create_table(
        "room_standings",
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("standing", sa.String(length=16), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at", hub.core.database.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_room_standings_session_sessions")),
        sa.PrimaryKeyConstraint("session", "person", name=op.f("pk_room_standings")),
    )
    op.create_table(
        "room_waiting",
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("asked_at", hub.core.database.Instant(), nullable=False),
        sa.Column("answer", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_room_waiting_session_sessions")),
        sa.PrimaryKeyConstraint("session", "person", name=op.f("pk_room_waiting")),
    )
    op.create_table(
        "room_poll_counts",
        sa.Column("poll", sa.String(length=40), nullable=False),
        sa.Column("option", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["poll"], ["room_polls.id"], name=op.f("fk_room_poll_counts_poll_room_polls")),
        sa.PrimaryKeyConstraint("poll", "option", name=op.f("pk_room_poll_counts")),
    )
    op.create_table(
        "room_votes",
        sa.Column("poll", sa.String(length=40), nullable=False),
        sa.Column("voter", sa.String(length=64), nullable=False),
        sa.Column("option", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["poll"], ["room_polls.id"], name=op.f("fk_room_votes_poll_room_polls")),
        sa.PrimaryKeyConstraint("poll", "voter", name=op.f("pk_room_votes")),
    )
