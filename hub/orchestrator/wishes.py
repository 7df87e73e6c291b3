"""What tools need of a node: its fields as a type, and the file that a name means where it stands."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from hub.artifacts import versions
from hub.core.context import Scope
from hub.core.errors import InvalidInput
from hub.orchestrator.tools import Node, Run

Wish = TypeVar("Wish", bound=msgspec.Struct)


def wish(node: Node, kinds: dict[str, type[Wish]]) -> Wish:
    """The node's fields as the type of its action. Raises InvalidInput with the field's place in the experiment."""
    kind = kinds.get(node.action)
    if kind is None:
        known = ", ".join(sorted(kinds))
        raise InvalidInput(
            f"{node.tool} has no action {node.action}; it has {known}",
            path=f"{node.path}.action",
            code="unknown_action",
        )
    nested = isinstance(node.given.get("params"), dict)
    flat: dict[str, Any] = node.given["params"] if nested else node.given
    fields = {name: value for name, value in flat.items() if name not in {"tool", "action"}}
    where = f"{node.path}.params" if nested else node.path
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as fault:
        message, _, at = str(fault).partition(" - at `$")
        raise InvalidInput(message, path=f"{where}{at.rstrip('`')}") from None


def the_file(scope: Scope, run: Run, name: str | None, endings: tuple[str, ...]) -> versions.Pinned:
    """The file a node means: of the results of the step before, else of the session.

    Without a name it is the only result of the step before with one of these endings. Raises InvalidInput.
    """
    before = [found for each in run.previous if (found := versions.find(scope, run.session, each)) is not None]
    shown = ", ".join(each.path for each in before[:10]) or "none"
    if name is None:
        fitting = [each for each in before if each.path.lower().endswith(endings)]
        if len(fitting) == 1:
            return _stored(fitting[0])
        fault = "several files" if fitting else "no file"
        raise InvalidInput(
            f"the step before made {fault} ending in {' or '.join(endings)} (its results: {shown}); name the one meant",
            code="no_file_named",
        )
    for each in before:
        if each.path == name or each.path.endswith(f"/{name}"):
            return _stored(each)
    found = versions.find(scope, run.session, name)
    if found is None:
        raise InvalidInput(
            f"neither the step before (its results: {shown}) nor the session has a file {name[:200]!r}",
            code="unknown_artifacts",
        )
    return _stored(found)


def _stored(found: versions.Pinned) -> versions.Pinned:
    if found.kind != "stored":
        raise InvalidInput(
            f"{found.path} is only a reference to data elsewhere; its bytes are not in the hub", code="not_stored"
        )
    return found
