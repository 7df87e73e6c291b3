"""Versions: what a path of a session held, numbered from 1 and never overwritten.

`add` and `add_reference` are how every feature makes one (an action, a job's collection); `resolve` turns the names
people say into pinned digests. Naming content takes it out of its lease, in the same unit of work.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts import leases, rules
from hub.artifacts.tables import files, lineage, pins, versions
from hub.core import limits
from hub.core.context import Context, Scope
from hub.core.errors import InvalidInput
from hub.core.ids import looks_like_id, new_id


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """A name fixed to one version, whatever happens to its path later."""

    path: str
    version: str
    number: int
    kind: str
    digest: str | None
    size: int
    media_type: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Data left in place on a cluster, and how it looked when it was taken down."""

    cluster: str
    path: str
    size: int
    mtime: dt.datetime
    digest: str | None = None


def add(
    ctx: Context,
    session: str,
    path: str,
    digest: str,
    *,
    metadata: dict[str, Any] | None = None,
    lineage: Sequence[str] = (),
    tools_used: Sequence[str] = (),
    commit: str | None = None,
    job: str | None = None,
    author: str | None = None,
    alt: str | None = None,
    line: bool = True,
) -> Pinned:
    """A stored version of `path`; `lineage` holds version ids. The caller has checked that the actor may name `digest`.

    With `line=False` the caller's own ledger line carries the manifest.
    """
    size = leases.mark_named(ctx, session, digest)
    values = {"kind": "stored", "digest": digest, "size": size, "alt": alt, "commit": commit, "job": job}
    made = _insert(ctx, session, path, values, metadata or {}, lineage, tools_used, author)
    if rules.preview_kind(made.media_type) != "none":
        ctx.enqueue("make_preview", made.version)
    _tell(ctx, session, made, lineage, line)
    return made


def add_reference(
    ctx: Context,
    session: str,
    path: str,
    source: Source,
    *,
    metadata: dict[str, Any] | None = None,
    lineage: Sequence[str] = (),
    tools_used: Sequence[str] = (),
    commit: str | None = None,
    job: str | None = None,
    author: str | None = None,
    line: bool = True,
) -> Pinned:
    """A version whose bytes stay where they are. Without a digest it is never shown as verified."""
    values = {
        "kind": "reference",
        "digest": source.digest,
        "size": source.size,
        "commit": commit,
        "job": job,
        "cluster": source.cluster,
        "source_path": source.path,
        "source_mtime": source.mtime,
    }
    made = _insert(ctx, session, path, values, metadata or {}, lineage, tools_used, author)
    _tell(ctx, session, made, lineage, line)
    return made


def resolve(scope: Scope, session: str, names: Sequence[str], where: str = "$.params.artifacts") -> list[Pinned]:
    """Each name (`path`, `path@3`, an id, `sha256:...`) fixed to a version of this session, in the given order.

    Raises InvalidInput that lists every unknown name.
    """
    found = [find(scope, session, name) for name in names]
    unknown = [name for name, version in zip(names, found, strict=True) if version is None]
    if unknown:
        listed = ", ".join(repr(name[:200]) for name in unknown[:10]) + (" and more" if len(unknown) > 10 else "")
        raise InvalidInput(
            f"the session has no {listed}",
            code="unknown_artifacts",
            path=where,
            errors=[name[:200] for name in unknown],
            hint="upload them first, or correct the names",
        )
    return [version for version in found if version is not None]


def find(scope: Scope, session: str, name: str) -> Pinned | None:
    """The version of this session that a name means, if any."""
    here = sa.select(versions).where(versions.c.session == session)
    if looks_like_id(name, "art"):
        return _pinned(scope.execute(here.where(versions.c.id == name)).first())
    for meaning in rules.parse_reference(name):
        if meaning.session is None and (found := meant(scope, session, meaning)) is not None:
            return found
    return None


def meant(scope: Scope, session: str, meaning: rules.Reference) -> Pinned | None:
    """The version a taken-apart name means within one session."""
    query = sa.select(versions).where(versions.c.session == session)
    if meaning.digest is not None:
        query = query.where(versions.c.digest == meaning.digest)
    else:
        query = query.where(versions.c.path == meaning.path)
    if meaning.number is not None:
        query = query.where(versions.c.number == meaning.number)
    return _pinned(scope.execute(query.order_by(versions.c.at.desc(), versions.c.number.desc()).limit(1)).first())


def newest(scope: Scope, session: str, path: str) -> Pinned | None:
    """What the path holds now."""
    return meant(scope, session, rules.Reference(path=path))


def pin(ctx: Context, session: str, digest: str, reason_kind: str, reason_id: str) -> None:
    """Retention never removes what is pinned; `reason` is the entry or link that cites it."""
    ctx.tx.insert_new(pins, session=session, digest=digest, reason_kind=reason_kind, reason_id=reason_id, at=ctx.now)


def _insert(
    ctx: Context,
    session: str,
    path: str,
    values: dict[str, Any],
    metadata: dict[str, Any],
    sources: Sequence[str],
    tools_used: Sequence[str],
    author: str | None,
) -> Pinned:
    path = rules.normal_path(path)
    rules.check_metadata(metadata)
    if len(sources) > limits.LINEAGE_EDGES:
        raise InvalidInput(f"at most {limits.LINEAGE_EDGES} files may be named in `lineage`", path="$.params.lineage")
    number = _next_number(ctx, session, path)
    version = new_id("art")
    row = {
        "id": version,
        "session": session,
        "path": path,
        "number": number,
        "media_type": rules.media_type_of(path),
        "metadata": metadata,
        "tools_used": list(tools_used),
        "author": author or ctx.actor.id,
        "at": ctx.now,
        **values,
    }
    ctx.execute(sa.insert(versions).values(**row))
    ctx.execute(
        sa.update(files).where(files.c.session == session, files.c.path == path).values(number=number, version=version)
    )
    edges = [{"version": version, "source": source} for source in dict.fromkeys(sources)]
    if edges:
        ctx.execute(sa.insert(lineage), edges)
    return Pinned(
        path=path,
        version=version,
        number=number,
        kind=row["kind"],
        digest=row["digest"],
        size=row["size"],
        media_type=row["media_type"],
    )


def _next_number(ctx: Context, session: str, path: str) -> int:
    # The row of the path is the lock: two who add to it at once get two numbers.
    ctx.tx.insert_new(files, session=session, path=path, number=0)
    last = ctx.execute(
        sa.select(files.c.number).where(files.c.session == session, files.c.path == path).with_for_update()
    ).scalar_one()
    return int(last) + 1


def _tell(ctx: Context, session: str, made: Pinned, sources: Sequence[str], line: bool) -> None:
    if line:
        ctx.about(
            "artifact",
            made.version,
            session,
            digest=made.digest,
            size=made.size,
            number=made.number,
            stored=made.kind == "stored",
            lineage=list(sources),
        )
    else:
        ctx.publish(
            f"session:{session}",
            {"kind": "changed", "action": "artifact_versioning", "object_kind": "artifact", "object": made.version},
        )


def _pinned(row: sa.Row[Any] | None) -> Pinned | None:
    if row is None:
        return None
    return Pinned(
        path=row.path,
        version=row.id,
        number=row.number,
        kind=row.kind,
        digest=row.digest,
        size=row.size,
        media_type=row.media_type,
    )
