"""What Slurm says, understood: pure functions from the text of its commands to what the hub knows of a job.

Nothing is guessed: a line that cannot be read is not a job, a state nobody knows is said to be unknown, and a job's
absence from a list is never an end.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from hub.jobs.asked import Free
from hub.jobs.port import Observation, Room
from hub.jobs.rules import HELD_BACK, Exit

# A name and a comment may hold anything, so they come last; the token is looked for in both, since accounting knows a
# job's comment before its name (a row says `allocation` for some seconds).
SQUEUE_FORMAT = "%i|%F|%T|%r|%S|%V|%N|%k|%j"
SACCT_FIELDS = "JobID,State,ExitCode,Submit,Start,End,ElapsedRaw,NodeList,Comment,JobName"
SINFO_FORMAT = "%P|%a|%l|%D|%T|%c|%m|%C|%G"

Standing = Literal["waiting", "running", "ended", "unknown"]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


WAITING = _set("PENDING CONFIGURING REQUEUED REQUEUE_HOLD REQUEUE_FED RESV_DEL_HOLD SPECIAL_EXIT POWER_UP_NODE")
RUNNING = _set("RUNNING SUSPENDED COMPLETING STAGE_OUT STOPPED SIGNALING RESIZING")
ENDED = _set("""
    COMPLETED FAILED CANCELLED TIMEOUT DEADLINE OUT_OF_MEMORY NODE_FAIL BOOT_FAIL PREEMPTED REVOKED LAUNCH_FAILED
    RECONFIG_FAIL
""")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of squeue or sacct."""

    id: str  # as Slurm writes it: 12, 12_3, 12_[4-9]
    base: str  # without the array's index
    state: str
    token: str | None
    reason: str = ""
    nodes: str = ""
    code: int | None = None
    signal: int | None = None
    submitted: dt.datetime | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    seconds: float = 0.0

    @property
    def standing(self) -> Standing:
        if self.state in WAITING:
            return "waiting"
        if self.state in RUNNING:
            return "running"
        return "ended" if self.state in ENDED else "unknown"


# --- tokens and names -----------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\.(k[0-9a-f]{20})(?=\||$)")
_UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")


def token_of(hub: str, job: str, run: int) -> str:
    """What one run of one job is known by on a cluster; the same whoever works it out, before and after a crash."""
    return "k" + hashlib.sha256(f"{hub}\0{job}\0{run}".encode()).hexdigest()[:20]


def job_name(name: str, token: str) -> str:
    """What people see in `squeue`, and we find the job by."""
    kept = _UNFIT.sub("-", name).strip("-.")[:60].lstrip("-.") or "job"
    return f"{kept}.{token}"


def known_by(name: str, token: str) -> list[str]:
    """The options by which a run is found again."""
    known_as = job_name(name, token)
    return [f"--job-name={known_as}", f"--comment={known_as}"]


def token_in(text: str) -> str | None:
    match = _TOKEN.search(text.strip())
    return match[1] if match else None


# --- reading --------------------------------------------------------------------------------------------------------


def squeue(text: str) -> list[Row]:
    """The jobs of an account; other lines (a banner, a warning) are passed over."""
    rows = []
    for line in text.splitlines():
        fields = line.split("|", 7)
        if len(fields) < 8 or not re.fullmatch(r"\d+(?:_(?:\d+|\[[^\]]*\]))?(?:\+\d+)?", fields[0].strip()):
            continue
        number, base, state, reason, start, submitted, nodes, rest = fields
        rows.append(
            Row(
                id=number.strip(),
                base=base.strip(),
                state=_state(state),
                token=token_in(rest),
                reason=reason.strip(),
                nodes=nodes.strip(),
                start=moment(start),
                submitted=moment(submitted),
            )
        )
    return rows


def sacct(text: str) -> list[Row]:
    """Whole jobs (`-X`) as accounting knows them. It lags: what it says of a job squeue has is not believed."""
    rows = []
    for line in text.splitlines():
        fields = line.split("|", 8)
        if len(fields) < 9 or not re.fullmatch(r"\d+(?:_(?:\d+|\[[^\]]*\]))?(?:\+\d+)?", fields[0]):
            continue
        number, state, code, submitted, start, end, elapsed, nodes, rest = fields
        exit_code, _, signal = code.partition(":")
        rows.append(
            Row(
                id=number,
                base=number.partition("_")[0].partition("+")[0],
                state=_state(state),
                token=token_in(rest),
                nodes="" if nodes == "None assigned" else nodes,
                code=int(exit_code) if exit_code.isdigit() else None,
                signal=int(signal) if signal.isdigit() and int(signal) else None,
                submitted=moment(submitted),
                start=moment(start),
                end=moment(end),
                seconds=float(elapsed) if elapsed.isdigit() else 0.0,
            )
        )
    return rows


