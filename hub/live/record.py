"""What live asks of web: SQL is the record, and web is the only way to it.

Live holds a service token. It names the person it acts for, and web applies that person's rights, never more.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from hub.core.decoding import UNREADABLE
from hub.live.frames import Say
from hub.live.member import Grant, Person

T = TypeVar("T")
ACT_AS = "Collegium-Act-As"
TIMEOUT_SECONDS = 5.0
ARRIVING_AT_ONCE = 16
# The pool looks at each idle connection, and at all others for each of those, whenever something is asked.
LINKS = httpx.Limits(max_connections=64, max_keepalive_connections=4)
AGAIN_SECONDS = (0.2, 0.5, 1.0, 2.0)


class Refusal(Exception):
    """Web answered with a problem."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail

    @property
    def temporary(self) -> bool:
        """Whether asking again may be answered otherwise."""
        return self.status in (429, 502, 503, 504)


class OutOfReachError(Exception):
    """Web did not answer; nobody knows whether it heard us."""

    code = "not_recorded"
    temporary = True


async def persistently(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer to what may be asked twice with one effect: silence and temporary refusals are asked again."""
    for pause in AGAIN_SECONDS:
        try:
            return await ask()
        except (Refusal, OutOfReachError) as error:
            if not error.temporary:
                raise
            await asyncio.sleep(pause)
    return await ask()


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered ledger line."""

    sequence: int
    action: str
    at: str = ""
    actor: str = ""
    object_kind: str = ""
    object: str = ""
    session: str | None = None
    facts: dict[str, Any] = {}


class CallMember(msgspec.Struct, frozen=True):
    """Somebody in a call that a media server carries; `token` says that they need one to come in there."""

    identity: str
    claim: str
    token: bool


class LogPiece(msgspec.Struct, frozen=True):
    """Bytes of a job's log from `offset`, the size of the whole so far, and whether it is complete."""

    offset: int
    size: int
    done: bool
    data: bytes


class DraftOpened(msgspec.Struct, frozen=True):
    """What somebody lacks of a draft, as one update, and how far the record has come in which history."""

    epoch: int
    sequence: int
    state: bytes
    update: bytes


class DraftEdit(msgspec.Struct, frozen=True):
    """An edit on its way into the record; `by` tells the connections in one batch apart."""

    by: int
    claim: str
    epoch: int
    update: bytes


class DraftOutcome(msgspec.Struct, frozen=True):
    """The number under which an edit is in the record, or why it is not."""

    sequence: int | None
    code: str = ""
    text: str = ""


class DraftPiece(msgspec.Struct, frozen=True):
    """An update as the record has it."""

    sequence: int
    update: bytes


class DraftKept(msgspec.Struct, frozen=True):
    """What became of a batch: an outcome for each edit, and what is new in the record after number `before`."""

    epoch: int
    before: int
    head: int
    outcomes: list[DraftOutcome]
    updates: list[DraftPiece]


class DraftMissing(msgspec.Struct, frozen=True):
    """What the record has after a number, in order, as much as fits."""

    epoch: int
    head: int
    updates: list[DraftPiece]


class Record:
    """The HTTP client of web's service routes."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        # A whole room that comes back at once queues here, and not where the ledger and what is said would wait too.
        self._arriving = asyncio.Semaphore(ARRIVING_AT_ONCE)

    @classmethod
    def over_socket(cls, path: str, token: str, origin: str) -> "Record":
        """Web behind a Unix socket; `origin` is the name it answers to."""
        # Nothing is encrypted between the two, and whom this machine trusts takes long to read.
        transport = httpx.AsyncHTTPTransport(uds=path, limits=LINKS, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        host = origin.partition("://")[2]
        return cls(httpx.AsyncClient(transport=transport, base_url=f"http://{host}", timeout=TIMEOUT_SECONDS), token)

    @classmethod
    def over_http(cls, url: str, token: str, origin: str) -> "Record":
        """Web at an address of its own, inside the network that the two share."""
        host = {"Host": origin.partition("://")[2]}
        client = httpx.AsyncClient(base_url=url, headers=host, timeout=TIMEOUT_SECONDS, limits=LINKS, trust_env=False)
        return cls(client, token)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def redeem(self, ticket: str) -> Grant:
        """Spend a ticket.

        :raises Refusal: it is unknown, used or lapsed, or its bearer may not come in.
        """
        async with self._arriving:
            return _sharing(_understood(await self._ask("POST", "/api/live/redeem", {"ticket": ticket}), Grant))

    async def recheck(self, grants: Sequence[Grant]) -> list[Grant | None]:
        """The rights of these members now; None for whom the door is closed."""
        asked = [{"session": grant.session, "claim": grant.member.claim} for grant in grants]
        told = await self._ask("POST", "/api/live/recheck", {"members": asked})
        now = _understood(told, list[_Standing])
        if [(one.session, one.claim) for one in now] != [(one["session"], one["claim"]) for one in asked]:
            raise OutOfReachError("web answered about other members than it was asked about")
        return [
            None
            if one.member is None
            else _sharing(msgspec.structs.replace(grant, member=one.member, features=one.features))
            for grant, one in zip(grants, now, strict=True)
        ]

    async def head(self) -> int:
        """The newest sequence of the ledger."""
        return _understood(await self._ask("GET", "/api/events", query={"after": "now"}), _Events).next

    async def events(self, after: int) -> tuple[list[Event], int]:
        """Ledger lines after a sequence, and the sequence to ask for next."""
        page = _understood(await self._ask("GET", "/api/events", query={"after": after}), _Events)
        return page.events, page.next

    async def events_for(self, grant: Grant, after: int) -> tuple[list[Event], int]:
        """The same for one session, as far as this member may read it."""
        query = {"after": after, "session": grant.session}
        async with self._arriving:
            answer = await self._ask("GET", "/api/events", query=query, headers={ACT_AS: grant.member.claim})
        page = _understood(answer, _Events)
        return page.events, page.next

    async def messages(self, session: str, after: int, limit: int = 200) -> tuple[list[dict[str, Any]], int]:
        """A room's messages after a sequence, and its newest sequence."""
        asked = {"session": session, "after": after, "limit": limit}
        async with self._arriving:
            page = _understood(await self._ask("POST", "/api/live/messages", asked), _Messages)
        return page.messages, page.head

    async def say(self, grant: Grant, say: Say) -> dict[str, Any]:
        """Post a chat message as its author. Saying it again under the same id answers with the first one."""
        params = {"action": "room_message", "session_id": grant.session, **msgspec.to_builtins(say)}
        answer = await self._ask(
            "POST",
            "/api/actions",
            {"tool": "distributed_collaboration", "params": params},
            headers={ACT_AS: grant.member.claim, "Idempotency-Key": f"say-{grant.session}-{say.client_id}"},
        )
        return _understood(answer, _Said).result

    async def knock(self, grant: Grant) -> None:
        """Say that this person stands in the room's lobby."""
        await self._ask("POST", "/api/live/knock", {"session": grant.session, "claim": grant.member.claim})

    async def call(
        self, session: str, members: Sequence[CallMember], elsewhere: Sequence[str]
    ) -> tuple[str, dict[str, str]]:
        """Say who takes part in a call that a media server carries; its address, and tokens by identity."""
        asked = {"session": session, "members": members, "elsewhere": elsewhere}
        carried = _understood(await self._ask("POST", "/api/live/call", asked), _Carried)
        return carried.url, carried.tokens

    async def job_session(self, grant: Grant, job: str) -> str:
        """The session of a job, asked as somebody who may know it."""
        answer = await self._ask("GET", f"/api/jobs/{quote(job, safe='')}", headers={ACT_AS: grant.member.claim})
        return _understood(answer, _Job).session

    async def log(self, grant: Grant, job: str, offset: int, limit: int) -> LogPiece:
        """Bytes of a job's log, asked as somebody who may read it."""
        answer = await self._send(
            "GET",
            f"/api/jobs/{quote(job, safe='')}/log",
            query={"offset": offset, "limit": limit},
            headers={ACT_AS: grant.member.claim},
        )
        headers = answer.headers
        try:
            at, size = int(headers["Collegium-Log-Offset"]), int(headers["Collegium-Log-Size"])
        except (KeyError, ValueError):
            raise OutOfReachError("web's answer is not a piece of a log") from None
        return LogPiece(at, size, headers.get("Collegium-Log-Done", "") in ("1", "true"), answer.content)

    async def open_draft(self, grant: Grant, draft: str, epoch: int, state: bytes) -> DraftOpened:
        """What this member lacks of a draft, having come as far as `state` in the history `epoch`."""
        asked = {
            "session": grant.session,
            "draft": draft,
            "claim": grant.member.claim,
            "epoch": epoch,
            "state": state,
        }
        return _understood(await self._ask("POST", "/api/live/drafts/open", asked), DraftOpened)

    async def keep_edits(self, session: str, draft: str, edits: Sequence[DraftEdit]) -> DraftKept:
        """Keep edits of one draft. Doing it again changes nothing."""
        asked = {"session": session, "draft": draft, "edits": edits}
        kept = _understood(await self._ask("POST", "/api/live/drafts/edits", asked), DraftKept)
        if len(kept.outcomes) != len(edits):
            raise OutOfReachError("web answered about other edits than it was given")
        return kept

    async def draft_updates(self, session: str, draft: str, after: int) -> DraftMissing:
        """What the record of a draft has after a number."""
        asked = {"session": session, "draft": draft, "after": after}
        return _understood(await self._ask("POST", "/api/live/drafts/updates", asked), DraftMissing)

    async def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        answer = await self._send(method, path, body, query=query, headers=headers)
        try:
            return msgspec.json.decode(answer.content)
        except UNREADABLE as error:
            raise OutOfReachError(f"{path} answered no JSON: {error}") from None

    async def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            answer = await self._client.request(
                method,
                path,
                content=None if body is None else msgspec.json.encode(body),
                params=query,
                headers={**self._headers, **(headers or {})},
            )
        except httpx.HTTPError as error:
            raise OutOfReachError(f"{path}: {error!r}") from None
        if answer.status_code < 400:
            return answer
        problem = _problem(answer.content)
        said = [str(problem[part]) for part in ("detail", "hint") if problem.get(part)]
        raise Refusal(answer.status_code, str(problem.get("code", "")), "; ".join(said))


class _Standing(msgspec.Struct):
    session: str
    claim: str
    member: Person | None
    features: dict[str, bool]


class _Events(msgspec.Struct):
    events: list[Event]
    next: int


class _Messages(msgspec.Struct):
    messages: list[dict[str, Any]]
    head: int


class _Said(msgspec.Struct):
    result: dict[str, Any]


class _Carried(msgspec.Struct):
    url: str
    tokens: dict[str, str]


class _Job(msgspec.Struct):
    session: str


# Most of a room have the same role: what they may do is kept once for all of them, and not three kilobytes for each.
_SETS: dict[frozenset[str], frozenset[str]] = {}
_MOST_SETS = 256


def _sharing(grant: Grant) -> Grant:
    """The same grant, its permissions shared with everyone else's who has these."""
    if len(_SETS) >= _MOST_SETS:
        _SETS.clear()
    permissions = _SETS.setdefault(grant.member.permissions, grant.member.permissions)
    return msgspec.structs.replace(grant, member=msgspec.structs.replace(grant.member, permissions=permissions))


def _understood(answer: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise OutOfReachError(f"web's answer is not understood: {error}") from None


def _problem(content: bytes) -> dict[str, Any]:
    try:
        problem = msgspec.json.decode(content)
    except UNREADABLE:
        return {}
    return problem if isinstance(problem, dict) else {}
