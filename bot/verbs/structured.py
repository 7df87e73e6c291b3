"""What somebody wrote in JSON or YAML: in a file that came along, on standard input, or as the text itself."""

from typing import Any

import msgspec
import msgspec.yaml

from bot.door import Door
from bot.problems import INVALID, NOT_FOUND, UNAVAILABLE, UNREADABLE, Problem, nearest

_YAML = (".yaml", ".yml")


def structured(door: Door, file: str, command: str) -> Any:
    """The value in FILE; of a whole envelope, its `params`. `command` is what FILE is written after. Raises Problem."""
    if file == "-":
        written: str | None = door.standard_input()
    elif _is_text(file):
        written = file
    else:
        written = door.read(file)
    if written is None:
        meant = nearest(file, door.uploads.names())
        raise Problem(
            "no_such_file",
            f"There is no file {file} here.",
            fix=f"{command} {meant}" if meant else "",
            exit_code=NOT_FOUND,
        )
    try:
        said = msgspec.json.decode(written)
    except UNREADABLE as error:
        # JSON is no YAML to people: what begins like it is told as what it is.
        if not file.endswith(_YAML) and (file != "-" or written.lstrip()[:1] in ("[", "{")) and "\n" not in file:
            raise Problem("bad_json", f"{named(file)} is not JSON: {error}.", exit_code=INVALID) from error
        said = _yaml(written, file)
    if isinstance(said, dict) and isinstance(said.get("params"), dict):
        said = said["params"]
    return said


def named(file: str) -> str:
    """What messages call it."""
    return "What was typed" if file == "-" or _is_text(file) else file


def _is_text(file: str) -> bool:
    return file.lstrip()[:1] in ("[", "{") or "\n" in file


def _yaml(written: str, file: str) -> Any:
    try:
        return msgspec.yaml.decode(written)
    except ImportError:
        # A machine that only talks to a hub needs no more than JSON.
        raise Problem(
            "no_yaml", "YAML cannot be read here: the package PyYAML is not installed.",
            hint="Write it as JSON, or install PyYAML.", exit_code=UNAVAILABLE,
        ) from None  # fmt: skip
    except UNREADABLE as error:
        told = " ".join(str(error).split())
        raise Problem("bad_yaml", f"{named(file)} is not YAML: {told}.", exit_code=INVALID) from error
