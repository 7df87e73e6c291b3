"""What is written about the hub is true: the reference is the code's own, and every command, target and link exists."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from hub import app, cli
from hub.core.actions import SHAPES
from hub.core.settings import documented

HOUSE = Path(__file__).parent.parent
PAGES = sorted([*HOUSE.glob("*.md"), *HOUSE.glob("deploy/*.md"), HOUSE / "hub" / "demo" / "data" / "README.md"])
REFERENCE = HOUSE / "deploy" / "reference.md"
SHELL_BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@cache
def writer() -> dict[str, Any]:
    return runpy.run_path(str(HOUSE / "deploy" / "reference.py"))


def written(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every `collegium ...` and `make ...` that a page tells somebody to type."""
    for page in PAGES:
        for block in SHELL_BLOCK.findall(written(page)):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words and words[0] in ("collegium", "make"):
                    yield f"{page.relative_to(HOUSE)}: {line}", words


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", written(HOUSE / "Makefile"), re.MULTILINE))


def command_of(words: list[str]) -> click.Command | None:
    """The command that these words call, following nouns; None where there is none."""
    command: click.Command | None = cli.tree
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.commands.get(word)
    return command


def test_the_reference_is_what_the_code_says_now() -> None:
    assert written(REFERENCE) == writer()["reference"](), "run `make docs`"


@pytest.mark.parametrize("setting", [name for name, *_ in documented()])
def test_every_setting_is_documented(setting: str) -> None:
    assert f"`{setting}`" in written(REFERENCE)


def test_every_action_is_documented_with_a_sentence() -> None:
    app.register_features()
    shapes = [shape for group in SHAPES.values() for shape in group]
    assert shapes
    for shape in shapes:
        assert f"\n### {shape.tag}" in written(REFERENCE)
        assert re.search(r"\w{3}.*\.", shape.shape.__doc__ or ""), f"{shape.shape.__name__} says nothing of itself"


def test_every_command_is_documented_with_a_sentence() -> None:
    for name, command in writer()["commands"](cli.tree):
        assert f"`{name}`" in written(REFERENCE)
        assert (command.help or "").strip(), f"{name} says nothing of itself"


def test_every_command_that_a_page_tells_to_type_exists() -> None:
    lines = list(command_lines())
    assert len(lines) >= 5
    for where, (program, *words) in lines:
        if program == "make":
            assert {word for word in words if "=" not in word} <= targets(), where
        else:
            command = command_of([word for word in words if not word.startswith("-")])
            assert command is not None, where
            known = {flag for parameter in command.params for flag in parameter.opts} | {"--help", "--plain", "--json"}
            used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert used <= known, where


def test_every_part_in_the_procfile_is_a_command() -> None:
    for line in written(HOUSE / "Procfile").splitlines():
        program, verb = line.partition(": ")[2].split()[:2]
        assert program == "collegium"
        assert command_of([verb]) is not None, line


def test_every_make_target_says_what_it_does_and_the_readme_names_those_of_a_newcomer() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", written(HOUSE / "Makefile"), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets()
    for target in ("run", "test"):
        assert f"make {target}" in written(HOUSE / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(HOUSE).as_posix())
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(written(page)):
        place, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = page.parent / place if place else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", written(file), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in slugs, target
