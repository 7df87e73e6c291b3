"""Uploads: what arrived stays, what was not finished resumes, what nobody names lapses."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from hub.artifacts import leases, stage, uploads
from hub.artifacts.blobs import BlobStore
from hub.artifacts.frames import FRAME_BYTES
from hub.artifacts.tables import blobs
from hub.artifacts.tables import uploads as table
from hub.core import limits, steps
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, HubError, InvalidInput, NotAllowed, NotFound, TooLarge, TooMany, Unavailable
from hub.core.house import House
from hub.sessions.tables import grants
from hub.work.entry import carry_out
from tests.actions.artifact_fixtures import upload
from tests.conftest import Perform


@pytest.fixture
def session(perform: Perform, ana: Actor) -> str:
    return str(perform(ana, "session_create", name="hcl")["session"])


@pytest.fixture
def store(house: House) -> BlobStore:
    return house.port(BlobStore)  # type: ignore[type-abstract]


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def send(house: House, actor: Actor, upload_id: str, offset: int, *pieces: bytes) -> uploads.Upload:
    receiver = uploads.Receiver(house, actor, upload_id, offset)
    for piece in pieces:
        receiver.add(piece)
    return receiver.close()


def stage_file(house: House, upload_id: str) -> Path:
    return house.settings.data / "uploads" / upload_id


def test_a_finished_upload_is_kept_under_its_digest_and_its_stage_is_gone(
    house: House, ana: Actor, session: str, store: BlobStore
) -> None:
    whole = content(FRAME_BYTES + 10)
    begun = uploads.begin(house, ana, session, len(whole), "data/a.bin")
    assert (begun.offset, begun.digest) == (0, None)
    done = send(house, ana, begun.id, 0, whole[:FRAME_BYTES], whole[FRAME_BYTES:])
    digest = hashlib.sha256(whole).hexdigest()
    assert done.digest == f"sha256:{digest}"
    assert b"".join(store.open(digest, session)) == whole
    assert not stage_file(house, begun.id).exists()
    assert uploads.look(house, ana, begun.id) == done


def test_an_upload_cut_in_the_middle_resumes_at_what_is_durably_there(house: House, ana: Actor, session: str) -> None:
    whole = content(3000)
    begun = uploads.begin(house, ana, session, len(whole))
    assert send(house, ana, begun.id, 0, whole[:1000]).offset == 1000
    assert uploads.look(house, ana, begun.id).offset == 1000
    assert send(house, ana, begun.id, 1000, whole[1000:1001]).offset == 1001
    assert send(house, ana, begun.id, 1001, whole[1001:]).digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"


def test_a_process_that_dies_loses_no_whole_frame_and_leaves_no_torn_one(
    house: House, ana: Actor, session: str
) -> None:
    whole = content(3000)
    begun = uploads.begin(house, ana, session, len(whole))
    died = uploads.Receiver(house, ana, begun.id, 0)
    died.add(whole[:1000])
    died.add(whole[1000:2000])
    del died  # without close, as by kill -9
    path = stage_file(house, begun.id)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 7)
    assert uploads.look(house, ana, begun.id).offset == 1000
    assert send(house, ana, begun.id, 1000, whole[1000:]).digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"


def test_an_empty_file_is_finished_as_it_begins(house: House, ana: Actor, session: str) -> None:
    begun = uploads.begin(house, ana, session, 0, "empty")
    assert begun.digest == f"sha256:{hashlib.sha256(b'').hexdigest()}"


def test_the_wrong_offset_is_refused_with_the_right_one(house: House, ana: Actor, session: str) -> None:
    begun = uploads.begin(house, ana, session, 10)
    send(house, ana, begun.id, 0, b"1234")
    for offset in (0, 3, 5, 10):
        with pytest.raises(Conflict) as caught:
            send(house, ana, begun.id, offset, b"x")
        assert caught.value.code == "offset_mismatch"
        assert caught.value.facts["offset"] == 4
    assert uploads.look(house, ana, begun.id).offset == 4


def test_more_than_was_announced_is_refused_and_what_fits_stays(house: House, ana: Actor, session: str) -> None:
    begun = uploads.begin(house, ana, session, 5)
    with pytest.raises(TooLarge):
        send(house, ana, begun.id, 0, b"123", b"456")
    assert uploads.look(house, ana, begun.id).offset == 3


def test_two_writers_at_once_do_not_mix(house: House, ana: Actor, session: str) -> None:
    begun = uploads.begin(house, ana, session, 4)
    first = uploads.Receiver(house, ana, begun.id, 0)
    with pytest.raises(Conflict) as caught:
        uploads.Receiver(house, ana, begun.id, 0)
    assert caught.value.code == "upload_busy"
    first.add(b"1234")
    assert first.close().digest is not None


def test_the_announced_digest_must_be_that_of_the_whole(house: House, ana: Actor, session: str) -> None:
    right = hashlib.sha256(b"1234").hexdigest()
    begun = uploads.begin(house, ana, session, 4, expected=f"sha256:{right}")
    assert send(house, ana, begun.id, 0, b"1234").digest == f"sha256:{right}"
    wrong = uploads.begin(house, ana, session, 4, expected=right)
    with pytest.raises(InvalidInput) as caught:
        send(house, ana, wrong.id, 0, b"1235")
    assert caught.value.code == "checksum_mismatch"
    with pytest.raises(NotFound):
        uploads.look(house, ana, wrong.id)
    assert not stage_file(house, wrong.id).exists()


def test_bytes_that_rotted_on_the_way_are_asked_for_again(house: House, ana: Actor, session: str) -> None:
    whole = content(3000)
    begun = uploads.begin(house, ana, session, len(whole))
    send(house, ana, begun.id, 0, whole[:1000], whole[1000:2000])
    path = stage_file(house, begun.id)
    spoiled = bytearray(path.read_bytes())
    spoiled[-5] ^= 1
    path.write_bytes(spoiled)
    with pytest.raises(Conflict) as caught:
        send(house, ana, begun.id, 2000, whole[2000:])
    assert caught.value.code == "upload_damaged"
    assert uploads.look(house, ana, begun.id).offset == 1000
    assert send(house, ana, begun.id, 1000, whole[1000:]).digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"


def test_nothing_of_an_upload_lies_on_disk_in_the_clear(house: House, ana: Actor, session: str) -> None:
    secret = b"the unpublished wavenumber is 2885.9775"
    begun = uploads.begin(house, ana, session, 100)
    send(house, ana, begun.id, 0, secret)
    assert secret[:12] not in stage_file(house, begun.id).read_bytes()


def test_an_upload_is_its_owners_alone(house: House, ana: Actor, ben: Actor, session: str) -> None:
    begun = uploads.begin(house, ana, session, 4)
    give(house, session, ben, "read_write")
    for what in (
        lambda: uploads.look(house, ben, begun.id),
        lambda: uploads.Receiver(house, ben, begun.id, 0),
        lambda: uploads.discard(house, ben, begun.id),
        lambda: uploads.look(house, ana, "upl_../../etc"),
    ):
        with pytest.raises(NotFound) as caught:
            what()
        assert caught.value.code == "upload_not_found"


def give(house: House, session: str, person: Actor, role: str) -> None:
    house.db.write(
        lambda tx: tx.insert_new(
            grants, session=session, subject=person.id, via="test", role=role, at=house.clock.now()
        )
    )


def test_who_loses_the_role_cannot_go_on(house: House, ben: Actor, session: str) -> None:
    give(house, session, ben, "read_write")
    begun = uploads.begin(house, ben, session, 4)
    send(house, ben, begun.id, 0, b"12")

    def take(tx: object) -> None:
        tx.execute(sa.delete(grants).where(grants.c.subject == ben.id))  # type: ignore[attr-defined]

    house.db.write(take)
    with pytest.raises(NotFound):
        send(house, ben, begun.id, 2, b"34")


def test_a_reader_and_a_stranger_begin_nothing(house: House, ben: Actor, session: str) -> None:
    with pytest.raises(NotFound):
        uploads.begin(house, ben, session, 4)
    give(house, session, ben, "read")
    with pytest.raises(NotAllowed):
        uploads.begin(house, ben, session, 4)


def test_limits_are_told_before_a_byte_travels(
    house: House, ana: Actor, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TooLarge):
        uploads.begin(house, ana, session, limits.UPLOAD_BYTES + 1)
    with pytest.raises(TooLarge):
        uploads.begin(house, ana, session, -1)
    monkeypatch.setattr("hub.core.limits.STORED_BYTES_PER_SESSION", 100)
    uploads.begin(house, ana, session, 60)
    with pytest.raises(TooLarge) as over_quota:
        uploads.begin(house, ana, session, 41)
    assert over_quota.value.code == "quota_exceeded"
    monkeypatch.setattr("hub.core.limits.OPEN_UPLOADS_PER_PERSON", 1)
    with pytest.raises(TooMany):
        uploads.begin(house, ana, session, 1)


@pytest.mark.parametrize("filename", ["../x", "/etc/passwd", "a\nb", "x" * 2000])
def test_a_filename_that_could_not_be_a_path_is_refused(house: House, ana: Actor, session: str, filename: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        uploads.begin(house, ana, session, 1, filename)
    assert caught.value.code == "bad_path"


def test_a_disk_without_room_is_said_before_anything_starts(
    house: House, ana: Actor, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(Unavailable) as caught:
        uploads.begin(house, ana, session, 501)
    assert caught.value.code == "disk_full"
    assert uploads.begin(house, ana, session, 500).offset == 0


def test_a_disk_that_fills_up_on_the_way_loses_nothing_that_was_acknowledged(
    house: House, ana: Actor, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = uploads.begin(house, ana, session, 6)
    send(house, ana, begun.id, 0, b"123")
    true_write = os.pwrite

    def half_then_full(fd: int, data: bytes, offset: int) -> int:
        true_write(fd, data[:5], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    receiver = uploads.Receiver(house, ana, begun.id, 3)
    monkeypatch.setattr(os, "pwrite", half_then_full)
    with pytest.raises(Unavailable) as caught:
        receiver.add(b"456")
    monkeypatch.undo()
    assert caught.value.code == "disk_full"
    receiver.close()
    assert uploads.look(house, ana, begun.id).offset == 3
    assert send(house, ana, begun.id, 3, b"456").digest is not None


def test_what_nobody_names_lapses_with_its_bytes(
    house: House, ana: Actor, session: str, store: BlobStore, clock: FrozenClock
) -> None:
    unnamed = upload(house, ana, session, b"unnamed")[7:]
    unfinished = uploads.begin(house, ana, session, 10).id
    uploads.lapse(house, session)
    assert store.has(unnamed, session)
    clock.advance(limits.UPLOAD_LEASE_SECONDS + 1)
    uploads.lapse(house, session)
    assert not store.has(unnamed, session)
    assert not stage_file(house, unfinished).exists()
    with house.db.read() as conn:
        assert conn.execute(sa.select(blobs)).first() is None
        assert conn.execute(sa.select(table)).first() is None


def test_what_an_action_named_stays_when_its_lease_ends(
    house: House, perform: Perform, ana: Actor, session: str, store: BlobStore, clock: FrozenClock
) -> None:
    digest = upload(house, ana, session, b"named")
    perform(ana, "artifact_versioning", artifact_path="a", digest=digest, session_id=session)
    upload(house, ana, session, b"named")
    clock.advance(limits.UPLOAD_LEASE_SECONDS + 1)
    uploads.lapse(house, session)
    assert b"".join(store.open(digest[7:], session)) == b"named"


def test_a_lapsed_upload_can_no_longer_be_named(
    house: House, perform: Perform, ana: Actor, session: str, clock: FrozenClock
) -> None:
    digest = upload(house, ana, session, b"late")
    clock.advance(limits.UPLOAD_LEASE_SECONDS + 1)
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "artifact_versioning", artifact_path="a", digest=digest, session_id=session)
    assert caught.value.code == "unknown_digest"


def test_a_sweep_leaves_alone_what_is_being_kept_just_now(
    house: House, ana: Actor, session: str, store: BlobStore, clock: FrozenClock
) -> None:
    digest = upload(house, ana, session, b"again")[7:]
    clock.advance(limits.UPLOAD_LEASE_SECONDS + 1)
    with store.keeping(session):
        uploads.lapse(house, session)
        assert store.has(digest, session)
    uploads.lapse(house, session)
    assert not store.has(digest, session)


def test_the_sweep_is_a_step_that_calls_itself_again_while_leases_are_open(
    house: House, ana: Actor, session: str, store: BlobStore, clock: FrozenClock
) -> None:
    first = upload(house, ana, session, b"first")[7:]
    clock.advance(3600)
    second = upload(house, ana, session, b"second")[7:]
    assert len(open_sweeps(house)) == 1
    clock.advance(limits.UPLOAD_LEASE_SECONDS - 3600)
    assert carry_out(house, open_sweeps(house)[0])
    assert (store.has(first, session), store.has(second, session)) == (False, True)
    clock.advance(3600)
    assert carry_out(house, open_sweeps(house)[0])
    assert not store.has(second, session)
    assert open_sweeps(house) == []


def open_sweeps(house: House) -> list[str]:
    waiting = sa.select(steps.steps.c.id).where(steps.steps.c.kind == leases.LAPSE, steps.steps.c.done_at.is_(None))
    with house.db.read() as conn:
        return list(conn.execute(waiting).scalars())


def test_an_upload_in_use_does_not_lapse_under_its_sender(
    house: House, ana: Actor, session: str, clock: FrozenClock
) -> None:
    begun = uploads.begin(house, ana, session, 3)
    for offset in range(2):
        clock.advance(limits.UPLOAD_LEASE_SECONDS * 0.7)
        send(house, ana, begun.id, offset, b"x")
        uploads.lapse(house, session)
    assert uploads.look(house, ana, begun.id).offset == 2


def test_discarding_frees_the_bytes_but_never_what_was_named(
    house: House, perform: Perform, ana: Actor, session: str, store: BlobStore
) -> None:
    begun = uploads.begin(house, ana, session, 3)
    send(house, ana, begun.id, 0, b"12")
    uploads.discard(house, ana, begun.id)
    assert not stage_file(house, begun.id).exists()
    with pytest.raises(NotFound):
        uploads.look(house, ana, begun.id)
    named = uploads.begin(house, ana, session, 3)
    digest = send(house, ana, named.id, 0, b"123").digest
    perform(ana, "artifact_versioning", artifact_path="a", digest=digest, session_id=session)
    uploads.discard(house, ana, named.id)
    uploads.lapse(house, session)
    assert digest is not None and store.has(digest[7:], session)


def test_what_the_hub_brings_itself_waits_under_the_same_lease(
    house: House, ana: Actor, session: str, store: BlobStore, clock: FrozenClock
) -> None:
    blob = leases.keep(house, session, [b"an output"], owner=ana.id, filename="out.txt")
    assert store.has(blob.digest, session)
    clock.advance(limits.UPLOAD_LEASE_SECONDS + 1)
    uploads.lapse(house, session)
    assert not store.has(blob.digest, session)


def test_a_stage_from_another_session_cannot_be_slipped_in(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    other = perform(ana, "session_create", name="other")["session"]
    here, there = uploads.begin(house, ana, session, 3), uploads.begin(house, ana, other, 3)
    shutil.copy(stage_file(house, there.id), stage_file(house, here.id))
    with pytest.raises(HubError):
        stage.Stage(stage_file(house, here.id), house.keys, session)
