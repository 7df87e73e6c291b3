"""Tools that other packages bring: whatever an installed package names under the entry point `collegium.tools`.

A package says in its `pyproject.toml`

    [project.entry-points."collegium.tools"]
    spectra = "our_package.tool:TOOL"

and `TOOL` is an object as `tools.Tool` describes it. The hub's own two (`data`, `ml_ai_augmentation`) come by the same
door. A plug-in is code that runs with the hub's rights: installing one is the operator's decision, and the hub fetches
none by itself. One that cannot be loaded is remembered with its reason and stops nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from hub.orchestrator.tools import TOOL_NAME, TOOLS, provides

GROUP = "collegium.tools"
HOW_INSTALLED = (
    f"a tool is a Python package that names itself under the entry point `{GROUP}`: "
    "install it beside the hub, start the hub again, and `collegium doctor` says whether it loaded"
)

# Why a plug-in is not there, by its name; doctor and refusals tell it.
FAILED: dict[str, str] = {}
_PARTS = ("lacks", "begin", "look")


def discover(found: Iterable[metadata.EntryPoint] | None = None) -> None:
    """Plug in every tool that an installed package names; what is there already stays."""
    for each in installed() if found is None else found:
        known = TOOLS.get(each.name)
        try:
            tool = _loaded(each)
            if known is not None and known is not tool:
                raise ValueError(f"there is a tool of this name already ({type(known).__module__})")
        except (Exception, SystemExit) as error:  # whatever a stranger's module does while it is imported
            FAILED[each.name] = f"{each.value}: {type(error).__name__}: {error}"[:500]
            continue
        provides(each.name, tool)
        FAILED.pop(each.name, None)


@functools.cache  # it reads a file of every package there is, and none is installed into a process that runs
def installed() -> tuple[metadata.EntryPoint, ...]:
    """What the packages of this environment name under the entry point."""
    return tuple(metadata.entry_points(group=GROUP))


def _loaded(each: metadata.EntryPoint) -> Any:
    if not TOOL_NAME.fullmatch(each.name):
        raise ValueError("a tool's name has letters, digits, `_`, `.` and `-`, and begins with a letter")
    tool = each.load()
    if isinstance(tool, type) or not all(callable(getattr(tool, part, None)) for part in _PARTS):
        raise TypeError(f"it must be an object with {', '.join(_PARTS)}")
    return tool


def told() -> tuple[bool, str]:
    """Whether every plug-in loaded, and which tools there are, in words."""
    there = f"tools that are there: {', '.join(sorted(TOOLS))}"
    if not FAILED:
        return True, there
    lost = "; ".join(f"{name} could not be loaded ({reason})" for name, reason in sorted(FAILED.items()))
    return False, f"{lost}; {there}"
