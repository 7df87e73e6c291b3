"""Which files of a job's folder come back: new and changed ones, or those declared, within limits.

Pure: what lies there goes in, what is to be done goes out. Whatever does not come back is counted and told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from hub.core import limits

# Left by tools for themselves; nobody means them when they say "results".
IGNORED_FOLDERS = frozenset(
    {"__pycache__", ".cache", ".config", ".git", ".ipynb_checkpoints", ".local", ".mypy_cache", ".pytest_cache"}
    | {".ruff_cache", ".venv", "node_modules"}
)
IGNORED_FILES = ("*.pyc", "*.pyo", ".DS_Store", ".nfs*", "core", "core.[0-9]*", ".python_history", ".bash_history")


class Found(msgspec.Struct, frozen=True):
    """A regular file in the job's folder."""

    path: str
    size: int
    mtime_ns: int


class Given(msgspec.Struct, frozen=True):
    """An input as it was laid there."""

    digest: str
    size: int
    mtime_ns: int


class Choice(msgspec.Struct, frozen=True):
    """What is stored, what is only referred to because it is beyond a limit, and how much was passed over."""

    store: list[Found]
    refer: list[Found]
    ignored: int
    missing: list[str]


def choose(
    files: Sequence[Found], given: Mapping[str, Given], declared: Sequence[str], fetch: Sequence[str] = ()
) -> Choice:
    """Small files first, so that one large file does not keep a hundred small ones from coming back.

    What matches `fetch` comes before all others, however large it is, up to what the hub takes at most.
    """
    ignored = 0
    wanted: list[Found] = []
    for file in files:
        before = given.get(file.path)
        if before is not None and (before.size, before.mtime_ns) == (file.size, file.mtime_ns):
            continue
        if asked(file.path, fetch):
            wanted.append(file)
        elif declared:
            if asked(file.path, declared):
                wanted.append(file)
        elif is_ignored(file.path):
            ignored += 1
        else:
            wanted.append(file)
    store: list[Found] = []
    refer: list[Found] = []
    total = asked_for = 0
    for file in sorted(wanted, key=lambda f: (not asked(f.path, fetch), f.size, f.path)):
        is_asked = asked(file.path, fetch)
        fits = (
            asked_for + file.size <= limits.COLLECT_ASKED_BYTES
            if is_asked
            else file.size <= limits.COLLECT_FILE_BYTES and total + file.size <= limits.COLLECT_BYTES
        )
        if not fits or len(store) == limits.COLLECT_FILES:
            refer.append(file)
            continue
        store.append(file)
        asked_for += file.size * is_asked
        total += file.size * (not is_asked)
    paths = [file.path for file in files]
    missing = [
        pattern
        for pattern in dict.fromkeys([*declared, *fetch])
        if not any(is_declared(path, pattern) for path in paths)
    ]
    return Choice(sorted(store, key=lambda f: f.path), sorted(refer, key=lambda f: f.path), ignored, missing)


def asked(path: str, patterns: Sequence[str]) -> bool:
    """Whether one of them means it."""
    return any(is_declared(path, pattern) for pattern in patterns)


def is_declared(path: str, pattern: str) -> bool:
    """A path, a folder (`results/`) or a pattern (`*.png`, in any folder when it names none)."""
    if pattern.endswith("/"):
        return path.startswith(pattern)
    if fnmatchcase(path, pattern) or path == pattern:
        return True
    return "/" not in pattern and fnmatchcase(path.rpartition("/")[2], pattern)


def is_ignored(path: str) -> bool:
    *folders, name = path.split("/")
    return any(folder in IGNORED_FOLDERS for folder in folders) or any(
        fnmatchcase(name, pattern) for pattern in IGNORED_FILES
    )
