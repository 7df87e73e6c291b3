"""One suite for every blob store; then what only the store on disk can promise."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import secrets
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.artifacts.blobs import BlobStore, MemoryBlobs
from hub.artifacts.disk import DiskBlobs
from hub.artifacts.frames import FRAME_BYTES, read_header, scan
from hub.core.errors import HubError, InvalidInput, NotFound, TamperDetected, TooLarge, Unavailable

HERE, THERE = "ses_here", "ses_there"

# A file system of 4 MiB of its own, in namespaces that vanish with the process.
FULL = """
import secrets, sys
from pathlib import Path
from hub.artifacts import stage
from hub.artifacts.disk import DiskBlobs
from hub.core.errors import Unavailable
from tests.contracts.test_blobs import HERE, Keys

root, keys = Path(sys.argv[1]), Keys()
store = DiskBlobs(root / "blobs", keys)
earlier = store.put([b"kept"], HERE)
try:
    store.put((secrets.token_bytes(1 << 20) for _ in range(8)), HERE)
    raise SystemExit("eight MiB fitted into four")
except Unavailable as error:
    assert error.code == "disk_full"
assert not list((root / "blobs" / HERE / ".writing").iterdir())
assert b"".join(store.open(earlier.digest, HERE)) == b"kept"

stage.create(root / "uploads" / "u", keys, HERE)
filling = stage.Stage(root / "uploads" / "u", keys, HERE)
try:
    while True:
        filling.append(secrets.token_bytes(1 << 19))
except Unavailable as error:
    assert error.code == "disk_full"
offset = filling.offset
filling.close()
assert offset > 0 and stage.arrived(root / "uploads" / "u") == offset
again = stage.Stage(root / "uploads" / "u", keys, HERE)
assert sum(map(len, again.pieces())) == offset
again.close()
"""


class Keys:
    """A key ring in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def domain(self, domain: str) -> bytes:
        return self.kept.setdefault(domain, secrets.token_bytes(32))


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def disk(tmp_path: Path, keys: Keys) -> DiskBlobs:
    return DiskBlobs(tmp_path / "blobs", keys)


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, disk: DiskBlobs) -> BlobStore:
    return MemoryBlobs() if request.param == "memory" else disk


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


SIZES = [0, 1, 1000, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES + 17]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_put_comes_back_under_its_sha256(store: BlobStore, size: int) -> None:
    given_bytes = content(size)
    blob = store.put([given_bytes], HERE)
    assert (blob.digest, blob.size) == (hashlib.sha256(given_bytes).hexdigest(), size)
    assert b"".join(store.open(blob.digest, HERE)) == given_bytes


def test_a_stream_may_come_in_pieces_of_any_size_or_as_a_file(store: BlobStore) -> None:
    whole = content(FRAME_BYTES + 5000)
    in_pieces = store.put((whole[i : i + 777] for i in range(0, len(whole), 777)), HERE)
    as_file = store.put(io.BytesIO(whole), HERE)
    assert in_pieces == as_file
    assert b"".join(store.open(as_file.digest, HERE)) == whole


def test_a_range_is_exactly_the_bytes_asked_for(store: BlobStore) -> None:
    whole = content(3 * FRAME_BYTES + 100)
    digest = store.put([whole], HERE).digest
    for offset, length in [(0, 1), (FRAME_BYTES - 1, 2), (FRAME_BYTES, FRAME_BYTES), (5, 2 * FRAME_BYTES), (9, 0)]:
        assert b"".join(store.open(digest, HERE, offset, length)) == whole[offset : offset + length]


def test_a_range_is_clipped_to_what_there_is(store: BlobStore) -> None:
    digest = store.put([b"0123456789"], HERE).digest
    assert b"".join(store.open(digest, HERE, 8, 100)) == b"89"
    assert b"".join(store.open(digest, HERE, 50, 5)) == b""
    assert b"".join(store.open(digest, HERE, 4)) == b"456789"


def test_unknown_content_is_not_found_before_the_first_byte(store: BlobStore) -> None:
    with pytest.raises(NotFound) as caught:
        store.open("0" * 64, HERE)
    assert caught.value.code == "content_not_found"


