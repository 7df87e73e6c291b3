"""One draft on this node: its edits are handed to the record, and what the record kept is told to who follows.

The record is web's: this process reads no update. Edits of a few milliseconds go there together, and are acknowledged
when they are committed. What a follower cannot take now is not queued: the number it has come to says where to go on.
Carets are passed on at once, the newest of each member only, and never leave the room.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import structlog

from hub.live.chat import Spawn
from hub.live.frames import DraftAware, DraftSaved, DraftState, DraftUpdate
from hub.live.member import Member
from hub.live.protocol import encode, websocket_frame
from hub.live.record import (
    DraftEdit,
    DraftKept,
    DraftOpened,
    DraftPiece,
    OutOfReachError,
    Record,
    Refusal,
    persistently,
)
from hub.live.room import Room

log = structlog.get_logger()
GATHER_SECONDS = 0.04
CARETS_SECONDS = 0.066  # carets move as people type; each tick of them is a write to every follower
IDLE_SECONDS = 2.0
BEHIND_SECONDS = 0.05
DRAIN_SECONDS = 0.02
PIECE_BYTES = 48 * 1024
AT_ONCE_BYTES = 64 * 1024
WINDOW_BYTES = 256 * 1024
BATCH_BYTES = 6 * 1024 * 1024
WAITING_BYTES = 16 * 1024 * 1024

Author = tuple[int, int]


class Waiting(NamedTuple):
    """An edit that is on its way into the record."""

    member: Member
    mark: int
    epoch: int
    update: bytes


class Told(NamedTuple):
    """An update of the record; `by` is who alone made it, so that it is not sent back to them."""

    sequence: int
    update: bytes
    by: Author | None


class Draft:
    """One draft on this node: the newest part of its history, and who follows it from which number on."""

    def __init__(self, name: str, epoch: int, end: int, room: Room, record: Record, spawn: Spawn) -> None:
        self.name = name
        self.epoch = epoch
        # The number a follower has come to; None while a long piece is on its way to it.
        self.followers: dict[Member, int | None] = {}
        # Who was let in by which wish, so that the end of it ends that wish and no later one.
        self.let_in_by: dict[Member, int] = {}
        self.ended: Callable[[Member, int], None] = lambda member, wish: None
        self.woken = asyncio.Event()
        self._room = room
        self._record = record
        self._spawn = spawn
        self._end = end
        self._heard_of = end
        self._window: deque[Told] = deque()
        self._window_bytes = 0
        self._waiting: list[Waiting] = []
        self._waiting_bytes = 0
        self._keeping = False
        self._carets: dict[int, bytes] = {}
        self._carets_due: set[int] = set()
        self._carets_told_at = float("-inf")
        self._carets_behind: set[Member] = set()

    @property
    def is_idle(self) -> bool:
        return not self.followers and not self._waiting and not self._keeping

    # Into the record

    def edit(self, edit: Waiting) -> None:
        """Keep an edit with those of the next few milliseconds."""
        if self._waiting_bytes + len(edit.update) > WAITING_BYTES:
            return self._refuse(edit, "too_many", "too much is waiting to be kept; it is tried again")
        self._waiting.append(edit)
        self._waiting_bytes += len(edit.update)
        if not self._keeping:
            self._keeping = True
            self._spawn(self._keep_all())
        return None

    async def _keep_all(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(GATHER_SECONDS)
                await self._keep(self._take_batch())
        finally:
            self._keeping = False
            self.woken.set()

    def _take_batch(self) -> list[Waiting]:
        size = count = 0
        for edit in self._waiting:
            if count and size + len(edit.update) > BATCH_BYTES:
                break
            size += len(edit.update)
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_bytes -= size
        return batch

    async def _keep(self, batch: list[Waiting]) -> None:
        people = list(dict.fromkeys(edit.member for edit in batch))
        asked = [
            DraftEdit(people.index(edit.member), edit.member.grant.member.claim, edit.epoch, edit.update)
            for edit in batch
        ]
        try:
            kept = await persistently(lambda: self._record.keep_edits(self._room.session, self.name, asked))
        except (Refusal, OutOfReachError) as error:
            code = "not_recorded" if error.temporary else error.code
            for edit in batch:
                self._refuse(edit, code, str(error) or "the edit could not be kept; it is tried again")
            return
        self._settle(batch, kept)

    def _settle(self, batch: list[Waiting], kept: DraftKept) -> None:
        authors: dict[int, set[Author]] = {}
        for edit, outcome in zip(batch, kept.outcomes, strict=True):
            if outcome.sequence is None:
                self._refuse(edit, outcome.code, outcome.text)
                continue
            authors.setdefault(outcome.sequence, set()).add(_author(edit.member))
            if not edit.member.closed:
                saved = DraftSaved(self.name, edit.mark, outcome.sequence)
                self._room.relay.tell_one(edit.member, websocket_frame(encode(saved)))
        if kept.epoch == self.epoch and kept.before <= self._end:
            self._extend(kept.updates, authors)
        self.hear_of(kept.head)

    def _refuse(self, edit: Waiting, code: str, text: str) -> None:
        if not edit.member.closed:
            self._room.complain(edit.member, code, text, draft=self.name, mark=edit.mark)

    # Out of it

    def hear_of(self, sequence: int) -> None:
        """The record has an update of this number; what is missing up to it is fetched."""
        self._heard_of = max(self._heard_of, sequence)
        self.woken.set()

    def _extend(self, updates: Iterable[DraftPiece], authors: dict[int, set[Author]] | None = None) -> None:
        for piece in updates:
            if piece.sequence <= self._end:
                continue
            by = (authors or {}).get(piece.sequence, set())
            self._window.append(Told(piece.sequence, piece.update, next(iter(by)) if len(by) == 1 else None))
            self._window_bytes += len(piece.update)
            self._end = piece.sequence
        while self._window_bytes > WINDOW_BYTES and len(self._window) > 1:
            self._window_bytes -= len(self._window.popleft().update)

    async def run(self) -> None:
        """Hand on what is new until nobody follows. A word from the bus may be lost: without one it is asked for."""
        while self.followers:
            if self._heard_of > self._end:
                await self._fetch()
            behind = await self._hand_on() or self._heard_of > self._end
            try:
                async with asyncio.timeout(BEHIND_SECONDS if behind else IDLE_SECONDS):
                    await self.woken.wait()
            except TimeoutError:
                if not behind:
                    await self._fetch()
            self.woken.clear()

    async def _fetch(self) -> None:
        try:
            found = await self._record.draft_updates(self._room.session, self.name, self._end)
        except Refusal as refusal:
            if not refusal.temporary:
                self.end(refusal.code or "draft_not_found", str(refusal))
        except OutOfReachError as error:
            log.warning("live.draft_out_of_reach", draft=self.name, error=repr(error))
        else:
            if found.epoch != self.epoch:
                return self.end("stale_epoch", "this draft has begun anew")
            self._heard_of = max(self._heard_of, found.head)
            if found.updates and found.updates[0].sequence > self._end + 1:
                # Folded meanwhile: one piece stands for all of it, and whoever lacks a part is given the whole.
                self._window.clear()
                self._window_bytes = 0
            self._extend(found.updates)
            if not found.updates:
                self._heard_of = self._end

    async def _hand_on(self) -> bool:
        """Give each follower what it can take; True when somebody is still behind."""
        behind = False
        for member, told in list(self.followers.items()):
            if member.closed:
                self.leave(member)
            elif told is None:
                behind |= member in self._carets_behind
            elif not self._takes(member):
                behind = True
            else:
                if told < self._end:
                    await self._give(member, told)
                    behind |= (self.followers.get(member) or self._end) < self._end
                if member in self._carets_behind:
                    self._tell_carets([member], self._carets)
        return behind

    async def _give(self, member: Member, told: int) -> None:
        if self._window and told >= self._window[0].sequence - 1:
            pieces = [piece for piece in self._window if piece.sequence > told]
        else:
            pieces = [Told(piece.sequence, piece.update, None) for piece in await self._older(member, told)]
        if self.followers.get(member) != told or not pieces:
            return
        last = pieces[-1].sequence
        frames = [
            frame
            for piece in pieces
            if piece.by != _author(member)
            for frame in _update_frames(self.name, self.epoch, piece)
        ]
        if sum(map(len, frames)) <= AT_ONCE_BYTES:
            self.followers[member] = last
            for frame in frames:
                self._room.relay.tell_one(member, frame)
        else:
            self.feed(member, frames, last)

    async def _older(self, member: Member, told: int) -> list[DraftPiece]:
        try:
            found = await self._record.draft_updates(self._room.session, self.name, told)
        except (Refusal, OutOfReachError):
            return []
        return found.updates if found.epoch == self.epoch else []

    def feed(self, member: Member, frames: Iterable[bytes], then: int) -> None:
        """Send something long to one follower, a frame at a time, each when the one before has been taken."""
        self.followers[member] = None
        self._spawn(self._feed(member, frames, then))

    async def _feed(self, member: Member, frames: Iterable[bytes], then: int) -> None:
        for frame in frames:
            while not self._takes(member):
                await asyncio.sleep(DRAIN_SECONDS)
                if member.closed or member not in self.followers:
                    return
            self._room.relay.tell_one(member, frame)
            await asyncio.sleep(0)
        if member in self.followers and not member.closed:
            self.followers[member] = then
            self._tell_carets([member], self._carets)
            self.woken.set()

    def _takes(self, member: Member) -> bool:
        """Whether a member can be given something now."""
        return member.busy_since is None and member.held is None and not member.closed and not self._room.relay.paused

    # Carets

    def point(self, slot: int, data: bytes) -> None:
        """A member's caret moved; empty data says that they have closed the draft."""
        between = self._room.between
        if between is not None and slot in self._room.members:
            between.caret(self.name, slot, data)
        if data:
            self._carets[slot] = data
        elif self._carets.pop(slot, None) is None:
            return
        if not self._carets_due:
            # Twenty people who write cost each follower one write a tick, not one a keystroke; one alone need not wait.
            now = self._room.turns.now()
            self._room.turns.later(max(0.0, self._carets_told_at + CARETS_SECONDS - now), self._tell_new_carets)
        self._carets_due.add(slot)

    def _tell_new_carets(self) -> None:
        due, self._carets_due = self._carets_due, set()
        self._carets_told_at = self._room.turns.now()
        self._tell_carets(list(self.followers), {slot: self._carets.get(slot, b"") for slot in due})

    def _tell_carets(self, members: list[Member], carets: dict[int, bytes]) -> None:
        framed = {
            slot: websocket_frame(encode(DraftAware(self.name, slot, data))) for slot, data in sorted(carets.items())
        }
        everyone = b"".join(framed.values())
        behind = self._carets_behind
        for member in members:
            if not self._takes(member):
                behind.add(member)
                continue
            if behind:
                behind.discard(member)
            told = everyone
            if member.slot in framed:
                told = b"".join([frame for slot, frame in framed.items() if slot != member.slot])
            if told:
                member.owe(told)
        self._room.relay.soon()

    # Leaving

    def leave(self, member: Member) -> None:
        """Somebody follows no more; their caret goes at once."""
        if member in self.followers:
            del self.followers[member]
            self.let_in_by.pop(member, None)
            self._carets_behind.discard(member)
            self.point(member.slot, b"")
            self.woken.set()

    def end(self, code: str, text: str) -> None:
        """Nobody can follow this draft any more."""
        followers, self.followers = list(self.followers), {}
        for member in followers:
            self.ended(member, self.let_in_by.pop(member, 0))
            if not member.closed:
                self._room.complain(member, code, text, draft=self.name)
        self.woken.set()


def _author(member: Member) -> Author:
    return member.slot, member.incarnation


def _pieces(update: bytes) -> list[tuple[bytes, bool]]:
    """An update in parts that fit a frame, each with whether others follow."""
    cuts = range(0, max(1, len(update)), PIECE_BYTES)
    return [(update[at : at + PIECE_BYTES], at != cuts[-1]) for at in cuts]


def state_frames(name: str, opened: DraftOpened) -> Iterator[bytes]:
    """The state vector goes with the last piece; one that fits no frame is left out, and then all is sent back."""
    pieces = _pieces(opened.update)
    if len(pieces[-1][0]) + len(opened.state) > PIECE_BYTES:
        pieces = [*((piece, True) for piece, _ in pieces), (b"", False)]
    state = opened.state if len(opened.state) <= PIECE_BYTES else b""
    for piece, more in pieces:
        frame = DraftState(name, opened.epoch, opened.sequence, more, b"" if more else state, piece)
        yield websocket_frame(encode(frame))


def _update_frames(name: str, epoch: int, told: Told) -> Iterator[bytes]:
    for piece, more in _pieces(told.update):
        yield websocket_frame(encode(DraftUpdate(name, epoch, told.sequence, more, piece)))
