"""What can be done in the notebook: write an entry, write its next version, sign one.

Saving makes a version; nothing is overwritten. Who edits names the version they began from, and a newer one is told
loudly. A signature that comes with an entry is made or checked in the same transaction: if it does not hold, there is
no entry either.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.access import GUARDS
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput
from hub.core.ids import new_id
from hub.notebook import citations, names, rules, signing, views
from hub.notebook.rules import EntryText
from hub.notebook.statement import Meaning
from hub.notebook.tables import entries, entry_attachments, entry_versions, notebooks
from hub.notebook.verify import SignedVersion
from hub.people import views as people

Ref = Annotated[str, Meta(min_length=1, max_length=300)]
Signature = Annotated[str, Meta(max_length=700_000)]
Number = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class EntryDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What somebody wants to write down; artifacts are paths in the session at their newest version.

    `draft_version` is the version of a shared draft that the text came from.
    """

    title: str
    content: str
    tools_used: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    conclusions: str = ""
    draft_version: Ref | None = None


class WriteEntry(Action, frozen=True, tag="lab_notebook"):
    """Write a notebook entry, or with `entry_id` and `base_version` its next version; sign it if asked to."""

    entry: EntryDraft
    signature: Signature | None = None
    entry_id: Ref | None = None
    base_version: Number | None = None
    session_id: Ref | None = None


class SignEntry(Action, frozen=True, tag="note_sign"):
    """Sign a version of an entry, with the name of your hub-held key or a detached signature."""

    entry: Ref
    meaning: Meaning = "author"
    key: Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARACTERS)] | None = None
    signature: Signature | None = None
    version: Number | None = None


_TAKE_NUMBER = (
    sa.update(notebooks)
    .where(notebooks.c.session == sa.bindparam("of"))
    .values(next_number=notebooks.c.next_number + 1)
    .returning(notebooks.c.next_number)
)
_NEWEST_IS = (
    sa.update(entries)
    .where(entries.c.id == sa.bindparam("of"))
    .values(version=sa.bindparam("newest"), updated_at=sa.bindparam("at"))
)


@handles(WriteEntry, needs="entry:write")
def write_entry(act: WriteEntry, ctx: Context) -> views.EntryWritten:
    """Number the entry or lock it, pin what it cites, keep the version, sign it."""
    text = EntryText(act.entry.title, act.entry.content, act.entry.tools_used, act.entry.conclusions)
    rules.check_entry(text, act.entry.artifacts, "$.params.entry")
    entry, session, previous = _begin(act, ctx)
    if act.signature is not None:
        ctx.access.find("session", session, "entry:sign")
    origin = _origin(ctx, session, act.entry.draft_version)
    cited = citations.cite(ctx, session, act.entry.artifacts)
    version = _add_version(ctx, entry, session, previous, text, cited, origin)
    signature = None
    if act.signature is not None:
        signature = signing.sign(ctx, version, act.signature, "author", "$.params.signature")
    return views.written(ctx, entry, signature)


@handles(SignEntry, needs="entry:sign")
def sign_entry(act: SignEntry, ctx: Context) -> views.EntryWritten:
    """Sign the version named, or the newest."""
    entry = ctx.access.find("entry", act.entry, "entry:sign")
    row = ctx.execute(sa.select(entries).where(entries.c.id == entry)).one()
    ctx.access.find("session", row.session, "entry:sign")
    number = names.checked_version(row, act.version)
    given = [each for each in (act.key, act.signature) if each is not None]
    if len(given) != 1:
        raise InvalidInput("give either `key` or `signature`", path="$.params")
    version = signing.signed_version(ctx, entry, row.session, number)
    path = "$.params.key" if act.key is not None else "$.params.signature"
    return views.written(ctx, entry, signing.sign(ctx, version, given[0], act.meaning, path), number)


