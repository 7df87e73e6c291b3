"""A Kubernetes cluster as a backend: a run is one Job under the one name it can have, and what is seen of it.

Submitting twice is submitting once: the API server takes a name once, and a pod that comes to a run which was started
before leaves at its lock. What is there decides, not what happened: an agent that was away looks again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import structlog

from hub.core import limits
from hub.jobs.backends import kubernetes_array, kubernetes_load
from hub.jobs.backends import kubernetes_rules as rules
from hub.jobs.backends import kubernetes_sight as sight
from hub.jobs.backends.far_sweep import Removed
from hub.jobs.backends.kubernetes_api import Api, ClusterAway, Doubtful, Json, Refused
from hub.jobs.backends.kubernetes_rules import CANCELLED, HELD, HUB, JOB, PART, REQUEUED, RUN, STOPPED, Cluster, Work
from hub.jobs.backends.kubernetes_sight import Verdict
from hub.jobs.backends.mirror import Mirror, marked, owned
from hub.jobs.backends.pod_side import Folder
from hub.jobs.backends.porter import Porter
from hub.jobs.outputs import Found
from hub.jobs.port import Load, Observation
from hub.jobs.rules import Exit

log = structlog.get_logger()

Run = tuple[str, int]

LOG_SECONDS, LOG_AGAIN_SECONDS = 1.0, 10.0
LOOK_AGAIN_SECONDS = 2.0
EVENTS_AGAIN_SECONDS = 30.0
# Beyond what its program has to end itself: the node has to hear of it first, and a folder may be seen late.
LAST_WORDS_SECONDS = 15.0
_LATE = "the hub waits whether its last words still come"
# A log that another node has written may be seen late.
LOG_LATE_SECONDS = 30.0
TIMES = 3
UNKNOWN_ACCOUNT, FORBIDDEN = 401, 403
# An account that may not see the nodes may be allowed to some day.
NODES_AGAIN_SECONDS = 3600.0


class Submitted(msgspec.Struct, frozen=True):
    """What became of a submission: the Job's uid, or a certain refusal, or neither, and then nobody knows yet."""

    native: str = ""
    refusal: str = ""
    doubt: str = ""


class Orphan(msgspec.Struct, frozen=True):
    """A Job that bears the hub's mark, of which the hub knows nothing."""

    job: str
    run: int
    native: str
    finished: bool


