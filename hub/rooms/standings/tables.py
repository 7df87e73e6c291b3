"""What a moderator lets single people do in a room, other than their role in the session would."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, metadata

room_standings = sa.Table(
    "room_standings",
    metadata,
    sa.Column("session", sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("person", sa.String(64), primary_key=True),
    sa.Column("standing", sa.String(16), nullable=False),
    sa.Column("by", sa.String(64), nullable=False),
    sa.Column("at", Instant, nullable=False),
)
