"""Resumable uploads with the semantics of tus 1.0, as plain functions; hub/web/uploads.py gives them HTTP.

`begin` checks rights, quota and room on disk; a `Receiver` adds bytes at the offset that is durably there; when the
last byte has arrived they become a blob in the session's key domain, under a lease (leases.py). Rights are checked
anew on every request, so who loses a role cannot go on.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts import leases, rules, stage
from hub.artifacts.blobs import Blob, BlobStore
from hub.artifacts.tables import uploads
from hub.core import limits
from hub.core.clock import iso
from hub.core.context import Actor
from hub.core.database import Tx
from hub.core.errors import Conflict, InvalidInput, NotFound, TooLarge, TooMany, Unavailable
from hub.core.house import House
from hub.core.ids import looks_like_id, new_id
from hub.core.steps import Step, add, runs


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload as its owner sees it; `digest` is there once every byte arrived and was verified."""

    id: str
    session: str
    filename: str
    length: int
    offset: int
    digest: str | None
    expires: str


def begin(
    house: House, actor: Actor, session_ref: str | None, length: int, filename: str = "", expected: str | None = None
) -> Upload:
    """A new upload of `length` bytes; `expected` is the SHA-256 the whole must have, if the sender knows it."""
    if not 0 <= length <= limits.UPLOAD_BYTES:
        raise TooLarge(f"a file may have up to {limits.UPLOAD_BYTES} bytes", code="upload_too_large")
    filename = rules.normal_path(filename, "Upload-Metadata.filename") if filename else ""
    expected = rules.parse_digest(expected, "Upload-Metadata.sha256") if expected else None
    session = _checked_session(house, actor, session_ref, length)
    _check_room(house, length)
    now, upload_id = house.clock.now(), new_id("upl")
    stage.create(_path(house, upload_id), house.keys, session)
    row = {
        "id": upload_id,
        "session": session,
        "owner": actor.id,
        "filename": filename,
        "length": length,
        "expected_digest": expected,
        "created_at": now,
        "expires_at": now + leases.LEASE,
    }

    def insert(tx: Tx) -> None:
        tx.execute(sa.insert(uploads).values(**row))
        leases.schedule_lapse(tx, session, now + leases.LEASE)

    house.db.write(insert)
    if length == 0:
        return Receiver(house, actor, upload_id, 0).close()
    return look(house, actor, upload_id)


def look(house: House, actor: Actor, upload_id: str) -> Upload:
    """How far an upload has come."""
    row = _row(house, actor, upload_id)
    return _view(row, row.length if row.digest else stage.arrived(_path(house, upload_id)))


def check(house: House, actor: Actor, upload_id: str) -> None:
    """Raises HubError unless this is the actor's own upload and they may still write in its session."""
    _row(house, actor, upload_id)


def discard(house: House, actor: Actor, upload_id: str) -> None:
    """Ends an upload and throws away what arrived; what an action has named already stays."""
    row = _row(house, actor, upload_id)
    if not stage.remove(_path(house, upload_id)):
        raise Conflict("this upload is being written by another request", code="upload_busy")
    now = house.clock.now()

    def lapse_now(tx: Tx) -> None:
        # The sweep deletes the bytes of a finished one, if nothing names them.
        tx.execute(sa.update(uploads).where(uploads.c.id == row.id).values(expires_at=now))
        add(tx, leases.LAPSE, row.session, queue="default", due_at=now, args={})

    house.db.write(lapse_now)


class Receiver:
    """One request's turn to add bytes. Raises Conflict when `offset` is not where the upload stands."""

    def __init__(self, house: House, actor: Actor, upload_id: str, offset: int) -> None:
        self._house = house
        self._row = _row(house, actor, upload_id)
        self._path = _path(house, upload_id)
        self._stage: stage.Stage | None = None
        at = self._row.length
        if self._row.digest is None:
            self._stage = stage.Stage(self._path, house.keys, self._row.session)
            at = self._stage.offset
        if offset != at:
            self.release()
            raise Conflict(
                f"the upload stands at byte {at}, not {offset}",
                code="offset_mismatch",
                hint="ask for the offset with HEAD and resume there",
                offset=at,
            )
        self._prolong()

    @property
    def room(self) -> int:
        """How many bytes are still to come."""
        return 0 if self._stage is None else self._row.length - self._stage.offset

    def add(self, piece: bytes) -> None:
        if len(piece) > self.room:
            raise TooLarge("more bytes came than Upload-Length announced", code="upload_too_long")
        assert self._stage is not None
        self._stage.append(piece)

    def close(self) -> Upload:
        """Makes what arrived durable; when it is all, makes it a blob."""
        if self._stage is None:
            return _view(self._row, self._row.length)
        try:
            self._stage.sync()
            if self.room > 0:
                return _view(self._row, self._stage.offset)
            return _view(self._row, self._row.length, self._finish(self._stage))
        finally:
            self.release()

    def _finish(self, arrived: stage.Stage) -> str:
        house, row = self._house, self._row
        store = house.port(BlobStore)  # type: ignore[type-abstract]
        with store.keeping(row.session):
            try:
                blob = store.put(_checked(arrived.pieces(), row.expected_digest), row.session)
            except InvalidInput:
                # Where the wrong bytes are cannot be known, so none of them is worth resuming from.
                _execute(house, sa.delete(uploads).where(uploads.c.id == row.id))
                stage.forget(arrived, self._path)
                raise
            house.db.write(lambda tx: _record_finished(tx, row.id, row.session, blob, house.clock.now()))
        stage.forget(arrived, self._path)
        return blob.digest

    def _prolong(self) -> None:
        now = self._house.clock.now()
        if self._row.expires_at - now < leases.LEASE / 2:
            longer = sa.update(uploads).where(uploads.c.id == self._row.id).values(expires_at=now + leases.LEASE)
            _execute(self._house, longer)

    def release(self) -> None:
        """Lets the next request in, without a promise about what was added last."""
        if self._stage is not None:
            self._stage.close()


