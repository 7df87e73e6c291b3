"""The wire protocol of a room: bytes in, frames out, and back. It knows no socket, no clock, no room.

A frame is one binary WebSocket message; its first byte is the kind. What is sent thirty times a second (cursors, log
bytes) has a binary body with big-endian numbers; what is rare has a JSON body, strictly typed where a client sends it.
`static/js/protocol.js` is the same module for browsers, and both are held to the same vectors.

Whatever the bytes are, `parse_client` returns a frame or raises `ProtocolError`, nothing else.
"""

from collections.abc import Callable, Sequence
from struct import Struct as Layout
from struct import error as LayoutError
from typing import Any

import msgspec

from hub.live.closing import Closing
from hub.live.frames import (
    MAX_FRAME_BYTES,
    MAX_HEAT_TILES,
    MAX_ID_BYTES,
    MAX_VIEW_NAME_BYTES,
    MAX_VIEWS,
    TOLD,
    AwareDraft,
    Caption,
    ClientFrame,
    CloseDraft,
    Cursor,
    DraftAware,
    DraftSaved,
    DraftState,
    DraftUpdate,
    EditDraft,
    FollowLog,
    Heat,
    Hello,
    Kind,
    Log,
    OpenDraft,
    Pace,
    Ping,
    Pong,
    Say,
    ServerFrame,
    SetPresence,
    Signal,
    Tick,
    Told,
    View,
    Views,
)


class ProtocolError(Exception):
    """The peer sent what the protocol does not allow; `code` is the close code it earns."""

    def __init__(self, text: str, code: Closing = Closing.INVALID) -> None:
        super().__init__(text)
        self.code = code


_CURSOR = Layout(">BHHBB")
_TICK = Layout(">BHB")
_SPOT = Layout(">HBHHB")
_PACE = Layout(">H")
_LOG = Layout(">BQQB")
_FOLLOW = Layout(">BQ")
_SIGNAL = Layout(">HI")
_HEAT = Layout(">BBB")
_OPEN = Layout(">I")
_EDIT = Layout(">IIB")
_STATE = Layout(">IQBH")
_UPDATE = Layout(">IQB")
_SAVED = Layout(">IQ")
_PONG = Layout(">8sQ")
_json = msgspec.json.Encoder()


class _SignalBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a signal may hold. Decoded only to be sure that it is one."""

    desc: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    cand: dict[str, str | int | None] | msgspec.UnsetType | None = msgspec.UNSET
    bye: bool | msgspec.UnsetType = msgspec.UNSET
    restart: bool | msgspec.UnsetType = msgspec.UNSET


_hello = msgspec.json.Decoder(Hello)
_set_presence = msgspec.json.Decoder(SetPresence)
_caption = msgspec.json.Decoder(Caption)
_say = msgspec.json.Decoder(Say)
_signal_body = msgspec.json.Decoder(_SignalBody)


def parse_client(data: bytes) -> ClientFrame:
    """One message of a client as a frame.

    :raises ProtocolError: for any bytes that are not exactly one well-formed frame of a client.
    """
    parse, limit = _client_parser(data)
    if len(data) > limit:
        raise ProtocolError(f"a frame of kind {data[0]:#04x} may have at most {limit} bytes", Closing.TOO_LARGE)
    try:
        return parse(data[1:])
    except (msgspec.MsgspecError, LayoutError, ValueError, RecursionError, IndexError) as error:
        raise ProtocolError(f"malformed frame of kind {data[0]:#04x}: {error}") from None


def _client_parser(data: bytes) -> tuple[Callable[[bytes], ClientFrame], int]:
    if not data:
        raise ProtocolError("an empty message is no frame")
    found = _CLIENT.get(data[0])
    if found is None:
        raise ProtocolError(f"unknown kind {data[0]:#04x}")
    return found


def parse_server(data: bytes) -> ServerFrame:
    """One message of a server as a frame; for clients and for tests.

    :raises ProtocolError: for any bytes that are not exactly one well-formed frame of a server.
    """
    if not data:
        raise ProtocolError("an empty message is no frame")
    body = data[1:]
    try:
        kind = Kind(data[0])
        if kind in TOLD:
            return Told(kind, msgspec.json.decode(body))
        return _SERVER[kind](body)
    except (msgspec.MsgspecError, LayoutError, ValueError, RecursionError, IndexError, KeyError) as error:
        raise ProtocolError(f"malformed frame of kind {data[0]:#04x}: {error}") from None


def told(kind: Kind, body: object) -> bytes:
    """The bytes of a JSON frame of the server."""
    return bytes((kind,)) + _json.encode(body)


def encode(frame: ClientFrame | ServerFrame) -> bytes:
    """The bytes of any frame: the inverse of the two parsers."""
    return _ENCODE[type(frame)](frame)


def encode_tick(tick: int, cursors: Sequence[tuple[int, int, int, int, int]]) -> bytes:
    """A TICK; apart from `encode` because it is built thirty times a second."""
    pack = _SPOT.pack
    return _TICK.pack(Kind.TICK, tick & 0xFFFF, len(cursors)) + b"".join([pack(*cursor) for cursor in cursors])


def websocket_frame(payload: bytes) -> bytes:
    """The payload as one unmasked, uncompressed binary WebSocket frame, as a server sends it (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x82, size)) + payload
    if size < 65536:
        return b"\x82\x7e" + size.to_bytes(2, "big") + payload
    return b"\x82\x7f" + size.to_bytes(8, "big") + payload