def _begin(act: WriteEntry, ctx: Context) -> tuple[str, str, Any | None]:
    """The entry to write in, its session, and the row of the version before (None for a new entry)."""
    if act.entry_id is None:
        if act.base_version is not None:
            raise InvalidInput(
                "`base_version` is about an entry; name it with `entry_id`", path="$.params.base_version"
            )
        session = ctx.access.session(act.session_id, "entry:write")
        return _number(ctx, session), session, None
    entry = ctx.access.find("entry", act.entry_id, "entry:write")
    row = ctx.execute(sa.select(entries).where(entries.c.id == entry).with_for_update()).one()
    ctx.access.find("session", row.session, "entry:write")
    if act.session_id is not None and ctx.access.session(act.session_id, "entry:write") != row.session:
        raise InvalidInput("the entry belongs to another session; entries do not move", path="$.params.session_id")
    if act.base_version is None:
        raise InvalidInput(
            "an edit names the version it began from", path="$.params.base_version", hint=f"the newest is {row.version}"
        )
    newest = ctx.execute(
        sa.select(entry_versions).where(entry_versions.c.entry == entry, entry_versions.c.version == row.version)
    ).one()
    if act.base_version != row.version:
        who = people.person(ctx, newest.author).name
        raise Conflict(
            f"you began from version {act.base_version}; {who} wrote version {row.version} on {iso(newest.at)}",
            code="stale_version",
            path="$.params.base_version",
            hint="read the newest version, put the two together, and send it with its number",
            version=row.version,
        )
    return entry, row.session, newest


def _origin(ctx: Context, session: str, ref: str | None) -> str | None:
    """The version of a draft of this session that an entry says it came from."""
    if ref is None:
        return None
    version = ctx.access.find("draft_version", ref, "room:join")
    guarded = GUARDS["draft_version"](ctx.conn, version)
    if guarded is None or guarded.session_id != session:
        raise InvalidInput("the draft belongs to another session", path="$.params.entry.draft_version")
    return version


def _number(ctx: Context, session: str) -> str:
    """A new entry with the session's next number, which is taken under a lock and never given again."""
    ctx.tx.insert_new(notebooks, session=session, next_number=1)
    next_number: int = ctx.execute(_TAKE_NUMBER, {"of": session}).scalar_one()
    entry = new_id("entry")
    ctx.tx.insert(
        entries,
        id=entry,
        session=session,
        number=next_number - 1,
        version=0,
        created_by=ctx.actor.id,
        created_at=ctx.now,
        updated_at=ctx.now,
    )
    return entry


def _add_version(
    ctx: Context,
    entry: str,
    session: str,
    previous: Any | None,
    text: EntryText,
    cited: tuple[citations.Cited, ...],
    origin: str | None,
) -> SignedVersion:
    before = None if previous is None else previous.body_digest
    number = 1 if previous is None else previous.version + 1
    attachments = tuple(each.attachment for each in cited)
    body = rules.body_bytes(text, attachments, session=session, author=ctx.actor.id, previous=before)
    digest = rules.digest(body)
    ctx.tx.insert(
        entry_versions,
        entry=entry,
        version=number,
        title=text.title,
        content=text.content,
        tools_used=text.tools_used,
        conclusions=text.conclusions,
        author=ctx.actor.id,
        at=ctx.now,
        body=body,
        body_digest=digest,
        previous_digest=before,
        draft_version=origin,
    )
    for place, each in enumerate(cited):
        ctx.tx.insert(
            entry_attachments,
            entry=entry,
            version=number,
            place=place,
            name=each.attachment.name,
            version_id=each.version_id,
            digest=each.attachment.digest,
        )
    citations.pin(ctx, session, entry, cited)
    ctx.execute(_NEWEST_IS, {"of": entry, "newest": number, "at": ctx.now})
    facts: dict[str, Any] = {} if origin is None else {"draft_version": origin}
    attached = [each.digest for each in attachments]
    ctx.about("entry", entry, session, version=number, body=digest, attachments=attached, **facts)
    return SignedVersion(
        entry=entry, session=session, version=number, body=body, body_digest=digest, attachments=attachments
    )
