"""The statement that is signed, the envelope it travels in, and the verdict on both."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from hub.core.errors import HubError, InvalidInput, NotAllowed
from hub.notebook import dsse, rules, statement
from hub.notebook.rules import Attachment, EntryText
from hub.notebook.statement import Predicate
from hub.notebook.verify import Record, SignedKey, SignedVersion, verify

AT = dt.datetime(2024, 6, 1, 12, 0, tzinfo=dt.UTC)
TEXT = EntryText("Quantum Oscillator", "E_n = (n + 1/2)ℏω", ("cas", "plot"), "equidistant")
FIGURE = Attachment("levels.png", "a" * 64)
ELSEWHERE = Attachment("kepler:/scratch/big.h5", None)
PAIR = dsse.make_key()


def body(text: EntryText = TEXT, attachments: tuple[Attachment, ...] = (FIGURE,), previous: str | None = None) -> bytes:
    return rules.body_bytes(text, attachments, session="ses_1", author="per_1", previous=previous)


def predicate(**changed: Any) -> Predicate:
    return msgspec.structs.replace(
        Predicate(
            meaning="author",
            signer="per_1",
            key="key_1",
            custody="hub",
            session="ses_1",
            entry="entry_1",
            version=1,
            at=AT,
        ),
        **changed,
    )


KEY = SignedKey(id="key_1", person="per_1", public=PAIR.public, custody="hub", created_line=4)


def version(attachments: tuple[Attachment, ...] = (FIGURE,), **changed: Any) -> SignedVersion:
    kept = SignedVersion(
        entry="entry_1",
        session="ses_1",
        version=1,
        body=body(attachments=attachments),
        body_digest=rules.digest(body(attachments=attachments)),
        attachments=attachments,
    )
    return msgspec.structs.replace(kept, **changed)


def record(payload: bytes | None = None, **changed: Any) -> Record:
    payload = payload or statement.state(body(), (FIGURE,), predicate())
    kept = Record(
        envelope=dsse.seal(payload, PAIR.private, "key_1"),
        person="per_1",
        key="key_1",
        meaning="author",
        custody="hub",
        stated_at=AT,
        line=7,
    )
    return msgspec.structs.replace(kept, **changed)


def test_the_same_text_gives_the_same_bytes_and_any_difference_gives_others() -> None:
    assert body() == body()
    others = [
        body(EntryText("Quantum Oscillator", TEXT.content, TEXT.tools_used, "")),
        body(EntryText(TEXT.title, TEXT.content + " ", TEXT.tools_used, TEXT.conclusions)),
        body(EntryText(TEXT.title, TEXT.content, ("plot", "cas"), TEXT.conclusions)),
        body(attachments=()),
        body(attachments=(Attachment("levels.png", "b" * 64),)),
        body(previous="c" * 64),
    ]
    assert len({body(), *others}) == len(others) + 1


def test_body_bytes_are_the_documented_json() -> None:
    assert json.loads(body()) == {
        "type": "urn:collegium:entry:v1",
        "session": "ses_1",
        "author": "per_1",
        "title": "Quantum Oscillator",
        "content": "E_n = (n + 1/2)ℏω",
        "tools_used": ["cas", "plot"],
        "conclusions": "equidistant",
        "attachments": [{"name": "levels.png", "sha256": "a" * 64}],
        "previous": None,
    }
    canonical = json.dumps(json.loads(body()), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical.encode() == body()


def test_a_statement_is_in_toto_v1_over_text_and_attachments() -> None:
    stated = json.loads(statement.state(body(), (FIGURE, ELSEWHERE), predicate()))
    assert stated["_type"] == "https://in-toto.io/Statement/v1"
    assert stated["predicateType"] == "urn:collegium:signature:v1"
    assert stated["subject"] == [
        {"name": "urn:collegium:entry:body", "digest": {"sha256": rules.digest(body())}},
        {"name": "levels.png", "digest": {"sha256": "a" * 64}},
    ]
    assert stated["predicate"]["locations"] == ["kepler:/scratch/big.h5"]
    assert stated["predicate"]["at"] == "2024-06-01T12:00:00Z"


def test_an_envelope_is_what_dsse_says_it_is() -> None:
    """Checked against the specification itself, with neither our code nor the library's in between."""
    payload = statement.state(body(), (FIGURE,), predicate())
    outer = json.loads(dsse.seal(payload, PAIR.private, "key_1"))
    assert base64.b64decode(outer["payload"]) == payload
    kind = outer["payloadType"].encode()
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    assert dsse.to_be_signed(payload) == pae
    public = Ed25519PublicKey.from_public_bytes(PAIR.public)
    public.verify(base64.b64decode(outer["signatures"][0]["sig"]), pae)
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(outer["signatures"][0]["sig"]), payload)


def test_a_signature_that_holds_says_what_it_covers() -> None:
    found = verify(record(), version(), KEY)
    assert found.valid
    assert all(check.holds for check in found.checks)
    assert "covers 1 attachment by digest" in [check.words for check in found.checks]


