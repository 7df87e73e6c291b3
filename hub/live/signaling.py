"""WebRTC signals between two members: passed on unread, in order, never merged; only to the pair they were made for.

The hub decides who is polite in perfect negotiation (the lower slot), and numbers each pair's connection: the number
changes when either side reconnects, so that a late candidate of an old connection finds nobody.
"""

from typing import Literal

from hub.live.buckets import Bucket
from hub.live.frames import Signal
from hub.live.protocol import encode, websocket_frame
from hub.live.rules import pair_generation

PAIR_RATE, PAIR_BURST = 50.0, 200.0
Refusal = Literal["no_such_member", "stale_generation", "too_many"]


class Signaling:
    """The pairs of one room."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[int, int], Bucket] = {}

    def refusal(
        self, sender: tuple[int, int], signal: Signal, peer_incarnation: int | None, now: float
    ) -> Refusal | None:
        """Why a signal of (slot, incarnation) cannot be passed on, or None."""
        slot, incarnation = sender
        if peer_incarnation is None or signal.peer == slot:
            return "no_such_member"
        if signal.generation != pair_generation(slot, incarnation, signal.peer, peer_incarnation):
            return "stale_generation"
        pair = (slot, signal.peer)
        bucket = self._pairs.setdefault(pair, Bucket(PAIR_RATE, PAIR_BURST))
        return None if bucket.take(now) else "too_many"

    def forget(self, slot: int) -> None:
        """A member has left: so have its pairs."""
        for pair in [pair for pair in self._pairs if slot in pair]:
            del self._pairs[pair]


def passed_on(sender: int, signal: Signal) -> bytes:
    """The framed signal as its receiver gets it: from whom, instead of to whom."""
    return websocket_frame(encode(Signal(sender, signal.generation, signal.body)))
