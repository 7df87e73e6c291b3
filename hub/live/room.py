"""The room: one plain object, one owner, no locks. People come into slots, point, look, raise hands, and leave."""

import secrets
from typing import Any, NamedTuple

import msgspec

from hub.live.buckets import REPLACED
from hub.live.closing import Closing
from hub.live.cursors import Views
from hub.live.frames import ClientFrame, Cursor, Kind, Ping, Pong, SayCaption, SetPresence, Signal, View
from hub.live.frames import Views as ViewNumbers
from hub.live.ice import RENEWED_AFTER, Relays
from hub.live.member import Counters, Grant, Member, Sink
from hub.live.presence import STATES, Entry
from hub.live.protocol import encode, told, websocket_frame
from hub.live.relay import Relay, Turns
from hub.live.rules import (
    CONNECTION_SILENCE_SECONDS,
    MAX_MEMBERS,
    PRESENCE_SILENCE_SECONDS,
    QUARANTINE_SECONDS,
    VISIBLE_CURSORS,
)
from hub.live.signaling import Signaling, passed_on

MAX_SCREENS = 4
MESH_MEMBERS = 6  # each sends to each: five copies of everything that is said or shown
FAVOURED_ROLES = {"teacher", "mentor", "owner", "admin"}


class RoomFullError(Exception):
    """No slot is left."""


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
    ) -> None:
        self.session = session
        self.node = node
        self.turns = turns
        self.relay = Relay(turns, counters or Counters(), visible)
        self.views = Views()
        self.signaling = Signaling()
        self.relays = relays or Relays()
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
        """
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
        self._tell_relays(member)
        member.presence_version = self.relay.presence.version
        self.relay.soon()
        return member

    def _tell_relays(self, member: Member) -> None:
        """Servers and credentials for voice and screens, and again before they lapse."""
        member.relays_until = None
        if not (member.grant.offers("voice_chat") or member.grant.offers("screen_sharing")):
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
        if len(self.members) >= MAX_MEMBERS:
            raise RoomFullError
        return next(slot for slot in range(0x10000) if slot not in self.members and slot not in self._quarantine)

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
            "now_ms": self.turns.wall_ms(),
        }

    # What members say

    def admit(self, member: Member, kind: Kind) -> bool:
        """Whether a frame of this kind may pass now. Cursors and carets in excess vanish, the rest is answered."""
        now = self.turns.now()
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
            case View():
                self._look(member, frame)
            case SetPresence():
                self._set_presence(member, frame)
            case Signal():
                self._signal(member, frame)
            case Ping():
                self.relay.tell_one(member, websocket_frame(encode(Pong(frame.mark, self.turns.wall_ms()))))
            case SayCaption():
                self.complain(member, "not_offered", "captions are not passed on by this hub yet")
            case _:
                pass  # A pong has done its work by arriving.

    def complain(self, member: Member, code: str, text: str, **facts: Any) -> None:
        """Answer a member with ERR."""
        self.relay.tell_one(member, websocket_frame(told(Kind.ERR, {"code": code, "text": text, **facts})))

    def _look(self, member: Member, view: View) -> None:
        in_use = self.relay.cursors.views_in_use().union(*(m.views for m in self.members.values()))
        before = dict(self.views.numbers)
        numbers = [self.views.number(name, in_use) for name in dict.fromkeys(view.names)]
        if None in numbers:
            return self.complain(member, "too_many_views", "too many things are looked at in this room")
        member.views = tuple(number for number in numbers if number is not None)
        member.audience = self.relay.cursors.audience(member.slot, member.views)
        member.cursors_behind = True
        if self.views.numbers != before:
            self.relay.tell_all(self._view_numbers())
        spot = self.relay.cursors.spots.get(member.slot)
        if spot is not None and spot[1] and spot[1] not in member.views:
            self.relay.cursors.leave(member.slot)
        self.relay.tick_wanted()
        self._change(member, view=view.names[0] if view.names else "")

    def _view_numbers(self) -> bytes:
        numbers = tuple((number, name) for name, number in self.views.numbers.items())
        return websocket_frame(encode(ViewNumbers(numbers)))

    def _set_presence(self, member: Member, wish: SetPresence) -> None:
        changes: dict[str, Any] = {}
        if isinstance(wish.state, str):
            if wish.state not in STATES:
                return self.complain(member, "invalid_input", f"a state is one of {', '.join(STATES)}")
            changes["state"] = wish.state
            # A hidden tab is sent nothing that moves; when it is seen again it gets the places of the moment.
            member.passive = wish.state == "away"
        if (refusal := self._media_refusal(member, wish)) is not None:
            return self.complain(member, *refusal)
        for name in ("call", "mic", "camera", "screens", "follow"):
            if (said := getattr(wish, name)) is not msgspec.UNSET:
                changes[name] = said
        if changes.get("call") is False:
            changes |= {"mic": False, "camera": False, "screens": 0}
        self._change(member, **changes)
        self.relay.tick_wanted()

    def _media_refusal(self, member: Member, wish: SetPresence) -> tuple[str, str] | None:
        """Why a member may not be heard, seen or show what they wish to, or None."""
        voice, screens = member.grant.offers("voice_chat"), member.grant.offers("screen_sharing")
        if wish.call is True:
            if not (voice or screens):
                return "not_offered", "voice and screens are switched off in this room"
            others = sum(entry.call and entry.slot != member.slot for entry in self.relay.presence.entries())
            if others >= MESH_MEMBERS:
                return "call_full", f"{MESH_MEMBERS} are in the call already, which is as many as it carries"
        if wish.mic is True or wish.camera is True:
            if not voice:
                return "not_offered", "voice is switched off in this room"
            if not member.may("room:voice"):
                return "not_allowed", f"the role {member.grant.member.role} may listen, not be heard"
        if isinstance(wish.screens, int) and wish.screens:
            if not screens:
                return "not_offered", "showing a screen is switched off in this room"
            if not member.may("room:present"):
                return "not_allowed", f"the role {member.grant.member.role} may watch, not show a screen"
            if not 0 <= wish.screens <= MAX_SCREENS:
                return "invalid_input", f"at most {MAX_SCREENS} screens are shared at once"
        return None

    def _signal(self, member: Member, signal: Signal) -> None:
        if not (member.grant.offers("voice_chat") or member.grant.offers("screen_sharing")):
            return self.complain(member, "not_offered", "voice and screens are switched off in this room")
        peer = self.members.get(signal.peer)
        sender = (member.slot, member.incarnation)
        refusal = self.signaling.refusal(sender, signal, peer.incarnation if peer else None, self.turns.now())
        if refusal is not None or peer is None:
            return self.complain(member, refusal or "no_such_member", "the signal was not passed on", peer=signal.peer)
        if not (self._in_call(member.slot) and self._in_call(signal.peer)):
            return self.complain(member, "not_in_call", "signals pass between members of the call", peer=signal.peer)
        peer.owe_signal(passed_on(member.slot, signal))
        self.relay.soon()

    def _in_call(self, slot: int) -> bool:
        entry = self.relay.presence.get(slot)
        return entry is not None and entry.call

    # Presence

    def regrant(self, member: Member, grant: Grant) -> None:
        """Apply rights that web has just told anew, and tell whom they concern."""
        if member.grant == grant:
            return
        member.grant = grant
        offers, may = grant.offers, member.may
        ended: dict[str, Any] = {}
        if not (offers("voice_chat") and may("room:voice")):
            ended |= {"mic": False, "camera": False}
        if not (offers("screen_sharing") and may("room:present")):
            ended["screens"] = 0
        if not (offers("voice_chat") or offers("screen_sharing")):
            ended["call"] = False
        self._change(member, role=grant.member.role, **ended)
        told_anew = {
            "role": grant.member.role, "permissions": sorted(grant.member.permissions), "features": grant.features,
        }  # fmt: skip
        self.relay.tell_one(member, websocket_frame(told(Kind.STATE, told_anew)))

    def _appear(self, member: Member) -> None:
        person = member.grant.member
        entry = Entry(member.slot, member.incarnation, person.id, person.name, person.role)
        if self.relay.presence.put(entry):
            self.relay.presence_changed()

    def _change(self, member: Member, **changes: Any) -> None:
        entry = self.relay.presence.get(member.slot)
        if entry is not None and self.relay.presence.put(msgspec.structs.replace(entry, **changes)):
            self.relay.presence_changed()

    def _withdraw(self, member: Member) -> None:
        if self.relay.presence.remove(member.slot):
            self.relay.presence_changed()
        if self.relay.cursors.leave(member.slot):
            self.relay.tick_wanted()

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