def lapse(house: House, session: str) -> None:
    """Deletes what nobody named in time: rows, stages, bytes. Leaves it for another time while somebody is keeping."""
    store, now = house.port(BlobStore), house.clock.now()  # type: ignore[type-abstract]
    with store.clearing(session) as alone:
        if not alone:
            return
        ended, digests = house.db.write(lambda tx: leases.forget_lapsed(tx, session, now))
        for digest in digests:
            store.delete(digest, session)
    for upload_id in ended:
        stage.remove(_path(house, upload_id))


@runs(leases.LAPSE)
def lapse_uploads(step: Step, house: House) -> None:
    """The sweep of one session, which schedules the next while any lease is open."""
    lapse(house, step.object)
    with house.db.read() as conn:
        until: dt.datetime | None = conn.execute(
            sa.select(uploads.c.expires_at)
            .where(uploads.c.session == step.object)
            .order_by(uploads.c.expires_at)
            .limit(1)
        ).scalar()
    if until is not None:
        due_at = max(until, house.clock.now() + dt.timedelta(minutes=1))
        house.db.write(lambda tx: add(tx, leases.LAPSE, step.object, queue="default", due_at=due_at, args={}))


def _record_finished(tx: Tx, upload_id: str, session: str, blob: Blob, now: dt.datetime) -> None:
    leases.record_kept(tx, session, blob, now)
    tx.execute(
        sa.update(uploads)
        .where(uploads.c.id == upload_id)
        .values(digest=blob.digest, finished_at=now, expires_at=now + leases.LEASE)
    )


def _execute(house: House, statement: sa.Executable) -> None:
    def work(tx: Tx) -> None:
        tx.execute(statement)

    house.db.write(work)


def _checked(pieces: Iterator[bytes], expected: str | None) -> Iterator[bytes]:
    hashed = hashlib.sha256()
    for piece in pieces:
        if expected is not None:
            hashed.update(piece)
        yield piece
    if expected is not None and hashed.hexdigest() != expected:
        raise InvalidInput(
            f"what arrived has the digest sha256:{hashed.hexdigest()}, not the announced sha256:{expected}",
            code="checksum_mismatch",
            hint="upload the file again from the beginning",
        )


def _checked_session(house: House, actor: Actor, session_ref: str | None, length: int) -> str:
    with house.scope(actor) as scope:
        session = scope.access.session(session_ref, "artifact:write")
        unfinished = scope.execute(
            sa.select(sa.func.count()).where(uploads.c.owner == actor.id, uploads.c.digest.is_(None))
        ).scalar_one()
        if unfinished >= limits.OPEN_UPLOADS_PER_PERSON:
            raise TooMany(
                f"{unfinished} uploads of yours are unfinished",
                code="too_many_uploads",
                hint="finish or delete some of them",
            )
        if leases.kept_bytes(scope, session) + length > limits.STORED_BYTES_PER_SESSION:
            raise TooLarge("the session's quota does not hold this file", code="quota_exceeded")
        return session


def _check_room(house: House, length: int) -> None:
    house.settings.data.mkdir(parents=True, exist_ok=True)
    # Twice: while the whole is being verified, the stage and the blob are both there.
    if shutil.disk_usage(house.settings.data).free < 2 * length:
        raise Unavailable(
            "the hub's disk has no room for this file; nothing was started",
            code="disk_full",
            hint="ask the operator to free some space, then try again",
        )


def _row(house: House, actor: Actor, upload_id: str) -> sa.Row[Any]:
    """The upload, if it is the actor's own and they may still write in its session."""
    with house.scope(actor) as scope:
        found = None
        if looks_like_id(upload_id, "upl"):
            mine = sa.select(uploads).where(
                uploads.c.id == upload_id, uploads.c.owner == actor.id, uploads.c.expires_at > scope.now
            )
            found = scope.execute(mine).first()
        if found is None:
            raise NotFound("there is no such upload of yours", code="upload_not_found", hint="begin it anew")
        scope.access.session(found.session, "artifact:write")
        return found


def _path(house: House, upload_id: str) -> Path:
    return house.settings.data.absolute() / "uploads" / upload_id


def _view(row: sa.Row[Any], offset: int, digest: str | None = None) -> Upload:
    digest = digest or row.digest
    return Upload(
        id=row.id,
        session=row.session,
        filename=row.filename,
        length=row.length,
        offset=offset,
        digest=None if digest is None else f"sha256:{digest}",
        expires=iso(row.expires_at),
    )
