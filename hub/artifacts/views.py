"""What can be read of artifacts: one with its facts, the files of a session, versions, lineage, uses."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts import names, previews
from hub.artifacts.actions import BACKUPS_COME_LATER, BackupPolicy
from hub.artifacts.lineage import Edge, Graph, Node
from hub.artifacts.tables import backup_policies, files, lineage, pins, versions
from hub.core import limits
from hub.core.clock import iso
from hub.core.context import Scope
from hub.core.errors import InvalidInput
from hub.core.ids import looks_like_id
from hub.people import views as people


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """Where a reference lies and how it looked when it was taken down."""

    cluster: str
    path: str
    mtime: str


class ArtifactView(msgspec.Struct, frozen=True, kw_only=True):
    """A file at one version."""

    id: str
    name: str
    path: str
    number: int
    newest: int
    session: str
    kind: str
    digest: str | None
    size: int
    media_type: str
    author: people.PersonView
    at: str
    alt: str | None
    url: str
    metadata: dict[str, Any]
    tools_used: list[str]
    commit: str | None
    job: str | None
    source: SourceView | None
    pinned: bool
    preview: previews.PreviewView
    words: str


class FileRow(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a session at its newest version, or one version in a list."""

    id: str
    path: str
    number: int
    session: str
    kind: str
    digest: str | None
    size: int
    media_type: str
    author: people.PersonView
    at: str
    alt: str | None
    url: str
    job: str | None
    preview: previews.PreviewView


class FilesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some files, the latest changed first; `cursor` asks for the next ones."""

    artifacts: list[FileRow]
    cursor: str | None


class UseRow(msgspec.Struct, frozen=True, kw_only=True):
    """What relies on a content: an entry that cites it, a link that shows it."""

    kind: str
    id: str
    at: str


def artifact(scope: Scope, ref: str) -> ArtifactView:
    """One version of a file."""
    row = _row(scope, ref)
    newest = scope.execute(
        sa.select(files.c.number).where(files.c.session == row.session, files.c.path == row.path)
    ).scalar_one()
    is_pinned = row.digest is not None and scope.execute(_pinned(scope, row).limit(1)).first() is not None
    return ArtifactView(
        id=row.id,
        name=names.name(scope, row.session, row.path, row.number),
        path=row.path,
        number=row.number,
        newest=newest,
        session=row.session,
        kind=row.kind,
        digest=_shown(row.digest),
        size=row.size,
        media_type=row.media_type,
        author=people.person(scope, row.author),
        at=iso(row.at),
        alt=row.alt,
        url=names.url(scope, row.id),
        metadata=row.metadata,
        tools_used=row.tools_used,
        commit=row.commit,
        job=row.job,
        source=None
        if row.kind == "stored"
        else SourceView(cluster=row.cluster, path=row.source_path, mtime=iso(row.source_mtime)),
        pinned=is_pinned,
        preview=previews.of(scope, [row])[row.id],
        words=_words(row),
    )


def history(scope: Scope, ref: str, cursor: str | None = None) -> FilesPage:
    """All versions of the file that a version belongs to, newest first."""
    row = _row(scope, ref)
    query = sa.select(versions).where(versions.c.session == row.session, versions.c.path == row.path)
    if cursor is not None:
        if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
            raise InvalidInput("this is not a cursor of a list of versions", code="bad_cursor", path="cursor")
        query = query.where(versions.c.number < int(cursor))
    found = scope.execute(query.order_by(versions.c.number.desc()).limit(limits.PAGE_ITEMS + 1)).all()
    page = found[: limits.PAGE_ITEMS]
    return FilesPage(
        artifacts=_rows(scope, page), cursor=str(page[-1].number) if len(found) > limits.PAGE_ITEMS else None
    )


def session_files(scope: Scope, ref: str | None, cursor: str | None = None) -> FilesPage:
    """The files of a session at their newest versions, the latest changed first."""
    session = scope.access.session(ref, "artifact:read")
    query = sa.select(versions).join(files, files.c.version == versions.c.id).where(files.c.session == session)
    if cursor is not None:
        if not looks_like_id(cursor, "art"):
            raise InvalidInput("this is not a cursor of a list of files", code="bad_cursor", path="cursor")
        query = query.where(versions.c.id < cursor)
    # Ids made later sort later, so the id alone is order and cursor.
    found = scope.execute(query.order_by(versions.c.id.desc()).limit(limits.PAGE_ITEMS + 1)).all()
    page = found[: limits.PAGE_ITEMS]
    return FilesPage(artifacts=_rows(scope, page), cursor=page[-1].id if len(found) > limits.PAGE_ITEMS else None)


def file_count(scope: Scope, ref: str | None) -> int:
    """How many files a session has."""
    session = scope.access.session(ref, "artifact:read")
    return int(
        scope.execute(
            sa.select(sa.func.count()).where(files.c.session == session, files.c.version.is_not(None))
        ).scalar_one()
    )


def job_outputs(scope: Scope, job: str) -> list[FileRow]:
    """What a job brought back, by path; the caller has checked that the job may be read."""
    found = scope.execute(
        sa.select(versions).where(versions.c.job == job).order_by(versions.c.path).limit(limits.COLLECT_FILES)
    ).all()
    return _rows(scope, [row for row in found if scope.access.may(row.session, "artifact:read")])


def uses(scope: Scope, ref: str) -> list[UseRow]:
    """What relies on this version's content, first come first."""
    row = _row(scope, ref)
    if row.digest is None:
        return []
    return [
        UseRow(kind=use.reason_kind, id=use.reason_id, at=iso(use.at))
        for use in scope.execute(_pinned(scope, row).order_by(pins.c.at).limit(limits.PAGE_ITEMS))
    ]


