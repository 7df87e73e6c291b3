"""The door of a room, and who stands before it."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, metadata

# No row is an open door. `lobby`: who does not moderate waits to be let in; `locked`: nobody new comes in.
room_doors = sa.Table(
    "room_doors",
    metadata,
    sa.Column("session", sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("by", sa.String(64), nullable=False),
    sa.Column("at", Instant, nullable=False),
)

# Who asked to come in while the door was a lobby, when last, and what they were told: waiting | in | out. Who was
# inside when a door was shut is in.
room_waiting = sa.Table(
    "room_waiting",
    metadata,
    sa.Column("session", sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("person", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("asked_at", Instant, nullable=False),
    sa.Column("answer", sa.String(16), nullable=False),
)
