"""What went wrong, in the one shape every door tells it: what, where, what to do; and the shell's exit code for it."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

OK, OTHER, USAGE = 0, 1, 2
NOT_SIGNED_IN, NOT_ALLOWED, NOT_FOUND, CONFLICT, INVALID, UNAVAILABLE = 3, 4, 5, 6, 7, 8
INTERRUPTED = 130

# Statuses with a meaning of their own; every other 4xx is invalid input, every other 5xx is `OTHER`.
_EXIT_CODES = {
    401: NOT_SIGNED_IN,
    403: NOT_ALLOWED,
    404: NOT_FOUND,
    409: CONFLICT,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}

# What reading JSON that somebody else wrote may raise: msgspec lets bytes that are not UTF-8 out as Python's own error.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Problem(Exception):
    """Something was not done. `status` is an HTTP status, or 0 where the hub was not asked at all.

    `code` is stable and meant for programs; `detail` is a sentence; `path` says where in the request;
    `errors` lists what is wrong when it is more than one thing; `fix` is a command that would be right; `facts` are
    for programs, `body` is text to read beside the rest, such as a diff.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 0,
        hint: str = "",
        path: str = "",
        errors: Sequence[str] = (),
        request_id: str = "",
        fix: str = "",
        exit_code: int | None = None,
        facts: dict[str, Any] | None = None,
        body: str = "",
    ) -> None:
        super().__init__(detail)
        self.facts = facts or {}
        self.body = body
        self.code = code
        self.detail = detail
        self.status = status
        self.hint = hint
        self.path = path
        self.errors = tuple(errors)
        self.request_id = request_id
        self.fix = fix
        self.exit_code = exit_code_of(status) if exit_code is None else exit_code


class ProblemDetails(msgspec.Struct, frozen=True):
    """RFC 9457 as the hub writes it; fields this door does not know are ignored."""

    title: str = ""
    status: int = 0
    code: str = ""
    detail: str = ""
    hint: str = ""
    path: str | None = None
    errors: list[object] = []
    request_id: str = ""
    facts: dict[str, Any] = {}


def exit_code_of(status: int) -> int:
    """The shell's exit code for an HTTP status."""
    if status in _EXIT_CODES:
        return _EXIT_CODES[status]
    return INVALID if 400 <= status < 500 else OTHER


def from_response(status: int, body: bytes, content_type: str) -> Problem:
    """The Problem in an error response, also when what answered was not the hub."""
    if "json" in content_type:
        try:
            told = msgspec.json.decode(body, type=ProblemDetails)
        except UNREADABLE:
            told = ProblemDetails()
        if told.code or told.detail:
            return Problem(
                told.code or f"http_{status}",
                told.detail or told.title or f"The hub answered {status}.",
                status=status,
                hint=told.hint,
                path=told.path or "",
                errors=[_error_line(error) for error in told.errors],
                request_id=told.request_id,
                facts=told.facts,
            )
    return Problem(
        f"http_{status}",
        f"What answered is not a hub, or not a whole one: HTTP {status} without problem details.",
        status=status,
        hint="Check the address: --hub, COLLEGIUM_HUB.",
    )


def usage(detail: str, *, hint: str = "", fix: str = "", path: str = "", errors: Sequence[str] = ()) -> Problem:
    """Words that do not make a command."""
    return Problem("usage", detail, hint=hint, fix=fix, path=path, errors=errors, exit_code=USAGE)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else ""


def _error_line(error: object) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, dict):
        where = str(error.get("path") or error.get("name") or "")
        what = str(error.get("detail") or error.get("message") or error.get("reason") or "")
        return ": ".join(part for part in (where, what) if part) or msgspec.json.encode(error).decode()
    return str(error)
