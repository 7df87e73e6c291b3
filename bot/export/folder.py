"""The folder an export goes to: files that appear whole or not at all, a manifest, and the sums of all.

Taken up again, it knows by the manifest what each file is; what is there and has the digest it should have is not
fetched again. A file is named in the manifest by `what` it is (an id with a version), whatever it is called here.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bot.export.names import Names
from bot.export.pages import INCOMPLETE, README
from bot.problems import CONFLICT, INVALID, Problem

FORMAT = 1
MANIFEST, SUMS, TOP, UNFINISHED = "manifest.json", "SHA256SUMS", "README.txt", "INCOMPLETE.txt"
PARTS = ".unfinished"
_BLOCK = 1 << 20


class Kept(msgspec.Struct):
    """A file of the export. `stamp` changes when there is something new to fetch."""

    what: str
    sha256: str
    size: int
    called: str = ""
    stamp: str = ""


class Manifest(msgspec.Struct, kw_only=True):
    """What an export holds, by path, and the names that were given."""

    format: int = FORMAT
    hub: str = ""
    exported_at: str = ""
    complete: bool = False
    reason: str = ""
    sessions: dict[str, dict[str, Any]] = {}
    files: dict[str, Kept] = {}
    folders: dict[str, str] = {}


class ExportFolder:
    """DIR, opened for one export."""

    def __init__(self, root: Path, hub: str) -> None:
        self.root = root
        self.manifest = self._manifest()
        if self.manifest.hub not in ("", hub):
            raise Problem(
                "another_hub", f"{root} holds an export of {self.manifest.hub}.", hint="Name another folder.",
                exit_code=CONFLICT,
            )  # fmt: skip
        self.manifest.hub = hub
        self.names = Names(self.manifest.folders, {one.what: path for path, one in self.manifest.files.items()})
        for fixed in (MANIFEST, SUMS, TOP, UNFINISHED, PARTS):
            self.names.reserve(fixed)
        with _written(root):
            root.mkdir(parents=True, exist_ok=True)
            # Until it is done it is not: so it says also when the machine stops in the middle.
            self._replace(UNFINISHED, INCOMPLETE.format(reason="it was interrupted").encode())
            (root / SUMS).unlink(missing_ok=True)
            self.save()

    def has(self, what: str, stamp: str) -> str | None:
        """The path of a file that is here as it should be."""
        path = self.names.files.get(what)
        kept = self.manifest.files.get(path or "")
        if path is None or kept is None or kept.stamp != stamp or digest_of(self.root / path) != kept.sha256:
            return None
        return path

    def write(self, path: str, content: bytes, what: str, *, called: str = "", stamp: str = "") -> str:
        """A small file, replaced when it is there."""
        with _written(self.root / path):
            self._replace(path, content)
        self._keep(path, Kept(what, hashlib.sha256(content).hexdigest(), len(content), called, stamp))
        return path

    def fetch(
        self,
        path: str,
        digest: str,
        size: int,
        bytes_from: Callable[[int], Iterator[bytes]],
        what: str,
        *,
        called: str = "",
        report: Callable[[int], None] = lambda more: None,
    ) -> None:
        """A file by its digest, from where the last attempt broke off. Raises Problem when other bytes come."""
        place = self.root / path
        if digest_of(place) == digest:
            report(size)
        else:
            with _written(place):
                part = self.root / PARTS / digest
                part.parent.mkdir(exist_ok=True)
                self._complete(part, digest, size, bytes_from, called, report)
                place.parent.mkdir(parents=True, exist_ok=True)
                part.replace(place)
        self._keep(path, Kept(what, digest, size, called, digest))

    def _complete(
        self,
        part: Path,
        digest: str,
        size: int,
        bytes_from: Callable[[int], Iterator[bytes]],
        called: str,
        report: Callable[[int], None],
    ) -> None:
        hashed, have = hashlib.sha256(), 0
        with part.open("a+b") as file:
            file.seek(0)
            while block := file.read(_BLOCK):
                hashed.update(block)
                have += len(block)
            report(have)
            if have < size:
                for piece in bytes_from(have):
                    file.write(piece)
                    hashed.update(piece)
                    report(len(piece))
            file.flush()
            os.fsync(file.fileno())
        if hashed.hexdigest() != digest:
            part.unlink()
            raise Problem(
                "wrong_bytes", f"What came is not {called}: its digest is sha256:{hashed.hexdigest()}.", status=502
            )

    def finish(self, at: str, reasons: list[str]) -> None:
        """Close the export: what is gone from the hub since an earlier run stays, and stays listed."""
        self.manifest.exported_at, self.manifest.complete = at, not reasons
        self.manifest.reason = "; ".join(reasons)
        with _written(self.root):
            self._replace(TOP, README.format(hub=self.manifest.hub, at=at).encode())
            if reasons:
                self._replace(UNFINISHED, INCOMPLETE.format(reason=self.manifest.reason).encode())
            else:
                (self.root / UNFINISHED).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    (self.root / PARTS).rmdir()
            self.save()
            self._replace(SUMS, self._sums())

    def _sums(self) -> bytes:
        sums = {path: one.sha256 for path, one in self.manifest.files.items()}
        for fixed in (TOP, MANIFEST, UNFINISHED):
            if (self.root / fixed).exists():
                sums[fixed] = digest_of(self.root / fixed)
        return "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items())).encode()

    def _keep(self, path: str, kept: Kept) -> None:
        self.names.files[kept.what] = path
        self.manifest.files[path] = kept

    def save(self) -> None:
        """Write the manifest as it is now, so that a later run knows what is here."""
        self.manifest.folders = self.names.folders
        self._replace(MANIFEST, msgspec.json.format(msgspec.json.encode(self.manifest, order="sorted"), indent=1))

    def _replace(self, path: str, content: bytes) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_name(f".{place.name[:100]}.part")
        unfinished.write_bytes(content)
        unfinished.replace(place)

    def _manifest(self) -> Manifest:
        place = self.root / MANIFEST
        if place.exists():
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                found = msgspec.json.decode(place.read_bytes(), type=Manifest)
                if found.format == FORMAT:
                    return found
        elif not self.root.exists() or (self.root.is_dir() and not any(self.root.iterdir())):
            return Manifest()
        raise Problem(
            "not_an_export",
            f"{self.root} is neither empty nor an export that this version can go on with.",
            hint="Name a new folder; nothing was written.",
            exit_code=CONFLICT,
        )


def digest_of(place: Path) -> str:
    """The SHA-256 of a file; empty when there is none."""
    hashed = hashlib.sha256()
    try:
        with place.open("rb") as file:
            while block := file.read(_BLOCK):
                hashed.update(block)
    except OSError:
        return ""
    return hashed.hexdigest()


@contextlib.contextmanager
def _written(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Problem(
            "not_written", f"{place} cannot be written: {error.strerror}.",
            hint="Run the same command again to go on.", exit_code=INVALID,
        ) from error  # fmt: skip
