"""Signing: by a hub-held key in a window, by a key of one's own, and every way in which nothing is signed."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, TamperDetected
from hub.core.house import House
from hub.notebook import dsse, keys, proofs, rules, statement, views, windows
from hub.notebook.rules import EntryText
from hub.notebook.tables import entries, signatures, signing_keys, signing_windows
from hub.perform import perform as perform_action
from tests.actions.notebook_fixtures import (
    ENTRY,
    PLAIN,
    detached,
    grant,
    personal,
    seed_files,
    signed_in,
    step_up_code,
)
from tests.conftest import NOW, Perform

NAME = "professor_digital_signature"


def stored(house: House) -> tuple[int, int]:
    """How many entries and signatures there are."""
    with house.db.read() as conn:
        counted = [conn.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in (entries, signatures)]
    return counted[0], counted[1]


def tamper(house: House, change: sa.Update) -> None:
    with house.db.write_engine.begin() as conn:
        conn.execute(change)


def verified(house: House, actor: Actor, ref: str, version: int | None = None) -> proofs.EntryVerification:
    with house.scope(actor) as scope:
        return proofs.verification(scope, ref, version)


def open_window(house: House, perform: Perform, actor: Actor, key: str = NAME) -> Any:
    return perform(actor, "signing_window", key=key, code=step_up_code(house, actor))


def own_key(house: House, perform: Perform, person: Actor, name: str = "laptop") -> tuple[str, bytes]:
    """A client-held key: its id and private half."""
    pair = dsse.make_key()
    made = perform(signed_in(person, house.clock.now()), "key_create", name=name, public=pair.public.hex())
    return made["key"], pair.private


@pytest.fixture
def perform(house: House) -> Perform:
    """As the common one, with `key` meaning a signing key."""

    def do(actor: Actor, action: str, **params: Any) -> Any:
        envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        return perform_action(house, envelope, actor).result

    return do


@pytest.fixture
def signer(house: House, ana: Actor, perform: Perform) -> Actor:
    """Ana with the seed's key and an open window."""
    perform(ana, "key_create", name=NAME)
    open_window(house, perform, ana)
    return ana


def test_the_seed_entry_is_written_signed_and_verified(house: House, signer: Actor, perform: Perform) -> None:
    seed_files(house, signer)
    written = perform(signer, "lab_notebook", entry=ENTRY, signature=NAME)
    signature = written["signature"]
    assert signature["valid"]
    assert (signature["meaning"], signature["custody"], signature["key_name"]) == ("author", "hub", NAME)
    assert signature["custody_words"] == "Key held by this hub: lower assurance"
    found = verified(house, signer, written["entry"])
    assert found.valid
    assert found.signed
    assert found.words == "Verified: signed once, and the text and every attachment are what was signed."
    assert found.signatures[0].signature.line is not None
    assert "covers 2 attachments by digest" in [c.words for c in found.signatures[0].signature.checks]


def test_a_signature_can_be_checked_without_the_hub(house: House, signer: Actor, perform: Perform) -> None:
    seed_files(house, signer)
    written = perform(signer, "lab_notebook", entry=ENTRY, signature=NAME)
    found = verified(house, signer, written["entry"])
    one = found.signatures[0]
    sealed = dsse.unseal(base64.b64decode(one.envelope))
    assert dsse.fits(sealed, bytes.fromhex(one.public))
    stated = statement.read(sealed.payload)
    assert stated.subject[0].digest == {"sha256": rules.digest(base64.b64decode(found.body))}
    assert json.loads(base64.b64decode(found.body))["title"] == ENTRY["title"]


NO_SIGNATURES: list[str] = [
    "",
    " ",
    "nobody",
    "professor_digital_signature ",
    "x" * 65,
    "x" * 5000,
    "😀",
    "[]",
    "key_1",
]


def test_a_string_that_is_no_signature_is_refused_and_nothing_stored(
    house: House, signer: Actor, perform: Perform
) -> None:
    for text in NO_SIGNATURES:
        with pytest.raises(InvalidInput) as refused:
            perform(signer, "lab_notebook", entry=PLAIN, signature=text)
        assert refused.value.code == "unknown_signature"
        assert stored(house) == (0, 0)


NO_ENVELOPES: list[str] = ["{", "{}", '{"payload": "", "payloadType": "", "signatures": []}', "{" * 5000]


