"""Text on its way to and from Slack: what people typed, without Slack's wrapping; what they see, without surprises.

Outwards nothing a person or a log says can ping, format, link or reverse: `&<>` are escaped where Slack reads mark-up,
and what has no width or turns the direction of writing is shown by its code point. Pure.
"""

import re
import unicodedata

_WRAPPED = re.compile(r"<(?P<what>[^<>|\s][^<>|]*)(?:\|(?P<label>[^<>]*))?>")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
_ENTITY = re.compile("|".join(_ENTITIES))
# They join letters in Persian and parts of an emoji; between Latin letters they only hide.
_JOINERS = "\u200c\u200d"
_KEPT = "\n\t"


def heard(text: str) -> str:
    """What a person typed, from Slack's form of it: links and names unwrapped, entities undone."""
    return _ENTITY.sub(lambda found: _ENTITIES[found[0]], _WRAPPED.sub(_unwrapped, text))


def _unwrapped(found: re.Match[str]) -> str:
    what, label = found["what"], found["label"]
    if what[0] in "@#!":
        return f"{what[0].replace('!', '@')}{label or what[1:]}"
    if label is None:
        return what.removeprefix("mailto:").removeprefix("tel:")
    # Slack makes links of e-mail addresses and of file names that could be hosts: `lines.md`.
    return label if what.removesuffix("/").endswith(label) else what


def without_mention(text: str, bot_user: str) -> str:
    """A message without the bot's own name in it."""
    return re.sub(rf"\s?<@{re.escape(bot_user)}(?:\|[^>]*)?>:?", " ", text).strip() if bot_user else text.strip()


def visible(text: str) -> str:
    """`text` with every character shown that has no shape of its own but could mislead: `[U+202E]`."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(_shown(character, text[at - 1 : at], text[at + 1 : at + 2]) for at, character in enumerate(text))


def _shown(character: str, before: str, after: str) -> str:
    if character in _KEPT or character.isprintable():
        return character
    kind = unicodedata.category(character)
    if kind == "Zs":
        return " "
    if character in _JOINERS and before and after and not (before.isascii() or after.isascii()):
        return character
    return f"[U+{ord(character):04X}]"


def one_line(text: str) -> str:
    """`visible`, on one line."""
    return " ".join(visible(text).split())


def escaped(text: str) -> str:
    """Text where Slack reads mark-up: no name, channel or link can come of it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def length(text: str) -> int:
    """Characters as Slack may count them: an emoji outside the first plane counts twice."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def clipped(text: str, limit: int) -> str:
    """The beginning of `text`, with `…` where it was cut."""
    if length(text) <= limit:
        return text
    kept = text[: limit - 1]
    while (over := length(kept) - (limit - 1)) > 0:
        kept = kept[: -max(1, over // 2)]  # each takes away one or two, so never too much
    return kept.rstrip() + "…"


def tail(text: str, limit: int) -> str:
    """The end of `text`, from the beginning of a line, with `…` where it was cut."""
    if length(text) <= limit:
        return text
    kept = text[-(limit - 2) :]
    while (over := length(kept) - (limit - 2)) > 0:
        kept = kept[max(1, over // 2) :]
    _, newline, whole_lines = kept.partition("\n")
    return "…\n" + (whole_lines if newline and whole_lines else kept)
