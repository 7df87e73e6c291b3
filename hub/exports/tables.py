"""Exports that were asked for: what goes in (fixed when asked), how far it is, and the version that came of it."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, metadata

exports = sa.Table(
    "exports",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False, index=True),
    sa.Column("by", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("provenance", sa.Boolean, nullable=False),
    sa.Column("versions", Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # QUEUED | READY | FAILED
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("version", sa.String(40)),
    sa.Column("error", sa.Text),
    sa.Column("at", Instant, nullable=False),
    sa.Column("done_at", Instant),
)
