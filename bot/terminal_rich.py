"""A reply for a terminal that can draw: the same facts in the same order as the lines, laid out for the eye.

Colour only repeats what a word or a shape already says. Nothing a person wrote is read as markup: all of it is `Text`.
"""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from bot import words
from bot.cards import Next, Progress, Reply, State, Table
from bot.problems import Problem
from bot.text import printable, printable_lines

_STYLES = {"quiet": "dim", "wait": "yellow", "run": "blue", "ok": "green", "bad": "red"}
_COMMAND = "cyan"
_INDENT = (0, 0, 0, 2)
_BAR_COLUMNS = 40


def card(reply: Reply, call: str = "collegium ") -> RenderableType:
    """The whole reply."""
    if reply.is_text:
        return Text(printable_lines(reply.body).rstrip())
    parts: list[RenderableType] = [_head(reply)]
    if reply.progress is not None:
        parts += ["", Padding(_progress(reply.progress), _INDENT)]
    if reply.fields:
        parts += ["", Padding(_facts(reply), _INDENT)]
    if reply.body:
        parts += ["", Padding(Text(printable_lines(reply.body).rstrip()), _INDENT)]
    if reply.table is not None and reply.table.rows:
        parts += [_list(reply.table)]
    if reply.secret is not None:
        parts += ["", Padding(_secret(reply), _INDENT)]
    steps = [Padding(_next(reply.next, call), _INDENT)] if reply.next else []
    page = [Padding(Text(printable(reply.url), style=_COMMAND, overflow="fold"), _INDENT)] if reply.url else []
    parts += ["", *steps, *page] if steps or page else []
    return Group(*parts)


def state(shown: State) -> Text:
    return Text(f"{shown.glyph} {shown.word}", style=_STYLES[shown.tone])


def problem(told: Problem) -> RenderableType:
    """A problem, with the same words as its lines."""
    first = Text("Error: ", style="bold red")
    first.append(printable(told.detail), style="default")
    if told.fix:
        first.append(" Did you mean ", style="default").append(printable(told.fix), style=_COMMAND).append(
            "?", "default"
        )
    parts: list[RenderableType] = [first]
    if told.path:
        parts.append(Text(f"Where: {printable(told.path)}"))
    parts += [Text(f"  - {printable(error)}") for error in told.errors]
    if told.body:
        parts.append(Text(printable_lines(told.body).rstrip("\n"), style="dim"))
    if told.hint:
        parts.append(Text(f"Hint: {printable(told.hint)}"))
    if told.request_id and told.status == 500:
        parts.append(Text(f"Request: {printable(told.request_id)}", style="dim"))
    return Group(*parts)


def _head(reply: Reply) -> RenderableType:
    head = Text(printable(reply.title), style="bold")
    for part in (
        state(reply.state) if reply.state is not None else None,
        Text(printable(reply.session), style="dim") if reply.session and reply.title else None,
        Text(printable(reply.sentence)) if not reply.title else None,
    ):
        if part is not None:
            head.append("   " if head else "").append_text(part)
    return head


def _progress(progress: Progress) -> RenderableType:
    said = printable(progress.said)
    if progress.fraction is None:
        return Text(said)
    row = Grid.grid(padding=(0, 2))
    row.add_row(
        ProgressBar(total=1.0, completed=progress.fraction, width=_BAR_COLUMNS),
        Text(words.percent(progress.fraction)),
        Text(said),
    )
    return row


def _facts(reply: Reply) -> RenderableType:
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for field in reply.fields:
        grid.add_row(Text(printable(field.name)), Text(printable(field.value)))
    return grid


def _list(table: Table) -> RenderableType:
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column, cells in zip(table.columns, zip(*(row.cells for row in table.rows), strict=True), strict=False):
        # An id or a digest is copied whole or not at all; what has spaces can be wrapped at one of them.
        grid.add_column(column, overflow="fold", no_wrap=not any(" " in cell for cell in cells))
    for row in table.rows:
        grid.add_row(*(Text(printable(cell)) for cell in row.cells))
    below: list[RenderableType] = [Text(printable(table.more), style="dim")] if table.more else []
    return Group("", Padding(grid, _INDENT), *(Padding(more, _INDENT) for more in below))


def _secret(reply: Reply) -> RenderableType:
    assert reply.secret is not None
    # Never wrapped: a broken line is copied with its break.
    shown = Text(printable(reply.secret.value), style="bold", no_wrap=True, overflow="ignore")
    warning: Iterator[RenderableType] = iter([Text(printable(reply.secret.warning), style="dim")])
    return Group(Text(reply.secret.name, style="dim"), shown, *(warning if reply.secret.warning else ()))


def _next(steps: tuple[Next, ...], call: str) -> RenderableType:
    grid = Grid.grid(padding=(0, 3))
    grid.add_column(style=_COMMAND, no_wrap=True)
    grid.add_column(style="dim")
    for step in steps:
        what = call + " ".join(step.command) if step.command else step.url
        grid.add_row(Text(printable(what)), Text(step.label))
    return grid
