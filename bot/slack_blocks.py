"""A reply as Slack's blocks: rich text throughout, so that nothing anybody wrote is ever read as mark-up.

`text` beside the blocks is the whole card in a sentence: the notification, and what a screen reader reads. Lengths are
budgeted, because Slack refuses a whole message for one character too many; what is cut says so and where the rest is.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from bot.cards import Next, Progress, Reply, Table
from bot.problems import Problem
from bot.slack_text import clipped, escaped, length, one_line, tail, visible
from bot.terminal_plain import problem_lines

Block = dict[str, Any]
Rendered = dict[str, Any]

# Slack takes about 13,200 characters in all; buttons and their questions, at most 2,500, are not in the budget.
WHOLE, TEXT, PIECE, HEADER, LABEL, VALUE, BUTTONS, LIST_ROWS = 9_500, 3_500, 2_900, 150, 75, 2_000, 5, 40
_URL_LENGTH = 3_000
# A word only the person can fill in: KEY, SCRIPT, EMAIL:ROLE.
_PLACEHOLDER = re.compile(r"[A-Z]{2,}(?:[:|.][A-Za-z]+)*")
_NUMBER = re.compile(r"#?[1-9]\d{0,8}")
_GLYPHS = {"FULL": "▰", "EMPTY": "▱"}


def reply_blocks(reply: Reply, call: str = "/collegium ") -> Rendered:
    """`text` and `blocks` of a reply."""
    budget = _Budget(WHOLE)
    blocks = [
        *_head(reply, budget),
        *_secret(reply, budget),
        *_facts(reply, budget),
        *_body(reply, budget),
        *_table(reply.table, budget, reply.url),
        *_next(reply, call, budget),
    ]
    text = escaped(clipped(one_line(reply.sentence or reply.title), TEXT)) or "Done."
    return {"text": text, "blocks": blocks or [_rich([_section([_text("Done.")])])]}


def problem_blocks(problem: Problem, call: str = "/collegium ") -> Rendered:
    """`text` and `blocks` of what was not done, in the words every door uses; what was probably meant is a button."""
    lines = [one_line(line) for line in problem_lines(problem)]
    shown = clipped("\n".join(lines), PIECE)
    first, _, rest = shown.partition("\n")
    parts = [_text(first, bold=True), *([_text("\n" + rest)] if rest else [])]
    blocks = [_rich([_section(parts)])]
    if problem.fix and "…" not in problem.fix and not any(_is_placeholder(word) for word in problem.fix.split()):
        meant = Next(call + problem.fix, tuple(problem.fix.split()))
        blocks.append({"type": "actions", "elements": [_button(meant, 0, "")]})
    return {"text": escaped(clipped(" ".join(lines), TEXT)), "blocks": blocks}


def plain_blocks(sentence: str, buttons: Sequence[Block] = ()) -> Rendered:
    """One paragraph of our own, with buttons below it."""
    shown = clipped(visible(sentence), PIECE)
    blocks = [_rich([_section([_text(shown)])])]
    if buttons:
        blocks.append({"type": "actions", "elements": list(buttons)})
    return {"text": escaped(one_line(shown)), "blocks": blocks}


def button(label: str, action: str, *, value: str = "", url: str = "", style: str = "", confirm: str = "") -> Block:
    """One button. With `confirm`, Slack asks that question before it sends anything."""
    made: Block = {"type": "button", "action_id": action[:255], "text": _plain(label, LABEL)}
    if value:
        made["value"] = value
    if url and len(url) <= _URL_LENGTH:
        made["url"] = url
    if style:
        made["style"] = style
    if confirm:
        made["confirm"] = {
            "title": _plain("Are you sure?", 100), "text": _plain(confirm, 300),
            "confirm": _plain("Yes", 30), "deny": _plain("No", 30),
        }  # fmt: skip
    return made


def words_of(value: str) -> list[str]:
    """The command a button carries. Raises ValueError for what is none."""
    try:
        return msgspec.json.decode(value, type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


class _Budget:
    """How many characters this message may still have."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, text: str, limit: int = PIECE, *, from_the_end: bool = False) -> str:
        limit = min(limit, self.left)
        if limit < 40:
            return ""
        kept = tail(text, limit) if from_the_end else clipped(text, limit)
        self.left -= length(kept)
        return kept


def _head(reply: Reply, budget: _Budget) -> Iterator[Block]:
    if reply.title:
        glyph = f"{reply.state.glyph} " if reply.state else ""
        title = budget.take(glyph + one_line(reply.title), HEADER)
        yield {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}
    if reply.sentence and not reply.is_text:
        sentence = budget.take(one_line(reply.sentence))
        bar = _bar(reply.progress)
        yield _rich([_section([_text(sentence), *([_text("\n" + bar)] if bar else [])])])


