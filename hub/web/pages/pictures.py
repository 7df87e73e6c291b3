"""Files as pictures: a small card in a list, a large preview on a page. Both say in words what the picture cannot."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from hub.artifacts import previews
from hub.artifacts.previews import PreviewView
from hub.artifacts.views import ArtifactView, FileRow
from hub.core.context import Scope
from hub.core.errors import NotFound
from hub.web.pages import words
from hub.web.pages.faces import Card

_CARD_ROWS, _CARD_CELLS, _CARD_LINES = 5, 4, 7
_GLYPHS = {"image": "image", "svg": "image", "table": "table", "text": "text"}
_KINDS = {
    "image/svg+xml": "SVG picture",
    "text/csv": "Table",
    "text/tab-separated-values": "Table",
    "application/json": "JSON",
    "text/markdown": "Markdown",
    "text/x-python": "Python",
    "application/pdf": "PDF",
}


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What `preview.html` shows: a picture, the beginning of a table or of a text, or why there is none."""

    point: str
    picture: str = ""
    alt: str = ""
    width: int | None = None
    height: int | None = None
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    numeric: Sequence[int] = ()
    text: str = ""
    says: str = ""
    none: str = ""


def kind_word(media_type: str) -> str:
    """What people call a file of this type."""
    if media_type in _KINDS:
        return _KINDS[media_type]
    family, _, name = media_type.partition("/")
    if family == "image":
        return f"{name.upper()} picture"
    return "Text" if family == "text" else "File"


def card(scope: Scope, row: FileRow) -> Card:
    """A file of a list as a card."""
    header, cells, text = _beginning(scope, row.id, row.preview)
    return Card(
        href=f"/artifacts/{row.id}",
        path=row.path,
        version=row.number,
        digest=row.digest or "",
        size=words.size(row.size),
        picture=_source(row.id, row.preview, "card"),
        alt=row.alt or f"Picture of {row.path}",
        rows=[line[:_CARD_CELLS] for line in [header, *cells][:_CARD_ROWS] if line],
        text="\n".join(line[:60] for line in text.splitlines()[:_CARD_LINES]),
        glyph=_GLYPHS.get(row.preview.kind, "file"),
    )


def worth_showing(row: FileRow) -> bool:
    """Whether a card of this file shows more than its name."""
    return row.preview.kind in _GLYPHS


def preview(scope: Scope, view: ArtifactView) -> Preview:
    """The large preview of one version."""
    header, rows, text = _beginning(scope, view.id, view.preview)
    picture = _source(view.id, view.preview, "page")
    return Preview(
        point=f"artifact:{view.id}",
        picture=picture,
        alt=view.alt or f"Picture of {view.path}; no alternative text is set",
        width=view.preview.width,
        height=view.preview.height,
        header=header,
        rows=rows,
        numeric=_numeric(scope, view),
        text=text,
        says=_says(view, picture, rows, text),
        none=words.sentence(view.preview.note or "there is nothing to show of this file"),
    )


def _source(version: str, seen: PreviewView, size: str) -> str:
    if seen.kind == "svg":
        return seen.card or ""
    if seen.kind == "image" and seen.state in ("ready", "pending"):
        # A picture nobody has looked at yet is made when it is asked for.
        return f"/api/artifacts/{version}/preview?size={size}"
    return ""


def _beginning(scope: Scope, version: str, seen: PreviewView) -> tuple[list[str], list[list[str]], str]:
    if seen.state == "ready":
        with contextlib.suppress(NotFound):  # The preview was made anew between the two looks.
            if seen.kind == "table":
                table = previews.table(scope, version)
                return table.header, table.rows, ""
            if seen.kind == "text":
                return [], [], previews.text(scope, version)
    return [], [], ""


def _numeric(scope: Scope, view: ArtifactView) -> list[int]:
    if view.preview.kind == "table" and view.preview.state == "ready":
        with contextlib.suppress(NotFound):
            return previews.table(scope, view.id).numeric
    return []


def _says(view: ArtifactView, picture: str, rows: Sequence[object], text: str) -> str:
    if picture:
        return view.alt or "No alternative text is set for this picture."
    if rows:
        return f"The first {words.count(len(rows), 'row')}; the whole table is in the file."
    return "The beginning of the text." if text else ""
