"""The hub over HTTP, typed: actions, views, byte streams. The only file that knows the hub's addresses.

An action is sent under an idempotency key and, when no answer comes, repeated under the same key: the hub carries it
out once however often it arrives. What can still be unknown at the end is said to be unknown. Redirects are not
followed, so that a token reaches only the hub it was made for.
"""

import copy
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from bot import hub_views as views
from bot.cluster_views import ClusterReport, Clusters, Connection, JobPlan
from bot.problems import NOT_SIGNED_IN, UNAVAILABLE, Problem, from_response
from bot.work_views import Experiment, Previews

TOOL = "distributed_collaboration"
AGENT = "collegium-bot/1"

T = TypeVar("T")
Query = Mapping[str, str | int | float | None]

_ATTEMPTS = 4
_LONGEST_WAIT_SECONDS = 8.0
_FOLLOW_GIVES_UP_SECONDS = 120.0


class NoAnswer(Problem):
    """The hub said nothing at all."""


class Unanswered(NoAnswer):
    """The hub was reached, or may have been, and did not answer: whether it acted is not known."""


class Unreachable(NoAnswer):
    """Nothing listens at the hub's address: nothing was sent."""


class Answer(msgspec.Struct, frozen=True):
    """What an action answers: its ledger line and its result."""

    line: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")


class LogPiece(msgspec.Struct, frozen=True):
    """Bytes of a job's log and the offset of the byte after them."""

    content: bytes
    next_offset: int


