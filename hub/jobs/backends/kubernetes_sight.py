"""What Kubernetes says of a run, understood: from its Job, its pods and its folder to what the hub knows. Pure.

It is judged by what is there now and never by what happened in between, so that a look that came late, or twice, says
the same. What the wrapper wrote is first hand; what the kubelet says of the container comes next; and when neither can
be had, the run's lock in its folder tells whether anything ever ran.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hub.jobs.backends import kubernetes_load, pod_side
from hub.jobs.backends.kubernetes_rules import CANCELLED, HELD, REQUEUED, STOPPED
from hub.jobs.backends.pod_side import DUPLICATE, NOBODY, End, Folder
from hub.jobs.port import Observation
from hub.jobs.rules import HELD_BACK, Exit

Object = Mapping[str, Any]

NEVER_PULLED = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})
HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
# What a registry says when it will say so tomorrow too.
_CERTAIN = re.compile(
    r"not found|manifest unknown|name unknown|access denied|unauthorized|forbidden|no match for platform",
    re.IGNORECASE,
)
STARTING = frozenset({"ContainerCreating", "PodInitializing", ""})
NOT_STARTED = frozenset({"StartError", "ContainerCannotRun", "RunContainerError", "CreateContainerError"})
# The kubelet would not have the pod: it never ran there.
TURNED_AWAY = frozenset({
    "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage", "NodeAffinity", "NodeName", "NodePorts",
    "UnexpectedAdmissionError", "TopologyAffinityError", "Taint", "NodeShutdown",
})  # fmt: skip
_DISRUPTED = {
    "PreemptionByScheduler": "a job of higher priority took its place",
    "DeletionByTaintManager": "its node was taken out of service",
    "EvictionByEvictionAPI": "its node is being emptied",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node was short of resources or is shutting down",
}


_STOPPED = {CANCELLED: "Being cancelled.", REQUEUED: "Being taken off its node, to start again."}


class Verdict(msgspec.Struct, frozen=True):
    """What is to be seen; whether the run's folder has to be asked first; and why it should be stopped, if at all."""

    seen: Observation
    look: bool = False
    stop: str = ""


def judge(job: Object | None, pods: Sequence[Object], folder: Folder | None = None) -> Verdict:
    """What became of a run. Without its `folder` the answer may be `look`: then only the folder can tell."""
    native = "" if job is None else str(job.get("metadata", {}).get("uid", ""))
    verdict = _judge(job, pods, folder)
    return msgspec.structs.replace(verdict, seen=msgspec.structs.replace(verdict.seen, native=native))


def _judge(job: Object | None, pods: Sequence[Object], folder: Folder | None) -> Verdict:
    stopped = stopped_by(job)
    mine = [pod for pod in pods if not _is_duplicate(pod) and not _is_unknown(pod)]
    for pod in mine:
        if (found := pod_end(pod, stopped)) is not None:
            return Verdict(_ended(found))
    if running := [pod for pod in mine if _state(pod)[0] == "running"]:
        trouble = "" if stopped else next((said for pod in running if (said := _silent(pod))), "")
        return Verdict(Observation("started", trouble=trouble))
    if mine and not stopped:
        turned = [pod for pod in mine if _turned_away(pod)]
        if len(turned) == len(mine):
            return Verdict(Observation("never_ran", detail=_turned_away(turned[0])))
        waiting = next(pod for pod in mine if not _turned_away(pod))
        detail, stop = waits_for(waiting)
        return Verdict(Observation("waiting", detail=detail), stop=stop)
    if mine:
        return Verdict(Observation("waiting", detail=_STOPPED.get(stopped, stopped)))
    if job is not None and not stopped and not pods and not finished(job):
        return Verdict(Observation("waiting", detail=_no_pod(job)))
    # Nothing is left that runs or could: what happened is known to the folder, if to anybody.
    if folder is None:
        return Verdict(Observation("nothing"), look=True)
    return Verdict(_by_folder(job, stopped, folder))


