"""Writing a new revision from what the tables say today: `python -m hub.core.migrations.drafting "what changed"`.

The draft is read and corrected by a person; it is only a draft.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module

from alembic import command

from hub.core.database import Database
from hub.core.migrations import _config, upgrade


def draft(message: str) -> None:
    """A revision that leads from the newest one to the tables as they are."""
    import_module("hub.app").register_features()
    with tempfile.TemporaryDirectory() as folder:
        db = Database(f"sqlite:///{folder}/draft.sqlite3")
        upgrade(db)
        with db.write_engine.begin() as conn:
            command.revision(_config(conn), message, autogenerate=True)
        db.close()


if __name__ == "__main__":
    draft(sys.argv[1])
