"""The forms an empty `job submit` or `note post` opens: its options as fields, its errors beside them."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from bot.problems import Problem
from bot.slack_blocks import button, plain_blocks
from bot.slack_spoken import Payload, Spoken, said_words
from bot.slack_text import clipped, one_line

View = dict[str, Any]
ERROR_LENGTH = 1_500


class Field(msgspec.Struct, frozen=True):
    """One field: the option it stands for, and what is said beside it."""

    name: str
    option: str
    label: str
    hint: str = ""
    is_long: bool = False
    is_optional: bool = True
    is_split: bool = False


class Form(msgspec.Struct, frozen=True):
    """A command as a form; the field without an option stands last, behind `--`."""

    title: str
    command: tuple[str, ...]
    submit: str
    fields: tuple[Field, ...]


FORMS = {
    "job": Form(
        "Submit a job",
        ("job", "submit"),
        "Submit",
        (
            Field(
                "script", "SCRIPT", "Script", "The script itself, or the path of one in the session.", is_long=True,
                is_optional=False,
            ),
            Field("arguments", "ARGS", "Arguments", "What the script is called with.", is_split=True),
            Field("inputs", "--in", "Files it reads", "Paths in the session, parted by spaces.", is_split=True),
            Field("name", "--name", "Name"),
            Field("time", "--time", "Time at most", "As Slurm writes it: 30, 2:00:00, 1-12."),
            Field("memory", "--memory", "Memory a node", "500M, 32GB."),
            Field("cpus", "--cpus", "Processors a node"),
        ),
    ),
    "note": Form(
        "Write an entry",
        ("note", "post"),
        "Save",
        (
            Field("title", "TITLE", "Title", is_optional=False),
            Field("text", "--text", "Text", "Markdown, with LaTeX formulas.", is_long=True, is_optional=False),
            Field("tools", "--tool", "Tools used", "Parted by commas, with versions if they matter."),
            Field("conclusions", "--conclusions", "Conclusions", is_long=True),
        ),
    ),
}  # fmt: skip


class Origin(msgspec.Struct, frozen=True):
    """Where a form was asked for: kept in the form, since Slack does not say when it comes back."""

    kind: str
    channel: str
    thread: str = ""
    response_url: str = ""
    call: str = "/collegium "


def form(kind: str, spoken: Spoken) -> View:
    """The view to open."""
    one = FORMS[kind]
    origin = Origin(kind, spoken.channel, spoken.thread, spoken.response_url, spoken.call)
    return {
        "type": "modal",
        "callback_id": f"form:{kind}",
        "title": _plain(one.title),
        "submit": _plain(one.submit),
        "close": _plain("Cancel"),
        "private_metadata": msgspec.json.encode(origin).decode(),
        "blocks": [_block(field) for field in one.fields],
    }


def asked_for(kind: str) -> dict[str, Any]:
    """Where no form can be opened by itself, a button that opens it."""
    one = FORMS[kind]
    return plain_blocks(
        f"{' '.join(one.command)} needs more words. Fill in the form, or put a script into a code block.",
        [button("open the form", f"form:{kind}", style="primary")],
    )


def filled_in(body: Payload) -> tuple[Origin, list[str]]:
    """Where a form came from, and the command it makes. Raises Problem when a quotation does not close."""
    view = body["view"]
    origin = msgspec.json.decode(view["private_metadata"], type=Origin)
    values = {block: _value(next(iter(actions.values()), {})) for block, actions in view["state"]["values"].items()}
    said = list(FORMS[origin.kind].command)
    last: list[str] = []
    for field in FORMS[origin.kind].fields:
        value = values.get(field.name, "")
        if not value.strip():
            continue
        if field.option.startswith("--"):
            for word in _parts(field, value):
                said += [field.option, word]
        else:
            last += said_words(value) if field.is_split else [value.replace("\r\n", "\n")]
    return origin, [*said, "--", *last]


def errors(kind: str, problem: Problem) -> dict[str, str]:
    """What is wrong, by field; what belongs to none stands below the first."""
    fields = FORMS[kind].fields
    by_option = {field.option: field.name for field in fields}
    found: dict[str, str] = {}
    for line in problem.errors or ():
        where, colon, what = line.partition(": ")
        if colon and (name := _field(by_option, where)):
            found.setdefault(name, _said(what))
    if not found:
        where = problem.path or problem.detail.partition(":")[0]
        name = _field(by_option, where)
        detail = problem.detail.removeprefix(f"{where}: ") if name else problem.detail
        found[name or fields[0].name] = _said(f"{detail} {problem.hint}".strip())
    return found


def _field(by_option: Mapping[str, str], where: str) -> str:
    return by_option.get(re.split(r"[.\[ ]", where, maxsplit=1)[0], "")


def _said(text: str) -> str:
    return clipped(one_line(text), ERROR_LENGTH)


def _parts(field: Field, value: str) -> list[str]:
    if field.is_split:
        return said_words(value)
    if field.option == "--tool":
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value.strip() if not field.is_long else value]


def _value(told: Payload) -> str:
    return str(told.get("value") or "")


def _block(field: Field) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "input",
        "block_id": field.name,
        "label": _plain(field.label),
        "element": {"type": "plain_text_input", "action_id": "value", "multiline": field.is_long},
        "optional": field.is_optional,
    }
    if field.hint:
        made["hint"] = _plain(field.hint)
    return made


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}
