"""Writes deploy/reference.md from the code it describes: settings, actions, commands, roles, limits.

    python deploy/reference.py            write the file
    python deploy/reference.py --check    exit with 1 when the committed file says something else

The reference is generated because a table kept by hand is wrong by the second release; a test compares the two.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import inspect

from bot.commands import COMMANDS
from hub import app, cli
from hub.core import limits
from hub.core.actions import SHAPES, Registered
from hub.core.roles import HUB_PERMISSIONS, SESSION_PERMISSIONS
from hub.core.settings import documented

TARGET = Path(__file__).with_suffix(".md")
INTRODUCTION = """# Reference

Written by `make docs` from the code it describes; do not edit it by hand.
"""


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell(text) for text in row) + " |"


def first_sentence(doc: str | None) -> str:
    paragraph = (doc or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split())


# --- settings ---------------------------------------------------------------------------------------------------------


def settings() -> Iterator[str]:
    yield "## Settings\n"
    yield "From the environment, from the file named by `NAME_FILE`, or (in lower case, without the prefix) from the"
    yield "TOML file named by `COLLEGIUM_CONFIG`. The environment wins; an unknown name is refused.\n"
    rows = (
        (f"`{name}`", f"`{default}`" if str(default) else "", text + (" *Secret.*" if secret else ""))
        for name, default, text, secret in documented()
    )
    yield from table(("Setting", "Default", "What it is"), rows)


# --- actions ----------------------------------------------------------------------------------------------------------


def shown(kind: inspect.Type) -> str:  # noqa: PLR0912 - one line a kind of type
    """A type the way a caller writes it in JSON."""
    match kind:
        case inspect.UnionType(types=types):
            return " or ".join(sorted({shown(t) for t in types if not isinstance(t, inspect.NoneType)}))
        case inspect.LiteralType(values=values):
            return " or ".join(f"`{v}`" for v in values)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) | inspect.SetType(item_type=item):
            return f"list of {shown(item)}"
        case inspect.TupleType(item_types=items):
            return f"list of {', '.join(shown(item) for item in items)}"
        case inspect.DictType(value_type=value):
            return f"object of {shown(value)}"
        case inspect.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
        case inspect.StrType():
            return "text"
        case inspect.IntType():
            return "integer"
        case inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "true or false"
        case inspect.DateTimeType():
            return "time (RFC 3339)"
        case inspect.EnumType(cls=cls):
            return " or ".join(f"`{member.value}`" for member in cls)
        case _:
            return "anything"


def fields_of(shape: type[msgspec.Struct]) -> Iterator[tuple[str, str, str]]:
    described = inspect.type_info(shape)
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        if field.required:
            default = "required"
        elif field.default_factory is not msgspec.NODEFAULT or field.default in (None, "", (), msgspec.NODEFAULT):
            default = ""
        else:
            default = f"`{field.default}`" if not isinstance(field.default, msgspec.Struct) else ""
        yield f"`{field.encode_name}`", shown(field.type), default


def parts_of(shape: type[msgspec.Struct], found: dict[str, type[msgspec.Struct]]) -> None:
    """Every struct an action holds, at any depth, by name."""

    def walk(kind: inspect.Type) -> None:
        if isinstance(kind, inspect.StructType) and kind.cls.__name__ not in found:
            found[kind.cls.__name__] = kind.cls
            for field in kind.fields:
                walk(field.type)
        for name in ("item_type", "value_type"):
            if (inner := getattr(kind, name, None)) is not None:
                walk(inner)
        for inner in (*getattr(kind, "types", ()), *getattr(kind, "item_types", ())):
            walk(inner)

    described = inspect.type_info(shape)
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        walk(field.type)


def action(one: Registered) -> Iterator[str]:
    yield f"\n### {one.tag}" + (f" (with `{one.when}`)" if one.when else "") + "\n"
    yield f"{first_sentence(one.shape.__doc__)} Tool `{one.tool}`, needs `{one.needs}`.\n"
    rows = list(fields_of(one.shape))
    if rows:
        yield from table(("Field", "Type", "Default"), iter(rows))


def actions() -> Iterator[str]:
    yield "## Actions\n"
    yield '`POST /api/actions` takes `{"tool": ..., "params": {"action": ..., ...}}`. Unknown fields are refused,'
    yield "except in `metadata`. An `Idempotency-Key` makes a retry return the first answer."
    found: dict[str, type[msgspec.Struct]] = {}
    for _, shapes in sorted(SHAPES.items()):
        for one in shapes:
            yield from action(one)
            parts_of(one.shape, found)
    for name, part in sorted(found.items()):
        yield f"\n### {name}\n"
        if part.__doc__ and not part.__doc__.startswith(f"{name}("):
            yield f"{first_sentence(part.__doc__)}\n"
        yield from table(("Field", "Type", "Default"), fields_of(part))


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(tree: click.Command, path: tuple[str, ...] = ("collegium",)) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that call it."""
    if not isinstance(tree, click.Group):
        yield " ".join(path), tree
        return
    for name, child in sorted(tree.commands.items()):
        if not child.hidden:
            yield from commands(child, (*path, name))


