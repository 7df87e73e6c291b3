"""What people type, made into words a command can be parsed from: pure functions over text.

Phones and chat clients turn `--` into a dash and `"` into a typographic quote. Outside code these are turned back;
inside backticks nothing is touched, because there every character may matter. An apostrophe inside a word is a
letter here, not a quote: `note post Ben's run` is four words and no open quotation.
"""

import re
from collections.abc import Iterator

import msgspec

_DASHES = "\u2012\u2013\u2014\u2015\u2212"
_DOUBLE_QUOTES = "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033"
_SINGLE_QUOTES = "\u2018\u2019\u201a\u201b\u2032"
_SPACES = "\u00a0\u2007\u202f\u2009\u200a\u2002\u2003"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys(_DOUBLE_QUOTES, '"'),
        **dict.fromkeys(_SINGLE_QUOTES, "'"),
        **dict.fromkeys(_SPACES, " "),
        **dict.fromkeys(_INVISIBLE, ""),
    }
)

# A long dash that opens a word stood for two hyphens when the person typed it.
_OPENING_DASH = re.compile(rf"(?:(?<=\s)|^)[{_DASHES}]-?(?=[A-Za-z])")
_BARE_DASH = re.compile(rf"(?:(?<=\s)|^)[{_DASHES}]+(?=\s|$)")

_CODE = re.compile(r"```(?P<fence>.*?)(?:```|\Z)|`(?P<span>[^`\n]+)`", re.DOTALL)

# The C0 and C1 controls and the bidirectional overrides: what could move a cursor or reverse a name.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_ESCAPES = re.compile(r"\x1b(?!\[[0-9;]*m)(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|.?)", re.DOTALL)
_TERMINAL_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")


class Unclosed(ValueError):
    """A quotation was opened and not closed; `quote` says with which character."""

    def __init__(self, quote: str) -> None:
        super().__init__(f"the quotation opened with {quote} is not closed")
        self.quote = quote


class _Piece(msgspec.Struct, frozen=True):
    text: str
    is_code: bool


def lines_joined(text: str) -> str:
    """CRLF and lone CR as LF, so that a script written on Windows runs on a cluster."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def normalise(text: str) -> str:
    """`text` with typographic dashes, quotes and spaces outside code turned into what was meant."""
    return "".join(
        piece.text if piece.is_code else _plain(piece.text) for piece in _pieces(lines_joined(text), bare=False)
    )


def words(text: str) -> list[str]:
    """The words of a command line from chat. A code block is one word, with its lines as they are.

    Raises Unclosed for a quotation that does not end.
    """
    found: list[str] = []
    open_word: str | None = None
    for piece in _pieces(lines_joined(text), bare=True):
        if piece.is_code:
            open_word = (open_word or "") + piece.text
            continue
        plain = _plain(piece.text)
        if plain[:1].isspace() and open_word is not None:
            found.append(open_word)
            open_word = None
        split, open_word = _split(plain, open_word)
        found.extend(split)
    if open_word is not None:
        found.append(open_word)
    return found


def printable(text: str) -> str:
    """`text` as one harmless line: no control character, no reversed direction."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", lines_joined(text).replace("\n", " ").replace("\t", " "))


def printable_lines(text: str) -> str:
    """Like `printable`, with the line breaks and tabs kept."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", lines_joined(text))


def safe_for_terminal(text: str) -> str:
    """A log as a terminal may show it: colours stay, everything that moves, clears, titles or asks is dropped."""
    return _TERMINAL_CONTROLS.sub("", _ESCAPES.sub("", text))


def _plain(text: str) -> str:
    swapped = text.translate(_CHARACTERS)
    return _BARE_DASH.sub("--", _OPENING_DASH.sub("--", swapped))


def _pieces(text: str, *, bare: bool) -> Iterator[_Piece]:
    """Text and code in turn; `bare` leaves the backticks and a fence's language out."""
    position = 0
    for code in _CODE.finditer(text):
        if code.start() > position:
            yield _Piece(text[position : code.start()], is_code=False)
        yield _Piece(_code(code) if bare else code.group(), is_code=True)
        position = code.end()
    if position < len(text):
        yield _Piece(text[position:], is_code=False)


def _code(found: re.Match[str]) -> str:
    fence = found.group("fence")
    if fence is None:
        return found.group("span")
    first, newline, rest = fence.partition("\n")
    # "```bash" names the language of the block; "```#!/bin/sh" already is its first line.
    body = rest if newline and re.fullmatch(r"[A-Za-z0-9_+-]*\s*", first) else fence
    return body.rstrip("\n") + "\n"


def _split(text: str, word: str | None) -> tuple[list[str], str | None]:
    """Complete words of `text`, and the word still open at its end. `word` was begun before it."""
    done: list[str] = []
    quote = ""
    characters = iter(text)
    for character in characters:
        if quote:
            if character == quote:
                quote = ""
            elif character == "\\" and quote == '"':
                following = next(characters, "")
                word = (word or "") + (following if following in '"\\' else "\\" + following)
            else:
                word = (word or "") + character
        elif character.isspace():
            if word is not None:
                done.append(word)
            word = None
        elif character in "\"'" and (word is None or word.endswith("=")):
            quote, word = character, word or ""
        elif character == "\\":
            word = (word or "") + next(characters, "\\")
        else:
            word = (word or "") + character
    if quote:
        raise Unclosed(quote)
    return done, word
