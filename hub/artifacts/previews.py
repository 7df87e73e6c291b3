"""Previews: a thumbnail, the first rows of a table, the beginning of a text.

Made once per content by a step after a version was added (or when somebody looks first), kept as blobs in the same key
domain, and found by digest. A refusal is kept too, so that a file that breaks the renderer is tried once. What the
jailed program answers is checked like any stranger's input.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from hub.artifacts import jail, rules
from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import previews, versions
from hub.core import limits
from hub.core.context import Scope
from hub.core.database import Tx
from hub.core.errors import NotFound, Unavailable
from hub.core.house import House
from hub.core.steps import Retry, Step, runs

RENDERER = "1"  # Raised when the renderer can show more, or shows it better; what it refused is then tried again.
SVG = "image/svg+xml"
TRIES = 3
_AT_ONCE = threading.BoundedSemaphore(2)

Kind = Literal["image", "table", "text", "svg", "none"]
State = Literal["ready", "pending", "refused", "none"]
Variant = Literal["card", "page", "table", "text"]
# What may be kept for each kind: equal bytes may be a table under one name and a text under another.
_VARIANTS: dict[str, tuple[str, ...]] = {
    "image": ("card", "page", "no-image"),
    "table": ("table", "no-table"),
    "text": ("text", "no-text"),
}
_MEDIA_TYPES: dict[str, str] = {
    "card": "image/webp",
    "page": "image/webp",
    "table": "application/json",
    "text": "text/plain; charset=utf-8",
}


class Table(msgspec.Struct, frozen=True):
    """The beginning of a table: cells as text, and which columns hold numbers only."""

    header: list[str]
    rows: list[list[str]]
    numeric: list[int]
    comments: list[str]
    more: bool


class PreviewView(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to see of a version; `note` says why when there is nothing."""

    kind: Kind
    state: State
    note: str
    card: str | None = None
    page: str | None = None
    width: int | None = None
    height: int | None = None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """One variant's bytes, ready to be kept."""

    variant: str
    data: bytes
    width: int | None = None
    height: int | None = None


def make(house: House, version: str, *, is_last_try: bool = True) -> None:
    """Makes the previews of a version's content, unless they are there or were refused before.

    A refusal is kept for good, so slowness counts as one only at the last try. Raises Retry before that.
    """
    with house.db.read() as conn:
        row = conn.execute(sa.select(versions).where(versions.c.id == version)).first()
        if row is None or row.kind != "stored" or rules.preview_kind(row.media_type) == "none":
            return
        renderer = _renderer()
        done = sa.select(previews.c.variant).where(
            previews.c.domain == row.session,
            previews.c.digest == row.digest,
            previews.c.renderer == renderer,
            previews.c.variant.in_(_VARIANTS[rules.preview_kind(row.media_type)]),
        )
        if conn.execute(done).first() is not None:
            return
    try:
        made, note = _rendered(house, row)
    except jail.Stopped as stopped:
        if isinstance(stopped, jail.Slow) and not is_last_try:
            raise Retry(str(stopped), after_seconds=5) from None
        made, note = [], str(stopped)
    _keep(house, row, renderer, made, note)


@runs("make_preview")
def make_preview(step: Step, house: House) -> None:
    """The step that follows every new version."""
    make(house, step.object, is_last_try=step.attempt >= TRIES)


def make_now(house: House, version: str) -> None:
    """For somebody who looks before the step ran: at most two at once in a process. Raises Unavailable."""
    if not _AT_ONCE.acquire(timeout=limits.PREVIEW_SECONDS):
        raise Unavailable("the preview is not made yet", code="preview_pending", hint="look again in a moment")
    try:
        make(house, version, is_last_try=False)
    except Retry as slow:
        raise Unavailable(f"the preview is not made yet: {slow.reason}", code="preview_pending") from None
    finally:
        _AT_ONCE.release()


def of(scope: Scope, rows: Iterable[Any]) -> dict[str, PreviewView]:
    """What there is to see of each version row, by its id."""
    rows = list(rows)
    keys = {(row.session, row.digest) for row in rows if row.kind == "stored"}
    found: dict[tuple[str, str], list[Any]] = {}
    if keys:
        known = sa.select(previews).where(sa.tuple_(previews.c.domain, previews.c.digest).in_(list(keys)))
        for each in scope.execute(known.order_by(previews.c.at)):
            found.setdefault((each.domain, each.digest), []).append(each)
    return {row.id: _view(row, _kept(row, found.get((row.session, row.digest), []))) for row in rows}


def content(scope: Scope, version: str, variant: Variant) -> tuple[bytes, str, str]:
    """Bytes, media type and digest of one preview. Raises NotFound with the reason when there is none."""
    row = scope.execute(sa.select(versions).where(versions.c.id == version)).one()
    known = sa.select(previews).where(previews.c.domain == row.session, previews.c.digest == row.digest)
    kept = _kept(row, scope.execute(known.order_by(previews.c.at)))
    found = kept.get(variant)
    if found is None:
        view = _view(row, kept)
        raise NotFound(
            view.note or "there is no such preview of this file",
            code="preview_pending" if view.state == "pending" else "no_preview",
        )
    store = scope.port(BlobStore)  # type: ignore[type-abstract]
    return b"".join(store.open(found.blob, row.session)), found.media_type, found.blob


