"""A whole embedded hub, its owner's account on a real Slurm, and what the benchmark sees of both from outside."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from hub.jobs.clusters.rules import fingerprint
from tests.benchmarks.load.servers import cpu_seconds
from tests.embedded import Hub
from tests.real.slurm_box import SlurmBox
from tests.real.sshd_box import SshdBox

CLUSTER = "raven"
CALLERS = 8
PATIENCE_SECONDS = 300.0
ASKED = ("squeue", "sacct", "sbatch", "sinfo", "scancel", "scontrol")
COUNTED = """#!/bin/sh
case "$*" in *--test-only*|*--start*) k=estimate ;; *) k={name} ;; esac
printf '%s %s\\n' "$(date +%s.%N)" "$k" >> "{file}"
exec {real} "$@"
"""


def say(text: str) -> None:
    """A line of progress; where it goes is the benchmark's matter."""
    print(f"[{time.strftime('%H:%M:%S')} load {os.getloadavg()[0]:.1f}] {text}", flush=True)


def until(holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS, every: float = 0.05) -> None:
    """Wait for something that is to come; it ends the run when it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:.0f} s: {what}")
        time.sleep(every)


def p(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


@functools.cache
def slurm() -> SlurmBox:
    """One Slurm for a whole run of the benchmark; `close_slurm` ends it."""
    say("starting a Slurm")
    return SlurmBox()


def close_slurm() -> None:
    if slurm.cache_info().currsize:
        slurm().close()


def counted(box: SshdBox) -> tuple[Path, Path]:
    """A folder of the scheduler's commands that keep a list of when they were called, and that list."""
    folder, file = box.base / "counted", box.base / "asked"
    folder.mkdir(exist_ok=True)
    file.touch(mode=0o666)
    os.chown(file, box.uid, -1)
    for name in ASKED:
        shim = folder / name
        shim.write_text(COUNTED.format(name=name, file=file, real=f"/usr/bin/{name}"))
        shim.chmod(0o755)
    return folder, file


class Member:
    """Somebody with an account at the hub, by a token; and the hub's database, which is only read."""

    def __init__(self, hub: Hub, headers: dict[str, str]) -> None:
        self.hub, self._headers = hub, headers
        self.http = httpx.Client(base_url=hub.url, headers=headers, timeout=60)

    def act(self, action: str, **params: Any) -> Any:
        body = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        answer = self.http.post("/api/actions", json=body)
        if answer.status_code != 200:
            raise SystemExit(f"{action} was refused: {answer.status_code} {answer.text[:500]}")
        return answer.json()["result"]

    def submit(self, script: str, **more: Any) -> str:
        return str(self.act("job_submit", script=script, job_type="slurm", **more)["id"])

    def submit_many(self, count: int, script: str, **more: Any) -> None:
        """So many of the same by several callers, over plain connections: what a caller costs is not the hub's."""
        params = {"action": "job_submit", "script": script, "job_type": "slurm", **more}
        body = json.dumps({"tool": "distributed_collaboration", "params": params})
        headers = {**self._headers, "Content-Type": "application/json"}
        left, at = iter(range(count)), self.http.base_url

        def one_after_another(_: int) -> None:
            with contextlib.closing(http.client.HTTPConnection(at.host, at.port)) as to:
                for _ in left:
                    to.request("POST", "/api/actions", body, headers)
                    answer = to.getresponse()
                    said = answer.read()
                    if answer.status != 200:
                        raise SystemExit(f"a submission was refused: {answer.status} {said[:500]!r}")

        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(one_after_another, range(CALLERS)))

    def cpu_seconds(self) -> float:
        """Processor time of all processes of the hub so far."""
        spent = 0.0
        for pid in self.hub.processes():
            with contextlib.suppress(OSError):
                spent += cpu_seconds(pid)
        return spent

    def join(self, box: SshdBox, *, by: Member | None = None, **cluster: Any) -> None:
        """Have the cluster made known, sign up on it, and try it."""
        wish = {"name": CLUSTER, "host": "127.0.0.1", "port": box.port, "fingerprint": fingerprint(box.host_key)}
        (by or self).act("cluster_add", **wish, **cluster)
        box.allow(self.act("cluster_join", cluster=CLUSTER, login=box.user)["line"])
        self.act("cluster_test", cluster=CLUSTER)

    @contextlib.contextmanager
    def rows(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(f"file:{self.hub.data}/hub.sqlite3?mode=ro", uri=True)) as db:
            yield db

    def states(self) -> dict[str, int]:
        with self.rows() as db:
            return dict(db.execute("select state, count(*) from jobs group by state"))

    def pid(self, name: str) -> int:
        return next(pid for pid, words in self.hub.processes().items() if f"hub.cli {name}" in words)


@contextlib.contextmanager
def owner(box: SshdBox, *, cluster: dict[str, Any] | None = None, **settings: str) -> Iterator[Member]:
    """The owner of a hub of their own, whose account on the cluster is tried."""
    with tempfile.TemporaryDirectory(prefix="collegium-bench-") as folder:
        hub = Hub(Path(folder), **settings)
        try:
            token = (hub.data / "operator.token").read_text().strip()
            member = Member(hub, {"Authorization": f"Bearer {token}"})
            member.join(box, **(cluster or {}))
            yield member
            member.http.close()
        finally:
            hub.close()
