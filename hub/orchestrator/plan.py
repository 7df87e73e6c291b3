"""From the nodes as they were written to nodes that can run, or to everything that keeps them from running."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hub.core.context import Scope
from hub.core.errors import InvalidInput, Unavailable
from hub.orchestrator import plugins
from hub.orchestrator.tools import MOST_RETRIES, TOOL_NAME, TOOLS, Node


def plan(dag: Sequence[dict[str, Any]], scope: Scope) -> list[Node]:
    """Every node checked. Raises InvalidInput for the first that means nothing, else Unavailable naming all missing."""
    nodes = [node_of(place, given) for place, given in enumerate(dag)]
    missing: list[str] = []
    for node in nodes:
        tool = TOOLS.get(node.tool)
        if tool is None:
            reason = plugins.FAILED.get(node.tool)
            why = "" if reason is None else f": it is installed, but could not be loaded ({reason})"
            missing.append(f"dag[{node.place}]: {node.tool} ({node.action}){why}")
        else:
            missing += [f"dag[{node.place}]: {node.tool} ({node.action}): {lack}" for lack in tool.lacks(node, scope)]
    if missing:
        raise Unavailable(
            f"this hub lacks what {len(missing)} of {len(nodes)} nodes need; nothing was started",
            code="tools_missing",
            path="$.params.dag",
            errors=missing,
            hint=f"tools that are there: {', '.join(sorted(TOOLS))}; {plugins.HOW_INSTALLED}",
        )
    return nodes


def node_of(place: int, given: dict[str, Any]) -> Node:
    """One node, without asking its tool."""
    path = f"$.params.dag[{place}]"
    flat = given["params"] if isinstance(given.get("params"), dict) else given
    tool, action = given.get("tool"), flat.get("action")
    if not isinstance(tool, str) or not TOOL_NAME.fullmatch(tool):
        raise InvalidInput("a node names its `tool`", path=f"{path}.tool")
    if not isinstance(action, str) or not TOOL_NAME.fullmatch(action):
        raise InvalidInput("a node names its `action`", path=f"{path}.action")
    retries = flat.get("retries", 0)
    if type(retries) is not int or not 0 <= retries <= MOST_RETRIES:
        raise InvalidInput(f"`retries` is a number from 0 to {MOST_RETRIES}", path=f"{path}.retries")
    bare = {name: each for name, each in flat.items() if name != "retries"}
    given = bare if flat is given else {**given, "params": bare}
    return Node(place=place, tool=tool, action=action, given=given, path=path, retries=retries)
