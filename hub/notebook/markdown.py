"""Markdown as HTML that may stand in a page, whoever wrote it.

Three walls stand one behind the other: raw HTML is never parsed as such; links and pictures go only where `_may_link`
and the caller's places allow; and the result passes an allow-list sanitiser (nh3) that knows nothing of the first two.
Pictures are the session's own artifacts, never a remote address, so that reading an entry tells nobody. Headings move
down one level, since the page has its own title, and get ids that start with `h-`, so that no text can take over an id
of the page.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from hub.core.errors import InvalidInput
from hub.notebook import mathml

NESTING = 40
# Each bounds work or output that grows faster than the text: a link's address can be defined once and used ten thousand
# times.
LINKS = 2_000
PICTURES = 500
FORMULAS = 2_000
BRACKETS = 10_000
ADDRESS_CHARACTERS = 2_000
LINK_TITLE_CHARACTERS = 200
HTML_CHARACTERS = 8 * 1024 * 1024
ARTIFACT = "artifact:"

_SCHEMES = frozenset({"http", "https", "mailto", "artifact"})
_LANGUAGE = re.compile(r"language-[A-Za-z0-9+#.-]{1,30}")
_DIGITS = re.compile(r"[0-9]{1,9}")

_TAGS = mathml.ELEMENTS | {
    *("p", "br", "hr", "blockquote", "pre", "code", "div", "span", "h2", "h3", "h4", "h5", "h6"),
    *("ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"),
    *("a", "img", "em", "strong", "s", "del"),
}
_ATTRIBUTES: dict[str, set[str]] = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "loading"},
    "code": {"class", "title"},
    "ol": {"start"},
    **{heading: {"id"} for heading in ("h2", "h3", "h4", "h5", "h6")},
    **{element: set(mathml.ATTRIBUTES) for element in mathml.ELEMENTS},
}
_FIXED: dict[str, dict[str, set[str]]] = {
    "div": {"class": {"eq", "scroll"}, "role": {"group"}, "tabindex": {"0"}, "aria-label": {"Equation", "Table"}},
    "span": {"class": {"missing"}},
    "th": {"scope": {"col"}, "class": {"n", "c"}},
    "td": {"class": {"n", "c"}},
}


class Heading(msgspec.Struct, frozen=True):
    """A heading of an entry, for its list of contents."""

    level: int
    id: str
    text: str


class Rendered(msgspec.Struct, frozen=True):
    html: str
    headings: tuple[Heading, ...]


class Place(msgspec.Struct, frozen=True):
    """Where an artifact an entry names can be seen: its page, and its picture if it has one."""

    page: str
    picture: str | None
    alt: str = ""


def render(text: str, places: Mapping[str, Place] | None = None) -> Rendered:
    """HTML of `text`; `places` says where the artifacts lie that it may show and link, by path.

    Raises InvalidInput for text no page can carry: too many links, pictures or formulas, or nested past all use.
    """
    if text.count("[") > BRACKETS:
        raise _too_much("brackets", BRACKETS)
    environment: dict[str, Any] = {"places": places or {}, "pictures": set()}
    try:
        tokens = _PARSER.parse(text, environment)
        headings = tuple(_prepare(tokens))
        made = str(_PARSER.renderer.render(tokens, _PARSER.options, environment))
    except RecursionError:
        raise InvalidInput("the text is nested too deeply to be shown", code="nested_too_deeply") from None
    if len(made) > HTML_CHARACTERS:
        raise _too_much("characters of HTML", HTML_CHARACTERS)
    return Rendered(_sanitised(made, environment["pictures"]), headings)


def _prepare(tokens: Sequence[Token]) -> list[Heading]:
    """Count what is bounded, move headings down a level and give them ids."""
    counts = {"link_open": 0, "image": 0, "math": 0}
    headings: list[Heading] = []
    for place, token in enumerate(tokens):
        for each in (token, *_descendants(token)):
            kind = "math" if each.type.startswith("math_") else each.type
            if kind in counts:
                counts[kind] += 1
        if token.type == "heading_open":
            heading = Heading(min(int(token.tag[1]) + 1, 6), f"h-{len(headings) + 1}", _plain(tokens[place + 1]))
            headings.append(heading)
            token.tag = tokens[place + 2].tag = f"h{heading.level}"
            token.attrSet("id", heading.id)
    for kind, most, what in (
        ("link_open", LINKS, "links"),
        ("image", PICTURES, "pictures"),
        ("math", FORMULAS, "formulas"),
    ):
        if counts[kind] > most:
            raise _too_much(what, most)
    return headings


def _descendants(token: Token) -> list[Token]:
    found: list[Token] = []
    for child in token.children or ():
        found.append(child)
        found.extend(_descendants(child))
    return found


def _plain(inline: Token) -> str:
    return "".join(t.content for t in _descendants(inline) if t.type in {"text", "code_inline", "math_inline"})[
        :200
    ].strip()


def _may_link(address: str) -> bool:
    if len(address) > ADDRESS_CHARACTERS:
        return False
    scheme, colon, _ = re.split(r"[/?#]", address.strip(), maxsplit=1)[0].partition(":")
    return not colon or scheme.lower() in _SCHEMES


def _link_open(_: Any, tokens: Sequence[Token], index: int, __: Any, environment: dict[str, Any]) -> str:
    address = str(tokens[index].attrGet("href") or "")
    path = _artifact_path(address)
    place = environment["places"].get(path if path is not None else address)
    if place is not None:
        address = place.page
    elif path is not None:
        address = "#"
    title = str(tokens[index].attrGet("title") or "")[:LINK_TITLE_CHARACTERS]
    told = f' title="{escapeHtml(title)}"' if title else ""
    return f'<a href="{escapeHtml(address)}"{told}>'


def _image(_: Any, tokens: Sequence[Token], index: int, __: Any, environment: dict[str, Any]) -> str:
    address = str(tokens[index].attrGet("src") or "")
    path = _artifact_path(address)
    name = path if path is not None else _unquoted(address)
    place: Place | None = environment["places"].get(name)
    alt = _plain(tokens[index]) or (place.alt if place else "")
    if place is None or place.picture is None:
        reason = "not a picture" if place else "only pictures cited by this entry are shown"
        return f'<span class="missing">{escapeHtml(alt or "Picture")} ({escapeHtml(name[:200])}: {reason})</span>'
    environment["pictures"].add(place.picture)
    return f'<img src="{escapeHtml(place.picture)}" alt="{escapeHtml(alt)}" loading="lazy">'


def _artifact_path(address: str) -> str | None:
    return _unquoted(address[len(ARTIFACT) :]) if address[: len(ARTIFACT)].lower() == ARTIFACT else None


def _unquoted(address: str) -> str:
    return urllib.parse.unquote(address)


def _formula(display: bool) -> Callable[..., str]:
    def rule(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
        made = mathml.formula(tokens[index].content.strip(), display=display)
        return f'<div class="eq" role="group" tabindex="0" aria-label="Equation">{made}</div>\n' if display else made

    return rule


def _inline_display_formula(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    # Within a paragraph no block may stand, so the formula itself says that it is displayed.
    return mathml.formula(tokens[index].content.strip(), display=True)


def _table_open(*_: Any) -> str:
    return '<div class="scroll" role="group" tabindex="0" aria-label="Table"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _cell_open(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    token = tokens[index]
    aligned = str(token.attrGet("style") or "")
    marks = ' scope="col"' if token.tag == "th" else ""
    if aligned.endswith("right"):
        marks += ' class="n"'
    elif aligned.endswith("center"):
        marks += ' class="c"'
    return f"<{token.tag}{marks}>"


class _Parser(MarkdownIt):
    """The parser with our idea of which addresses may be linked."""

    def validateLink(self, url: str) -> bool:
        return _may_link(url)


def _parser() -> MarkdownIt:
    parser = _Parser("commonmark", {"html": False, "maxNesting": NESTING}).enable(["table", "strikethrough"])
    parser.use(dollarmath_plugin, allow_labels=False, allow_space=False, double_inline=True)
    for name, rule in {
        "link_open": _link_open,
        "image": _image,
        "math_inline": _formula(display=False),
        "math_inline_double": _inline_display_formula,
        "math_block": _formula(display=True),
        "table_open": _table_open,
        "table_close": _table_close,
        "th_open": _cell_open,
        "td_open": _cell_open,
    }.items():
        parser.add_render_rule(name, rule)
    return parser


_PARSER = _parser()


def _sanitised(made: str, pictures: set[str]) -> str:
    def keep(tag: str, attribute: str, value: str) -> str | None:
        if tag == "img" and attribute == "src":
            return value if value in pictures else None
        if tag == "code" and attribute == "class":
            return value if value == "math-error" or _LANGUAGE.fullmatch(value) else None
        if tag == "ol" and attribute == "start":
            return value if _DIGITS.fullmatch(value) else None
        if attribute == "id":
            return value if value.startswith("h-") else None
        return value

    return nh3.clean(
        made,
        tags=set(_TAGS),
        clean_content_tags={"script", "style"},
        attributes=_ATTRIBUTES,
        tag_attribute_values=_FIXED,
        attribute_filter=keep,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer ugc",
    )


def _too_much(what: str, most: int) -> InvalidInput:
    return InvalidInput(
        f"the text holds more than {most:,} {what}",
        code="too_much_markup",
        hint="split the entry, or attach the text as an artifact",
    )
