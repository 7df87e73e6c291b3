"""A form that comes back as it was sent, with what was wrong beside its fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from hub.core.errors import HubError
from hub.web.pages import words

# `$.params.resources.nodes is more than one`, `$.params.resources.time: ...`, as errors tell of several fields at once.
_TOLD = re.compile(r"\$\.(?:params\.)?([A-Za-z_][\w.]*)(?:\[[^\]]*\])*(:?)\s+(.+)", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
# A field by its path, as messages write it among their words.
_PATH = re.compile(r"`?(?:\$\.(?:params\.)?)?\b([a-z]+\.[a-z_]+)\b`?")
_TYPES = {
    "int": "a whole number is wanted here",
    "float": "a number is wanted here",
    "bool": "yes or no is wanted here",
}
_EXPECTED = re.compile(r"Expected `(int|float|bool)(?: \| null)?`(?: (<=|>=) ([\d.e+]+))?")
_LENGTH = re.compile(r"Expected `(str|array)(?: \| null)?` of length (<=|>=) (\d+)")
SEE = "Nothing was stored. What is wrong stands beside its field."


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A form as it was sent, and what came of it: words beside fields, words of its own, keys to compare."""

    fields: dict[str, str] = {}
    wrong: dict[str, str] = {}
    said: str = ""
    hint: str = ""
    lines: Sequence[str] = ()  # what an error lists, where no field can have it beside it
    compare: list[tuple[str, str]] = []  # (whose, fingerprint)
    sent: dict[str, str] = {}  # what goes along hidden while a key is compared

    def value(self, name: str, default: str = "") -> str:
        return self.fields.get(name, default)

    def beside(self, name: str) -> str:
        return self.wrong.get(name, "")

    def has(self, names: list[str]) -> bool:
        """Whether anything was filled in, or is wrong, in one of these."""
        return any(self.fields.get(name) or name in self.wrong for name in names)


def asked(
    fields: dict[str, str],
    error: HubError,
    said: str = SEE,
    labels: Mapping[str, str] | None = None,
    others: Mapping[str, str] | None = None,
) -> Asked:
    """A form that was refused: beside the fields the error names, or above them all.

    `fields` is all of its fields as they were sent, `labels` what people call them by their names. `others` are paths
    for which a field of another name stands.
    """
    known = {base(name): label for name, label in (labels or {}).items()}
    of = {base(name): name for name in fields} | {path: name for path, name in (others or {}).items() if name in fields}
    told = [_TOLD.fullmatch(each) for each in error.errors]
    several = {of[each[1]]: full(_whole(each, known)) for each in told if each and each[1] in of}
    if several and len(several) == len(error.errors):
        return Asked(fields=fields, wrong=_hinted(several, error.hint), said=said)
    message, field = error.message, field_of(error)
    if missing := _MISSING.match(message):
        field, message = missing[1], "this is needed"
    if field in of:
        return Asked(
            fields=fields, wrong=_hinted({of[field]: full(named(plainly(message), known))}, error.hint), said=said
        )
    lines = [named(each, known) for each in error.errors if each not in message]
    return Asked(fields=fields, said=full(named(message, known)), hint=full(error.hint), lines=lines)


def base(name: str) -> str:
    """The path of a field of a form: `artifacts[,]` is `artifacts`."""
    return name.partition("[")[0]


def field_of(error: HubError) -> str:
    """The form's name for the field an error is about: `$.params.jump.host_keys[0]` is `jump.host_keys`."""
    return base((error.path or "").removeprefix("$.params.").removeprefix("$."))


def plainly(message: str) -> str:
    """What a decoder says of a value, in words for somebody who typed it."""
    if match := _EXPECTED.match(message):
        bound = {"<=": "at most", ">=": "at least"}.get(match[2] or "", "")
        return f"{_TYPES[match[1]]}, {bound} {match[3]}" if bound else _TYPES[match[1]]
    if match := _LENGTH.match(message):
        if match[2] == ">=":
            return "this is needed"
        return f"this is too long: at most {match[3]}" + (" characters" if match[1] == "str" else "")
    return message


def full(text: str) -> str:
    """Words as a sentence."""
    text = words.sentence(text)
    return text if not text or text.endswith((".", "?", "!")) else f"{text}."


def named(text: str, labels: Mapping[str, str]) -> str:
    """The text with what people call a field in the place of its path."""
    return _PATH.sub(lambda match: labels.get(match[1], match[0]), text)


def _whole(told: re.Match[str], labels: Mapping[str, str]) -> str:
    """Words that follow the field's name, with what it is called; after a colon they are a sentence of their own."""
    words_of_it = named(plainly(told[3]), labels)
    return words_of_it if told[2] else f"{labels.get(told[1], 'this')} {words_of_it}"


def _hinted(wrong: dict[str, str], hint: str) -> dict[str, str]:
    """With what helps behind the last of them."""
    last = list(wrong)[-1]
    return {**wrong, last: f"{wrong[last]} {full(hint)}".strip()}
