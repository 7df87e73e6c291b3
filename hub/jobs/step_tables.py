"""What a workflow knows of its steps beside their jobs: how often one is tried again, which were kept from before."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Json, metadata

# A row only for steps that have retries, or that were not run because those of an earlier workflow stand.
workflow_steps = sa.Table(
    "workflow_steps",
    metadata,
    sa.Column("workflow", sa.ForeignKey("workflows.id"), primary_key=True),
    sa.Column("step", sa.String(200), primary_key=True),
    sa.Column("retries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),  # that failed
    sa.Column("kept", sa.String(40)),  # the job of an earlier workflow whose results stand here as well
    sa.Column("kept_for", Json),  # the steps of this one that take them
)
