"""How soon an end is seen: from the line in slurmctld's own log until room and card tell how the job ended.

By push, because each run tells its end by itself; and without, when the run was killed so hard that it could tell
nothing and only Slurm knows. Slurm, hub, bot and room are real; Slack is the fake that refuses what Slack would.
"""

from __future__ import annotations

import datetime as dt
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from hub.live import protocol
from hub.live.frames import Hello, Kind, Told
from tests.benchmarks.clusters.questions import Calls
from tests.benchmarks.clusters.world import CLUSTER, Member, counted, median, p, say, slurm, until
from tests.lab.laboratory import Laboratory, laboratory
from tests.real.slurm_box import SlurmBox

OVER = re.compile(r"^\[(\S+)\] _job_complete: JobId=(\d+) done", re.MULTILINE)
ENDS = {"push": "sleep 2", "poll": "sleep 2; kill -9 $PPID; sleep 1"}


class Room:
    """Somebody who sits in the room and writes down when they were told how a job ended."""

    def __init__(self, member: Member) -> None:
        self.told: dict[str, float] = {}
        own = next(each["id"] for each in member.http.get("/api/sessions").json() if each["personal"])
        ticket = member.http.post("/api/tickets", json={"session": own}).json()["ticket"]
        url = member.hub.url.replace("http", "ws", 1)
        self._link: ClientConnection = connect(f"{url}/ws?ticket={ticket}", ping_interval=None, compression=None)
        self._link.send(protocol.encode(Hello(1)))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for data in self._link:
            frame = protocol.parse_server(data if isinstance(data, bytes) else data.encode())
            if isinstance(frame, Told) and frame.kind == Kind.EVENT:
                self._note(frame.body)

    def _note(self, body: Any) -> None:
        event = body if isinstance(body, dict) else {}
        facts = event.get("facts") or {}
        if facts.get("state") in ("SUCCEEDED", "FAILED"):
            self.told.setdefault(event["object"], time.time())

    def close(self) -> None:
        self._link.close()


def ended_in_slurm(box: SlurmBox) -> dict[str, float]:
    """When each job was over for slurmctld, by its number."""
    log = (box.base / "log" / "slurmctld.log").read_text(errors="replace")
    return {number: dt.datetime.fromisoformat(at).timestamp() for at, number in OVER.findall(log)}


def seen(scale: float) -> dict[str, Any]:
    """Jobs with a card each, one after the other; p95 of the way from Slurm to room and card."""
    box, found = slurm(), dict[str, Any]()
    folder, file = counted(box)
    calls = Calls(file)
    box.empty()
    with tempfile.TemporaryDirectory() as root, laboratory(Path(root), ("Ada",)) as lab:
        user, person = next(iter(lab.people.items()))
        wish = {"Authorization": f"Bearer {lab.secret('keys/bot.token')}", "Collegium-Act-As": person}
        member, olga = Member(lab.hub, wish), Member(lab.hub, {"Authorization": f"Bearer {lab.owner}"})
        member.join(box, by=olga, path=[str(folder)])
        room, channel = Room(member), lab.slack.channel("lab")
        for way, count in (("push", max(4, round(30 * scale))), ("poll", max(2, round(6 * scale)))):
            told = [one(lab, member, room, box, user, channel, f"{way} {number}") for number in range(count)]
            found |= row(way, told, calls)
        room.close()
        member.http.close()
        olga.http.close()
    return found


def one(
    lab: Laboratory, member: Member, room: Room, box: SlurmBox, user: str, channel: str, name: str
) -> tuple[float, float, float]:
    """When one job was over for Slurm, in the room, and on its card."""
    text = f"#!/bin/sh\n{ENDS[name.split(maxsplit=1)[0]]}\n"
    said = lab.slack.mention(user, f'job submit "{text}" --name "{name}" --cluster {CLUSTER}', channel=channel)
    assert said.status == 200, said.attempts
    until(lambda: job_of(member, name), f"{name} is submitted")
    job, words = job_of(member, name), ("succeeded", "failed")
    card: list[float] = []

    def on_card() -> bool:
        if not card and any(
            f"“{name}”" in each.text and any(word in each.text.lower() for word in words)
            for each in lab.slack.messages
            if each.channel == channel and not each.thread
        ):
            card.append(time.time())
        return bool(card) and job in room.told

    until(on_card, f"{name} has ended in room and card", every=0.01)
    with member.rows() as db:
        native = db.execute("select native from jobs where id = ?", (job,)).fetchone()[0]
    until(lambda: native in ended_in_slurm(box), f"slurmctld says that {native} is over")
    return ended_in_slurm(box)[native], room.told[job], card[0]


def job_of(member: Member, name: str) -> str:
    with member.rows() as db:
        row = db.execute("select id from jobs where name = ?", (name,)).fetchone()
    return row[0] if row else ""


def row(way: str, told: list[tuple[float, float, float]], calls: Calls) -> dict[str, Any]:
    """The figures of one way; for the poll also how often Slurm was asked before it was seen."""
    in_room, on_card = [room - over for over, room, _ in told], [card - over for over, _, card in told]
    say(f"{way}: room p50 {median(in_room):.2f} s, card p50 {median(on_card):.2f} s")
    found = {
        f"end_seen_by_{way}_room_p50_s": median(in_room),
        f"end_seen_by_{way}_room_p95_s": p(in_room, 0.95),
        f"end_seen_by_{way}_card_p50_s": median(on_card),
        f"end_seen_by_{way}_card_p95_s": p(on_card, 0.95),
    }
    if way == "poll":
        asked = [sum(name == "squeue" for _, name in calls.between(over, card)) for over, _, card in told]
        found["polls_until_an_end_is_seen"] = max(asked)
    return found