def _state(said: str) -> str:
    """`CANCELLED by 1000` and `RUNNING+` lose what follows."""
    words = said.split()
    return words[0].rstrip("+").upper() if words else ""


def moment(text: str) -> dt.datetime | None:
    """A time as Slurm writes it when it is asked under `TZ=UTC`; None for N/A, Unknown and whatever is no time."""
    try:
        return dt.datetime.fromisoformat(text.strip()).replace(tzinfo=dt.UTC)
    except ValueError:
        return None


def elapsed(text: str) -> int | None:
    """`1-02:03:04`, `02:03:04`, `03:04`; None for `infinite`, `UNLIMITED` and `INVALID`."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """A partition: what a node of it has, and how much is free."""

    name: str
    is_default: bool
    up: bool
    wall_seconds: int | None
    nodes: int
    idle_nodes: int
    cpus: int
    memory_bytes: int
    idle_cpus: int
    taken_cpus: int = 0
    all_cpus: int = 0
    all_memory_bytes: int = 0
    gpus: str = ""


def sinfo(text: str) -> list[Partition]:
    """The partitions, each once, its lines of different node states added up."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 9 or not fields[3].isdigit():
            continue
        said, available, limit, count, state, cpus, memory, of_cpus, gres = fields
        name = said.rstrip("*")
        shares = re.fullmatch(r"(\d+)/(\d+)/\d+/(\d+)", of_cpus)
        taken, idle, in_all = (int(each) for each in shares.groups()) if shares else (0, 0, 0)
        before = found.get(name)
        one = Partition(
            name=name,
            is_default=said.endswith("*"),
            up=available == "up",
            wall_seconds=elapsed(limit),
            nodes=int(count),
            idle_nodes=int(count) if state.rstrip("*~#!%$@^-") == "idle" else 0,
            cpus=int(cpus.rstrip("+") or 0),
            memory_bytes=int(memory.rstrip("+") or 0) << 20,
            idle_cpus=idle,
            taken_cpus=taken,
            all_cpus=in_all,
            all_memory_bytes=int(count) * (int(memory.rstrip("+") or 0) << 20),
            gpus="" if gres in ("(null)", "N/A") else gres,
        )
        found[name] = one if before is None else _together(before, one)
    return list(found.values())


def free(one: Partition) -> Free:
    """What is kept of a partition, to tell whether a job would start at once."""
    return Free(
        name=one.name,
        is_default=one.is_default,
        up=one.up,
        idle_nodes=one.idle_nodes,
        cpus=one.cpus,
        wall_seconds=one.wall_seconds,
    )


def room(one: Partition) -> Room:
    """What people are shown of a partition; how much of the memory is taken, `sinfo` does not tell."""
    return Room(
        name=one.name,
        nodes=one.nodes,
        idle_nodes=one.idle_nodes,
        cpus=one.all_cpus,
        cpus_taken=one.taken_cpus,
        memory_bytes=one.all_memory_bytes,
    )


def waiting(text: str) -> int | None:
    """How many jobs wait, as the last line of what `far_side.LOAD` prints; None for anything else."""
    match = re.search(r"(?m)^waiting (\d{1,9})$", text)
    return int(match[1]) if match else None


def _together(one: Partition, other: Partition) -> Partition:
    return msgspec.structs.replace(
        one,
        nodes=one.nodes + other.nodes,
        idle_nodes=one.idle_nodes + other.idle_nodes,
        cpus=max(one.cpus, other.cpus),
        memory_bytes=max(one.memory_bytes, other.memory_bytes),
        idle_cpus=one.idle_cpus + other.idle_cpus,
        taken_cpus=one.taken_cpus + other.taken_cpus,
        all_cpus=one.all_cpus + other.all_cpus,
        all_memory_bytes=one.all_memory_bytes + other.all_memory_bytes,
        gpus=one.gpus or other.gpus,
    )


