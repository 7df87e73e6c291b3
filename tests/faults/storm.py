"""What a storm over a cluster is made of: a fake scheduler behind a real sshd, what a seed says of jobs, the truth.

Each job writes down on the cluster, in a place of its own, under which number it began and that it ended. Whatever the
hub says of it afterwards is held against that.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.real import fake_slurm
from tests.real.sshd_box import SshdBox

SUBMISSIONS = ["ok", "killed", "timed_out", "hang", "twice", "late", "garbage", "slow", "timed_out_before"]
SUBMISSIONS += ["hang_before", "killed_before", "refused"]
RUNS = ["ok", "ok", "ok", "fail", "killed", "cancel", "requeue", "node_fail", "timeout"]
SCRIPT = """#!/bin/sh
echo "$SLURM_JOB_ID ${SLURM_RESTART_COUNT:-0}" >> "$HOME/truth/NAME"
echo begun NAME
sleep SECONDS
echo made by NAME > made.txt
echo "ended" >> "$HOME/truth/NAME"
END
"""
ENDS = {"fail": "exit 3", "killed": "kill -9 $$"}


class FakeCluster(SshdBox):
    """An sshd whose only commands of a scheduler are the fake ones."""

    def __init__(self, seed: str) -> None:
        super().__init__(prefix="collegium-fake-")
        self.bin = self.base / "bin"
        self.bin.mkdir(mode=0o755)
        for name in ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo"):
            shutil.copy(fake_slurm.__file__, self.bin / name)
            (self.bin / name).chmod(0o755)
        self.sh("mkdir -p fake/jobs truth")
        self.knobs = {"seed": seed, "squeue_fails": 0.15, "squeue_slow": 0.1, "sacct_fails": 0.2, "sacct_lags": 2}
        self.knobs["forgets_after"] = 4
        self.write("knobs.json", self.knobs)

    def write(self, name: str, value: Any) -> None:
        path = self.home / "fake" / name
        path.write_text(json.dumps(value))
        os.chown(path, self.uid, -1)

    def close(self) -> None:
        for pid in self._left():
            subprocess.run(["kill", "-KILL", str(pid)], check=False, capture_output=True)
        super().close()

    def _left(self) -> list[int]:
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            try:
                if each.stat().st_uid == self.uid:
                    found.append(int(each.name))
            except OSError:
                continue
        return found


def plan_of(chance: random.Random) -> dict[str, Any]:
    faults = [chance.choice(SUBMISSIONS)]
    if faults[0] in ("timed_out_before", "hang_before", "killed_before", "late") and chance.random() < 0.3:
        faults.append(chance.choice(SUBMISSIONS[:-1]))
    return {
        "sbatch": faults,
        "run": chance.choice(RUNS),
        "seconds": round(chance.uniform(0, 4), 2),
        "delay": round(chance.choice([0, 0, chance.uniform(0, 5)]), 2),
        "late": round(chance.uniform(1, 9), 2),
        "slow": round(chance.uniform(0.5, 2.5), 2),
    }


def script_of(name: str, plan: dict[str, Any]) -> str:
    """What this job does on the cluster."""
    script = SCRIPT.replace("NAME", name).replace("SECONDS", str(plan["seconds"]))
    return script.replace("END", ENDS.get(plan["run"], "exit 0"))


class Told(msgspec.Struct, frozen=True):
    """What the hub says of a job that is over."""

    state: str
    exit_code: int | None
    reason: str
    outputs: Sequence[str]
    notes: Sequence[str]
    log: str


def fault_of(truth: Path, name: str, plan: dict[str, Any], told: Told) -> tuple[str, str]:
    """What is wrong with what became of a job: (`duplicate` or `wrong`, how); empty when nothing is."""
    lines = truth.read_text().splitlines() if truth.exists() else []
    starts = [line.split() for line in lines if line != "ended"]
    ended = "ended" in lines
    said = f"{name} {plan}: {told.state} {told.exit_code} ({told.reason}), truth {lines}"
    if len({number for number, _ in starts}) > 1 or len(starts) > (2 if plan["run"] == "requeue" else 1):
        return "duplicate", f"ran more than once: {said}"
    if "refused" in plan["sbatch"] and not starts and told.state == "FAILED":
        return ("", "") if "Invalid qos" in told.reason else ("wrong", f"refused in other words: {said}")
    wanted = {
        "ok": {("SUCCEEDED", 0)},
        "requeue": {("SUCCEEDED", 0)},
        "fail": {("FAILED", 3)},
        "killed": {("FAILED", None)},
        # What was cancelled after its end has ended.
        "cancel": {("CANCELLED", None)} | ({("SUCCEEDED", 0)} if ended else set()),
        "node_fail": {("NODE_FAILED", None), ("SUCCEEDED", 0)} if ended else {("NODE_FAILED", None)},
        "timeout": {("TIMED_OUT", None), ("SUCCEEDED", 0)} if ended else {("TIMED_OUT", None)},
    }[plan["run"]]
    if (told.state, told.exit_code) not in wanted:
        return "wrong", f"a wrong end: {said}"
    # Who cancels a job that has ended waits for its outputs no more, and is told so.
    given_up = plan["run"] == "cancel" and any("not waited for any more" in note for note in told.notes)
    came = list(told.outputs) == ["made.txt"] or (given_up and not told.outputs)
    if told.state == "SUCCEEDED" and (not came or f"begun {name}" not in told.log):
        return "wrong", f"what it made or said is not there: {said}, {told.outputs}, {told.notes}, {told.log!r}"
    return "", ""
