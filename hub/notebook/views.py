"""What can be read of the notebook: entries, a session's list of them, and what their signatures are worth now.

Every signature is verified when it is shown, from the stored bytes; no column says "valid".
"""

from __future__ import annotations

import html
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts.tables import versions as artifact_versions
from hub.core import limits
from hub.core.clock import iso
from hub.core.context import Context, Scope
from hub.core.errors import InvalidInput
from hub.notebook import markdown, names
from hub.notebook.markdown import Heading, Place, Rendered
from hub.notebook.proofs import SignatureView, signatures_of
from hub.notebook.tables import entries, entry_attachments, entry_versions, signatures
from hub.people import views as people
from hub.people.views import PersonView

EXCERPT_CHARACTERS = 240


class EntryWritten(msgspec.Struct, frozen=True, kw_only=True):
    """What writing or signing an entry answers."""

    entry: str
    name: str
    number: int
    session: str
    version: int
    title: str
    digest: str
    url: str
    signature: SignatureView | None


class AttachmentView(msgspec.Struct, frozen=True, kw_only=True):
    """A file an entry cites, at the version it cites; `digest` is None for a location whose content nobody hashed."""

    name: str
    version_id: str
    number: int | None
    digest: str | None
    size: int | None
    media_type: str | None
    alt: str | None
    newer: bool
    words: str


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an entry, for its history."""

    version: int
    title: str
    author: PersonView
    at: str
    digest: str
    signatures: int


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an entry, as a page shows it; `html` and `conclusions_html` are safe to insert."""

    id: str
    name: str
    number: int
    session: str
    version: int
    newest: int
    title: str
    content: str
    html: str
    headings: tuple[Heading, ...]
    conclusions: str
    conclusions_html: str
    tools_used: tuple[str, ...]
    author: PersonView
    at: str
    digest: str
    previous_digest: str | None
    draft_version: str | None  # of the shared draft that the text came from
    attachments: list[AttachmentView]
    versions: list[VersionRow]
    signatures: list[SignatureView]
    may_write: bool
    may_sign: bool
    url: str


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in a list."""

    id: str
    name: str
    number: int
    title: str
    excerpt: str
    author: PersonView
    at: str
    version: int
    signatures: int
    attachments: int
    url: str


class EntryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some entries, newest first; `cursor` asks for the next ones."""

    entries: list[EntryRow]
    cursor: str | None


def written(ctx: Context, entry: str, signature: str | None, version: int | None = None) -> EntryWritten:
    """The answer to a write: what it is called, and how its new signature verifies."""
    row = ctx.execute(sa.select(entries).where(entries.c.id == entry)).one()
    number = version or row.version
    of_version = _version_row(ctx, entry, number)
    made = [each for each in signatures_of(ctx, row, number) if each.id == signature]
    return EntryWritten(
        entry=entry,
        name=names.name(ctx, row.session, row.number),
        number=row.number,
        session=row.session,
        version=number,
        title=of_version.title,
        digest=of_version.body_digest,
        url=names.url(ctx, entry),
        signature=made[0] if made else None,
    )


def entry(scope: Scope, ref: str, version: int | None = None) -> EntryView:
    """One entry at a version (the newest unless one is named)."""
    entry_id = scope.access.find("entry", ref, "entry:read")
    row = scope.execute(sa.select(entries).where(entries.c.id == entry_id)).one()
    number = names.checked_version(row, version)
    shown = _version_row(scope, entry_id, number)
    attachments = _attachments(scope, row, number)
    places = _places(attachments)
    body = _shown(shown.content, places)
    history = _history(scope, entry_id)
    return EntryView(
        id=entry_id,
        name=names.name(scope, row.session, row.number),
        number=row.number,
        session=row.session,
        version=number,
        newest=row.version,
        title=shown.title,
        content=shown.content,
        html=body.html,
        headings=body.headings,
        conclusions=shown.conclusions,
        conclusions_html=_shown(shown.conclusions, places).html,
        tools_used=tuple(shown.tools_used),
        author=people.person(scope, shown.author),
        at=iso(shown.at),
        digest=shown.body_digest,
        previous_digest=shown.previous_digest,
        draft_version=shown.draft_version,
        attachments=attachments,
        versions=history,
        signatures=signatures_of(scope, row, number),
        may_write=scope.access.may(row.session, "entry:write"),
        may_sign=scope.access.may(row.session, "entry:sign"),
        url=names.url(scope, entry_id),
    )


