"""What a path, a digest, a name for an artifact and its metadata may be.

Names are data. A hostile one is kept as it is and escaped where it is shown; none ever becomes a path on the hub's own
disk, where files are called by digest or by opaque id.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Literal

import msgspec

from hub.core import limits
from hub.core.errors import InvalidInput

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_NUMBERED = re.compile(r"(?s)(.+)@([1-9][0-9]{0,8})")
_QUALIFIED = re.compile(r"(?s)([a-z0-9][a-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?):(.+)")
_COMMIT = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,99}")
# Characters that reorder or break the text around them, so that a name would not be what it looks like.
_DECEIVING = {"Cc", "Cs", "Zl", "Zp"}
_REORDERING = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_MEDIA_TYPES = {
    "bib": "text/plain",
    "c": "text/plain",
    "cpp": "text/plain",
    "csv": "text/csv",
    "dat": "text/plain",
    "gif": "image/gif",
    "h": "text/plain",
    "h5": "application/x-hdf5",
    "hdf5": "application/x-hdf5",
    "htm": "text/html",
    "html": "text/html",
    "ipynb": "application/x-ipynb+json",
    "jl": "text/plain",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "log": "text/plain",
    "md": "text/markdown",
    "npy": "application/x-npy",
    "npz": "application/x-npz",
    "pdf": "application/pdf",
    "png": "image/png",
    "py": "text/x-python",
    "r": "text/plain",
    "rst": "text/plain",
    "sh": "text/x-shellscript",
    "svg": "image/svg+xml",
    "tex": "text/x-tex",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "toml": "application/toml",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "webp": "image/webp",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
}

PreviewKind = Literal["image", "table", "text", "none"]
_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/tiff"})
_TABLES = frozenset({"text/csv", "text/tab-separated-values"})
_TEXTS = frozenset({"application/json", "application/yaml", "application/toml", "application/x-ipynb+json"})


class Reference(msgspec.Struct, frozen=True):
    """A name somebody says for an artifact, taken apart: `owner/name:path@3`, `path`, or `sha256:...`."""

    session: str | None = None
    path: str | None = None
    number: int | None = None
    digest: str | None = None


def normal_path(text: str, where: str = "$.params.artifact_path") -> str:
    """The path in NFC (macOS sends NFD). Raises InvalidInput saying what a path may not be."""
    path = unicodedata.normalize("NFC", text)
    fault = _path_fault(path)
    if fault is not None:
        raise InvalidInput(f"the path {fault}", code="bad_path", path=where, hint="such as results/figure.png")
    return path


def _path_fault(path: str) -> str | None:
    if not path:
        return "is empty"
    if any(unicodedata.category(c) in _DECEIVING or c in _REORDERING for c in path):
        return "holds control characters"
    if len(path.encode()) > limits.PATH_BYTES:
        return f"is longer than {limits.PATH_BYTES} bytes"
    if path.startswith("/"):
        return "is absolute; paths are relative to the session"
    segments = path.split("/")
    if ".." in segments or "." in segments:
        return "holds `.` or `..`"
    if "" in segments:
        return "has an empty part between slashes"
    return None


def parse_digest(text: str, where: str = "$.params.digest") -> str:
    """64 lower-case hexadecimal digits, from `sha256:...` or the digits alone."""
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise InvalidInput("a digest is `sha256:` and 64 hexadecimal digits", code="bad_digest", path=where)
    return match.group(1).lower()


def parse_reference(text: str) -> list[Reference]:
    """The meanings of a name, the likeliest first: a path may itself hold `:` and `@`."""
    if (digest := _DIGEST.fullmatch(text)) is not None and text.startswith("sha256:"):
        return [Reference(digest=digest.group(1).lower())]
    text = unicodedata.normalize("NFC", text)
    meanings = [Reference(path=text)]
    if (numbered := _NUMBERED.fullmatch(text)) is not None:
        meanings.append(Reference(path=numbered[1], number=int(numbered[2])))
    if (qualified := _QUALIFIED.fullmatch(text)) is not None:
        session, path = qualified[1], qualified[2]
        meanings.append(Reference(session=session, path=path))
        if (numbered := _NUMBERED.fullmatch(path)) is not None:
            meanings.append(Reference(session=session, path=numbered[1], number=int(numbered[2])))
        if path.startswith("sha256:") and (digest := _DIGEST.fullmatch(path)) is not None:
            meanings.append(Reference(session=session, digest=digest.group(1).lower()))
    return meanings


def check_metadata(metadata: dict[str, Any], where: str = "$.params.metadata") -> None:
    """Metadata is free in form, but bounded in size and depth."""
    size = len(msgspec.json.encode(metadata))
    if size > limits.METADATA_BYTES:
        raise InvalidInput(
            f"the metadata has {size} bytes; {limits.METADATA_BYTES} are allowed",
            code="metadata_too_large",
            path=where,
            hint="keep large values in a file of their own and name it in `lineage`",
        )
    if _depth(metadata) > limits.METADATA_DEPTH:
        raise InvalidInput(
            f"the metadata is nested deeper than {limits.METADATA_DEPTH} levels", code="metadata_too_deep", path=where
        )


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list | tuple):
        return 1 + max(map(_depth, value), default=0)
    return 0


def tools_in(metadata: dict[str, Any]) -> list[str]:
    """`tools_used` of free-form metadata, when it is what it seems: a list of names."""
    tools = metadata.get("tools_used")
    if not isinstance(tools, list) or not all(isinstance(tool, str) for tool in tools):
        return []
    return [tool[: limits.NAME_CHARACTERS] for tool in tools[:100]]


def commit_in(metadata: dict[str, Any]) -> str | None:
    """`commit_hash` (or `commit`) of free-form metadata, when it looks like one."""
    for key in ("commit_hash", "commit"):
        value = metadata.get(key)
        if isinstance(value, str) and _COMMIT.fullmatch(value):
            return value
    return None


def media_type_of(path: str) -> str:
    """By the last extension; a fixed table, so that every machine answers alike."""
    _, dot, extension = path.rsplit("/", 1)[-1].rpartition(".")
    return _MEDIA_TYPES.get(extension.lower(), "application/octet-stream") if dot else "application/octet-stream"


def preview_kind(media_type: str) -> PreviewKind:
    """What a preview of this type is made as. SVG is none: it is shown by the browser's own image sandbox."""
    if media_type in _IMAGES:
        return "image"
    if media_type in _TABLES:
        return "table"
    if media_type in _TEXTS or media_type.startswith("text/"):
        return "text"
    return "none"
