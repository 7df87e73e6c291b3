"""`static/protocol.md` is the contract: every kind, size, rate, field and close code in it is the code's own."""

import re
from pathlib import Path

import msgspec
import pytest

from hub.live import frames, protocol
from hub.live.buckets import ALLOWANCE
from hub.live.closing import Closing, may_reconnect
from hub.live.frames import MAX_FRAME_BYTES, TOLD, Kind

PAGE = (Path(__file__).parents[2] / "static" / "protocol.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| `0x([0-9a-f]{2})` \| (\w+) \| (client|hub|both) \| (.*) \|(?: (\d+))? \|(?: (\d[\d., ]*))? \|$", re.MULTILINE
)
KINDS = {name: (int(number, 16), who, body, size, rate) for number, name, who, body, size, rate in ROW.findall(PAGE)}
FIELDS = {
    Kind.HELLO: (frames.Hello, frames.Resume),
    Kind.PSET: (frames.SetPresence,),
    Kind.MSG: (frames.Say,),
}


def test_every_kind_stands_in_the_table_once() -> None:
    assert {name: number for name, (number, *_) in KINDS.items()} == {kind.name: int(kind) for kind in Kind}
    assert len(ROW.findall(PAGE)) == len(Kind)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_who_sends_it_how_large_and_how_often(kind: Kind) -> None:
    _, who, _, size, rate = KINDS[kind.name]
    from_client, from_hub = kind in protocol._CLIENT, kind in TOLD or kind in protocol._SERVER
    assert {"client": (True, False), "hub": (False, True), "both": (True, True)}[who] == (from_client, from_hub)
    if not from_client:
        assert (size, rate) == ("", "")
        return
    assert int(size) == min(protocol._CLIENT[kind][1], MAX_FRAME_BYTES)
    per_second, burst = (float(number) for number in rate.split(", "))
    assert (per_second, burst) == ALLOWANCE[kind]


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.name)
def test_every_field_a_client_may_send_is_named(kind: Kind) -> None:
    for shape in FIELDS[kind]:
        for field in msgspec.structs.fields(shape):
            assert f"`{field.name}`" in KINDS[kind.name][2]


def test_every_close_code_says_whether_to_come_back() -> None:
    rows = re.findall(r"^\| (4\d{3}) \| (\w+) \| (yes|no)", PAGE, re.MULTILINE)
    assert [(int(code), name) for code, name, _ in rows] == [(int(code), code.name) for code in Closing]
    assert all((answer == "yes") == may_reconnect(int(code)) for code, _, answer in rows)


def test_the_most_a_frame_may_have_is_the_servers_own() -> None:
    assert f"{MAX_FRAME_BYTES:,} bytes" in PAGE