def payloads(framed: bytes) -> list[bytes]:
    """The payloads of joined frames made by `websocket_frame`: its inverse, for servers without a raw transport."""
    found, at = [], 0
    while at < len(framed):
        size, at = framed[at + 1], at + 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(framed[at : at + width], "big"), at + width
        found.append(framed[at : at + size])
        at += size
    return found


def _short(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


def _read_short(body: bytes, at: int) -> tuple[str, int]:
    size = body[at]
    if not 0 < size <= MAX_VIEW_NAME_BYTES or at + 1 + size > len(body):
        raise ValueError("a name does not fit")
    return body[at + 1 : at + 1 + size].decode(), at + 1 + size


def _whole(body: bytes, at: int) -> None:
    if at != len(body):
        raise ValueError("bytes are left over")


def _id(raw: bytes) -> str:
    if not 0 < len(raw) <= MAX_ID_BYTES:
        raise ValueError("an id has 1 to 64 bytes")
    return raw.decode("ascii")


def _parse_view(body: bytes) -> View:
    count, at, names = body[0], 1, []
    if count > MAX_VIEWS:
        raise ValueError(f"at most {MAX_VIEWS} things at once")
    for _ in range(count):
        name, at = _read_short(body, at)
        names.append(name)
    _whole(body, at)
    return View(tuple(names))


def _parse_views(body: bytes) -> Views:
    count, at, names = body[0], 1, []
    for _ in range(count):
        number = body[at]
        name, at = _read_short(body, at + 1)
        names.append((number, name))
    _whole(body, at)
    return Views(tuple(names))


def _parse_cursor(body: bytes) -> Cursor:
    return Cursor(*_CURSOR.unpack(body))


def _parse_tick(body: bytes) -> Tick:
    tick, count = int.from_bytes(body[:2], "big"), body[2]
    _whole(body, 3 + count * _SPOT.size)
    return Tick(tick, tuple(_SPOT.iter_unpack(body[3:])))


def _parse_follow(body: bytes) -> FollowLog:
    on, offset = _FOLLOW.unpack_from(body)
    if on > 1 or offset >= 1 << 53:
        raise ValueError("not a switch or not an offset")
    return FollowLog(_id(body[_FOLLOW.size :]), offset, bool(on))


def _parse_log(body: bytes) -> Log:
    done, offset, size, width = _LOG.unpack_from(body)
    job = body[_LOG.size : _LOG.size + width]
    if len(job) != width or done > 1:
        raise ValueError("not a log frame")
    return Log(_id(job), offset, size, bool(done), body[_LOG.size + width :])


def _parse_signal(body: bytes) -> Signal:
    peer, generation = _SIGNAL.unpack_from(body)
    signal = body[_SIGNAL.size :]
    holds = _signal_body.decode(signal)
    parts = (holds.desc, holds.cand, holds.bye, holds.restart)
    if sum(part is not msgspec.UNSET for part in parts) != 1:
        raise ValueError("a signal is exactly one of desc, cand, bye, restart")
    return Signal(peer, generation, signal)


def _named(body: bytes) -> tuple[str, int]:
    """The id a draft's frame begins with, and where the rest begins."""
    width = body[0]
    if len(body) < 1 + width:
        raise ValueError("an id does not fit")
    return _id(body[1 : 1 + width]), 1 + width


def _switch(value: int) -> bool:
    if value > 1:
        raise ValueError("neither yes nor no")
    return value == 1


def _parse_heat(body: bytes) -> Heat:
    view, columns, rows = _HEAT.unpack_from(body)
    if not 0 < columns * rows <= MAX_HEAT_TILES:
        raise ValueError("too many tiles")
    _whole(body, _HEAT.size + columns * rows)
    return Heat(view, columns, rows, body[_HEAT.size :])


def _parse_open(body: bytes) -> OpenDraft:
    draft, at = _named(body)
    (epoch,) = _OPEN.unpack_from(body, at)
    return OpenDraft(draft, epoch, body[at + _OPEN.size :])


def _parse_edit(body: bytes) -> EditDraft:
    draft, at = _named(body)
    epoch, mark, more = _EDIT.unpack_from(body, at)
    return EditDraft(draft, epoch, mark, _switch(more), body[at + _EDIT.size :])


def _parse_aware(body: bytes) -> AwareDraft:
    draft, at = _named(body)
    return AwareDraft(draft, body[at:])


def _parse_close(body: bytes) -> CloseDraft:
    draft, at = _named(body)
    _whole(body, at)
    return CloseDraft(draft)


def _parse_state(body: bytes) -> DraftState:
    draft, at = _named(body)
    epoch, sequence, more, width = _STATE.unpack_from(body, at)
    at += _STATE.size
    if len(body) < at + width:
        raise ValueError("a state vector does not fit")
    return DraftState(draft, epoch, sequence, _switch(more), body[at : at + width], body[at + width :])


def _parse_update(body: bytes) -> DraftUpdate:
    draft, at = _named(body)
    epoch, sequence, more = _UPDATE.unpack_from(body, at)
    return DraftUpdate(draft, epoch, sequence, _switch(more), body[at + _UPDATE.size :])


def _parse_their_aware(body: bytes) -> DraftAware:
    draft, at = _named(body)
    if len(body) < at + 2:
        raise ValueError("a slot has two bytes")
    return DraftAware(draft, int.from_bytes(body[at : at + 2], "big"), body[at + 2 :])


def _parse_saved(body: bytes) -> DraftSaved:
    draft, at = _named(body)
    return DraftSaved(draft, *_SAVED.unpack(body[at:]))


def _parse_ping(body: bytes) -> Ping:
    if len(body) != 8:
        raise ValueError("a ping carries eight bytes")
    return Ping(body)


def _parse_pong(body: bytes) -> Pong:
    return Pong(*_PONG.unpack(body))


_CLIENT: dict[int, tuple[Callable[[bytes], ClientFrame], int]] = {
    Kind.HELLO: (_hello.decode, 1024),
    Kind.VIEW: (_parse_view, 2 + MAX_VIEWS * (1 + MAX_VIEW_NAME_BYTES)),
    Kind.CUR: (_parse_cursor, 1 + _CURSOR.size),
    Kind.PSET: (_set_presence.decode, 256),
    Kind.MSG: (_say.decode, 20 * 1024),
    Kind.CAPTION: (_caption.decode, 1024),
    Kind.FOLLOW_LOG: (_parse_follow, 1 + _FOLLOW.size + MAX_ID_BYTES),
    Kind.YSYNC: (_parse_open, MAX_FRAME_BYTES),
    Kind.YUPD: (_parse_edit, MAX_FRAME_BYTES),
    Kind.YAWARE: (_parse_aware, 4 * 1024),
    Kind.YSTOP: (_parse_close, 2 + MAX_ID_BYTES),
    Kind.RTC: (_parse_signal, 32 * 1024),
    Kind.PING: (_parse_ping, 9),
    Kind.PONG: (_parse_pong, 1 + _PONG.size),
}

_SERVER: dict[Kind, Callable[[bytes], ServerFrame]] = {
    Kind.VIEWS: _parse_views,
    Kind.TICK: _parse_tick,
    Kind.HEAT: _parse_heat,
    Kind.YSYNC: _parse_state,
    Kind.YUPD: _parse_update,
    Kind.YAWARE: _parse_their_aware,
    Kind.YACK: _parse_saved,
    Kind.PACE: lambda body: Pace(*_PACE.unpack(body)),
    Kind.LOG: _parse_log,
    Kind.RTC: _parse_signal,
    Kind.PING: _parse_ping,
    Kind.PONG: _parse_pong,
}

_ENCODE: dict[type, Callable[[Any], bytes]] = {
    Told: lambda frame: told(frame.kind, frame.body),
    Hello: lambda frame: told(Kind.HELLO, frame),
    SetPresence: lambda frame: told(Kind.PSET, frame),
    Say: lambda frame: told(Kind.MSG, frame),
    Caption: lambda frame: told(Kind.CAPTION, frame),
    OpenDraft: lambda f: bytes((Kind.YSYNC,)) + _short(f.draft) + _OPEN.pack(f.epoch) + f.state,
    EditDraft: lambda f: bytes((Kind.YUPD,)) + _short(f.draft) + _EDIT.pack(f.epoch, f.mark, f.more) + f.update,
    AwareDraft: lambda f: bytes((Kind.YAWARE,)) + _short(f.draft) + f.data,
    CloseDraft: lambda f: bytes((Kind.YSTOP,)) + _short(f.draft),
    DraftState: lambda f: (
        bytes((Kind.YSYNC,))
        + _short(f.draft)
        + _STATE.pack(f.epoch, f.sequence, f.more, len(f.state))
        + f.state
        + f.update
    ),
    DraftUpdate: lambda f: bytes((Kind.YUPD,)) + _short(f.draft) + _UPDATE.pack(f.epoch, f.sequence, f.more) + f.update,
    DraftAware: lambda f: bytes((Kind.YAWARE,)) + _short(f.draft) + f.slot.to_bytes(2, "big") + f.data,
    DraftSaved: lambda f: bytes((Kind.YACK,)) + _short(f.draft) + _SAVED.pack(f.mark, f.sequence),
    Heat: lambda f: bytes((Kind.HEAT,)) + _HEAT.pack(f.view, f.columns, f.rows) + f.counts,
    Cursor: lambda f: bytes((Kind.CUR,)) + _CURSOR.pack(f.view, f.x, f.y, f.flags, f.sequence),
    View: lambda frame: bytes((Kind.VIEW, len(frame.names))) + b"".join(map(_short, frame.names)),
    Views: lambda frame: (
        bytes((Kind.VIEWS, len(frame.names)))
        + b"".join(bytes((number,)) + _short(name) for number, name in frame.names)
    ),
    Tick: lambda frame: encode_tick(frame.tick, frame.cursors),
    Pace: lambda frame: bytes((Kind.PACE,)) + _PACE.pack(frame.send_ms),
    FollowLog: lambda f: bytes((Kind.FOLLOW_LOG,)) + _FOLLOW.pack(f.on, f.offset) + f.job.encode(),
    Log: lambda f: bytes((Kind.LOG,)) + _LOG.pack(f.done, f.offset, f.size, len(f.job)) + f.job.encode() + f.data,
    Signal: lambda frame: bytes((Kind.RTC,)) + _SIGNAL.pack(frame.peer, frame.generation) + frame.body,
    Ping: lambda frame: bytes((Kind.PING,)) + frame.mark,
    Pong: lambda frame: bytes((Kind.PONG,)) + _PONG.pack(frame.mark, frame.now_ms),
}
