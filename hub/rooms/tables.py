"""What lasts of a room: its messages, numbered without a gap."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, metadata

# One row per room in which something was said: the number of its last message, and the lock under which they are given.
rooms = sa.Table(
    "rooms",
    metadata,
    sa.Column("session", sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("head", sa.Integer, nullable=False),
)

# The text is sealed under the session's key domain. `client_id` is the author's own name for the message.
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("session", sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    sa.Column("author", sa.String(64), nullable=False),
    sa.Column("author_name", sa.String(300), nullable=False),
    sa.Column("client_id", sa.String(64), nullable=False),
    sa.Column("text_sealed", sa.LargeBinary, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.UniqueConstraint("session", "author", "client_id"),
)
