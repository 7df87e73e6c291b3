"""What Kubernetes says of an array, understood: each of its tasks as a run of its own, and the whole out of them. Pure.

An array is one Job whose pods are told their places. It runs while a task runs or is still to come after another has
run; it ends as the worst of its tasks, and when one of them cannot be accounted for, nobody can account for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from hub.jobs.backends import kubernetes_sight as sight
from hub.jobs.backends.kubernetes_rules import ARRAY_TASKS, CANCELLED
from hub.jobs.backends.kubernetes_sight import Object, Verdict
from hub.jobs.backends.pod_side import Folder
from hub.jobs.port import Observation
from hub.jobs.rules import Exit

PLACE = "batch.kubernetes.io/job-completion-index"
# Nobody asks a whole array to start again.
_NO_END = frozenset({"lost", "nothing", "again"})
# The end of the whole is told by the one of these that comes last.
_WORSE = ("exited", "signalled", "disk", "processes", "timed_out", "memory", "not_started", "interrupted", "cancelled")


def judge(job: Object | None, pods: Sequence[Object], folder: Folder | None = None) -> Verdict:
    """What became of a run, whether it is an array or not; `look` as in `kubernetes_sight.judge`."""
    if not _is_array(job, pods, folder):
        return sight.judge(job, pods, folder)
    count = folder.count if job is None and folder is not None else _count(job)
    if not count:
        return Verdict(Observation("nothing"), look=folder is None)
    of_place: dict[int, list[Object]] = {}
    for pod in pods:
        if (place := _place(pod)) is not None:
            of_place.setdefault(place, []).append(pod)
    over = _over(job)
    verdicts = [
        sight.judge(
            _as_over(job) if place in over else job,
            of_place.get(place, []),
            None if folder is None else folder.of_task(place),
        )
        for place in range(count)
    ]
    native = "" if job is None else str(job.get("metadata", {}).get("uid", ""))
    whole = _together(verdicts, sight.stopped_by(job))
    return msgspec.structs.replace(whole, seen=msgspec.structs.replace(whole.seen, native=native))


def _is_array(job: Object | None, pods: Iterable[Object], folder: Folder | None) -> bool:
    if job is not None:
        return str(job.get("spec", {}).get("completionMode")) == "Indexed"
    return any(_place(pod) is not None for pod in pods) or (folder is not None and folder.count > 0)


def _count(job: Object | None) -> int:
    return 0 if job is None else min(int(job.get("spec", {}).get("completions") or 0), ARRAY_TASKS)


def _place(pod: Object) -> int | None:
    said = str((pod.get("metadata", {}).get("annotations") or {}).get(PLACE, ""))
    return int(said) if re.fullmatch(r"\d{1,6}", said, re.ASCII) else None


def _over(job: Object | None) -> set[int]:
    """The places of tasks for which the cluster makes no pod any more: `1,3-5`, each."""
    status = {} if job is None else job.get("status", {})
    found: set[int] = set()
    for name in ("completedIndexes", "failedIndexes"):
        for first, last in re.findall(r"(\d{1,6})(?:-(\d{1,6}))?", str(status.get(name) or "")):
            found.update(range(int(first), min(int(last or first), ARRAY_TASKS) + 1))
    return found


def _as_over(job: Object | None) -> Object | None:
    """The Job as it is for a task that is over."""
    if job is None:
        return None
    return {**job, "status": {**job.get("status", {}), "conditions": [{"type": "Failed", "status": "True"}]}}


def _together(verdicts: Sequence[Verdict], stopped: str) -> Verdict:
    seen = [each.seen for each in verdicts]
    sights = {each.sight for each in seen}
    look = any(each.look for each in verdicts)
    if "started" in sights:
        return Verdict(Observation("started", trouble=next((each.trouble for each in seen if each.trouble), "")))
    if "waiting" in sights:
        if "ended" in sights or look:
            # Some have run and others will.
            return Verdict(Observation("started"))
        first = next(each for each in verdicts if each.seen.sight == "waiting")
        return Verdict(first.seen, stop=next((each.stop for each in verdicts if each.stop), ""))
    if look:
        return Verdict(Observation("nothing"), look=True)
    if len(sights) == 1 and sights <= {"never_ran", "nothing"}:
        return Verdict(seen[0])
    if not sights.isdisjoint(_NO_END):
        gone = [each for each in seen if each.sight in _NO_END]
        why = next((each.detail for each in gone if each.detail), "its pod is gone, and so is its end")
        return Verdict(Observation("lost", detail=f"of its {len(seen)} tasks {len(gone)} left no end: {why}"))
    ends = [each.exit for each in seen if each.exit is not None]
    not_begun = [each for each in seen if each.sight == "never_ran"]
    if not_begun:
        cancelled = Exit("cancelled", "cancelled")
        ends.append(cancelled if stopped == CANCELLED else Exit("not_started", not_begun[0].detail))
    return Verdict(Observation("ended", whole(ends)))


def whole(ends: Sequence[Exit]) -> Exit:
    """One end for those of all tasks: the worst of them, over the time of all."""
    worst = max(ends, key=_badness)
    began = min((each.started_at for each in ends if each.started_at), default=0.0)
    ended = max((each.ended_at for each in ends), default=0.0)
    return msgspec.structs.replace(
        worst,
        started_at=began,
        ended_at=ended,
        seconds=max(0.0, ended - began),
        cpu_seconds=sum(each.cpu_seconds for each in ends),
        peak_memory_bytes=max(each.peak_memory_bytes for each in ends),
        tasks=len(ends),
        task_seconds=sum(each.seconds for each in ends),
        # What each task said lies among its outputs.
        log_bytes=0,
        log_kept_bytes=0,
    )


def _badness(end: Exit) -> tuple[int, int]:
    rank: Mapping[str, int] = {reason: at for at, reason in enumerate(_WORSE)}
    return rank.get(end.reason, len(_WORSE)), abs(end.code or 0)
