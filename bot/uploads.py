"""Files that travel to the hub: tus 1.0 by offset, taken up again after a cut, checked by digest at the end.

The port is `Uploads`: the shell implements it over the local disk, a chat platform over what hung on the message.
Where an unfinished upload stands is kept in a small file, so that the same command given again goes on.
"""

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import httpx
import msgspec

from bot.hub_client import HubClient, NoAnswer
from bot.problems import CONFLICT, INVALID, UNREADABLE, Problem

TUS = {"Tus-Resumable": "1.0.0"}
# Told how many bytes of how many have gone.
Report = Callable[[int, int], None]

_PIECE_BYTES = 1 << 18
_REQUEST_BYTES = 1 << 25
_ATTEMPTS_WITHOUT_PROGRESS = 6


class Offered(msgspec.Struct, frozen=True):
    """A file somebody brought along: the path it will have in the session, and where its bytes are."""

    path: str
    source: Path
    size_bytes: int


class Standing(msgspec.Struct, frozen=True):
    """How far an upload has come; `digest` is there once every byte arrived and was verified."""

    offset: int
    digest: str = ""


class Uploads(Protocol):
    """What files a command can be given at this door."""

    def find(self, name: str) -> Offered | None:
        """The file called `name` that came with the command; None when the name can only mean the session's."""
        ...

    def names(self) -> list[str]:
        """The names of the files that came along, for a suggestion."""
        ...

    def send(self, hub: HubClient, offered: Offered, session: str | None) -> str:
        """Bring its bytes to the hub and return their digest, `sha256:...`."""
        ...


class NoUploads:
    """A door files cannot be brought through: every name is a path in the session."""

    def find(self, name: str) -> Offered | None:
        return None

    def names(self) -> list[str]:
        return []

    def send(self, hub: HubClient, offered: Offered, session: str | None) -> str:
        raise Problem("no_uploads", "Files cannot be sent from here.", exit_code=INVALID)


class LocalUploads:
    """The shell's files. A file below `folder` keeps its relative path in the session, any other its name."""

    def __init__(self, folder: Path, memory: Path, report: Callable[[str, int, int], None] | None = None) -> None:
        self._folder = folder.resolve()
        self._underway = _Underway(memory)
        self._report = report or (lambda name, sent, size: None)

    def find(self, name: str) -> Offered | None:
        source = self._folder / Path(name).expanduser()
        try:
            resolved = source.resolve()
            if not resolved.is_file():
                return self._not_a_file(name, source)
            size_bytes = resolved.stat().st_size
        except (OSError, ValueError):
            # Too long for a name, or with a NUL in it: no file here can be meant.
            return None
        lies_below = source.absolute().is_relative_to(self._folder) and ".." not in Path(name).parts
        path = source.absolute().relative_to(self._folder).as_posix() if lies_below else source.name
        return Offered(path, resolved, size_bytes)

    def names(self) -> list[str]:
        return sorted(place.name for place in self._folder.iterdir() if place.is_file())

    def send(self, hub: HubClient, offered: Offered, session: str | None) -> str:
        try:
            return self._send(hub, offered, session)
        except OSError as error:
            raise Problem(
                "cannot_read", f"{offered.path} cannot be read: {error.strerror}.", exit_code=INVALID
            ) from error

    def _send(self, hub: HubClient, offered: Offered, session: str | None) -> str:
        digest = digest_of(offered.source)
        key = hashlib.sha256("\n".join((hub.url, session or "", offered.path, digest)).encode()).hexdigest()
        with offered.source.open("rb") as content:
            stored = upload(
                hub,
                content,
                offered.size_bytes,
                name=offered.path,
                session=session,
                digest=digest,
                location=self._underway.recall(key),
                started=lambda place: self._underway.note(key, place),
                report=lambda sent, size: self._report(offered.path, sent, size),
            )
        self._underway.forget(key)
        if stored != digest:
            raise Problem(
                "changed_while_sent",
                f"{offered.path} changed while it was sent; the hub stored other bytes than were read first.",
                hint="Nothing uses them. Give the command again when the file is complete.",
                exit_code=CONFLICT,
            )
        return digest

    @staticmethod
    def _not_a_file(name: str, source: Path) -> None:
        if source.is_dir():
            raise Problem(
                "is_a_folder",
                f"“{name}” is a folder.",
                hint=f"Name its files, or pack it: tar czf {source.name}.tar.gz {name}",
                exit_code=INVALID,
            )


def digest_of(source: Path) -> str:
    """`sha256:...` of a file, in constant memory."""
    with source.open("rb") as content:
        return "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()


