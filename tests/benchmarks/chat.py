"""What the chat door takes: how soon a command is acknowledged, and how soon a card tells what happened.

    python -m tests.benchmarks.chat [--json] [--rate 50] [--seconds 20] [--cards 200] [--kills 200]
                                 [--only ack|cards|kills]

`ack`: signed commands arrive at the bot at a steady rate, each of which writes a notebook entry that is committed
before its acknowledgement; beside it, in the same run, a Bolt app that does nothing gets the same requests. Each
request's latency counts from the moment it was due, so a sender that is late is counted as late. Then the same while
the bot is killed at random and every unanswered request is sent again under its own id: entries are counted afterwards.
`cards`: so many jobs with a card each wait in a queue; one after the other is cancelled, as often as the platform's
rates allow edits, and the time runs from the cancelling to the edit that tells it.
`kills`: a scripted lab day in Slack, shell and API while any one process is killed at random points (`tests/lab`).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.bot.fake_slack import Message
from tests.lab import day
from tests.lab.laboratory import Laboratory, laboratory

IDLE = """
import sys, uvicorn
from slack_bolt.async_app import AsyncApp
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.authorization import AuthorizeResult
from starlette.applications import Starlette
from starlette.routing import Route

async def authorize(enterprise_id, team_id, **_):
    return AuthorizeResult(
        enterprise_id=enterprise_id, team_id=team_id, bot_token="xoxb-0-fake", bot_id="B1", bot_user_id="U0BOT"
    )

bolt = AsyncApp(signing_secret=sys.argv[2], authorize=authorize)

@bolt.command("/collegium")
async def idle(ack):
    await ack("ok")

handler = AsyncSlackRequestHandler(bolt)

async def events(request):
    return await handler.handle(request)

