"""The cookies of a browser: its sign-in, and the first half of one while the second page is open."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hub.core import limits
from hub.web.identity import cookie_name


def carry(response: Response, result: Any, origin: str) -> Response:
    """Put what an action answered for the browser into cookies: `cookie` (a sign-in) and `second` (its first half)."""
    if not isinstance(result, dict):
        return response
    if cookie := result.get("cookie"):
        _set(response, cookie_name(origin), str(cookie), limits.SIGN_IN_SECONDS, origin, "lax")
        response.delete_cookie(_second_name(origin), secure=origin.startswith("https://"), httponly=True)
    if second := result.get("second"):
        _set(response, _second_name(origin), str(second), limits.SECOND_PAGE_SECONDS, origin, "strict")
    return response


def second_of(request: Request, origin: str) -> str:
    """The first half of a sign-in that this browser began; empty when it began none."""
    return request.cookies.get(_second_name(origin), "")


def _second_name(origin: str) -> str:
    return f"{cookie_name(origin)}-second"


def _set(response: Response, name: str, value: str, seconds: int, origin: str, site: Any) -> None:
    response.set_cookie(
        name, value, max_age=seconds, httponly=True, secure=origin.startswith("https://"), samesite=site, path="/"
    )
