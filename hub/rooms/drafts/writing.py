"""Keeps what people type: verified, numbered under the draft's lock, several edits in one transaction.

An edit is bookkeeping and leaves no ledger line; whose it is stands beside it. Each edit is judged alone: one that is
refused disturbs none of those that came with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Actor, Context
from hub.core.database import Tx
from hub.core.errors import HubError, NotFound
from hub.core.house import House
from hub.rooms.drafts import log, rules
from hub.rooms.drafts.document import Document, SpoiltError, joined
from hub.rooms.drafts.rules import NotAnUpdateError, Update
from hub.rooms.drafts.shelf import Shelf

ActorOf = Callable[[Tx, str], Actor | None]
May = Callable[[Context, str, str], None]


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """One person's update: `by` tells the connections in a request apart, `claim` says whose rights count."""

    by: int
    claim: str
    epoch: int
    update: bytes


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Under which number an edit is in the record, or why it is not."""

    sequence: int | None
    code: str = ""
    text: str = ""


class Numbered(msgspec.Struct, frozen=True):
    """An update as the record has it."""

    sequence: int
    update: bytes


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What became of edits: an outcome for each in order, and what is new in the record after number `before`."""

    epoch: int
    before: int
    head: int
    outcomes: list[Outcome]
    updates: list[Numbered]


def keep(house: House, session: str, draft_id: str, edits: list[Edit], actor_of: ActorOf, may: May) -> Kept:
    """Keep the edits of one draft. Raises NotFound when the session has no such draft."""
    # Read before anybody waits for the draft's row.
    outlines = [_outline(edit) for edit in edits]
    kept, is_long = house.db.write(
        lambda tx: _Keeping(house, tx, session, draft_id, actor_of, may).carry_out(edits, outlines)
    )
    if is_long:
        house.db.write(lambda tx: log.fold(house, tx, draft_id, house.clock.now()))
    return kept


def _outline(edit: Edit) -> Update | NotAnUpdateError:
    if len(edit.update) > limits.DRAFT_BYTES:
        return NotAnUpdateError("the update is larger than any draft")
    try:
        return rules.read_update(edit.update)
    except NotAnUpdateError as error:
        return error


class _Keeping:
    """One unit of work."""

    def __init__(self, house: House, tx: Tx, session: str, draft_id: str, actor_of: ActorOf, may: May) -> None:
        self._house, self._tx = house, tx
        self._actor_of, self._may = actor_of, may
        draft = log.lock(tx, draft_id)
        if draft is None or draft.session != session:
            raise NotFound("there is no such draft in this room", code="draft_not_found")
        self._draft: sa.Row[Any] = draft
        self._key = house.keys.domain_in(tx, session)
        self._shelf = house.port(Shelf)
        self._document: Document = self._shelf.take(tx.conn, self._key, draft)
        self._size: int = draft.state_bytes + draft.log_bytes
        self._rights: dict[str, HubError | str] = {}
        self._new: list[tuple[str, bytes]] = []

    def carry_out(self, edits: list[Edit], outlines: list[Update | NotAnUpdateError]) -> tuple[Kept, bool]:
        draft = self._draft
        outcomes: list[Outcome] = []
        last: tuple[int, str] | None = None
        for edit, outline in zip(edits, outlines, strict=True):
            outcome, change, author = self._judge(edit, outline)
            if change:
                # What one connection says in a row is one update of the record.
                if last == (edit.by, author):
                    self._new[-1] = (author, joined([self._new[-1][1], change]))
                else:
                    self._new.append((author, change))
                last = (edit.by, author)
                self._size += len(change)
                outcome = Outcome(sequence=draft.head + len(self._new))
            outcomes.append(outcome)
        head: int = draft.head
        if self._new:
            head = log.append(self._house, self._tx, draft, self._new, self._house.clock.now())
            message = {"kind": "draft", "draft": draft.id, "sequence": head}
            self._tx.after_commit(lambda: self._house.bus.publish(f"session:{draft.session}", message))
        document = self._document
        self._tx.after_commit(lambda: self._shelf.put(draft.id, draft.epoch, head, document))
        updates = [Numbered(draft.head + 1 + at, update) for at, (_, update) in enumerate(self._new)]
        log_bytes = draft.log_bytes + sum(len(update) for _, update in self._new)
        is_long = rules.is_long(draft.log_updates + len(self._new), log_bytes)
        return Kept(epoch=draft.epoch, before=draft.head, head=head, outcomes=outcomes, updates=updates), is_long

    def _judge(self, edit: Edit, outline: Update | NotAnUpdateError) -> tuple[Outcome, bytes, str]:
        author = self._author(edit.claim)
        if isinstance(author, HubError):
            return _refused(author.code, author.message), b"", ""
        if edit.epoch != self._draft.epoch:
            return _refused("stale_epoch", "this draft has begun anew; your text is kept beside it"), b"", ""
        if isinstance(outline, NotAnUpdateError):
            return _refused("not_an_update", f"this is no edit of a draft: {outline}"), b"", ""
        if rules.is_missing(outline, self._document.state()):
            return (
                _refused("missing_history", "the edit builds on what was not kept; send all of it"),
                b"",
                "",
            )
        if self._is_too_large(len(edit.update)):
            most = f"{limits.DRAFT_BYTES // limits.MIB} MiB"
            return _refused("draft_too_large", f"a draft with its history has at most {most}"), b"", ""
        try:
            change = self._document.apply(edit.update, outline)
        except SpoiltError as error:
            self._begin_again()
            return _refused("not_an_update", f"this is no edit of a draft: {error}"), b"", ""
        return Outcome(sequence=self._draft.head + len(self._new)), change, author

    def _author(self, claim: str) -> HubError | str:
        """Whose edit it is, or why they may not, as it stands in this very transaction."""
        if claim not in self._rights:
            try:
                actor = self._actor_of(self._tx, claim)
                if actor is None:
                    raise NotFound("your right to be in this room has ended", code="not_allowed")
                self._may(Context(self._house, self._tx, actor), self._draft.id, claim)
                self._rights[claim] = actor.id
            except HubError as error:
                self._rights[claim] = error
        return self._rights[claim]

    def _is_too_large(self, more_bytes: int) -> bool:
        if self._size + more_bytes <= limits.DRAFT_BYTES:
            return False
        # The sum counts what was replaced since; only the state itself says how large it has become.
        self._size = len(self._document.whole())
        return self._size + more_bytes > limits.DRAFT_BYTES

    def _begin_again(self) -> None:
        self._document = log.load(self._tx.conn, self._key, self._draft)
        for _, update in self._new:
            self._document.take(update)


def _refused(code: str, text: str) -> Outcome:
    return Outcome(sequence=None, code=code, text=text)
