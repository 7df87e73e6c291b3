"""What a workspace holds, and what was done to it."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

_PINGS = re.compile(r"<(!(?:channel|here|everyone)|!subteam\^[A-Z0-9]+|@[UW][A-Z0-9]+)(?:\|[^>]*)?>")


@dataclass
class Message:
    """One message, as it now stands. `to` names the only person who sees it, `via` how it was sent."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    user: str
    thread: str | None = None
    to: str | None = None
    via: str = "chat.postMessage"
    metadata: dict[str, Any] | None = None
    edits: int = 0
    is_deleted: bool = False
    files: list[str] = field(default_factory=list)
    at: float = field(default_factory=time.monotonic)
    edited_at: float = 0.0

    @property
    def is_ephemeral(self) -> bool:
        return self.to is not None

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """Every button by its label."""
        found = {}
        for block in self.blocks:
            for element in [*block.get("elements", []), block.get("accessory", {})]:
                if element.get("type") == "button":
                    found[element["text"]["text"]] = element | {"block_id": block.get("block_id", "")}
        return found

    @property
    def words(self) -> str:
        """Every text of the message that a person sees, as it was sent."""
        return "\n".join([self.text, *_texts(self.blocks)])

    @property
    def pings(self) -> list[str]:
        """Whom it notifies: `@U1`, `!channel`."""
        return _PINGS.findall("\n".join([self.text, *_texts(self.blocks, only_markup=True)]))


@dataclass
class Call:
    """One call of the Web API, and its error."""

    method: str
    params: dict[str, Any]
    token: str = ""
    error: str = ""
    at: float = field(default_factory=time.monotonic)


@dataclass
class Attempt:
    """One delivery of a request to the bot: status 0 when nothing answered."""

    status: int
    body: Any
    seconds: float
    retry: int = 0


@dataclass
class Delivery:
    """What became of one event, command or click: every attempt in its order."""

    attempts: list[Attempt] = field(default_factory=list)
    trigger: str = ""
    response_url: str = ""
    event_id: str = ""

    @property
    def status(self) -> int:
        return self.attempts[-1].status

    @property
    def body(self) -> Any:
        return self.attempts[-1].body

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.attempts)


@dataclass
class Fault:
    """One failure to come: an error name in a 200, an HTTP status, or seconds of silence first."""

    error: str = ""
    status: int = 200
    retry_after: int | None = None
    seconds: float = 0.0
    is_late: bool = False


@dataclass(frozen=True)
class Rate:
    """At most `count` calls in `seconds`, in each channel when `each_channel`."""

    count: int
    seconds: float
    each_channel: bool = False


RATES = {
    "chat.postMessage": Rate(1, 1, each_channel=True),
    "chat.update": Rate(50, 60),
    "chat.delete": Rate(50, 60),
    "chat.postEphemeral": Rate(100, 60),
    "views.open": Rate(100, 60),
    "views.update": Rate(100, 60),
    "conversations.info": Rate(50, 60),
    "conversations.open": Rate(50, 60),
    "conversations.history": Rate(50, 60),
    "conversations.replies": Rate(50, 60),
    "users.info": Rate(100, 60),
    "files.getUploadURLExternal": Rate(100, 60),
    "files.completeUploadExternal": Rate(100, 60),
    "files.info": Rate(100, 60),
    "apps.connections.open": Rate(20, 60),
}

ALL_SCOPES = frozenset(
    {
        "app_mentions:read", "channels:history", "channels:read", "chat:write", "commands", "files:read", "files:write",
        "groups:history", "groups:read", "im:history", "im:read", "im:write", "mpim:history", "mpim:read", "users:read",
        "users:read.email",
    }
)  # fmt: skip


class State:
    """One workspace with one installed app; shared between the server's thread and the test's."""

    def __init__(self, team: str, app: str, bot_user: str) -> None:
        self.lock = threading.RLock()
        self.team, self.app, self.bot_user = team, app, bot_user
        self.users: dict[str, dict[str, Any]] = {
            bot_user: {"id": bot_user, "team_id": team, "name": "collegium", "is_bot": True, "deleted": False}
        }
        self.channels: dict[str, dict[str, Any]] = {}
        self.messages: list[Message] = []
        self.calls: list[Call] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.rates: dict[str, Rate | None] = dict(RATES)
        self.spent: dict[tuple[str, str], deque[float]] = defaultdict(deque)
        self.triggers: dict[str, tuple[float, bool]] = {}
        self.hooks: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)

    def number(self) -> int:
        return next(self._numbers)

    def ts(self) -> str:
        """A timestamp unlike every other."""
        return f"{int(time.time())}.{self.number():06d}"

    def trigger(self) -> str:
        made = f"{self.number()}.{self.number()}.{self.number():032x}"
        self.triggers[made] = (time.monotonic(), False)
        return made

    def find(self, channel: str, ts: str) -> Message | None:
        return next(
            (m for m in self.messages if m.channel == channel and m.ts == ts and not m.is_deleted and m.to is None),
            None,
        )

    def seconds_to_wait(self, method: str, channel: str) -> float:
        """0 when this call is within the rate, and then it counts."""
        rate = self.rates.get(method)
        if rate is None:
            return 0.0
        spent = self.spent[method, channel if rate.each_channel else ""]
        now = time.monotonic()
        while spent and spent[0] <= now - rate.seconds:
            spent.popleft()
        if len(spent) >= rate.count:
            return spent[0] + rate.seconds - now
        spent.append(now)
        return 0.0


def _texts(value: Any, only_markup: bool = False) -> list[str]:
    """The texts in blocks, in their order; only those in which mark-up counts, when asked."""
    if isinstance(value, list):
        return [text for one in value for text in _texts(one, only_markup)]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("text"), str) and value.get("type") in ("plain_text", "mrkdwn", "text"):
        return [value["text"]] if value["type"] == "mrkdwn" or not only_markup else []
    if value.get("type") == "user":
        return [f"<@{value['user_id']}>"]
    return [text for one in value.values() for text in _texts(one, only_markup)]
