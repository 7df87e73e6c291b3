"""Drafts: their log of updates, the checkpoints it was folded into, and versions that were given a name.

Whatever holds text is sealed under the session's key domain.
"""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, metadata

# One row per draft, and the lock under which its updates are numbered. `epoch` names its history: whoever knows
# another one does not merge. `log_updates` and `log_bytes` count what was not folded yet, `state_bytes` what was.
drafts = sa.Table(
    "drafts",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("head", sa.Integer, nullable=False),
    sa.Column("log_updates", sa.Integer, nullable=False),
    sa.Column("log_bytes", sa.Integer, nullable=False),
    sa.Column("state_bytes", sa.Integer, nullable=False),
    sa.Column("created_by", sa.String(64), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("removed_at", Instant),
    sa.UniqueConstraint("session", "number"),
)

draft_updates = sa.Table(
    "draft_updates",
    metadata,
    sa.Column("draft", sa.ForeignKey("drafts.id"), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("author", sa.String(64), nullable=False),
    sa.Column("at", Instant, nullable=False),
)

# The newest one only. `vector` is the state vector and `sha256` the digest of the text it was verified to hold.
draft_checkpoints = sa.Table(
    "draft_checkpoints",
    metadata,
    sa.Column("draft", sa.ForeignKey("drafts.id"), primary_key=True),
    sa.Column("up_to", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("at", Instant, nullable=False),
)

# A version keeps a full state of its own, so that folding the log never touches it.
draft_versions = sa.Table(
    "draft_versions",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("draft", sa.ForeignKey("drafts.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("author", sa.String(64), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.UniqueConstraint("draft", "number"),
)
