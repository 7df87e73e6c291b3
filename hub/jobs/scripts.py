"""What a script is: written out, or the path of a file; and which program runs it."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath
from typing import Literal

import msgspec

INTERPRETERS = {
    ".py": ("python3",),
    ".sh": ("bash",),
    ".bash": ("bash",),
    ".R": ("Rscript",),
    ".r": ("Rscript",),
    ".jl": ("julia",),
    ".pl": ("perl",),
    ".m": ("octave",),
}
# A script's own interpreter is looked up by name: absolute paths differ between machines, names do not.
_WITHOUT_FOLDER = ("/usr/bin/", "/bin/", "/usr/local/bin/")


class Script(msgspec.Struct, frozen=True):
    """Text to be run as it stands, or the path of a file in the session."""

    kind: Literal["inline", "path"]
    text: str


def read(script: str) -> Script:
    """Text that starts with `#!` or holds a newline is the script; anything else is its path. Raises ValueError."""
    if script.startswith("#!") or "\n" in script:
        return Script("inline", script if script.endswith("\n") else script + "\n")
    if not script.strip():
        raise ValueError("the script is empty")
    return Script("path", script.strip())


def interpreter(first_line: str, path: str = "") -> tuple[str, ...]:
    """The program that runs it: by its first line, else by its extension, else bash. Raises ValueError."""
    if first_line.startswith("#!"):
        return _from_first_line(first_line[2:].strip())
    suffix = PurePosixPath(path).suffix
    if suffix in INTERPRETERS:
        return INTERPRETERS[suffix]
    if not suffix:
        return ("bash",)
    known = ", ".join(sorted(INTERPRETERS))
    raise ValueError(f"nothing is known that runs {path[:80]!r}; begin it with `#!`, or use one of {known}")


def _from_first_line(command: str) -> tuple[str, ...]:
    """`#!` as the kernel reads it, but found on the job's PATH instead of at a fixed place."""
    program, _, rest = command.partition(" ")
    if PurePosixPath(program).name == "env":
        words = shlex.split(rest.removeprefix("-S ").strip())
        while words and "=" in words[0]:
            words.pop(0)
    else:
        named = PurePosixPath(program).name if program.startswith(_WITHOUT_FOLDER) else program
        words = [named, *([rest.strip()] if rest.strip() else [])]
    if not words or not words[0]:
        raise ValueError("the script's first line names no program after `#!`")
    return tuple(words)


def remarks(head: str) -> tuple[str, ...]:
    """What whoever wrote the script is told of it; it runs as it stands all the same."""
    if "\r\n" not in head:
        return ()
    return ("The script's lines end as on Windows (CR LF): a shell takes the CR for a part of each line's last word.",)