def upload(
    hub: HubClient,
    content: BinaryIO,
    size_bytes: int,
    *,
    name: str,
    session: str | None,
    digest: str = "",
    location: str = "",
    started: Callable[[str], None] = lambda location: None,
    report: Report = lambda sent, size: None,
) -> str:
    """Send `content` and return its digest as the hub computed it.

    `location` is where an earlier attempt stands; `started` is told where this one does.
    Raises NoAnswer when the connection broke and six attempts in a row brought nothing further.
    """
    standing = _standing(hub, location, size_bytes) if location else None
    if standing is None:
        location = _begin(hub, name, size_bytes, session, digest)
        started(location)
        standing = Standing(0) if size_bytes else _standing(hub, location, size_bytes) or Standing(0)
    fruitless, waited = 0, 0.3
    while not standing.digest:
        before = standing.offset
        report(before, size_bytes)
        try:
            standing = _patch(hub, location, content, before, size_bytes, report)
        except NoAnswer:
            if fruitless >= _ATTEMPTS_WITHOUT_PROGRESS:
                raise
            hub.pause(waited)
            standing = _after_a_cut(hub, location, size_bytes, before)
        fruitless, waited = (0, 0.3) if standing.offset > before else (fruitless + 1, min(waited * 2, 8.0))
        if not standing.digest and fruitless > _ATTEMPTS_WITHOUT_PROGRESS:
            raise Problem("upload_stuck", f"The hub takes no more bytes of {name} after {before:,}.", status=502)
    report(size_bytes, size_bytes)
    return standing.digest


def _begin(hub: HubClient, name: str, size_bytes: int, session: str | None, digest: str) -> str:
    facts = {"filename": name, "sha256": digest.removeprefix("sha256:")}
    metadata = ",".join(f"{key} {base64.b64encode(fact.encode()).decode()}" for key, fact in facts.items() if fact)
    response = hub.send(
        "POST",
        "/api/uploads",
        params={"session": session} if session else {},
        headers={**TUS, "Upload-Length": str(size_bytes), "Upload-Metadata": metadata},
    )
    place = httpx.URL(hub.url).join(response.headers["Location"])
    if place.host != httpx.URL(hub.url).host:
        raise Problem("foreign_upload", f"The hub sent the upload to another host, {place.host}.", status=502)
    return place.path


def _standing(hub: HubClient, location: str, size_bytes: int) -> Standing | None:
    """How far the hub has it; None for an upload it does not know any more."""
    try:
        response = hub.send("HEAD", location, headers=TUS)
    except Problem as problem:
        if problem.status in (404, 410):
            return None
        raise
    if int(response.headers.get("Upload-Length", size_bytes)) != size_bytes:
        return None
    return _told(response)


def _told(response: httpx.Response) -> Standing:
    return Standing(int(response.headers.get("Upload-Offset", 0)), response.headers.get("Collegium-Digest", ""))


def _after_a_cut(hub: HubClient, location: str, size_bytes: int, offset: int) -> Standing:
    try:
        standing = _standing(hub, location, size_bytes)
    except NoAnswer:
        return Standing(offset)
    if standing is None:
        raise Problem(
            "upload_lapsed", "The hub no longer knows this upload.", hint="Give the command again.", status=404
        )
    return standing


def _patch(hub: HubClient, location: str, content: BinaryIO, offset: int, size_bytes: int, report: Report) -> Standing:
    length = min(_REQUEST_BYTES, size_bytes - offset)
    content.seek(offset)
    try:
        response = hub.send(
            "PATCH",
            location,
            headers={
                **TUS,
                "Content-Type": "application/offset+octet-stream",
                "Upload-Offset": str(offset),
                "Content-Length": str(length),
            },
            content=_pieces(content, length, offset, size_bytes, report),
        )
    except Problem as problem:
        if problem.status != 409:
            raise
        # The offset is not where this side believed it is: an earlier answer was lost. The hub's word counts.
        return _after_a_cut(hub, location, size_bytes, offset)
    return _told(response)


def _pieces(content: BinaryIO, length: int, offset: int, size_bytes: int, report: Report) -> Iterator[bytes]:
    remaining = length
    while remaining:
        piece = content.read(min(_PIECE_BYTES, remaining))
        if not piece:
            raise Problem("file_shrank", "The file became shorter while it was sent.", exit_code=CONFLICT)
        remaining -= len(piece)
        yield piece
        report(offset + length - remaining, size_bytes)


class _Underway:
    """Where unfinished uploads stand: a small JSON file only its owner can read."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def recall(self, key: str) -> str:
        return self._read().get(key, "")

    def note(self, key: str, location: str) -> None:
        self._write(self._read() | {key: location})

    def forget(self, key: str) -> None:
        known = self._read()
        if known.pop(key, None) is not None:
            self._write(known)

    def _read(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._place.read_bytes(), type=dict[str, str])
        except (FileNotFoundError, *UNREADABLE):
            return {}

    def _write(self, known: dict[str, str]) -> None:
        self._place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._place.with_name(f"{self._place.name}.{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(known))
        fresh.chmod(0o600)
        fresh.replace(self._place)
