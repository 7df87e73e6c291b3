"""What can be done with a draft as a whole: begin one, name it, keep a version, go back to one, remove it.

What people type is not among them: an edit is bookkeeping (`writing.py`). To go back to a version is one more edit, so
that nobody's history is cut and whoever writes meanwhile goes on writing.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from hub.core.ids import new_id
from hub.core.keys import seal
from hub.people import views as people
from hub.rooms.drafts import log, rules, views
from hub.rooms.drafts.document import Document
from hub.rooms.drafts.tables import draft_checkpoints, draft_updates, draft_versions, drafts
from hub.rooms.drafts.views import DraftRow, VersionRow
from hub.rooms.names import Ref
from hub.sessions import names as sessions

Number = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class CreateDraft(Action, frozen=True, kw_only=True, tag="draft_create"):
    """Begin a draft that several people write at once, empty or with a text."""

    session_id: Ref | None = None
    name: str
    text: str = ""


class RenameDraft(Action, frozen=True, kw_only=True, tag="draft_rename"):
    """Give a draft another name."""

    draft: Ref
    name: str


class KeepVersion(Action, frozen=True, kw_only=True, tag="draft_version"):
    """Keep a draft as it is now, under a name."""

    draft: Ref
    name: str


class RestoreVersion(Action, frozen=True, kw_only=True, tag="draft_restore"):
    """Make a draft's text what it was in a version; what was written since stays in its history."""

    draft: Ref
    version: Number


class RemoveDraft(Action, frozen=True, kw_only=True, tag="draft_remove"):
    """Delete a draft with its history and its versions, for good."""

    draft: Ref


class DraftRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of it: `versions` says how many went with it."""

    id: str
    session: str
    number: int
    name: str
    versions: int


@handles(CreateDraft, needs="draft:write")
def create_draft(act: CreateDraft, ctx: Context) -> DraftRow:
    """The draft takes the session's next number, which is never given again."""
    session = ctx.access.session(act.session_id, "draft:write")
    name, text = _name(act.name), rules.clean_text(act.text)
    ctx.tx.alone(f"drafts:{session}")
    of_session = drafts.c.session == session
    number = 1 + (ctx.execute(sa.select(sa.func.max(drafts.c.number)).where(of_session)).scalar() or 0)
    there = sa.select(sa.func.count()).select_from(drafts).where(of_session, drafts.c.removed_at.is_(None))
    if ctx.execute(there).scalar_one() >= limits.DRAFTS_PER_SESSION:
        raise Conflict(f"a session has at most {limits.DRAFTS_PER_SESSION} drafts", code="too_many_drafts")
    draft = new_id("draft")
    ctx.tx.insert(
        drafts,
        id=draft,
        session=session,
        number=number,
        name=name,
        epoch=1 + secrets.randbelow((1 << 32) - 1),
        head=0,
        log_updates=0,
        log_bytes=0,
        state_bytes=0,
        created_by=ctx.actor.id,
        created_at=ctx.now,
        updated_at=ctx.now,
    )
    update = Document().become(text)
    if len(update) > limits.DRAFT_BYTES:
        raise TooLarge(
            f"a draft has at most {limits.DRAFT_BYTES // limits.MIB} MiB", code="draft_too_large", path="$.params.text"
        )
    if update:
        log.append(ctx.house, ctx.tx, _locked(ctx, draft), [(ctx.actor.id, update)], ctx.now)
    ctx.about("draft", draft, session, number=number, sha256=rules.digest(text))
    return _row(ctx, draft)


@handles(RenameDraft, needs="draft:write")
def rename_draft(act: RenameDraft, ctx: Context) -> DraftRow:
    row = _writable(ctx, act.draft)
    name = _name(act.name)
    ctx.execute(sa.update(drafts).where(drafts.c.id == row.id).values(name=name))
    ctx.about("draft", row.id, row.session, number=row.number)
    return _row(ctx, row.id)


