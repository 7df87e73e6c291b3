"""The room's decisions as functions over values: who is too slow, when to tick, who sees whom, whom to ask about."""

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import Any

from hub.live.frames import SetPresence

VISIBLE_CURSORS = 40
MAX_MEMBERS = 1000
QUARANTINE_SECONDS = 60.0
PRESENCE_SILENCE_SECONDS = 8.0
CONNECTION_SILENCE_SECONDS = 18.0
PING_SECONDS = 4.0
PRESENCE_SECONDS = 0.2
LEDGER_POLL_SECONDS = 0.45
LEDGER_SILENCE_SECONDS = 1.0
LEDGER_GATHER_SECONDS = 0.1
HELLO_SECONDS = 5.0
LAGGING_BYTES = 64 * 1024
LAGGING_SECONDS = 2.0
CUT_BYTES = 256 * 1024
CUT_SECONDS = 10.0
CUT_SIGNALS = 256
CALL_MEMBERS = 6  # each sends to each: five copies of everything that is said or shown
CARRIED_MEMBERS = 300  # when a media server carries the call: each sends once
CALL_SCREENS = 4
CAPTION_CHARACTERS = 250
PACES_MS = (33, 50, 66, 100)


class Lane(Enum):
    """How far a connection is behind."""

    CLEAR = "clear"
    BUSY = "busy"
    LAGGING = "lagging"
    CUT = "cut"


def lane(behind_bytes: int, busy_seconds: float | None, signals: int = 0) -> Lane:
    """The lane of a connection that owes its peer `behind_bytes` and has been busy for so long (None: it is not)."""
    if busy_seconds is None:
        return Lane.CLEAR
    if behind_bytes > CUT_BYTES or busy_seconds > CUT_SECONDS or signals > CUT_SIGNALS:
        return Lane.CUT
    if behind_bytes > LAGGING_BYTES or busy_seconds > LAGGING_SECONDS:
        return Lane.LAGGING
    return Lane.BUSY


def pace_ms(loop_lag_ms: float, busy_share: float) -> int:
    """Milliseconds between ticks: 33, and wider only while the loop or the members' lanes say so."""
    by_lag = sum(loop_lag_ms > bound for bound in (10, 25, 60))
    by_lanes = sum(busy_share > bound for bound in (0.25, 0.5, 0.75))
    return PACES_MS[max(by_lag, by_lanes)]


def tick_delay(
    now: float, last_tick: float, pace_seconds: float, movers: Collection[int], before: Collection[int]
) -> float:
    """Seconds until the next tick. Who alone moves, now and in the tick before, does not wait for others."""
    if len(movers) == 1 and (not before or set(before) == set(movers)):
        pace_seconds /= 2
    return max(0.0, last_tick + pace_seconds - now)


