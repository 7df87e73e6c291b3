"""Errors -> HTTP: RFC 9457 problem details for programs, a page for people; one function each.

What is known is told; what is not known is logged under the request's id and told as "internal error".
"""

from __future__ import annotations

from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from hub.core.errors import HubError, InvalidInput, NotFound, TooLarge

log = structlog.get_logger()
INTERNAL = "something went wrong inside the hub; nothing you sent was at fault"


def request_id(request: Request) -> str:
    """The id under which this request stands in the log."""
    return str(request.scope.get("collegium.request_id", ""))


def problem(error: HubError, request_identifier: str) -> dict[str, Any]:
    """The one shape of every error, as a JSON object."""
    hidden = error.status >= 500 and error.status != 503 and error.code == "internal"
    found: dict[str, Any] = {
        "type": f"urn:collegium:problem:{error.code}",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "code": error.code,
        "detail": INTERNAL if hidden else error.message,
        "hint": error.hint,
        "request_id": request_identifier,
    }
    if error.path is not None:
        found["path"] = error.path
    if error.errors:
        found["errors"] = list(error.errors)
    if error.facts:
        found["facts"] = error.facts
    return found


def told(error: Exception, request: Request) -> HubError:
    """The error a person may be told; the unknown becomes a bare HubError and its trace goes to the log only."""
    if isinstance(error, HubError):
        if error.status == 500:
            log.error("request.alarm", code=error.code, detail=error.message, request_id=request_id(request))
        return error
    status = getattr(error, "status_code", None)
    if status == 404:
        return NotFound("there is no such page", code="no_such_page")
    if status == 405:
        allowed = (getattr(error, "headers", None) or {}).get("Allow", "")
        return _MethodNotAllowed(f"{request.method} is not offered here", hint=f"offered: {allowed}")
    if status == 413:
        return TooLarge("the request is too large")
    if isinstance(status, int) and 400 <= status < 500:
        return InvalidInput(str(getattr(error, "detail", "")) or "the request cannot be read")
    log.error("request.failed", request_id=request_id(request), path=request.url.path[:200], exc_info=error)
    return HubError(INTERNAL)


class _MethodNotAllowed(InvalidInput):
    """A known address, asked in a way it does not answer."""

    status = 405
    default_code = "method_not_allowed"


def respond(error: Exception, request: Request) -> Response:
    """The response to a request that failed."""
    known = told(error, request)
    headers = {"Cache-Control": "no-store"}
    if known.retry_after_seconds is not None:
        headers["Retry-After"] = str(known.retry_after_seconds)
    elif known.temporary:
        headers["Retry-After"] = "2"
    if known.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if wants_page(request):
        from hub.web.pages import errors as page

        return HTMLResponse(page.show(known, request_id(request), request), known.status, headers)
    return JSONResponse(
        problem(known, request_id(request)), known.status, headers, media_type="application/problem+json"
    )


def wants_page(request: Request) -> bool:
    """Whether a person's browser is asking for a page rather than a program for data."""
    if request.url.path.startswith(("/api/", "/static/", "/healthz", "/readyz", "/metrics", "/openapi.json")):
        return False
    return "text/html" in request.headers.get("accept", "")
