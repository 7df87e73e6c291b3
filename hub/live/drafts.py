"""The drafts that are open in one room on this node: who may follow which, and edits put together from their pieces."""

from collections.abc import Mapping
from typing import Any

from hub.core import limits
from hub.live.between import MAX_FOLLOWED
from hub.live.chat import Spawn
from hub.live.draft import Draft, Waiting, state_frames
from hub.live.frames import AwareDraft, CloseDraft, EditDraft, OpenDraft
from hub.live.member import Member
from hub.live.record import Event, OutOfReachError, Record, Refusal
from hub.live.room import Room


class Drafts:
    """The drafts of one room, each opened once for all who follow it."""

    def __init__(self, room: Room, record: Record, spawn: Spawn) -> None:
        self._room = room
        self._record = record
        self._spawn = spawn
        self._drafts: dict[str, Draft] = {}
        # What each member has asked to follow; the number tells a wish from an earlier one for the same draft.
        self._wishes: dict[Member, dict[str, int]] = {}
        self._wish = 0
        self._pieces: dict[tuple[Member, str], tuple[int, list[bytes], int]] = {}
        room.carets = self._caret_elsewhere

    def _caret_elsewhere(self, name: str | None, slot: int, data: bytes) -> None:
        """A caret on another node; of no draft: of every one, because they are gone."""
        for draft in list(self._drafts.values()):
            if name in (None, draft.name):
                draft.point(slot, data)

    def hear(self, member: Member, frame: OpenDraft | EditDraft | AwareDraft | CloseDraft) -> None:
        """Take up a member's frame about a draft."""
        match frame:
            case OpenDraft():
                self._open(member, frame)
            case EditDraft():
                self._edit(member, frame)
            case AwareDraft(name, data):
                draft = self._drafts.get(name)
                if draft is not None and member in draft.followers:
                    draft.point(member.slot, data)
            case CloseDraft(name):
                self._stop(member, name)

    @property
    def open(self) -> int:
        """How many drafts somebody follows here."""
        return len(self._drafts)

    def leave(self, member: Member) -> None:
        """The member's connection is gone."""
        for name in list(self._wishes.get(member, ())):
            self._stop(member, name)
        self._wishes.pop(member, None)

    def heard(self, said: Mapping[str, Any]) -> None:
        """The bus says that a draft has come so far."""
        name, sequence = said.get("draft"), said.get("sequence")
        if isinstance(name, str) and isinstance(sequence, int) and name in self._drafts:
            self._drafts[name].hear_of(sequence)

    def happened(self, event: Event) -> None:
        """The ledger says that something was done in this session; when it was to a draft, it may be open here."""
        draft = self._drafts.get(event.object) if event.action.startswith("draft_") else None
        if draft is None:
            return
        if event.action == "draft_remove":
            draft.end("draft_not_found", "this draft was removed")
        elif isinstance(sequence := event.facts.get("sequence"), int):
            draft.hear_of(sequence)

    def _open(self, member: Member, frame: OpenDraft) -> None:
        wishes = self._wishes.setdefault(member, {})
        if frame.draft not in wishes and len(wishes) >= MAX_FOLLOWED:
            text = f"at most {MAX_FOLLOWED} drafts at once"
            return self._room.complain(member, "too_many_drafts", text, draft=frame.draft)
        self._wish += 1
        wishes[frame.draft] = self._wish
        self._spawn(self._begin(member, frame, self._wish))
        return None

    async def _begin(self, member: Member, frame: OpenDraft, wish: int) -> None:
        try:
            opened = await self._record.open_draft(member.grant, frame.draft, frame.epoch, frame.state)
        except (Refusal, OutOfReachError) as error:
            if self._wishes.get(member, {}).get(frame.draft) != wish:
                return
            self._wishes[member].pop(frame.draft)
            code = "unavailable" if error.temporary else error.code
            text = "the draft cannot be had now; it is tried again" if error.temporary else str(error)
            return self._room.complain(member, code or "draft_not_found", text, draft=frame.draft)
        if member.closed or self._wishes.get(member, {}).get(frame.draft) != wish:
            return None
        draft = self._drafts.get(frame.draft)
        if draft is not None and draft.epoch != opened.epoch:
            draft.end("stale_epoch", "this draft has begun anew")
            draft = None
        if draft is None:
            draft = Draft(frame.draft, opened.epoch, opened.sequence, self._room, self._record, self._spawn)
            self._drafts[frame.draft] = draft
            draft.ended = lambda member, wish: self._ended(member, frame.draft, wish)
            draft.followers[member] = None
            if self._room.between is not None:
                for slot, caret in self._room.between.carets_in(draft.name).items():
                    draft.point(slot, caret)
            self._spawn(self._run(draft))
        draft.let_in_by[member] = wish
        draft.hear_of(opened.sequence)
        draft.feed(member, state_frames(frame.draft, opened), opened.sequence)
        return None

    async def _run(self, draft: Draft) -> None:
        try:
            while not draft.is_idle:
                await draft.run()
                if not draft.is_idle and not draft.followers:
                    draft.woken.clear()
                    await draft.woken.wait()
        finally:
            if self._drafts.get(draft.name) is draft:
                del self._drafts[draft.name]

    def _ended(self, member: Member, name: str, wish: int) -> None:
        """Somebody was put out of a draft. A wish they have made since is still to be answered."""
        if self._wishes.get(member, {}).get(name) == wish:
            del self._wishes[member][name]

    def _stop(self, member: Member, name: str) -> None:
        self._wishes.get(member, {}).pop(name, None)
        self._pieces.pop((member, name), None)
        if name in self._drafts:
            self._drafts[name].leave(member)

    def _edit(self, member: Member, frame: EditDraft) -> None:
        update = self._whole(member, frame)
        if update is None:
            return
        draft = self._drafts.get(frame.draft)
        if draft is None or member not in draft.followers:
            code, text = "not_open", "open the draft before you edit it"
        elif not member.may("draft:write"):
            code, text = "not_allowed", f"the role {member.grant.member.role} may read drafts, not write them"
        else:
            return draft.edit(Waiting(member, frame.mark, frame.epoch, update))
        self._room.complain(member, code, text, draft=frame.draft, mark=frame.mark)

    def _whole(self, member: Member, frame: EditDraft) -> bytes | None:
        """The whole update once its last piece is there. More than a draft can hold is not kept while it comes in."""
        place = (member, frame.draft)
        mark, pieces, size = self._pieces.pop(place, (frame.mark, [], 0))
        if mark != frame.mark:
            pieces, size = [], 0
        size += len(frame.update)
        if size <= limits.DRAFT_BYTES:
            pieces.append(frame.update)
        if frame.more:
            if frame.draft in self._wishes.get(member, {}):
                self._pieces[place] = (frame.mark, pieces, size)
            return None
        if size > limits.DRAFT_BYTES:
            text = f"a draft has at most {limits.DRAFT_BYTES // limits.MIB} MiB"
            self._room.complain(member, "draft_too_large", text, draft=frame.draft, mark=frame.mark)
            return None
        return b"".join(pieces)
