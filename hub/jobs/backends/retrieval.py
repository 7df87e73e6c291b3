"""Bringing outputs home: what lies there is looked at first, then what is wanted comes, and nothing is trusted.

Only regular files are taken, names are checked again here, and nothing is ever unpacked by a tool: small files come
bundled and are read one by one, large ones come alone and go on where they broke off.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncssh
import msgspec

from hub.artifacts import rules as paths
from hub.core import limits
from hub.core.errors import InvalidInput
from hub.jobs import outputs
from hub.jobs.backends import far_side
from hub.jobs.backends.slurm import SlurmBackend
from hub.jobs.backends.throttle import Throttle
from hub.jobs.outputs import Choice, Found, Given
from hub.jobs.remote import Remote
from hub.jobs.shell import SshError
from hub.jobs.ssh import command

# More are not even listed; whoever makes a million files means few of them.
LISTED = 20_000
BUNDLED_BYTES = 1 << 20
# What says something of this machine's disk, and nothing of what lies there.
FULL = (errno.ENOSPC, errno.EDQUOT)
PIECE_BYTES = 1 << 18


def listed(data: bytes) -> tuple[list[Found], int, int]:
    """(files, how many more there are, how many things that are no files or have no name for a path)."""
    head, _, tail = data.rpartition(b"\0")
    counts = [int(each) for each in tail.split() if each.isdigit()]
    found: list[Found] = []
    records = [record for record in head.split(b"\0") if record]
    odd = counts[1] if len(counts) > 1 else 0
    for record in records:
        size, _, rest = record.partition(b" ")
        mtime, _, name = rest.partition(b" ./")
        try:
            path = name.decode()
            paths.normal_path(path)
            whole, _, part = mtime.decode().partition(".")
            found.append(Found(path, int(size), int(whole) * 10**9 + int((part + "0" * 9)[:9])))
        except (UnicodeDecodeError, InvalidInput, ValueError):
            odd += 1
    return found, max(0, (counts[0] if counts else 0) - len(records)), odd


async def bring(
    backend: SlurmBackend,
    job: str,
    run: int,
    home: Path,
    *,
    declared: Sequence[str],
    fetch: Sequence[str] = (),
    cluster: str,
    throttle: Throttle | None = None,
) -> Remote:
    """Lay what is wanted of a run's outputs below `home/work`, and say what is not. Raises SshError or OSError.

    A NoLine says nothing of the files; what is here stays, and the next try goes on from it.
    """
    throttle = throttle or Throttle()
    folder = far_side.folder_of(await backend.root(), job, run)
    given = msgspec.json.decode((home / "given.json").read_bytes(), type=dict[str, Given])
    files, more, odd = await _look(backend, folder)
    choice = outputs.choose(files, given, declared, fetch)
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = [file for file in choice.store if not _is_here(work, file)]
    small = [file for file in wanted if file.size <= BUNDLED_BYTES]
    if small:
        await _bring_bundle(backend, folder, small, home, throttle)
    for file in wanted:
        if file.size > BUNDLED_BYTES:
            await _bring_alone(backend, folder, file, work, throttle)
    # What became something else while it was on its way is where it was, and nowhere else.
    absent = [file for file in choice.store if not _is_here(work, file)]
    for file in absent:
        (work / file.path).unlink(missing_ok=True)
    choice = msgspec.structs.replace(choice, refer=[*choice.refer, *absent])
    return _remote(choice, cluster, folder, odd, more)


def _remote(choice: Choice, cluster: str, folder: str, odd: int, more: int) -> Remote:
    # Of many that do not come, some are named and the rest are counted.
    named = choice.refer[: limits.COLLECT_FILES]
    more += len(choice.refer) - len(named)
    return Remote(cluster, folder, named, choice.ignored, choice.missing, odd, more)


async def _look(backend: SlurmBackend, folder: str) -> tuple[list[Found], int, int]:
    async with backend.connection.stream(far_side.listing(folder, LISTED)) as process:
        data = bytearray()
        while piece := await process.stdout.read(1 << 16):
            data += piece
        if await backend.connection.ended(process) != 0:
            raise SshError(f"{folder} cannot be looked at")
    return listed(bytes(data))


def _is_here(work: Path, file: Found) -> bool:
    path = work / file.path
    with contextlib.suppress(OSError):
        seen = path.lstat()
        return seen.st_size == file.size and seen.st_mtime_ns // 1000 == file.mtime_ns // 1000
    return False


async def _bring_bundle(
    backend: SlurmBackend, folder: str, files: Sequence[Found], home: Path, throttle: Throttle
) -> None:
    """Small files in one stream; a file that has become something else meanwhile is left out."""
    pack = command(["tar", "-C", f"{folder}/work", "--null", "--no-recursion", "-T", "-", "-cf", "-"])
    spool = home / "bundle.tar.gz"
    async with backend.connection.stream(f"{pack} | gzip -1") as process:
        process.stdin.write(b"".join(f"./{file.path}\0".encode() for file in files))
        process.stdin.write_eof()
        with spool.open("wb") as target:
            while piece := await process.stdout.read(PIECE_BYTES):
                target.write(piece)
                await throttle.came(len(piece))
        await backend.connection.ended(process)
    await asyncio.to_thread(_unbundle, spool, {file.path: file for file in files}, home / "work")
    spool.unlink()


def _unbundle(spool: Path, wanted: Mapping[str, Found], work: Path) -> None:
    try:
        with tarfile.open(spool, "r|gz") as archive:
            for member in archive:
                file = wanted.get(member.name.removeprefix("./"))
                source = archive.extractfile(member) if file is not None and member.isreg() else None
                if file is None or source is None or member.size != file.size:
                    continue
                # Under its name only when it is whole: what broke off is never taken for what the job made.
                part = spool.with_name("bundled")
                with part.open("wb") as target:
                    while piece := source.read(PIECE_BYTES):
                        target.write(piece)
                part.replace(_place(work, file.path))
                _dated(work / file.path, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise SshError(f"the outputs broke off on their way: {error}") from None


async def _bring_alone(backend: SlurmBackend, folder: str, file: Found, work: Path, throttle: Throttle) -> None:
    """A large file, from where an earlier try broke off; one that changed since it was listed is begun again."""
    far, part = f"{folder}/work/{file.path}", work.parent / "partial"
    part.mkdir(exist_ok=True, mode=0o700)
    # Not under its own name, to which nothing can be added where that is as long as a name may be.
    near = part / hashlib.sha256(file.path.encode()).hexdigest()
    mark = near.with_suffix(".of")
    label = f"{file.path}\0{file.size}\0{file.mtime_ns}"
    if not mark.exists() or mark.read_text() != label:
        near.unlink(missing_ok=True)
        mark.write_text(label)
    try:
        async with backend.connection.files() as sftp:
            if (await sftp.lstat(far)).type != asyncssh.FILEXFER_TYPE_REGULAR:
                return
            async with sftp.open(far, "rb") as source:
                with near.open("ab") as target:
                    at = target.tell()
                    while at < file.size and (piece := await source.read(min(PIECE_BYTES, file.size - at), at)):
                        assert isinstance(piece, bytes)
                        target.write(piece)
                        at += len(piece)
                        await throttle.came(len(piece))
    except asyncssh.Error as error:
        raise SshError(f"{file.path} broke off on its way: {error}") from None
    near.replace(_place(work, file.path))
    mark.unlink()
    _dated(work / file.path, file)


def _place(work: Path, path: str) -> Path:
    """Where a file goes: below `work`, whatever its name says; names were checked when it was listed."""
    target = work / paths.normal_path(path)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return target


def _dated(path: Path, file: Found) -> None:
    os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
