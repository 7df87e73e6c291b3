"""Killed anywhere, the follower of cards posts nothing twice and ends with every card right; seeded, in one process."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import cast

import pytest

from bot.chat_hub import ChatHub
from bot.follower import Follower
from tests.bot.memory_chat import Fate, Killed, MemoryHub, MemoryPosts

pytestmark = pytest.mark.slow

ENDS = ("SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELLED", "UNKNOWN_OUTCOME")


class Script:
    """What happens in the lab while the follower is killed and comes back: seeded."""

    def __init__(self, seed: int, jobs: int = 4) -> None:
        self.random = random.Random(seed)
        self.hub = MemoryHub()
        self.moves: list[tuple[int, str]] = []
        for number in range(1, jobs + 1):
            life = ["submit", "RUNNING", *(["PENDING", "RUNNING"] if self.random.random() < 0.3 else [])]
            self.moves += [(number, word) for word in (*life, self.random.choice(ENDS))]
        # In any order, each job's own kept.
        order = self.random.sample([number for number, _ in self.moves], len(self.moves))
        lives = {n: iter([move for move in self.moves if move[0] == n]) for n in set(order)}
        self.moves = [next(lives[number]) for number in order]
        self.jobs: dict[int, str] = {}

    def step(self) -> bool:
        """One more thing happens."""
        if not self.moves:
            return False
        number, word = self.moves.pop(0)
        if word == "submit":
            self.jobs[number] = self.hub.submit(number, f"slack:T1:C{number % 2}")
        elif word in ENDS:
            self.hub.end(self.jobs[number], word, seconds=self.random.choice([1.0, 400.0]))
        else:
            self.hub.move(self.jobs[number], word)
        return True


async def live(hub: MemoryHub, posts: MemoryPosts, name: str, script: Script | None, *, settle: float = 0.0) -> None:
    """One process: follows until nothing is left to be done, time going on as it waits."""
    follower = Follower(cast(ChatHub, hub), lambda *_: posts, name, now=lambda: hub.now, settle_seconds=settle)
    sequence = await follower.begin()
    while True:
        happens = script is not None and script.random.random() < 0.6 and script.step()
        page = hub.events(sequence)
        if page.events:
            sequence = await follower.take_in(page)
        for one, need in follower.needs():
            if follower.worker.ready_in(one, need) <= 0:
                follower.worker.reserve(one, need)
                await follower._do(one, need)
                break
        else:
            hub.now += 0.4
        if not happens and not page.events and not follower.needs() and (script is None or not script.moves):
            return


def check(hub: MemoryHub, posts: MemoryPosts) -> None:
    """One card a job, showing its end, and one reply in its thread."""
    roots = {one.nonce.partition(".")[0]: one for one in posts.roots}
    assert len(roots) == len(posts.roots) == len(hub.jobs)
    assert len(posts.replies) == len(hub.jobs)
    for card in hub.cards.values():
        job = hub.jobs[card.object]
        assert card.settled and card.state == "posted" and card.reply == "posted"
        shown = roots[card.id]
        word = {"TIMED_OUT": "timed out", "UNKNOWN_OUTCOME": "outcome unknown"}.get(job.state, job.state.lower())
        assert (shown.ident, shown.channel) == (card.message, card.channel)
        assert f"job {job.number} “fit {job.number}” {word}" in shown.text
        (reply,) = [one for one in posts.replies if one.thread == shown.ident]
        assert word in reply.text and reply.ident == card.reply_message


@pytest.mark.parametrize("seed", range(40))
def test_killed_at_random_moments_no_card_and_no_reply_is_doubled_and_all_are_right(seed: int) -> None:
    script = Script(seed)
    hub, posts = script.hub, MemoryPosts(script.hub)
    deaths = 0
    while True:
        # Short lives: sometimes it dies while it reads what it left behind.
        hub.fate = Fate(script.random.randint(1, 25), after=script.random.random() < 0.5) if deaths < 12 else Fate()
        try:
            asyncio.run(live(hub, posts, f"process {deaths}", script, settle=2.0))
            if hub.fate.dies_at == -1 or not script.moves:
                break
        except Killed:
            deaths += 1
            hub.now += script.random.choice([0.0, 1.0, 30.0])
    hub.fate = Fate()
    asyncio.run(live(hub, posts, "the last", script, settle=2.0))
    assert deaths > 0
    check(hub, posts)


def test_killed_at_every_single_call_of_one_life() -> None:
    """Each call of the hub and of the platform, before it and after it was done."""
    whole = Script(7, jobs=2)
    asyncio.run(live(whole.hub, MemoryPosts(whole.hub), "a", whole))
    calls = whole.hub.fate.calls
    assert calls > 20
    for at in range(1, calls + 1):
        for after in (False, True):
            script = Script(7, jobs=2)
            hub, posts = script.hub, MemoryPosts(script.hub)
            hub.fate = Fate(at, after=after)
            with pytest.raises(Killed):
                asyncio.run(live(hub, posts, "a", script))
            hub.fate = Fate()
            asyncio.run(live(hub, posts, "b", script, settle=2.0))
            check(hub, posts)


@pytest.mark.parametrize("seed", range(20))
def test_a_platform_that_does_things_without_saying_so_makes_nothing_double(seed: int) -> None:
    script = Script(seed)
    hub = script.hub
    posts = MemoryPosts(hub, trouble=random.Random(seed))
    asyncio.run(live(hub, posts, "a", script, settle=0.5))
    check(hub, posts)


@pytest.mark.parametrize("seed", range(20))
def test_where_a_bot_may_not_read_a_card_is_rather_lost_than_doubled(seed: int) -> None:
    script = Script(seed)
    hub, posts = script.hub, MemoryPosts(script.hub, may_read=False)
    hub.fate = Fate(script.random.randint(4, 40), after=True)
    try:
        asyncio.run(live(hub, posts, "a", script))
    except Killed:
        hub.fate = Fate()
        asyncio.run(live(hub, posts, "b", script, settle=2.0))
    nonces = [one.nonce for one in posts.sent]
    assert len(nonces) == len(set(nonces))
    assert all(card.settled for card in hub.cards.values())
    lost = [card for card in hub.cards.values() if "lost" in (card.state, card.reply)]
    assert len(lost) <= 1


def test_two_hundred_cards_and_bursts_stay_within_the_rates_and_end_right() -> None:
    """No minute has more than fifty edits, no channel more than one post a second; the last edit is the last state."""
    hub = MemoryHub()
    posts = MemoryPosts(hub)
    chance = random.Random(4)

    async def day() -> None:
        follower = Follower(cast(ChatHub, hub), lambda *_: posts, "a", now=lambda: hub.now)
        sequence = await follower.begin()
        jobs = [hub.submit(number, f"slack:T1:C{number % 40}") for number in range(1, 201)]
        left = [(job, state) for job in jobs for state in ("RUNNING", "SUCCEEDED")]
        while left or follower.needs() or hub.events(sequence).events:
            if left and chance.random() < 0.02:
                for _ in range(chance.randint(1, 40)):
                    if left:
                        job, state = left.pop(0)
                        hub.end(job, state) if state == "SUCCEEDED" else hub.move(job, state)
            while hub.events(sequence).events:
                sequence = await follower.take_in(hub.events(sequence))
            for one, need in follower.needs():
                if follower.worker.ready_in(one, need) <= 0:
                    follower.worker.reserve(one, need)
                    await follower._do(one, need)
            hub.now += 0.25

    asyncio.run(day())
    edits = sorted(at for one in posts.sent for at in one.edits)
    assert len(edits) >= 200
    assert all(sum(start <= at < start + 60 for at in edits) <= 50 for start in edits)
    for channel in {one.channel for one in posts.sent}:
        times = sorted(one.at for one in posts.sent if one.channel == channel)
        assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(times))
    check(hub, posts)
