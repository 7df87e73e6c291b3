"""Jobs of an account that were not submitted by the hub, which only looks on: what Slurm says of them. Pure.

They have no token, no folder and no wrapper: Slurm's own word is all there is, and it is believed as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from hub.jobs.backends import slurm_rules
from hub.jobs.backends.judging import ACCOUNTING_SECONDS, QUIET_SECONDS, Absence, Known
from hub.jobs.backends.slurm_rules import Row
from hub.jobs.port import Attached, Observation

NATIVE = re.compile(r"[1-9]\d{0,11}(?:_\d{1,9})?", re.ASCII)


class Shown(msgspec.Struct, frozen=True):
    """One job (one task of an array) as `scontrol show job` tells it."""

    row: Row
    name: str = ""
    log_path: str = ""


def shown(text: str) -> list[Shown]:
    """Every record; values that may hold anything stand alone on their line."""
    return [one for block in re.split(r"(?m)^(?=JobId=)", text) if (one := _shown(block)) is not None]


def _shown(block: str) -> Shown | None:
    first, _, body = block.partition("\n")
    head, _, name = first.partition(" JobName=")
    state = re.search(r"(?m)^ *JobState=([A-Z_]+)", body)
    known = re.fullmatch(r"JobId=(\d+)(?: ArrayJobId=(\d+) ArrayTaskId=(\S+))?.*", head)
    if known is None or state is None:
        return None

    def word(name: str) -> str:
        found = re.search(rf"(?m)(?:^ *| ){name}=(\S*)", body)
        return found[1] if found else ""

    def line(name: str) -> str:
        found = re.search(rf"(?m)^ *{name}=(.*)$", body)
        return found[1] if found else ""

    code = re.search(r"(?m)^ *Requeue=.* ExitCode=(\d+):(\d+)", body)
    base, task = known[2] or known[1], known[3]
    row = Row(
        id=f"{base}_{task}" if task else base,
        base=base,
        state=state[1],
        token=None,
        reason=word("Reason"),
        nodes=line("NodeList").replace("(null)", ""),
        code=int(code[1]) if code else None,
        signal=int(code[2]) or None if code else None,
        start=slurm_rules.moment(word("StartTime")),
        end=slurm_rules.moment(word("EndTime")),
        seconds=float(slurm_rules.elapsed(word("RunTime")) or 0),
    )
    path = line("StdOut").replace("%N", word("BatchHost"))
    is_file = path.startswith("/") and path != "/dev/null"
    return Shown(row, name, path if is_file else "")


def attached(records: Sequence[Shown]) -> Attached:
    """What is told of the job: of an array that is watched whole, each task has a log of its own, and none is read."""
    first = records[0]
    started = [one.row.start for one in records if one.row.start is not None and one.row.standing != "waiting"]
    return Attached(
        name=first.name,
        log_path=first.log_path if len(records) == 1 else "",
        started_at=min(started).timestamp() if started else 0.0,
    )


def mine(known: Known, rows: Sequence[Row]) -> Row | None:
    """What is listed of this job: one line for all of its tasks, or that of the one task that is watched."""
    assert known.native is not None
    base, _, task = known.native.partition("_")
    found = [row for row in rows if row.base == base and (not task or _is_task(row.id, task))]
    return slurm_rules.fold(found) if found else None


def _is_task(listed: str, task: str) -> bool:
    """`12_3`, and `12_[1-3,7%2]` of tasks that wait together."""
    which = listed.partition("_")[2]
    if not which.startswith("["):
        return which == task
    for part in which.strip("[]").partition("%")[0].split(","):
        least, _, most = part.partition("-")
        if least.isdigit() and int(least) <= int(task) <= int(most if most.isdigit() else least):
            return True
    return False


def ended(listed: Row, records: Sequence[Shown]) -> Observation:
    """An end with its exit code, which squeue does not tell; as squeue tells it where the rest is not known."""
    over = [one.row for one in records if one.row.standing == "ended"]
    return slurm_rules.observation(slurm_rules.fold(over) if over and len(over) == len(records) else listed)


def absent(known: Known, absence: Absence, now: float, *, answered: bool) -> Observation | None:
    """For one that neither squeue nor accounting knows; None while it may still turn up."""
    gone = now - absence.since
    if not known.seen:
        if answered and absence.polls >= 1 and gone >= QUIET_SECONDS / 3:
            return Observation("refused", detail=f"Slurm knows no job {known.native} of yours there.")
        return None
    if gone < ACCOUNTING_SECONDS:
        return None
    return Observation("lost", detail="Slurm no longer lists it, and accounting does not know it")
