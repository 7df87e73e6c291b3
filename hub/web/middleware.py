"""What holds for every request: an id, limits, the host, cross-origin checks, and the security headers.

Plain ASGI, so that bodies stream through untouched in both directions.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from http.cookies import SimpleCookie

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.chats import deliveries
from hub.core.errors import InvalidInput, NotAllowed
from hub.rooms.media_server import MediaServer
from hub.web import delivered, problems
from hub.web.identity import cookie_name
from hub.web.metrics import REQUESTS, SECONDS

log = structlog.get_logger()
SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}


def content_security_policy(origins: Iterable[str], media_server: MediaServer | None = None) -> str:
    """No inline script or style, nothing from elsewhere; connections to this hub, and to the server of its calls."""
    sockets = " ".join(sorted(origin.replace("http", "ws", 1) for origin in origins))
    if media_server is not None:
        sockets += f" {media_server.url} {media_server.socket_url}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
        f"connect-src 'self' {sockets}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "manifest-src 'self'"
    )


class Shell:
    """The outermost layer: request id, host and origin checks, headers, errors of last resort, one log line."""

    def __init__(
        self, app: ASGIApp, *, origin: str, origins: frozenset[str], media_server: MediaServer | None = None
    ) -> None:
        self._app = app
        self._origins = origins
        self._hosts = {origin.partition("://")[2] for origin in origins}
        self._cookie = cookie_name(origin)
        self._secure = origin.startswith("https://")
        self._policy = content_security_policy(origins, media_server)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope["collegium.request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started, status = time.perf_counter(), 500
        began = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, began
            if message["type"] == "http.response.start":
                status, began = message["status"], True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if delivered.is_recorded(scope):
                    headers[deliveries.HEADER] = "recorded"
                headers.setdefault("Content-Security-Policy", self._policy)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                # Not `no-referrer`: under that, browsers send `Origin: null` with the hub's own forms.
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
                headers.setdefault("Cache-Control", "no-store")
                if self._secure:
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if began:
                raise
            request = Request(scope)
            await problems.respond(error, request)(scope, receive, send_with_headers)
        finally:
            elapsed = time.perf_counter() - started
            REQUESTS.labels(scope["method"] if scope["method"] in KNOWN_METHODS else "other", status // 100).inc()
            SECONDS.observe(elapsed)
            log.debug(
                "request.done",
                method=scope["method"][:10],
                path=scope["path"][:200],
                status=status,
                seconds=round(elapsed, 4),
            )

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        probe = scope["path"] in {"/healthz", "/readyz", "/metrics"}
        if host not in self._hosts and not probe:
            raise InvalidInput(
                f"this hub does not answer to the host {host[:100]!r}",
                code="unknown_host",
                hint="set COLLEGIUM_PUBLIC_URL to the address people use",
            )
        if scope["method"] in SAFE or self._carries_its_own_credential(headers):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None:
            if origin not in self._origins:
                raise NotAllowed("this request came from another site", code="cross_origin")
        elif site != "same-origin" and (site is not None or self._has_cookie(headers)):
            raise NotAllowed("a change needs a request from this hub's own pages, or a token", code="cross_origin")

    @staticmethod
    def _carries_its_own_credential(headers: Headers) -> bool:
        return "authorization" in headers

    def _has_cookie(self, headers: Headers) -> bool:
        return self._cookie in SimpleCookie(headers.get("cookie", ""))


KNOWN_METHODS = {"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"}
