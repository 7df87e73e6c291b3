"""A backup restores to the very hub it was taken from, and whatever is wrong with it is refused with nothing done."""

from __future__ import annotations

import fcntl
import shutil
import threading
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from hub import app
from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import blobs
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from hub.core.house import House
from hub.core.settings import Settings
from hub.history import backup, restore, sealed
from hub.jobs import logs
from hub.ledger import sequencer
from hub.ledger.keys import CheckpointKey
from hub.ledger.verification import Verification, verify
from tests.actions.notebook_fixtures import PLAIN, personal, put_file
from tests.conftest import Perform

pytestmark = pytest.mark.slow

PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The passphrase's cost is not what is tested here."""
    monkeypatch.setattr(sealed, "SCRYPT_COST", 1 << 10)


@pytest.fixture
def lived_in(house: House, ana: Actor, perform: Perform) -> House:
    """A hub with a file, an entry and a job's log."""
    put_file(house, ana, "data/levels.csv", b"n,E\n0,0.5\n" * 1000)
    perform(ana, "lab_notebook", entry=PLAIN)
    logs.store(house.settings.data).append("job_00000000000000000000001", 0, b"step 1 of 2\n")
    order(house)
    return house


def order(house: House) -> None:
    while sequencer.pass_once(house.db, "test", house.clock.now()):
        pass


def ledger_of(house: House) -> Verification:
    key = house.port(CheckpointKey)
    with house.db.read() as conn:
        return verify(conn, key.origin, key.public)


def damaged(path: Path, at: int) -> Path:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.with_suffix(".bent").write_bytes(content)
    return path.with_suffix(".bent")


def test_a_restored_hub_is_the_one_that_was_backed_up(lived_in: House, ana: Actor, tmp_path: Path) -> None:
    made = backup.write(lived_in, tmp_path / "safe", passphrase=PASSPHRASE)
    assert made.is_sound and made.recovery_key is None and made.contents == 1
    found = restore.restore(Path(made.path), PASSPHRASE, tmp_path / "restored")
    before = ledger_of(lived_in)
    assert (found.ledger_root, found.ledger_lines, found.contents) == (before.root, before.lines, 1)
    house = app.build(Settings(data=tmp_path / "restored"), clock=FrozenClock(lived_in.clock.now()), bus=MemoryBus())
    try:
        after = ledger_of(house)
        assert after == before and after.holds and after.lines > 0
        with house.db.read() as conn:
            digest = conn.execute(sa.select(blobs.c.digest)).scalar_one()
        store = house.port(BlobStore)  # type: ignore[type-abstract]
        assert b"".join(store.open(digest, personal(house, ana))) == b"n,E\n0,0.5\n" * 1000
        assert logs.store(house.settings.data).tail("job_00000000000000000000001", 99) == b"step 1 of 2\n"
        for key in (tmp_path / "restored" / "keys").iterdir():
            assert key.stat().st_mode & 0o777 == 0o600
    finally:
        house.close()
    assert not list((tmp_path / "restored").glob(".rest*"))


def test_a_backup_taken_while_people_work_restores_to_a_ledger_that_verifies(
    lived_in: House, ana: Actor, ben: Actor, perform: Perform, tmp_path: Path
) -> None:
    stop = threading.Event()
    said: list[int] = []

    def work(person: Actor) -> None:
        while not stop.is_set():
            put_file(lived_in, person, f"{len(said)}.txt", f"{person.handle} {len(said)}".encode())
            perform(person, "lab_notebook", entry=PLAIN)
            order(lived_in)
            said.append(1)

    people = [threading.Thread(target=work, args=(person,)) for person in (ana, ben)]
    for one in people:
        one.start()
    try:
        while len(said) < 4:
            stop.wait(0.01)
        made = [backup.write(lived_in, tmp_path / "safe", recovery_key=KEY) for _ in range(2)]
        before = len(said)
    finally:
        stop.set()
        for one in people:
            one.join()
    assert before > 4  # people were not kept waiting
    for number, each in enumerate(made):
        found = restore.restore(Path(each.path), KEY, tmp_path / f"restored-{number}")
        assert found.ledger_lines > 0 and found.missing == ()


