"""A hub and a platform in memory for the follower of cards, which can be killed at any moment of any call.

The hub keeps rows as the real one does (tests/web/test_chats.py holds the real one to the same); the platform keeps
messages and counts what would break its rates.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from bot import hub_views as views
from bot.chat_hub import Card, Channel, Claim, Claimed, Faces, Held, Mentioned, SessionFace
from bot.posts import Content, Refused, Why

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
T = TypeVar("T")


class Killed(BaseException):
    """The process died here."""


class Fate:
    """Decides at which call the process dies, before it or after it was done."""

    def __init__(self, dies_at: int = -1, *, after: bool = False) -> None:
        self.dies_at, self.after, self.calls = dies_at, after, 0

    def meet(self, do: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls == self.dies_at and not self.after:
            raise Killed
        answer = do()
        if self.calls == self.dies_at:
            raise Killed
        return answer


class MemoryHub:
    """Rows, jobs and a ledger."""

    def __init__(self) -> None:
        self.cards: dict[str, Card] = {}
        self.jobs: dict[str, views.Job] = {}
        self.ledger: list[views.Event] = []
        self.sequence, self.epoch, self.holder = -1, 0, ""
        self.channels: dict[str, Channel] = {}
        self.detail = "full"
        self.notify: str | None = None
        self.broken_because: str | None = None
        self.fate = Fate()
        self._ids = itertools.count(1)
        self.now = 0.0

    # What people and jobs do.

    def submit(self, number: int, came_by: str | None = "slack:T1:C1") -> str:
        job = f"job_{number:026d}"
        self.jobs[job] = views.Job(
            id=job, number=number, ref=f"ana/hcl#{number}", session="ses_1", session_name="ana/hcl",
            name=f"fit {number}", state="QUEUED", reason="In the queue.", backend="local", url=f"https://hub.test/jobs/{job}",
        )  # fmt: skip
        self._happen("job_submit", job, came_by=came_by, actor="per_1")
        return job

    def move(self, job: str, state: str, **facts: Any) -> None:
        self.jobs[job] = msgspec.structs.replace(self.jobs[job], state=state, reason=f"{state}.", **facts)
        self._happen("job_observed", job, state=state)

    def end(self, job: str, state: str, seconds: float = 1.0) -> None:
        ended = datetime.fromtimestamp(NOW.timestamp() + seconds, UTC)
        self.move(job, state, started_at=NOW, ended_at=ended)

    def _happen(self, action: str, job: str, *, came_by: str | None = None, actor: str = "hub", **facts: Any) -> None:
        self.ledger.append(
            views.Event(
                sequence=len(self.ledger), at=NOW, actor=actor, action=action, object_kind="job", object=job,
                session="ses_1", facts=facts, came_by=came_by,
            )
        )  # fmt: skip

    # What the follower asks.

    def follow(self, holder: str, sequence: int | None = None, *, release: bool = False) -> Held:
        return self.fate.meet(lambda: self._follow(holder, sequence))

    def _follow(self, holder: str, sequence: int | None) -> Held:
        if holder != self.holder:
            self.holder, self.epoch = holder, self.epoch + 1
        if sequence is not None:
            self.sequence = max(self.sequence, sequence)
        return Held(held=True, epoch=self.epoch, sequence=self.sequence)

    def events(self, after: int, *, session: str | None = None, wait_seconds: float = 0) -> views.Events:
        found = tuple(self.ledger[after + 1 : after + 1 + 5])
        return self.fate.meet(lambda: views.Events(events=found, next=found[-1].sequence if found else after))

    def unsettled_cards(self) -> list[Card]:
        return self.fate.meet(lambda: [card for card in self.cards.values() if not card.settled])

    def claim_cards(self, epoch: int, claims: Sequence[Claim]) -> tuple[Claimed, ...]:
        return self.fate.meet(lambda: tuple(self._claim(msgspec.structs.asdict(one)) for one in claims))

    def _claim(self, what: dict[str, Any]) -> Claimed:
        key = ("platform", "workspace", "channel", "kind", "object")
        for card in self.cards.values():
            if all(getattr(card, name) == what[name] for name in key):
                return Claimed(card=card, made=False)
        card = Card(id=f"crd_{next(self._ids)}", posting_at=datetime.fromtimestamp(self.now, UTC), **what)
        self.cards[card.id] = card
        return Claimed(card=card, made=True)

    def change_cards(self, epoch: int, changes: Sequence[Mapping[str, Any]]) -> tuple[Card, ...]:
        return self.fate.meet(lambda: tuple(self._change(**one) for one in changes))

    def _change(self, id: str, **what: Any) -> Card:
        card = id
        if self.cards[card].state == "forgetting" and what.get("state") != "forgotten":
            what = {name: value for name, value in what.items() if name not in ("state", "settled")}
        if "posting" in (what.get("state"), what.get("reply")):
            what["posting_at"] = datetime.fromtimestamp(self.now, UTC)
        self.cards[card] = msgspec.structs.replace(self.cards[card], **what)
        return self.cards[card]

    def look(self, **ids: tuple[str, ...]) -> Faces:
        return self.fate.meet(lambda: self._look(ids))

    def _look(self, ids: dict[str, tuple[str, ...]]) -> Faces:
        session = SessionFace(
            id="ses_1", name="ana/hcl", url="https://hub.test/s/ana/hcl", chat_detail=self.detail,
            channels=tuple(self.channels.values()),
        )  # fmt: skip
        return Faces(
            jobs=tuple(self.jobs[one] for one in ids.get("jobs", ()) if one in self.jobs),
            ended_jobs=tuple(self.jobs[one] for one in ids.get("ended_jobs", ()) if one in self.jobs),
            sessions=(session,) if "ses_1" in ids.get("sessions", ()) else (),
        )

    def channel(self, platform: str, workspace: str, channel: str) -> Channel:
        name = f"{platform}:{workspace}:{channel}"
        return self.fate.meet(lambda: self.channels.get(name, Channel(channel=name)))

    def mentioned(self, person: str, platform: str, workspace: str) -> Mentioned:
        return self.fate.meet(lambda: Mentioned(person=person, notify=self.notify, users=("U1",)))

    def broken(self, platform: str, workspace: str, why: str | None) -> None:
        self.broken_because = why


class Sent:
    """One message of the platform."""

    def __init__(self, channel: str, ident: str, content: Content, nonce: str, thread: str, at: float) -> None:
        self.channel, self.ident, self.content, self.nonce, self.thread, self.at = (
            channel, ident, content, nonce, thread, at,
        )  # fmt: skip
        self.edits: list[float] = []
        self.is_deleted = False

    @property
    def text(self) -> str:
        return str(self.content["text"])


class MemoryPosts:
    """One workspace's messages. `trouble` makes calls fail, done or not done, without saying which."""

    def __init__(self, hub: MemoryHub, *, trouble: random.Random | None = None, may_read: bool = True) -> None:
        self.hub, self.trouble, self.may_read = hub, trouble, may_read
        self.sent: list[Sent] = []
        self.refusals: list[Refused] = []

    def _meet(self, do: Callable[[], Any]) -> Any:
        if self.refusals:
            raise self.refusals.pop(0)
        if self.trouble is not None and self.trouble.random() < 0.15:
            if self.trouble.random() < 0.5:
                do()
            raise Refused(Why.TROUBLE, "request_timeout")
        return self.hub.fate.meet(do)

    async def post(self, channel: str, content: Content, *, nonce: str, thread: str = "") -> str:
        def do() -> str:
            made = Sent(channel, f"{len(self.sent) + 1}.0", content, nonce, thread, self.hub.now)
            self.sent.append(made)
            return made.ident

        return str(self._meet(do))

    async def edit(self, channel: str, message: str, content: Content) -> None:
        def do() -> None:
            one = next((each for each in self.sent if each.ident == message and not each.is_deleted), None)
            if one is None:
                raise Refused(Why.MESSAGE, "message_not_found")
            one.content = content
            one.edits.append(self.hub.now)

        self._meet(do)

    async def delete(self, channel: str, message: str) -> None:
        def do() -> None:
            for one in self.sent:
                if one.ident == message:
                    one.is_deleted = True

        self._meet(do)

    async def find(self, channel: str, nonce: str, *, since: float, thread: str = "") -> str:
        if not self.may_read:
            raise Refused(Why.SCOPE, "missing_scope")
        found = [one.ident for one in self.sent if (one.channel, one.nonce) == (channel, nonce) and not one.is_deleted]
        return str(self._meet(lambda: found[0] if found else ""))

    async def direct(self, user: str) -> str:
        return f"D{user}"

    @property
    def roots(self) -> list[Sent]:
        return [one for one in self.sent if not one.thread and not one.is_deleted]

    @property
    def replies(self) -> list[Sent]:
        return [one for one in self.sent if one.thread and not one.is_deleted]
