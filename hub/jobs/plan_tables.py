"""Where jobs were placed and why, what schedulers were asked for that, and what may be used at most."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, metadata

# One for each job: what it holds, at which prices; and for one that was placed by `auto`, the table it was placed by.
job_plans = sa.Table(
    "job_plans",
    metadata,
    sa.Column("job", sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("cores", sa.Integer, nullable=False),
    sa.Column("gpus", sa.Integer, nullable=False),
    sa.Column("wall_seconds", sa.Integer, nullable=False),
    # Of an array: how many tasks hold the cores and GPUs together, and for how long each held its part on average.
    sa.Column("tasks", sa.Integer, nullable=False, server_default="1"),
    sa.Column("held_seconds", sa.Float),
    sa.Column("core_hour", sa.Float),
    sa.Column("gpu_hour", sa.Float),
    sa.Column("deadline", Instant),
    sa.Column("budget", sa.Float),
    sa.Column("offers", Json),  # the candidates as they were; NULL where the submitter chose
    sa.Column("why", sa.Text, nullable=False, server_default=""),
    sa.Column("ends_at", Instant),  # as it was promised
    sa.Column("starts_at", Instant),  # as its scheduler says now
    sa.Column("thought_at", Instant),  # when its place was last thought over
    sa.Column("moves", sa.Integer, nullable=False, server_default="0"),
    sa.Column("said", sa.Text, nullable=False, server_default=""),  # what came of it
    # Where it goes as soon as it is certain that it can no longer start where it waits: a plan as this row will hold.
    sa.Column("going", Json),
)

# A question to a scheduler: when would it start a job with these options? Bookkeeping; old ones are thrown away.
start_estimates = sa.Table(
    "start_estimates",
    metadata,
    sa.Column("account", sa.String(40), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("options", Json, nullable=False),
    sa.Column("asked_at", Instant, nullable=False),
    sa.Column("answered_at", Instant),
    sa.Column("starts_at", Instant),
    sa.Column("refusal", sa.Text, nullable=False, server_default=""),
)

# `kind` says whose: a person's (set by an operator), a session's or each member's of it (set by who leads it).
quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("kind", sa.String(8), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("core_hours", sa.Float),
    sa.Column("gpu_hours", sa.Float),
    sa.Column("money", sa.Float),
    sa.Column("open", sa.Integer),
    sa.Column("hard", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("set_by", sa.String(64), nullable=False),
    sa.Column("set_at", Instant, nullable=False),
)
