"""What a run's folder on a cluster tells of its end, first hand, and what that means beside what Slurm says. Pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from hub.jobs.backends.slurm_rules import Row, observation
from hub.jobs.port import Observation
from hub.jobs.rules import Exit

OVER_MEMORY = "it used more memory than it asked for"


class End(msgspec.Struct, frozen=True):
    """What the wrapper of one job (or one task of an array) wrote when its program had ended."""

    id: str
    code: int
    got: str = ""  # the signal that Slurm sent it, if any
    start: float = 0.0
    end: float = 0.0
    oom: int | None = None
    peak: int = 0
    cpu_seconds: float = 0.0
    node: str = ""


class Folder(msgspec.Struct, frozen=True):
    """One run's folder: the id sbatch gave, who holds the run's lock, the ends by array task, the log's size.

    `greedy`: Slurm's step daemon wrote into the log that it kills the job for the memory it took. Where it watches
    memory without control groups, it says so nowhere else: the job's state is FAILED or CANCELLED then.
    """

    given: str | None = None
    holder: str | None = None
    ends: dict[str, End] = {}
    log_bytes: int = 0
    greedy: bool = False


def folders(text: str) -> dict[tuple[str, int], Folder]:
    """What `far_side.ends` printed; a line that is not understood is passed over."""
    found: dict[tuple[str, int], Folder] = {}
    for block in re.split(r"(?m)^@ ", text)[1:]:
        head, _, body = block.partition("\n")
        job, _, run = head.strip().rpartition("/")
        if run.isdigit():
            found[job, int(run)] = _folder(body)
    return found


def _folder(body: str) -> Folder:
    given = re.search(r"(?m)^given (\d+)", body)
    holders = re.findall(r"(?m)^lock (\S+)", body)
    found: dict[str, End] = {}
    for block in re.split(r"(?m)^end (?=\.|$)", body)[1:]:
        task, _, lines = block.partition("\n")
        values = dict(line.split(" ", 1) for line in lines.splitlines() if " " in line)
        if (end := _end(values)) is not None:
            found[task.strip().lstrip(".")] = end
    log = re.search(r"(?m)^log +(\d+)", body)
    greedy = re.search(r"(?m)^greedy$", body) is not None
    size = int(log[1]) if log else 0
    return Folder(given[1] if given else None, holders[0] if holders else None, found, size, greedy)


def _end(values: dict[str, str]) -> End | None:
    try:
        return End(
            id=values["id"],
            code=int(values["code"]),
            got=values.get("got", "").strip(),
            start=float(values.get("start") or 0),
            end=float(values.get("end") or 0),
            oom=int(values["oom"]) if values.get("oom", "").strip().isdigit() else None,
            peak=int(values["peak"]) if values.get("peak", "").strip().isdigit() else 0,
            cpu_seconds=_cpu(values.get("times", "")),
            node=values.get("node", ""),
        )
    except (KeyError, ValueError):
        return None


def _cpu(times: str) -> float:
    """`0m1.25s 0m0.10s`, as the shell's `times` prints for its children."""
    found = re.findall(r"(\d+)m([\d.]+)s", times)
    return sum(int(minutes) * 60 + float(seconds) for minutes, seconds in found)


def exit_of(end: End) -> Exit:
    """The end as the house keeps it."""
    reason, code, signal = "exited", end.code, None
    detail = ""
    if end.oom:
        reason, detail = "memory", OVER_MEMORY
    elif end.code > 128:
        reason, signal = "signalled", end.code - 128
    elif end.code == 96:
        reason, detail = "not_started", "its folder is not there"
    seconds = max(0.0, end.end - end.start)
    return Exit(
        reason,
        detail,
        code if reason == "exited" else None,
        signal,
        end.start,
        end.end,
        seconds,
        cpu_seconds=end.cpu_seconds,
        peak_memory_bytes=end.peak,
        by="Slurm",
    )


def first_hand(folder: Folder, native: str | None) -> Exit | None:
    """An end that needs no word of Slurm's: a program that ended well, with nothing that speaks against it.

    Only then: that a job ran out of memory, or out of time, or was cancelled, is for Slurm to say.
    """
    end = folder.ends.get("")
    if end is None or (native is not None and end.id != native):
        return None
    return exit_of(end) if end.code == 0 and not end.got and not end.oom else None


def together(row: Row, folder: Folder) -> Observation | None:
    """What Slurm says of an end, made exact by what the wrapper saw; None while one of them is not there yet."""
    seen = observation(row)
    if seen.sight != "ended" or seen.exit is None:
        return seen
    mine = [end for end in folder.ends.values() if end.id == row.base]
    worst = max(mine, key=lambda end: (end.oom or 0, end.code), default=None)
    if folder.greedy and row.state in ("FAILED", "CANCELLED") and (worst is None or worst.code or worst.got):
        found = msgspec.structs.replace(seen.exit, reason="memory", detail=OVER_MEMORY, code=None, signal=None)
        return Observation("ended", found, native=row.base)
    if row.state == "COMPLETED":
        # A second copy also ends well, and so does a wrapper that never came to its program: only an end is an end.
        return (
            None if worst is None else Observation("ended", _of_all(exit_of(worst), folder, row.base), native=row.base)
        )
    if row.state == "FAILED" and worst is not None and (worst.code or worst.oom):
        return Observation("ended", _of_all(exit_of(worst), folder, row.base), native=row.base)
    if worst is not None:
        kept = {"cpu_seconds": worst.cpu_seconds, "peak_memory_bytes": worst.peak, **_tasks(folder, row.base)}
        return Observation("ended", msgspec.structs.replace(seen.exit, **kept), native=row.base)
    return seen


def vanished(folder: Folder, native: str) -> Observation | None:
    """What is certain of a job that Slurm no longer lists: its own end, if it wrote one."""
    mine = [end for end in folder.ends.values() if end.id == native]
    if not mine:
        return None
    worst = max(mine, key=lambda end: (end.oom or 0, end.code))
    return Observation("ended", _of_all(exit_of(worst), folder, native), native=native)


def _tasks(folder: Folder, native: str) -> dict[str, Any]:
    """Of an array: how many of its tasks wrote down their ends, and what they ran all together."""
    mine = [end for task, end in folder.ends.items() if task and end.id == native]
    return {"tasks": len(mine), "task_seconds": sum(max(0.0, end.end - end.start) for end in mine)} if mine else {}


def _of_all(worst: Exit, folder: Folder, native: str) -> Exit:
    """The end of the worst task, over the time of all of them."""
    mine = [end for task, end in folder.ends.items() if task and end.id == native]
    if not mine:
        return worst
    began, ended = min(end.start for end in mine), max(end.end for end in mine)
    span = {"started_at": began, "ended_at": ended, "seconds": max(0.0, ended - began)}
    return msgspec.structs.replace(worst, **span, **_tasks(folder, native))
