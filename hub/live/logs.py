"""Logs of jobs as they grow: fetched from web once per node, handed to everyone here who follows them.

A log is bytes by offset. What a follower cannot take now is not queued: its own offset says where to go on, and what is
older than the window is fetched for it alone.
"""

import asyncio
import contextlib

import structlog

from hub.live.chat import Spawn
from hub.live.frames import Log
from hub.live.member import Grant, Member
from hub.live.protocol import encode, websocket_frame
from hub.live.record import LogPiece, OutOfReachError, Record, Refusal
from hub.live.room import Room

log = structlog.get_logger()
PIECE_BYTES = 32 * 1024
WINDOW_BYTES = 256 * 1024
IDLE_SECONDS = 1.0
BEHIND_SECONDS = 0.05
MAX_FOLLOWED = 8


class Tail:
    """One job's log on this node: a window on its end, and who follows it from which offset."""

    def __init__(self, job: str, room: Room, record: Record) -> None:
        self.job = job
        self.followers: dict[Member, int] = {}
        self.woken = asyncio.Event()
        self._room = room
        self._record = record
        self._start = 0
        self._window = b""
        self._size = 0
        self._done = False

    @property
    def _end(self) -> int:
        return self._start + len(self._window)

    async def run(self) -> None:
        """Fetch and hand on until nobody follows: who was given the end of a complete log follows it no longer."""
        self._start = min(self.followers.values(), default=0)
        while self.followers:
            fetched = await self._fetch()
            behind = await self._hand_on()
            if fetched and self._end < self._size:
                continue
            await self._rest(BEHIND_SECONDS if behind else IDLE_SECONDS)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        self.woken.clear()

    async def _fetch(self) -> bool:
        """Lengthen the window by one piece; False when there was nothing new."""
        if self._done and self._end >= self._size:
            return False
        piece = await self._ask(self._end)
        if piece is None:
            return False
        self._size, self._done = piece.size, piece.done
        if piece.offset != self._end or not piece.data:
            return False
        window = self._window + piece.data
        cut = max(0, len(window) - WINDOW_BYTES)
        self._start, self._window = self._start + cut, window[cut:]
        return True

    async def _ask(self, offset: int) -> LogPiece | None:
        """A piece of the log, in the name of anyone who follows it; those web refuses follow it no longer."""
        for member in list(self.followers):
            try:
                return await self._record.log(member.grant, self.job, offset, PIECE_BYTES)
            except Refusal as refusal:
                if refusal.temporary:
                    return None
                self.refuse(member, refusal)
            except OutOfReachError:
                return None
        return None

    def refuse(self, member: Member, refusal: Refusal) -> None:
        self.followers.pop(member, None)
        self._room.complain(member, refusal.code or "not_found", str(refusal), job=self.job)

    async def _hand_on(self) -> bool:
        """Give each follower what it can take; True when somebody is still behind."""
        behind = False
        for member, offset in list(self.followers.items()):
            if member.closed:
                self.followers.pop(member, None)
                continue
            if not member.clear or self._room.relay.paused or member.held is not None:
                behind = True
                continue
            if offset < self._start:
                data = await self._older(member, offset)
            else:
                data = self._window[offset - self._start : offset - self._start + PIECE_BYTES]
            if member not in self.followers:
                continue
            end = offset + len(data)
            done = self._done and end >= self._size
            if data or done:
                frame = Log(self.job, offset, max(self._size, end), done, data)
                self._room.relay.tell_one(member, websocket_frame(encode(frame)))
            if done:
                del self.followers[member]
            else:
                self.followers[member] = end
                behind |= end < self._end
        return behind

    async def _older(self, member: Member, offset: int) -> bytes:
        try:
            piece = await self._record.log(member.grant, self.job, offset, min(PIECE_BYTES, self._start - offset))
        except Refusal as refusal:
            self.refuse(member, refusal)
            return b""
        except OutOfReachError:
            return b""
        return piece.data if piece.offset == offset else b""


class Logs:
    """The logs followed in one room."""

    def __init__(self, room: Room, record: Record, spawn: Spawn) -> None:
        self._room = room
        self._record = record
        self._spawn = spawn
        self._tails: dict[str, Tail] = {}

    def follow(self, member: Member, job: str, offset: int) -> None:
        """Send this job's log to a member from `offset` on, if it is a job of this room that they may read."""
        if not member.may("job:read"):
            return self._room.complain(member, "not_allowed", "you may not read logs here", job=job)
        if sum(member in tail.followers for tail in self._tails.values()) >= MAX_FOLLOWED:
            return self._room.complain(member, "too_many", f"at most {MAX_FOLLOWED} logs at once", job=job)
        self._spawn(self._begin(member, job, offset))
        return None

    async def _begin(self, member: Member, job: str, offset: int) -> None:
        grant: Grant = member.grant
        try:
            session = await self._record.job_session(grant, job)
            if session != self._room.session:
                raise Refusal(404, "not_found", "there is no such job in this room")
        except Refusal as refusal:
            return self._room.complain(member, refusal.code or "not_found", str(refusal), job=job)
        except OutOfReachError:
            return self._room.complain(member, "unavailable", "the log cannot be had now; try again", job=job)
        if member.closed:
            return None
        tail = self._tails.get(job)
        if tail is None:
            tail = self._tails[job] = Tail(job, self._room, self._record)
            tail.followers[member] = offset
            self._spawn(self._run(tail))
        else:
            tail.followers[member] = offset
            tail.woken.set()
        return None

    async def _run(self, tail: Tail) -> None:
        try:
            await tail.run()
        finally:
            if self._tails.get(tail.job) is tail:
                del self._tails[tail.job]

    def stop(self, member: Member, job: str) -> None:
        if job in self._tails:
            self._tails[job].followers.pop(member, None)

    def leave(self, member: Member) -> None:
        for tail in self._tails.values():
            tail.followers.pop(member, None)

    def grew(self, job: str) -> None:
        """The bus says that there are more bytes."""
        if job in self._tails:
            self._tails[job].woken.set()
