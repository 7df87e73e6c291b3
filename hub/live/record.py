"""What live asks of web: SQL is the record, and web is the only way to it.

Live holds a service token. It names the person it acts for, and web applies that person's rights, never more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec

from hub.live.member import Grant

TIMEOUT_SECONDS = 5.0


class Refusal(Exception):
    """Web answered with a problem."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail

    @property
    def temporary(self) -> bool:
        return self.status in (429, 502, 503, 504)


class OutOfReachError(Exception):
    """Web did not answer; nobody knows whether it heard us."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One ledger line, by its sequence, as far as a room's members may know of it."""

    sequence: int
    action: str
    at: str = ""
    actor: str = ""
    object_kind: str = ""
    object: str = ""
    session: str | None = None
    visibility: str = "session"
    facts: dict[str, Any] = {}


class LogPiece(msgspec.Struct, frozen=True):
    """Bytes of a job's log from `offset`, the size of the whole so far, and whether it is complete."""

    offset: int
    size: int
    done: bool
    data: bytes


class Record:
    """The HTTP client of web's service routes."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    @classmethod
    def over_socket(cls, path: str, token: str) -> "Record":
        """Web behind a Unix socket."""
        transport = httpx.AsyncHTTPTransport(uds=path, limits=httpx.Limits(max_connections=64))
        return cls(httpx.AsyncClient(transport=transport, base_url="http://web", timeout=TIMEOUT_SECONDS), token)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def redeem(self, ticket: str) -> Grant:
        """Spend a ticket.

        :raises Refusal: it is unknown, used or lapsed, or its bearer may not come in.
        """
        return _grant(await self._ask("POST", "/api/live/redeem", {"ticket": ticket}))

    async def recheck(self, grants: Sequence[Grant]) -> list[Grant | None]:
        """The rights of these members now; None for whom the door is closed."""
        asked = [{"session": grant.session, "member": dict(grant.member)} for grant in grants]
        answer = await self._ask("POST", "/api/live/recheck", {"members": asked})
        told = answer["members"]
        if len(told) != len(grants):
            raise OutOfReachError("web answered for another number of members")
        return [
            msgspec.structs.replace(grant, role=now["role"], permissions=frozenset(now["permissions"]))
            if now["allowed"]
            else None
            for grant, now in zip(grants, told, strict=True)
        ]

    async def events(self, after: int | None, *, session: str = "", limit: int = 500) -> tuple[list[Event], int]:
        """Ledger lines after a sequence, and the sequence to ask from next; without `after` only the latter."""
        query: dict[str, Any] = {"limit": limit}
        if after is not None:
            query["after"] = after
        if session:
            query["session"] = session
        answer = await self._ask("GET", "/api/live/events", query=query)
        return msgspec.convert(answer["events"], list[Event]), int(answer["next"])

    async def messages(self, session: str, after: int, limit: int = 200) -> tuple[list[dict[str, Any]], int]:
        """A room's messages after a sequence, and its newest sequence."""
        answer = await self._ask(
            "GET", "/api/live/messages", query={"session": session, "after": after, "limit": limit}
        )
        return answer["messages"], int(answer["head"])

    async def say(self, grant: Grant, text: str, client_id: str) -> dict[str, Any]:
        """Post a chat message as its author. Saying it again under the same id answers with the first one."""
        params = {"action": "room_message", "session_id": grant.session, "text": text, "client_id": client_id}
        answer = await self._ask(
            "POST",
            "/api/actions",
            {"tool": "distributed_collaboration", "params": params},
            headers={"Collegium-Act-As": grant.act_as, "Idempotency-Key": f"say-{client_id}"},
        )
        result: dict[str, Any] = answer["result"]
        return result

    async def log(self, session: str, job: str, offset: int, limit: int) -> LogPiece:
        """Bytes of the log of a job of this session."""
        query = {"session": session, "job": job, "offset": offset, "limit": limit}
        answer = await self._send("GET", "/api/live/log", query=query)
        return LogPiece(
            int(answer.headers["Collegium-Log-Offset"]),
            int(answer.headers["Collegium-Log-Size"]),
            answer.headers.get("Collegium-Log-Done", "") in ("1", "true"),
            answer.content,
        )

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
        except msgspec.DecodeError as error:
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
        raise Refusal(answer.status_code, str(problem.get("code", "")), str(problem.get("detail", "")))


def _grant(answer: dict[str, Any]) -> Grant:
    try:
        return msgspec.convert(answer, Grant)
    except msgspec.ValidationError as error:
        raise OutOfReachError(f"web's grant is not understood: {error}") from None


def _problem(content: bytes) -> dict[str, Any]:
    try:
        problem = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return problem if isinstance(problem, dict) else {}