def _by_folder(job: Object | None, stopped: str, folder: Folder) -> Observation:
    if folder.end is not None:
        return _ended(exit_of(folder.end, stopped, "its pod was deleted on the cluster"))
    if not folder.holder or folder.holder == NOBODY:
        if stopped == REQUEUED:
            return Observation("again")
        if stopped and stopped != CANCELLED:
            return Observation("ended", Exit("not_started", stopped))
        if job is not None and not stopped and not finished(job) and folder.holder != NOBODY:
            return Observation("waiting", detail=_no_pod(job))
        if job is not None or folder.holder == NOBODY:
            return Observation("never_ran", detail="its pod went before anything was started")
        return Observation("nothing")
    if stopped == CANCELLED:
        return Observation("ended", Exit("cancelled", "cancelled"))
    gone = "its Job and its pod were deleted" if job is None else "its pod was deleted"
    return Observation("lost", detail=f"{gone} on the cluster, and with it what it knew")


def _ended(found: Exit) -> Observation:
    """An end, unless it is one that was asked for so that the job can start again."""
    return Observation("again") if found.reason == REQUEUED else Observation("ended", found)


# --- a Job


def stopped_by(job: Object | None) -> str:
    """Why we suspended it: `cancelled`, or that it can never start; empty when we did not."""
    if job is None or not job.get("spec", {}).get("suspend"):
        return ""
    return str((job.get("metadata", {}).get("annotations") or {}).get(STOPPED, ""))


def finished(job: Object) -> bool:
    """Whether it is over as far as the cluster is concerned: no pod is made for it any more."""
    return any(
        each.get("type") in ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet")
        and each.get("status") == "True"
        for each in job.get("status", {}).get("conditions") or []
    )


def _no_pod(job: Object) -> str:
    if HELD in (job.get("metadata", {}).get("annotations") or {}):
        return HELD_BACK
    if job.get("spec", {}).get("suspend"):
        return "The cluster's own queue holds it until it is its turn."
    return "The cluster has not made its pod yet."


# --- a pod


def _statuses(pod: Object) -> list[Object]:
    return list(pod.get("status", {}).get("containerStatuses") or [])


def _state(pod: Object) -> tuple[str, Object]:
    """(`waiting`, `running`, `terminated` or empty, what is said of it) for the pod's one container."""
    for each in _statuses(pod):
        for name in ("terminated", "running", "waiting"):
            if (said := (each.get("state") or {}).get(name)) is not None:
                return name, said
    return "", {}


def _is_duplicate(pod: Object) -> bool:
    kind, said = _state(pod)
    return (
        kind == "terminated"
        and said.get("exitCode") == DUPLICATE
        and str(said.get("message", "")).strip() == pod_side.DUPLICATE_SAID
    )


def _is_unknown(pod: Object) -> bool:
    """The kubelet says "killed" also of a container that it never made, or never found again: that says nothing."""
    kind, said = _state(pod)
    return kind == "terminated" and said.get("reason") == "ContainerStatusUnknown"


def _silent(pod: Object) -> str:
    """That its node does not answer, so that what is told of a running pod is old; empty while it does.

    It is not asked for when it is ready, so the kubelet calls it so as long as it runs; whoever looks after the nodes
    calls it otherwise once the kubelet is silent.
    """
    for each in pod.get("status", {}).get("conditions") or []:
        if each.get("type") == "Ready" and each.get("status") != "True" and each.get("reason") not in _ASKED_TO_END:
            wanted = pod.get("metadata", {}).get("deletionTimestamp")
            then = "; the cluster has given it up, and waits for the node to say that it is gone" if wanted else ""
            return f"Its node does not answer, so nobody can see now whether it still runs{then}."
    return ""


_ASKED_TO_END = frozenset({"PodCompleted", "PodFailed", "ContainersNotReady"})


def _turned_away(pod: Object) -> str:
    """Why a node would not have it, though the scheduler sent it there; empty when that is not so."""
    status = pod.get("status", {})
    if status.get("phase") == "Failed" and status.get("reason") in TURNED_AWAY and not _statuses(pod):
        return f"a node would not take it: {_words(status.get('message') or status['reason'])}"
    return ""