def test_a_string_that_only_looks_like_an_envelope_is_refused(house: House, signer: Actor, perform: Perform) -> None:
    for text in NO_ENVELOPES:
        with pytest.raises(InvalidInput) as refused:
            perform(signer, "lab_notebook", entry=PLAIN, signature=text)
        assert refused.value.code == "bad_envelope"
        assert stored(house) == (0, 0)


def test_without_a_window_nothing_is_stored_and_the_way_is_told(house: House, ana: Actor, perform: Perform) -> None:
    perform(ana, "key_create", name=NAME)
    with pytest.raises(NotAllowed) as refused:
        perform(ana, "lab_notebook", entry=PLAIN, signature=NAME)
    assert refused.value.code == "step_up_required"
    assert refused.value.facts["url"].startswith("http://hub.test/")
    assert refused.value.facts["url"] in refused.value.hint
    assert stored(house) == (0, 0)


def test_somebody_elses_key_name_means_nothing(house: House, signer: Actor, ben: Actor, perform: Perform) -> None:
    with pytest.raises(InvalidInput) as refused:
        perform(ben, "lab_notebook", entry=PLAIN, signature=NAME)
    assert refused.value.code == "unknown_signature"
    with house.scope(signer) as scope:
        key = keys.mine(scope)[0].key
    with pytest.raises(InvalidInput):
        perform(ben, "lab_notebook", entry=PLAIN, signature=key)
    with pytest.raises(NotFound):
        perform(ben, "signing_window", key=key, code=step_up_code(house, ben))


def test_a_window_closes_after_ten_minutes(house: House, signer: Actor, perform: Perform, clock: FrozenClock) -> None:
    clock.advance(599)
    assert perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)["signature"]["valid"]
    clock.advance(1)
    with pytest.raises(NotAllowed):
        perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)
    with house.scope(signer) as scope:
        assert windows.mine(scope) == []


def test_a_window_serves_the_credential_that_opened_it_and_no_other(house: House, ana: Actor, perform: Perform) -> None:
    perform(ana, "key_create", name=NAME)
    browser = msgspec.structs.replace(ana, sign_in_id="sin_1")
    others = [
        ana,
        msgspec.structs.replace(ana, token_id="tok_1"),
        msgspec.structs.replace(ana, sign_in_id="sin_2"),
        msgspec.structs.replace(ana, sign_in_id="sin_1", by_service="tok_bot"),
    ]
    open_window(house, perform, browser)
    assert perform(browser, "lab_notebook", entry=PLAIN, signature=NAME)["signature"]["valid"]
    for other in others:
        with pytest.raises(NotAllowed):
            perform(other, "lab_notebook", entry=PLAIN, signature=NAME)
    assert stored(house) == (1, 1)


def test_a_window_is_for_one_key(house: House, signer: Actor, perform: Perform) -> None:
    perform(signer, "key_create", name="second")
    with pytest.raises(NotAllowed):
        perform(signer, "lab_notebook", entry=PLAIN, signature="second")
    with pytest.raises(InvalidInput) as refused:
        perform(signer, "signing_window", code=step_up_code(house, signer))
    assert refused.value.code == "which_key"
    assert refused.value.errors == (NAME, "second")


def test_a_window_is_recorded_with_what_proved_it(house: House, signer: Actor) -> None:
    with house.db.read() as conn:
        row = conn.execute(sa.select(signing_windows)).one()
    assert (row.person, row.credential, row.proof) == (signer.id, "house", "code")
    assert row.expires_at - row.opened_at == dt.timedelta(minutes=10)


def test_a_code_opens_one_window_of_its_person_in_its_time(
    house: House, ana: Actor, ben: Actor, perform: Perform, clock: FrozenClock
) -> None:
    for person in (ana, ben):
        perform(person, "key_create", name=NAME)
    code = step_up_code(house, ana)
    with pytest.raises(NotFound):
        perform(ben, "signing_window", key=NAME, code=code)
    perform(ana, "signing_window", key=NAME, code=code)
    with pytest.raises(NotFound):
        perform(ana, "signing_window", key=NAME, code=code)
    late = step_up_code(house, ana)
    clock.advance(300)
    with pytest.raises(NotFound):
        perform(ana, "signing_window", key=NAME, code=late)
    with pytest.raises(NotFound):
        perform(ana, "signing_window", key=NAME, code="x")