def test_one_domain_cannot_see_what_another_has(store: BlobStore) -> None:
    digest = store.put([b"ours"], HERE).digest
    assert store.has(digest, HERE) and not store.has(digest, THERE)
    with pytest.raises(NotFound):
        store.open(digest, THERE)


def test_deleting_takes_it_from_one_domain_only_and_may_be_repeated(store: BlobStore) -> None:
    digest = store.put([b"both"], HERE).digest
    store.put([b"both"], THERE)
    store.delete(digest, HERE)
    store.delete(digest, HERE)
    assert not store.has(digest, HERE)
    assert b"".join(store.open(digest, THERE)) == b"both"


def test_putting_the_same_content_twice_keeps_it_once(store: BlobStore) -> None:
    assert store.put([b"same"], HERE) == store.put([b"same"], HERE)


def test_a_stream_past_its_limit_keeps_nothing(store: BlobStore) -> None:
    with pytest.raises(TooLarge) as caught:
        store.put([b"12345", b"67890"], HERE, limit_bytes=9)
    assert caught.value.code == "blob_too_large"
    assert not store.has(hashlib.sha256(b"1234567890").hexdigest(), HERE)
    assert store.put([b"123456789"], HERE, limit_bytes=9).size == 9


def test_a_stream_that_breaks_keeps_nothing(store: BlobStore) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.put(breaking(), HERE)
    assert not store.has(hashlib.sha256(b"half").hexdigest(), HERE)


# What only the disk can promise


def blob_file(root: Path, digest: str) -> Path:
    return root / "blobs" / HERE / digest[:2] / digest


def test_no_byte_of_the_content_lies_on_disk_in_the_clear(disk: DiskBlobs, tmp_path: Path) -> None:
    secret = b"the wavenumber is 2885.9775 per centimetre"
    disk.put([secret], HERE)
    assert all(secret[:16] not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_content_that_compresses_is_stored_smaller_and_other_content_hardly_larger(
    disk: DiskBlobs, tmp_path: Path
) -> None:
    table = b"2885.9775,0.0123,1.5\n" * 100_000
    noise = content(2 * FRAME_BYTES)
    small, large = disk.put([table], HERE), disk.put([noise], HERE)
    assert blob_file(tmp_path, small.digest).stat().st_size < len(table) / 10
    assert blob_file(tmp_path, large.digest).stat().st_size < len(noise) + 500


def test_a_range_reads_only_the_frames_it_needs(disk: DiskBlobs, tmp_path: Path) -> None:
    whole = content(4 * FRAME_BYTES)
    digest = disk.put([whole], HERE).digest
    spoiled = bytearray(blob_file(tmp_path, digest).read_bytes())
    spoiled[200] ^= 1  # inside the first frame
    blob_file(tmp_path, digest).write_bytes(spoiled)
    assert b"".join(disk.open(digest, HERE, 2 * FRAME_BYTES + 5, 10)) == whole[2 * FRAME_BYTES + 5 :][:10]
    with pytest.raises(TamperDetected):
        b"".join(disk.open(digest, HERE, 0, 10))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_detected(disk: DiskBlobs, tmp_path: Path, where: int, bit: int) -> None:
    digest = disk.put([b"a measured line " * 300], HERE).digest
    path = blob_file(tmp_path, digest)
    spoiled = bytearray(path.read_bytes())
    spoiled[where % len(spoiled)] ^= 1 << bit
    path.write_bytes(spoiled)
    with pytest.raises(TamperDetected):
        b"".join(disk.open(digest, HERE))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 10**9))
def test_a_file_cut_anywhere_is_detected(disk: DiskBlobs, tmp_path: Path, cut: int) -> None:
    digest = disk.put([content(5000)], HERE).digest
    path = blob_file(tmp_path, digest)
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % len(whole)])
    with pytest.raises(TamperDetected):
        b"".join(disk.open(digest, HERE))


def test_one_blob_cannot_stand_in_for_another_nor_move_between_domains(disk: DiskBlobs, tmp_path: Path) -> None:
    one, other = disk.put([b"accepted value"], HERE), disk.put([b"forged value"], HERE)
    elsewhere = disk.put([b"accepted value"], THERE)
    blob_file(tmp_path, one.digest).write_bytes(blob_file(tmp_path, other.digest).read_bytes())
    with pytest.raises(TamperDetected):
        disk.open(one.digest, HERE)
    moved = tmp_path / "blobs" / THERE / elsewhere.digest[:2] / elsewhere.digest
    blob_file(tmp_path, one.digest).write_bytes(moved.read_bytes())
    with pytest.raises(TamperDetected):
        disk.open(one.digest, HERE)


