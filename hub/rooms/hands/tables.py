"""Raised hands: one a person and room, in the order in which they went up."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, metadata

# `turn` orders them; a hand that is lowered or addressed is gone. `quiet`: seen by who moderates, and by its owner.
room_hands = sa.Table(
    "room_hands",
    metadata,
    sa.Column("session", sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("person", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("question_sealed", sa.LargeBinary, nullable=False),
    sa.Column("quiet", sa.Boolean, nullable=False),
    sa.Column("at", Instant, nullable=False),
)
