"""Files that a dry run takes for sent: they lie with whoever asks, and would be uploaded before the submission."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hub.artifacts import versions
from hub.artifacts.blobs import BlobStore
from hub.artifacts.rules import media_type_of, normal_path
from hub.core import limits
from hub.core.context import P, Scope

# So much of a script's beginning says all that is read of it before it runs: its options.
TEXT_CHARACTERS = 64 << 10


class AssumedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file by the path it would have; `text` is how it begins, which is needed of a script only."""

    path: Annotated[str, Meta(min_length=1, max_length=limits.PATH_BYTES)]
    digest: Annotated[str, Meta(pattern="^(sha256:)?[0-9a-f]{64}$")]
    size: Annotated[int, Meta(ge=0, le=2**62)]
    text: Annotated[str, Meta(max_length=TEXT_CHARACTERS)] = ""


Assumed = Annotated[tuple[AssumedFile, ...], Meta(max_length=limits.COLLECT_FILES)]


class DryScope(Scope):
    """A scope in which these files are there already. It can look, and change nothing."""

    def __init__(self, scope: Scope, files: Sequence[AssumedFile]) -> None:
        super().__init__(scope.house, scope.conn, scope.actor)
        self._files = {normal_path(each.path): each for each in files}
        self._texts = {each.digest.removeprefix("sha256:"): each.text.encode() for each in files}

    def find(self, name: str) -> versions.Pinned | None:
        """The file of this path, as the newest version it would be."""
        if (file := self._files.get(name)) is None:
            return None
        return versions.Pinned(
            path=name,
            version="",
            number=0,
            kind="stored",
            digest=file.digest.removeprefix("sha256:"),
            size=file.size,
            media_type=media_type_of(name),
        )

    def port(self, kind: type[P]) -> P:
        found = super().port(kind)
        return _Over(found, self._texts) if kind is BlobStore else found  # type: ignore[return-value]


class _Over:
    """The store of bytes, with what was said of files that are not in it yet."""

    def __init__(self, store: Any, texts: dict[str, bytes]) -> None:
        self._store, self._texts = store, texts

    def open(self, digest: str, domain: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        if digest not in self._texts:
            yield from self._store.open(digest, domain, offset, length)
            return
        yield self._texts[digest][offset : None if length is None else offset + length]


def find(scope: Scope, session: str, name: str) -> versions.Pinned | None:
    """As `versions.find`, with what a dry run assumes."""
    assumed = scope.find(name) if isinstance(scope, DryScope) else None
    return assumed or versions.find(scope, session, name)
