"""The help of every command, word for word. After a wanted change: `python -m tests.bot.test_help` writes it again."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bot.commands import tree
from bot.terminal import receive

GOLDEN = Path(__file__).with_name("help.txt")


class _Pipe(io.StringIO):
    def isatty(self) -> bool:
        return False


def levels(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from levels(command, (*path, name))
        else:
            yield (*path, name)


def written() -> str:
    parts = []
    for words in levels(tree):
        out = _Pipe()
        assert receive(tree, [*words, "--help"], environ={}, stdout=out, stderr=out) == 0
        parts.append(f"$ {' '.join(('collegium', *words))} --help\n\n{out.getvalue()}")
    return "\n\n".join(parts)


def test_help_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert written() == GOLDEN.read_text(encoding="utf-8")


def test_no_line_of_help_is_wider_than_a_terminal() -> None:
    assert max(map(len, GOLDEN.read_text(encoding="utf-8").splitlines())) <= 80


if __name__ == "__main__":
    import os

    os.environ["COLUMNS"] = "80"
    GOLDEN.write_text(written(), encoding="utf-8")
