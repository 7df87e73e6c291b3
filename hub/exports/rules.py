r"""What goes into an Overleaf project, and how text people wrote becomes LaTeX that cannot do anything.

Everything is escaped character by character: no command, no comment, no end of an argument can come out of a name, a
caption or a piece of metadata. A character that a plain LaTeX may lack is written as `\anychar{HEX}`, which prints it
where the engine can and its number where it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

INCLUDED_BYTES = 200 * 1024 * 1024
FIGURE_BYTES = 40 * 1024 * 1024
FILES = 1_000
CAPTION_CHARACTERS = 2_000

FIGURES = {"image/png": "png", "image/jpeg": "jpg", "application/pdf": "pdf"}
DATA = {"text/csv": "csv", "text/tab-separated-values": "tsv", "application/json": "json", "image/svg+xml": "svg"}

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": "-{}",  # two in a row would become a dash
    "\n": " ",
    "\r": " ",
    "\t": " ",
}
_UNSAFE_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9]+")


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """A version that goes into an export, with what its caption and its provenance say."""

    version: str
    path: str
    number: int
    kind: str  # stored | reference
    digest: str | None
    size: int
    media_type: str
    alt: str | None
    metadata: dict[str, Any]
    tools_used: tuple[str, ...]
    author: str
    at: str
    commit: str | None
    job: str | None
    made_from: tuple[str, ...]


class Included(msgspec.Struct, frozen=True):
    """A file of the project: its name in it, or None with the reason why it is only listed."""

    material: Material
    name: str | None
    is_figure: bool
    why_not: str = ""


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if " " <= character <= "~":
        return character
    if "\u00c0" <= character <= "\u00ff":
        return character
    if not character.isprintable():
        return r"\anychar{FFFD}"
    return rf"\anychar{{{ord(character):X}}}"


def caption(material: Material) -> str:
    """What a figure shows: its caption or title in the metadata, else its alternative text, else its path."""
    for said in (material.metadata.get("caption"), material.metadata.get("title"), material.alt):
        if isinstance(said, str) and said.strip():
            return " ".join(said.split())[:CAPTION_CHARACTERS]
    return material.path


def chosen(materials: Sequence[Material]) -> list[Included]:
    """Every material with its name in the project; what is too large or lies elsewhere is listed, not included."""
    left, result = INCLUDED_BYTES, []
    for place, material in enumerate(materials, 1):
        is_figure = material.media_type in FIGURES
        extension = FIGURES.get(material.media_type) or DATA.get(material.media_type)
        if material.kind != "stored" or material.digest is None:
            result.append(Included(material, None, False, "kept elsewhere; only its location is known here"))
        elif extension is None:
            result.append(Included(material, None, False, "neither a figure nor a table"))
        elif material.size > min(left, FIGURE_BYTES):
            result.append(Included(material, None, False, "too large for a project"))
        else:
            left -= material.size
            folder = "figures" if is_figure else "data"
            result.append(Included(material, f"{folder}/{place:03}-{_stem(material.path)}.{extension}", is_figure))
    return result


def _stem(path: str) -> str:
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return _UNSAFE_IN_FILE_NAMES.sub("-", stem).strip("-")[:60] or "file"


def archive_path(session_name: str) -> str:
    """Where the project is kept in the session: one path, whose versions are the exports made so far."""
    return f"exports/overleaf-{_UNSAFE_IN_FILE_NAMES.sub('-', session_name).strip('-') or 'session'}.zip"
