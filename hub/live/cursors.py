"""Where people point: the newest position of each, and which of them each member is told.

Nothing here is a queue. A cursor that moved twice between two ticks is told once, at its newest place; what a slow
member missed is made good by the places of the moment. Those who look at the same things share one encoded tick.
"""

from collections.abc import Iterable, Set

from hub.live.frames import GONE, MAX_TICK_CURSORS, Cursor, Heat
from hub.live.protocol import encode, encode_tick, websocket_frame
from hub.live.rules import VISIBLE_CURSORS, neighbourhoods

Spot = tuple[int, int, int, int, int]  # slot, view, x, y, flags
Audience = tuple[tuple[int, int], ...]  # (view, neighbourhood) for each view looked at
ROOM_VIEW = 0  # the room itself: everyone looks at it
LAST_VIEW = 255
HEAT_COLUMNS, HEAT_ROWS = 16, 12


class Views:
    """Gives short numbers to the names of things looked at, and takes them back when nobody looks any more."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, name: str, in_use: set[int]) -> int | None:
        """The number of `name`, a new one if need be; None when all 255 are in use."""
        known = self.numbers.get(name)
        if known is not None:
            return known
        if len(self.numbers) < LAST_VIEW:
            number = len(self.numbers) + 1
        else:
            idle = next((other for other, taken in self.numbers.items() if taken not in in_use), None)
            if idle is None:
                return None
            number = self.numbers.pop(idle)
        self.numbers[name] = number
        return number


class Cursors:
    """The latest-value map of a room's cursors."""

    def __init__(self, visible: int = VISIBLE_CURSORS) -> None:
        self.visible = visible
        self.spots: dict[int, Spot] = {}
        self.moved: set[int] = set()
        self.moved_before: frozenset[int] = frozenset()
        self.tick = 0
        self._left: list[tuple[int, int]] = []
        self._crowds: dict[int, tuple[list[frozenset[int]], dict[int, int]]] = {}
        self._heats: dict[tuple[int, int], bytes] = {}

    def move(self, slot: int, cursor: Cursor) -> None:
        """Note the newest position; a cursor that leaves its view is told to those who looked there."""
        before = self.spots.get(slot)
        if before is not None and (before[1] != cursor.view or cursor.flags & GONE):
            self._left.append((slot, before[1]))
        if cursor.flags & GONE:
            self.spots.pop(slot, None)
        else:
            self.spots[slot] = (slot, cursor.view, cursor.x, cursor.y, cursor.flags)
        self.moved.add(slot)

    def leave(self, slot: int) -> bool:
        """Take a member's cursor away; False if there was none."""
        spot = self.spots.pop(slot, None)
        if spot is None:
            return False
        self._left.append((slot, spot[1]))
        self.moved.add(slot)
        return True

    def views_in_use(self) -> set[int]:
        return {spot[1] for spot in self.spots.values()}

    def settle(self, favoured: set[int]) -> None:
        """Cut crowded views into neighbourhoods anew. Done once a second, so that who one sees does not flicker."""
        by_view: dict[int, dict[int, tuple[int, int]]] = {}
        for slot, view, x, y, _ in self.spots.values():
            by_view.setdefault(view, {})[slot] = (x, y)
        self._crowds = {}
        self._heats.clear()
        for view, places in by_view.items():
            if len(places) > self.visible:
                places_seen = neighbourhoods(places, favoured, self.visible)
                home = {slot: at for at, (homes, _) in enumerate(places_seen) for slot in homes}
                self._crowds[view] = ([seen for _, seen in places_seen], home)

    def audience(self, slot: int, views: tuple[int, ...]) -> Audience:
        """What a member looks at; equal audiences are sent the same bytes."""
        return tuple((view, self._neighbourhood(slot, view)) for view in (*views, ROOM_VIEW))

    def _neighbourhood(self, slot: int, view: int) -> int:
        crowd = self._crowds.get(view)
        return -1 if crowd is None else crowd[1].get(slot, 0)

    def _seen(self, view: int, neighbourhood: int, among: Set[int]) -> Iterable[Spot]:
        """Of these cursors, those in this view that are to be seen from this neighbourhood."""
        crowd = self._crowds.get(view)
        if crowd is not None and neighbourhood >= 0:
            among = among & crowd[0][min(neighbourhood, len(crowd[0]) - 1)]
        for slot in among:
            spot = self.spots.get(slot)
            if spot is not None and spot[1] == view:
                yield spot

    def news(self, audience: Audience) -> bytes:
        """The framed TICK of what moved since the last one, or nothing."""
        told = [spot for view, neighbourhood in audience for spot in self._seen(view, neighbourhood, self.moved)]
        if self._left:
            staying, views = {spot[0] for spot in told}, {view for view, _ in audience}
            told += [(slot, view, 0, 0, GONE) for slot, view in self._left if view in views and slot not in staying]
        return self._framed(told)

    def places(self, slot: int, audience: Audience) -> bytes:
        """The framed TICK of everyone else in view, for who has just come or fell behind."""
        everyone = self.spots.keys()
        return self._framed(
            [
                spot
                for view, neighbourhood in audience
                for spot in self._seen(view, neighbourhood, everyone)
                if spot[0] != slot
            ]
        )

    def heat(self, audience: Audience) -> bytes:
        """The framed HEAT of each crowded view in an audience: how many cursors it is not shown are in each tile."""
        return b"".join([self._heat(view, home) for view, home in audience if home >= 0 and view in self._crowds])

    def _heat(self, view: int, home: int) -> bytes:
        known = self._heats.get((view, home))
        if known is not None:
            return known
        seen = self._crowds[view][0]
        shown, counts = seen[min(home, len(seen) - 1)], [0] * (HEAT_COLUMNS * HEAT_ROWS)
        for slot, _, x, y, _ in (spot for spot in self.spots.values() if spot[1] == view):
            if slot not in shown:
                counts[(y * HEAT_ROWS >> 16) * HEAT_COLUMNS + (x * HEAT_COLUMNS >> 16)] += 1
        tiles = bytes(min(255, count) for count in counts)
        framed = websocket_frame(encode(Heat(view, HEAT_COLUMNS, HEAT_ROWS, tiles)))
        self._heats[view, home] = framed
        return framed

    def _framed(self, told: list[Spot]) -> bytes:
        """As many TICKs as it takes, each small enough for a datagram."""
        if len(told) <= MAX_TICK_CURSORS:
            return websocket_frame(encode_tick(self.tick, told)) if told else b""
        pieces = [told[at : at + MAX_TICK_CURSORS] for at in range(0, len(told), MAX_TICK_CURSORS)]
        return b"".join([websocket_frame(encode_tick(self.tick, piece)) for piece in pieces])

    def ticked(self) -> None:
        """A tick has gone out."""
        self.tick = (self.tick + 1) & 0xFFFF
        self.moved_before = frozenset(self.moved)
        self.moved.clear()
        self._left.clear()
