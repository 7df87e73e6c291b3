"""The room: one plain object, one owner, no locks. People come into slots, point, look, raise hands, and leave."""

import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from hub.live.between import NODE_SLOTS, Between
from hub.live.buckets import REPLACED
from hub.live.closing import Closing
from hub.live.cursors import ROOM_VIEW, Views
from hub.live.frames import GONE, Caption, ClientFrame, Cursor, Kind, Ping, Pong, SetPresence, Signal, View
from hub.live.frames import Views as ViewNumbers
from hub.live.ice import RENEWED_AFTER, Relays
from hub.live.member import Counters, Grant, Member, Sink
from hub.live.presence import STATES, Entry
from hub.live.protocol import encode, told, websocket_frame
from hub.live.relay import Relay, Turns
from hub.live.rules import (
    CALL_MEMBERS,
    CALL_SCREENS,
    CAPTION_CHARACTERS,
    CARRIED_MEMBERS,
    CONNECTION_SILENCE_SECONDS,
    DOOR_WORDS,
    MAX_MEMBERS,
    PRESENCE_SILENCE_SECONDS,
    QUARANTINE_SECONDS,
    VISIBLE_CURSORS,
    call_ended,
    call_refusal,
)
from hub.live.signaling import Signaling, passed_on

FAVOURED_ROLES = {"teacher", "mentor", "owner", "admin"}


class RoomFullError(Exception):
    """No slot is left; `code` says whether to ask again."""

    def __init__(self, code: Closing, why: str) -> None:
        super().__init__(why)
        self.code = code


class DoorError(Exception):
    """The door is not open for them; `code` says whether to ask again."""

    def __init__(self, door: str) -> None:
        super().__init__(DOOR_WORDS[door])
        self.code = Closing.NOT_ALLOWED if door == "out" else Closing.DOOR


class Left(NamedTuple):
    """Who had a slot lately. No more is kept of them: ten thousand may come and go within the minute."""

    until: float
    token: str
    person: str
    incarnation: int


def _same(token: str, other: str) -> bool:
    return secrets.compare_digest(token.encode(), other.encode())