def waits_for(pod: Object) -> tuple[str, str]:
    """(what a pod waits for, in words; why it waits in vain, or nothing)."""
    kind, said = _state(pod)
    reason, whole = str(said.get("reason") or ""), str(said.get("message") or "")
    message = _words(whole)
    if kind == "waiting" and reason in HOPELESS | NEVER_PULLED:
        short = _about_image(whole) or reason
        if reason in HOPELESS or _CERTAIN.search(whole):
            return f"Its image cannot be had: {short}.", f"its image cannot be had: {short}"
        return f"Its image cannot be had yet, and the cluster keeps trying: {short}.", ""
    if kind == "waiting" and reason not in STARTING:
        return f"Its container cannot be made yet ({reason}): {message or 'no reason is given'}.", ""
    for each in pod.get("status", {}).get("conditions") or []:
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            # What could be pushed aside for it is of no interest to whoever waits.
            why = _words(str(each.get("message") or "")).partition(" preemption:")[0].rstrip(".")
            if each.get("reason") == "SchedulingGated":
                return "The cluster's own queue holds it until it is its turn.", ""
            return f"No node can take it now: {why or each.get('reason') or 'no reason is given'}.", ""
    if pod.get("spec", {}).get("nodeName"):
        return "A node has taken it; its image and its volumes are being brought.", ""
    return "Waiting for a node.", ""


def pod_end(pod: Object, stopped: str = "") -> Exit | None:
    """How a pod's program ended; None while it has not, or never began."""
    status = pod.get("status", {})
    kind, said = _state(pod)
    if kind == "terminated":
        words = pod_side.end(str(said.get("message") or ""))
        if words is not None:
            return _with_memory(exit_of(words, stopped, _disrupted(pod)), said)
        return _by_kubelet(pod, said, stopped)
    if status.get("phase") != "Failed":
        return None
    reason = status.get("reason")
    if reason == "Evicted":
        return _evicted(pod, Exit("interrupted"))
    if reason == "DeadlineExceeded":
        waited, _ = waits_for(pod)
        return Exit("not_started", f"it did not come so far in the time it had; {waited[0].lower()}{waited[1:]}")
    return None


def _with_memory(found: Exit, said: Object) -> Exit:
    """The kubelet's word for it, where the wrapper could not look."""
    if said.get("reason") == "OOMKilled" and found.reason == "signalled":
        return msgspec.structs.replace(found, reason="memory", detail=_MEMORY, code=None, signal=None)
    return found


_MEMORY = "it used more memory than it asked for"


def _memory_of(pod: Object) -> int:
    """All that it had: what a container that ran out of memory used."""
    containers = pod.get("spec", {}).get("containers") or [{}]
    return int(kubernetes_load.amount(((containers[0].get("resources") or {}).get("limits") or {}).get("memory")))


def _by_kubelet(pod: Object, said: Object, stopped: str) -> Exit:
    """The end of a container whose wrapper had no last words: it was killed, or never came to itself."""
    began, ended = moment(said.get("startedAt")), moment(said.get("finishedAt"))
    times: dict[str, Any] = {"started_at": began, "ended_at": ended, "seconds": max(0.0, ended - began)}
    code, reason = int(said.get("exitCode") or 0), str(said.get("reason") or "")
    message = _words(str(said.get("message") or ""))
    if reason == "OOMKilled":
        return Exit("memory", _MEMORY, peak_memory_bytes=_memory_of(pod), **times)
    if reason in NOT_STARTED or code in (126, 127, 128):
        if "/bin/sh" in message and "no such file" in message:
            message = "its image has no /bin/sh, by which the hub starts a program"
        return Exit("not_started", message or reason or f"its container ended with {code}", **times)
    if stopped in (CANCELLED, REQUEUED):
        return Exit(stopped, stopped, **times)
    if pod.get("status", {}).get("reason") == "Evicted":
        return _evicted(pod, Exit("interrupted", **times))
    if pod.get("status", {}).get("reason") == "DeadlineExceeded":
        return Exit("timed_out", "its time ran out", **times)
    if code > 128:
        if why := _disruption(pod) or _deleted_before(pod, ended, code):
            return Exit("interrupted", why, **times)
        return Exit("signalled", signal=code - 128, **times)
    return Exit("exited", code=code, **times)


