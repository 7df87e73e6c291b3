"""Jobs, the numbers they are called by in their session, workflows, and who watches over a backend."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, metadata

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.String(40), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("job_type", sa.String(12), nullable=False),  # as it was asked for
    sa.Column("backend", sa.String(64), nullable=False),  # as it was decided
    sa.Column("account", sa.String(40)),  # on that cluster; NULL on this machine
    sa.Column("native", sa.String(64)),  # what its scheduler calls it
    sa.Column("waits_for", sa.Text),  # why its scheduler lets it wait, in words
    sa.Column("fetched_run", sa.Integer, nullable=False, server_default="0"),  # the run whose outputs have come home
    sa.Column("submitted_by", sa.String(64), nullable=False),
    sa.Column("submitted_at", Instant, nullable=False),
    sa.Column("queued_at", Instant),
    sa.Column("placed_at", Instant),
    sa.Column("started_at", Instant),
    sa.Column("ended_at", Instant),
    # What is to be run, pinned by digest; a script that was written out is kept sealed under its session's key.
    sa.Column("script_kind", sa.String(8), nullable=False),
    sa.Column("script_path", sa.Text),
    sa.Column("script_digest", sa.String(64), nullable=False),
    sa.Column("script_sealed", sa.LargeBinary),
    sa.Column("interpreter", Json, nullable=False),
    sa.Column("args", Json, nullable=False),
    sa.Column("env", Json, nullable=False),
    sa.Column("inputs", Json, nullable=False),  # [{path, version, digest, size}]
    sa.Column("outputs", Json, nullable=False),  # declared; empty: whatever is new
    sa.Column("fetch_patterns", Json),  # of outputs that come home however large; NULL: none
    sa.Column("workdir", sa.Text),
    sa.Column("resources", Json, nullable=False),
    sa.Column("environment", Json, nullable=False),
    # A step of a workflow: what must end before it, and which file comes from which job.
    sa.Column("workflow", sa.String(40)),
    sa.Column("step", sa.String(200)),
    sa.Column("after", Json, nullable=False),
    sa.Column("awaits", Json, nullable=False),
    # One start is one run; its number fences whoever acts for an earlier one.
    sa.Column("run", sa.Integer, nullable=False, server_default="0"),
    sa.Column("cancel_asked_at", Instant),
    sa.Column("cancel_asked_by", sa.String(64)),
    # What was asked of its scheduler last, until that was passed on; the number tells this wish from the one before.
    sa.Column("wish", sa.String(8)),
    sa.Column("wish_number", sa.Integer, nullable=False, server_default="0"),
    sa.Column("nodes", sa.Text),  # where it runs, as its scheduler writes it
    # Submitted by its owner outside the hub, which only looks on; its log lies there at a path of its own.
    sa.Column("attached", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("log_path", sa.Text),
    sa.Column("outcome", sa.String(20)),  # the event that will end COLLECTING
    sa.Column("exit", Json),
    sa.Column("progress", Json),
    sa.Column("log_size", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("log_done", sa.Boolean, nullable=False, server_default=sa.false()),
    # Files that were left where the job ran, with only their names noted here; NULL: nobody counted.
    sa.Column("unfetched", sa.Integer),
    sa.Column("swept_at", Instant),  # its folders on the cluster were removed
    sa.Column("found", Json),  # the environment it really had
    sa.Column("notes", Json, nullable=False),
    sa.UniqueConstraint("session", "number"),
    sa.Index("ix_jobs_state", "state"),
    sa.Index("ix_jobs_submitted_by_placed_at", "submitted_by", "placed_at"),
    sa.Index("ix_jobs_workflow", "workflow"),
    sa.Index("ix_jobs_account_state", "account", "state"),
)

# The last number given in a session: its row is the lock under which the next one is given, and never given again.
job_numbers = sa.Table(
    "job_numbers",
    metadata,
    sa.Column("session", sa.String(40), primary_key=True),
    sa.Column("last", sa.Integer, nullable=False),
)

# Whose log somebody reads, and until when that is believed: only these are followed on a cluster.
log_readers = sa.Table(
    "log_readers",
    metadata,
    sa.Column("job", sa.String(40), primary_key=True),
    sa.Column("until", Instant, nullable=False),
)

workflows = sa.Table(
    "workflows",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.String(40), nullable=False, index=True),
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("submitted_by", sa.String(64), nullable=False),
    sa.Column("submitted_at", Instant, nullable=False),
    # Of all its steps together; `spent` is what tries have cost that failed and were made again.
    sa.Column("deadline", Instant),
    sa.Column("budget", sa.Float),
    sa.Column("spent", sa.Float, nullable=False, server_default="0"),
)

# One agent at a time watches a backend, by a lease whose epoch fences the ones before. The row is also the lock under
# which it is decided who starts next.
backends = sa.Table(
    "backends",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("agent", sa.String(100)),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lease_until", Instant),
    # The number of the last report under this epoch from an agent elsewhere, whose requests may come twice or late.
    sa.Column("heard", sa.Integer, nullable=False, server_default="0"),
)