def _bar(progress: Progress | None) -> str:
    if progress is None or progress.fraction is None:
        return ""
    full = int(min(max(progress.fraction, 0.0), 1.0) * 12)
    return _GLYPHS["FULL"] * full + _GLYPHS["EMPTY"] * (12 - full)


def _facts(reply: Reply, budget: _Budget) -> Iterator[Block]:
    elements: list[Block] = []
    for field in reply.fields:
        value = budget.take(one_line(field.value), 1_000)
        if value:
            name = budget.take(one_line(field.name), 100)
            elements += [_text(f"{name}: ", bold=True), _text(value + "\n")]
    if elements:
        elements[-1]["text"] = elements[-1]["text"].rstrip("\n")
        yield _rich([_section(elements)])


def _body(reply: Reply, budget: _Budget) -> Iterator[Block]:
    body = visible(reply.body).strip("\n")
    if not body:
        return
    # Of a log the end matters, of everything else the beginning.
    is_log = bool(reply.title)
    room = min(max(budget.left - 1_500, 0), 6_000)
    kept = budget.take(body, room, from_the_end=is_log)
    if not kept:
        return
    yield _rich([{"type": "rich_text_preformatted", "elements": [_text(kept)]}])
    if kept != body and reply.url:
        yield _context("Not all of it is shown here; the page has the rest.")


def _table(table: Table | None, budget: _Budget, url: str) -> Iterator[Block]:
    if table is None:
        return
    items: list[Block] = []
    for row in table.rows[:LIST_ROWS]:
        sentence = budget.take(one_line(row.sentence), 400) if budget.left > 1_000 else ""
        if not sentence:
            break
        items.append(_section([_text(sentence)]))
    if items:
        yield _rich([{"type": "rich_text_list", "style": "bullet", "elements": items}])
    if len(items) < len(table.rows):
        yield _context(f"{len(table.rows) - len(items):,} more are not shown here." + (f" {url}" if url else ""))
    if table.more:
        yield _rich([_section([_text(budget.take(one_line(table.more), 400) or "There is more.")])])


def _secret(reply: Reply, budget: _Budget) -> Iterator[Block]:
    if reply.secret is None:
        return
    name, value = budget.take(one_line(reply.secret.name), 100), budget.take(one_line(reply.secret.value), 2_500)
    elements = [_text(f"{name}: ", bold=True), _text(value, code=True)]
    if reply.secret.warning:
        elements.append(_text("\n" + budget.take(one_line(reply.secret.warning), 500)))
    yield _rich([_section(elements)])


def _next(reply: Reply, call: str, budget: _Budget) -> Iterator[Block]:
    """What can be done from here: buttons; a command with a word only the person knows is written out instead."""
    buttons: list[Block] = []
    written: list[str] = []
    for number, one in enumerate(reply.next):
        if one.command and any(_is_placeholder(word) for word in one.command):
            written.append(f"{one_line(one.label)}: {call}{' '.join(one_line(word) for word in one.command)}")
        elif one.command or one.url:
            buttons.append(_button(one, number, reply.session))
    if reply.url:
        buttons.append(button("open the page", "page", url=reply.url))
    if buttons:
        yield {"type": "actions", "elements": buttons[:BUTTONS]}
    if written:
        yield _context(budget.take("\n".join(written), 600))


def _button(one: Next, number: int, session: str) -> Block:
    if not one.command:
        return button(one.label, f"open:{number}", url=one.url)
    value = msgspec.json.encode(_placed(one.command, session)).decode()
    if len(value) > VALUE:
        return button(one.label, f"open:{number}", url=one.url)
    asked = f"{one.label[:1].upper()}{one.label[1:]}: {' '.join(one.command)}" if one.is_dangerous else ""
    return button(
        one.label, f"do:{number}", value=value, style="danger" if one.is_dangerous else "", confirm=one_line(asked)
    )


def _placed(command: Sequence[str], session: str) -> list[str]:
    """The command with its session named: a button is pressed later, and the channel may have another by then."""
    if not session or "--session" in command or not any(_NUMBER.fullmatch(word) for word in command):
        return list(command)
    return [*command, "--session", session]


def _is_placeholder(word: str) -> bool:
    return bool(_PLACEHOLDER.fullmatch(word))


def _rich(elements: Iterable[Block]) -> Block:
    return {"type": "rich_text", "elements": list(elements)}


def _section(elements: Iterable[Block]) -> Block:
    return {"type": "rich_text_section", "elements": list(elements)}


def _text(text: str, *, bold: bool = False, code: bool = False) -> Block:
    made: Block = {"type": "text", "text": text or " "}
    if style := {name: True for name, wanted in (("bold", bold), ("code", code)) if wanted}:
        made["style"] = style
    return made


def _plain(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": clipped(one_line(text), limit) or "…", "emoji": False}


def _context(text: str) -> Block:
    return {
        "type": "context",
        "elements": [{"type": "plain_text", "text": clipped(visible(text), PIECE), "emoji": False}],
    }
