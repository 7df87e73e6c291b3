"""The one family of errors that people may see.

    HubError
    ├── InvalidInput 400    ├── Conflict 409
    ├── NotSignedIn 401     ├── TooLarge 413
    ├── NotAllowed 403      ├── TooMany 429
    ├── NotFound 404        ├── Unavailable 503
    └── TamperDetected 500

An error is raised where the knowledge is (it says what was wrong, where, and what to do) and mapped once per
transport: RFC 9457 problem details, a close code, a chat card, an exit code. `code` is a stable string that programs
may rely on; `message` and `hint` are for people and may change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class HubError(Exception):
    """Something a person can be told: a stable code, what was wrong, where, and what to do about it."""

    status: ClassVar[int] = 500
    temporary: ClassVar[bool] = False
    default_code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        path: str | None = None,
        errors: Sequence[str] = (),
        retry_after_seconds: int | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.hint = hint
        self.path = path
        self.errors = tuple(errors)
        self.retry_after_seconds = retry_after_seconds
        self.facts = facts

    def __str__(self) -> str:
        where = f" (at {self.path})" if self.path else ""
        return f"{self.message}{where}"


class InvalidInput(HubError):
    """The request cannot mean anything we know; sending it again unchanged will not help."""

    status = 400
    default_code = "invalid_input"


class NotSignedIn(HubError):
    """Nobody we know is asking; one message for an unknown, a wrong and an expired credential."""

    status = 401
    default_code = "not_signed_in"


class NotAllowed(HubError):
    """The actor may know of the object, but may not do this to it."""

    status = 403
    default_code = "not_allowed"


class NotFound(HubError):
    """There is no such thing, as far as this actor may know."""

    status = 404
    default_code = "not_found"


class Conflict(HubError):
    """The world has moved on: a stale version, an illegal transition, a name already taken."""

    status = 409
    default_code = "conflict"


class TooLarge(HubError):
    """More bytes, items or characters than a limit in `limits.py` allows."""

    status = 413
    default_code = "too_large"


class TooMany(HubError):
    """More often, or more at once, than a limit allows; later it may pass."""

    status = 429
    temporary = True
    default_code = "too_many"


class Unavailable(HubError):
    """A part this needs is not there now (or not in this hub at all); nothing was started."""

    status = 503
    temporary = True
    default_code = "unavailable"


class TamperDetected(HubError):
    """Bytes do not match what was signed or committed: alerted, never repaired by itself."""

    status = 500
    default_code = "tamper_detected"
