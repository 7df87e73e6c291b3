"""The server's side: routes of the Web API, response_url, files and Socket Mode's own door."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from tests.bot.fake_slack.methods import METHODS, Refused, needed_scope, respond
from tests.bot.fake_slack.socket_mode import SocketMode
from tests.bot.fake_slack.state import Call, State


class WebApi:
    """One workspace, answering on HTTP."""

    def __init__(self, state: State, tokens: dict[str, frozenset[str]], sockets: SocketMode) -> None:
        self.state, self.tokens = state, tokens
        self.app = Starlette(
            routes=[
                Route("/api/{method}", self.call, methods=["GET", "POST"]),
                Route("/hook/{hook}", self.hook, methods=["POST"]),
                Route("/upload/{file}", self.upload, methods=["POST", "PUT"]),
                Route("/files-pri/{file}/{name:path}", self.download),
                WebSocketRoute("/link", sockets.endpoint),
            ]
        )

    async def call(self, request: Request) -> Response:
        method = request.path_params["method"]
        params = await _params(request)
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = bearer if scheme.lower() == "bearer" else str(params.pop("token", ""))
        call = Call(method, params, token)
        fault = self.state.faults[method].popleft() if self.state.faults.get(method) else None
        if fault is not None and not fault.is_late:
            await asyncio.sleep(fault.seconds)
            if fault.error or fault.status != 200:
                call.error = fault.error or f"http_{fault.status}"
                self.state.calls.append(call)
                return _refused(fault.error, fault.status, fault.retry_after)
        with self.state.lock:
            answer = self._answer(call, str(request.base_url).rstrip("/"))
            self.state.calls.append(call)
        if fault is not None and fault.is_late:
            # It was done, and its answer is lost.
            await asyncio.sleep(fault.seconds)
            return _refused(fault.error, fault.status, fault.retry_after)
        return answer

    def _answer(self, call: Call, url: str) -> Response:
        try:
            self._check(call)
            wait = self.state.seconds_to_wait(call.method, str(call.params.get("channel", "")))
            if wait > 0:
                call.error = "ratelimited"
                return _refused("ratelimited", 429, max(1, math.ceil(wait)))
            found = METHODS[call.method][0](self.state, call.params, url)
        except Refused as refused:
            call.error = refused.error
            return JSONResponse({"ok": False, "error": refused.error, **refused.more})
        if call.method == "users.info" and "users:read.email" not in self.tokens[call.token]:
            found["user"] = found["user"] | {"profile": {}}
        scopes = {"X-OAuth-Scopes": ",".join(sorted(self.tokens[call.token]))}
        return JSONResponse({"ok": True, **found}, headers=scopes)

    def _check(self, call: Call) -> None:
        if call.method not in METHODS:
            raise Refused("unknown_method")
        if not call.token:
            raise Refused("not_authed")
        if call.token not in self.tokens:
            raise Refused("invalid_auth")
        is_for_apps = call.method.startswith("apps.")
        if call.token.startswith("xapp-") != is_for_apps:
            raise Refused("not_allowed_token_type")
        scope = needed_scope(call.method, call.params)
        if scope and scope not in self.tokens[call.token]:
            provided = ",".join(sorted(self.tokens[call.token]))
            raise Refused("missing_scope", needed=scope, provided=provided)

    async def hook(self, request: Request) -> Response:
        content = await _params(request)
        with self.state.lock:
            status, answer = respond(self.state, request.path_params["hook"], content)
            error = "" if answer["ok"] else answer["error"]
            self.state.calls.append(Call("response_url", content, error=error))
        return JSONResponse(answer, status)

    async def upload(self, request: Request) -> Response:
        known = self.state.files.get(request.path_params["file"])
        body = await request.body()
        if known is None or len(body) != known["size"]:
            return PlainTextResponse("the length is not what was announced", 400)
        known["content"] = body
        return PlainTextResponse(f"OK - {len(body)}")

    async def download(self, request: Request) -> Response:
        """A file, for who has the scope; a web page with the sign-in form for who has not, as Slack does it."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        known = self.state.files.get(request.path_params["file"])
        if "files:read" not in self.tokens.get(token, frozenset()):
            return Response("<!DOCTYPE html><title>Sign in</title>", media_type="text/html")
        if known is None or known["content"] is None:
            return PlainTextResponse("", 404)
        self.state.calls.append(Call("download", {"file": known["id"]}, token, at=time.monotonic()))
        return Response(known["content"], media_type="application/octet-stream")


def _refused(error: str, status: int, retry_after: int | None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if status >= 500:
        return PlainTextResponse("upstream trouble", status, headers)
    return JSONResponse({"ok": False, "error": error or "internal_error"}, status, headers)


async def _params(request: Request) -> dict[str, Any]:
    body = (await request.body()).decode()
    params: dict[str, Any] = dict(request.query_params)
    if request.headers.get("content-type", "").startswith("application/json"):
        params.update(json.loads(body or "{}"))
    else:
        params.update(parse_qsl(body, keep_blank_values=True))
    return params
