"""What lasts of a room: its messages, what people answered to them with a sign, and what was reported.

Every change in a room takes the room's next number: a message when it is said, and again when it is edited, removed or
reacted to. So who knows all changes up to a number asks for those after it, and misses none.
"""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, metadata

# One row per room in which something was said: the number of its last change, and the lock under which they are given.
rooms = sa.Table(
    "rooms",
    metadata,
    sa.Column("session", sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("head", sa.Integer, nullable=False),
)

# The text is sealed under the session's key domain. `client_id` is the author's own name for the message. `sequence` is
# the number under which it was said, and its place; `change` that of its last change. Of a removed one no text is left.
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
    sa.Column("change", sa.Integer, nullable=False),
    sa.Column("recipient", sa.String(64)),
    sa.Column("thread", sa.String(40), index=True),
    sa.Column("about", sa.String(200)),
    sa.Column("edited_at", Instant),
    sa.Column("removed_at", Instant),
    sa.Column("removed_by", sa.String(64)),
    sa.UniqueConstraint("session", "author", "client_id"),
    sa.Index("ix_messages_session_change", "session", "change", unique=True),
)

message_reactions = sa.Table(
    "message_reactions",
    metadata,
    sa.Column("message", sa.ForeignKey("messages.id"), primary_key=True),
    sa.Column("emoji", sa.String(16), primary_key=True),
    sa.Column("person", sa.String(64), primary_key=True),
    sa.Column("at", Instant, nullable=False),
)

# What moderators look into: the text as it was when somebody reported it, and what they made of it.
message_reports = sa.Table(
    "message_reports",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False, index=True),
    sa.Column("message", sa.ForeignKey("messages.id"), nullable=False),
    sa.Column("reporter", sa.String(64), nullable=False),
    sa.Column("text_sealed", sa.LargeBinary, nullable=False),
    sa.Column("reason_sealed", sa.LargeBinary, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("settled_at", Instant),
    sa.Column("settled_by", sa.String(64)),
    sa.Column("outcome", sa.String(16)),
    sa.UniqueConstraint("message", "reporter"),
)
