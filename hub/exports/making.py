"""Making an archive: the step that reads the content, writes the zip, and records it as a version with its lineage.

The same materials give the same bytes: fixed order, fixed times, nothing compressed (figures are already), so that an
archive made again has the digest of the first.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import msgspec
import sqlalchemy as sa

from hub.artifacts import leases, versions
from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import lineage
from hub.artifacts.tables import versions as artifact_versions
from hub.core import steps
from hub.core.clock import iso
from hub.core.context import SYSTEM, Context, Scope
from hub.core.database import Tx
from hub.core.house import House
from hub.core.steps import Step, runs, when_given_up
from hub.exports import latex, rules
from hub.exports.rules import Included, Material
from hub.exports.tables import exports
from hub.people import views as people
from hub.perform import record, within
from hub.sessions.tables import sessions

STEP = "make_export"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@runs(STEP)
def make_export(step: Step, house: House) -> None:
    """Carry one export out; a second attempt finds it done, or does it again with the same bytes."""
    with house.scope(SYSTEM) as scope:
        row = scope.execute(sa.select(exports).where(exports.c.id == step.object)).one()
        if row.state != "QUEUED":
            return
        title = scope.execute(sa.select(sessions.c.title).where(sessions.c.id == row.session)).scalar_one()
        included = rules.chosen(_materials(scope, row.versions))
    with tempfile.TemporaryFile() as archive:
        _write(archive, house, row, title, included)
        archive.seek(0)
        blob = leases.keep(house, row.session, archive, owner=row.by, filename=row.path)
    record(house, "artifact_versioning", lambda ctx: _done(ctx, step, row, blob.digest))


@when_given_up(STEP)
def _given_up(tx: Tx, house: House, step: Step, reason: str) -> None:
    with within(house, tx, "export_failed") as ctx:
        row = ctx.execute(sa.select(exports).where(exports.c.id == step.object)).one()
        values = {"state": "FAILED", "error": reason[:2000], "done_at": ctx.now}
        ctx.execute(sa.update(exports).where(exports.c.id == row.id, exports.c.state == "QUEUED").values(**values))
        ctx.about("export", row.id, row.session)


def _done(ctx: Context, step: Step, row: Any, digest: str) -> None:
    steps.finish(ctx.tx, step, ctx.now)
    made = versions.add(
        ctx,
        row.session,
        row.path,
        digest,
        metadata={"export": row.id, "kind": row.kind},
        lineage=row.versions,
        author=row.by,
        alt="A LaTeX project for Overleaf with this session's figures, captions and provenance",
    )
    values = {"state": "READY", "version": made.version, "done_at": ctx.now}
    ctx.execute(sa.update(exports).where(exports.c.id == row.id).values(**values))


def _materials(scope: Scope, wanted: list[str]) -> list[Material]:
    rows = scope.execute(sa.select(artifact_versions).where(artifact_versions.c.id.in_(wanted))).all()
    by_id = {row.id: row for row in rows}
    authors = people.people(scope, {row.author for row in rows})
    sources: dict[str, list[str]] = {}
    for edge in scope.execute(
        sa.select(lineage.c.version, artifact_versions.c.path, artifact_versions.c.number, artifact_versions.c.digest)
        .join(artifact_versions, artifact_versions.c.id == lineage.c.source)
        .where(lineage.c.version.in_(wanted))
        .order_by(artifact_versions.c.path, artifact_versions.c.number)
    ):
        digest = f" ({edge.digest[:12]})" if edge.digest else ""
        sources.setdefault(edge.version, []).append(f"{edge.path}@{edge.number}{digest}")
    return [
        Material(
            version=row.id,
            path=row.path,
            number=row.number,
            kind=row.kind,
            digest=row.digest,
            size=row.size,
            media_type=row.media_type,
            alt=row.alt,
            metadata=row.metadata,
            tools_used=tuple(row.tools_used),
            author=authors[row.author].name,
            at=iso(row.at),
            commit=row.commit,
            job=row.job,
            made_from=tuple(sources.get(row.id, ())),
        )
        for row in (by_id[each] for each in wanted if each in by_id)
    ]


def _write(archive: IO[bytes], house: House, row: Any, title: str, included: list[Included]) -> None:
    origin = house.settings.origin
    authors = list(dict.fromkeys(each.material.author for each in included))
    text = latex.document(title, authors, included, origin, with_provenance=row.provenance)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as project:
        project.writestr(_entry("main.tex"), text)
        if row.provenance:
            project.writestr(_entry("provenance.json"), _provenance(origin, included))
        store = house.port(BlobStore)  # type: ignore[type-abstract]
        for each in included:
            if each.name is not None and each.material.digest is not None:
                _copy(project, each.name, store.open(each.material.digest, row.session))


def _copy(project: zipfile.ZipFile, name: str, content: Iterator[bytes]) -> None:
    with project.open(_entry(name), "w") as file:
        for piece in content:
            file.write(piece)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3
    return entry


def _provenance(origin: str, included: list[Included]) -> bytes:
    listed = [
        {
            "file": each.name,
            "not_included": each.why_not or None,
            "url": f"{origin}/artifacts/{each.material.version}",
            **msgspec.to_builtins(each.material),
        }
        for each in included
    ]
    return msgspec.json.format(msgspec.json.encode({"made_by": "Collegium", "hub": origin, "files": listed}), indent=1)