def test_a_fresh_sign_in_opens_a_window_and_a_stale_one_or_a_token_does_not(
    house: House, ana: Actor, perform: Perform
) -> None:
    perform(ana, "key_create", name=NAME)
    minute = dt.timedelta(minutes=1)
    for actor in (
        ana,
        signed_in(ana, NOW - 6 * minute),
        msgspec.structs.replace(ana, signed_in_at=NOW, token_id="tok_1"),
        msgspec.structs.replace(signed_in(ana, NOW), by_service="tok_bot"),
    ):
        with pytest.raises(NotAllowed) as refused:
            perform(actor, "signing_window", key=NAME)
        assert refused.value.code == "step_up_required"
    opened = perform(signed_in(ana, NOW - 4 * minute), "signing_window", key=NAME)
    assert opened["expires"].startswith("2024-06-01T12:10:00")


def test_closing_a_window_ends_it(house: House, signer: Actor, perform: Perform) -> None:
    assert perform(signer, "signing_window_close")["closed"] == 1
    with pytest.raises(NotAllowed):
        perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)
    with pytest.raises(NotFound):
        perform(signer, "signing_window_close")


def test_a_revoked_key_signs_nothing_and_what_it_signed_stays_valid(
    house: House, signer: Actor, perform: Perform
) -> None:
    before = perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)
    perform(signer, "key_revoke", key=NAME)
    with pytest.raises((NotAllowed, Conflict)):
        perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)
    with pytest.raises(Conflict):
        perform(signer, "signing_window", key=NAME, code=step_up_code(house, signer))
    with pytest.raises(Conflict):
        perform(signer, "key_revoke", key=NAME)
    found = verified(house, signer, before["entry"])
    assert found.valid
    assert found.signatures[0].signature.key_revoked is not None
    assert any("revoked later" in check.words for check in found.signatures[0].signature.checks)


def test_a_revoked_key_cannot_back_date(house: House, signer: Actor, perform: Perform) -> None:
    """Whoever can write rows moves a signature before the revocation; the ledger has no such line."""
    before = perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)
    line = verified(house, signer, before["entry"]).signatures[0].signature.line
    perform(signer, "key_revoke", key=NAME)
    tamper(house, sa.update(signatures).values(line=sa.select(signing_keys.c.revoked_line + 1).scalar_subquery()))
    assert not verified(house, signer, before["entry"]).valid
    tamper(house, sa.update(signatures).values(line=line - 1))
    assert "the ledger has no line for this signature" in verified(house, signer, before["entry"]).words
    tamper(house, sa.update(signatures).values(line=None))
    assert "the ledger has no line for this signature" in verified(house, signer, before["entry"]).words
    tamper(house, sa.update(signatures).values(line=line))
    assert verified(house, signer, before["entry"]).valid


def test_a_revoked_keys_name_can_be_given_to_its_successor(house: House, signer: Actor, perform: Perform) -> None:
    with pytest.raises(Conflict):
        perform(signer, "key_create", name=NAME)
    perform(signer, "key_revoke", key=NAME)
    perform(signer, "key_create", name=NAME)
    perform(signer, "signing_window", key=NAME, code=step_up_code(house, signer))
    assert perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)["signature"]["valid"]


def test_the_private_half_is_sealed_to_its_row_and_its_owner(
    house: House, signer: Actor, ben: Actor, perform: Perform, tmp_path: Path
) -> None:
    perform(signer, "key_create", name="second")
    with house.db.read() as conn:
        rows = {row.name: row for row in conn.execute(sa.select(signing_keys))}
    assert rows[NAME].private_sealed != rows["second"].private_sealed
    swapped = sa.update(signing_keys).where(signing_keys.c.name == NAME)
    tamper(house, swapped.values(private_sealed=rows["second"].private_sealed))
    with pytest.raises(TamperDetected):
        perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)
    assert stored(house) == (0, 0)


def test_a_detached_signature_is_taken_as_it_came(house: House, ana: Actor, perform: Perform) -> None:
    key, private = own_key(house, perform, ana)
    seed_files(house, ana)
    perform(ana, "lab_notebook", entry=ENTRY)
    envelope = detached(house, ana, "n1", "laptop", private)
    signed = perform(ana, "note_sign", entry="n1", signature=envelope)
    assert signed["signature"]["valid"]
    assert (signed["signature"]["custody"], signed["signature"]["key"]) == ("client", key)
    assert base64.b64decode(verified(house, ana, "n1").signatures[0].envelope).decode() == envelope