def table(scope: Scope, version: str) -> Table:
    """The beginning of a table. Raises NotFound."""
    data, _, _ = content(scope, version, "table")
    return msgspec.json.decode(data, type=Table)


def text(scope: Scope, version: str) -> str:
    """The beginning of a text. Raises NotFound."""
    data, _, _ = content(scope, version, "text")
    return data.decode()


def checked(head: jail.Head, data: bytes) -> list[Made]:
    """What the renderer made, if it is what it may make. Raises jail.Stopped."""
    made, at = [], 0
    for part in head.parts:
        if part.variant not in _MEDIA_TYPES or part.bytes < 0 or at + part.bytes > len(data):
            raise jail.Stopped("the renderer's answer is not what it may be")
        made.append(_checked_part(part, data[at : at + part.bytes]))
        at += part.bytes
    return made


def _checked_part(part: jail.Part, data: bytes) -> Made:
    if part.variant in ("card", "page"):
        is_webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
        if not is_webp or not 0 < part.width <= 1280 or not 0 < part.height <= 1280:
            raise jail.Stopped("the renderer's picture is not one")
        return Made(variant=part.variant, data=data, width=part.width, height=part.height)
    try:
        if part.variant == "table":
            data = msgspec.json.encode(msgspec.json.decode(data, type=Table))
        else:
            data.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise jail.Stopped("the renderer's text cannot be read") from None
    return Made(variant=part.variant, data=data)


def _renderer() -> str:
    # What a weak jail refused may be tried again in a strong one.
    return f"{RENDERER} {'limits' if jail.which_jail() == 'limits' else 'jailed'}"


def _rendered(house: House, row: sa.Row[Any]) -> tuple[list[Made], str]:
    kind, holding = rules.preview_kind(row.media_type), jail.which_jail()
    if kind == "image" and row.size > limits.PREVIEW_SOURCE_BYTES:
        return [], f"pictures above {limits.PREVIEW_SOURCE_BYTES >> 20} MiB get no preview"
    if kind == "image" and row.media_type.rpartition("/")[2].upper() not in jail.formats(holding):
        return [], jail.WORDS[holding]
    length = None if kind == "image" else limits.PREVIEW_TEXT_BYTES
    store = house.port(BlobStore)  # type: ignore[type-abstract]
    source = b"".join(store.open(row.digest, row.session, 0, length))
    head, data = jail.render_in(holding, kind, source, truncated=row.size > len(source))
    return ([], head.refused[:500]) if head.refused else (checked(head, data), "")


def _keep(house: House, row: sa.Row[Any], renderer: str, made: list[Made], note: str) -> None:
    store, now = house.port(BlobStore), house.clock.now()  # type: ignore[type-abstract]
    with store.keeping(row.session):
        kept = [(part, store.put([part.data], row.session)) for part in made]
        rows = [
            {
                "variant": part.variant,
                "blob": blob.digest,
                "size": blob.size,
                "media_type": _MEDIA_TYPES[part.variant],
                "width": part.width,
                "height": part.height,
                "note": "",
            }
            for part, blob in kept
        ]
        refusal = f"no-{rules.preview_kind(row.media_type)}"
        rows = rows or [{"variant": refusal, "note": note or "there is nothing to show"}]
        house.db.write(lambda tx: _insert(tx, row, renderer, rows, now))
    house.bus.publish(f"session:{row.session}", {"kind": "preview", "object_kind": "artifact", "object": row.id})


def _insert(tx: Tx, row: sa.Row[Any], renderer: str, rows: list[dict[str, Any]], now: dt.datetime) -> None:
    for values in rows:
        tx.insert_new(previews, domain=row.session, digest=row.digest, renderer=renderer, at=now, **values)


def _kept(row: Any, rows: Iterable[Any]) -> dict[str, Any]:
    """What was made of this kind of file, or under `none` why nothing was; what was made later counts."""
    kept: dict[str, Any] = {}
    for each in rows:
        if each.variant not in _VARIANTS.get(rules.preview_kind(row.media_type), ()):
            continue
        if each.blob is not None:
            kept.pop("none", None)
            kept[each.variant] = each
        elif not kept:
            kept["none"] = each
    return kept


def _view(row: Any, kept: dict[str, Any]) -> PreviewView:
    if row.media_type == SVG and row.kind == "stored":
        # Never drawn by the hub: as the source of an <img>, a browser runs nothing in it and fetches nothing for it.
        source = f"/api/artifacts/{row.id}/content"
        return PreviewView(kind="svg", state="ready", note="", card=source, page=source)
    kind = rules.preview_kind(row.media_type)
    if row.kind != "stored" or kind == "none":
        note = "only its place is recorded" if row.kind != "stored" else "files of this type have no preview"
        return PreviewView(kind="none", state="none", note=note)
    if "none" in kept:
        return PreviewView(kind=kind, state="refused", note=kept["none"].note)
    if not kept:
        return PreviewView(kind=kind, state="pending", note="the preview is being made")
    if kind != "image" or "page" not in kept:
        return PreviewView(kind=kind, state="ready", note="")
    base = f"/api/artifacts/{row.id}/preview"
    return PreviewView(
        kind=kind,
        state="ready",
        note="",
        card=f"{base}?size=card",
        page=f"{base}?size=page",
        width=kept["page"].width,
        height=kept["page"].height,
    )
