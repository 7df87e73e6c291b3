"""What a cluster notices of a hub: how often its scheduler is asked, and what stands on its login node.

Slurm is real, and so are its thousand jobs, of which as many run as it has processors; the rest waits. Its commands
write down when they were called. What runs on the login node is whatever stands below sshd; jobs stand elsewhere.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.benchmarks.clusters.world import Member, counted, owner, say, slurm, until
from tests.real.slurm_box import SlurmBox
from tests.real.sshd_box import sessions_of

SLEEPS = "#!/bin/sh\nsleep 7200\n"
STATUS = ("squeue", "sacct")
LIVE = (1, 100, 1000)
FIELDS_BEFORE_TIMES = 11
TICK = os.sysconf("SC_CLK_TCK")


class Calls:
    """When which command of the scheduler was called."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def between(self, began: float, ended: float) -> list[tuple[float, str]]:
        pairs = [line.split() for line in self._file.read_text().splitlines()]
        return [(float(at), name) for at, name in pairs if began <= float(at) < ended]

    def most_in_a_minute(self, began: float, ended: float) -> int:
        """Of questions after the state of jobs, in any minute between."""
        at = [moment for moment, name in self.between(began, ended) if name in STATUS]
        return max((len([each for each in at if first <= each < first + 60.0]) for first in at), default=0)


class LoginNode:
    """What stands below sshd, looked at again and again."""

    def __init__(self, box: SlurmBox) -> None:
        self._box = box
        self._over = threading.Event()
        self.seen: list[set[int]] = []
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.2):
            self.seen.append({pid for pid in self._tree() if self._name(pid) != "sshd"})

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def cpu_seconds(self) -> float:
        """Processor time so far of all that stands there and of all that has ended there."""
        spent = 0
        for pid in self._tree():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            spent += sum(map(int, fields[FIELDS_BEFORE_TIMES : FIELDS_BEFORE_TIMES + 4]))
        return spent / TICK

    def _tree(self) -> list[int]:
        try:
            return sessions_of(self._box.running["sshd"].pid)
        except OSError:
            return []

    @staticmethod
    def _name(pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return "sshd"  # it has gone meanwhile

    @property
    def standing(self) -> int:
        """How many processes are there nearly always."""
        often = Counter(pid for each in self.seen for pid in each)
        return sum(1 for count in often.values() if count > 0.9 * len(self.seen))

    @property
    def usual(self) -> int:
        """How many are there at most moments, whichever they are."""
        return sorted(map(len, self.seen))[len(self.seen) // 2]

    @property
    def most(self) -> int:
        return max(map(len, self.seen))


def live_jobs(member: Member, count: int, script: str = SLEEPS) -> None:
    """So many jobs that the cluster has."""
    have = alive(member)
    for number in range(have, count):
        member.submit(script, name=f"live {number}", resources={"memory": "10M"})
    until(lambda: alive(member) >= count, f"{count} live jobs", 900)


def alive(member: Member) -> int:
    states = member.states()
    return states.get("PENDING", 0) + states.get("RUNNING", 0)


def channels(member: Member) -> int:
    """The most channels of the account's connection that were in use at once."""
    [cluster] = member.http.get("/api/clusters").json()["clusters"]
    return int(cluster["account"]["standing"]["channels"])


def questions(scale: float) -> dict[str, Any]:
    """Status questions in any minute with 1, 100 and 1,000 live jobs, and none without; the login node with 1,000."""
    box, seconds = slurm(), max(30.0, 120.0 * scale)
    folder, file = counted(box)
    calls, found = Calls(file), dict[str, Any]()
    box.empty()
    with owner(box, cluster={"path": [str(folder)]}) as member:
        began = time.time()
        time.sleep(seconds / 2)
        found["queries_per_minute_at_0_jobs"] = calls.most_in_a_minute(began, time.time())
        for count in LIVE:
            since = time.time()
            live_jobs(member, count)
            say(f"{count} live jobs after {time.time() - since:.0f} s")
            node, began, spent = LoginNode(box), time.time(), 0.0
            spent = node.cpu_seconds()
            time.sleep(seconds)
            ended = time.time()
            spent = node.cpu_seconds() - spent
            node.stop()
            # From the first of them on: while they are submitted, too, no minute has more.
            asked = found[f"queries_per_minute_at_{count}_jobs"] = calls.most_in_a_minute(since, ended)
            other = Counter(name for _, name in calls.between(began, ended) if name not in STATUS)
            say(f"{count}: {asked} status questions a minute, beside {dict(other)}")
            say(f"{count}: {node.standing} processes stay, {node.usual} usual, {node.most} at most; {spent:.2f} CPU-s")
            found |= {
                f"other_calls_per_minute_at_{count}_jobs": sum(other.values()) * 60 / (ended - began),
                f"login_node_core_share_at_{count}_jobs": spent / (ended - began),
            }
        found |= {"login_node_processes": node.standing, "login_node_processes_usual": node.usual}
        found |= {"login_node_processes_most": node.most, "login_node_channels": channels(member)}
    box.admin("scancel", f"--user={box.user}")
    box.empty()
    return found