def session_entries(scope: Scope, ref: str | None, cursor: str | None = None) -> EntryPage:
    """A session's entries, newest number first."""
    session = scope.access.session(ref, "entry:read")
    newest = sa.and_(entry_versions.c.entry == entries.c.id, entry_versions.c.version == entries.c.version)
    signed = (
        sa.select(sa.func.count())
        .where(signatures.c.entry == entries.c.id, signatures.c.version == entries.c.version)
        .scalar_subquery()
    )
    attached = (
        sa.select(sa.func.count())
        .where(entry_attachments.c.entry == entries.c.id, entry_attachments.c.version == entries.c.version)
        .scalar_subquery()
    )
    query = (
        sa.select(
            entries,
            entry_versions.c.title,
            sa.func.substr(entry_versions.c.content, 1, EXCERPT_CHARACTERS).label("excerpt"),
            entry_versions.c.author,
            entry_versions.c.at,
            signed.label("signed"),
            attached.label("attached"),
        )
        .join(entry_versions, newest)
        .where(entries.c.session == session)
        .order_by(entries.c.number.desc())
        .limit(limits.PAGE_ITEMS + 1)
    )
    if cursor is not None:
        query = query.where(entries.c.number < _before(cursor))
    rows = scope.execute(query).all()
    page = rows[: limits.PAGE_ITEMS]
    authors = people.people(scope, {row.author for row in page})
    return EntryPage(
        entries=[
            EntryRow(
                id=row.id,
                name=names.name(scope, row.session, row.number),
                number=row.number,
                title=row.title,
                excerpt=" ".join(row.excerpt.split()),
                author=authors[row.author],
                at=iso(row.at),
                version=row.version,
                signatures=row.signed,
                attachments=row.attached,
                url=names.url(scope, row.id),
            )
            for row in page
        ],
        cursor=str(page[-1].number) if len(rows) > limits.PAGE_ITEMS else None,
    )


def _before(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 10:
        raise InvalidInput("this is not a cursor of a list of entries", code="bad_cursor", path="cursor")
    return int(cursor)


def _version_row(scope: Scope, entry_id: str, version: int) -> Any:
    return scope.execute(
        sa.select(entry_versions).where(entry_versions.c.entry == entry_id, entry_versions.c.version == version)
    ).one()


def _attachments(scope: Scope, row: Any, version: int) -> list[AttachmentView]:
    newest = (
        sa.select(artifact_versions.c.path, sa.func.max(artifact_versions.c.number).label("number"))
        .where(artifact_versions.c.session == row.session)
        .group_by(artifact_versions.c.path)
        .subquery()
    )
    found = scope.execute(
        sa.select(
            entry_attachments,
            artifact_versions.c.number,
            artifact_versions.c.size,
            artifact_versions.c.media_type,
            artifact_versions.c.alt,
            newest.c.number.label("newest"),
        )
        .outerjoin(artifact_versions, artifact_versions.c.id == entry_attachments.c.version_id)
        .outerjoin(newest, newest.c.path == entry_attachments.c.name)
        .where(entry_attachments.c.entry == row.id, entry_attachments.c.version == version)
        .order_by(entry_attachments.c.place)
    )
    return [
        AttachmentView(
            name=each.name,
            version_id=each.version_id,
            number=each.number,
            digest=each.digest,
            size=each.size,
            media_type=each.media_type,
            alt=each.alt,
            newer=each.number is not None and each.newest > each.number,
            words="cited by digest" if each.digest else "cited by location only; its content is not signed",
        )
        for each in found
    ]


def _history(scope: Scope, entry_id: str) -> list[VersionRow]:
    signed = (
        sa.select(sa.func.count())
        .where(signatures.c.entry == entry_versions.c.entry, signatures.c.version == entry_versions.c.version)
        .scalar_subquery()
    )
    rows = scope.execute(
        sa.select(
            entry_versions.c.version,
            entry_versions.c.title,
            entry_versions.c.author,
            entry_versions.c.at,
            entry_versions.c.body_digest,
            signed.label("signed"),
        )
        .where(entry_versions.c.entry == entry_id)
        .order_by(entry_versions.c.version.desc())
    ).all()
    authors = people.people(scope, {row.author for row in rows})
    return [
        VersionRow(
            version=row.version,
            title=row.title,
            author=authors[row.author],
            at=iso(row.at),
            digest=row.body_digest,
            signatures=row.signed,
        )
        for row in rows
    ]


def _places(attachments: list[AttachmentView]) -> tuple[tuple[str, Place], ...]:
    return tuple((each.name, _place(each)) for each in attachments)


def _place(attachment: AttachmentView) -> Place:
    page = f"/artifacts/{attachment.version_id}"
    media_type = attachment.media_type or ""
    picture = None
    if media_type == "image/svg+xml":
        picture = f"/api{page}/content"  # An SVG within <img> runs no script and fetches nothing.
    elif media_type.startswith("image/"):
        picture = f"/api{page}/preview"
    return Place(page, picture, attachment.alt or "")


@lru_cache(maxsize=256)
def _shown(text: str, places: tuple[tuple[str, Place], ...]) -> Rendered:
    """The text as HTML; text that no page can carry as Markdown is shown as it was written."""
    try:
        return markdown.render(text, dict(places))
    except InvalidInput as problem:
        told = html.escape(f"Shown as it was written: {problem.message}.")
        return Rendered(f'<p class="missing">{told}</p><pre>{html.escape(text)}</pre>', ())
