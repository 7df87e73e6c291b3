"""Who is in the room: a versioned map by slot, told as a snapshot once and as differences afterwards."""

from collections.abc import Iterable

import msgspec

from hub.live.frames import Kind
from hub.live.protocol import told, websocket_frame

STATES = ("active", "idle", "away")
PAGE_ENTRIES = 300


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What everyone may know of a member. Nobody is left out."""

    slot: int
    incarnation: int
    person: str
    name: str
    role: str
    view: str = ""
    state: str = "active"
    call: bool = False  # hears and is heard: takes part in the call
    mic: bool = False
    camera: bool = False
    screens: int = 0
    carried: bool = False  # their call goes by the media server, not from page to page
    captioning: bool = False  # puts into words what is said


class Presence:
    """The map. Every change gets the next version; who has seen version v is sent what changed since."""

    def __init__(self) -> None:
        self.version = 0
        self._entries: dict[int, Entry] = {}
        self._changed: dict[int, int] = {}
        self._gone: dict[int, int] = {}
        self._snapshot: tuple[int, bytes] = (-1, b"")
        self._delta: tuple[int, int, bytes] = (-1, -1, b"")

    def __contains__(self, slot: int) -> bool:
        return slot in self._entries

    def get(self, slot: int) -> Entry | None:
        return self._entries.get(slot)

    def entries(self) -> Iterable[Entry]:
        return self._entries.values()

    def put(self, entry: Entry) -> bool:
        """Set an entry; False when nothing changed."""
        if self._entries.get(entry.slot) == entry:
            return False
        self.version += 1
        self._entries[entry.slot] = entry
        self._changed[entry.slot] = self.version
        self._gone.pop(entry.slot, None)
        return True

    def remove(self, slot: int) -> bool:
        if self._entries.pop(slot, None) is None:
            return False
        self.version += 1
        del self._changed[slot]
        self._gone[slot] = self.version
        return True

    def snapshot(self) -> bytes:
        """Everyone, as framed PSNAP pages; encoded once per version and shared by all who arrive at it."""
        if self._snapshot[0] != self.version:
            entries = list(self._entries.values())
            pages = [entries[at : at + PAGE_ENTRIES] for at in range(0, len(entries), PAGE_ENTRIES)] or [[]]
            framed = b"".join(
                websocket_frame(
                    told(Kind.PSNAP, {"version": self.version, "more": page is not pages[-1], "members": page})
                )
                for page in pages
            )
            self._snapshot = (self.version, framed)
        return self._snapshot[1]

    def since(self, version: int) -> bytes:
        """What changed after `version` as one framed PDELTA, or a shorter snapshot; empty if nothing did."""
        if version >= self.version:
            return b""
        if self._delta[:2] != (version, self.version):
            changed = [self._entries[slot] for slot, at in self._changed.items() if at > version]
            gone = [slot for slot, at in self._gone.items() if at > version]
            framed = (
                self.snapshot()
                if len(changed) > PAGE_ENTRIES
                else websocket_frame(told(Kind.PDELTA, {"version": self.version, "set": changed, "gone": gone}))
            )
            self._delta = (version, self.version, framed)
        return self._delta[2]
