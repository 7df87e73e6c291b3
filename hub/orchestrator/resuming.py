"""What a node stands on, by digest, and how many nodes of an earlier run still stand.

A node's result is that of an earlier run when what it says is the same, the files it names are the same by digest, and
so is everything the step before handed it. The first node for which that is not so runs again, and all after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts import versions
from hub.artifacts.tables import versions as version_table
from hub.core import limits
from hub.core.context import Scope
from hub.orchestrator.tools import Node

# So many of the words in a node are looked up as names of files.
MOST_NAMES = 500


class Pinned(msgspec.Struct, frozen=True):
    """What a node stood on when it began: its own words, the files it named, what the step before had made."""

    given: str
    files: dict[str, str]
    previous: list[str]


def pinned(scope: Scope, session: str, node: Node, previous: Sequence[str]) -> Pinned:
    """What a node stands on now."""
    files = {}
    for name in list(dict.fromkeys(_names(node.given)))[:MOST_NAMES]:
        found = versions.find(scope, session, name)
        if found is not None and found.digest is not None:
            files[name] = found.digest
    return Pinned(_digest(node), files, _made(scope, previous))


def standing(scope: Scope, session: str, nodes: Sequence[Node], former: Sequence[Any]) -> int:
    """How many nodes from the first on need not run again, given the rows of an earlier run."""
    previous: Sequence[str] = ()
    for node, row in zip(nodes, former, strict=False):
        if row.state != "SUCCEEDED" or row.pinned is None or row.tool != node.tool:
            return node.place
        before = msgspec.convert(row.pinned, Pinned)
        # Only the files that were there when it began: those it made itself have names that it says as well.
        now = {name: found.digest for name in before.files if (found := versions.find(scope, session, name))}
        if (before.given, before.files, before.previous) != (_digest(node), now, _made(scope, previous)):
            return node.place
        previous = row.made
    return min(len(nodes), len(former))


def _digest(node: Node) -> str:
    """Of a node's words; that a changed script was agreed to is none of them."""
    said = {name: each for name, each in node.given.items() if name != "confirm"}
    if isinstance(said.get("params"), dict):
        said["params"] = {name: each for name, each in said["params"].items() if name != "confirm"}
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()


def _made(scope: Scope, ids: Sequence[str]) -> list[str]:
    """What versions hold, in an order that does not depend on when they were made."""
    rows = scope.execute(
        sa.select(version_table.c.path, version_table.c.digest).where(version_table.c.id.in_(list(ids)))
    )
    return sorted(f"{row.path} {row.digest}" for row in rows)


def _names(value: Any) -> Iterator[str]:
    """Every text in a node that could be the name of a file."""
    if isinstance(value, str):
        if 0 < len(value) <= limits.PATH_BYTES and "\n" not in value and not value.startswith("#!"):
            yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in {"tool", "action"}:
                yield from _names(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _names(each)
