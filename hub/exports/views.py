"""What can be read of exports: how far one is, and where its archive lies."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.access import Guarded, guards
from hub.core.clock import iso
from hub.core.context import Scope
from hub.exports.tables import exports


class ExportView(msgspec.Struct, frozen=True, kw_only=True):
    """An export: QUEUED, then READY with the version that is its archive, or FAILED with the reason."""

    export: str
    session: str
    kind: str
    state: str
    path: str
    files: int
    artifact: str | None
    url: str | None
    download: str | None
    error: str | None
    at: str


@guards("export")
def guard_export(conn: sa.Connection, export: str) -> Guarded | None:
    """An export is seen by whoever sees its session."""
    row = conn.execute(sa.select(exports.c.session, exports.c.by).where(exports.c.id == export)).first()
    return None if row is None else Guarded(row.session, row.by)


def export(scope: Scope, ref: str) -> ExportView:
    """One export."""
    return of(scope, scope.access.find("export", ref, "artifact:read"))


def session_exports(scope: Scope, ref: str | None) -> list[ExportView]:
    """A session's exports, newest first."""
    session = scope.access.session(ref, "artifact:read")
    rows = scope.execute(
        sa.select(exports).where(exports.c.session == session).order_by(exports.c.id.desc()).limit(limits.PAGE_ITEMS)
    )
    return [_view(scope, row) for row in rows]


def of(scope: Scope, export_id: str) -> ExportView:
    """An export whose rights were checked."""
    return _view(scope, scope.execute(sa.select(exports).where(exports.c.id == export_id)).one())


def _view(scope: Scope, row: Any) -> ExportView:
    origin = scope.settings.origin
    return ExportView(
        export=row.id,
        session=row.session,
        kind=row.kind,
        state=row.state,
        path=row.path,
        files=len(row.versions),
        artifact=row.version,
        url=None if row.version is None else f"{origin}/artifacts/{row.version}",
        download=None if row.version is None else f"{origin}/api/artifacts/{row.version}/content",
        error=row.error,
        at=iso(row.at),
    )