app = Starlette(routes=[Route("/slack/events", events, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
"""
SENDERS_ANSWER_SECONDS = 3.0


def form(lab: Laboratory, user: str, number: int, text: str) -> bytes:
    """A slash command as Slack sends it; its trigger is its number."""
    return urlencode(
        {
            "token": "legacy", "team_id": lab.slack.team, "team_domain": "lab", "channel_id": lab.slack.direct(user),
            "channel_name": "directmessage", "user_id": user, "user_name": "somebody", "command": "/collegium",
            "text": text, "api_app_id": lab.slack.app_id, "is_enterprise_install": "false",
            "response_url": f"{lab.slack.origin}/hook/{number:024x}", "trigger_id": f"{number}.bench.{lab.hub.up.pid}",
        }
    ).encode()  # fmt: skip


def signed(body: bytes, secret: str) -> dict[str, str]:
    stamp = str(int(time.time()))
    digest = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest}",
    }


def said(answer: httpx.Response) -> str:
    """The whole answer in a sentence, as Slack would show it in a notification."""
    if answer.status_code != 200:
        return f"HTTP {answer.status_code}"
    try:
        return str(answer.json()["text"])
    except (ValueError, KeyError, TypeError):
        return answer.text


def settled(look: Callable[[], list[str]], enough: int) -> list[str]:
    """What there is, once it is enough or grows no more: what was not confirmed in time goes on being tried."""
    found = look()
    for _ in range(30):
        if len(found) >= enough:
            break
        time.sleep(1)
        found = look()
    return found


async def steady(url: str, secret: str, bodies: list[bytes], rate: float) -> tuple[list[float], list[str]]:
    """Send each body when it is due; (milliseconds from due to answer, the answers)."""
    latencies: list[float] = []
    answers: list[str] = []
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=10, limits=limits) as http:
        started = time.perf_counter() + 0.2

        async def one(number: int, body: bytes) -> None:
            due = started + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            answer = await http.post("/slack/events", content=body, headers=signed(body, secret))
            latencies.append((time.perf_counter() - due) * 1000)
            answers.append(said(answer))

        await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))
    return latencies, answers


@contextmanager
def idle_app(secret: str, port: int) -> Iterator[str]:
    """The Bolt app that only acknowledges."""
    process = subprocess.Popen([sys.executable, "-c", IDLE, str(port), secret])
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 20
        while True:
            try:
                httpx.post(f"{url}/slack/events", timeout=1)
                break
            except httpx.HTTPError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def p(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def titles(lab: Laboratory, user: str) -> list[str]:
    """The titles of all entries of this person's own session."""
    found: list[str] = []
    headers = {"Authorization": f"Bearer {lab.secret('keys/bot.token')}", "Collegium-Act-As": lab.people[user]}
    name = next(one["name"] for one in lab.api.get("/api/sessions", headers=headers).json() if one["personal"])
    cursor = ""
    while True:
        page = lab.api.get(
            f"/api/sessions/{name}/entries", headers=headers, params={"cursor": cursor} if cursor else {}
        )
        assert page.status_code == 200, page.text
        found += [entry["title"] for entry in page.json()["entries"]]
        cursor = page.json().get("cursor") or ""
        if not cursor:
            return found


def measure_acks(lab: Laboratory, rate: float, seconds: float, seed: int) -> dict[str, Any]:
    """Acknowledgements beside the idle app, then once more with the bot killed at random."""
    users = list(lab.people)
    secret = lab.slack.signing_secret
    count = int(rate * seconds)
    bodies = [
        form(lab, users[n % len(users)], n, f'note post "measured {n}" --text "by the benchmark"') for n in range(count)
    ]
    with idle_app(secret, 18_399) as idle_url:
        idle, _ = asyncio.run(steady(idle_url, secret, bodies, rate))
    ours, answers = asyncio.run(steady(lab.hub.url, secret, bodies, rate))
    told = [number for number in range(count) if any(f"“measured {number}”" in answer for answer in answers)]
    written = settled(lambda: [title for user in users for title in titles(lab, user)], count)
    assert len(written) == len(set(written)), "an action was done twice"
    lost = [number for number in told if f"measured {number}" not in written]
    assert not lost, f"acknowledged and lost: {lost[:5]}"
    killed = asyncio.run(killing(lab, users, secret, rate, seconds, random.Random(seed), count))
    return {
        "commands_a_second": rate,
        "commands": count,
        "acknowledged_as_recorded": len(told),
        "recorded": len(written),
        "ack_p50_ms": round(statistics.median(ours), 1),
        "ack_p99_ms": round(p(ours, 0.99), 1),
        "idle_bolt_p50_ms": round(statistics.median(idle), 1),
        "idle_bolt_p99_ms": round(p(idle, 0.99), 1),
        **killed,
    }


async def killing(
    lab: Laboratory, users: list[str], secret: str, rate: float, seconds: float, chance: random.Random, base: int
) -> dict[str, Any]:
    """The same while the bot dies again and again; what was not acknowledged is sent again under its own id."""
    count, kills = int(rate * seconds / 2), 0
    over = asyncio.Event()
    acknowledged: set[int] = set()
    not_recorded = resent = 0

    async def killer() -> None:
        nonlocal kills
        while not over.is_set():
            await asyncio.sleep(chance.uniform(2.0, 6.0))
            for pid, command in lab.hub.processes().items():
                if "hub.cli bot" in command:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1

    async def one(http: httpx.AsyncClient, number: int) -> None:
        nonlocal resent, not_recorded
        await asyncio.sleep(number / rate)
        body = form(lab, users[number % len(users)], base + number, f'note post "killed {number}" --text "t"')
        for _ in range(60):
            try:
                answer = await http.post("/slack/events", content=body, headers=signed(body, secret), timeout=3)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 200 and f"“killed {number}”" in said(answer):
                acknowledged.add(number)
                return
            resent += 1
            await asyncio.sleep(1.1)  # a new second is a new signature: Slack signs each delivery
        not_recorded += 1

    killing_task = asyncio.create_task(killer())
    async with httpx.AsyncClient(base_url=lab.hub.url, limits=httpx.Limits(max_connections=100)) as http:
        await asyncio.gather(*(one(http, number) for number in range(count)))
    over.set()
    await killing_task
    written = [title for user in users for title in titles(lab, user) if title.startswith("killed")]
    lost = [number for number in acknowledged if f"killed {number}" not in written]
    return {
        "bot_kills": kills,
        "sent_again": resent,
        "never_answered": not_recorded,
        "lost": len(lost),
        "doubled": len(written) - len(set(written)),
    }


def measure_cards(lab: Laboratory, cards: int, edits: int) -> dict[str, Any]:
    """From the ledger's line to the edited card, with so many cards alive."""
    user = next(iter(lab.people))
    channel = lab.slack.channel("lab")
    lab.slack.rate("chat.postMessage", None)  # so that the cards are there within minutes; edits keep their rate
    blocker = "#!/bin/sh\nsleep 3600\n"
    for number in range(cards):
        said = lab.slack.mention(user, f'job submit "{blocker}" --name "bench {number}"', channel=channel)
        assert said.status == 200, said.attempts

    def posted() -> list[Message]:
        return [m for m in lab.slack.messages if m.channel == channel and m.via == "chat.postMessage" and not m.thread]

    lab.slack.wait_for(lambda: len(posted()) >= cards, 600)
    time.sleep(65)  # the minute over which edits are counted begins anew
    act_as = {"Authorization": f"Bearer {lab.secret('keys/bot.token')}", "Collegium-Act-As": lab.people[user]}
    waited: list[float] = []
    name = next(one["name"] for one in lab.api.get("/api/sessions", headers=act_as).json() if one["personal"])
    jobs = lab.api.get("/api/jobs", headers=act_as, params={"session": name, "state": "QUEUED"}).json()["jobs"]
    for job in jobs[:edits]:
        body = {"tool": "distributed_collaboration", "params": {"action": "job_cancel", "job": job["id"]}}
        began = time.monotonic()
        answer = lab.api.post("/api/actions", json=body, headers=act_as)
        assert answer.status_code == 200, answer.text
        card = next(m for m in posted() if f"“{job['name']}”" in m.text)
        lab.slack.wait_for(lambda card=card: "cancelled" in card.text.lower(), 60)
        waited.append(max(0.0, card.edited_at - began))
        time.sleep(max(0.0, 1.4 - (time.monotonic() - began)))
    limited = Counter(call.method for call in lab.slack.calls if call.error == "ratelimited")
    return {
        "cards": len(posted()),
        "edits_measured": len(waited),
        "edit_p50_s": round(statistics.median(waited), 2),
        "edit_p95_s": round(p(waited, 0.95), 2),
        "rate_limited_calls": dict(limited),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--cards", type=int, default=200)
    parser.add_argument("--edits", type=int, default=60)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(datetime.now().timestamp()))
    parser.add_argument("--only", choices=["ack", "cards", "kills"])
    options = parser.parse_args()
    found: dict[str, Any] = {"seed": options.seed}
    people = tuple(f"Person {n}" for n in range(10))
    if options.only != "kills":
        with tempfile.TemporaryDirectory() as folder, laboratory(Path(folder), people) as lab:
            if options.only != "cards":
                found |= measure_acks(lab, options.rate, options.seconds, options.seed)
            if options.only != "ack":
                found |= measure_cards(lab, options.cards, options.edits)
    if options.only in (None, "kills"):
        with tempfile.TemporaryDirectory() as folder:
            found |= day.with_kills(Path(folder), options.kills, options.seed)
    if not options.json:
        for name, value in found.items():
            print(f"{name:>24}  {value}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
