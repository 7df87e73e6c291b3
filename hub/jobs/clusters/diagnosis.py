"""What is wrong between a person and a cluster, line by line, and what to do: from what was just seen there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from hub.jobs.clusters.doctor import MOST_QUESTIONS, QUESTIONS
from hub.jobs.port import Standing

Level = Literal["ok", "warning", "failed"]
_WORSE: tuple[Level, ...] = ("ok", "warning", "failed")

# What a login node and this hub may differ by; credentials of munge are good for five minutes.
CLOCK_WARNS_SECONDS, CLOCK_FAILS_SECONDS = 5.0, 240.0
LITTLE_SPACE_BYTES, LITTLE_FILES = 1 << 30, 10_000
SLOW_SECONDS = 10.0
# The hub is tried with this one.
TRIED_WITH = (22, 5)
# An agent says how it stands every half a minute while it has jobs.
SILENT_SECONDS = 120.0
ALMOST = 0.8


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at, and what to do where it is not well."""

    name: str
    level: Level
    words: str
    hint: str = ""


class Refused(msgspec.Struct, frozen=True):
    """Why nobody could sign in."""

    why: Literal["unreachable", "host_key", "key"]
    said: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a cluster found; `told` are the words of the look there, by name."""

    signed_in: float = 0.0  # how many seconds that took
    refused: Refused | None = None
    only_key: bool = False  # its host key was compared, and nobody signed in
    told: dict[str, str] = {}
    missing: tuple[str, ...] = ()
    clock_off: float | None = None
    queue_seconds: float | None = None
    queue_said: str = ""  # why the scheduler did not answer
    root: str = ""


class Bound(msgspec.Struct, frozen=True):
    """A bound of a quota that counts for the reader."""

    of: str
    what: str
    most: float
    used: float
    hard: bool
    who: str


def apart(told: float, before: float, after: float) -> float:
    """By how much a clock is ahead that told this time, in whole seconds, between two moments of this machine's."""
    first = before - 1.0
    return 0.0 if first <= told <= after else told - (first if told < first else after)


def worst(lines: Iterable[Line]) -> Level:
    """The worst of them."""
    return max((line.level for line in lines), key=_WORSE.index, default="ok")


def of_connection(cluster: str, login: str, seen: Seen) -> Iterator[Line]:
    """Whether it can be reached, is the one that was confirmed, and lets one in."""
    refused = seen.refused
    if refused is not None and refused.why == "unreachable":
        hint = "See whether its name and port are right and whether it lets this hub's address in; it may be down."
        yield Line(name="reachable", level="failed", words=sentence(refused.said), hint=hint)
        return
    took = "" if seen.only_key else f" Signing in took {seen.signed_in:.1f} s." if refused is None else ""
    slow = refused is None and seen.signed_in > SLOW_SECONDS
    yield Line(
        name="reachable", level="warning" if slow else "ok", words=f"{cluster} answers.{took}",
        hint="Its login node is slow or far away; jobs are sent there the slower." if slow else "",
    )  # fmt: skip
    if refused is not None and refused.why == "host_key":
        hint = "Ask an operator to compare the new fingerprint with what the cluster's own pages say, and to trust it."
        yield Line(name="host key", level="failed", words=sentence(refused.said), hint=hint)
        return
    yield Line(name="host key", level="ok", words="It is the one that was compared.")
    if refused is not None:
        hint = (
            "See that the line is in ~/.ssh/authorized_keys there, in one piece, and that the account is not locked; "
            "then test the account."
        )
        yield Line(name="sign-in", level="failed", words=sentence(refused.said), hint=hint)
    elif not seen.only_key:
        yield Line(name="sign-in", level="ok", words=f"It lets {login} in.")


def of_site(cluster: str, seen: Seen) -> Iterator[Line]:
    """What was found once signed in: the scheduler, its version, the clock, the folder of jobs."""
    if seen.missing:
        words = f"On the path there is no {', '.join(seen.missing)}."
        hint = "An operator can name the folder of the scheduler's commands with `path`."
        yield Line(name="commands", level="failed", words=words, hint=hint)
    yield _scheduler(seen)
    yield _version(seen.told.get("version", ""))
    if "none" in seen.told.get("AccountingStorageType", ""):
        yield Line(
            name="accounting", level="warning", words=f"{cluster} keeps no accounting.",
            hint="What became of a job that vanished from the queue while the hub was away, nobody can tell then.",
        )  # fmt: skip
    if seen.clock_off is not None:
        yield clock_line(seen.clock_off)
    yield _folder(seen)
    if (space := space_line(seen.told)) is not None:
        yield space


