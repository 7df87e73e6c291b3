"""Entries as cards show them: many in one look, their text left where it is."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.clock import iso
from hub.core.context import Scope
from hub.notebook import names
from hub.notebook.proofs import SignatureView, signatures_of
from hub.notebook.tables import entries, entry_attachments, entry_versions, signatures
from hub.people import views as people
from hub.people.views import PersonView


class AttachedFace(msgspec.Struct, frozen=True, kw_only=True):
    """A file an entry cites, by its name."""

    name: str


class EntryFace(msgspec.Struct, frozen=True, kw_only=True):
    """An entry at its newest version; every signature was verified for this answer."""

    id: str
    name: str
    number: int
    session: str
    version: int
    newest: int
    title: str
    tools_used: tuple[str, ...]
    conclusions: str
    author: PersonView
    at: str
    digest: str
    attachments: list[AttachedFace]
    signatures: list[SignatureView]
    url: str


def some(scope: Scope, ids: set[str]) -> list[EntryFace]:
    """Entries by id; for the hub's own services, which have seen to it who is shown them."""
    newest = sa.and_(entry_versions.c.entry == entries.c.id, entry_versions.c.version == entries.c.version)
    rows = scope.execute(
        sa.select(
            entries,
            entry_versions.c.title,
            entry_versions.c.tools_used,
            entry_versions.c.conclusions,
            entry_versions.c.author,
            entry_versions.c.at,
            entry_versions.c.body_digest,
        )
        .join(entry_versions, newest)
        .where(entries.c.id.in_(ids))
        .order_by(entries.c.id)
    ).all()
    authors = people.people(scope, {row.author for row in rows})
    cited = _cited(scope, ids)
    signed = set(scope.execute(sa.select(signatures.c.entry).where(signatures.c.entry.in_(ids))).scalars())
    return [
        EntryFace(
            id=row.id,
            name=names.name(scope, row.session, row.number),
            number=row.number,
            session=row.session,
            version=row.version,
            newest=row.version,
            title=row.title,
            tools_used=tuple(row.tools_used),
            conclusions=row.conclusions,
            author=authors[row.author],
            at=iso(row.at),
            digest=row.body_digest,
            attachments=cited.get((row.id, row.version), []),
            signatures=signatures_of(scope, row, row.version) if row.id in signed else [],
            url=names.url(scope, row.id),
        )
        for row in rows
    ]


def _cited(scope: Scope, ids: set[str]) -> dict[tuple[str, int], list[AttachedFace]]:
    rows: Any = scope.execute(
        sa.select(entry_attachments.c.entry, entry_attachments.c.version, entry_attachments.c.name)
        .where(entry_attachments.c.entry.in_(ids))
        .order_by(entry_attachments.c.place)
    )
    found: dict[tuple[str, int], list[AttachedFace]] = {}
    for entry, version, name in rows:
        found.setdefault((entry, version), []).append(AttachedFace(name=name))
    return found
