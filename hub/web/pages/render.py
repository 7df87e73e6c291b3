"""From a template and its facts to HTML: one environment, escaping always on, nothing inline.

The content security policy allows no inline script and no inline style, so a template carries neither: colours are
classes, lengths are attributes of `<progress>` and of SVG.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hub.web.pages import faces, words

STATIC = Path(__file__).resolve().parents[3] / "static"


@functools.lru_cache(maxsize=64)
def _print_of(path: Path, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def asset(name: str) -> str:
    """URL of a file under `static/`, with the digest of its content, so that it may be cached for ever."""
    path = STATIC / name
    try:
        return f"/static/{name}?v={_print_of(path, path.stat().st_mtime_ns)}"
    except FileNotFoundError:
        return f"/static/{name}"


def _digest(digest: str) -> Markup:
    parts = words.groups(digest)
    first = Markup("<b>{}</b> ").format(parts[0]) if parts else Markup("")
    return Markup('<span class="digest">{}{}</span>').format(
        first, Markup(" ").join(Markup("<span>{}</span>").format(part) for part in parts[1:])
    )


def _iso(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@functools.lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The one Jinja environment: undefined names are errors, every value is escaped unless it is Markup."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ago_of": words.ago,
        "count": words.count,
        "digest": _digest,
        "duration": words.duration,
        "iso": _iso,
        "listing": words.listing,
        "memory": words.memory,
        "moment": words.moment,
        "sentence": words.sentence,
        "short": words.short,
        "size": words.size,
    }
    made.globals |= {"asset": asset, "icons": functools.partial(asset, "icons/glyphs.svg"), "words": words}
    return made


def html(template: str, frame: faces.Frame, *, now: dt.datetime, **facts: Any) -> str:
    """The page as text."""
    return environment().get_template(template).render(frame=frame, now=now, **facts)
