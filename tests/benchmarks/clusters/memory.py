"""What a thousand live jobs and fifty readers of logs take up in the hub's processes, and whether it grows.

Slurm and its jobs are real. Fifty jobs write, in a few minutes, what fifty would write in an hour at one line a second
each; fifty people read, one log each, over the hub's own stream. Memory is what is a process's own, in MiB.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx

from tests.benchmarks.clusters.questions import alive, live_jobs
from tests.benchmarks.clusters.world import Member, median, owner, say, slurm, until
from tests.benchmarks.load.servers import resident_bytes

READERS, LIVE = 50, 1000
LINES_AN_HOUR, SPEED = 3600, 20
NAMES = ("agent", "web", "work", "live")
# After the first fifth everything has been used once; from then on nothing may grow.
WARM_SHARE = 0.2


def writing(seconds: float) -> str:
    """A job that writes an hour's lines in so many seconds, once it is told to."""
    lines = round(LINES_AN_HOUR * seconds * SPEED / 3600)
    return f"""#!/bin/sh
until [ -e "$HOME/go" ]; do sleep 1; done
i=0
while [ $i -lt {lines} ]; do
    for j in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        echo "step $i.$j of a run that says how far it has come: residual 1.0e-$j"
    done
    i=$((i + 20))
    sleep 1
done
sleep 7200
"""


class Reader(threading.Thread):
    """Somebody who reads a log as it grows."""

    def __init__(self, member: Member, job: str) -> None:
        super().__init__(daemon=True)
        self._member, self._job = member, job
        self.read = 0
        self.over = False

    def run(self) -> None:
        while not self.over:
            try:
                self._follow()
            except httpx.HTTPError:
                time.sleep(0.5)

    def _follow(self) -> None:
        where = f"/api/jobs/{self._job}/log"
        with self._member.http.stream("GET", where, params={"follow": 1, "offset": self.read}, timeout=60) as answer:
            answer.raise_for_status()
            for piece in answer.iter_raw():
                self.read += len(piece)
                if self.over:
                    return


def memory(scale: float) -> dict[str, Any]:
    """MiB of each kind of process, early and late in the replay, and by how much it grew."""
    box, seconds = slurm(), max(40.0, 3600.0 * scale / SPEED)
    box.empty()
    box.sh("rm -f go")
    samples: list[dict[str, float]] = []
    with owner(box, COLLEGIUM_LOG_LEVEL="warning") as member:
        member.http = httpx.Client(
            base_url=member.hub.url, headers=member.http.headers, timeout=60, limits=httpx.Limits(max_connections=200)
        )
        empty = look(member)
        own = {"memory": "10M"}
        writers = [member.submit(writing(seconds), name=f"writer {n}", resources=own) for n in range(READERS)]
        until(lambda: member.states().get("RUNNING", 0) >= READERS, "the writers run", 300)
        readers = [Reader(member, job) for job in writers]
        for each in readers:
            each.start()
        live_jobs(member, LIVE)
        say(f"{alive(member)} live jobs, {len(readers)} readers")
        box.sh("touch go")
        ended = time.monotonic() + seconds
        while time.monotonic() < ended:
            samples.append(look(member))
            time.sleep(1)
        say(f"{sum(each.read for each in readers) / 2**20:.1f} MiB of logs were read, {samples[-1]}")
        for each in readers:
            each.over = True
    box.admin("scancel", f"--user={box.user}")
    box.empty()
    found: dict[str, Any] = {"log_mib_read": sum(each.read for each in readers) / 2**20}
    warm = samples[int(len(samples) * WARM_SHARE) :]
    fifth = max(1, len(warm) // 5)
    for name in NAMES:
        early, late = ([each[name] for each in part] for part in (warm[:fifth], warm[-fifth:]))
        found[f"memory_{name}_empty_mib"] = empty[name]
        found[f"memory_{name}_mib"] = median(late)
        found[f"memory_{name}_growth"] = median(late) / median(early)
    return found


def look(member: Member) -> dict[str, float]:
    """MiB of each kind of process now; of several of a kind, the sum."""
    found = dict.fromkeys(NAMES, 0.0)
    for pid, words in member.hub.processes().items():
        for name in NAMES:
            if f"hub.cli {name}" in words:
                found[name] += resident_bytes(pid) / 2**20
    return found