class HubClient:
    """One hub, one token. What it keeps between calls is only its connections, which threads may share."""

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        act_as: str = "",
        transport: httpx.BaseTransport | None = None,
        timeout_seconds: float = 30.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"User-Agent": AGENT}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if act_as:
            headers["Collegium-Act-As"] = act_as
        self.url = url.rstrip("/")
        self.pause = pause
        self.was_logged_in = False  # whether the token is one that `collegium login` keeps
        self._for: dict[str, str] = {}
        self._ends_at: float | None = None
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            transport=transport,
            timeout=httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds)),
            trust_env=not _is_loopback(url),
        )

    def close(self) -> None:
        self._http.close()

    def as_(self, claim: str, came_by: str = "", *, deadline_seconds: float | None = None) -> Self:
        """The same hub on the same connections, spoken to for somebody else: a person's id or `chat:slack:T1:U1`.

        `came_by` is where they were heard. With a deadline, everything asked of what is returned has that long
        together; what was sent and not answered by then is Unanswered, and may be repeated under the same keys.
        """
        other = copy.copy(self)
        other._for = {"Collegium-Act-As": claim} | ({"Collegium-Came-By": came_by} if came_by else {})
        other._ends_at = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        return other

    # What people do.

    def act(self, action: str, answer: type[T], *, idempotency_key: str = "", tool: str = TOOL, **params: object) -> T:
        """Do `action` with every parameter that is not None, once, and return its result as `answer`.

        Raises Problem for a refusal, Unreachable when nothing was sent, Unanswered when the outcome is not known.
        """
        body = msgspec.json.encode(
            {"tool": tool, "params": {"action": action} | {k: v for k, v in params.items() if v is not None}}
        )
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        response = self._insist("POST", "/api/actions", content=body, headers=headers)
        return decoded(decoded(response.content, Answer).result, answer)

    def preview(self, action: str, files: Sequence[Mapping[str, object]], params: Mapping[str, object]) -> Previews:
        """What a submission would start; `files` are those that would be uploaded first. Nothing is recorded."""
        said = {"tool": TOOL, "params": {"action": action} | {k: v for k, v in params.items() if v is not None}}
        body = msgspec.json.encode({"submission": said, "files": files})
        headers = {"Content-Type": "application/json"}
        return decoded(self._insist("POST", "/api/jobs/preview", content=body, headers=headers).content, Previews)

    def begin_login(self, host: str) -> views.DeviceCode:
        """Ask for a code that somebody confirms in a browser."""
        return decoded(self.send("POST", "/api/device", json={"host": host}).content, views.DeviceCode)

    def poll_login(self, device_code: str) -> views.DeviceToken:
        """Whether the code was confirmed; the token comes once."""
        answer = self.send("POST", "/api/device/token", json={"device_code": device_code})
        return decoded(answer.content, views.DeviceToken)

    # What people read.

    def me(self) -> views.Me:
        return self.view("/api/me", views.Me)

    def job(self, ref: str) -> views.Job:
        return self.view(f"/api/jobs/{_part(ref)}", views.Job)

    def connection(self, job: str, port: int) -> Connection:
        """How a port of one's own running job is reached."""
        return self.view(f"/api/jobs/{_part(job)}/connection", Connection, port=port)

    def jobs(self, session: str, cursor: str | None = None) -> views.Jobs:
        return self.view("/api/jobs", views.Jobs, session=session, cursor=cursor)

    def session(self, ref: str) -> views.Session:
        return self.view(f"/api/sessions/{_part(ref)}", views.Session)

    def of_room(self, session: str, what: str, answer: type[T], **query: str | int | float | None) -> T:
        """Something of a session's room: its `messages`, `reports`, `hands`, `polls`, `door` or `drafts`."""
        return self.view(f"/api/sessions/{_part(session)}/{what}", answer, **query)

    def of_thread(self, message: str, answer: type[T]) -> T:
        """A message and the answers to it."""
        return self.view(f"/api/messages/{_part(message)}/thread", answer)

    def draft(self, ref: str, answer: type[T], version: int | None = None) -> T:
        """A shared draft with its text, or one version of it."""
        return self.view(f"/api/drafts/{_part(ref)}{'' if version is None else f'/versions/{version}'}", answer)

    def sessions(self) -> tuple[views.Session, ...]:
        return self.view("/api/sessions", tuple[views.Session, ...])

    def participants(self, session: str) -> views.Participants:
        return self.view(f"/api/sessions/{_part(session)}/participants", views.Participants)

    def who(self, ref: str) -> views.Who:
        return self.view("/api/who", views.Who, object=ref)

    def explain(self, actor: str, action: str, ref: str) -> views.Explanation:
        return self.view("/api/explain", views.Explanation, actor=actor, action=action, object=ref)

    def links(self, session: str) -> tuple[views.Link, ...]:
        return self.view(f"/api/sessions/{_part(session)}/links", tuple[views.Link, ...])

    def entries(self, session: str, cursor: str | None = None) -> views.Entries:
        return self.view(f"/api/sessions/{_part(session)}/entries", views.Entries, cursor=cursor)

    def entry(self, ref: str) -> views.Entry:
        return self.view(f"/api/entries/{_part(ref)}", views.Entry)

    def verification(self, entry: str) -> views.EntryVerification:
        return self.view(f"/api/entries/{_part(entry)}/verification", views.EntryVerification)

    def artifacts(self, session: str, cursor: str | None = None) -> views.Artifacts:
        return self.view(f"/api/sessions/{_part(session)}/artifacts", views.Artifacts, cursor=cursor)

    def artifact(self, ref: str) -> views.Artifact:
        return self.view(f"/api/artifacts/{_part(ref)}", views.Artifact)

    def versions(self, artifact: str) -> views.Artifacts:
        return self.view(f"/api/artifacts/{_part(artifact)}/versions", views.Artifacts)

    def lineage(self, artifact: str) -> views.Lineage:
        return self.view(f"/api/artifacts/{_part(artifact)}/lineage", views.Lineage)

    def experiment(self, ref: str) -> Experiment:
        return self.view(f"/api/experiments/{_part(ref)}", Experiment)

    def workflow(self, ref: str) -> views.Workflow:
        return self.view(f"/api/workflows/{_part(ref)}", views.Workflow)

    def experiments(self, session: str) -> tuple[Experiment, ...]:
        return self.view(f"/api/sessions/{_part(session)}/experiments", tuple[Experiment, ...])

    def keys(self) -> tuple[views.Key, ...]:
        return self.view("/api/keys", tuple[views.Key, ...])

    def clusters(self) -> Clusters:
        return self.view("/api/clusters", Clusters)

    def plan(self, **params: object) -> JobPlan:
        """Where a job with these parameters would go, as far as it is known now; nothing is submitted."""
        body = msgspec.json.encode({key: value for key, value in params.items() if value is not None})
        headers = {"Content-Type": "application/json"}
        return decoded(self._insist("POST", "/api/jobs/plan", content=body, headers=headers).content, JobPlan)

    def cluster(self, name: str) -> ClusterReport:
        return self.view(f"/api/clusters/{_part(name)}", ClusterReport)

    def verify(self) -> views.LedgerVerification:
        return self.view("/api/verify", views.LedgerVerification)

    def events(self, after: int, *, session: str | None = None, wait_seconds: float = 0) -> views.Events:
        """Ledger events after `after`; waits up to `wait_seconds` for the first."""
        response = self.send(
            "GET",
            "/api/events",
            params=_query({"after": after, "session": session, "wait": wait_seconds or None}),
            timeout=httpx.Timeout(wait_seconds + 15.0, connect=5.0),
        )
        return decoded(response.content, views.Events)

    def view(self, path: str, answer: type[T], **query: str | int | float | None) -> T:
        """A view by its path. Reading is harmless, so a broken connection is tried again."""
        return decoded(self._insist("GET", path, params=_query(query)).content, answer)

    # Bytes.

    def log(self, job: str, *, offset: int = 0, follow: bool = False) -> Iterator[LogPiece]:
        """The bytes of a job's log from `offset`: to where it ends now, or with `follow` until the job ends.

        A connection that breaks is taken up again at the next byte, for two minutes without any answer.
        """
        silent_seconds, waited = 0.0, 0.5
        while True:
            try:
                with self.streaming(
                    "GET", f"/api/jobs/{_part(job)}/log", params=_log_query(offset, follow)
                ) as response:
                    is_done = response.headers.get("Collegium-Log-Done", "") in ("1", "true", "yes")
                    silent_seconds, waited = 0.0, 0.5
                    for content in response.iter_bytes():
                        if content:
                            offset += len(content)
                            yield LogPiece(content, offset)
                if is_done or not follow:
                    return
            except NoAnswer:
                if silent_seconds >= _FOLLOW_GIVES_UP_SECONDS:
                    raise
            self.pause(waited)
            silent_seconds += waited
            waited = min(waited * 2, _LONGEST_WAIT_SECONDS)

    def content(self, artifact: str, *, offset: int = 0) -> Iterator[bytes]:
        """An artifact's bytes from `offset`. Raises Unanswered when they break off."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self.streaming("GET", f"/api/artifacts/{_part(artifact)}/content", headers=headers) as response:
            if offset and response.status_code != 206:
                raise Problem("no_ranges", "The hub sent the whole file again instead of the rest of it.", status=502)
            yield from response.iter_bytes()

    # The wire.

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request, once. Raises Problem for every answer that is not a success."""
        request["headers"] = {**(request.get("headers") or {}), **self._for}
        if self._ends_at is not None:
            request["timeout"] = self._time_left()
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise self._silence(method, error) from error
        self._heard(response)
        if not response.is_success:
            raise self._refusal(response.status_code, response.content, response.headers.get("Content-Type", ""))
        return response

    def _heard(self, response: httpx.Response) -> None:
        """Every answer comes by here, whatever it says."""

    @contextmanager
    def streaming(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """A response whose body is read as it comes; a followed log may be silent for long."""
        patient = httpx.Timeout(60.0, connect=5.0) if self._ends_at is None else httpx.Timeout(self._time_left())
        request["headers"] = {**(request.get("headers") or {}), **self._for}
        try:
            with self._http.stream(method, path, timeout=patient, **request) as response:
                if not response.is_success:
                    body = response.read()
                    raise self._refusal(response.status_code, body, response.headers.get("Content-Type", ""))
                yield response
        except httpx.HTTPError as error:
            raise self._silence(method, error) from error

    def _insist(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request, repeated where that can help and do no harm.

        A hub that vanishes after the first attempt leaves the outcome unknown, so the first silence is what is told.
        """
        waited = 0.3
        silence: Unanswered | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self.send(method, path, **request)
            except Unanswered as unanswered:
                silence = silence or unanswered
            except Unreachable:
                if silence is None:
                    raise
            except Problem as problem:
                if problem.status != 429 or attempt == _ATTEMPTS:
                    raise
            if self._ends_at is not None and time.monotonic() + waited >= self._ends_at:
                break
            if attempt < _ATTEMPTS:
                self.pause(waited)
                waited = min(waited * 3, _LONGEST_WAIT_SECONDS)
        raise silence or AssertionError("without a silence the loop returned or raised")

    def _time_left(self) -> float:
        """Seconds until the deadline. Raises Unanswered when it has passed."""
        left = (self._ends_at or 0.0) - time.monotonic()
        if left <= 0:
            raise Unanswered(
                "hub_slow", f"The hub at {self.url} did not answer in time.", hint="Try again.", exit_code=UNAVAILABLE
            )
        return left

    def _silence(self, method: str, error: httpx.HTTPError) -> NoAnswer:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol | httpx.ProxyError):
            return Unreachable(
                "hub_unreachable",
                f"No hub answers at {self.url}.",
                hint="Is it running? `collegium up` starts one; --hub or COLLEGIUM_HUB names another.",
                exit_code=UNAVAILABLE,
            )
        is_reading = method in ("GET", "HEAD")
        return Unanswered(
            "hub_silent",
            f"The hub at {self.url} did not answer"
            + ("." if is_reading else "; whether it did anything is not known."),
            hint="Try again."
            if is_reading
            else "Look before you repeat it: `collegium job list`, `collegium note list`.",
            exit_code=UNAVAILABLE,
        )

    def _refusal(self, status: int, body: bytes, content_type: str) -> Problem:
        problem = from_response(status, body, content_type)
        if problem.exit_code == NOT_SIGNED_IN and self.was_logged_in:
            problem.hint = f"Log in again: collegium login {self.url}"
        elif problem.exit_code == NOT_SIGNED_IN and not problem.hint:
            problem.hint = f"Log in: collegium login {self.url}; or give a token: --token-file, COLLEGIUM_TOKEN_FILE."
        return problem


def decoded(content: bytes | msgspec.Raw, answer: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(
            "unexpected_answer",
            f"The hub's answer is not what this version of the command expects: {error}",
            status=502,
            hint="Are hub and command of the same version? `collegium --version`",
        ) from error


def _part(ref: str) -> str:
    """A reference as part of a path: the slash of `owner/name` stays, `#` and spaces are escaped.

    Dots alone would be folded away by the client and name another page.
    """
    if any(part in ("", ".", "..") for part in ref.split("/")):
        raise Problem("invalid_reference", f"“{ref}” names nothing.", status=400)
    return quote(ref, safe="/:@")


def _query(query: Query) -> dict[str, str | int | float]:
    return {name: value for name, value in query.items() if value is not None}


def _log_query(offset: int, follow: bool) -> dict[str, str | int | float]:
    return _query({"offset": offset, "follow": 1 if follow else None})


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1")