@handles(KeepVersion, needs="draft:write")
def keep_version(act: KeepVersion, ctx: Context) -> VersionRow:
    """The version keeps a state of its own, so that it outlives every folding of the log."""
    row = _writable(ctx, act.draft)
    name = _name(act.name)
    number: int = ctx.execute(
        sa.select(sa.func.coalesce(sa.func.max(draft_versions.c.number), 0) + 1).where(draft_versions.c.draft == row.id)
    ).scalar_one()
    if number > limits.DRAFT_VERSIONS:
        raise Conflict(f"a draft has at most {limits.DRAFT_VERSIONS} versions", code="too_many_versions")
    key = ctx.house.keys.domain_in(ctx.tx, row.session)
    document = log.load(ctx.conn, key, row)
    version, sha256 = new_id("dver"), rules.digest(document.text())
    ctx.tx.insert(
        draft_versions,
        id=version,
        draft=row.id,
        number=number,
        name=name,
        sequence=row.head,
        sealed=seal(key, document.whole(), log.about_version(version)),
        sha256=sha256,
        author=ctx.actor.id,
        at=ctx.now,
    )
    ctx.about("draft", row.id, row.session, number=row.number, version=number, sequence=row.head, sha256=sha256)
    return VersionRow(
        id=version,
        number=number,
        name=name,
        sequence=row.head,
        sha256=sha256,
        author=people.person(ctx, ctx.actor.id),
        at=iso(ctx.now),
    )


@handles(RestoreVersion, needs="draft:write")
def restore_version(act: RestoreVersion, ctx: Context) -> DraftRow:
    """One edit by whoever restores, like any other: those who have the draft open receive it and nothing is lost."""
    row = _writable(ctx, act.draft)
    key = ctx.house.keys.domain_in(ctx.tx, row.session)
    version = views.version_row(ctx.conn, row.id, act.version)
    text = views.version_text(key, version)
    document = log.load(ctx.conn, key, row)
    update = document.become(text)
    if len(document.whole()) > limits.DRAFT_BYTES:
        raise TooLarge("the draft with its history would be too large", code="draft_too_large")
    head = log.append(ctx.house, ctx.tx, row, [(ctx.actor.id, update)], ctx.now) if update else row.head
    ctx.about(
        "draft", row.id, row.session, number=row.number, version=act.version, sequence=head, sha256=version.sha256
    )
    ctx.publish(f"session:{row.session}", {"kind": "draft", "draft": row.id, "sequence": head})
    return _row(ctx, row.id)


@handles(RemoveDraft, needs="draft:write")
def remove_draft(act: RemoveDraft, ctx: Context) -> DraftRemoved:
    """Its row stays, so that neither its id nor its number ever means another draft."""
    row = _writable(ctx, act.draft)
    kept = ctx.execute(
        sa.select(sa.func.count()).select_from(draft_versions).where(draft_versions.c.draft == row.id)
    ).scalar_one()
    for table in (draft_updates, draft_checkpoints, draft_versions):
        ctx.execute(sa.delete(table).where(table.c.draft == row.id))
    ctx.execute(
        sa.update(drafts)
        .where(drafts.c.id == row.id)
        .values(removed_at=ctx.now, log_updates=0, log_bytes=0, state_bytes=0)
    )
    ctx.about("draft", row.id, row.session, number=row.number)
    ctx.publish(f"session:{row.session}", {"kind": "draft", "draft": row.id, "sequence": row.head})
    return DraftRemoved(id=row.id, session=row.session, number=row.number, name=row.name, versions=kept)


def _writable(ctx: Context, ref: str) -> sa.Row[Any]:
    draft = ctx.access.find("draft", ref, "draft:write")
    return _locked(ctx, draft)


def _locked(ctx: Context, draft: str) -> sa.Row[Any]:
    row = log.lock(ctx.tx, draft)
    if row is None:
        raise NotFound("there is no such draft", code="draft_not_found")
    return row


def _name(name: str) -> str:
    cleaned = rules.clean_name(name)
    if not rules.is_name(cleaned):
        raise InvalidInput(f"a name has 1 to {limits.TITLE_CHARACTERS} characters", path="$.params.name")
    return cleaned


def _row(ctx: Context, draft: str) -> DraftRow:
    row = _locked(ctx, draft)
    place = sessions.full_name(ctx, row.session)
    return views.draft_row(ctx, row, place, people.person(ctx, row.created_by))
