"""What a submission will hold of a place, and when a place could begin, by what was asked and what is known. Pure.

A script's own `#SBATCH` lines count as they count for Slurm, so that nobody's quota is passed by asking in the script.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence

import msgspec

from hub.jobs import economy
from hub.jobs.amounts import time_seconds
from hub.jobs.backends.slurm_wish import Wish
from hub.jobs.economy import Held
from hub.jobs.requests import Resources

_NUMBER = re.compile(r"(\d{1,7})([km]?)", re.IGNORECASE | re.ASCII)
_THOUSANDS = {"": 1, "k": 1024, "m": 1024**2}
_LARGEST = 10**9


class Free(msgspec.Struct, frozen=True, kw_only=True):
    """What is idle in a partition, as its scheduler told it."""

    name: str
    is_default: bool = False
    up: bool = True
    idle_nodes: int = 0
    cpus: int = 0  # of a node
    wall_seconds: int | None = None


class Asked(msgspec.Struct, frozen=True):
    """What a job holds while it runs, and for how long at most; None where nobody has said."""

    held: Held
    wall_seconds: int | None
    tasks: int = 1  # of an array, which hold it together


def here(resources: Resources) -> Asked:
    """Where no scheduler reads the script: on this machine and in a pod. Raises ValueError for no array."""
    return Asked(economy.held(resources), resources.amounts().wall_seconds, economy.tasks_of(resources.array))


def on_slurm(wish: Wish) -> Asked:
    """On a cluster, by the options that sbatch is called with. Raises ValueError for no array.

    Where an option names a range of nodes, it is counted as the most of them; `--exclusive` cannot be counted.
    """
    nodes = _number(wish.value("nodes"), 1)
    cpus = _number(wish.value("cpus-per-task"), 1)
    tasks = max(_number(wish.value("ntasks"), 0), nodes * _number(wish.value("ntasks-per-node"), 1))
    times = economy.tasks_of(wish.value("array"))
    gpus = max(
        nodes * max(_gres(wish.value("gres")), _typed(wish.value("gpus-per-node"))),
        _typed(wish.value("gpus")),
        tasks * _typed(wish.value("gpus-per-task")),
    )
    held = Held(_bounded(cpus * tasks * times), _bounded(gpus * times))
    return Asked(held, _seconds(wish.value("time")), times)


def idle_now(partitions: Sequence[Free], wanted: Resources, partition: str | None) -> bool:
    """Whether so many whole nodes stand idle that the job would start at once; False says nothing."""
    for each in partitions:
        if each.name == partition or (partition is None and each.is_default):
            short = each.wall_seconds is None or (wanted.amounts().wall_seconds or 0) <= each.wall_seconds
            return each.up and short and each.idle_nodes >= wanted.nodes and each.cpus >= wanted.cpus_per_node
    return False


def starts_after(places: int, running: Sequence[float], before: Sequence[float]) -> float:
    """When a job starts on this machine at the latest: seconds that running ones still may take, then those before it.

    `running` and `before` are time limits, since nobody knows how long a job takes.
    """
    free = [0.0] * max(0, places - len(running)) + sorted(max(0.0, each) for each in running)
    free = free[-places:] if len(running) > places else free
    heapq.heapify(free)
    for seconds in before:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return free[0] if free else 0.0


def _number(text: str | None, otherwise: int) -> int:
    """`4`, `2-4` (the most), `2k`; whatever else Slurm may read stands for what it would be without the option."""
    if text is None:
        return otherwise
    match = _NUMBER.fullmatch(text.rpartition("-")[2].strip())
    return int(match[1]) * _THOUSANDS[match[2].lower()] if match else otherwise


def _typed(text: str | None) -> int:
    """`2`, `a100:2`; with kinds beside each other all of them."""
    if text is None:
        return 0
    return sum(_number(part.rpartition(":")[2], 1) for part in text.split(","))


def _gres(text: str | None) -> int:
    """The GPUs of `gpu:a100:2,scratch:1`."""
    parts = [part for part in (text or "").split(",") if part.partition(":")[0] in ("gpu", "gres/gpu")]
    return sum(_number(part.rpartition(":")[2], 1) if ":" in part else 1 for part in parts)


def _seconds(text: str | None) -> int | None:
    try:
        return None if text is None else time_seconds(text)
    except ValueError:  # Slurm refuses it, in its own words
        return None


def _bounded(amount: int) -> int:
    return min(amount, _LARGEST)
