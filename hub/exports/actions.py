"""Asking for an export: what goes in is fixed now; a step makes the archive, a version of the session."""

from __future__ import annotations

from typing import Annotated, Literal

import sqlalchemy as sa
from msgspec import Meta

from hub.artifacts import versions
from hub.artifacts.tables import files
from hub.artifacts.tables import versions as artifact_versions
from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import InvalidInput, Unavailable
from hub.core.ids import new_id
from hub.exports import making, rules, views
from hub.exports.tables import exports
from hub.sessions import names

TOOL = "export_tool"
KINDS_TO_COME = {
    "eln": "the .eln archive",
    "ro_crate": "RO-Crate",
    "pdf": "PDF",
    "folder": "the plain folder with SHA256SUMS",
}


class Export(Action, frozen=True, tag="export"):
    """Make a publication archive of a session's artifacts, with captions and provenance."""

    export_type: Literal["overleaf", "eln", "ro_crate", "pdf", "folder"]
    artifacts: (
        Literal["from_distributed_collaboration"]
        | Annotated[tuple[Annotated[str, Meta(max_length=limits.PATH_BYTES)], ...], Meta(min_length=1, max_length=1000)]
    ) = "from_distributed_collaboration"
    provenance: Literal["included", "none"] = "included"
    session_id: Annotated[str, Meta(min_length=1, max_length=300)] | None = None


@handles(Export, needs="export:make", tool=TOOL, only=True)
def export(act: Export, ctx: Context) -> views.ExportView:
    """Fix the versions, leave the making to a step."""
    session = ctx.access.session(act.session_id, "export:make")
    ctx.access.find("session", session, "artifact:write")
    if act.export_type != "overleaf":
        raise Unavailable(
            f"this hub cannot make {KINDS_TO_COME[act.export_type]} yet; nothing was started",
            code="export_type_missing",
            path="$.params.export_type",
            errors=[f"export_tool: {act.export_type}"],
            hint="`overleaf` is there; `collegium export SESSION DIR` writes the plain folder where you are",
        )
    path = rules.archive_path(names.full_name(ctx, session).partition("/")[2])
    export_id = new_id("exp")
    ctx.execute(
        sa.insert(exports).values(
            id=export_id,
            session=session,
            by=ctx.actor.id,
            kind=act.export_type,
            provenance=act.provenance == "included",
            versions=_chosen(act, ctx, session),
            state="QUEUED",
            path=path,
            at=ctx.now,
        )
    )
    ctx.enqueue(making.STEP, export_id)
    ctx.about("export", export_id, session, export_type=act.export_type)
    return views.of(ctx, export_id)


def _chosen(act: Export, ctx: Context, session: str) -> list[str]:
    """The ids of the versions asked for: by name, or the newest of every path but earlier exports."""
    if act.artifacts != "from_distributed_collaboration":
        found = versions.resolve(ctx, session, act.artifacts)
        return list(dict.fromkeys(each.version for each in found))
    newest = ctx.execute(
        sa.select(artifact_versions.c.id)
        .join(files, files.c.version == artifact_versions.c.id)
        .where(files.c.session == session, sa.not_(files.c.path.startswith("exports/", autoescape=True)))
        .order_by(files.c.path)
        .limit(rules.FILES + 1)
    ).scalars()
    ids = list(newest)
    if len(ids) > rules.FILES:
        raise InvalidInput(
            f"the session has more than {rules.FILES:,} files; an export takes at most that many",
            code="too_many_files",
            path="$.params.artifacts",
            hint="name the artifacts you want",
        )
    if not ids:
        raise InvalidInput(
            "the session has no artifacts to export", code="nothing_to_export", path="$.params.artifacts"
        )
    return ids
