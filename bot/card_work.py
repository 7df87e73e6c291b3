"""What is done for one card, one step at a time: post it, edit it, tell its thread, take it away, be done with it.

The order of writing makes every step safe to be killed in: the row says `posting` before the message is sent, the
message carries a nonce, and who finds a row in `posting` that they did not begin looks for the message first. Where a
bot may not read what it wrote, such a card is given up rather than posted twice.
"""

import hashlib
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import msgspec
import structlog

from bot.card_faces import content, reply_content
from bot.chat_hub import Card, ChatHub
from bot.notify_rules import Face, Urgency, may_mention, wants_reply
from bot.paces import Allowance, Breath
from bot.posts import Posts, Refused, Why

log = structlog.get_logger()

# A post of a process that died may still be on its way so long.
SETTLE_SECONDS = 12.0
# Slack counts edits by the minute (Tier 3, fifty and more), for all cards of a workspace together.
EDITS, EDITS_SECONDS = 49, 60.0
RESERVE = 26  # of them, which edits that only show progress leave for what matters
_LONGEST_BACKOFF_SECONDS = 30.0
_BROKEN_SECONDS = 60.0
_SHORTEST = 4


class Need(Enum):
    """The next thing to be done for a card."""

    FORGET = "forget"
    POST = "post"
    EDIT = "edit"
    REPLY = "reply"
    SETTLE = "settle"


class Live:
    """A card for which something is left to be done, as this process knows it."""

    def __init__(self, card: Card, *, is_ours: bool, face: Face | None = None) -> None:
        self.card = card
        self.face = face
        self.urgency = Urgency.CHANGED
        self.dirty_since = 0.0
        self.not_before = 0.0
        self.tries = 0
        self.shorter = 0
        self.is_busy = False
        self.is_broken = False  # its face cannot be rendered; the next one may be
        self.is_from_here = False  # what it shows was made in its own channel
        self._rendered: tuple[Face, int, dict[str, Any], str] | None = None
        # Whether a post may have been sent that nobody saw the end of.
        self.is_unsure = card.state == "posting" and not is_ours
        self.is_unsure_of_reply = card.reply == "posting" and not is_ours

    @property
    def workspace(self) -> tuple[str, str]:
        return self.card.platform, self.card.workspace

    def content(self) -> dict[str, Any]:
        """What it is to show; rendered once a face, because every round asks every card."""
        assert self.face is not None
        if self._rendered is None or self._rendered[0] is not self.face or self._rendered[1] != self.shorter:
            self._rendered = (self.face, self.shorter, content(self.face, self.shorter), "")
        return self._rendered[2]

    def digest(self) -> str:
        """What stands for `content` in the card's row."""
        shown = self.content()
        assert self._rendered is not None
        if not self._rendered[3]:
            self._rendered = (*self._rendered[:3], shown_digest(shown))
        return self._rendered[3]

    def need(self) -> Need | None:
        """What is to be done next; None while it shows what is."""
        card, face = self.card, self.face
        if card.state == "forgetting":
            return Need.FORGET
        if card.state in ("lost", "forgotten"):
            return None if card.settled else Need.SETTLE
        if face is None or card.settled or card.state == "digest":
            return None
        tells = wants_reply(card.kind, face.standing)
        if card.state == "held":
            return Need.POST if tells or face.standing.is_over else None
        if card.state in ("wanted", "posting"):
            return Need.POST
        if card.shown != self.digest():
            return Need.EDIT
        if tells and card.reply in ("", "posting"):
            return Need.REPLY
        return Need.SETTLE if face.standing.is_over else None


def shown_digest(shown: dict[str, Any]) -> str:
    """What stands for a content in the card's row."""
    return hashlib.sha256(msgspec.json.encode(shown, order="sorted")).hexdigest()


Record = Callable[..., Awaitable[Card]]
Elsewhere = Callable[[Live, Posts], Awaitable[None]]
Ask = Callable[..., Awaitable[Any]]


