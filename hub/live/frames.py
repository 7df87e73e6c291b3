"""What is said in a room: every kind of frame as a value. How it looks in bytes is `protocol.py`'s affair."""

from enum import IntEnum
from typing import Any, TypeAlias

import msgspec

VERSION = 1
MAX_FRAME_BYTES = 64 * 1024
MAX_VIEWS = 8
MAX_VIEW_NAME_BYTES = 64
MAX_ID_BYTES = 64
MAX_HEAT_TILES = 252
MAX_TICK_CURSORS = 143  # 4 + 143 * 8 = 1148 bytes: a tick fits one datagram
GONE = 0x01  # cursor flag: take it off the screen


class Kind(IntEnum):
    """The first byte of every frame."""

    HELLO = 0x01
    WELCOME = 0x02
    VIEW = 0x03
    VIEWS = 0x04
    CUR = 0x10
    TICK = 0x11
    HEAT = 0x12
    PACE = 0x13
    LAG = 0x14
    PSNAP = 0x20
    PDELTA = 0x21
    PSET = 0x22
    STANDING = 0x23
    APART = 0x24
    MSG = 0x30
    ACK = 0x31
    REPLAY = 0x34
    GAP = 0x35
    LOG = 0x36
    FOLLOW_LOG = 0x37
    EVENT = 0x38
    CAPTION = 0x39
    YSYNC = 0x40
    YUPD = 0x41
    YAWARE = 0x42
    YACK = 0x43
    YSTOP = 0x44
    RTC = 0x50
    ICE = 0x51
    SFU = 0x52
    PING = 0x70
    PONG = 0x71
    ERR = 0x7E
    GOAWAY = 0x7F


class Frame(msgspec.Struct, frozen=True):
    """Any frame. Subclasses are values; what they mean is the room's business."""


class Strict(Frame, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A JSON frame of a client: a field we do not know is a mistake, not an extension."""


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the client was: the record's epoch, the last message and the last ledger event it has seen."""

    epoch: str = ""
    sequence: int | None = None
    event: int | None = None
    token: str = ""


class Hello(Strict, frozen=True):
    """The client's first frame."""

    proto: int
    build: str = ""
    resume: Resume | None = None
    caps: list[str] = []


class SetPresence(Strict, frozen=True):
    """What a member tells about itself; absent fields stay as they are."""

    state: str | msgspec.UnsetType = msgspec.UNSET
    call: bool | msgspec.UnsetType = msgspec.UNSET
    mic: bool | msgspec.UnsetType = msgspec.UNSET
    camera: bool | msgspec.UnsetType = msgspec.UNSET
    screens: int | msgspec.UnsetType = msgspec.UNSET
    captioning: bool | msgspec.UnsetType = msgspec.UNSET


class Caption(Strict, frozen=True):
    """What is being said, in words; a text that is not final is replaced by the next one. It is never stored."""

    text: str
    final: bool = False


class Say(Strict, frozen=True):
    """A chat message on its way in. `client_id` makes sending it twice harmless."""

    client_id: str
    text: str
    thread: str | msgspec.UnsetType = msgspec.UNSET  # the message it answers
    about: str | msgspec.UnsetType = msgspec.UNSET  # the thing it is about
    to: str | msgspec.UnsetType = msgspec.UNSET  # the one person it is for


class OpenDraft(Frame, frozen=True):
    """Follow a draft from a Yjs state vector on; `epoch` 0 when nothing of it is known yet."""

    draft: str
    epoch: int
    state: bytes


class EditDraft(Frame, frozen=True):
    """A piece of a Yjs update; with `more`, others follow. `mark` is the sender's number for it, told when kept."""

    draft: str
    epoch: int
    mark: int
    more: bool
    update: bytes


class AwareDraft(Frame, frozen=True):
    """A Yjs awareness update: where its sender's caret is. It is passed on unread and never stored."""

    draft: str
    data: bytes


class CloseDraft(Frame, frozen=True):
    """Follow a draft no more."""

    draft: str


class View(Frame, frozen=True):
    """Names of the things the client looks at, the first one foremost."""

    names: tuple[str, ...]


class Cursor(Frame, frozen=True):
    """Where a member points, in 1/65535 of the thing numbered `view`."""

    view: int
    x: int
    y: int
    flags: int
    sequence: int


class FollowLog(Frame, frozen=True):
    """Begin (`on`) or stop to send the bytes of a job's log from `offset`."""

    job: str
    offset: int
    on: bool


class Signal(Frame, frozen=True):
    """One WebRTC signal for (client) or from (server) the member in slot `peer`. The body is passed on unread."""

    peer: int
    generation: int
    body: bytes


class Ping(Frame, frozen=True):
    """Eight opaque bytes to be returned."""

    mark: bytes


class Pong(Frame, frozen=True):
    """The eight bytes of a ping, and the sender's clock in milliseconds."""

    mark: bytes
    now_ms: int


class Views(Frame, frozen=True):
    """The numbers this room has given to names of things looked at."""

    names: tuple[tuple[int, str], ...]


class Tick(Frame, frozen=True):
    """The newest position of everyone who moved: (slot, view, x, y, flags)."""

    tick: int
    cursors: tuple[tuple[int, int, int, int, int], ...]


class Heat(Frame, frozen=True):
    """How many cursors that one is not shown are in each tile of a thing, row by row; 255 stands for more."""

    view: int
    columns: int
    rows: int
    counts: bytes


class Pace(Frame, frozen=True):
    """How many milliseconds a client shall leave between two cursors."""

    send_ms: int


class Log(Frame, frozen=True):
    """Bytes of a job's log at `offset`; `size` is how many there are so far, `done` that no more will come."""

    job: str
    offset: int
    size: int
    done: bool
    data: bytes


class DraftState(Frame, frozen=True):
    """What a follower of a draft lacks: pieces of one Yjs update, and with the last the state vector of the record."""

    draft: str
    epoch: int
    sequence: int
    more: bool
    state: bytes
    update: bytes


class DraftUpdate(Frame, frozen=True):
    """A piece of an update that was kept as number `sequence` of its draft."""

    draft: str
    epoch: int
    sequence: int
    more: bool
    update: bytes


class DraftAware(Frame, frozen=True):
    """The awareness update of the member in a slot."""

    draft: str
    slot: int
    data: bytes


class DraftSaved(Frame, frozen=True):
    """The sender's update `mark` is kept, as number `sequence`."""

    draft: str
    mark: int
    sequence: int


class Told(Frame, frozen=True):
    """A frame of the server with a JSON body, by its kind."""

    kind: Kind
    body: Any


ClientFrame: TypeAlias = (
    Hello | SetPresence | Caption | Say | View | Cursor | FollowLog | Signal | Ping | Pong
    | OpenDraft | EditDraft | AwareDraft | CloseDraft
)  # fmt: skip
ServerFrame: TypeAlias = (
    Told | Views | Tick | Heat | Pace | Log | Signal | Ping | Pong | DraftState | DraftUpdate | DraftAware | DraftSaved
)
TOLD = frozenset(
    {
        Kind.WELCOME, Kind.LAG, Kind.PSNAP, Kind.PDELTA, Kind.MSG, Kind.ACK, Kind.REPLAY, Kind.GAP, Kind.EVENT,
        Kind.CAPTION, Kind.STANDING, Kind.APART, Kind.ICE, Kind.SFU, Kind.ERR, Kind.GOAWAY,
    }
)  # fmt: skip