def of_hub(standing: Standing | None, *, kind: str, alive: int, watched: bool, now: float) -> Iterator[Line]:
    """What the hub knows of itself: its agent's last word, whether it leaves the cluster alone, how often it asks."""
    yield agent_line(standing, kind=kind, alive=alive, watched=watched, now=now)
    if standing is None:
        return
    if standing.alone_for_good:
        yield Line(
            name="left alone", level="failed", words=f"Nobody signs in any more: {sentence(standing.said)}",
            hint="It is tried again once an operator has trusted its host key anew.",
        )  # fmt: skip
    elif standing.alone_until > now:
        left = standing.alone_until - now
        yield Line(
            name="left alone", level="warning",
            words=f"After failures the hub leaves it alone for another {span(left)}: {sentence(standing.said)}",
            hint="It tries again by itself, ever more seldom, so that the site does not ban it.",
        )  # fmt: skip
    else:
        yield Line(name="left alone", level="ok", words="The hub may sign in at any time.")
    asked = sum(count for each, count in standing.per_minute.items() if each in QUESTIONS)
    by_kind = ", ".join(f"{each} {count}" for each, count in sorted(standing.per_minute.items())) or "none"
    words = f"{sentence(by_kind)} At most {MOST_QUESTIONS} ask how jobs are."
    too_many = asked > MOST_QUESTIONS
    yield Line(
        name="calls per minute", level="warning" if too_many else "ok", words=words,
        hint="Tell the operator of this hub." if too_many else "",
    )  # fmt: skip


def of_quota(bounds: Iterable[Bound]) -> Iterator[Line]:
    """What is left of one's quotas; one line for each that is close or used up, or one that says that none is."""
    close = [_bound(each) for each in bounds if each.most <= 0 or each.used / each.most >= ALMOST]
    yield from close or [Line(name="quota", level="ok", words="No quota of yours is close to its bound.")]


def _bound(one: Bound) -> Line:
    over = one.used >= one.most
    level: Level = "failed" if over and one.hard else "warning"
    words = f"{sentence(one.of, stop='')}: {one.used:g} of {one.most:g} {one.what} are used or reserved."
    hint = (
        f"{'No job is taken until some is free again' if over and one.hard else 'It is nearly used up'}; ask {one.who}."
    )
    return Line(name="quota", level=level, words=words, hint=hint)


def _scheduler(seen: Seen) -> Line:
    if seen.queue_said or seen.queue_seconds is None:
        ping = seen.told.get("ping", "").strip(" ;")
        words = f"It does not answer: {sentence(seen.queue_said or 'nothing was asked')}"
        if "DOWN" in ping:
            words += f" Slurm says of itself: {sentence(ping)}"
        hint = "Its staff know first; jobs that Slurm has accepted are not lost, and the hub asks again by itself."
        return Line(name="scheduler", level="failed", words=words, hint=hint)
    if seen.queue_seconds > SLOW_SECONDS:
        words = f"It took {seen.queue_seconds:.0f} s to tell which jobs you have."
        return Line(name="scheduler", level="warning", words=words, hint="It is busy; the hub asks the more seldom.")
    return Line(name="scheduler", level="ok", words=f"It answers within {max(seen.queue_seconds, 0.1):.1f} s.")


def _version(said: str) -> Line:
    found = re.match(r"(\d+)\.(\d+)", said)
    if found is None:
        return Line(
            name="version", level="failed", words="sbatch does not say which Slurm it is.",
            hint="Ask its staff whether Slurm's commands are set up on the login node.",
        )  # fmt: skip
    if (int(found[1]), int(found[2])) < TRIED_WITH:
        tried = f"{TRIED_WITH[0]}.{TRIED_WITH[1]:02}"
        words = f"Slurm {said}, which is older than the {tried} that this hub is tried with."
        return Line(name="version", level="warning", words=words, hint="If something is odd, it may be for that.")
    return Line(name="version", level="ok", words=f"Slurm {said}.")


