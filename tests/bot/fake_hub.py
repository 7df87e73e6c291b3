"""A hub that keeps to the HTTP contract and breaks the connection when a test says so.

It refuses whatever the real one would refuse on the wire: no token, no idempotency key, an action that does not decode,
a PATCH at the wrong offset. What it answers is set by the test.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec

from hub import app
from hub.core import actions
from hub.core.errors import HubError

Answer = httpx.Response
NOW = "2026-11-22T12:00:00Z"


class Cut(httpx.SyncByteStream):
    """A body that breaks off after the given bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("the connection was reset")


class FakeHub(httpx.BaseTransport):
    """Answers by heart: `results` by action, `views` by path, uploads and logs by protocol."""

    def __init__(self) -> None:
        app.register_features()
        self.requests: list[httpx.Request] = []
        self.acted: list[tuple[str, dict[str, Any]]] = []
        self.results: dict[str, Any] = {}
        self.views: dict[str, Any] = {
            "/api/me": {"id": "per_1", "name": "Ana", "handle": "ana", "hub_role": "member"},
            "/api/sessions": [session("ana/personal", personal=True)],
        }
        self.faults: list[Callable[[httpx.Request], Answer | None]] = []
        self.seen_keys: dict[str, bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        self.lengths: dict[str, int] = {}
        self.metadata: dict[str, str] = {}
        self.log = b""
        self.log_is_done = True
        self.log_cut_after: list[int] = []

    def handle_request(self, request: httpx.Request) -> Answer:
        self.requests.append(request)
        if self.faults and (answer := self.faults.pop(0)(request)) is not None:
            return answer
        if not request.headers.get("Authorization", "").startswith("Bearer clg_"):
            return problem(401, "not_signed_in", "this token is not valid")
        path = request.url.path
        if path == "/api/actions":
            return self._act(request)
        if path.startswith("/api/uploads"):
            return self._upload(request)
        if path.startswith("/api/jobs/") and path.endswith("/log"):
            return self._log(request)
        return self._view(request)

    def _act(self, request: httpx.Request) -> Answer:
        key = request.headers.get("Idempotency-Key")
        body = request.read()
        if request.method != "POST" or not key or request.headers["Content-Type"] != "application/json":
            return problem(400, "invalid_input", "an action is posted as JSON under an idempotency key")
        if self.seen_keys.setdefault(key, body) != body:
            return problem(409, "idempotency_key_reused", "the same key with another body")
        try:
            actions.decode(body)
        except HubError as error:
            return problem(error.status, error.code, error.message, path=error.path)
        params = msgspec.json.decode(body)["params"]
        name = params.pop("action")
        if not self.acted or self.acted[-1] != (name, params):
            self.acted.append((name, params))
        if name not in self.results:
            return problem(503, "unavailable", f"the test set no answer for {name}")
        return httpx.Response(200, json={"line": len(self.acted), "result": self.results[name]})

    def _view(self, request: httpx.Request) -> Answer:
        # What was escaped stays escaped, as it was on the wire.
        path = request.url.raw_path.decode().partition("?")[0]
        if request.method != "GET" or path not in self.views:
            return problem(404, "not_found", f"there is no {path}")
        return httpx.Response(200, json=self.views[path])

    def _log(self, request: httpx.Request) -> Answer:
        offset = int(request.url.params.get("offset", 0))
        rest = self.log[offset:]
        headers = {"Collegium-Log-Offset": str(offset), "Collegium-Log-Done": "1" if self.log_is_done else "0"}
        if self.log_cut_after:
            return httpx.Response(200, headers=headers, stream=Cut(rest[: self.log_cut_after.pop(0)]))
        if not self.log_is_done:
            self.log_is_done = True
        return httpx.Response(200, headers=headers, content=rest)

    def _upload(self, request: httpx.Request) -> Answer:
        if request.headers.get("Tus-Resumable") != "1.0.0":
            return problem(412, "tus_version", "this hub speaks tus 1.0.0")
        if request.method == "POST":
            place = f"/api/uploads/upl_{len(self.uploads) + 1}"
            self.uploads[place], self.lengths[place] = bytearray(), int(request.headers["Upload-Length"])
            for pair in request.headers["Upload-Metadata"].split(","):
                name, _, value = pair.partition(" ")
                self.metadata[name] = base64.b64decode(value, validate=True).decode()
            return httpx.Response(201, headers={"Location": place, **self._standing(place)})
        place = request.url.path
        if place not in self.uploads:
            return problem(404, "upload_not_found", "there is no such upload")
        if request.method == "PATCH":
            if request.headers["Content-Type"] != "application/offset+octet-stream":
                return problem(415, "wrong_content_type", "bytes at an offset")
            if int(request.headers["Upload-Offset"]) != len(self.uploads[place]):
                return problem(409, "offset_mismatch", "the upload stands elsewhere")
            body = request.read()
            assert len(body) == int(request.headers["Content-Length"])
            self.uploads[place] += body
        return httpx.Response(200 if request.method == "HEAD" else 204, headers=self._standing(place))

    def _standing(self, place: str) -> dict[str, str]:
        content, length = self.uploads[place], self.lengths[place]
        headers = {"Upload-Offset": str(len(content)), "Upload-Length": str(length), "Tus-Resumable": "1.0.0"}
        if len(content) == length:
            headers["Collegium-Digest"] = digest(bytes(content))
        return headers


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def problem(status: int, code: str, detail: str, **more: Any) -> Answer:
    body = {"type": f"urn:collegium:problem:{code}", "title": code, "status": status, "code": code, "detail": detail}
    return httpx.Response(
        status,
        content=msgspec.json.encode({**body, "hint": "", "request_id": "r1", **more}),
        headers={"Content-Type": "application/problem+json"},
    )


def session(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"ses_{name}",
        "name": name,
        "title": name,
        "role": "owner",
        "personal": False,
        "url": f"http://hub.test/s/{name}",
        **more,
    }


def job(number: int = 12, state: str = "QUEUED", **more: Any) -> dict[str, Any]:
    return {
        "id": f"job_{number}",
        "number": number,
        "ref": f"ana/personal#{number}",
        "session": "ses_1",
        "session_name": "ana/personal",
        "name": "fit",
        "state": state,
        "reason": {"QUEUED": "Next in the queue."}.get(state, "Finished."),
        "backend": "local",
        "submitted_by": {"id": "per_1", "name": "Ana", "handle": "ana"},
        "submitted_at": NOW,
        "started_at": None if state == "QUEUED" else NOW,
        "ended_at": "2026-11-22T12:09:41Z" if state in ("SUCCEEDED", "FAILED") else None,
        "url": f"http://hub.test/jobs/job_{number}",
        **more,
    }


def lost_answer(hub: FakeHub) -> Callable[[httpx.Request], Answer | None]:
    """The hub acts, and its answer never comes."""

    def fault(request: httpx.Request) -> Answer | None:
        hub.faults.insert(0, lambda again: None)
        hub.handle_request(request)
        hub.requests.pop()
        raise httpx.ReadTimeout("no answer", request=request)

    return fault


def refuses(request: httpx.Request) -> Answer | None:
    """Nothing listens."""
    raise httpx.ConnectError("connection refused", request=request)


def breaks(request: httpx.Request) -> Answer | None:
    """The connection is reset before an answer."""
    raise httpx.RemoteProtocolError("server disconnected", request=request)