class KubernetesBackend:
    """One namespace, for one hub."""

    def __init__(self, api: Api, hub: str, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self.api, self.hub, self.cluster, self._clock = api, hub, cluster, clock
        self.porter = Porter(api, hub, cluster, clock)
        self.mirror = Mirror(api, f"{HUB}={rules.short(hub)},{PART}=job")
        self._lock = threading.Lock()
        self._following = False
        self._looked: dict[Run, tuple[float, Observation]] = {}
        self._missed: dict[Run, float] = {}
        self._words: dict[str, tuple[float, str]] = {}
        self._ended: dict[Run, tuple[float, Exit]] = {}
        self._wanted: dict[Run, int] = {}
        self._pieces: dict[Run, tuple[int, bytes]] = {}
        self._logs_at, self._logs_wait = float("-inf"), LOG_SECONDS
        self._tail = threading.Lock()
        self._nodes_not_before = float("-inf")

    def close(self) -> None:
        self.mirror.close()
        self.api.close()

    # --- submitting

    def submit(self, work: Work, archive: Path) -> Submitted:
        """Lay the run's folder and make its Job, unless that ever happened. Raises NotStaged, or ClusterAway.

        Both mean that no Job was made by us, now; calling again is always right. `archive` is a gzipped tar that holds
        `run.sh` and `given/` and `work/`.
        """
        try:
            wanted = rules.manifest(work, self.hub, self.cluster)
        except ValueError as error:
            return Submitted(refusal=str(error))
        name = wanted["metadata"]["name"]
        if (there := self._adopt(name, work)) is not None:
            return there
        self.porter.lay(work.job, work.run, archive)
        folder = self.porter.folder(work.job, work.run)
        if folder.holder or folder.end is not None:
            # It ran, and its Job is gone: it must not be made again.
            return Submitted(native=folder.uid or folder.holder)
        return self._make(name, wanted, work)

    def _make(self, name: str, wanted: Json, work: Work) -> Submitted:
        doubt = ""
        for attempt in range(TIMES):
            try:
                made = self.api.create("jobs", wanted)
            except Refused as refused:
                if refused.status == UNKNOWN_ACCOUNT:
                    raise  # Nothing was asked of it: the job waits until the hub is let in again.
                if refused.is_full:
                    raise  # It waits until there is room.
                if refused.status != 409:
                    return Submitted(refusal=f"the cluster refused it: {refused}")
            except Doubtful as error:
                doubt = str(error)
            else:
                return self._accepted(made, work)
            try:
                if (there := self._adopt(name, work)) is not None:
                    return there
            except ClusterAway as error:
                doubt = doubt or str(error)
            time.sleep(0.2 * (attempt + 1))
        # The answer was lost every time and there is no Job: one may still be on its way.
        return Submitted(doubt=f"the answer to its submission was lost: {doubt}")

    def _adopt(self, name: str, work: Work) -> Submitted | None:
        """The Job that is there already, if one is. Raises ClusterAway or Refused."""
        there = self.api.get("jobs", name)
        if there is None:
            return None
        if not rules.is_ours(there, self.hub, work.job, work.run):
            return Submitted(refusal=f"somebody else's Job is called {name} in the namespace {self.api.namespace}")
        return self._accepted(there, work)

    def _accepted(self, made: Json, work: Work) -> Submitted:
        uid = str(made["metadata"]["uid"])
        try:
            self.porter.note_uid(work.job, work.run, uid)
        except ClusterAway as away:
            log.info("kubernetes.uid_not_noted", job=work.job, said=str(away))
        return Submitted(native=uid)

    # --- looking

    def _follow(self) -> None:
        with self._lock:
            if not self._following:
                self.mirror.start()
                self._following = True

    def observe(self, job: str, run: int) -> Observation:
        """What is to be seen of a run now. Raises ClusterAway while nothing certain is known of the cluster."""
        self._follow()
        name = rules.job_name(self.hub, job, run)
        there = self._ours(self.mirror.job(name), job, run)
        marks = rules.labels(self.hub, job, run)
        gone = marked(self.mirror.ended(), marks)
        pods = gone if there is None else self.mirror.pods_of(there["metadata"]["uid"])
        verdict = kubernetes_array.judge(there, pods)
        if verdict.look:
            return self._look(job, run, name)
        if verdict.stop:
            self._stop(name, there, verdict.stop)
        if there is not None and not pods and verdict.seen.sight == "waiting":
            return msgspec.structs.replace(verdict.seen, detail=self._why_no_pod(there) or verdict.seen.detail)
        return self._seen(job, run, verdict.seen)

    def _ours(self, there: Json | None, job: str, run: int) -> Json | None:
        """The Job, unless somebody else made it under the run's name."""
        return there if there is not None and rules.is_ours(there, self.hub, job, run) else None

    def _look(self, job: str, run: int, name: str) -> Observation:
        """The same, asked afresh of the API server and of the workspace: what is absent is not claimed from memory.

        Raises ClusterAway while one of them does not answer.
        """
        now = self._clock()
        known = self._looked.get((job, run))
        if known is not None and now - known[0] < LOOK_AGAIN_SECONDS:
            return known[1]
        there = self._ours(self.api.get("jobs", name), job, run)
        uid = "" if there is None else str(there["metadata"]["uid"])
        pods, _ = self.api.items("pods", labelSelector=f"{HUB}={rules.short(self.hub)},{JOB}={job},{RUN}={run}")
        mine = pods if there is None else owned({pod["metadata"]["name"]: pod for pod in pods}, uid)
        folder = self.porter.folder(job, run)
        if there is None and not mine and folder.staged and folder.uid and not folder.holder:
            # Its Job was made, and is gone: no pod may come to it any more.
            folder = self._forbidden(job, run, folder)
        seen = self._not_yet_lost(job, run, kubernetes_array.judge(there, mine, folder).seen, now)
        if len(self._looked) > 10_000:
            self._looked.clear()
        self._looked[job, run] = (now, seen)
        return self._seen(job, run, seen)

    def _not_yet_lost(self, job: str, run: int, seen: Observation, now: float) -> Observation:
        """A pod that was deleted by force is gone from the cluster before its program is gone from its node.

        As long as that takes, its last words may still come into its folder.
        """
        if seen.sight != "lost":
            self._missed.pop((job, run), None)
            return seen
        first = self._missed.setdefault((job, run), now)
        if now - first > self.cluster.grace_seconds + rules.WIND_UP_SECONDS + LAST_WORDS_SECONDS:
            return seen
        return Observation(
            "started", native=seen.native, trouble=f"{seen.detail[0].upper()}{seen.detail[1:]}; {_LATE}."
        )

    def _forbidden(self, job: str, run: int, folder: Folder) -> Folder:
        free = self.porter.forbid(job, run)
        return msgspec.structs.replace(folder, holder="nobody") if free else self.porter.folder(job, run)

    def _seen(self, job: str, run: int, seen: Observation) -> Observation:
        if seen.sight == "ended" and seen.exit is not None:
            kept = msgspec.structs.replace(seen.exit, log_kept_bytes=min(seen.exit.log_bytes, limits.LOG_BYTES))
            self._ended.setdefault((job, run), (self._clock(), kept))
            return msgspec.structs.replace(seen, exit=kept)
        return seen

    def _why_no_pod(self, there: Json) -> str:
        """What the cluster says of a Job for which it makes no pod, such as a quota that is used up."""
        if there.get("spec", {}).get("suspend"):
            return ""
        uid, now = there["metadata"]["uid"], self._clock()
        at, words = self._words.get(uid, (float("-inf"), ""))
        if now - at < EVENTS_AGAIN_SECONDS:
            return words
        words = ""
        try:
            events, _ = self.api.items("events", fieldSelector=f"involvedObject.uid={uid},reason=FailedCreate")
            if events:
                said = " ".join(str(events[-1].get("message") or "").split())[:300].rstrip(".")
                words = f"The cluster cannot make its pod: {said}."
        except (ClusterAway, Refused):
            pass  # The words are a courtesy; the state does not depend on them.
        if len(self._words) > 10_000:
            self._words.clear()
        self._words[uid] = (now if words else now - EVENTS_AGAIN_SECONDS + 2.0, words)
        return words

    # --- logs

    def read_log(self, job: str, run: int, offset: int) -> bytes:
        """The next bytes of the log; all that is left of it once its end has been seen. Raises ClusterAway."""
        if offset >= limits.LOG_BYTES:
            return b""
        ended = self._ended.get((job, run))
        piece = self._ended_log(job, run, offset, *ended) if ended else self._live_log(job, run, offset)
        return piece[: limits.LOG_BYTES - offset]

    def _ended_log(self, job: str, run: int, offset: int, seen_at: float, end: Exit) -> bytes:
        if end.log_bytes and offset >= end.log_bytes:
            return b""
        _, piece = self.porter.logs([(job, run, offset)]).get((job, run), (offset, b""))
        if not piece and offset < end.log_bytes and self._clock() - seen_at < LOG_LATE_SECONDS:
            raise ClusterAway(f"the log of {job} is {end.log_bytes} bytes long, and {offset} are to be seen yet")
        return piece

    def _live_log(self, job: str, run: int, offset: int) -> bytes:
        """One command a second for the logs of all running jobs, whoever asks first."""
        with self._tail:
            at, piece = self._pieces.pop((job, run), (offset, b""))
            if piece and at == offset:
                return piece
            self._wanted[job, run] = offset
            if self._clock() - self._logs_at < self._logs_wait:
                return b""
            wanted = [(*each, at) for each, at in self._wanted.items()]
            self._wanted.clear()
            try:
                self._pieces |= self.porter.logs(wanted)
                self._logs_wait = LOG_SECONDS
            except ClusterAway as away:
                log.info("kubernetes.logs_away", said=str(away)[:300])
                self._logs_wait = LOG_AGAIN_SECONDS
            self._logs_at = self._clock()
            at, piece = self._pieces.pop((job, run), (offset, b""))
            return piece if at == offset else b""

    # --- acting

    def cancel(self, job: str, run: int) -> None:
        """Ask the run to end; asking again does no harm. Raises ClusterAway or Refused."""
        self._follow()
        name = rules.job_name(self.hub, job, run)
        there = self._ours(self.mirror.job(name), job, run) or self._ours(self.api.get("jobs", name), job, run)
        self._stop(name, there, CANCELLED)

    def hold(self, job: str, run: int) -> bool:
        """Keep a run from starting until it is released; False when a node has taken it, or it is over or not there."""
        there = self._made_for(job, run)
        if there is None or sight.finished(there) or there["spec"].get("suspend"):
            return there is not None and HELD in (there["metadata"].get("annotations") or {})
        selector = f"{HUB}={rules.short(self.hub)},{JOB}={job},{RUN}={run}"
        pods, _ = self.api.items("pods", labelSelector=selector)
        if any(pod.get("spec", {}).get("nodeName") for pod in pods):
            return False
        return self._suspend(there, True)

    def release(self, job: str, run: int) -> bool:
        """Let a run go that was held; False when it was not. What the cluster's own queue holds is not let go."""
        there = self._made_for(job, run)
        noted = {} if there is None else there["metadata"].get("annotations") or {}
        if there is None or HELD not in noted or STOPPED in noted:
            return False
        return self._suspend(there, False)

    def requeue(self, job: str, run: int) -> str:
        """Take a run off its node, so that the job can start again as its next run; why not, where that cannot be."""
        there = self._made_for(job, run)
        if there is None or sight.finished(there):
            return "it has ended already"
        if there["spec"].get("completionMode") == "Indexed":
            return "it is an array, whose tasks are not started again all at once"
        self._stop(there["metadata"]["name"], there, REQUEUED)
        return ""

    def _made_for(self, job: str, run: int) -> Json | None:
        return self._ours(self.api.get("jobs", rules.job_name(self.hub, job, run)), job, run)

    def _suspend(self, there: Json, held: bool) -> bool:
        noted = {"uid": there["metadata"]["uid"], "annotations": {HELD: "yes" if held else None}}
        try:
            self.api.patch("jobs", there["metadata"]["name"], {"metadata": noted, "spec": {"suspend": held}})
        except Refused as refused:
            if refused.status in (404, 409, 422):
                return False
            raise
        return True

    def _stop(self, name: str, there: Json | None, because: str) -> None:
        """Suspend a Job: its pod is told to end, and the Job stays and says why."""
        if there is None or sight.finished(there):
            return
        noted = (there["metadata"].get("annotations") or {}).get(STOPPED)
        # A cancellation is more than a wish to start again.
        if there["spec"].get("suspend") and noted and not (noted == REQUEUED and because == CANCELLED):
            return
        change = {
            # Not of another Job that has come by that name meanwhile.
            "metadata": {"uid": there["metadata"]["uid"], "annotations": {STOPPED: because[:500]}},
            "spec": {"suspend": True},
        }
        try:
            self.api.patch("jobs", name, change)
        except Refused as refused:
            if refused.status not in (404, 409, 422):
                raise

    # --- results

    def listing(self, job: str, run: int, most: int) -> tuple[list[Found], int, int]:
        return self.porter.listing(job, run, most)

    def fetch(self, job: str, run: int, files: Sequence[Found]) -> Iterator[tuple[Found, Iterator[bytes]]]:
        return self.porter.fetch(job, run, files)

    # --- how busy it is

    def load(self) -> Load:
        """What is to be seen of the cluster's nodes and pods. Raises ClusterAway, or Refused for its own namespace."""
        nodes, pods = None, None
        if self._clock() >= self._nodes_not_before:
            nodes = self._if_allowed("nodes", self.api.path("nodes"))
        if nodes is None:
            self._nodes_not_before = max(self._nodes_not_before, self._clock() + NODES_AGAIN_SECONDS)
        else:
            pods = self._if_allowed("pods", "/api/v1/pods")
        whole = pods is not None
        if pods is None:
            pods, _ = self.api.items("pods")
        return kubernetes_load.load(self.api.namespace, nodes, pods, whole=whole, at=time.time())

    def nodes(self) -> tuple[int, int] | None:
        """(those that take work, all); None where they may not be seen. Raises ClusterAway or Refused."""
        nodes = self._if_allowed("nodes", self.api.path("nodes"))
        return None if nodes is None else (sum(map(kubernetes_load.takes_work, nodes)), len(nodes))

    def _if_allowed(self, kind: str, path: str) -> list[Json] | None:
        try:
            return self.api.items(kind, path)[0]
        except Refused as refused:
            if refused.status == FORBIDDEN:
                return None
            raise

    # --- cleaning up

    def clear(self, job: str, run: int) -> None:
        """After everything was fetched: the Job goes, with its pod, and what it left in the workspace."""
        there = self._ours(self.api.get("jobs", rules.job_name(self.hub, job, run)), job, run)
        if there is not None:
            self.api.delete("jobs", there["metadata"]["name"], there["metadata"]["uid"])
        self.porter.clear(job, run)

    def clear_away(self, runs: Sequence[Run]) -> list[Removed]:
        """Remove what runs that ended long ago left: their Jobs with their pods, then their folders.

        One whose Job still runs is left whole. Raises ClusterAway or Refused.
        """
        gone, left = [], []
        for job, run in runs:
            there = self._made_for(job, run)
            if there is not None and not _is_over(there):
                left.append(Removed(job, run, "left"))
                continue
            if there is not None:
                self.api.delete("jobs", there["metadata"]["name"], there["metadata"]["uid"])
            gone.append((job, run))
        return [*(self.porter.sweep(gone) if gone else []), *left]

    def leave(self) -> tuple[int, list[str]]:
        """Remove the hub's porters and ended Jobs, with their pods: (how many, the names of those that still run)."""
        found, _ = self.api.items("jobs", labelSelector=f"{HUB}={rules.short(self.hub)}")
        running = []
        for there in found:
            head = there["metadata"]
            if _is_over(there) or (head.get("labels") or {}).get(PART) == "porter":
                self.api.delete("jobs", head["name"], head["uid"])
            else:
                running.append(str(head["name"]))
        return len(found) - len(running), running

    def sweep(self, wanted: Iterable[Run], older_than: float, at: float) -> list[Orphan]:
        """Remove finished Jobs that nobody wants and that ended `older_than` seconds before `at` (Unix time)."""
        keep = set(wanted)
        gone: list[Orphan] = []
        for there, each in self._marked():
            ended = _ended_at(there)
            if each.finished and (each.job, each.run) not in keep and ended and at - ended > older_than:
                self.api.delete("jobs", there["metadata"]["name"], each.native)
                gone.append(each)
        return gone

    def orphans(self, known: Iterable[Run]) -> list[Orphan]:
        """Jobs under the hub's mark that are not among those it knows."""
        mine = set(known)
        return [each for _, each in self._marked() if (each.job, each.run) not in mine]

    def _marked(self) -> Iterator[tuple[Json, Orphan]]:
        found, _ = self.api.items("jobs", labelSelector=f"{HUB}={rules.short(self.hub)},{PART}=job")
        for there in found:
            marks = there["metadata"].get("labels") or {}
            if str(marks.get(RUN, "")).isdigit() and marks.get(JOB):
                yield there, Orphan(marks[JOB], int(marks[RUN]), there["metadata"]["uid"], _is_over(there))


def _is_over(there: Json) -> bool:
    """Whether no pod is made for it any more: it has ended, or we stopped it."""
    return sight.finished(there) or bool((there["metadata"].get("annotations") or {}).get(STOPPED))


def _ended_at(there: Json) -> float:
    """When a Job ended, as Unix time; 0 when it says nothing of it."""
    moments = [
        sight.moment(each.get("lastTransitionTime"))
        for each in there.get("status", {}).get("conditions") or []
        if each.get("status") == "True" and each.get("type") in ("Complete", "Failed", "Suspended")
    ]
    return max(moments, default=0.0)


__all__ = ["KubernetesBackend", "Orphan", "Submitted", "Verdict"]
