"""A scripted lab day through three doors, while any one process may be killed at any moment.

What was acknowledged is written down as it happens; at the end each of it must be there once, nothing may be there
twice, no process may be left, and the cards in the channel must say how the jobs stand.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.lab.laboratory import Laboratory, laboratory

# `five quick crashes in a row close the house`: a process is left alone for a while after it was killed.
LEFT_ALONE_SECONDS = 12.0
BETWEEN_KILLS_SECONDS = (1.0, 2.5)
HOUSE_SHARE = 0.03
CARDS_RIGHT_SECONDS = 30.0
KINDS = ("web", "work", "agent", "live", "bot", "valkey")
ENDED = ("succeeded", "failed", "cancelled", "node failed", "outcome unknown", "timed out", "out of memory")


class Diary:
    """What people were told is done, by what it is: (kind, its unique words)."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[str, str]] = []
        self.asked: list[str] = []  # jobs by mention: what became of them is said afterwards, in a message
        self.refused: Counter[str] = Counter()

    def done(self, kind: str, words: str) -> None:
        self.acknowledged.append((kind, words))


class Day:
    """The script: each round does one thing through each door."""

    def __init__(self, lab: Laboratory, chance: random.Random) -> None:
        self.lab, self.chance, self.diary = lab, chance, Diary()
        self.users = list(lab.people)
        # Slack takes one message a second in a channel; a day that says more than that would wait for ever longer.
        self.channels = [lab.slack.channel(f"lab-{number}") for number in range(4)]
        self.numbers = itertools.count(1)
        (lab.hub.here / "kept.txt").write_text("what is kept\n")

    def round(self) -> None:
        number = next(self.numbers)
        self.in_slack(number)
        self.in_the_shell(number)
        self.in_the_room(number)

    def in_slack(self, number: int) -> None:
        """A job by mention, every third one longer; an entry by command; now and then a job cancelled by its button."""
        user, channel = self.chance.choice(self.users), self.channels[number % len(self.channels)]
        seconds = self.chance.choice((0, 0, 3))
        script = f"#!/bin/sh\necho round {number}\nsleep {seconds}\n"
        said = self.lab.slack.mention(user, f'job submit "{script}" --name "day {number}"', channel=channel)
        if said.status == 200:
            self.diary.asked.append(f"day {number}")
        told = self.lab.slack.command(user, "/collegium", f'note post "slack {number}" --text "round {number}"')
        if told.status == 200 and f"slack {number}" in str(told.body):
            self.diary.done("entry", f"slack {number}")
        else:
            self.diary.refused[f"slack {told.status}"] += 1
        if self.chance.random() < 0.2:
            cards = [m for m in self.lab.slack.messages if m.channel == channel and not m.thread and m.buttons]
            labels = [(m, label) for m in cards[-5:] for label in m.buttons if "stop" in label.lower()]
            if labels:
                message, label = self.chance.choice(labels)
                self.lab.slack.click(self.chance.choice(self.users), message, label)

    def in_the_shell(self, number: int) -> None:
        """An entry and a file by the owner's shell, as a script would: what fails is said and not repeated."""
        for kind, words, command in (
            ("entry", f"shell {number}", ("note", "post", f"shell {number}", "--text", "t")),
            ("artifact", f"out/{number}.txt", ("artifact", "add", "kept.txt", "--as", f"out/{number}.txt")),
        ):
            try:
                self.lab.hub(*command)
            except AssertionError as error:
                self.diary.refused["shell: " + str(error).strip().splitlines()[-1][:60]] += 1
            else:
                self.diary.done(kind, words)

    def in_the_room(self, number: int) -> None:
        """A message through the API, sent again under its key until it is answered, as a browser does."""
        key, words = uuid.uuid4().hex, f"room {number}"
        for _ in range(100):
            try:
                self.lab.act(self.lab.owner, "room_message", key=key, text=words, client_id=key)
            except (httpx.HTTPError, AssertionError):
                time.sleep(0.2)
            else:
                self.diary.done("message", words)
                return
        self.diary.refused["room"] += 1


