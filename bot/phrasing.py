"""The hub speaks of fields and actions; a door speaks of options and commands: the one turned into the other.

Pure. What has no other name here stays as the hub says it.
"""

import re
from collections.abc import Mapping

from bot.problems import Problem

_FIELDS = "$.params."

# How people write, at a door, what the hub's hints name by field or action.
_HINTED = {
    "job_type": "--type",
    "session_id": "--session",
    "key_create": "key create NAME",
    "key_revoke": "key revoke NAME",
    "signing_window": "window open CODE",
    "token_create": "collegium up",
    "digest": "--from",
    "confirm": "--confirm",
}
_QUOTED = re.compile(r"`([a-z_]+)`")


def rephrased(problem: Problem, fields: Mapping[str, str]) -> Problem:
    """The same problem, with `fields` naming options and arguments instead of the request's own paths."""
    problem.path = where(problem.path, fields)
    problem.hint = _QUOTED.sub(lambda found: f"`{_HINTED.get(found[1], found[1])}`", problem.hint)
    errors = [_error(error, fields) for error in problem.errors]
    # A list of one that only says again what the sentence says is no list.
    problem.errors = () if len(errors) == 1 and _is_said(errors[0], problem.detail) else tuple(errors)
    return problem


def where(path: str, fields: Mapping[str, str]) -> str:
    """`--memory` for `$.params.resources.memory`; the longest known beginning of a path counts."""
    inner = path.removeprefix(_FIELDS).removeprefix("$.")
    for length in range(len(inner), 0, -1):
        if inner[:length] in fields and inner[length : length + 1] in ("", ".", "["):
            return fields[inner[:length]]
    return inner


def _error(error: str, fields: Mapping[str, str]) -> str:
    path, colon, rest = error.partition(": ")
    return f"{where(path, fields)}: {rest}" if colon and path.startswith("$") else error


def _is_said(error: str, detail: str) -> bool:
    return error.rpartition(": ")[2] in detail
