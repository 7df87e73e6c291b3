"""The follower of the ledger: which cards there are, what they show, what is done for them next.

One process at a time follows the ledger, under a lease at the hub. It takes in a page of events (which cards there are
now, and which must be shown anew), writes the rows, and only then records how far it came; beside that it carries out
what cards need, the most urgent first. All it keeps in memory is read again from the hub when it begins.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from bot import card_faces
from bot.card_work import SETTLE_SECONDS, Live, Need, Worker
from bot.chat_hub import Card, Channel, ChatHub, Claim, Claimed, SessionFace
from bot.digests import Digests
from bot.door import Place
from bot.hub_client import NoAnswer
from bot.hub_views import Event, Events
from bot.notify_rules import Face, Happening, Thing, first_state, happening, urgency
from bot.posts import Posts, Refused
from bot.problems import Problem
from bot.together import Together

log = structlog.get_logger()
T = TypeVar("T")

AT_ONCE = 8
_WAIT_SECONDS = 4  # less than half of the lease that every page renews
_POLL_SECONDS = 5.0
_LINKS_SECONDS = 60.0
_IDLE_SECONDS = 0.5
_GATHER_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 300.0
_TOGETHER = 100

Workspace = Callable[[str, str], Posts | None]
Heard = Callable[[Event], Awaitable[None]]


class Overtaken(Exception):
    """Another process follows the ledger now."""


class Follower:
    """Follows the ledger and keeps the cards right, as long as it holds the lease."""

    def __init__(
        self,
        hub: ChatHub,
        workspace: Workspace,
        holder: str,
        *,
        heard: Heard | None = None,
        now: Callable[[], float] = time.time,
        at_once: int = AT_ONCE,
        settle_seconds: float = SETTLE_SECONDS,
        wait_seconds: int = _WAIT_SECONDS,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self.hub, self.workspace, self.holder = hub, workspace, holder
        self._heard, self.now = heard, now
        self._at_once, self._wait_seconds, self._poll_seconds = at_once, wait_seconds, poll_seconds
        self.live: dict[str, Live] = {}
        self._of: dict[Thing, dict[str, Live]] = {}
        self._workflow_of: dict[str, str] = {}
        self.epoch = 0
        self.worker = Worker(hub, self.record, self.ask, self._in_private, now, settle_seconds=settle_seconds)
        self.digests = Digests(self)
        self._claims = Together(self._claim_all, _TOGETHER)
        self._changes = Together(self._change_all, _TOGETHER)
        self._nudge = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled. Raises Overtaken when another process does by now."""
        sequence = await self.begin()
        tasks = [asyncio.create_task(one) for one in (self._read(sequence), self._work(), self._poll())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def begin(self) -> int:
        """Take the lease and read what is left to be done; returns where to go on. Raises Overtaken."""
        held = await self.ask(self.hub.follow, self.holder)
        if not held.held:
            raise Overtaken(self.holder)
        self.epoch = held.epoch
        for card in await self.ask(self.hub.unsettled_cards):
            self._take(card, is_ours=False)
        await self.refresh(list(self._of))
        await self.digests.look()
        sequence: int = held.sequence
        return sequence

    # Events.

    async def _read(self, sequence: int) -> None:
        while True:
            page = await self.ask(self.hub.events, sequence, wait_seconds=self._wait_seconds)
            sequence = await self.take_in(page)
            if page.events:
                # What follows closely is looked at together: a burst must not ask the hub about each line by itself.
                await asyncio.sleep(_GATHER_SECONDS)

    async def take_in(self, page: Events) -> int:
        """Make the rows that a page of events asks for, look at what changed, then record how far that is."""
        happened = [one for one in map(happening, page.events) if one is not None]
        if happened:
            await self._cards_for(happened)
        for event in page.events:
            if event.action == "chat_forget":
                for card in await self.ask(self.hub.unsettled_cards):
                    self._take(card, is_ours=False)
            if self._heard is not None:
                await self._heard(event)
        held = await self.ask(self.hub.follow, self.holder, page.next)
        if not held.held or held.epoch != self.epoch:
            raise Overtaken(self.holder)
        self._nudge.set()
        return page.next

    async def _cards_for(self, happened: list[Happening]) -> None:
        over = [one.thing.id for one in happened if one.is_over]
        seen = await self._look([one.thing for one in happened], [one.session for one in happened], over)
        steps = [Thing("workflow", seen.workflow_of[t.id]) for t in seen.faces if t.id in seen.workflow_of]
        missing = [thing for thing in steps if thing not in seen.faces]
        if missing:
            seen.faces.update((await self._look(missing, [one.session for one in happened])).faces)
        begun = []
        for one in happened:
            thing = self._shown_as(one.thing)
            face = seen.faces.get(thing)
            if face is not None and one.begun_by and not (thing.kind == "entry" and face.standing.is_over):
                begun.append((one, thing))
        cards_of = await self._cards_where([one.place for one, _ in begun if one.place is not None])
        await asyncio.gather(*(self._open(one, thing, seen.sessions, cards_of) for one, thing in begun))
        for thing, face in seen.faces.items():
            self._show(thing, face)
        await self.digests.look()

    def _shown_as(self, thing: Thing) -> Thing:
        """A step is shown by its workflow's card."""
        workflow = self._workflow_of.get(thing.id)
        return thing if workflow is None else Thing("workflow", workflow)

    async def _open(
        self, one: Happening, thing: Thing, sessions: Mapping[str, SessionFace], cards_of: Mapping[str, str]
    ) -> None:
        """The cards of a thing that began: where it was made, and in the channels of its session."""
        session = sessions.get(one.session or "")
        channels: dict[str, tuple[Place, str, bool]] = {}
        for channel in session.channels if session is not None else ():
            place = _place(channel)
            channels[place.name] = (place, channel.cards, False)
        if one.place is not None:
            known = channels.get(one.place.name)
            cards = known[1] if known is not None else cards_of[one.place.name]
            channels[one.place.name] = (one.place, cards, True)
        for place, cards, is_from_here in channels.values():
            state = first_state(thing.kind, cards, is_from_here=is_from_here)
            if state is not None and self.workspace(place.platform, place.workspace) is not None:
                live = await self.claim(thing, place, state, session=one.session, person=one.begun_by)
                live.is_from_here = is_from_here

    async def _in_private(self, live: Live, posts: Posts) -> None:
        """Where a command was heard but the bot may not write: its card goes to who wrote it, in private."""
        card = live.card
        if card.person is None or live.face is None or card.channel.startswith("D"):
            return
        known = await self.ask(self.hub.mentioned, card.person, card.platform, card.workspace)
        for user in known.users[:1]:
            with contextlib.suppress(Refused):
                place = Place(card.platform, card.workspace, await posts.direct(user))
                made = await self.claim(_thing(card), place, "wanted", session=card.session, person=card.person)
                self.show(made, live.face)

    async def _cards_where(self, places: list[Place]) -> dict[str, str]:
        """Which cards are shown in the channels that things were made in; nobody sets a person's direct messages."""
        found = {}
        for place in {place.name: place for place in places}.values():
            if place.is_direct:
                found[place.name] = Channel().cards
            else:
                channel = await self.ask(self.hub.channel, place.platform, place.workspace, place.channel)
                found[place.name] = channel.cards
        return found

    async def claim(
        self, thing: Thing, place: Place, state: str, *, session: str | None = None, person: str | None = None
    ) -> Live:
        """The card of a thing in a channel; made unless it is there."""
        claim = Claim(
            platform=place.platform, workspace=place.workspace, channel=place.channel, thread=place.thread,
            kind=thing.kind, object=thing.id, session=session, person=person, state=state,
        )  # fmt: skip
        claimed = await self._claims.ask(claim)
        return self._take(claimed.card, is_ours=claimed.made)

    async def _claim_all(self, claims: Sequence[Claim]) -> Sequence[Claimed]:
        return await self.ask(self.hub.claim_cards, self.epoch, claims)

    def _take(self, card: Card, *, is_ours: bool) -> Live:
        """Remember a card; one already known is only told what its row says of being forgotten."""
        known = self.live.get(card.id)
        if known is not None:
            if card.state == "forgetting":
                known.card = card
            return known
        live = Live(card, is_ours=is_ours)
        live.dirty_since = self.now()
        if not card.settled:
            self.live[card.id] = live
            self._of.setdefault(_thing(card), {})[card.id] = live
        return live

    # Faces.

    async def refresh(self, things: list[Thing]) -> None:
        """Look at things anew; the cards of those that are no more are done with."""
        if not things:
            return
        cards = [live.card for thing in things for live in self._of.get(thing, {}).values()]
        seen = await self._look(things, [card.session for card in cards])
        for thing in things:
            if thing in seen.faces:
                self._show(thing, seen.faces[thing])
            elif thing.kind != "digest":
                for live in list(self._of.get(thing, {}).values()):
                    if live.card.state != "forgetting":
                        live.card = await self.record(live.card.id, settled=True)
                        self.drop(live)

    async def _look(
        self, things: list[Thing], sessions: list[str | None], over: list[str] | None = None
    ) -> card_faces.Seen:
        wanted = [thing for thing in things if thing.kind != "digest"]
        seen = await self.ask(
            card_faces.look, self.hub, wanted, [one for one in sessions if one is not None], over=over or []
        )
        self._workflow_of.update(seen.workflow_of)
        return seen

    def _show(self, thing: Thing, face: Face) -> None:
        for live in self._of.get(thing, {}).values():
            self.show(live, face)

    def show(self, live: Live, face: Face) -> None:
        """The latest face of a card wins; how urgent it is goes by the most urgent change not shown yet."""
        pressing = urgency(None if live.face is None else live.face.standing, face.standing)
        is_waiting = live.face is not None and not live.is_broken and live.need() is not None
        if not is_waiting:
            live.dirty_since = self.now()
        live.urgency = min(live.urgency, pressing) if is_waiting else pressing
        live.face, live.is_broken = face, False

    # Work.

    async def _work(self) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                wait = self._begin_what_may_be_done(running)
                self._nudge.clear()
                nudged = asyncio.create_task(self._nudge.wait())
                try:
                    await asyncio.wait({*running, nudged}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    nudged.cancel()
                for task in [one for one in running if one.done()]:
                    running.discard(task)
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _begin_what_may_be_done(self, running: set[asyncio.Task[None]]) -> float:
        """Start the most urgent needs that the paces allow; returns how long until the next may be."""
        soonest = _IDLE_SECONDS
        for live, need in self.needs():
            if len(running) >= self._at_once:
                return _IDLE_SECONDS
            wait = self.worker.ready_in(live, need)
            if wait > 0:
                soonest = min(soonest, wait)
                continue
            live.is_busy = True
            self.worker.reserve(live, need)
            running.add(asyncio.create_task(self._do(live, need)))
        return max(soonest, 0.005)

    def needs(self) -> list[tuple[Live, Need]]:
        """What is left to be done now, the most urgent first, the longest waiting before the others."""
        found = []
        for live in self.live.values():
            if live.is_busy or live.is_broken:
                continue
            try:
                need = live.need()
            except Exception:  # one face that cannot be shown must not keep the others from being shown
                log.exception("card.cannot_be_shown", card=live.card.id)
                live.is_broken = True
                continue
            if need is not None:
                found.append((live, need))
        return sorted(found, key=lambda one: (one[0].urgency, one[0].dirty_since))

    async def _do(self, live: Live, need: Need) -> None:
        posts = self.workspace(live.card.platform, live.card.workspace)
        try:
            if posts is None:
                live.not_before = self.now() + 10.0
            else:
                await self.worker.do(live, need, posts)
        except Overtaken:
            raise
        except Exception:  # the edge of one card's work: the others go on
            log.exception("card.failed", card=live.card.id, need=need.value)
            live.tries += 1
            live.not_before = self.now() + min(2.0**live.tries, _LONGEST_PAUSE_SECONDS)
        finally:
            live.is_busy = False
        if live.card.settled:
            self.drop(live)

    def drop(self, live: Live) -> None:
        self.live.pop(live.card.id, None)
        thing = _thing(live.card)
        cards = self._of.get(thing, {})
        cards.pop(live.card.id, None)
        if not cards:
            self._of.pop(thing, None)

    async def _poll(self) -> None:
        """What moves without an event: progress of running jobs, links that run out, the hour of a digest."""
        links_at = 0.0
        while True:
            await asyncio.sleep(self._poll_seconds)
            is_time_for_links = self.now() - links_at >= _LINKS_SECONDS
            moving = [
                thing for thing in self._of
                if thing.kind == "job" or (thing.kind == "link" and is_time_for_links)
            ]  # fmt: skip
            links_at = self.now() if is_time_for_links else links_at
            await self.refresh(moving)
            await self.digests.look()
            self._nudge.set()

    # The hub.

    async def record(self, card: str, **what: Any) -> Card:
        """Write to a card's row, however long the hub is away: what was posted must not be forgotten."""
        row = await self._changes.ask({"id": card, **what})
        if row is None:
            raise Problem("card_not_found", "There is no such card.", status=404)
        return row

    async def _change_all(self, changes: Sequence[Mapping[str, object]]) -> Sequence[Card | None]:
        return await self.ask(self.hub.change_cards, self.epoch, changes)

    async def ask(self, question: Callable[..., T], *args: Any, **named: Any) -> T:
        """Ask the hub from a thread, again while it is away. Raises Overtaken, and Problem for what is refused."""
        pause = 0.2
        while True:
            try:
                return await asyncio.to_thread(question, *args, **named)
            except NoAnswer:
                log.warning("follower.hub_away")
            except Problem as problem:
                if problem.code == "stale_follower":
                    raise Overtaken(self.holder) from problem
                if problem.status < 500 and problem.status != 429:
                    raise
                log.warning("follower.hub_in_trouble", code=problem.code)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)


def _thing(card: Card) -> Thing:
    return Thing(card.kind, card.object)


def _place(channel: Channel) -> Place:
    return Place(*channel.channel.split(":", 2))