def parameter(one: click.Parameter) -> str:
    if isinstance(one, click.Argument):
        text = one.make_metavar(click.Context(click.Command("x"))).rstrip(".").strip("[]")
        return f"{text if one.required else f'[{text}]'}{'...' if one.nargs == -1 else ''}"
    return max(one.opts, key=len)


def shell() -> Iterator[str]:
    for title, sentence, is_everyones in (
        (
            "Commands",
            "The same words work in the shell, in chat and in a room. `--help` after any of them says more.",
            True,
        ),
        (
            "Operator's commands",
            "In the shell of the hub's own machine. Each of the Procfile's parts is one of them.",
            False,
        ),
    ):
        yield f"\n## {title}\n\n{sentence}\n"
        shown_here = (
            (n, c) for n, c in commands(cli.tree) if (n.split()[1] in {e.name for e in COMMANDS}) == is_everyones
        )
        yield from table(("Command", "What it does"), (command_row(name, one) for name, one in shown_here))


def command_row(name: str, command: click.Command) -> tuple[str, str]:
    parameters = "".join(f" `{parameter(p)}`" for p in command.params if p.name != "help")
    return f"`{name}`{parameters}", first_sentence(command.help or command.short_help)


# --- roles and limits -------------------------------------------------------------------------------------------------


def roles() -> Iterator[str]:
    for title, held in (("a session", SESSION_PERMISSIONS), ("the hub", HUB_PERMISSIONS)):
        yield f"\n## Roles in {title}\n"
        names = sorted({permission for permissions in held.values() for permission in permissions})
        yield from table(
            ("Permission", *held),
            ((f"`{name}`", *("yes" if name in permissions else "" for permissions in held.values())) for name in names),
        )


def amount(value: Any) -> str:
    if isinstance(value, int) and value >= 1024 and value % 1024 == 0:
        for unit in ("KiB", "MiB", "GiB", "TiB"):
            value //= 1024
            if value % 1024 or value < 1024:
                return f"{value} {unit}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def bounds() -> Iterator[str]:
    yield "\n## Limits\n"
    values = (
        (name, value)
        for name, value in vars(limits).items()
        if len(name) > 3 and name.isupper() and isinstance(value, int | float)
    )
    rows = ((f"`{name}`", amount(value) if name.endswith("_BYTES") else f"{value:,}") for name, value in values)
    yield from table(("Limit", "Value"), rows)


def reference() -> str:
    app.register_features()
    parts = [INTRODUCTION]
    for part in (settings, actions, shell, roles, bounds):
        parts.append("\n".join(part()) + "\n")
    return "\n".join(parts).replace("\n\n\n", "\n\n")


if __name__ == "__main__":
    text = reference()
    # What msgspec has made of our types is not looked through at the end: it may free one twice then (its issue 717).
    gc.freeze()
    if "--check" in sys.argv:
        sys.exit(TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
