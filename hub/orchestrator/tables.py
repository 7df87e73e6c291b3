"""Experiments and how each of their nodes fares."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, metadata

# `dag` is what was asked for, sealed under the session's key: scripts may stand in it. A run uses the rights of its
# starter at the time, narrowed by the token it was started with.
experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False, index=True),
    sa.Column("by", sa.String(64), nullable=False),
    sa.Column("by_service", sa.String(64)),
    sa.Column("scopes", Json),
    sa.Column("dag", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # RUNNING | SUCCEEDED | FAILED | CANCELLED
    sa.Column("at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.Column("deadline", Instant),
    sa.Column("budget", sa.Float),
    sa.Column("spent", sa.Float, nullable=False, server_default="0"),  # by tries that failed
    sa.Column("resumes", sa.String(40)),  # the earlier run whose first nodes stand here as well
)

experiment_nodes = sa.Table(
    "experiment_nodes",
    metadata,
    sa.Column("experiment", sa.ForeignKey("experiments.id"), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True),
    sa.Column("tool", sa.String(64), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("words", sa.Text, nullable=False, server_default=""),
    sa.Column("about", sa.String(64)),
    sa.Column("made", Json, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),  # that failed
    sa.Column("terms", Json),  # what the whole leaves this try, written down before it begins (terms.py)
    sa.Column("pinned", Json),  # what it stood on when it began (resuming.py)
)
