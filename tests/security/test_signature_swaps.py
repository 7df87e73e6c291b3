"""Between two valid signatures, no part of one can be put in the place of any part of another.

Every leaf of the envelope and of the statement inside, and every field the hub keeps beside it, is taken from one
record and put into each place of the other. What changes anything must no longer verify.
"""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from hub.notebook import dsse, rules, statement
from hub.notebook.rules import Attachment, EntryText
from hub.notebook.verify import Record, SignedKey, SignedVersion, verify


class Signed(msgspec.Struct, frozen=True):
    """A signature with everything it is judged by."""

    record: Record
    version: SignedVersion
    key: SignedKey


def signed(mark: str, *, version: int, meaning: statement.Meaning, custody: statement.Custody, hour: int) -> Signed:
    pair = dsse.make_key()
    at = dt.datetime(2024, 6, 1, hour, tzinfo=dt.UTC)
    files = (Attachment(f"{mark}.png", rules.digest(mark.encode())), Attachment(f"cluster:/{mark}", None))
    text = EntryText(f"Title {mark}", f"Content {mark}", (mark,), f"So {mark}")
    session, person, key_id, entry = (f"{kind}_{mark}" for kind in ("ses", "per", "key", "entry"))
    body = rules.body_bytes(text, files, session=session, author=person, previous=None)
    predicate = statement.Predicate(
        meaning=meaning,
        signer=person,
        key=key_id,
        custody=custody,
        session=session,
        entry=entry,
        version=version,
        at=at,
    )
    envelope = dsse.seal(statement.state(body, files, predicate), pair.private, key_id)
    return Signed(
        Record(
            envelope=envelope, person=person, key=key_id, meaning=meaning, custody=custody, stated_at=at, line=90 + hour
        ),
        SignedVersion(
            entry=entry,
            session=session,
            version=version,
            body=body,
            body_digest=rules.digest(body),
            attachments=files,
        ),
        SignedKey(id=key_id, person=person, public=pair.public, custody=custody, created_line=hour),
    )


ONE = signed("one", version=1, meaning="author", custody="hub", hour=9)
TWO = signed("two", version=2, meaning="witnessed", custody="client", hour=10)


def holds(each: Signed) -> bool:
    return verify(each.record, each.version, each.key).valid


def with_envelope(each: Signed, envelope: bytes) -> Signed:
    return msgspec.structs.replace(each, record=msgspec.structs.replace(each.record, envelope=envelope))


def opened(envelope: bytes) -> dict[str, Any]:
    """The envelope with its payload as an object, so that every leaf has a path."""
    outer = json.loads(envelope)
    return {**outer, "payload": json.loads(base64.b64decode(outer["payload"]))}


def closed(outer: dict[str, Any]) -> bytes:
    payload = json.dumps(outer["payload"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return json.dumps({**outer, "payload": base64.b64encode(payload).decode()}).encode()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for step, item in items:
            yield (*path, step)
            yield from leaves(item, (*path, step))


def get(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    copy = json.loads(json.dumps(value))
    get(copy, path[:-1])[path[-1]] = new
    return copy


def test_both_hold_and_writing_the_envelope_anew_changes_nothing() -> None:
    """Otherwise every swap below would fail for the wrong reason."""
    for each in (ONE, TWO):
        assert holds(each)
        assert holds(with_envelope(each, closed(opened(each.record.envelope))))


def test_no_leaf_of_one_envelope_fits_any_place_of_the_other() -> None:
    ours, theirs = opened(ONE.record.envelope), opened(TWO.record.envelope)
    places = list(leaves(ours))
    assert len(places) > 25
    swaps = 0
    for place, source in itertools.product(places, list(leaves(theirs))):
        new = get(theirs, source)
        if new == get(ours, place):
            continue
        swaps += 1
        assert not holds(with_envelope(ONE, closed(put(ours, place, new)))), (place, source)
    assert swaps >= len(places) * (len(places) - 1)


def test_no_leaf_fits_another_place_of_its_own_envelope() -> None:
    ours = opened(ONE.record.envelope)
    for place, source in itertools.permutations(list(leaves(ours)), 2):
        if get(ours, source) != get(ours, place):
            assert not holds(with_envelope(ONE, closed(put(ours, place, get(ours, source))))), (place, source)


def test_no_field_the_hub_keeps_can_come_from_the_other_record() -> None:
    may_differ = {
        ("record", "line"),  # an order, judged against the key's lines only
        ("key", "created_line"),
        ("key", "revoked_line"),
    }
    for part in ("record", "version", "key"):
        mine, other = getattr(ONE, part), getattr(TWO, part)
        for field in mine.__struct_fields__:
            if (part, field) in may_differ:
                continue
            assert getattr(mine, field) != getattr(other, field), "the two records must differ everywhere"
            swapped = msgspec.structs.replace(mine, **{field: getattr(other, field)})
            assert not holds(msgspec.structs.replace(ONE, **{part: swapped})), (part, field)


def test_no_pair_of_fields_taken_together_fits_either() -> None:
    """Two changes may not cancel out: not the key with its signature, not the text with its digest."""
    fields = [
        (part, field)
        for part in ("record", "version", "key")
        for field in getattr(ONE, part).__struct_fields__
        if field not in {"line", "created_line", "revoked_line"}
    ]
    for pair in itertools.combinations(fields, 2):
        swapped = ONE
        for part, field in pair:
            replaced = msgspec.structs.replace(getattr(swapped, part), **{field: getattr(getattr(TWO, part), field)})
            swapped = msgspec.structs.replace(swapped, **{part: replaced})
        assert not holds(swapped), pair


def test_no_whole_part_can_be_exchanged() -> None:
    for part in ("record", "version", "key"):
        assert not holds(msgspec.structs.replace(ONE, **{part: getattr(TWO, part)})), part


def test_every_flipped_bit_of_signature_payload_and_text_is_noticed() -> None:
    sealed = dsse.unseal(ONE.record.envelope)
    outer = json.loads(ONE.record.envelope)
    for index in range(len(sealed.signature)):
        broken = bytearray(sealed.signature)
        broken[index] ^= 1 << (index % 8)
        outer["signatures"][0]["sig"] = base64.b64encode(broken).decode()
        assert not holds(with_envelope(ONE, json.dumps(outer).encode()))
    outer = json.loads(ONE.record.envelope)
    for index in range(len(sealed.payload)):
        broken = bytearray(sealed.payload)
        broken[index] ^= 1 << (index % 8)
        outer["payload"] = base64.b64encode(broken).decode()
        assert not holds(with_envelope(ONE, json.dumps(outer).encode()))
    for index in range(len(ONE.version.body)):
        broken = bytearray(ONE.version.body)
        broken[index] ^= 1 << (index % 8)
        version = msgspec.structs.replace(ONE.version, body=bytes(broken))
        assert not holds(msgspec.structs.replace(ONE, version=version))