def test_frames_of_equal_length_cannot_be_swapped(disk: DiskBlobs, tmp_path: Path) -> None:
    digest = disk.put([content(3 * FRAME_BYTES)], HERE).digest
    path = blob_file(tmp_path, digest)
    whole = path.read_bytes()
    fd = os.open(path, os.O_RDONLY)
    try:
        (_, first, middle, _), (_, _, end, _), *_ = scan(fd, read_header(fd)[2])
    finally:
        os.close(fd)
    assert middle - first == end - middle
    path.write_bytes(whole[:first] + whole[middle:end] + whole[first:middle] + whole[end:])
    with pytest.raises(TamperDetected):
        b"".join(disk.open(digest, HERE))


def test_putting_again_heals_a_rotten_copy(disk: DiskBlobs, tmp_path: Path) -> None:
    digest = disk.put([b"precious"], HERE).digest
    blob_file(tmp_path, digest).write_bytes(b"zeros" * 100)
    disk.put([b"precious"], HERE)
    assert b"".join(disk.open(digest, HERE)) == b"precious"


def test_erasing_the_domain_key_erases_the_content(disk: DiskBlobs, keys: Keys) -> None:
    digest = disk.put([b"to be forgotten"], HERE).digest
    keys.kept[HERE] = secrets.token_bytes(32)
    with pytest.raises(TamperDetected):
        disk.open(digest, HERE)


@pytest.mark.parametrize("call", ["fsync", "open"])
def test_a_full_disk_is_said_clearly_and_leaves_nothing_half_made(
    disk: DiskBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    disk.put([b"before"], HERE)

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "open", full)
    with pytest.raises(Unavailable) as caught:
        disk.put([content(3000)], HERE)
    monkeypatch.undo()
    assert caught.value.code == "disk_full"
    assert list((tmp_path / "blobs" / HERE / ".writing").iterdir()) == []
    assert b"".join(disk.open(hashlib.sha256(b"before").hexdigest(), HERE)) == b"before"


def test_what_the_disk_gives_back_differently_is_never_acknowledged(
    disk: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_pread = os.pread

    def rotten(fd: int, length: int, offset: int) -> bytes:
        read = true_pread(fd, length, offset)
        return read[:-1] + bytes([read[-1] ^ 1]) if len(read) > 1000 else read

    monkeypatch.setattr(os, "pread", rotten)
    with pytest.raises(TamperDetected):
        disk.put([content(5000)], HERE)
    monkeypatch.undo()
    assert not disk.has(hashlib.sha256(content(5000)).hexdigest(), HERE)


@pytest.mark.parametrize("digest", ["", "../../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "/x"])
def test_only_a_digest_becomes_a_file_name(disk: DiskBlobs, digest: str) -> None:
    with pytest.raises(InvalidInput):
        disk.has(digest, HERE)


@pytest.mark.parametrize("domain", ["", ".", "..", "../x", "a/b", "ses_\0", ".hidden"])
def test_only_an_id_becomes_a_folder_name(disk: DiskBlobs, domain: str) -> None:
    with pytest.raises(HubError):
        disk.put([b"x"], domain)


def test_a_sweep_waits_while_somebody_keeps_and_clears_what_a_dead_writer_left(disk: DiskBlobs, tmp_path: Path) -> None:
    disk.put([b"x"], HERE)
    left = tmp_path / "blobs" / HERE / ".writing" / "abandoned"
    left.write_bytes(b"half")
    with disk.keeping(HERE), disk.clearing(HERE) as alone:
        assert not alone
    assert left.exists()
    with disk.clearing(HERE) as alone:
        assert alone
    assert not left.exists()


def test_memory_stays_constant_whatever_the_size(disk: DiskBlobs) -> None:
    piece = content(FRAME_BYTES)
    tracemalloc.start()
    try:
        digest = disk.put((piece for _ in range(24)), HERE).digest
        for _ in disk.open(digest, HERE):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * FRAME_BYTES


@pytest.mark.real
def test_a_disk_that_is_really_full_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    mounted = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, FULL]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
