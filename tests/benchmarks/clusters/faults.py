"""Campaigns of faults: whatever dies, sleeps, is cut or is emptied, each run begins once and ends as it ended.

A whole embedded hub with a standby agent. For each run its seed says what becomes of its submission and of itself, and
a blow that falls at the moment it enters one of its states: a process is killed or stopped, the line is cut at one of
the remote steps, Redis is flushed. What the hub says in the end is held against what the jobs wrote on the cluster.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import redis

from hub.core.settings import Settings
from hub.jobs.rules import TERMINAL
from tests.benchmarks.clusters.scheduler_shims import ASKED, STEPS, cut_at, shims
from tests.benchmarks.clusters.world import Member, say, slurm
from tests.embedded import Hub
from tests.faults.storm import FakeCluster, Told, fault_of, plan_of, script_of
from tests.real.slurm_box import SlurmBox
from tests.real.sshd_box import SshdBox

AT_ONCE = 25
STATES = ("SUBMITTING", "PENDING", "RUNNING", "COLLECTING")
BLOWS = ("kill", "kill", "stop", "stop", "cut", "cut", "flush")
VICTIMS = ("web", "work", "agent", "live", "bot", "valkey")
# A child that crashes as fast as it starts closes the house; so that one is killed which has lived for a while.
LEFT_ALONE_SECONDS = 12.0
STOPPED_SECONDS = (1.0, 9.0)
# Of the kinds of runs, those a real Slurm plays by itself or by one command.
REAL_RUNS = ("ok", "ok", "fail", "killed", "cancel", "requeue")
PATIENCE_SECONDS = 420.0
HURRY = """import sys
if sys.orig_argv[-1:] == ["agent"]:
    from tests.real.agent_process import hurry
    hurry()
