"""Block Kit as Slack checks it: known shapes, and every documented length."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

TEXT = 40_000
WHOLE_MESSAGE = 13_200
VIEW_BYTES = 250_000
BLOCKS = {"message": 50, "view": 100}

Block = dict[str, Any]


class Invalid(Exception):
    """What Slack would refuse: its error name, and where."""

    def __init__(self, error: str, where: str, why: str) -> None:
        super().__init__(f"{error}: {why} [json-pointer:{where}]")
        self.error = error
        self.messages = [f"[ERROR] {why} [json-pointer:{where}]"]


def check_message(text: str, blocks: list[Block] | None) -> None:
    """Raises Invalid for a message Slack would not take."""
    if len(text) > TEXT:
        raise Invalid("msg_too_long", "/text", f"must be less than {TEXT + 1} characters")
    if blocks is None:
        return
    if not isinstance(blocks, list):
        raise Invalid("invalid_blocks_format", "/blocks", "must be an array")
    _all(blocks, "message", "/blocks")
    if sum(_characters(block) for block in blocks) > WHOLE_MESSAGE:
        raise Invalid("msg_blocks_too_long", "/blocks", f"more than {WHOLE_MESSAGE} characters together")


def check_view(view: Any) -> None:
    """Raises Invalid for a view Slack would not open."""
    if not isinstance(view, dict) or view.get("type") not in ("modal", "home"):
        raise Invalid("invalid_arguments", "/view/type", "must be modal or home")
    if len(json.dumps(view)) > VIEW_BYTES:
        raise Invalid("view_too_large", "/view", "must be at most 250 kB")
    for name in ("title", "submit", "close"):
        if name in view:
            _text(view[name], 24, f"/view/{name}", kinds=("plain_text",))
    if "title" not in view and view["type"] == "modal":
        raise Invalid("invalid_arguments", "/view", "missing required field: title")
    if len(view.get("private_metadata", "")) > 3000:
        raise Invalid("invalid_arguments", "/view/private_metadata", "must be less than 3001 characters")
    if len(view.get("callback_id", "")) > 255:
        raise Invalid("invalid_arguments", "/view/callback_id", "must be less than 256 characters")
    _all(view.get("blocks", []), "view", "/view/blocks")
    if any(block["type"] == "input" for block in view["blocks"]) and "submit" not in view:
        raise Invalid("invalid_arguments", "/view", "submit is required when an input block is present")


def _all(blocks: list[Block], surface: str, where: str) -> None:
    if len(blocks) > BLOCKS[surface]:
        raise Invalid("invalid_blocks", where, f"no more than {BLOCKS[surface]} items allowed")
    taken: set[str] = set()
    for number, block in enumerate(blocks):
        place = f"{where}/{number}"
        if not isinstance(block, dict) or block.get("type") not in _KINDS:
            raise Invalid("invalid_blocks", f"{place}/type", f"unsupported type: {block.get('type')}")
        block_id = block.get("block_id", "")
        _length(block_id, 255, f"{place}/block_id", smallest=0)
        if block_id and block_id in taken:
            raise Invalid("invalid_blocks", f"{place}/block_id", f"block_id {block_id} already exists")
        taken.add(block_id)
        if block["type"] == "input" and surface != "view":
            raise Invalid("invalid_blocks", f"{place}/type", "input blocks are for views here")
        _KINDS[block["type"]](block, place)


def _section(block: Block, where: str) -> None:
    _fields_of(block, {"text", "fields", "accessory", "expand"}, where)
    if "text" not in block and not block.get("fields"):
        raise Invalid("invalid_blocks", where, "must have text or fields")
    if "text" in block:
        _text(block["text"], 3000, f"{where}/text")
    fields = block.get("fields", [])
    if len(fields) > 10:
        raise Invalid("invalid_blocks", f"{where}/fields", "no more than 10 items allowed")
    for number, one in enumerate(fields):
        _text(one, 2000, f"{where}/fields/{number}")
    if "accessory" in block:
        _element(block["accessory"], f"{where}/accessory")


def _header(block: Block, where: str) -> None:
    _fields_of(block, {"text"}, where)
    _text(block.get("text"), 150, f"{where}/text", kinds=("plain_text",))


def _context(block: Block, where: str) -> None:
    _fields_of(block, {"elements"}, where)
    elements = _list(block, "elements", 10, where)
    for number, one in enumerate(elements):
        place = f"{where}/elements/{number}"
        if one.get("type") == "image":
            _length(one.get("alt_text"), 2000, f"{place}/alt_text")
        else:
            _text(one, 3000, place)


def _actions(block: Block, where: str) -> None:
    _fields_of(block, {"elements"}, where)
    taken: set[str] = set()
    for number, one in enumerate(_list(block, "elements", 25, where)):
        _element(one, f"{where}/elements/{number}")
        if one["action_id"] in taken:
            raise Invalid("invalid_blocks", f"{where}/elements/{number}/action_id", "action_id already exists")
        taken.add(one["action_id"])


def _input(block: Block, where: str) -> None:
    _fields_of(block, {"label", "element", "hint", "optional", "dispatch_action"}, where)
    _text(block.get("label"), 2000, f"{where}/label", kinds=("plain_text",))
    if "hint" in block:
        _text(block["hint"], 2000, f"{where}/hint", kinds=("plain_text",))
    _element(block.get("element", {}), f"{where}/element")


def _divider(block: Block, where: str) -> None:
    _fields_of(block, set(), where)


def _rich_text(block: Block, where: str) -> None:
    _fields_of(block, {"elements"}, where)
    for number, one in enumerate(_list(block, "elements", 100, where)):
        place = f"{where}/elements/{number}"
        if one.get("type") not in ("rich_text_section", "rich_text_preformatted", "rich_text_quote", "rich_text_list"):
            raise Invalid("invalid_blocks", f"{place}/type", f"unsupported type: {one.get('type')}")
        for below, piece in enumerate(one.get("elements", [])):
            kind = piece.get("type")
            if kind not in ("text", "link", "rich_text_section", "user", "emoji"):
                raise Invalid("invalid_blocks", f"{place}/elements/{below}/type", f"unsupported type: {kind}")
            if kind == "text" and not piece.get("text"):
                raise Invalid("invalid_blocks", f"{place}/elements/{below}/text", "must be more than 0 characters")


_KINDS: dict[str, Callable[[Block, str], None]] = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "input": _input,
    "divider": _divider,
    "rich_text": _rich_text,
}

_ELEMENTS = {
    "button": {"text", "value", "url", "style", "confirm", "accessibility_label"},
    "plain_text_input": {"multiline", "initial_value", "placeholder", "min_length", "max_length", "focus_on_load"},
    "static_select": {"options", "initial_option", "placeholder", "confirm"},
    "overflow": {"options", "confirm"},
}


def _element(element: Block, where: str) -> None:
    kind = element.get("type", "")
    if kind not in _ELEMENTS:
        raise Invalid("invalid_blocks", f"{where}/type", f"unsupported type: {kind}")
    unknown = set(element) - _ELEMENTS[kind] - {"type", "action_id"}
    if unknown:
        raise Invalid("invalid_blocks", where, f"unknown fields: {', '.join(sorted(unknown))}")
    _length(element.get("action_id"), 255, f"{where}/action_id")
    if kind == "button":
        _text(element.get("text"), 75, f"{where}/text", kinds=("plain_text",))
        _length(element.get("value", "x"), 2000, f"{where}/value")
        _length(element.get("url", "x"), 3000, f"{where}/url")
        if element.get("style", "primary") not in ("primary", "danger"):
            raise Invalid("invalid_blocks", f"{where}/style", "must be primary or danger")
    if "confirm" in element:
        asked = element["confirm"]
        for name, limit in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            _text(asked.get(name), limit, f"{where}/confirm/{name}")
    if kind == "plain_text_input":
        _length(element.get("initial_value", "x"), 3000, f"{where}/initial_value")
    if "placeholder" in element:
        _text(element["placeholder"], 150, f"{where}/placeholder", kinds=("plain_text",))
    for number, option in enumerate(element.get("options", [])):
        _text(option.get("text"), 75, f"{where}/options/{number}/text")
        _length(option.get("value"), 150, f"{where}/options/{number}/value")


def _text(text: Any, limit: int, where: str, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")) -> None:
    if not isinstance(text, dict) or text.get("type") not in kinds:
        raise Invalid("invalid_blocks", where, f"must be a text object of type {' or '.join(kinds)}")
    if unknown := set(text) - {"type", "text", "emoji", "verbatim"}:
        raise Invalid("invalid_blocks", where, f"unknown fields: {', '.join(sorted(unknown))}")
    if text["type"] == "mrkdwn" and "emoji" in text:
        raise Invalid("invalid_blocks", where, "emoji is for plain_text")
    _length(text.get("text"), limit, f"{where}/text")


def _length(text: Any, limit: int, where: str, smallest: int = 1) -> None:
    if not isinstance(text, str) or len(text) < smallest:
        raise Invalid("invalid_blocks", where, f"must be more than {smallest - 1} characters")
    if len(text) > limit:
        raise Invalid("invalid_blocks", where, f"must be less than {limit + 1} characters")


def _list(block: Block, name: str, limit: int, where: str) -> list[Block]:
    found = block.get(name)
    if not isinstance(found, list) or not found:
        raise Invalid("invalid_blocks", f"{where}/{name}", "must have at least 1 item")
    if len(found) > limit:
        raise Invalid("invalid_blocks", f"{where}/{name}", f"no more than {limit} items allowed")
    return found


def _fields_of(block: Block, known: set[str], where: str) -> None:
    if unknown := set(block) - known - {"type", "block_id"}:
        raise Invalid("invalid_blocks", where, f"unknown fields: {', '.join(sorted(unknown))}")


def _characters(value: Any) -> int:
    """Characters of text anywhere in a block."""
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(_characters(one) for key, one in value.items() if key != "text" or not isinstance(one, str))
    if isinstance(value, list):
        return sum(_characters(one) for one in value)
    return 0