class Killer(threading.Thread):
    """Kills one process after the other, at random, until it has killed enough."""

    def __init__(self, lab: Laboratory, kills: int, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.lab, self.kills, self.chance = lab, kills, chance
        self.killed: Counter[str] = Counter()
        self.last: dict[str, float] = {}

    def run(self) -> None:
        while sum(self.killed.values()) < self.kills:
            time.sleep(self.chance.uniform(*BETWEEN_KILLS_SECONDS))
            if self.chance.random() < HOUSE_SHARE:
                self.house()
                continue
            found = [
                (kind, pid)
                for pid, command in self.lab.hub.processes().items()
                for kind in KINDS
                if f"hub.cli {kind}" in command or (kind == "valkey" and "valkey-server" in command)
            ]
            now = time.monotonic()
            free = [(kind, pid) for kind, pid in found if now - self.last.get(kind, 0.0) > LEFT_ALONE_SECONDS]
            if free:
                kind, pid = self.chance.choice(free)
                self.last[kind] = now
                os.kill(pid, signal.SIGKILL)
                self.killed[kind] += 1

    def house(self) -> None:
        """The launcher itself, and with it everything; somebody starts it again, as systemd does."""
        self.lab.hub.up.kill()
        self.lab.hub.up.wait()
        deadline = time.monotonic() + 60
        while self.lab.hub.processes():
            assert time.monotonic() < deadline, f"left behind: {self.lab.hub.processes()}"
            time.sleep(0.1)
        self.lab.hub.up = self.lab.hub.start()
        self.lab.moved()
        self.last.clear()
        self.killed["up"] += 1


def with_kills(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """The day, and what it was like afterwards."""
    chance = random.Random(seed)
    with laboratory(folder, tuple(f"Person {n}" for n in range(5)), COLLEGIUM_RUNNING_JOBS_PER_PERSON="2") as lab:
        lab.slack.rate("chat.postMessage", None)
        day = Day(lab, chance)
        killer = Killer(lab, kills, random.Random(seed + 1))
        killer.start()
        while killer.is_alive():
            day.round()
            time.sleep(chance.uniform(0.5, 1.5))
        killer.join()
        ended_at = time.monotonic()
        right_after = cards_right(lab, day, ended_at)
        found = afterwards(lab, day) | {"cards_right_after_s": round(right_after, 1)}
        lab.hub("verify")
    found |= {"kills": dict(killer.killed), "refused": dict(day.diary.refused), "orphans": len(lab.hub.processes())}
    return found


def afterwards(lab: Laboratory, day: Day) -> dict[str, Any]:
    """Of what was acknowledged: how much is lost, and what is there more often than once."""
    there: Counter[tuple[str, str]] = Counter()
    headers = {"Authorization": f"Bearer {lab.secret('keys/bot.token')}"}
    for person in [*lab.people.values(), None]:
        who = {"Authorization": f"Bearer {lab.owner}"} if person is None else headers | {"Collegium-Act-As": person}
        own = next(one["name"] for one in patient(lab, "/api/sessions", who) if one["personal"])
        for kind, path, words in (
            ("entry", "entries", "title"), ("job", "jobs", "name"), ("artifact", "artifacts", "path"),
            ("message", "messages", "text"),
        ):  # fmt: skip
            for one in everything(lab, f"/api/sessions/{own}/{path}", path, who):
                there[kind, one[words]] += 1
    heard = [m.text for m in lab.slack.messages if m.user == lab.slack.bot_user]
    for name in day.diary.asked:
        if there["job", name] or any(f"“{name}”" in text for text in heard):
            day.diary.done("job", name)
    lost = [what for what in day.diary.acknowledged if not there[what]]
    doubled = [what for what, count in there.items() if count > 1]
    return {
        "jobs_asked_for": len(day.diary.asked),
        "told_not_recorded": sum(text.startswith("Not recorded") for text in heard),
        "acknowledged": len(day.diary.acknowledged),
        "by_kind": dict(Counter(kind for kind, _ in day.diary.acknowledged)),
        "lost": lost[:5] and [len(lost), lost[:5]],
        "doubled": doubled[:5] and [len(doubled), doubled[:5]],
    }


def patient(lab: Laboratory, path: str, headers: dict[str, str], **params: str) -> Any:
    """A view, asked for until it is answered."""
    for _ in range(100):
        try:
            answer = lab.api.get(path, headers=headers, params=params)
            if answer.status_code == 200:
                return answer.json()
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{path} was never answered")


def everything(lab: Laboratory, path: str, key: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    if key == "messages":
        after = 0
        while batch := patient(lab, path, headers, after=str(after), limit="100")["messages"]:
            found += batch
            after = batch[-1]["sequence"]
        return found
    cursor: dict[str, str] = {}
    while True:
        page = patient(lab, path, headers, **cursor)
        found += page[key]
        if not page.get("cursor"):
            return found
        cursor = {"cursor": page["cursor"]}


def cards_right(lab: Laboratory, day: Day, since: float) -> float:
    """Seconds until every job has exactly one card, which says how it ended; an assertion fails when that is late."""
    jobs = [words for kind, words in day.diary.acknowledged if kind == "job"]
    wrong: list[str] = []
    while time.monotonic() < since + CARDS_RIGHT_SECONDS + 300:
        posts = [m for m in lab.slack.messages if m.channel in day.channels and m.user == lab.slack.bot_user]
        wrong = []
        for name in jobs:
            cards = [m for m in posts if not m.thread and not m.is_ephemeral and f"“{name}”" in m.text]
            replies = [m for m in posts if m.thread and not m.is_ephemeral and f"“{name}”" in m.text]
            if len(cards) != 1 or len(replies) > 1 or not any(word in cards[0].text.lower() for word in ENDED):
                wrong.append(f"{name}: {[m.text[:80] for m in cards]}, {len(replies)} replies")
        if not wrong:
            return time.monotonic() - since
        time.sleep(0.5)
    raise AssertionError(f"{len(wrong)} cards are not right: {wrong[:5]}")