def lineage_graph(scope: Scope, ref: str, depth: int = limits.LINEAGE_DEPTH) -> Graph:
    """What a version was made from and what became of it, within its session, to a bounded depth and size."""
    start = _row(scope, ref)
    if not 1 <= depth <= limits.LINEAGE_DEPTH:
        raise InvalidInput(f"`depth` must be from 1 to {limits.LINEAGE_DEPTH}", path="depth")
    seen, edges, truncated = {start.id}, set(), False
    for here, there in ((lineage.c.version, lineage.c.source), (lineage.c.source, lineage.c.version)):
        frontier = {start.id}
        for level in range(depth + 1):
            found = scope.execute(sa.select(lineage).where(here.in_(frontier)).order_by(lineage.c.version)).all()
            if not found:
                break
            fresh = {getattr(row, there.name) for row in found} - seen
            if level == depth or len(seen) + len(fresh) > limits.LINEAGE_NODES:
                truncated = truncated or bool(fresh)
                break
            edges |= {(row.source, row.version) for row in found}
            seen |= fresh
            frontier = fresh
            if not frontier:
                break
    rows = scope.execute(sa.select(versions).where(versions.c.id.in_(seen)).order_by(versions.c.id)).all()
    return _graph(start.id, rows, edges, truncated)


def backup_policy(scope: Scope, ref: str | None) -> BackupPolicy | None:
    """The backup policy of a session, if one was set."""
    session = scope.access.session(ref, "session:read")
    row = scope.execute(sa.select(backup_policies).where(backup_policies.c.session == session)).first()
    if row is None:
        return None
    return BackupPolicy(
        session=session,
        auto_backup=row.auto_backup,
        backup_schedule=row.schedule,
        retention_policy=row.retention,
        set_by=row.set_by,
        set_at=iso(row.set_at),
        next_run=None,
        note=BACKUPS_COME_LATER,
    )


def _row(scope: Scope, ref: str) -> Any:
    artifact_id = scope.access.find("artifact", ref, "artifact:read")
    return scope.execute(sa.select(versions).where(versions.c.id == artifact_id)).one()


def _pinned(scope: Scope, row: Any) -> sa.Select[Any]:
    return sa.select(pins).where(pins.c.session == row.session, pins.c.digest == row.digest)


def _rows(scope: Scope, rows: Any) -> list[FileRow]:
    authors = people.people(scope, {row.author for row in rows})
    seen = previews.of(scope, rows)
    return [
        FileRow(
            id=row.id,
            path=row.path,
            number=row.number,
            session=row.session,
            kind=row.kind,
            digest=_shown(row.digest),
            size=row.size,
            media_type=row.media_type,
            author=authors[row.author],
            at=iso(row.at),
            alt=row.alt,
            url=names.url(scope, row.id),
            job=row.job,
            preview=seen[row.id],
        )
        for row in rows
    ]


def _graph(start: str, rows: Any, edges: set[tuple[str, str]], truncated: bool) -> Graph:
    nodes = [
        Node(
            id=row.id,
            kind="version",
            label=row.path,
            detail=f"v{row.number} · {row.digest[:8] if row.digest else 'in place'}",
            href=f"/artifacts/{row.id}",
            current=row.id == start,
        )
        for row in rows
    ]
    made_by = {row.id: row.job for row in rows if row.job is not None}
    nodes += [
        Node(id=job, kind="job", label="job", detail=job[-8:], href=f"/jobs/{job}")
        for job in dict.fromkeys(made_by.values())
    ]
    drawn: dict[Edge, None] = {}
    for source, version in sorted(edges):
        # What a job made came out of the job, and what it was made from went into the job.
        drawn[Edge(source, made_by.get(version, version))] = None
    for version, job in made_by.items():
        drawn[Edge(job, version)] = None
    return Graph(nodes=nodes, edges=list(drawn), truncated=truncated)


def _shown(digest: str | None) -> str | None:
    return None if digest is None else f"sha256:{digest}"


def _words(row: Any) -> str:
    if row.kind == "stored":
        return "stored in this hub, encrypted; its digest is checked whenever it is read"
    if row.digest is None:
        return f"left in place on {row.cluster}; its content is not verified"
    return f"left in place on {row.cluster}; its digest was taken there"
