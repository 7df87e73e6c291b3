"""A cluster's API server as we use it, through the official client: few requests, plain JSON, and errors that differ.

What matters of an error is what is known after it: that nothing was done (`Refused`, in the server's words), that
nobody answered (`ClusterAway`), or that something may have been done (`Doubtful`).
"""

from __future__ import annotations

import contextlib
import json
import ssl
import time
import urllib.parse
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import msgspec
import urllib3
from kubernetes import client, config
from kubernetes.stream import ws_client
from websocket import ABNF, WebSocketException

Json = dict[str, Any]

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
PAGE = 500
_STDIN, _STDOUT, _STDERR, _STATUS = 0, 1, 2, 3
_KINDS = {"PATCH": "application/merge-patch+json"}
_FORBIDDEN = 403
# These may be answered after the thing was done; 429 never is.
_MAYBE_DONE = frozenset({500, 502, 503, 504})
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
ASKED_MOST = 20_000


class ClusterAway(Exception):
    """The cluster did not answer, or not with sense; nothing is known that was not known before."""


class Untrusted(ClusterAway):
    """Whoever answers cannot prove to be the cluster; it was told nothing, not even the account's token."""


class Doubtful(ClusterAway):
    """The answer to a change was lost: it may have been made."""


class Refused(Exception):
    """The API server said no, in its own words: nothing was done."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_full(self) -> bool:
        """Whether it says so only as long as a quota of the namespace is used up."""
        return self.status == _FORBIDDEN and "exceeded quota" in str(self)


class Done(msgspec.Struct, frozen=True):
    """What a command in a pod ended with."""

    code: int
    out: bytes
    err: bytes

    @property
    def said(self) -> str:
        return (self.err or self.out).decode(errors="replace").strip()[:300] or f"it ended with {self.code}"


def configuration(kubeconfig: Path | None) -> client.Configuration:
    """How to reach a cluster: by a kubeconfig, or as the pod that we are. Raises ClusterAway."""
    found = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(found)
        else:
            config.load_kube_config(str(kubeconfig), client_configuration=found)
    except (config.ConfigException, OSError, ValueError) as error:
        raise ClusterAway(f"the cluster's configuration cannot be used: {error}") from None
    return _ours(found)


def token_configuration(server: str, authority: Path, token: str) -> client.Configuration:
    """How to reach a cluster that only a certificate of this authority (a PEM file) can prove to be."""
    found = client.Configuration(host=server)
    found.ssl_ca_cert = str(authority)
    found.api_key = {"BearerToken": token}
    found.api_key_prefix = {"BearerToken": "Bearer"}
    return _ours(found)


def _ours(found: client.Configuration) -> client.Configuration:
    # Whether something may be done twice is not for the HTTP library to decide.
    found.retries = False
    found.connection_pool_maxsize = 16
    return found


class Api:
    """One namespace of one cluster, as one account sees it."""

    def __init__(self, configured: client.Configuration, namespace: str) -> None:
        self.namespace = namespace
        self._configured = configured
        self._client = client.ApiClient(configured)
        self._date = ""  # when the last answer was given, in the server's words
        self.asked: deque[tuple[float, str]] = deque(maxlen=ASKED_MOST)

    def per_minute(self) -> dict[str, int]:
        """How often the cluster was asked in the last minute, by what it was asked about."""
        since = time.monotonic() - 60.0
        counts: dict[str, int] = {}
        for at, about in list(self.asked):
            if at >= since:
                counts[about] = counts.get(about, 0) + 1
        return dict(sorted(counts.items()))

    def close(self) -> None:
        self._client.close()

    # --- things

    def path(self, kind: str, name: str = "") -> str:
        """`jobs` or `pods` or `events` of the namespace, or one of them."""
        if kind == "nodes":  # which are in no namespace
            return "/api/v1/nodes"
        group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        named = f"/{urllib.parse.quote(name, safe='')}" if name else ""
        return f"{group}/namespaces/{self.namespace}/{kind}{named}"

    def get(self, kind: str, name: str) -> Json | None:
        """The thing, or None. Raises ClusterAway or Refused."""
        try:
            return self._ask("GET", self.path(kind, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def items(self, kind: str, path: str = "", **query: object) -> tuple[list[Json], str]:
        """(all of them that fit the query, the version they were seen at). Raises ClusterAway or Refused.

        `path` is where they are, if not in the namespace.
        """
        found: list[Json] = []
        more = ""
        while True:
            page = {**query, "limit": PAGE, **({"continue": more} if more else {})}
            answer = self._ask("GET", path or self.path(kind), page)
            found += answer.get("items") or []
            head = answer.get("metadata") or {}
            if not (more := head.get("continue") or ""):
                return found, str(head.get("resourceVersion") or "")

    def create(self, kind: str, body: Json) -> Json:
        """Raises Refused, Doubtful or ClusterAway."""
        return self._ask("POST", self.path(kind), body=body)

    def patch(self, kind: str, name: str, change: Json) -> Json:
        """A merge patch. Raises Refused, Doubtful or ClusterAway."""
        return self._ask("PATCH", self.path(kind, name), body=change)

    def delete(self, kind: str, name: str, uid: str) -> None:
        """The thing of that uid and no other, and in time what it owns; gone already is as well."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            self._ask("DELETE", self.path(kind, name), body=body)
        except Refused as refused:
            if refused.status not in (404, 409):
                raise

    def watch(self, kind: str, version: str, seconds: int, **query: object) -> Iterator[Json]:
        """Events from that version on, for so many seconds. Raises ClusterAway, or Refused with 410."""
        asked = {**query, "watch": "true", "resourceVersion": version, "timeoutSeconds": seconds}
        asked["allowWatchBookmarks"] = "true"
        timeout = (CONNECT_SECONDS, seconds + ANSWER_SECONDS)
        response = None
        try:
            response = self._send("GET", self.path(kind), asked, None, timeout)
            if response.status != 200:
                response.read(decode_content=True)
                raise _failure("GET", response.status, response.data)
            left = b""
            for piece in response.stream(1 << 16, decode_content=True):
                *lines, left = (left + piece).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _event(line)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterAway(f"the cluster stopped telling what happens: {error}") from None
        finally:
            if response is not None:
                response.close()

    # --- the cluster and the account

    def version(self) -> str:
        """`v1.34.4`. Raises Untrusted, ClusterAway or Refused."""
        return str(self._ask("GET", "/version").get("gitVersion") or "")

    def version_and_time(self) -> tuple[str, float | None]:
        """Its version, and what its clock says (Unix time), where it tells. Raises as `version`."""
        version = self.version()
        try:
            return version, parsedate_to_datetime(self._date).timestamp()
        except (TypeError, ValueError):
            return version, None

    def may(self, verb: str, resource: str, *, group: str = "", namespace: str | None = None, name: str = "") -> bool:
        """What the API server answers when the account asks whether it may. Raises ClusterAway or Refused."""
        kind, _, below = resource.partition("/")
        asked = {"verb": verb, "resource": kind, "subresource": below, "group": group, "name": name}
        asked["namespace"] = self.namespace if namespace is None else namespace
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        answer = self._ask("POST", _REVIEWS, body={**body, "spec": {"resourceAttributes": asked}})
        return bool((answer.get("status") or {}).get("allowed"))

    def _ask(self, method: str, path: str, query: Json | None = None, body: Json | None = None) -> Json:
        try:
            response = self._send(method, path, query or {}, body, (CONNECT_SECONDS, ANSWER_SECONDS))
            try:
                data = response.read(decode_content=True)
                self._date = response.headers.get("Date", "")
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            away = isinstance(error, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)
            kind = ClusterAway if method == "GET" or away else Doubtful
            raise kind(f"the cluster did not answer: {error}") from None
        if response.status >= 300:
            raise _failure(method, response.status, data)
        try:
            found: Json = json.loads(data)
        except ValueError:
            kind = ClusterAway if method == "GET" else Doubtful
            raise kind("the cluster's answer cannot be read") from None
        return found

    def _send(self, method: str, path: str, query: Json, body: Json | None, timeout: tuple[float, float]) -> Any:
        """The answer, unread. Raises urllib3's errors, OSError or ClusterAway."""
        head = {"Accept": "application/json", "User-Agent": "collegium"}
        if body is not None:
            head["Content-Type"] = _KINDS.get(method, "application/json")
        self._note("watch" if "watch" in query else path)
        pairs = [(name, str(value)) for name, value in query.items()]
        asked = self._client.param_serialize(
            method, path, query_params=pairs, header_params=head, body=body, auth_settings=["BearerToken"]
        )
        try:
            return self._client.call_api(*asked, _request_timeout=timeout).response
        except client.ApiException as error:
            # The client's own word for a certificate that is not trusted.
            why = " ".join(str(error.reason).removeprefix("SSLError").split())[:300]
            raise Untrusted(f"the cluster cannot prove to be the one it was: {why}") from None

    def _note(self, about: str) -> None:
        words = about.strip("/").split("/")
        known = [each for each in words if each in ("jobs", "pods", "events", "nodes")]
        self.asked.append((time.monotonic(), known[-1] if known else words[-1]))

    # --- commands in pods

    def run(self, pod: str, script: str, stdin: Iterable[bytes] = (), *, seconds: float = 60.0) -> Done:
        """Run a shell script in a pod's container. Raises ClusterAway, or Doubtful if it may have been started."""
        out, err = bytearray(), bytearray()
        code: int | None = None
        for kind, piece in self.stream(pod, script, stdin, seconds=seconds):
            if kind == _STATUS:
                code = _code(piece)
            else:
                (out if kind == _STDOUT else err).extend(piece)
        if code is None:
            raise Doubtful("the command's end was not told")
        return Done(code, bytes(out), bytes(err))

    def stream(
        self, pod: str, script: str, stdin: Iterable[bytes] = (), *, seconds: float = 60.0
    ) -> Generator[tuple[int, bytes]]:
        """(1 for stdout, 2 for stderr, 3 for the status; bytes) as they come; `seconds` without any is too long."""
        path = f"{self.path('pods', pod)}/exec"
        self._note("exec")
        given = not isinstance(stdin, tuple)
        words = [("command", "/bin/sh"), ("command", "-c"), ("command", script), ("container", "porter")]
        words += [("stdin", str(given).lower()), ("stdout", "true"), ("stderr", "true"), ("tty", "false")]
        # The client's serializer would make one word of the commands.
        asked = self._client.param_serialize("GET", path, auth_settings=["BearerToken"])
        address = asked[1].replace("http", "ws", 1) + "?" + urllib.parse.urlencode(words)
        try:
            socket = ws_client.create_websocket(self._configured, address, _lower(asked[2]))
        except (WebSocketException, OSError, ssl.SSLError) as error:
            raise ClusterAway(f"no command can be run in the pod {pod}: {str(error)[:300]}") from None
        try:
            socket.settimeout(seconds)
            for piece in stdin:
                socket.send(bytes([_STDIN]) + piece, opcode=ABNF.OPCODE_BINARY)
            while True:
                kind, frame = socket.recv_data_frame(True)
                if kind == ABNF.OPCODE_CLOSE:
                    return
                if kind in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) and frame.data and frame.data[0] <= _STATUS:
                    if len(frame.data) > 1:
                        yield frame.data[0], bytes(frame.data[1:])
                    if frame.data[0] == _STATUS:
                        return
        except (WebSocketException, OSError, ssl.SSLError) as error:
            raise Doubtful(f"the connection to the pod {pod} broke off: {error}") from None
        finally:
            with contextlib.suppress(WebSocketException, OSError):
                socket.shutdown()

    def output(self, pod: str, script: str, *, seconds: float = 60.0) -> Generator[bytes]:
        """A command's stdout as it comes. Raises ClusterAway, also for a command that did not end well."""
        said, code = b"", None
        for kind, piece in self.stream(pod, script, seconds=seconds):
            if kind == _STDOUT:
                yield piece
            elif kind == _STDERR:
                said += piece[:300]
            else:
                code = _code(piece)
        if code != 0:
            raise Doubtful(said.decode(errors="replace").strip()[:300] or f"the command ended with {code}")


