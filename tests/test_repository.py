"""What the repository may hold: nothing that is true on one machine only, nothing unfinished, nothing too long."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent

TOP = {
    ".ci", ".gitignore", ".npmrc", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "Procfile", "README.md",
    "SECURITY.md", "bot", "deploy", "hub", "package-lock.json", "package.json", "pyproject.toml", "static", "tests",
    "uv.lock",
}  # fmt: skip

LONGEST = 600
# A script that is submitted as one file and must be read as one file.
LONGER = {"hub/demo/analysis.py": 720}

OF_ONE_MACHINE = re.compile(
    r"/root/|/home/[a-z]|/Users/[a-z]|/work/(?:main|notes)|\.\./shared|/tmp/bash|docker\.internal"
)
REGISTRY = re.compile(
    r"//(?:[\w.-]+\.)?(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com|jsdelivr\.net|unpkg\.com|esm\.sh|"
    r"crates\.io|proxy\.golang\.org|jfrog\.io|artifactory)"
)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|NotImplementedError|lorem ipsum)\b", re.IGNORECASE)
SECRET = re.compile(
    r"(?:ghp|gho|xoxb|xoxp|sk_live)[_-][A-Za-z0-9]{10,}|\bAKIA[0-9A-Z]{16}\b|\bMC4CAQAwBQYDK2Vw[A-Za-z0-9+/]{20}"
)


@cache
def files() -> tuple[str, ...]:
    """Every path that is in the repository or about to be: what git tracks and what it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=HOUSE,
        capture_output=True,
        check=True,
    )
    return tuple(sorted(name for name in listed.stdout.decode().split("\0") if name and (HOUSE / name).is_file()))


@cache
def text(name: str) -> str:
    data = (HOUSE / name).read_bytes()
    return "" if b"\0" in data[:8000] else data.decode("utf-8", errors="replace")


def lines_with(pattern: re.Pattern[str], *, among: tuple[str, ...] = ()) -> list[str]:
    """`path:line: text` of every match, so that a failure says where to look."""
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name in files()
        if not among or name.startswith(among)
        if not name.endswith(".lock") and HOUSE / name != Path(__file__)  # These patterns would find themselves.
        if pattern.search(text(name))  # most have none, and a look at the whole is quicker than one at each line
        for number, line in enumerate(text(name).splitlines(), 1)
        if pattern.search(line)
    ]


def test_every_entry_at_the_top_is_expected() -> None:
    assert {name.split("/")[0] for name in files()} - TOP == set()


def test_no_path_of_one_machine_is_named() -> None:
    assert lines_with(OF_ONE_MACHINE) == []


def test_no_package_registry_is_named_outside_the_locks() -> None:
    assert lines_with(REGISTRY) == []


def test_nothing_is_left_unfinished() -> None:
    assert lines_with(UNFINISHED, among=("hub/", "bot/", "static/", "deploy/", "Makefile", ".ci/")) == []


def test_no_secret_is_kept_here() -> None:
    assert lines_with(SECRET) == []


def test_no_file_has_grown_too_long() -> None:
    code = (name for name in files() if name.endswith((".py", ".js", ".mjs", ".css", ".html")))
    lengths = {name: len(text(name).splitlines()) for name in code}
    assert {
        name: n for name, n in lengths.items() if n > LONGER.get(name, LONGEST) and "/migrations/" not in name
    } == {}


def test_nothing_large_or_generated_is_committed() -> None:
    sizes = {name: (HOUSE / name).stat().st_size for name in files() if name != "uv.lock"}
    assert {name: size for name, size in sizes.items() if size > 1_000_000} == {}
    assert [
        name for name in files() if re.search(r"(^|/)(__pycache__|node_modules|\.venv|vendor)/|\.pyc$|\.sqlite3", name)
    ] == []


def test_no_module_is_named_for_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}
    code = (name for name in files() if name.startswith(("hub/", "bot/", "static/")))
    assert [name for name in code if Path(name).stem in vague] == []


@pytest.mark.parametrize("folder", ["hub", "bot"])
def test_every_module_opens_with_its_idea(folder: str) -> None:
    code = (name for name in files() if name.startswith(f"{folder}/") and name.endswith(".py"))
    assert [name for name in code if text(name).strip() and not text(name).lstrip().startswith(('"""', 'r"""'))] == []


def test_every_text_ends_with_one_newline_and_no_line_with_a_space() -> None:
    source = (
        name
        for name in files()
        if name.endswith((".py", ".js", ".mjs", ".md", ".html", ".css", ".toml", "run", "Makefile"))
    )
    bad = [
        name for name in source if text(name) and (not text(name).endswith("\n") or re.search(r"[ \t]\n", text(name)))
    ]
    assert bad == []


def test_no_two_test_files_have_one_name() -> None:
    """They are imported by their bare names, so that a second one could not be collected."""
    found = [Path(name).name for name in files() if name.startswith("tests/") and Path(name).match("test_*.py")]
    assert {name for name in found if found.count(name) > 1} == set()
