"""The registry of actions: what people can do, as typed values.

An envelope is `{"tool": ..., "params": {"action": ..., ...}}`, or the same fields at the top level. An action is found
by (tool, tag); where several shapes share a tag, the field that is present picks one (`when`). Unknown fields are
refused at every level. Every decoding error becomes InvalidInput with the JSON path of the field at fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from hub.core.errors import InvalidInput

if TYPE_CHECKING:
    from hub.core.context import Actor, Context
    from hub.core.house import House

TOOL = "distributed_collaboration"
MAXIMUM_DEPTH = 32


class Action(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, tag_field="action"
):
    """Something a person does, said in the first sentence of its docstring.

    Subclasses give `frozen=True` (again, for the type checker) and `tag=`.
    """

    secret_fields: ClassVar[tuple[str, ...]] = ()
    # Set where its handler may raise `context.Refusal`, a refusal of which something is kept, such as a count of tries:
    # the field that says whose tries they are. Of those only one is carried out at a time.
    counts_refusals: ClassVar[str] = ""


Handler = Callable[[Any, "Context"], Any]
Before = Callable[[Any, "House", "Actor"], Any]


class Registered(msgspec.Struct, frozen=True):
    """One shape of one action: its struct, its handler, the permission it needs."""

    tool: str
    tag: str
    when: str | None
    shape: type[Action]
    needs: str
    handler: Handler
    before: Before | None = None


# (tool, tag) -> shapes, those with a `when` first, the plain one last.
SHAPES: dict[tuple[str, str], list[Registered]] = {}
# Tools with one action, whose envelope need not name it.
ONLY_ACTION: dict[str, str] = {}

F = TypeVar("F", bound=Handler)


def handles(
    shape: type[Action],
    *,
    needs: str,
    tool: str = TOOL,
    when: str | None = None,
    only: bool = False,
    before: Before | None = None,
) -> Callable[[F], F]:
    """Register the handler of an action; `needs` is the permission its handler must have had checked.

    `before` is done first and outside the unit of work, where something slow (hashing a password) makes nobody wait;
    what it answers is `ctx.prepared`, which the handler does not trust to be still true.
    """
    tag = shape.__struct_config__.tag
    assert isinstance(tag, str)
    if when is not None and when not in shape.__struct_fields__:
        raise TypeError(f"{shape.__name__} has no field {when!r}")

    def register(handler: F) -> F:
        shapes = SHAPES.setdefault((tool, tag), [])
        if any(s.when == when for s in shapes):
            raise TypeError(f"{shape.__name__}: two shapes of one tag need different `when`")
        shapes.append(Registered(tool, tag, when, shape, needs, handler, before))
        shapes.sort(key=lambda s: s.when is None)
        if only:
            ONLY_ACTION[tool] = tag
        return handler

    return register


def registered(action: Action) -> Registered:
    """The registration of a decoded action."""
    return next(r for shapes in SHAPES.values() for r in shapes if r.shape is type(action))


def decode(body: bytes) -> Action:
    """An action from the bytes of an envelope.

    Raises InvalidInput (with the JSON path) for anything that is not exactly one known action.
    """
    return from_object(parse(body), "$")


def parse(body: bytes) -> Any:
    """JSON from bytes. Raises InvalidInput for bad syntax, bad UTF-8, too deep nesting and numbers out of range."""
    try:
        value = msgspec.json.decode(body)
        _check_depth(value, MAXIMUM_DEPTH)
    except RecursionError:
        raise InvalidInput("nested too deeply", code="bad_json", path="$") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidInput(f"not JSON: {error}", code="bad_json", path="$") from None
    return value


def _check_depth(value: Any, left: int) -> None:
    if left < 0:
        raise InvalidInput(f"nested deeper than {MAXIMUM_DEPTH} levels", code="bad_json", path="$")
    if isinstance(value, dict):
        for item in value.values():
            _check_depth(item, left - 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, left - 1)


def from_form(fields: dict[str, Any]) -> Action:
    """An action from the fields of an HTML form, whose numbers and booleans arrive as text."""
    return from_object(fields, "$", strict=False)


def from_object(raw: Any, path: str, *, strict: bool = True) -> Action:
    """An action from a decoded envelope; `path` is where it stands, for messages."""
    if not isinstance(raw, dict):
        raise InvalidInput(f"expected an object, got {_kind(raw)}", path=path)
    fields = dict(raw)
    tool = fields.pop("tool", TOOL if path == "$" and "action" in raw else None)
    if tool is None:
        raise InvalidInput("the envelope names no `tool`", path=path, hint=f'use "tool": "{TOOL}"')
    if not isinstance(tool, str):
        raise InvalidInput(f"expected a string, got {_kind(tool)}", path=f"{path}.tool")
    if "params" in fields:
        params = fields.pop("params")
        if fields:
            raise InvalidInput(f"fields beside `params`: {', '.join(sorted(map(str, fields)))}", path=path)
        if not isinstance(params, dict):
            raise InvalidInput(f"expected an object, got {_kind(params)}", path=f"{path}.params")
        fields, path = dict(params), f"{path}.params"
    tag = fields.get("action", ONLY_ACTION.get(tool))
    if not any(known == tool for known, _ in SHAPES):
        raise InvalidInput(
            f"unknown tool {_short(tool)}",
            code="unknown_tool",
            path=f"{path}.tool",
            hint=f"tools: {', '.join(sorted({known for known, _ in SHAPES}))}",
        )
    if not isinstance(tag, str):
        raise InvalidInput("the envelope names no `action`", path=path)
    shapes = SHAPES.get((tool, tag))
    if shapes is None:
        known = sorted(t for k, t in SHAPES if k == tool)
        raise InvalidInput(
            f"unknown action {_short(tag)}",
            code="unknown_action",
            path=f"{path}.action",
            hint=f"actions: {', '.join(known)}",
        )
    chosen = next((s for s in shapes if s.when is None or s.when in fields), None)
    if chosen is None:
        needed = " or ".join(f"`{s.when}`" for s in shapes)
        raise InvalidInput(f"{tag} needs {needed}", path=path)
    fields.setdefault("action", tag)
    _refuse_surrogates(fields, path)
    try:
        return msgspec.convert(fields, chosen.shape, strict=strict)
    except msgspec.ValidationError as error:
        message, where = _split_path(str(error))
        raise InvalidInput(message, path=path + where) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(str(error) or "nested too deeply", path=path) from None


def _refuse_surrogates(value: Any, path: str) -> None:
    """Lone surrogates and NUL cannot be stored as text; say so here rather than fail in a database driver."""
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidInput("the text holds a NUL character", path=path)
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InvalidInput("the text is not valid Unicode (a lone surrogate)", path=path) from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_surrogates(key, path)
            _refuse_surrogates(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_surrogates(item, f"{path}[{index}]")


def _split_path(text: str) -> tuple[str, str]:
    match = re.match(r"(?s)^(.*?)(?: - at (?:`key` in )?`\$(.*)`)?$", text)
    assert match is not None
    return match.group(1), match.group(2) or ""


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
