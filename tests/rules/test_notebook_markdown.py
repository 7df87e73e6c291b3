"""What people write, as HTML: it shows what they meant, and can do nothing else."""

from __future__ import annotations

import contextlib
import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.errors import InvalidInput
from hub.notebook import mathml
from hub.notebook.markdown import Heading, Place, render

PLACES = {
    "figures/levels 1.png": Place("/artifacts/ver_1", "/api/artifacts/ver_1/preview", "Six levels"),
    "data.csv": Place("/artifacts/ver_2", None),
}
TAGS = mathml.ELEMENTS | {
    *("p", "br", "hr", "blockquote", "pre", "code", "div", "span", "h2", "h3", "h4", "h5", "h6"),
    *("ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "a", "img", "em", "strong", "s", "del"),
}
URLS = ("http://", "https://", "mailto:", "/artifacts/", "#")


class Reader(HTMLParser):
    """Reads HTML as a browser would and complains about everything that could act."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in {"style", "srcset", "formaction", "action", "srcdoc", "background", "xlink:href"}, name
            if name == "href":
                address = (value or "").strip().lower()
                assert tag == "a"
                assert ":" not in re.split("[/?#]", address)[0] or address.startswith(URLS), address
            if name == "src":
                assert value == "/api/artifacts/ver_1/preview"
            if name == "id":
                assert (value or "").startswith("h-")
            if name == "class":
                assert value in {"eq", "scroll", "missing", "n", "c", "math-error"} or (value or "").startswith(
                    "language-"
                )

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")


def read(text: str) -> str:
    """Render, check that nothing can act, and return the text a reader sees."""
    made = render(text, PLACES).html
    reader = Reader()
    reader.feed(made)
    reader.close()
    return reader.text


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<math><annotation-xml encoding='text/html'><img src=x onerror=alert(1)></annotation-xml></math>",
    "<a href='javascript:alert(1)'>x</a>",
    "<base href='//evil'><meta http-equiv=refresh content='0;url=//evil'>",
    "<form action=//evil><input name=password autofocus onfocus=alert(1)>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo 1 ?>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A&#x61vascript:alert(1))",
    "[x](%6aavascript:alert(1))",
    "[x]( javascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](file:///etc/passwd)",
    "[x](blob:https://hub/1)",
    "[x](view-source:javascript:alert(1))",
    "[x][r]\n\n[r]: javascript:alert(1)",
    "<javascript:alert(1)>",
    '<https://a.b/"onmouseover=alert(1)>',
    '[x](https://a.b "t\\" onmouseover=alert(1) x=\\"")',
    '[x](https://a.b/"onclick=alert(1))',
    "[![x](javascript:alert(1))](javascript:alert(1))",
    "![x](https://evil.example/track.gif)",
    "![x](//evil.example/track.gif)",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](/api/me)",
    "![x](../../api/sessions)",
    "![x](artifact:../../etc/passwd)",
    "![x](artifact:unknown.png)",
    '![x" onerror="alert(1)](artifact:figures/levels%201.png)',
    "![<img src=x onerror=alert(1)>](artifact:figures/levels%201.png)",
    '![x](<artifact:figures/levels 1.png" onerror="alert(1)>)',
    "# <script>alert(1)</script> {#id onclick=alert(1)}",
    '```"><script>alert(1)</script>\nx\n```',
    "```x onclick=alert(1)\nx\n```",
    "`<script>alert(1)</script>`",
    "|<script>|\n|---|\n|<img src=x onerror=alert(1)>|",
    '|a|\n|:-:" onclick=alert(1)|\n|b|',
    r"$\text{<img src=x onerror=alert(1)>}$",
    r"$\text{</mtext></math><script>alert(1)</script>}$",
    r"$\href{javascript:alert(1)}{x}$",
    r"$\style{background:url(//evil)}{x}$",
    r"$\color{red\" onload=alert(1)}{x}$",
    r"$\class{x onload=alert(1)}{y}$",
    r"$\unknown{<script>alert(1)</script>}$",
    r"$\frac{<script>$",
    "$<script>alert(1)</script>$",
    "$$\n</math><img src=x onerror=alert(1)>\n$$",
    "$&lt;script&gt;alert(1)&lt;/script&gt;$",
    r"$\mathrm{&#x3c;script&#x3e;}$",
    "\u2028<script\u2028>alert(1)</script>",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "<ſcript>alert(1)</ſcript>",
    "＜script＞alert(1)＜/script＞",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_can_act(text: str) -> None:
    read(text)
    read(f"> - {text}\n\n**{text}**")
    read(f"|{text}|x|\n|---|--:|\n|{text}|y|")


@pytest.mark.parametrize("tag", ["<script>alert(1)</script>", "<b onclick=alert(1)>bold</b>"])
def test_html_is_shown_as_it_was_written(tag: str) -> None:
    assert tag in read(tag)


@given(st.text(alphabet="<>&\"'`*_[]()!#$\\{}|~:=-/ \nabconsiptjv^", max_size=120))
@settings(max_examples=150, deadline=None)
def test_no_mixture_of_marks_can_act(text: str) -> None:
    read(text)


def test_markdown_means_what_people_expect() -> None:
    made = render(
        "# Levels\n\nA **strong** and *soft* word, ~~gone~~, `code`.\n\n- one\n- two\n\n3. three\n\n> said\n\n"
        "| a | b |\n|---|--:|\n| x | 1.0 |\n\n```python\nprint(1 < 2)\n```\n\n[paper](https://doi.org/10.1)\n\n---\n"
    ).html
    for part in (
        '<h2 id="h-1">Levels</h2>',
        "<strong>strong</strong>",
        "<em>soft</em>",
        "<s>gone</s>",
        "<code>code</code>",
        "<li>one</li>",
        '<ol start="3">',
        "<blockquote>",
        '<th scope="col" class="n">b</th>',
        '<td class="n">1.0</td>',
        '<pre><code class="language-python">print(1 &lt; 2)\n</code></pre>',
        'rel="nofollow noopener noreferrer ugc"',
        "<hr>",
    ):
        assert part in made, part


def test_headings_move_below_the_pages_title_and_are_listed() -> None:
    rendered = render("# One *two* $x$\n\n###### deep\n\nSetext\n---\n")
    assert rendered.headings == (
        Heading(2, "h-1", "One two x"),
        Heading(6, "h-2", "deep"),
        Heading(3, "h-3", "Setext"),
    )
    assert '<h6 id="h-2">deep</h6>' in rendered.html


def test_formulas_become_mathml() -> None:
    made = render(r"Levels $E_n = (n + \tfrac{1}{2})\hbar\omega$ and" + "\n\n$$\n\\sum_{n=0}^\\infty x^n\n$$\n").html
    assert '<math display="inline">' in made
    assert "<msub><mi>E</mi><mi>n</mi></msub>" in made
    assert "<mi>ℏ</mi>" in made
    assert '<div class="eq" role="group" tabindex="0" aria-label="Equation"><math display="block">' in made
    assert "<mo>∑</mo>" in made or "∑" in made
    assert "&amp;#x" not in made


def test_a_formula_may_touch_a_number() -> None:
    assert render(r"a 10$\mu$m hole").html.count("<math") == 1


def test_prices_are_not_formulas() -> None:
    assert "<math" not in render("It costs $5 or $6, not 7 $ or $ 8.").html


@pytest.mark.parametrize("latex", [r"\frac{", "x^", "{" * 3000, r"\sqrt" * 900, "a_b_c", r"\begin{matrix}", r"\left("])
def test_a_formula_that_cannot_be_read_is_shown_as_written(latex: str) -> None:
    made = mathml.formula(latex, display=False)
    assert made.startswith('<code class="math-error" title="This formula cannot be shown: ')
    assert latex.replace("<", "&lt;") in made


@given(st.text(alphabet=r"\{}^_&$ abfracsqrtlefight()[]|<>12=-'\"%~#", max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_formula_breaks_the_converter(latex: str) -> None:
    made = mathml.formula(latex, display=True)
    assert made.startswith(("<math", "<code"))


def test_pictures_are_the_entrys_own() -> None:
    made = render("![Levels](artifact:figures/levels%201.png) ![](<figures/levels 1.png>)", PLACES).html
    assert made.count('<img src="/api/artifacts/ver_1/preview"') == 2
    assert 'alt="Levels"' in made
    assert 'alt="Six levels"' in made


def test_a_picture_that_is_not_cited_leaves_its_words() -> None:
    said = read("![The trap](https://evil.example/x.png) ![Table](artifact:data.csv)")
    assert "The trap" in said
    assert "Table" in said
    assert "<img" not in render("![The trap](https://evil.example/x.png)", PLACES).html


def test_links_to_artifacts_lead_to_their_pages() -> None:
    made = render("[data](artifact:data.csv) [same](data.csv) [none](artifact:x.csv)", PLACES).html
    assert made.count('href="/artifacts/ver_2"') == 2
    assert 'href="#"' in made


@pytest.mark.parametrize(
    "text",
    [
        "> " * 30_000,
        "- " * 30_000,
        "*" * 30_000,
        "_" * 30_000,
        "`" * 30_000,
        "$" * 30_000,
        "(" * 30_000,
        "&" * 30_000,
        "<" * 30_000,
        "|" * 30_000,
        "\\" * 30_000,
        "#" * 30_000,
        "\n" * 30_000,
        "x\n" * 15_000,
        "    " * 8_000 + "x",
        "*a **b " * 4_500,
        "`" + "a`" * 15_000,
        "[x](" * 4_000,
        "![](" * 4_000,
        "|" + "a|" * 150 + "\n|" + "-|" * 150 + "\n" + "|\n" * 150,
        "[a]: /u\n" * 4_000,
        "- " * 20 + "x\n" + "> " * 20 + "y",
    ],
    ids=lambda text: repr(text[:8]),
)
def test_nesting_and_repetition_neither_crash_nor_hang(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(InvalidInput):
        read(text)
    assert time.process_time() - began < 5  # quadratic work would take minutes


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 30_000, "brackets"),
        ("[a](b) " * 2_001, "links"),
        ("![a](b) " * 501, "pictures"),
        ("$x$ " * 2_001, "formulas"),
    ],
)
def test_more_markup_than_a_page_can_carry_is_refused(text: str, what: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        render(text)
    assert refused.value.code == "too_much_markup"
    assert what in refused.value.message


def test_an_address_defined_once_cannot_fill_the_page() -> None:
    long = f"[a]: https://x.example/{'p' * 3000} '{'t' * 15_000}'\n\n" + "[a] " * 1_900
    assert len(render(long).html) < 2_000_000