class Estimate(msgspec.Struct, frozen=True):
    """What `sbatch --test-only` says: when it would start, or why never."""

    start: dt.datetime | None
    refusal: str = ""
    is_sure: bool = True  # False: the conversation broke off, and it said neither


def test_only(text: str) -> Estimate:
    """Its answer comes on stderr, between warnings."""
    if (match := re.search(r"to start at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", text)) is not None:
        return Estimate(moment(match[1]))
    if said := refusal(text):
        return Estimate(None, said)
    never = re.search(r"^(?:sbatch: )?allocation failure: (.+)$", text, re.M)
    if never is not None and not _BROKEN_OFF.search(text):
        return Estimate(None, never[1].strip()[:1000])
    return Estimate(None, text.strip()[-300:], is_sure=False)


# --- what sbatch answers --------------------------------------------------------------------------------------------

# Words of a conversation that broke off: the controller may have taken the job all the same.
_BROKEN_OFF = re.compile(
    r"timed? ?out|Unable to contact slurm controller|Zero Bytes were transmitted|Connection (?:reset|refused|closed)"
    r"|not connected|Unexpected message|Header lengths|Broken pipe|communication|Protocol authentication|"
    r"Transport endpoint|temporarily|Insane message|slurm_receive|slurm_send|Resource temporarily|try again",
    re.IGNORECASE,
)
_ERROR = re.compile(
    r"^(?:sbatch|srun|scontrol|scancel): (?:error|fatal): (.*)$|^(?:sbatch: )?(.*unrecognized option.*)$", re.M
)


def accepted(text: str) -> str | None:
    """The id that `sbatch --parsable` prints (`ID` or `ID;CLUSTER`), on the last line that holds one."""
    for line in reversed(text.splitlines()):
        if (match := re.fullmatch(r"(\d+)(?:;[\w.-]+)?", line.strip())) is not None:
            return match[1]
    return None


def refusal(text: str) -> str:
    """Why Slurm surely did not take a job, in its own words; empty where that is not certain."""
    if _BROKEN_OFF.search(text):
        return ""
    said = [(one or other).strip() for one, other in _ERROR.findall(text)]
    said = [each.removeprefix("Batch job submission failed: ").removeprefix("allocation failure: ") for each in said]
    return "; ".join(dict.fromkeys(each for each in said if each))[:1000]


def control_refusal(text: str) -> str:
    """Why scontrol surely did not do what it was asked; empty where that is not certain."""
    if _BROKEN_OFF.search(text):
        return ""
    lines = [re.sub(r"^\w+ error: | for job \S+$", "", line.strip()) for line in text.splitlines()]
    known = [line for line in lines if re.match(_CERTAIN, line)]
    return f"Slurm says: {known[0]}" if known else ""


_CERTAIN = (
    r"Requested operation is presently disabled|Invalid job id|Job has already finished|Job is pending execution"
    r"|Job is no longer pending|Access/permission denied|Job/step already completing or completed|.*not permitted"
)


def not_now(states: str) -> str:
    """Why a job cannot be held, released or requeued in the states that Slurm says it is in."""
    words = states.split()
    if words == ["ARRAY"]:
        return "it is an array, whose tasks are not started again all at once"
    if set(words) & {"RUNNING", "COMPLETING", "SUSPENDED", "CONFIGURING"}:
        return f"it has started already; Slurm says {words[0]}" if words[0] != "COMPLETING" else "it is ending"
    return f"Slurm says it is {' and '.join(words)[:100] or 'nowhere'}"


# --- what it means --------------------------------------------------------------------------------------------------


def observation(row: Row) -> Observation:
    """What a line means for the job it is about; an unknown state says nothing."""
    if row.standing == "waiting":
        starts_at = row.start.timestamp() if row.start else 0.0
        detail = waiting_sentence(row.reason, row.start)
        return Observation("waiting", detail=detail, native=row.base, starts_at=starts_at)
    if row.standing == "running":
        return Observation("started", native=row.base, detail=row.nodes)
    if row.standing == "ended":
        return Observation("ended", _exit(row), native=row.base)
    return Observation("nothing", native=row.base, detail=f"Slurm says {row.state[:40]}")


def _exit(row: Row) -> Exit:
    ended = row.end.timestamp() if row.end else 0.0
    started = row.start.timestamp() if row.start and (row.end is None or row.start <= row.end) else 0.0
    reason, detail = _ended_by(row)
    code, signal = (row.code, row.signal) if reason in ("exited", "signalled") else (None, None)
    if row.state == "COMPLETED":
        code = 0
    return Exit(reason, detail, code, signal, started, ended, row.seconds, by="Slurm")


