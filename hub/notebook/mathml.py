r"""LaTeX formulas as MathML, so that every browser and screen reader has them without a script.

The converter keeps its symbols as character references in element text and lets `\href` and `\style` set attributes;
so we resolve the references ourselves and copy only the attributes that shape a formula. What cannot be read is shown
as it was written, with the reason.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from xml.etree.ElementTree import Element, tostring

from latex2mathml import exceptions
from latex2mathml.converter import convert_to_element

FORMULA_CHARACTERS = 4_000

ELEMENTS = frozenset(
    {
        *(
            "math",
            "mrow",
            "mi",
            "mn",
            "mo",
            "ms",
            "mtext",
            "mspace",
            "mstyle",
            "merror",
            "mpadded",
            "mphantom",
            "menclose",
        ),
        *("mfrac", "msqrt", "mroot", "mfenced", "msub", "msup", "msubsup", "munder", "mover", "munderover"),
        *("mmultiscripts", "mprescripts", "none", "mtable", "mtr", "mtd"),
    }
)
ATTRIBUTES = frozenset(
    {
        *("display", "displaystyle", "scriptlevel", "mathvariant", "mathsize", "mathcolor", "notation"),
        *("accent", "accentunder", "fence", "form", "largeop", "movablelimits", "separator", "stretchy", "symmetric"),
        *("height", "depth", "width", "voffset", "lspace", "rspace", "minsize", "maxsize", "linethickness"),
        *("columnalign", "columnlines", "columnspacing", "rowalign", "rowlines", "rowspacing"),
    }
)
_OWN_ERRORS: tuple[type[Exception], ...] = tuple(
    each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, Exception)
)
# Beside its own errors, the converter lets these out for formulas that break off or misplace a command.
_UNREADABLE: tuple[type[Exception], ...] = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    *_OWN_ERRORS,
)
_HARMLESS_VALUE = re.compile(r"[A-Za-z0-9 .%#+-]{0,60}")
_REFERENCE = re.compile(r"&#x[0-9A-Fa-f]{1,6};")


@lru_cache(maxsize=4096)
def formula(latex: str, *, display: bool) -> str:
    """MathML of a formula, or its source in a `code` element that says why it could not be set."""
    if len(latex) > FORMULA_CHARACTERS:
        return _as_written(latex, f"longer than {FORMULA_CHARACTERS:,} characters")
    try:
        element = convert_to_element(latex, display="block" if display else "inline")
        clean = _copy(element)
    except RecursionError:
        return _as_written(latex, "nested too deeply")
    except _UNREADABLE:
        return _as_written(latex, "it is not complete LaTeX, or uses what is not known here")
    return tostring(clean, encoding="unicode", short_empty_elements=False)


def _copy(element: Element) -> Element:
    if element.tag not in ELEMENTS:
        raise ValueError(element.tag)
    kept = {
        name: value for name, value in element.attrib.items() if name in ATTRIBUTES and _HARMLESS_VALUE.fullmatch(value)
    }
    copy = Element(element.tag, kept)
    copy.text = _resolved(element.text)
    copy.extend(_copy(child) for child in element)
    return copy


def _resolved(text: str | None) -> str | None:
    return text and _REFERENCE.sub(lambda reference: html.unescape(reference.group()), text)


def _as_written(latex: str, reason: str) -> str:
    told = html.escape(f"This formula cannot be shown: {reason}.")
    return f'<code class="math-error" title="{told}">{html.escape(latex)}</code>'
