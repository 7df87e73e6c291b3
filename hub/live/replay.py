"""What a returning client missed, read from SQL by sequence; where that cannot be, it is told that there is a gap."""

import asyncio
from typing import Any

import msgspec

from hub.live.chat import LANE as MESSAGES
from hub.live.chat import PAGE
from hub.live.frames import Kind, Resume
from hub.live.member import Member
from hub.live.node import EVENTS, Node, Place
from hub.live.protocol import told, websocket_frame
from hub.live.record import OutOfReachError, Refusal
from hub.live.relay import Relay
from hub.live.rules import audience, tells_of_messages

MAX_REPLAYED = 2000
PAGE_BYTES = 48 * 1024
DRAIN_SECONDS = 0.02


async def replay(node: Node, place: Place, member: Member, resume: Resume | None) -> None:
    """Send what the client has not seen, then let it live on. What happens meanwhile is held back for it."""
    grant = member.grant
    after, since = grant.sequence, grant.event
    if resume is not None and resume.epoch in ("", grant.epoch):
        after = grant.sequence if resume.sequence is None else resume.sequence
        since = grant.event if resume.event is None else resume.event
    elif resume is not None:
        # Another record than the one the client knew (a restored backup): none of its numbers mean anything here.
        _gap(place, member, MESSAGES, "epoch")
        _gap(place, member, EVENTS, "epoch")
    seen = {
        MESSAGES: await _lane(_messages(node, place, member, after), place, member, MESSAGES, grant.sequence),
        EVENTS: await _lane(_events(node, place, member, since), place, member, EVENTS, grant.event),
    }
    if node.follower.at is None or node.follower.at < seen[EVENTS]:
        node.follower.wake()
    while not member.closed and (node.follower.at is None or node.follower.at < seen[EVENTS]):
        # What the client has and the node has not told yet would come again: it is waited for, as a pause's end is.
        await asyncio.sleep(DRAIN_SECONDS)
    if not member.closed:
        place.room.relay.go_live(member, seen)


async def _lane(reading: Any, place: Place, member: Member, lane: str, otherwise: int) -> int:
    try:
        return int(await reading)
    except (Refusal, OutOfReachError):
        _gap(place, member, lane, "unavailable")
        return otherwise


async def _messages(node: Node, place: Place, member: Member, after: int) -> int:
    head = max(place.room.head, member.grant.sequence)
    if after > head:
        _gap(place, member, MESSAGES, "ahead")
        return member.grant.sequence
    if after == place.room.head == head:
        return after
    if head - after > MAX_REPLAYED:
        _gap(place, member, MESSAGES, "too_long")
        after = head - PAGE
    # Read from where the room is, if the client knows more than the room has told: it would hear that again, live.
    at = min(after, place.room.head)
    while not member.closed:
        found, head = await node.record.messages(place.room.session, at, PAGE)
        # All changes up to here are in this page: a number of which there is no message was taken by a later change.
        at = int(found[-1]["change"]) if len(found) == PAGE else max(head, *(int(m["change"]) for m in found), at)
        # The room is as far as the page before the client is: what it told only later, who is live by then heard twice.
        place.chat.read(found)
        theirs = [m for m in found if int(m["change"]) > after and _is_for(member, m)]
        for page in _pages(theirs):
            to = at if page[-1] is theirs[-1] else int(page[-1]["change"])
            body = {"after": after, "to": to, "more": to < head, "messages": page}
            await _send(place.room.relay, member, told(Kind.REPLAY, body))
            after = to
        after = max(after, at)
        if at >= head:
            break
    return after


def _is_for(member: Member, message: dict[str, Any]) -> bool:
    readers = audience(message)
    return readers is None or member.grant.member.id in readers


async def _events(node: Node, place: Place, member: Member, since: int) -> int:
    at = node.follower.at if node.follower.at is not None else -1
    if since > max(at, member.grant.event):
        _gap(place, member, EVENTS, "ahead")
        return member.grant.event
    if since >= at:
        # The node has told nothing yet that this client has not seen; the rest is held back for it.
        return since
    told_of = 0
    while not member.closed:
        found, following = await node.record.events_for(member.grant, since)
        if not found:
            return max(since, following)
        for event in found:
            if not tells_of_messages(event.action):
                await _send(place.room.relay, member, told(Kind.EVENT, event))
        since, told_of = found[-1].sequence, told_of + len(found)
        if told_of > MAX_REPLAYED:
            _gap(place, member, EVENTS, "too_long")
            return member.grant.event
    return since


def _pages(messages: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    pages: list[list[dict[str, Any]]] = []
    size = PAGE_BYTES
    for message in messages:
        length = len(msgspec.json.encode(message))
        if size + length > PAGE_BYTES:
            pages.append([])
            size = 0
        pages[-1].append(message)
        size += length
    return pages


async def _send(relay: Relay, member: Member, payload: bytes) -> None:
    """One page, and not the next before the socket has taken it."""
    while not member.clear and not member.closed:
        await asyncio.sleep(DRAIN_SECONDS)
    relay.tell_one(member, websocket_frame(payload))
    await asyncio.sleep(0)


def _gap(place: Place, member: Member, lane: str, reason: str) -> None:
    place.room.relay.tell_one(member, websocket_frame(told(Kind.GAP, {"lane": lane, "reason": reason})))
