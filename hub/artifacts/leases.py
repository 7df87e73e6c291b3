"""Between bytes and state: kept content waits under a lease until an action names it, or lapses.

A finished upload is readable by nobody. An action may name its digest if the actor uploaded it in that session, or may
read it there already; what nobody named by the end of its lease is deleted, bytes and row.
"""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from hub.artifacts.blobs import Blob, BlobStore, Stream
from hub.artifacts.tables import blobs, previews, uploads, versions
from hub.core import limits, steps
from hub.core.context import Context, Scope
from hub.core.database import Tx
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.core.ids import new_id

LEASE = dt.timedelta(seconds=limits.UPLOAD_LEASE_SECONDS)
LAPSE = "lapse_uploads"


def keep(
    house: House,
    session: str,
    stream: Stream,
    *,
    owner: str,
    filename: str = "",
    limit_bytes: int | None = None,
) -> Blob:
    """Stores bytes the hub itself brings (a job's outputs) under a lease of `owner`; never inside a unit of work."""
    store = house.port(BlobStore)  # type: ignore[type-abstract]
    with store.keeping(session):
        blob = store.put(stream, session, limit_bytes=limit_bytes)
        house.db.write(lambda tx: _record_leased(tx, house.clock.now(), session, owner, filename, blob))
    return blob


def _record_leased(tx: Tx, now: dt.datetime, session: str, owner: str, filename: str, blob: Blob) -> None:
    record_kept(tx, session, blob, now)
    tx.execute(
        sa.insert(uploads).values(
            id=new_id("upl"),
            session=session,
            owner=owner,
            filename=filename,
            length=blob.size,
            created_at=now,
            expires_at=now + LEASE,
            digest=blob.digest,
            finished_at=now,
        )
    )
    schedule_lapse(tx, session, now + LEASE)


def record_kept(tx: Tx, domain: str, blob: Blob, now: dt.datetime) -> None:
    """The row of bytes that were just written and verified."""
    new = tx.insert_new(blobs, domain=domain, digest=blob.digest, size=blob.size, created_at=now, verified_at=now)
    if not new:
        tx.execute(
            sa.update(blobs).where(blobs.c.domain == domain, blobs.c.digest == blob.digest).values(verified_at=now)
        )


def kept_bytes(scope: Scope, session: str) -> int:
    """How much of a session's quota is used: what is kept, and what open uploads have announced."""
    kept = sa.select(sa.func.coalesce(sa.func.sum(blobs.c.size), 0)).where(blobs.c.domain == session)
    coming = sa.select(sa.func.coalesce(sa.func.sum(uploads.c.length), 0)).where(
        uploads.c.session == session, uploads.c.digest.is_(None), uploads.c.expires_at > scope.now
    )
    return int(scope.execute(kept).scalar_one()) + int(scope.execute(coming).scalar_one())


def check_may_name(scope: Scope, session: str, digest: str, where: str = "$.params.digest") -> None:
    """Raises InvalidInput, in the same words whether the content is elsewhere or nowhere."""
    mine = sa.select(uploads.c.id).where(
        uploads.c.session == session,
        uploads.c.digest == digest,
        uploads.c.owner == scope.actor.id,
        uploads.c.expires_at > scope.now,
    )
    here = sa.select(versions.c.id).where(versions.c.session == session, versions.c.digest == digest)
    if scope.execute(mine.limit(1)).first() is not None:
        return
    if scope.access.may(session, "artifact:read") and scope.execute(here.limit(1)).first() is not None:
        return
    raise InvalidInput(
        f"you have uploaded nothing with the digest sha256:{digest} to this session",
        code="unknown_digest",
        path=where,
        hint="upload the file to this session first, then name its digest",
    )


def waiting_upload(scope: Scope, session: str, filenames: list[str]) -> str | None:
    """The digest of the actor's newest finished upload of one of these names that no action has named yet."""
    found: str | None = scope.execute(
        sa.select(uploads.c.digest)
        .where(
            uploads.c.session == session,
            uploads.c.owner == scope.actor.id,
            uploads.c.filename.in_(filenames),
            uploads.c.digest.is_not(None),
            uploads.c.named_at.is_(None),
            uploads.c.expires_at > scope.now,
        )
        .order_by(uploads.c.finished_at.desc(), uploads.c.id.desc())
        .limit(1)
    ).scalar()
    return found


def mark_named(ctx: Context, session: str, digest: str) -> int:
    """Holds the content's row against a sweep until this unit of work ends; returns its size.

    Raises InvalidInput when no such content is kept here.
    """
    size = ctx.execute(
        sa.select(blobs.c.size).where(blobs.c.domain == session, blobs.c.digest == digest).with_for_update()
    ).scalar()
    if size is None:
        raise InvalidInput(
            f"the content sha256:{digest} is not kept in this session",
            code="unknown_digest",
            hint="upload it to this session first",
        )
    ctx.execute(
        sa.update(uploads)
        .where(uploads.c.session == session, uploads.c.digest == digest, uploads.c.named_at.is_(None))
        .values(named_at=ctx.now)
    )
    return int(size)


def schedule_lapse(tx: Tx, session: str, due_at: dt.datetime) -> None:
    """One open sweep per session is enough; it schedules the next one itself."""
    waiting = tx.execute(
        sa.select(steps.steps.c.id).where(
            steps.steps.c.object == session, steps.steps.c.kind == LAPSE, steps.steps.c.done_at.is_(None)
        )
    ).first()
    if waiting is None:
        steps.add(tx, LAPSE, session, queue="default", due_at=due_at, args={})


def forget_lapsed(tx: Tx, session: str, now: dt.datetime) -> tuple[list[str], list[str]]:
    """Deletes lapsed rows; returns the ids of their uploads and the digests that nothing names any more."""
    rows = tx.execute(
        sa.delete(uploads)
        .where(uploads.c.session == session, uploads.c.expires_at <= now)
        .returning(uploads.c.id, uploads.c.digest)
    ).all()
    gone = []
    for digest in sorted({row.digest for row in rows if row.digest is not None}):
        here = sa.and_(blobs.c.domain == session, blobs.c.digest == digest)
        tx.execute(sa.select(blobs.c.digest).where(here).with_for_update())
        if not _is_named(tx, session, digest):
            tx.execute(sa.delete(blobs).where(here))
            gone.append(digest)
    return [row.id for row in rows], gone


def _is_named(tx: Tx, session: str, digest: str) -> bool:
    reasons = (
        sa.select(versions.c.id).where(versions.c.session == session, versions.c.digest == digest),
        sa.select(uploads.c.id).where(uploads.c.session == session, uploads.c.digest == digest),
        sa.select(previews.c.blob).where(previews.c.domain == session, previews.c.blob == digest),
    )
    return any(tx.execute(reason.limit(1)).first() is not None for reason in reasons)
