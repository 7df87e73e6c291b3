"""How well an ended job used what it held, and hints in words for the next time. Pure.

A share is what was used by what was held, between 0 and 1, or None where it was not measured. Nothing is said of a job
that was too short, or asked for too little, for an advice to be worth its reading.
"""

from __future__ import annotations

import msgspec

from hub.jobs.amounts import shown_bytes, shown_seconds

GIB = 1 << 30
# A job shorter than this tells nothing about the next one, and what is smaller than this is not worth a word.
SHORTEST_SECONDS = 120
SMALLEST_MEMORY = 2 * GIB
SHORTEST_LIMIT_SECONDS = 2 * 3600
# Below these shares of what was asked a hint is given; above the last one, that it was close.
LOW_CPU, LOW_MEMORY, LOW_TIME, CLOSE = 0.5, 0.4, 0.1, 0.9
# What is recommended leaves this much room above what was used.
ROOM = 1.3


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What an ended job asked for and used. `asked_*` are None where it asked for nothing and a default held."""

    seconds: float
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    cores: int = 1
    nodes: int = 1
    gpus: int = 0
    asked_memory_bytes: int | None = None  # on all its nodes
    asked_seconds: int | None = None
    succeeded: bool = True


class Hint(msgspec.Struct, frozen=True):
    """One sentence of what was asked and used, and what to ask next time; `option` is the way to say it, or ""."""

    about: str
    sentence: str
    option: str = ""


class Efficiency(msgspec.Struct, frozen=True):
    """The shares that were used of cores, memory and time, and what follows."""

    cpu: float | None
    memory: float | None
    time: float | None
    hints: tuple[Hint, ...]


def judge(job: Ended) -> Efficiency:
    """What is known of an ended job's efficiency; without hints for one that was short."""
    held = job.seconds * job.cores
    cpu = _share(job.cpu_seconds, held)
    memory = _share(job.peak_memory_bytes, job.asked_memory_bytes)
    time = _share(job.seconds, job.asked_seconds)
    hints = [_cpu(job, cpu), _memory(job, memory), _time(job, time)] if job.seconds >= SHORTEST_SECONDS else []
    return Efficiency(cpu, memory, time, tuple(each for each in hints if each is not None))


def _share(used: float | None, held: float | None) -> float | None:
    """Clocks of two kinds differ a little: what seems more than everything is everything."""
    return None if used is None or not held or held <= 0 else min(1.0, max(0.0, used / held))


def _cpu(job: Ended, share: float | None) -> Hint | None:
    if share is None or share >= LOW_CPU:
        return None
    busy = share * job.cores
    if job.cores == 1:
        # One core cannot be asked for less; what waits is worth knowing when it waits nearly always.
        said = f"Its core was busy {share:.0%} of the time: it mostly waited, for files or for something else."
        return Hint("cores", said) if share < 0.2 and not job.gpus else None
    enough = max(job.nodes, _up(busy * ROOM))
    if enough >= job.cores:
        return None
    per_node = _up(enough / job.nodes)
    if per_node * job.nodes >= job.cores:
        return None
    said = f"Asked {job.cores} cores, kept {_few(busy)} busy."
    if busy <= 1.05:
        said += " A program uses more than one only if it was made for that."
    each = "" if job.nodes == 1 else " on each node"
    return Hint("cores", f"{said} Next time {per_node}{each} would do.", f"--cpus {per_node}")


def _memory(job: Ended, share: float | None) -> Hint | None:
    asked, used = job.asked_memory_bytes, job.peak_memory_bytes
    if share is None or asked is None or used is None:
        return None
    said = f"Asked {shown_bytes(asked)} of memory, used {shown_bytes(used)} at most."
    if share > CLOSE and asked >= GIB // 4:
        more = _gibibytes(used * ROOM / job.nodes)
        return Hint("memory", f"{said} That was close; ask for a little more next time.", f"--memory {more}G")
    if share >= LOW_MEMORY or asked < SMALLEST_MEMORY or not job.succeeded:
        return None
    less = _gibibytes(used * ROOM / job.nodes)
    if less * GIB * job.nodes >= asked:
        return None
    each = "" if job.nodes == 1 else " on each node"
    return Hint("memory", f"{said} Next time {less} GiB{each} would do.", f"--memory {less}G")


def _time(job: Ended, share: float | None) -> Hint | None:
    asked = job.asked_seconds
    if share is None or asked is None or not job.succeeded:
        return None
    said = f"Asked {shown_seconds(asked)}, ran {shown_seconds(job.seconds)}."
    if share > CLOSE:
        more = _minutes(job.seconds * ROOM)
        return Hint("time", f"{said} That was close; ask for a little more next time.", f"--time {more}")
    if share >= LOW_TIME or asked < SHORTEST_LIMIT_SECONDS:
        return None
    less = _minutes(job.seconds * 2)
    return Hint("time", f"{said} A shorter limit often starts sooner.", f"--time {less}")


def _gibibytes(amount: float) -> int:
    return max(1, _up(amount / GIB))


def _minutes(seconds: float) -> int:
    """A time limit as people write it: whole minutes, from an hour on whole tens of them."""
    minutes = max(1, _up(seconds / 60))
    return minutes if minutes < 60 else _up(minutes / 10) * 10


def _up(amount: float) -> int:
    """The next whole number, not counting what floating point adds to one."""
    return int(-(-(amount - 1e-9) // 1))


def _few(amount: float) -> str:
    return f"{amount:.1f}" if amount < 9.95 else f"{amount:.0f}"
