"""Quick polls and their votes. What is asked is sealed under the session's key domain."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, metadata

room_polls = sa.Table(
    "room_polls",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False, index=True),
    sa.Column("asked_sealed", sa.LargeBinary, nullable=False),
    sa.Column("options", sa.Integer, nullable=False),
    sa.Column("anonymous", sa.Boolean, nullable=False),
    sa.Column("shown_at_end", sa.Boolean, nullable=False),
    sa.Column("by", sa.String(64), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("closed_at", Instant),
)

# `voter` is a person, or in an anonymous poll a keyed hash of one, so that a vote can be changed while it is open.
# When an anonymous poll closes its votes are counted into `room_poll_counts` and these rows are deleted.
room_votes = sa.Table(
    "room_votes",
    metadata,
    sa.Column("poll", sa.ForeignKey("room_polls.id"), primary_key=True),
    sa.Column("voter", sa.String(64), primary_key=True),
    sa.Column("option", sa.Integer, nullable=False),
)

room_poll_counts = sa.Table(
    "room_poll_counts",
    metadata,
    sa.Column("poll", sa.ForeignKey("room_polls.id"), primary_key=True),
    sa.Column("option", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("votes", sa.Integer, nullable=False),
)