def test_a_new_entry_may_bring_its_signature_along(house: House, ana: Actor, perform: Perform) -> None:
    key, private = own_key(house, perform, ana)
    session = personal(house, ana)
    text = EntryText(PLAIN["title"], PLAIN["content"])
    body = rules.body_bytes(text, (), session=session, author=ana.id, previous=None)

    def envelope(**changed: Any) -> str:
        said = {"meaning": "author", "signer": ana.id, "key": key, "custody": "client", "session": session}
        said |= {"entry": statement.NEW_ENTRY, "version": 1, "at": NOW, **changed}
        return dsse.seal(statement.state(body, (), statement.Predicate(**said)), private, key).decode()

    made = envelope()
    assert perform(ana, "lab_notebook", entry=PLAIN, signature=made)["signature"]["valid"]
    assert verified(house, ana, "n1").valid
    with pytest.raises(Conflict):
        perform(ana, "lab_notebook", entry=PLAIN, signature=made)
    for bad in (
        envelope(version=2),
        envelope(entry="entry_1"),
        envelope(session="ses_1"),
        envelope(meaning="witnessed"),
        envelope(custody="hub"),
        envelope(at=NOW + dt.timedelta(hours=1)),
        envelope(at=NOW - dt.timedelta(days=2)),
    ):
        with pytest.raises(InvalidInput):
            perform(ana, "lab_notebook", entry=PLAIN, signature=bad)
    with pytest.raises(InvalidInput) as refused:
        perform(ana, "lab_notebook", entry={**PLAIN, "content": "other"}, signature=envelope(at=NOW.replace(second=1)))
    assert refused.value.errors == ("the text is not what was signed",)
    assert stored(house) == (1, 1)


def test_a_detached_signature_holds_for_its_own_version_only(house: House, ana: Actor, perform: Perform) -> None:
    _, private = own_key(house, perform, ana)
    perform(ana, "lab_notebook", entry=PLAIN)
    envelope = detached(house, ana, "n1", "laptop", private)
    perform(ana, "lab_notebook", entry={**PLAIN, "content": "two"}, entry_id="n1", base_version=1)
    perform(ana, "lab_notebook", entry=PLAIN)
    for ref in ("n1", "n2"):
        with pytest.raises(InvalidInput) as refused:
            perform(ana, "note_sign", entry=ref, signature=envelope)
        assert refused.value.code == "signature_not_valid"
    assert perform(ana, "note_sign", entry="n1", version=1, signature=envelope)["signature"]["valid"]