KEY = sealed.new_recovery_key()


def test_without_a_passphrase_a_recovery_key_is_made_and_opens_however_it_is_typed(
    lived_in: House, tmp_path: Path
) -> None:
    made = backup.write(lived_in, tmp_path / "safe")
    assert made.recovery_key is not None
    backup.verify(made.path, made.recovery_key.upper().replace("-", " ").replace("CLGB ", "clgb-"))
    noted = backup.newest(lived_in.settings)
    assert noted == msgspec.structs.replace(made, recovery_key=None)
    assert made.recovery_key not in (lived_in.settings.data / "backups" / "newest.json").read_text()


@pytest.mark.parametrize(
    "secret", ["another passphrase", sealed.new_recovery_key(), ""], ids=["a passphrase", "a recovery key", "nothing"]
)
def test_a_wrong_passphrase_is_told_and_nothing_is_made(lived_in: House, tmp_path: Path, secret: str) -> None:
    made = backup.write(lived_in, tmp_path / "safe", passphrase=PASSPHRASE)
    with pytest.raises(InvalidInput, match="passphrase does not open"):
        restore.restore(Path(made.path), secret, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize("where", [0.02, 0.3, 0.7, 0.999])
def test_a_flipped_bit_anywhere_is_found(lived_in: House, tmp_path: Path, where: float) -> None:
    path = Path(backup.write(lived_in, tmp_path / "safe", recovery_key=KEY).path)
    bent = damaged(path, int(path.stat().st_size * where))
    with pytest.raises(InvalidInput) as told:
        restore.restore(bent, KEY, tmp_path / "restored")
    assert told.value.code in {"backup_damaged", "wrong_key", "not_a_backup"}
    assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize("rest", [0, 5, 200, -1, -1000])
def test_a_truncated_backup_is_refused(lived_in: House, tmp_path: Path, rest: int) -> None:
    path = Path(backup.write(lived_in, tmp_path / "safe", recovery_key=KEY).path)
    path.write_bytes(path.read_bytes()[:rest])
    with pytest.raises(InvalidInput):
        backup.verify(path, KEY)


def test_a_backup_of_several_chunks_cut_at_a_chunk_is_known_to_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "sealed"
    with path.open("wb") as file:
        sealer = sealed.Sealer(file, collegium="1", schema="0001", recovery_key=KEY)
        sealer.write(b"x" * (2 * sealed.CHUNK_BYTES))
        sealer.write(b"y" * 10)
        sealer.finish()
    whole = path.read_bytes()
    chunk = sealed.CHUNK_BYTES + 16
    head = len(whole) - 2 * chunk - 26
    swapped = whole[:head] + whole[head + chunk : head + 2 * chunk] + whole[head : head + chunk] + whole[-26:]
    for wrong in (whole[:-26], whole[: -26 - chunk], swapped, whole + b"z"):
        path.write_bytes(wrong)
        with path.open("rb") as file, pytest.raises(InvalidInput, match="damaged"):
            sealed.Opener(file, KEY).read()


def test_a_backup_of_a_newer_version_is_refused_by_format_and_by_schema(
    lived_in: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(backup.write(lived_in, tmp_path / "safe", recovery_key=KEY).path)
    lived_in.db.write(lambda tx: tx.execute(sa.text("CREATE TABLE alembic_version (version_num TEXT)")) and None)
    lived_in.db.write(lambda tx: tx.execute(sa.text("INSERT INTO alembic_version VALUES ('f00')")) and None)
    newer = Path(backup.write(lived_in, tmp_path / "newer", recovery_key=KEY).path)
    with pytest.raises(Conflict, match="f00, which this version"):
        restore.restore(newer, KEY, tmp_path / "restored")
    monkeypatch.setattr(sealed, "FORMAT", 0)
    with pytest.raises(Conflict, match="has format 1"):
        restore.restore(path, KEY, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_a_hub_is_never_restored_over_another(lived_in: House, tmp_path: Path) -> None:
    path = Path(backup.write(lived_in, tmp_path / "safe", recovery_key=KEY).path)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    with pytest.raises(Conflict, match="not empty"):
        restore.restore(path, KEY, full)
    assert [each.name for each in full.iterdir()] == ["thesis.txt"]


def test_a_restore_that_fails_half_way_leaves_the_folder_as_empty_as_it_was(
    lived_in: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(backup.write(lived_in, tmp_path / "safe", recovery_key=KEY).path)
    empty = tmp_path / "mount"
    empty.mkdir()
    monkeypatch.setattr(restore, "row_counts", lambda conn: {"persons": 7})
    with pytest.raises(InvalidInput, match="other numbers of rows"):
        restore.restore(path, KEY, empty)
    assert empty.exists() and not list(empty.iterdir())


def test_a_restore_that_was_killed_is_begun_again(lived_in: House, tmp_path: Path) -> None:
    path = Path(backup.write(lived_in, tmp_path / "safe", recovery_key=KEY).path)
    (tmp_path / "again" / restore.STAGING / "keys").mkdir(parents=True)
    (tmp_path / "again" / restore.STAGING / "keys" / "kek").write_bytes(b"half")
    assert restore.restore(path, KEY, tmp_path / "again").contents == 1


def test_what_is_no_backup_is_told(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear all, this is a text of some length")
    with pytest.raises(InvalidInput, match="not a backup"):
        backup.verify(tmp_path / "letter.txt", KEY)
    with pytest.raises(NotFound):
        backup.verify(tmp_path / "nowhere", KEY)


def test_a_content_lost_from_the_store_is_told_and_the_rest_is_kept(
    lived_in: House, ana: Actor, tmp_path: Path
) -> None:
    with lived_in.db.read() as conn:
        lost = conn.execute(sa.select(blobs)).one()
    shutil.rmtree(lived_in.settings.data / "blobs" / lost.domain)
    made = backup.write(lived_in, tmp_path / "safe", recovery_key=KEY)
    assert made.missing == (f"{lost.domain}/{lost.digest}",) and not made.is_sound
    found = restore.restore(Path(made.path), KEY, tmp_path / "restored")
    assert found.missing == made.missing and found.contents == 0


def test_a_content_that_lapses_during_the_backup_is_no_fault(
    lived_in: House, ana: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lapse(*_: object) -> None:
        """Between the snapshot and the copying, as a sweep does it."""
        shutil.rmtree(lived_in.settings.data / "blobs")
        lived_in.db.write(lambda tx: tx.execute(sa.delete(blobs)) and None)

    monkeypatch.setattr(backup, "_enough_space", lapse)
    made = backup.write(lived_in, tmp_path / "safe", recovery_key=KEY)
    assert made.is_sound and made.contents == 0


def test_a_full_disk_is_told_before_anything_is_written(
    lived_in: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="MiB free"):
        backup.write(lived_in, tmp_path / "safe", recovery_key=KEY)
    assert not list((tmp_path / "safe").iterdir())


def test_two_backups_at_once_do_not_mix_and_a_killed_ones_remains_are_taken_away(
    lived_in: House, tmp_path: Path
) -> None:
    data, safe = lived_in.settings.data, tmp_path / "safe"
    (data / ".backup-killed").mkdir()
    (data / ".backup-killed" / "hub.sqlite3").write_text("plain")
    safe.mkdir()
    (safe / ".collegium-20200101.clgbackup.part").write_text("cut")
    with (data / ".backup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="another backup"):
            backup.write(lived_in, safe, recovery_key=KEY)
    made = backup.write(lived_in, safe, recovery_key=KEY)
    assert [str(each) for each in safe.iterdir()] == [made.path]
    assert not [each for each in data.iterdir() if each.is_dir() and each.name.startswith(".backup")]


def test_a_short_passphrase_is_refused(lived_in: House, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="fewer than 12"):
        backup.write(lived_in, tmp_path / "safe", passphrase="short")
    assert not list((tmp_path / "safe").iterdir())


def test_nothing_readable_is_in_the_file(lived_in: House, tmp_path: Path) -> None:
    content = Path(backup.write(lived_in, tmp_path / "safe", recovery_key=KEY).path).read_bytes()
    kek = (lived_in.settings.data / "keys" / "kek").read_bytes()
    assert kek not in content and b"SQLite format" not in content and b"ana" not in content[300:][:100]
