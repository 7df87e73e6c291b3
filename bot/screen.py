"""What the shell's door writes on: standard output for answers, standard error for everything beside them."""

import os
from collections.abc import Iterable
from datetime import datetime
from typing import TextIO

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from bot import terminal_plain, terminal_rich
from bot.cards import Reply
from bot.text import printable, printable_lines


class Wishes(msgspec.Struct):
    """What the options say that every command of the shell takes; filled in while the words are read."""

    hub: str = ""
    token_file: str = ""
    is_plain: bool = False
    as_json: bool = False


class Screen:
    """One terminal, or the pipe that stands for one."""

    def __init__(self, stdout: TextIO, stderr: TextIO, wishes: Wishes, term: str = "") -> None:
        self._stdout, self._stderr = stdout, stderr
        self._wishes = wishes
        self._can_draw = stdout.isatty() and term not in ("", "dumb", "unknown")
        self._out = Console(file=stdout, highlight=False, markup=False, emoji=False)
        self._err = Console(file=stderr, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._last_news: object = None

    @property
    def is_plain(self) -> bool:
        return self._wishes.is_plain or not self._can_draw

    @property
    def as_json(self) -> bool:
        return self._wishes.as_json

    @property
    def is_terminal(self) -> bool:
        return self._stdout.isatty()

    def lines(self, lines: Iterable[str]) -> None:
        """Full lines on standard output."""
        self._stdout.write("".join(f"{line}\n" for line in lines))
        self._stdout.flush()

    def draw(self, shown: RenderableType) -> None:
        self._out.print(shown)

    def json(self, data: object) -> None:
        self._stdout.write(msgspec.json.format(msgspec.json.encode(data)).decode() + "\n")
        self._stdout.flush()

    def aside(self, line: str) -> None:
        """One line on standard error."""
        self._stderr.write(printable(line) + "\n")
        self._stderr.flush()

    def ask(self, question: str) -> None:
        """A question on standard error, whose answer is written behind it."""
        self._stderr.write(printable(question))
        self._stderr.flush()

    def draw_aside(self, shown: RenderableType) -> None:
        self._err.print(shown)

    def update(self, reply: Reply, at: datetime) -> None:
        """Show a later state: the card redrawn in place, or one line, when it says something worth a line."""
        if not self.is_plain:
            self._redraw(self._out, terminal_rich.card(reply))
        elif (news := terminal_plain.news(reply)) != self._last_news:
            self._last_news = news
            self.lines([terminal_plain.event(reply, at)])

    def progress(self, shown: RenderableType) -> None:
        """A bar that is gone when the work is done; only where one can draw."""
        if not self.is_plain and self._stderr.isatty():
            self._redraw(self._err, shown)

    def above(self, text: str) -> None:
        """Lines of a log, above whatever is alive on the screen."""
        if self.is_plain:
            self._stdout.write(printable_lines(text) + "\n")
            self._stdout.flush()
        else:
            self._out.print(Text.from_ansi(text), soft_wrap=True)

    def raw(self, content: bytes) -> None:
        """Bytes as they are, for a pipe."""
        self._stdout.flush()
        self._stdout.buffer.write(content)
        self._stdout.buffer.flush()

    def write(self, text: str) -> None:
        self._stdout.write(text)
        self._stdout.flush()

    def settle(self) -> None:
        """End the live part and leave its last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def clear(self) -> None:
        """End the live part and take it off the screen."""
        if self._live is not None:
            self._live.transient = True
            self.settle()

    def abandon(self) -> None:
        """Write nothing more: who read standard output went away, and the interpreter would flush to it at its end."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stdout.fileno())

    def _redraw(self, console: Console, shown: RenderableType) -> None:
        if self._live is None:
            self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")
            self._live.start()
        self._live.update(shown, refresh=True)