def test_data_cited_by_place_is_said_not_to_be_signed() -> None:
    attachments = (FIGURE, ELSEWHERE)
    payload = statement.state(body(attachments=attachments), attachments, predicate())
    found = verify(record(payload), version(attachments), KEY)
    assert found.valid
    assert any("1 by location only, content not signed" in check.words for check in found.checks)


@pytest.mark.parametrize(
    ("kept", "of_version", "key", "failing"),
    [
        pytest.param({"envelope": b"professor_digital_signature"}, {}, {}, "envelope", id="not an envelope"),
        pytest.param({"person": "per_2"}, {}, {}, "signer", id="record names another person"),
        pytest.param({}, {}, {"person": "per_2"}, "signer", id="key given to another person"),
        pytest.param({"key": "key_2"}, {}, {}, "key", id="record names another key"),
        pytest.param({}, {}, {"id": "key_2"}, "key", id="key renamed"),
        pytest.param({"custody": "client"}, {}, {}, "key", id="custody raised in the record"),
        pytest.param({}, {}, {"custody": "client"}, "key", id="custody raised in the key"),
        pytest.param({}, {}, {"public": dsse.make_key().public}, "signature", id="public key replaced"),
        pytest.param({}, {}, {"public": bytes(32)}, "signature", id="public key of small order"),
        pytest.param({"meaning": "witnessed"}, {}, {}, "meaning", id="another meaning"),
        pytest.param({"stated_at": AT + dt.timedelta(microseconds=1)}, {}, {}, "time", id="another time"),
        pytest.param({}, {"entry": "entry_2"}, {}, "record", id="moved to another entry"),
        pytest.param({}, {"version": 2}, {}, "record", id="moved to another version"),
        pytest.param({}, {"session": "ses_2"}, {}, "record", id="moved to another session"),
        pytest.param({}, {"body": b"{}"}, {}, "text", id="text changed"),
        pytest.param({}, {"body": b"{}", "body_digest": rules.digest(b"{}")}, {}, "text", id="text and digest changed"),
        pytest.param({}, {"attachments": ()}, {}, "attachments", id="attachment taken away"),
        pytest.param({}, {"attachments": (FIGURE, FIGURE)}, {}, "attachments", id="attachment doubled"),
        pytest.param(
            {}, {"attachments": (Attachment("levels.png", "b" * 64),)}, {}, "attachments", id="attachment replaced"
        ),
        pytest.param({}, {"attachments": (FIGURE, ELSEWHERE)}, {}, "attachments", id="place added"),
        pytest.param({}, {"attachments": (Attachment("x.png", "a" * 64),)}, {}, "attachments", id="attachment renamed"),
        pytest.param({}, {}, {"revoked_line": 6}, "ledger", id="key revoked before"),
        pytest.param({"line": 3}, {}, {}, "ledger", id="signed before there was a key"),
        pytest.param({"line": None}, {}, {}, "ledger", id="no line in the ledger"),
    ],
)
def test_each_defect_fails_its_check(
    kept: dict[str, Any], of_version: dict[str, Any], key: dict[str, Any], failing: str
) -> None:
    found = verify(record(**kept), version(**of_version), msgspec.structs.replace(KEY, **key))
    assert not found.valid
    assert failing in {check.name for check in found.checks if not check.holds}
    assert found.words.startswith("Not valid: ")


def test_what_a_key_signed_before_it_was_revoked_stays_valid() -> None:
    found = verify(record(line=7), version(), msgspec.structs.replace(KEY, revoked_line=8))
    assert found.valid
    assert any("revoked later" in check.words for check in found.checks)


def test_a_statement_made_before_the_entry_had_an_id_is_good_for_a_first_version_only() -> None:
    payload = statement.state(body(), (FIGURE,), predicate(entry=statement.NEW_ENTRY))
    assert verify(record(payload), version(), KEY).valid
    second = statement.state(body(), (FIGURE,), predicate(entry=statement.NEW_ENTRY, version=2))
    assert not verify(record(second), version(version=2), KEY).valid


def _envelope(**changed: Any) -> bytes:
    outer = json.loads(record().envelope)
    return json.dumps({**outer, **changed}).encode()


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"payload":"' + b"A" * dsse.ENVELOPE_BYTES + b'"}',
        _envelope(signatures=[]),
        _envelope(signatures=json.loads(record().envelope)["signatures"] * 2),
        _envelope(signatures=[{"keyid": "key_1", "sig": "not base64!"}]),
        _envelope(payload="é"),
        _envelope(extra=1),
        _envelope(payload=None),
    ],
)
def test_what_is_no_envelope_is_refused(envelope: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        dsse.unseal(envelope)
    assert refused.value.code == "bad_envelope"


def _payload(**changed: Any) -> bytes:
    return json.dumps({**json.loads(statement.state(body(), (), predicate())), **changed}).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b" " * (statement.STATEMENT_BYTES + 1),
        _payload(_type="https://in-toto.io/Statement/v0.1"),
        _payload(predicateType="https://slsa.dev/provenance/v1"),
        _payload(extra=1),
        _payload().replace(b'"version": 1', b'"version": 1, "version": 2'),
        _payload().replace(b'"meaning": "author"', b'"meaning": "approved"'),
        _payload().replace(b"12:00:00Z", b"12:00:00"),
        _payload().replace(b"2024-06-01T12:00:00Z", b"yesterday"),
        _payload().replace(b'"version": 1', b'"version": "1"'),
    ],
)
def test_what_is_no_statement_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        statement.read(payload)
    assert refused.value.code == "bad_statement"


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(noise: bytes) -> None:
    for read in (dsse.unseal, statement.read):
        with contextlib.suppress(InvalidInput):
            read(noise)
    assert not verify(record(envelope=noise), version(), KEY).valid


