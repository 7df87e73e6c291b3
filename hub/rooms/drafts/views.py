"""What can be read of drafts: their text as it is now, and the versions that were given a name."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.clock import iso
from hub.core.context import Scope
from hub.core.errors import NotFound
from hub.core.keys import unseal
from hub.people import views as people
from hub.people.views import PersonView
from hub.rooms.drafts import log, names
from hub.rooms.drafts.document import Document
from hub.rooms.drafts.tables import draft_versions, drafts
from hub.sessions import names as sessions


class DraftRow(msgspec.Struct, frozen=True, kw_only=True):
    """A draft in a list; `ref` is what people call it (`ana/lab#d2`), `url` the room with it on the stage."""

    id: str
    ref: str
    session: str
    number: int
    name: str
    sequence: int
    created_by: PersonView
    created: str
    updated: str
    url: str


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version that was given a name; `sequence` is the last update in it, `sha256` the digest of its text."""

    id: str
    number: int
    name: str
    sequence: int
    sha256: str
    author: PersonView
    at: str


class DraftView(msgspec.Struct, frozen=True, kw_only=True):
    """A draft with its text."""

    id: str
    ref: str
    session: str
    number: int
    name: str
    epoch: int
    sequence: int
    text: str
    versions: list[VersionRow]
    created_by: PersonView
    created: str
    updated: str
    url: str
    may_write: bool


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """A version with its text."""

    id: str
    draft: str
    ref: str
    number: int
    name: str
    sequence: int
    sha256: str
    text: str
    author: PersonView
    at: str


def draft(scope: Scope, ref: str) -> DraftView:
    """One draft."""
    row = _row(scope, ref)
    document = log.load(scope.conn, scope.house.keys.domain(row.session), row)
    place = sessions.full_name(scope, row.session)
    return DraftView(
        id=row.id,
        ref=names.name(place, row.number),
        session=row.session,
        number=row.number,
        name=row.name,
        epoch=row.epoch,
        sequence=row.head,
        text=document.text(),
        versions=versions(scope, row.id),
        created_by=people.person(scope, row.created_by),
        created=iso(row.created_at),
        updated=iso(row.updated_at),
        url=names.url(scope, place, row.id),
        may_write=scope.access.may(row.session, "draft:write"),
    )


def session_drafts(scope: Scope, ref: str | None) -> list[DraftRow]:
    """A session's drafts, the one changed last foremost."""
    session = scope.access.session(ref, "room:join")
    rows = scope.execute(
        sa.select(drafts)
        .where(drafts.c.session == session, drafts.c.removed_at.is_(None))
        .order_by(drafts.c.updated_at.desc(), drafts.c.number.desc())
    ).all()
    known = people.people(scope, {row.created_by for row in rows})
    place = sessions.full_name(scope, session)
    return [draft_row(scope, row, place, known[row.created_by]) for row in rows]


def draft_row(scope: Scope, row: sa.Row[Any], place: str, by: PersonView) -> DraftRow:
    """A draft's row as it is listed; `place` is its session's full name, `by` who began it."""
    return DraftRow(
        id=row.id,
        ref=names.name(place, row.number),
        session=row.session,
        number=row.number,
        name=row.name,
        sequence=row.head,
        created_by=by,
        created=iso(row.created_at),
        updated=iso(row.updated_at),
        url=names.url(scope, place, row.id),
    )


def versions(scope: Scope, draft_id: str) -> list[VersionRow]:
    """A draft's named versions, the newest first."""
    rows = scope.execute(
        sa.select(*(draft_versions.c[name] for name in ("id", "number", "name", "sequence", "sha256", "author", "at")))
        .where(draft_versions.c.draft == draft_id)
        .order_by(draft_versions.c.number.desc())
    ).all()
    known = people.people(scope, {row.author for row in rows})
    return [
        VersionRow(
            id=row.id,
            number=row.number,
            name=row.name,
            sequence=row.sequence,
            sha256=row.sha256,
            author=known[row.author],
            at=iso(row.at),
        )
        for row in rows
    ]


def version(scope: Scope, ref: str, number: int) -> VersionView:
    """One version of a draft."""
    row = _row(scope, ref)
    found = version_row(scope.conn, row.id, number)
    return VersionView(
        id=found.id,
        draft=row.id,
        ref=names.name(sessions.full_name(scope, row.session), row.number),
        number=found.number,
        name=found.name,
        sequence=found.sequence,
        sha256=found.sha256,
        text=version_text(scope.house.keys.domain(row.session), found),
        author=people.person(scope, found.author),
        at=iso(found.at),
    )


def version_row(conn: sa.Connection, draft_id: str, number: int) -> sa.Row[Any]:
    """A version's row. Raises NotFound."""
    found = conn.execute(
        sa.select(draft_versions).where(draft_versions.c.draft == draft_id, draft_versions.c.number == number)
    ).first()
    if found is None:
        raise NotFound(f"this draft has no version {number}", code="draft_version_not_found")
    return found


def version_text(key: bytes, row: sa.Row[Any]) -> str:
    """The text a version's state holds."""
    document = Document()
    document.take(unseal(key, row.sealed, log.about_version(row.id)))
    return document.text()


def _row(scope: Scope, ref: str) -> sa.Row[Any]:
    draft_id = scope.access.find("draft", ref, "room:join")
    row = log.row(scope.conn, draft_id)
    if row is None:
        raise NotFound(f"there is no draft {ref[:100]!r} that you may see", code="draft_not_found")
    return row