def _lower(head: dict[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (head or {}).items()}


def _code(status: bytes) -> int | None:
    """The exit code out of what the API server says of a command's end; None when it did not come so far."""
    try:
        told = json.loads(status)
    except ValueError:
        return None
    if told.get("status") == "Success":
        return 0
    for cause in (told.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).isdigit():
            return int(cause["message"])
    return None


def _event(line: bytes) -> Json:
    """One line of a watch. Raises Refused for the error that it may be, ClusterAway for what cannot be read."""
    try:
        event: Json = json.loads(line)
        if event["type"] == "ERROR":
            told = event["object"]
            raise Refused(int(told.get("code") or 500), str(told.get("message") or "the watch failed"))
    except (ValueError, KeyError, TypeError):
        raise ClusterAway("the cluster tells something that cannot be read") from None
    return event


def _failure(method: str, status: int, data: bytes) -> Exception:
    try:
        message = str(json.loads(data).get("message") or "")
    except (ValueError, AttributeError):
        message = data.decode(errors="replace")
    words = " ".join(message.split())[:500] or f"HTTP status {status}"
    if status in _MAYBE_DONE and method != "GET":
        return Doubtful(f"the cluster answered {status}: {words}")
    if status in _MAYBE_DONE or status == 429:
        return ClusterAway(f"the cluster answered {status}: {words}")
    return Refused(status, words)