def _ended_by(row: Row) -> tuple[str, str]:
    match row.state:
        case "COMPLETED":
            return "exited", ""
        case "FAILED" | "LAUNCH_FAILED" if row.signal:
            return "signalled", ""
        case "FAILED" if row.code:
            return "exited", ""
        case "FAILED" | "LAUNCH_FAILED" | "RECONFIG_FAIL":
            return "not_started" if "Launch" in row.reason else "failed", row.reason or "Slurm says no more than FAILED"
        case "TIMEOUT":
            return "timed_out", "its time limit was reached"
        case "DEADLINE":
            return "timed_out", "its deadline was reached"
        case "OUT_OF_MEMORY":
            return "memory", "it used more memory than it asked for"
        case "CANCELLED" | "REVOKED":
            return "cancelled", ""
        case "PREEMPTED":
            return "interrupted", "it had to make room for a job that goes before it"
        case "BOOT_FAIL":
            return "interrupted", "its nodes did not start"
        case _:
            return "interrupted", "a node of it failed"


_WHY = {
    "Priority": "Waiting behind jobs that go before it.",
    "Resources": "Next in line; waiting for nodes to become free.",
    "None": "In Slurm's queue.",
    "": "In Slurm's queue.",
    "Dependency": "Waiting for another job to end.",
    "DependencyNeverSatisfied": "It will never start: the job it depends on did not end as it had to.",
    "JobHeldUser": HELD_BACK,
    "JobHeldAdmin": "Held back by an administrator of the cluster.",
    "BeginTime": "Not to start before the time that was set for it.",
    "PartitionDown": "Its partition is closed at the moment.",
    "PartitionInactive": "Its partition is closed at the moment.",
    "PartitionTimeLimit": "It will never start: it asks for more time than its partition allows.",
    "PartitionNodeLimit": "It will never start: it asks for more nodes than its partition has.",
    "PartitionConfig": "It will never start: its partition is not made for what it asks for.",
    "BadConstraints": "It will never start: no node has what it asks for.",
    "ReqNodeNotAvail": "The nodes it needs are not available now, perhaps for maintenance.",
    "Reservation": "Waiting for its reservation to begin.",
    "Licenses": "Waiting for a licence.",
    "NodeDown": "A node it needs is down.",
    "JobArrayTaskLimit": "As many of its tasks run as it allows at once.",
    "Cleaning": "Ended on its node and being cleaned up, to be started again.",
    "InvalidAccount": "It will never start: its account is not valid on this cluster.",
    "InvalidQOS": "It will never start: its quality of service is not valid on this cluster.",
    "QOSMaxJobsPerUserLimit": "As many of your jobs run as this quality of service allows.",
    "AssocMaxJobsLimit": "As many of your jobs run as your account allows.",
    "launch failed requeued held": "Slurm could not start it on a node and holds it back.",
}


def waiting_sentence(reason: str, start: dt.datetime | None) -> str:
    """Why a job waits, in words, and when it is expected to start."""
    word = reason.strip("() ").partition(",")[0]
    said = _WHY.get(word)
    if said is None:
        limit = re.match(r"(QOS|Assoc|MaxJobs|.*Limit$|Max)", word)
        said = f"Waiting because of a limit of the cluster: {word}." if limit else f"Waiting; Slurm says: {word[:80]}."
    return f"{said} Expected to start at {start:%Y-%m-%d %H:%M} UTC." if start and "never" not in said else said


def fold(rows: Sequence[Row]) -> Row:
    """One line for all lines of a job: an array runs while a task runs, and ends as the worst of its tasks."""
    order = {"running": 0, "unknown": 1, "waiting": 2, "ended": 3}
    first = min(rows, key=lambda row: (order[row.standing], row.state == "COMPLETED", row.id))
    if first.standing == "waiting" and any(row.standing == "ended" for row in rows):
        return msgspec.structs.replace(first, state="RUNNING")  # some tasks have run and others will
    return first


def by_token(rows: Iterable[Row]) -> dict[str, Row]:
    """What is known of each run of ours."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.token is not None:
            found.setdefault(row.token, []).append(row)
    return {token: fold(each) for token, each in found.items()}