def neighbourhoods(
    spots: Mapping[int, tuple[int, int]], favoured: Collection[int], visible: int = VISIBLE_CURSORS
) -> list[tuple[frozenset[int], frozenset[int]]]:
    """Cut a crowd of cursors into (who is at home there, the at most `visible` cursors they see).

    Near is near on a Z-order curve: not exact, but one sort for everyone, and all who are at home in one place share
    one encoded tick. The favoured are seen everywhere. With no more cursors than may be seen, all share one place.
    """
    if len(spots) <= visible:
        return [(frozenset(spots), frozenset(spots))]
    always = frozenset(sorted(slot for slot in favoured if slot in spots)[: visible // 2])
    crowd = sorted(spots, key=lambda slot: (_z_order(*spots[slot]), slot))
    size = visible - len(always)
    homes = [frozenset(crowd[at : at + size]) for at in range(0, len(crowd), size)]
    return [(home, home | always) for home in homes]


def _z_order(x: int, y: int) -> int:
    return _spread(x >> 8) | _spread(y >> 8) << 1


def _spread(byte: int) -> int:
    byte = (byte | byte << 4) & 0x0F0F
    byte = (byte | byte << 2) & 0x3333
    return (byte | byte << 1) & 0x5555


def call_refusal(
    wish: SetPresence,
    role: str,
    permissions: Collection[str],
    offered: Callable[[str], bool],
    others: int,
    most: int = CALL_MEMBERS,
) -> tuple[str, str] | None:
    """Why a member may not be heard, seen or show what they wish to, as a code and words; None when they may.

    `others` is how many are in the call beside them, `most` how many it carries.
    """
    voice, screens = offered("voice_chat"), offered("screen_sharing")
    if wish.call is True:
        if not (voice or screens):
            return "not_offered", "voice and screens are switched off in this room"
        if others >= most:
            return "call_full", f"{most} are in the call already, which is as many as it carries"
    if wish.mic is True or wish.camera is True:
        if not voice:
            return "not_offered", "voice is switched off in this room"
        if "room:voice" not in permissions:
            return "not_allowed", f"the role {role} may listen, not be heard"
    if isinstance(wish.screens, int) and wish.screens:
        if not screens:
            return "not_offered", "showing a screen is switched off in this room"
        if "room:present" not in permissions:
            return "not_allowed", f"the role {role} may watch, not show a screen"
        if not 0 <= wish.screens <= CALL_SCREENS:
            return "invalid_input", f"at most {CALL_SCREENS} screens are shared at once"
    return None


def call_ended(permissions: Collection[str], offered: Callable[[str], bool]) -> dict[str, bool | int]:
    """What of a call is over for whom these rights and offers are left; a presence takes it as it is."""
    voice, screens = offered("voice_chat"), offered("screen_sharing")
    ended: dict[str, bool | int] = {}
    if not (voice or screens):
        ended |= {"call": False, "carried": False}
    if not (voice and "room:voice" in permissions):
        ended |= {"mic": False, "camera": False}
    if not (screens and "room:present" in permissions):
        ended["screens"] = 0
    return ended


class Order(Enum):
    """What to do with a message by its place in the room's sequence."""

    KNOWN = "known"
    NEXT = "next"
    GAP = "gap"


def order(head: int, sequence: int) -> Order:
    """A room delivers each number once and in order; a number too high means that some were missed."""
    if sequence <= head:
        return Order.KNOWN
    return Order.NEXT if sequence == head + 1 else Order.GAP


def pair_generation(slot: int, incarnation: int, peer: int, peer_incarnation: int) -> int:
    """The number of a pair's WebRTC connection: both sides compute it alike, and it changes when either reconnects."""
    low, high = (incarnation, peer_incarnation) if slot < peer else (peer_incarnation, incarnation)
    return (low & 0xFFFF) << 16 | (high & 0xFFFF)


DOOR_WORDS = {
    "lobby": "You are in the lobby; somebody who moderates lets you in.",
    "locked": "The room is locked; you come in when it opens.",
    "out": "You were not let in.",
}
_TELLS_OF_MESSAGES = frozenset({"room_message", "message_edit", "message_remove", "message_react"})


def tells_of_messages(action: str) -> bool:
    """Whether a line of this action says that a room's messages changed; those are told in their own lane."""
    return action in _TELLS_OF_MESSAGES


def audience(message: Mapping[str, Any]) -> frozenset[str] | None:
    """The ids of the people who may read a message; None for a message to the whole room."""
    to = message.get("to")
    return None if to is None else frozenset((message["author"]["id"], to["id"]))


# `session_` covers sharing and changing a session; accepting an invitation is written down as a `grant_change`. When a
# door is shut, who is asked about is who is inside: web keeps that, for whoever comes back to another node.
_RIGHTS = (
    "grant_", "link_revoke", "token_revoke", "session_", "account_", "sign_out", "invitation_", "freeze",
    "room_standing", "room_door",
)  # fmt: skip


def changes_rights(action: str) -> bool:
    """Whether a ledger line of this action may have taken somebody's place in a room."""
    return action.startswith(_RIGHTS)


def concerns_one_session(action: str) -> bool:
    """Whether such a line is about its own session only; the others may reach any room."""
    return action.startswith(("grant_", "link_revoke", "session_", "room_standing", "room_door"))


def origin_allowed(origin: str | None, ours: Collection[str]) -> bool:
    """Whether a handshake with this Origin header may go on.

    Browsers always send the header, so a page elsewhere cannot open our socket with a stolen ticket. Programs send
    none.
    """
    return origin is None or origin in ours