def test_nobody_can_send_anothers_signature(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    _, private = own_key(house, perform, ana)
    grant(house, personal(house, ana), ben, "read_write")
    entry = perform(ana, "lab_notebook", entry=PLAIN)["entry"]
    envelope = detached(house, ana, entry, "laptop", private)
    with pytest.raises(InvalidInput):
        perform(ben, "note_sign", entry=entry, signature=envelope)
    other, other_private = own_key(house, perform, ben)
    payload = base64.b64decode(json.loads(envelope)["payload"])
    with pytest.raises(InvalidInput):
        perform(ben, "note_sign", entry=entry, signature=dsse.seal(payload, other_private, other).decode())
    assert stored(house) == (1, 0)


def test_a_key_of_ones_own_is_registered_after_a_step_up_only(house: House, ana: Actor, perform: Perform) -> None:
    """Else whoever stole a token could sign in the person's name without any window."""
    public = dsse.make_key().public
    with pytest.raises(NotAllowed) as refused:
        perform(ana, "key_create", name="laptop", public=public.hex())
    assert refused.value.code == "step_up_required"
    made = perform(ana, "key_create", name="laptop", public=public.hex(), code=step_up_code(house, ana))
    assert (made["custody"], made["public"]) == ("client", public.hex())
    with pytest.raises(InvalidInput) as held:
        perform(ana, "lab_notebook", entry=PLAIN, signature="laptop")
    assert held.value.code == "not_hub_held"
    with pytest.raises(InvalidInput):
        perform(ana, "signing_window", key="laptop", code=step_up_code(house, ana))


def test_a_public_key_is_understood_as_people_have_it(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    public = dsse.make_key().public
    wire = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + public
    here = signed_in(ana, NOW)
    line = f"ssh-ed25519 {base64.b64encode(wire).decode()} ana@laptop"
    assert perform(here, "key_create", name="ssh", public=line)["public"] == public.hex()
    other = dsse.make_key().public
    assert perform(here, "key_create", name="b", public=base64.b64encode(other).decode())["public"] == other.hex()
    with pytest.raises(Conflict):
        perform(signed_in(ben, NOW), "key_create", name="stolen", public=public.hex())


NO_PUBLIC_KEYS: list[str] = [
    "",
    "x",
    "ab" * 31,
    "00" * 32,
    "01" + "00" * 31,
    "zz" * 32,
    "ssh-rsa AAAAB3NzaC1yc2E=",
    "ssh-ed25519 AAAA",
    "ssh-ed25519 " + base64.b64encode(bytes(51)).decode(),
    "é" * 64,
    "-----BEGIN PRIVATE KEY-----",
]


def test_what_is_no_public_key_is_refused(house: House, ana: Actor, perform: Perform) -> None:
    for public in NO_PUBLIC_KEYS:
        with pytest.raises(InvalidInput) as refused:
            perform(signed_in(ana, NOW), "key_create", name="k", public=public)
        assert refused.value.path == "$.params.public"


NO_KEY_NAMES: list[str] = ["", " ", "{}", "a\nb", "a\u202eb", "x" * 65, "key_01jd9x0000000000000000000a"]


def test_a_key_has_a_name_of_its_own(ana: Actor, perform: Perform) -> None:
    for name in NO_KEY_NAMES:
        with pytest.raises(InvalidInput):
            perform(ana, "key_create", name=name)


def test_who_reviews_is_somebody_else(house: House, signer: Actor, ben: Actor, perform: Perform) -> None:
    grant(house, personal(house, signer), ben, "read_write")
    entry = perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)["entry"]
    perform(ben, "key_create", name="bens")
    perform(ben, "signing_window", code=step_up_code(house, ben))
    with pytest.raises(NotAllowed) as refused:
        perform(ben, "note_sign", entry=entry, key="bens", meaning="author")
    assert refused.value.code == "not_an_author"
    with pytest.raises(NotAllowed):
        perform(signer, "note_sign", entry=entry, key=NAME, meaning="witnessed")
    perform(ben, "note_sign", entry=entry, key="bens", meaning="reviewed")
    with pytest.raises(Conflict):
        perform(ben, "note_sign", entry=entry, key="bens", meaning="reviewed")
    found = verified(house, signer, entry)
    assert found.valid
    assert found.words.startswith("Verified: signed twice")
    assert [each.signature.meaning for each in found.signatures] == ["author", "reviewed"]
    with house.scope(signer) as scope:
        assert views.session_entries(scope, None).entries[0].signatures == 2


def test_an_edit_leaves_the_new_version_unsigned(house: House, signer: Actor, perform: Perform) -> None:
    perform(signer, "lab_notebook", entry=PLAIN, signature=NAME)
    perform(signer, "lab_notebook", entry={**PLAIN, "content": "two"}, entry_id="n1", base_version=1)
    assert not verified(house, signer, "n1").signed
    assert verified(house, signer, "n1", 1).signed


def test_every_changed_row_of_a_signature_is_noticed(house: House, signer: Actor, ben: Actor, perform: Perform) -> None:
    seed_files(house, signer)
    entry = perform(signer, "lab_notebook", entry=ENTRY, signature=NAME)["entry"]
    other = dsse.make_key()
    changes = {
        signatures: {"meaning": "witnessed", "custody": "client", "person": ben.id, "stated_at": NOW.replace(hour=1)},
        signing_keys: {"person": ben.id, "public": other.public, "custody": "client"},
    }
    for table, columns in changes.items():
        for column, value in columns.items():
            with house.db.read() as conn:
                true = conn.execute(sa.select(table.c[column])).scalar_one()
            tamper(house, sa.update(table).values({column: value}))
            assert not verified(house, signer, entry).valid, (table.name, column)
            tamper(house, sa.update(table).values({column: true}))
    assert verified(house, signer, entry).valid


@pytest.mark.parametrize("given", [{}, {"key": NAME, "signature": "{}"}])
def test_signing_takes_one_kind_of_signature(signer: Actor, perform: Perform, given: dict[str, str]) -> None:
    perform(signer, "lab_notebook", entry=PLAIN)
    with pytest.raises(InvalidInput):
        perform(signer, "note_sign", entry="n1", **given)


def test_what_is_to_be_signed_is_shown_for_ones_own_keys_only(house: House, signer: Actor, perform: Perform) -> None:
    perform(signer, "lab_notebook", entry=PLAIN)
    with house.scope(signer) as scope:
        with pytest.raises(InvalidInput):
            proofs.to_sign(scope, "n1", NAME)
        with pytest.raises(NotFound):
            proofs.to_sign(scope, "n1", "unknown")
