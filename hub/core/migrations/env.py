"""Alembic's environment: runs on the connection it is given, within its transaction."""

from __future__ import annotations

from alembic import context

from hub.core.database import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    transactional_ddl=True,
)
context.run_migrations()