def _evicted(pod: Object, found: Exit) -> Exit:
    """Put out by its node: for what it wrote itself, or because the node had too little left."""
    message = _words(str(pod.get("status", {}).get("message") or ""))
    own = re.search(r"exceeds? the (?:total )?limit|exceeded its local ephemeral storage limit", message)
    if own:
        return msgspec.structs.replace(found, reason="disk", detail=f"it wrote more than a job may there: {message}")
    return msgspec.structs.replace(found, reason="interrupted", detail=f"its node put it out: {message or 'evicted'}")


def _disruption(pod: Object) -> str:
    for each in pod.get("status", {}).get("conditions") or []:
        if each.get("type") == "DisruptionTarget" and each.get("status") == "True":
            return _DISRUPTED.get(str(each.get("reason")), _words(str(each.get("message") or each.get("reason") or "")))
    return ""


def _deleted_before(pod: Object, ended: float, code: int) -> str:
    """That it was deleted and killed for that, without the time for a last word; empty for who was killed before."""
    head = pod.get("metadata", {})
    asked = moment(head.get("deletionTimestamp")) - float(head.get("deletionGracePeriodSeconds") or 0)
    # The one is told in whole seconds, and so is the other.
    return "its pod was deleted on the cluster, by force" if code in _KILLED and 0 < asked <= ended + 1 else ""


_KILLED = frozenset({137, 143})


def _disrupted(pod: Object) -> str:
    """Why a program was told to end that nobody here told so."""
    status = pod.get("status", {})
    if status.get("reason") == "Evicted":
        return f"its node put it out: {_words(str(status.get('message') or 'evicted'))}"
    if status.get("reason") == "DeadlineExceeded":
        return "its time ran out"
    return _disruption(pod) or "its pod was deleted on the cluster"


def exit_of(end: End, stopped: str, because: str) -> Exit:
    """The wrapper's last words as the house keeps them; `because` says why it was told to end, if not by the hub."""
    reason, detail, code, signal = "exited", "", end.code, None
    if end.late or (end.got and because == "its time ran out"):
        reason, detail = "timed_out", "its time ran out"
    elif end.got and stopped in (CANCELLED, REQUEUED):
        reason, detail = stopped, stopped
    elif end.got:
        own = re.search(r"exceeds? the (?:total )?limit", because)
        reason, detail = ("disk", f"it wrote more than a job may there: {because}") if own else ("interrupted", because)
    elif end.code > 128:
        reason, signal = "signalled", end.code - 128
        if end.oom and signal == 9:
            reason, detail, signal = "memory", _MEMORY, None
    elif end.code == 96:
        reason, detail = "not_started", "the folder it should start in is not there"
    elif end.code in (126, 127):
        # The shell's own words for it stand in the log.
        reason, detail = "exited", ""
    return Exit(
        reason,
        detail,
        code if reason == "exited" else None,
        signal,
        end.start,
        end.end,
        max(0.0, end.end - end.start),
        cpu_seconds=end.cpu_seconds,
        peak_memory_bytes=end.peak,
        log_bytes=end.log_bytes,
        log_kept_bytes=end.log_bytes,
    )


def _about_image(message: str) -> str:
    """What the registry or the runtime says, without the layers of who passed it on."""
    for passed_on in (r'failed to resolve reference "[^"]*": ', r"\bdesc = ", r"\bErrImagePull: "):
        message = re.split(passed_on, message)[-1]
    return _words(message)


def moment(text: object) -> float:
    """Kubernetes' `2026-11-29T07:34:52Z` in seconds; 0 for anything else."""
    try:
        return dt.datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


def _words(message: str) -> str:
    """One line of at most 300 characters that does not end in a full stop."""
    return " ".join(message.split())[:300].rstrip(". ")