def clock_line(off: float) -> Line:
    if abs(off) < CLOCK_WARNS_SECONDS:
        return Line(name="clock", level="ok", words="It agrees with the hub's.")
    way = "ahead of" if off > 0 else "behind"
    words = f"It is {span(abs(off))} {way} the hub's."
    hint = "Times of jobs are off by as much. Ask whose clock is wrong: this machine's operator or the cluster's staff."
    return Line(name="clock", level="failed" if abs(off) > CLOCK_FAILS_SECONDS else "warning", words=words, hint=hint)


def _folder(seen: Seen) -> Line:
    where, written = seen.told.get("folder", ""), seen.told.get("written", "")
    if written == "yes":
        there = "" if where == seen.root else f" {seen.root} is made with the first job."
        return Line(name="folder of jobs", level="ok", words=f"{where} can be written to.{there}")
    said = written.removeprefix("no").strip() or "it was not tried"
    hint = "Make room there, or ask its staff."
    if "No space left" not in said and "quota" not in said.lower():
        hint = f"Make {seen.root} yours to write to, or ask an operator to name another folder with `root`."
    return Line(name="folder of jobs", level="failed", words=f"{where or seen.root}: {sentence(said)}", hint=hint)


def space_line(told: dict[str, str]) -> Line | None:
    """Free kilobytes and files as `df` tells them; None where it tells nothing."""
    whole, free = _numbers(told.get("space", ""))
    files, files_free = _numbers(told.get("files", ""))
    if whole <= 0:
        return None
    words = f"{size(free * 1024)} of {size(whole * 1024)} are free."
    little = free * 1024 < LITTLE_SPACE_BYTES
    if files > 0 and files_free < min(LITTLE_FILES, files // 10):
        words, little = f"{words} Room is left for {files_free} more files.", True
    hint = "Jobs that write more will fail; clear old results away." if little else ""
    return Line(name="space", level="warning" if little else "ok", words=words, hint=hint)


def agent_line(standing: Standing | None, *, kind: str, alive: int, watched: bool, now: float) -> Line:
    whose = "Your agent" if kind == "agent" else "The hub's agent"
    jobs = f"{alive} of your jobs {'has' if alive == 1 else 'have'} not ended there."
    if kind == "agent" and not watched:
        hint = "Start it where you can sign in: collegium agent, with --hub and --cluster."
        return Line(name="agent", level="failed" if alive else "warning", words="It is not connected.", hint=hint)
    if alive and not watched:
        hint = "The jobs go on by themselves. Ask the operator whether the hub's agents run."
        return Line(name="agent", level="failed", words=f"{jobs} No agent watches them.", hint=hint)
    if standing is None or not standing.at:
        words = f"{jobs} It has begun." if alive else f"{whose} has said nothing yet; it works while jobs are there."
        return Line(name="agent", level="ok", words=words)
    ago = max(now - standing.at, 0.0)
    said = "it reached the cluster" if standing.reached else f"it did not reach the cluster: {standing.said}"
    words = f"{span(ago)} ago: {sentence(said, capital=False)}"
    if alive and ago > SILENT_SECONDS:
        hint = "It says so every half a minute while jobs are there. Ask the operator whether it runs."
        return Line(name="agent", level="warning", words=f"{whose} spoke last {words}", hint=hint)
    if not standing.reached and alive:
        return Line(name="agent", level="failed", words=f"{whose} spoke last {words}", hint="It tries again by itself.")
    return Line(name="agent", level="ok", words=f"{whose} spoke last {words}")


def _numbers(text: str) -> tuple[int, int]:
    words = text.split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(each.isdigit() for each in words) else (0, 0)


def sentence(text: str, *, stop: str = ".", capital: bool = True) -> str:
    text = " ".join(text.split()).rstrip(".")
    return ((text[:1].upper() if capital else text[:1]) + text[1:] + stop) if text else ""


def span(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}s"
    return f"{seconds:.0f} s"


def size(number: int) -> str:
    amount = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError
