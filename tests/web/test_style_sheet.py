"""The style sheet's colours can be read in both themes, and no page carries what the content policy forbids."""

import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CSS = "".join((ROOT / "static" / name).read_text() for name in ("style.css", "pages.css"))
TEMPLATES = sorted((ROOT / "hub" / "web" / "pages" / "templates").glob("*.html"))
MODULES = sorted((ROOT / "static" / "js").glob("*.js"))
_PAIR = re.compile(r"--([\w-]+): light-dark\(oklch\(([^)]*)\), oklch\(([^)]*)\)\)")
COLOURS = {name: (light, dark) for name, light, dark in _PAIR.findall(CSS)}
STATES = ("run", "ok", "wait", "bad")
GROUNDS = ("paper", "surface", "sunken", "hover")
TEXTS = ("ink", "ink-2", "ink-3", "accent", "accent-strong", *STATES)
PEOPLE = tuple(f"m{number}" for number in range(1, 9))
READ = [
    *((text, ground) for text in TEXTS for ground in GROUNDS),
    *((state, f"{state}-wash") for state in (*STATES, "accent")),
    *((text, f"{state}-wash") for text in ("ink", "ink-2") for state in (*STATES, "accent")),
    *(("on-accent", ground) for ground in ("accent", "accent-strong", "ink-3", *PEOPLE)),
]


def luminance(oklch: str) -> float:
    """Relative luminance (WCAG 2.2) of an OKLCH colour, by way of linear sRGB."""
    lightness, chroma, hue = (float(part) for part in oklch.split())
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    return sum(share * min(1.0, max(0.0, part)) for share, part in ((0.2126, red), (0.7152, green), (0.0722, blue)))


def contrast(text: str, ground: str, theme: int) -> float:
    darker, lighter = sorted(luminance(COLOURS[name][theme]) for name in (text, ground))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_text_keeps_a_contrast_of_4_5(theme: int) -> None:
    low = {(text, ground): contrast(text, ground, theme) for text, ground in READ}
    assert {pair: round(ratio, 2) for pair, ratio in low.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_the_edges_of_controls_keep_a_contrast_of_3(theme: int) -> None:
    assert all(contrast("edge", ground, theme) >= 3 for ground in ("paper", "surface", "sunken"))


def test_every_custom_property_that_is_used_is_defined() -> None:
    used = set(re.findall(r"var\(--([\w-]+)[,)]", CSS))
    assert used - set(re.findall(r"--([\w-]+):", CSS)) - {"tone", "tone-state"} == set()


def test_the_style_sheet_asks_for_nothing_outside() -> None:
    assert re.findall(r"@import|url\(|https?:", CSS) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_inline_style_or_script_and_escapes_everything(template: Path) -> None:
    text = template.read_text()
    assert re.findall(r"\sstyle=|\son\w+=|<style|javascript:|\|\s*safe\b|autoescape", text) == []
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert re.findall(r"""(?:src|href|action)=["']https?:""", text) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_never_reads_text_as_markup(module: Path) -> None:
    text = module.read_text()
    forbidden = (
        r"innerHTML|outerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\"style"
    )
    assert re.findall(forbidden, text) == []
