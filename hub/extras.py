"""What the plain package leaves out, and in which extra it is: a missing library is told, never a traceback.

`pip install collegium` is the shell's client; `collegium[hub]` runs a hub. `pyproject.toml` has the lists.
"""

from __future__ import annotations

from importlib.util import find_spec

from bot.problems import UNAVAILABLE, Problem

# Libraries that are in no other extra than this one; everything else that can be missing belongs to a hub.
ELSEWHERE = {"slack_bolt": "slack", "slack_sdk": "slack", "aiohttp": "slack", "numpy": "demo", "matplotlib": "demo"}


def require(*libraries: str) -> None:
    """Raises the problem for the first of these libraries that is not installed, before anything is begun."""
    for library in libraries:
        if find_spec(library) is None:
            raise missing(ModuleNotFoundError(name=library))


def missing(error: ModuleNotFoundError) -> Problem:
    """The problem for a library that is not installed. Raises the error again when it is a module of our own."""
    library = (error.name or "").partition(".")[0]
    if library in ("", "hub", "bot"):
        raise error
    extra = ELSEWHERE.get(library, "hub")
    return Problem(
        "extra_missing",
        f"This needs the library {library}, which is not installed.",
        hint=f"pip install 'collegium[{extra}]'",
        exit_code=UNAVAILABLE,
    )