"""


class Story:
    """One run: its plan, its blow, and how far it is."""

    def __init__(self, name: str, plan: dict[str, Any], chance: random.Random) -> None:
        self.name, self.plan = name, plan
        self.at, self.blow = chance.choice(STATES), chance.choice(BLOWS)
        self.key = uuid.UUID(int=chance.getrandbits(128)).hex
        self.struck = self.hurried = False
        self.job = ""
        self.state = ""
        self.cancelled = self.requeued = plan["run"] not in ("cancel", "requeue")
        self.cancelled |= plan["run"] == "requeue"
        self.requeued |= plan["run"] == "cancel"
        self.cancel_at = chance.choice(STATES[:3])


def _is_there(state: str, at: str) -> bool:
    """Whether a run has come to that state, or has passed it unseen."""
    return state in TERMINAL or (state in STATES and STATES.index(state) >= STATES.index(at))


class Campaign:
    """So many runs against one hub and one cluster."""

    def __init__(self, box: SshdBox, hub: Hub, seed: str, runs: int) -> None:
        self.box, self.hub, self.is_real = box, hub, isinstance(box, SlurmBox)
        self.chance = random.Random(seed)
        self.stories = {name: self._story(name) for name in (f"p{number:05}" for number in range(runs))}
        self.blows: Counter[str] = Counter()
        self.hit_at: dict[str, float] = {}
        self.sleeping: list[tuple[float, int]] = []
        self.steps_again: list[float] = []
        self._begun: dict[str, tuple[int, float]] = {}
        self.standby = self._agent()
        token = (hub.data / "operator.token").read_text().strip()
        self.member = Member(hub, {"Authorization": f"Bearer {token}"})

    def _story(self, name: str) -> Story:
        plan = plan_of(self.chance)
        if self.is_real:
            plan["run"] = self.chance.choice(REAL_RUNS)
        return Story(name, plan, self.chance)

    def _agent(self) -> subprocess.Popen[str]:
        with self.hub.log.open("a") as output:
            return self.hub.begin("agent", stdout=output, stderr=output)

    # --- the story

    def play(self) -> float:
        """Until all are over; the seconds it took."""
        began = moved = time.monotonic()
        waiting, under_way = list(self.stories.values()), dict[str, Story]()
        while waiting or under_way:
            while waiting and len(under_way) < AT_ONCE and self._submit(waiting[0]):
                story = waiting.pop(0)
                under_way[story.job] = story
                moved = time.monotonic()
            for job, (state, native) in self._states().items():
                if (story := under_way.get(job)) is None:
                    continue
                self._wish(story, state, native)
                if state == story.state:
                    continue
                story.state, moved = state, time.monotonic()
                if not story.struck and _is_there(state, story.at):
                    story.struck = True
                    self._strike(story.blow)
                if state in TERMINAL:
                    del under_way[job]
            self._look_after()
            self._steps_again()
            if time.monotonic() - moved > PATIENCE_SECONDS:
                say(f"nothing moves: {sorted((each.name, each.state) for each in under_way.values())[:10]}")
                break
            time.sleep(0.05)
        return time.monotonic() - began

    def _submit(self, story: Story) -> bool:
        """Sent again under its own key until it is answered, as a client does."""
        params = {"action": "job_submit", "name": story.name, "job_type": "slurm"}
        params["script"] = script_of(story.name, story.plan)
        body = {"tool": "distributed_collaboration", "params": params}
        answer = self._post(body, story.key)
        if answer is not None:
            story.job = str(answer["id"])
        return answer is not None

    def _post(self, body: dict[str, Any], key: str) -> Any:
        try:
            answer = self.member.http.post("/api/actions", json=body, headers={"Idempotency-Key": key}, timeout=15)
        except httpx.HTTPError:
            return None
        if answer.status_code == 200:
            return answer.json()["result"]
        # 502 and 503 say that web is away; 409 to a cancel, that the job was over.
        return {} if answer.status_code == 409 and body["params"]["action"] == "job_cancel" else None

    def _states(self) -> dict[str, tuple[str, str | None]]:
        with self.member.rows() as db:
            rows = db.execute("select id, state, native from jobs where name like 'p%'")
            return {job: (state, native) for job, state, native in rows}

    def _wish(self, story: Story, state: str, native: str | None) -> None:
        if not story.cancelled and (state == story.cancel_at or state in STATES[2:]):
            params = {"action": "job_cancel", "job": story.job}
            sent = self._post({"tool": "distributed_collaboration", "params": params}, f"cancel-{story.key}")
            story.cancelled = sent is not None
        if self.is_real and not story.requeued and state == "RUNNING" and native:
            assert isinstance(self.box, SlurmBox)
            story.requeued = not self.box.admin("scontrol", "requeue", native)
        is_back = story.plan["run"] == "requeue" and story.requeued and state == "PENDING"
        if self.is_real and is_back and native and not story.hurried:
            assert isinstance(self.box, SlurmBox)
            story.hurried = self.box.starts_again(
                native
            )  # Asked at every look, it would start in three seconds for ever.

    # --- the blows

    def _strike(self, blow: str) -> None:
        match blow:
            case "kill" | "stop":
                if (found := self._victim()) is None:
                    return self._strike("cut")
                name, pid = found
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if blow == "kill" else signal.SIGSTOP)
                if blow == "stop":
                    self.sleeping.append((time.monotonic() + self.chance.uniform(*STOPPED_SECONDS), pid))
                self.blows[f"{blow} {name}"] += 1
            case "cut":
                step, when = self.chance.choice((*STEPS, *ASKED)), self.chance.choice(("before", "after"))
                cut_at(self.box, step, when)
                self.blows[f"cut {when} {step}"] += 1
            case "flush":
                with contextlib.suppress(redis.RedisError, OSError):
                    redis.Redis(unix_socket_path=str(self._valkey_socket()), socket_timeout=2).flushall()
                    self.blows["flush"] += 1
        return None

    def _valkey_socket(self) -> Path:
        return Settings(data=self.hub.data).valkey_socket

    def _victim(self) -> tuple[str, int] | None:
        """Any process of the house that has lived for a while and does not sleep."""
        asleep = {pid for _, pid in self.sleeping}
        found = []
        for pid, words in self.hub.processes().items():
            for name in VICTIMS:
                if (f"hub.cli {name}" in words or (name == "valkey" and "valkey-server" in words)) and (
                    pid not in asleep and time.monotonic() - self.hit_at.get(name, -1e9) > LEFT_ALONE_SECONDS
                ):
                    found.append((name, pid))
        if not found:
            return None
        name, pid = self.chance.choice(sorted(found))
        self.hit_at[name] = time.monotonic()
        return name, pid

    def _look_after(self) -> None:
        """Who slept wakes up, and there is a second agent again."""
        now = time.monotonic()
        for at, pid in [each for each in self.sleeping if each[0] <= now]:
            self.sleeping.remove((at, pid))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        if self.standby.poll() is not None:
            self.standby = self._agent()

    def _steps_again(self) -> None:
        """How long a step that somebody had begun lay there until somebody else began it."""
        now = time.monotonic()
        with self.member.rows() as db:
            begun = dict(db.execute("select id, attempt from steps where done_at is null and attempt > 0"))
        for step, attempt in begun.items():
            before, since = self._begun.get(step, (attempt, now))
            if attempt > before:
                self.steps_again.append(now - since)
                since = now
            self._begun[step] = (attempt, since)

    # --- afterwards

    def verdict(self) -> dict[str, list[str]]:
        """What is wrong, by kind: `duplicate`, `lost`, `wrong`."""
        found: dict[str, list[str]] = {"duplicate": [], "lost": [], "wrong": []}
        for story in self.stories.values():
            view = self._read(f"/api/jobs/{story.job}").json() if story.job else {"state": "never submitted"}
            if view["state"] not in TERMINAL or view["state"] == "UNKNOWN_OUTCOME":
                found["lost"].append(f"{story.name} {story.plan}: {view['state']} {view.get('reason')}")
                continue
            log = self._read(f"/api/jobs/{story.job}/log").text
            outputs = [each["path"] for each in view["outputs"]]
            told = Told(view["state"], view["exit_code"], view["reason"], outputs, view["notes"], log)
            kind, said = fault_of(self.box.home / "truth" / story.name, story.name, story.plan, told)
            if kind:
                found[kind].append(said)
        return found

    def _read(self, path: str) -> httpx.Response:
        for _ in range(60):
            with contextlib.suppress(httpx.HTTPError):
                answer = self.member.http.get(path)
                if answer.status_code == 200:
                    return answer
            time.sleep(0.5)
        raise SystemExit(f"{path} cannot be read")

    def submitted_again(self) -> int:
        """Runs that had to be begun anew, because it was certain that the first had never begun."""
        with self.member.rows() as db:
            return int(db.execute("select count(*) from jobs where run > 1").fetchone()[0])

    def close(self) -> None:
        for _, pid in self.sleeping:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.standby.terminate()
        self.standby.wait(30)
        self.member.http.close()


@contextlib.contextmanager
def cluster(kind: str, seed: str) -> Iterator[tuple[SshdBox, Path]]:
    """The cluster and the folder of its commands."""
    if kind == "real":
        box = slurm()
        box.empty()
        box.sh("rm -rf fake truth cut; mkdir -p fake/jobs truth")
        yield box, shims(box, None)
        box.empty()
        return
    fake = FakeCluster(seed)
    try:
        yield fake, shims(fake, fake.bin)
    finally:
        fake.close()


def campaign(kind: str, runs: int, seed: str) -> dict[str, Any]:
    """So many seeded runs on the `fake` or the `real` Slurm; what was wrong, and how long it took."""
    say(f"{runs} runs on the {kind} Slurm, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="collegium-faults-") as folder, cluster(kind, seed) as (box, commands):
        hurry = Path(folder) / "hurry"
        hurry.mkdir()
        (hurry / "sitecustomize.py").write_text(HURRY)
        hub = Hub(Path(folder) / "hub", PYTHONPATH=f"{hurry}:{Path(__file__).parents[3]}")
        try:
            played = Campaign(box, hub, seed, runs)
            try:
                plans = {story.name: story.plan for story in played.stories.values()}
                calm_then_stormy(played, box, commands, json.loads(json.dumps(plans)))
                seconds = played.play()
                wrong = played.verdict()
                again = played.submitted_again()
                longest = max(played.steps_again, default=0.0)
            finally:
                played.close()
        finally:
            hub.close()
    for kind_of, said in wrong.items():
        for each in said:
            say(f"{kind_of}: {each}")
    blows = sum(played.blows.values())
    say(f"{runs} runs in {seconds:.0f} s, {blows} blows, {again} begun anew: {dict(played.blows.most_common())}")
    return {
        "duplicates": len(wrong["duplicate"]),
        "lost": len(wrong["lost"]),
        "wrong": len(wrong["wrong"]),
        f"fault_runs_{kind}": runs,
        f"fault_seconds_{kind}": seconds,
        f"fault_blows_{kind}": blows,
        f"stuck_step_begun_again_most_s_{kind}": longest,
        f"fault_seed_{kind}": seed,
    }


def calm_then_stormy(played: Campaign, box: SshdBox, commands: Path, plans: dict[str, Any]) -> None:
    """The account is tried in calm; then what goes wrong with submissions and questions is laid where it is read."""
    calm = {"seed": "calm", "squeue_fails": 0, "squeue_slow": 0, "sacct_fails": 0, "sacct_lags": 2, "forgets_after": 4}
    knobs = box.knobs if isinstance(box, FakeCluster) else {"seed": "real"}
    for name, value in (("plans.json", plans), ("knobs.json", calm)):
        lay(box, name, value)
    also = [str(box.bin)] if isinstance(box, FakeCluster) else []
    played.member.join(box, path=[str(commands), *also])
    lay(box, "knobs.json", knobs)


def lay(box: SshdBox, name: str, value: Any) -> None:
    path = box.home / "fake" / name
    path.write_text(json.dumps(value))
    os.chown(path, box.uid, -1)


def faults(runs: int, real_runs: int, seed: str) -> dict[str, Any]:
    """The campaigns on the fake Slurm and on the real one, with what was wrong in either added up."""
    found: dict[str, Any] = {"duplicates": 0, "lost": 0, "wrong": 0}
    for kind, count in (("fake", runs), ("real", real_runs)):
        if count:
            each = campaign(kind, count, seed)
            found = (
                each
                | {name: found[name] + each[name] for name in ("duplicates", "lost", "wrong")}
                | {name: value for name, value in found.items() if name not in each}
            )
    return found