def test_keys_under_which_everything_would_fit_are_no_keys() -> None:
    """The points of small order, computed from the curve rather than listed."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    i = pow(2, (p - 1) // 4, p)

    def roots(square: int) -> list[int]:
        root = pow(square, (p + 3) // 8, p)
        root = root if root * root % p == square else root * i % p
        return [root, p - root] if root * root % p == square else []

    inverse = pow(d, -1, p)
    of_order_8 = [y for s in roots((1 + d) % p) for y in roots((s - 1) * inverse % p)]
    assert len(of_order_8) == 2
    for y in [0, 1, p - 1, p, p + 1, *of_order_8]:
        for sign in (0, 1 << 255):
            assert not dsse.is_sound_key((y | sign).to_bytes(32, "little"))
    assert dsse.is_sound_key(PAIR.public)
    assert not dsse.is_sound_key(PAIR.public[:31])


def test_who_may_sign_as_what() -> None:
    rules.check_meaning("author", "ana", {"ana", "ben"}, "ben")
    rules.check_meaning("reviewed", "eva", {"ana"}, "ana")
    rules.check_meaning("witnessed", "ana", {"ana", "ben"}, "ben")
    rules.check_meaning("rejected", "ana", {"ana"}, "ana")
    for meaning, signer in (("author", "eva"), ("reviewed", "ana"), ("witnessed", "ana")):
        with pytest.raises(NotAllowed):
            rules.check_meaning(meaning, signer, {"ana"}, "ana")


def test_a_stated_time_may_be_a_little_off_but_not_impossible() -> None:
    minute, day = dt.timedelta(minutes=1), dt.timedelta(days=1)
    rules.check_stated_time(AT + 4 * minute, AT, AT)
    rules.check_stated_time(AT - 20 * 60 * minute, AT, AT)
    rules.check_stated_time(AT, AT, AT + 30 * day)
    for stated in (AT + 6 * minute, AT - 2 * day):
        with pytest.raises(InvalidInput):
            rules.check_stated_time(stated, AT, AT)


@pytest.mark.parametrize(
    ("entry", "artifacts", "path"),
    [
        (EntryText("", "x"), (), "$.entry.title"),
        (EntryText("  ", "x"), (), "$.entry.title"),
        (EntryText("t" * 301, "x"), (), "$.entry.title"),
        (EntryText("a\nb", "x"), (), "$.entry.title"),
        (EntryText("a\u202egnp.exe", "x"), (), "$.entry.title"),
        (EntryText("a\u2028b", "x"), (), "$.entry.title"),
        (EntryText("a\x1b[31m", "x"), (), "$.entry.title"),
        (EntryText("a", "nul \x00"), (), "$.entry.content"),
        (EntryText("a", "half \ud800"), (), "$.entry.content"),
        (EntryText("a", "x" * 200_001), (), "$.entry.content"),
        (EntryText("a", "x", (), "c" * 20_001), (), "$.entry.conclusions"),
        (EntryText("a", "x", ("t",) * 2), (), "$.entry.tools_used[1]"),
        (EntryText("a", "x", tuple(map(str, range(101)))), (), "$.entry.tools_used"),
        (EntryText("a", "x", ("t" * 201,)), (), "$.entry.tools_used[0]"),
        (EntryText("a", "x", ("ok", " ")), (), "$.entry.tools_used[1]"),
        (EntryText("a", "x"), ("a.png", "a.png"), "$.entry.artifacts[1]"),
        (EntryText("a", "x"), ("p" * 1025,), "$.entry.artifacts[0]"),
        (EntryText("a", "x"), tuple(map(str, range(501))), "$.entry.artifacts"),
    ],
)
def test_what_an_entry_cannot_hold_is_refused_by_place(entry: EntryText, artifacts: tuple[str, ...], path: str) -> None:
    with pytest.raises(HubError) as refused:
        rules.check_entry(entry, artifacts, "$.entry")
    assert refused.value.path == path
    assert refused.value.status == 400
    assert str(refused.value).isprintable()


def test_html_and_any_script_may_stand_in_an_entry() -> None:
    text = EntryText("<script>alert(1)</script> المذبذب 量子", "line\r\n\ttab", ("numpy 2.1",), "ℏω")
    rules.check_entry(text, ("<b>.png",), "$.entry")