class Room:
    """A session's members on this node."""

    def __init__(
        self,
        session: str,
        turns: Turns,
        node: str = "",
        counters: Counters | None = None,
        visible: int = VISIBLE_CURSORS,
        relays: Relays | None = None,
        number: int = 0,
        carries: bool = False,
    ) -> None:
        self.session = session
        self.number = number  # of this node: its members have slots of its own
        self.between: Between | None = None
        self.carets: Callable[[str | None, int, bytes], None] = lambda draft, slot, data: None
        self.node = node
        self.turns = turns
        self.relay = Relay(turns, counters or Counters(), visible)
        self.views = Views()
        self.signaling = Signaling()
        self.relays = relays or Relays()
        self.carries = carries  # a media server takes calls that are too large for a mesh
        self.call_changed: Callable[[], None] = lambda: None
        self.head = 0  # the last message delivered here
        self._quarantine: dict[int, Left] = {}

    @property
    def members(self) -> dict[int, Member]:
        return self.relay.members

    # Coming and going

    def join(self, grant: Grant, sink: Sink, token: str = "") -> Member:
        """Give the bearer of `grant` a slot: their old one when `token` says that they had it lately.

        The member is told WELCOME and who is here at once; what is durable is held back until `relay.go_live`.
        :raises RoomFullError: when nobody more may come in.
        :raises DoorError: when the door is shut for them and they were not inside lately.
        """
        if grant.door != "open" and not self._was_here(grant.member.id):
            raise DoorError(grant.door)
        slot, incarnation = self._take_over(grant, token) or (self._free_slot(), 1)
        member = Member(slot, incarnation, grant, sink, secrets.token_urlsafe(18), self.relay.counters)
        self.members[slot] = member
        member.audience = self.relay.cursors.audience(slot, ())
        self._appear(member)
        sink.stalled = lambda: member.stall(self.turns.now())
        sink.drained = lambda: self.relay.drained(member)
        if sink.busy():
            sink.stalled()
        member.owe(websocket_frame(told(Kind.WELCOME, self._welcome(member))))
        if self.views.numbers:
            member.owe(self._view_numbers())
        member.owe(self.relay.presence.snapshot())
        if self.between is not None and self.between.apart:
            member.owe(_apart(True))
        self._tell_relays(member)
        member.presence_version = self.relay.presence.version
        self.relay.soon()
        return member

    def _tell_relays(self, member: Member) -> None:
        """Servers and credentials for voice and screens, and again before they lapse."""
        member.relays_until = None
        if not member.grant.offers_call:
            return
        servers = self.relays.servers(member.grant.member.id, self.turns.wall_ms() // 1000)
        if not servers:
            return
        ttl_seconds = self.relays.ttl_seconds
        self.relay.tell_one(member, websocket_frame(told(Kind.ICE, {"servers": servers, "ttl": ttl_seconds})))
        if self.relays.turn:
            member.relays_until = self.turns.now() + ttl_seconds * RENEWED_AFTER

    def leave(self, member: Member) -> None:
        """The connection is gone. Its slot is nobody's for a minute, so that nothing late finds a stranger in it."""
        member.closed = True
        member.sink.stalled = member.sink.drained = None
        if self.members.get(member.slot) is not member:
            return
        del self.members[member.slot]
        until = self.turns.now() + QUARANTINE_SECONDS
        self._quarantine[member.slot] = Left(until, member.token, member.grant.member.id, member.incarnation)
        self._withdraw(member)
        self.signaling.forget(member.slot)
        self._carry()

    def _was_here(self, person: str) -> bool:
        """Whether somebody is inside, or was until a connection broke a moment ago."""
        return any(entry.person == person for entry in self.relay.presence.entries()) or any(
            left.person == person and left.until > self.turns.now() for left in self._quarantine.values()
        )

    def _take_over(self, grant: Grant, token: str) -> tuple[int, int] | None:
        if not token:
            return None
        person = grant.member.id
        for member in self.members.values():
            if _same(member.token, token) and member.grant.member.id == person:
                member.close(Closing.MOVED, "this place was taken up by a newer connection")
                self.leave(member)
                break
        for slot, left in self._quarantine.items():
            if _same(left.token, token) and left.person == person:
                del self._quarantine[slot]
                return slot, left.incarnation % 0xFFFF + 1
        return None

    def _free_slot(self) -> int:
        self.release_slots()
        elsewhere = sum(entry.slot // NODE_SLOTS != self.number for entry in self.relay.presence.entries())
        if len(self.members) + elsewhere >= MAX_MEMBERS:
            raise RoomFullError(Closing.ROOM_FULL, "this room is full")
        first = self.number * NODE_SLOTS
        ours = range(first, first + NODE_SLOTS)
        free = (slot for slot in ours if slot not in self.members and slot not in self._quarantine)
        slot = next(free, None)
        if slot is None:
            raise RoomFullError(Closing.TOO_MANY, "many came and went within the minute; come back in a moment")
        return slot

    def release_slots(self) -> bool:
        """Let go of slots whose quarantine is over; True when the room is empty and keeps none."""
        now = self.turns.now()
        self._quarantine = {slot: left for slot, left in self._quarantine.items() if left.until > now}
        return not self.members and not self._quarantine

    def _welcome(self, member: Member) -> dict[str, Any]:
        grant = member.grant
        return {
            "slot": member.slot,
            "incarnation": member.incarnation,
            "token": member.token,
            "node": self.node,
            "epoch": grant.epoch,
            "sequence": max(self.head, grant.sequence),
            "event": grant.event,
            "session": {"id": grant.session, "name": grant.name},
            "person": {"id": grant.member.id, "name": grant.member.name, "handle": grant.member.handle},
            "role": grant.member.role,
            "permissions": sorted(grant.member.permissions),
            "features": grant.features,
            "send_ms": self.relay.pace_ms,
            "visible": self.relay.cursors.visible,
            "screens": CALL_SCREENS,
            "now_ms": self.turns.wall_ms(),
        }

    # What members say

    def admit(self, member: Member, kind: Kind, now: float) -> bool:
        """Whether a frame of this kind may pass now. Cursors and carets in excess vanish, the rest is answered."""
        wait_ms = member.allowance.take(kind, now)
        if not wait_ms:
            return True
        replaced = kind in REPLACED
        if member.allowance.flooded(now) if replaced else member.allowance.strike(now):
            member.close(Closing.FLOOD, "too much, too often")
        elif not replaced:
            self.complain(member, "too_many", f"{kind.name} came too often", retry_ms=wait_ms)
        return False

    def hear(self, member: Member, frame: ClientFrame) -> None:
        """Take up a frame that concerns nobody outside this room."""
        match frame:
            case Cursor():
                if member.grant.offers("live_cursor") and (not frame.view or frame.view in member.views):
                    self.relay.cursors.move(member.slot, frame)
                    self.relay.tick_wanted()
                    if self.between is not None and self.between.peers:
                        self.between.moved(member.slot, self.view_name(frame.view), frame.x, frame.y, frame.flags)
            case View():
                self._look(member, frame)
            case SetPresence():
                self._set_presence(member, frame)
            case Signal():
                self._signal(member, frame)
            case Caption():
                self._caption(member, frame)
            case Ping():
                self.relay.tell_one(member, websocket_frame(encode(Pong(frame.mark, self.turns.wall_ms()))))
            case _:
                pass  # A pong has done its work by arriving.

    def complain(self, member: Member, code: str, text: str, **facts: Any) -> None:
        """Answer a member with ERR."""
        self.relay.tell_one(member, websocket_frame(told(Kind.ERR, {"code": code, "text": text, **facts})))

    def tell_moderators(self, kind: Kind, body: object) -> None:
        """Something that only those who moderate the room may know."""
        framed = websocket_frame(told(kind, body))
        for member in self.members.values():
            if member.may("room:moderate"):
                self.relay.tell_one(member, framed)

    def _look(self, member: Member, view: View) -> None:
        in_use = self.relay.cursors.views_in_use().union(*(m.views for m in self.members.values()))
        before, numbers = dict(self.views.numbers), list[int]()
        for name in dict.fromkeys(view.names):
            number = self.views.number(name, in_use)
            if number is None:
                self._tell_view_numbers(before)
                return self.complain(member, "too_many_views", "too many things are looked at in this room")
            numbers.append(number)
            in_use.add(number)  # Or the next name might be given it too.
        if self.between is not None:
            self.between.looked_at(self.views.numbers.keys() - before.keys())
        member.views = tuple(numbers)
        member.audience = self.relay.cursors.audience(member.slot, member.views)
        member.cursors_behind = True
        self._tell_view_numbers(before)
        spot = self.relay.cursors.spots.get(member.slot)
        if spot is not None and spot[1] and spot[1] not in member.views:
            self.relay.cursors.leave(member.slot)
            if self.between is not None:
                self.between.moved(member.slot, "", 0, 0, GONE)
        self.relay.tick_wanted()
        self._change(member, view=view.names[0] if view.names else "")

    def _tell_view_numbers(self, before: dict[str, int]) -> None:
        if self.views.numbers != before:
            self.relay.tell_all(self._view_numbers())

    def view_number(self, name: str) -> int | None:
        """What cursors call a thing that somebody here looks at."""
        return self.views.numbers.get(name) if name else ROOM_VIEW

    def view_name(self, number: int) -> str:
        """The thing behind a number; nothing for the room itself."""
        return next((name for name, known in self.views.numbers.items() if known == number), "")

    def caret_of(self, draft: str | None, slot: int, data: bytes) -> None:
        """Somebody's caret on another node; of no draft: of every one, because they are gone."""
        self.carets(draft, slot, data)

    def _view_numbers(self) -> bytes:
        numbers = tuple((number, name) for name, number in self.views.numbers.items())
        return websocket_frame(encode(ViewNumbers(numbers)))

    def _set_presence(self, member: Member, wish: SetPresence) -> None:
        """All of what a member tells about itself, or none of it."""
        entry = self.relay.presence.get(member.slot)
        if entry is None:
            return None  # Silent for long: it is told again once the room has heard from it.
        if isinstance(wish.state, str) and wish.state not in STATES:
            return self.complain(member, "invalid_input", f"a state is one of {', '.join(STATES)}")
        others = sum(other.call and other is not entry for other in self.relay.presence.entries())
        person = member.grant.member
        most = CARRIED_MEMBERS if self.carries else CALL_MEMBERS
        refusal = call_refusal(wish, person.role, person.permissions, member.grant.offers, others, most)
        if refusal is not None:
            return self.complain(member, *refusal)
        if wish.captioning is True and not member.may("room:caption"):
            return self.complain(member, "not_allowed", f"the role {person.role} does not caption here")
        changes = {name: said for name, said in msgspec.structs.asdict(wish).items() if said is not msgspec.UNSET}
        if not changes.get("call", entry.call):
            changes |= {"mic": False, "camera": False, "screens": 0, "carried": False}
        # A hidden tab is sent nothing that moves; when it is seen again it gets the places of the moment.
        member.passive = changes.get("state", entry.state) == "away"
        self._change(member, **changes)
        if "call" in changes or "carried" in changes:
            self._carry()
        self.relay.tick_wanted()
        return None

    def _caption(self, member: Member, caption: Caption) -> None:
        """What is said, in words, to everyone and to no record; all have seen before who captions."""
        entry = self.relay.presence.get(member.slot)
        if entry is None or not entry.captioning:
            return self.complain(member, "not_captioning", "say first that you caption: presence `captioning`")
        text = " ".join(caption.text.split())
        if len(text) > CAPTION_CHARACTERS:
            return self.complain(member, "too_large", f"a caption has at most {CAPTION_CHARACTERS} characters")
        self.tell_caption(member.slot, text, final=caption.final)
        if self.between is not None:
            self.between.caption(member.slot, text, caption.final)
        return None

    def tell_caption(self, slot: int, text: str, *, final: bool) -> None:
        """A caption of the member in a slot. One that is not final is for who keeps up: the next one replaces it."""
        body = {"slot": slot, "text": text, "final": final}
        if final:
            self.relay.flush()  # A part of it that waits goes first, or it would stand after the whole.
            self.relay.tell_all(websocket_frame(told(Kind.CAPTION, body)))
        else:
            self.relay.hint(Kind.CAPTION, body)

    def _signal(self, member: Member, signal: Signal) -> None:
        if not member.grant.offers_call:
            return self.complain(member, "not_offered", "voice and screens are switched off in this room")
        # Presence knows of those on other nodes too.
        entry = self.relay.presence.get(signal.peer)
        sender = (member.slot, member.incarnation)
        refusal = self.signaling.refusal(sender, signal, entry.incarnation if entry else None, self.turns.now())
        if refusal is not None:
            return self.complain(member, refusal or "no_such_member", "the signal was not passed on", peer=signal.peer)
        if not (self._in_call(member.slot) and self._in_call(signal.peer)):
            return self.complain(member, "not_in_call", "signals pass between members of the call", peer=signal.peer)
        peer = self.members.get(signal.peer)
        if peer is not None:
            peer.owe_signal(passed_on(member.slot, signal))
            self.relay.soon()
        elif self.between is not None and not self.between.signal(member.slot, signal):
            self.complain(member, "too_many", "too many signals are waiting", peer=signal.peer)

    def _carry(self) -> None:
        """Above six a media server carries the call, of all who take part, until the last of them has left."""
        calling = [entry for entry in self.relay.presence.entries() if entry.call] if self.carries else []
        carried = any(entry.carried for entry in calling)
        if carried or len(calling) > CALL_MEMBERS:
            for entry in calling:
                member = self.members.get(entry.slot)
                if member is not None and not entry.carried:
                    self._change(member, carried=True)
        if self.carries:
            self.call_changed()

    def _in_call(self, slot: int) -> bool:
        entry = self.relay.presence.get(slot)
        return entry is not None and entry.call

    def mute(self, person: str | None, *, camera: bool) -> None:
        """Switch off the microphone (and camera) of a person, or of everybody who does not moderate."""
        for member in self.members.values():
            if member.grant.member.id == person or (person is None and not member.may("room:moderate")):
                self._change(member, mic=False, **({"camera": False} if camera else {}))

    # Presence

    def regrant(self, member: Member, grant: Grant) -> None:
        """Apply rights that web has just told anew, and tell whom they concern."""
        if member.grant == grant:
            return
        offered = member.grant.offers_call
        member.grant = grant
        person = grant.member
        ended = call_ended(person.permissions, grant.offers)
        if "room:caption" not in person.permissions:
            ended["captioning"] = False
        self._change(member, role=person.role, **ended)
        standing = {"role": person.role, "permissions": sorted(person.permissions), "features": grant.features}
        self.relay.tell_one(member, websocket_frame(told(Kind.STANDING, standing)))
        if grant.offers_call and not offered:
            self._tell_relays(member)
        self._carry()

    def _appear(self, member: Member) -> None:
        person = member.grant.member
        entry = Entry(member.slot, member.incarnation, person.id, person.name, person.role)
        if self.relay.presence.put(entry):
            self._presence_changed(member.slot)

    def _change(self, member: Member, **changes: Any) -> None:
        entry = self.relay.presence.get(member.slot)
        if entry is not None and self.relay.presence.put(msgspec.structs.replace(entry, **changes)):
            self._presence_changed(member.slot)

    def _withdraw(self, member: Member) -> None:
        if self.relay.presence.remove(member.slot):
            self._presence_changed(member.slot)
        if self.relay.cursors.leave(member.slot):
            self.relay.tick_wanted()

    def tell_apart(self, *, apart: bool) -> None:
        """Tell everyone here whether members on other nodes may be missing."""
        self.relay.tell_all(_apart(apart))

    def _presence_changed(self, slot: int) -> None:
        self.relay.presence_changed()
        if self.between is not None:
            self.between.changed(slot)

    def _tell_lag(self, member: Member, behind: int, now: float) -> None:
        """Tell a member that it does not keep up, or does again; and who shows or moderates, how many do not."""
        entry = self.relay.presence.get(member.slot)
        leads = member.may("room:moderate") or (entry is not None and entry.screens > 0)
        state = (member.lane(now).value, behind if leads else 0)
        if state == member.lag_told or member.held is not None:
            return
        member.lag_told = state
        said: dict[str, Any] = {"state": state[0], "skipped": member.skipped, "send_ms": self.relay.pace_ms}
        if leads:
            said["behind"] = behind
        self.relay.tell_one(member, websocket_frame(told(Kind.LAG, said)))

    def sweep(self) -> None:
        """Once a second: the silent go from presence, then altogether; crowds are cut anew; laggards are judged."""
        now = self.turns.now()
        for member in list(self.members.values()):
            silent_seconds = now - member.sink.last_heard
            if silent_seconds >= CONNECTION_SILENCE_SECONDS:
                member.close(Closing.SLOW, "nothing was heard from you; come back and resume")
            elif silent_seconds >= PRESENCE_SILENCE_SECONDS:
                self._withdraw(member)
            elif member.slot not in self.relay.presence:
                self._appear(member)
            if not member.clear:
                member.judge(now)
            if member.relays_until is not None and now >= member.relays_until:
                self._tell_relays(member)
        favoured = {slot for slot, member in self.members.items() if member.grant.member.role in FAVOURED_ROLES}
        self.relay.cursors.settle(favoured)
        behind = sum(not member.clear for member in self.members.values())
        for member in self.members.values():
            member.audience = self.relay.cursors.audience(member.slot, member.views)
            if (
                not member.passive
                and member.clear
                and member.held is None
                and (heat := self.relay.cursors.heat(member.audience))
            ):
                self.relay.tell_one(member, heat)
            self._tell_lag(member, behind, now)
        self.release_slots()


def _apart(apart: bool) -> bytes:
    return websocket_frame(told(Kind.APART, {"apart": apart}))