class Worker:
    """Carries out the needs of cards within a platform's paces. `record` writes to the card's row, surely."""

    def __init__(
        self,
        hub: ChatHub,
        record: Record,
        ask: Ask,
        elsewhere: Elsewhere,
        now: Callable[[], float],
        *,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._hub, self._record, self._ask, self._elsewhere, self._now = hub, record, ask, elsewhere, now
        self._settle_seconds = settle_seconds
        self.edits: dict[tuple[str, str], Allowance] = {}
        self.breath = Breath(1.05)
        self.closed: dict[tuple[str, str], float] = {}

    def allowance(self, workspace: tuple[str, str]) -> Allowance:
        """One for all cards of a workspace."""
        return self.edits.setdefault(workspace, Allowance(EDITS, EDITS_SECONDS))

    def ready_in(self, live: Live, need: Need) -> float:
        """Seconds until the platform's paces let this be done."""
        now = self._now()
        wait = max(live.not_before - now, self.closed.get(live.workspace, 0.0) - now, 0.0)
        if need in (Need.EDIT, Need.FORGET):
            wait = max(wait, self.allowance(live.workspace).ready_in(now, keep=self._kept(live)))
        elif need in (Need.POST, Need.REPLY):
            wait = max(wait, self.breath.ready_in(live.card.channel, now))
        return wait

    def _kept(self, live: Live) -> int:
        return RESERVE if live.urgency is Urgency.PROGRESS else 0

    def reserve(self, live: Live, need: Need) -> None:
        """Take what `ready_in` said there is, at once, before anything is awaited."""
        if need in (Need.EDIT, Need.FORGET):
            self.allowance(live.workspace).take(self._now(), keep=self._kept(live))
        elif need in (Need.POST, Need.REPLY):
            self.breath.take(live.card.channel, self._now())

    async def do(self, live: Live, need: Need, posts: Posts) -> None:
        """One need of one card. What the platform refuses is dealt with; what the hub refuses is raised."""
        try:
            match need:
                case Need.POST:
                    await self._post(live, posts)
                case Need.EDIT:
                    await self._edit(live, posts)
                case Need.REPLY:
                    await self._reply(live, posts)
                case Need.FORGET:
                    await self._forget(live, posts)
                case Need.SETTLE:
                    live.card = await self._record(live.card.id, settled=True)
        except Refused as refused:
            if need is Need.POST and refused.why is Why.PLACE and live.is_from_here:
                await self._elsewhere(live, posts)
            await self._refused(live, need, refused)
        else:
            live.tries = 0

    async def _post(self, live: Live, posts: Posts) -> None:
        card, shown = live.card, live.content()
        nonce = f"{card.id}.{card.anew}"
        if live.is_unsure:
            since = card.posting_at.timestamp()
            found = await posts.find(card.channel, nonce, since=since, thread=card.thread)
            if found:
                # What it shows is not known; the edit that follows makes it right.
                live.card = await self._record(card.id, state="posted", message=found, shown="")
                live.is_unsure = False
                return
            still = self._settle_seconds - (self._now() - since)
            if still > 0:
                live.not_before = self._now() + min(still, 1.0)
                return
        if card.state != "posting":
            live.card = card = await self._record(card.id, state="posting")
            if card.state != "posting":
                return  # it was asked to be forgotten
        live.is_unsure = True
        try:
            message = await posts.post(card.channel, shown, nonce=nonce, thread=card.thread)
        except Refused as refused:
            live.is_unsure = refused.why is Why.TROUBLE
            raise
        live.card = await self._record(card.id, state="posted", message=message, shown=shown_digest(shown))
        live.is_unsure = False

    async def _edit(self, live: Live, posts: Posts) -> None:
        card, shown = live.card, live.content()
        assert card.message is not None
        await posts.edit(card.channel, card.message, shown)
        live.card = await self._record(card.id, shown=shown_digest(shown))

    async def _reply(self, live: Live, posts: Posts) -> None:
        card = live.card
        assert live.face is not None
        assert card.message is not None
        nonce, thread = f"{card.id}.reply", card.thread or card.message
        if live.is_unsure_of_reply:
            since = card.posting_at.timestamp()
            found = await posts.find(card.channel, nonce, since=since, thread=thread)
            if found:
                live.card = await self._record(card.id, reply="posted", reply_message=found)
                live.is_unsure_of_reply = False
                return
            still = self._settle_seconds - (self._now() - since)
            if still > 0:
                live.not_before = self._now() + min(still, 1.0)
                return
        users = await self._mentioned(live, live.face)
        if card.reply != "posting":
            live.card = card = await self._record(card.id, reply="posting")
        live.is_unsure_of_reply = True
        try:
            message = await posts.post(card.channel, reply_content(live.face, users), nonce=nonce, thread=thread)
        except Refused as refused:
            live.is_unsure_of_reply = refused.why is Why.TROUBLE
            raise
        live.card = await self._record(card.id, reply="posted", reply_message=message)
        live.is_unsure_of_reply = False

    async def _mentioned(self, live: Live, face: Face) -> tuple[str, ...]:
        """The submitter's accounts in this workspace, when they want to hear of this."""
        card, standing = live.card, face.standing
        if card.person is None:
            return ()
        if card.kind == "workflow" and not standing.ran_seconds:
            ran = self._now() - card.posting_at.timestamp()
            standing = msgspec.structs.replace(standing, ran_seconds=ran)
        known = await self._ask(self._hub.mentioned, card.person, card.platform, card.workspace)
        users: tuple[str, ...] = known.users[:1]
        return users if may_mention(known.notify, standing) else ()

    async def _forget(self, live: Live, posts: Posts) -> None:
        card = live.card
        if card.message is None:
            found = await posts.find(
                card.channel, f"{card.id}.{card.anew}", since=card.posting_at.timestamp(), thread=card.thread
            )
            live.card = card = await self._record(card.id, message=found or None)
        if card.message and card.reply == "posting" and not card.reply_message:
            found = await posts.find(
                card.channel, f"{card.id}.reply", since=card.posting_at.timestamp(), thread=card.thread or card.message
            )
            live.card = card = await self._record(card.id, reply_message=found or None)
        for message in (card.reply_message, card.message):
            if message:
                await posts.delete(card.channel, message)
        live.card = await self._record(
            card.id, state="forgotten", message=None, reply_message=None, shown="", settled=True
        )

    async def _refused(self, live: Live, need: Need, refused: Refused) -> None:
        """Every class of refusal has its own consequence."""
        card, now, why = live.card, self._now(), refused.why
        log.warning("card.refused", card=card.id, need=need.value, error=refused.error)
        match why:
            case Why.RATE:
                wait = max(refused.retry_after_seconds, 1.0)
                if need in (Need.EDIT, Need.FORGET):
                    self.allowance(live.workspace).close(now, wait)
                else:
                    self.breath.close(card.channel, now, wait)
                    live.not_before = now + wait
            case Why.TROUBLE:
                live.tries += 1
                live.not_before = now + min(0.5 * 2.0**live.tries, _LONGEST_BACKOFF_SECONDS)
            case Why.TOKENS:
                self.closed[live.workspace] = now + _BROKEN_SECONDS
                await self._ask(self._hub.broken, card.platform, card.workspace, refused.error)
            case Why.LENGTH | Why.CONTENT if need is not Need.FORGET and live.shorter < _SHORTEST:
                live.shorter = live.shorter + 1 if why is Why.LENGTH else _SHORTEST
            case Why.MESSAGE if need is Need.EDIT and card.anew == 0:
                # Somebody deleted it: once more, and then it is respected.
                live.card = await self._record(card.id, state="posting", anew=1, message=None, shown="")
                live.is_unsure = False
            case _:
                await self._give_up(live, need)

    async def _give_up(self, live: Live, need: Need) -> None:
        """Nothing more can be done for the card (or its reply) in this channel."""
        if need is Need.REPLY:
            live.card = await self._record(live.card.id, reply="lost")
            live.is_unsure_of_reply = False
        elif need is Need.FORGET:
            live.card = await self._record(live.card.id, state="forgotten", settled=True)
        else:
            live.card = await self._record(live.card.id, state="lost", settled=True)
            live.is_unsure = False
