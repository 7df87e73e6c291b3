"""Bringing files to the workspace volume of a cluster and fetching them, by a pod that holds it and does nothing else.

There is one porter while there is anything to carry; it ends by itself. What it is asked is a script of `pod_side`.
"""

from __future__ import annotations

import io
import secrets
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from hub.jobs.backends import far_sweep, kubernetes_rules, pod_side
from hub.jobs.backends.far_sweep import Removed
from hub.jobs.backends.kubernetes_api import Api, ClusterAway, Done, Doubtful, Json, Refused
from hub.jobs.backends.kubernetes_rules import HUB, PART, Cluster
from hub.jobs.backends.kubernetes_sight import finished, moment, waits_for
from hub.jobs.backends.pod_side import Folder
from hub.jobs.outputs import Found

PIECE_BYTES = 1 << 16
READY_SECONDS = 120.0
# A porter that has not come to run for so long is given up for another.
STUCK_SECONDS = 300.0
FIRST_AGAIN_SECONDS, LONGEST_AGAIN_SECONDS = 0.5, 15.0
# What one command line may name.
NAMED_BYTES = 32 << 10
ONE_BY_ONE_BYTES = 4 << 20
TIMES = 5
_CLAIM = "persistentVolumeClaim"


class PorterAway(ClusterAway):
    """There is no porter now, so the workspace cannot be asked."""


class NotStaged(Exception):
    """A run's folder could not be laid there, so nothing was submitted."""


class Porter:
    """The workspace volume of one hub on one cluster."""

    def __init__(self, api: Api, hub: str, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._hub, self._cluster, self._clock = api, hub, cluster, clock
        self._lock = threading.Lock()
        self._pod = ""
        self.ready_seconds = READY_SECONDS
        self._not_before, self._pause, self._because = float("-inf"), FIRST_AGAIN_SECONDS, ""

    # --- the pod

    def _ready(self) -> str:
        """The name of a porter's pod that runs. Raises PorterAway, at once for some time after it failed."""
        with self._lock:
            if self._pod:
                return self._pod
            if self._clock() < self._not_before:
                raise PorterAway(self._because)
            try:
                self._pod = self._running() or self._made()
            except (ClusterAway, Refused) as error:
                self._not_before, self._because = self._clock() + self._pause, f"no porter can be had: {error}"
                self._pause = min(self._pause * 2, LONGEST_AGAIN_SECONDS)
                raise PorterAway(self._because) from None
            self._pause = FIRST_AGAIN_SECONDS
            return self._pod

    def _running(self, job: str = "") -> str:
        pods = self._pods(job)
        fit = [pod for pod in pods if _usable(pod)]
        return str(max(fit, key=lambda pod: pod["metadata"]["creationTimestamp"])["metadata"]["name"]) if fit else ""

    def _selector(self) -> str:
        return f"{HUB}={kubernetes_rules.short(self._hub)},{PART}=porter"

    def _pods(self, job: str = "") -> list[Json]:
        pods, _ = self._api.items("pods", labelSelector=self._selector() + (f",job-name={job}" if job else ""))
        return pods

    def _made(self) -> str:
        """A porter that has just come to run: one that was on its way, or a new one. Raises PorterAway."""
        coming = self._coming()
        name, uid = coming or self._new()
        deadline = self._clock() + self.ready_seconds
        while not (pod := self._running(name)):
            said, hopeless = self._waits_for(name)
            if hopeless:
                self._api.delete("jobs", name, uid)
                raise PorterAway(said)
            if self._clock() > deadline:
                why = f". {said}" if said else ""
                raise PorterAway(f"the porter {name} did not start within {self.ready_seconds:.0f} s{why}")
            there = self._api.get("jobs", name)
            if there is None or finished(there):
                if coming is None:
                    raise PorterAway(f"the porter {name} ended before it was of use")
                coming = None
                name, uid = self._new()
            time.sleep(0.3)
        return pod

    def _waits_for(self, job: str) -> tuple[str, str]:
        """What a porter's pod waits for, and whether it waits in vain."""
        found = [waits_for(each) for each in self._pods(job)]
        return next((each for each in found if each[1]), found[-1] if found else ("", ""))

    def _coming(self) -> tuple[str, str] | None:
        """(name, uid) of a porter that was made and has not come to run: another one would only wait beside it.

        One that was described otherwise, or that has waited for long, is removed: another may land on a better node.
        """
        jobs, _ = self._api.items("jobs", labelSelector=self._selector())
        for each in jobs:
            name, uid = str(each["metadata"]["name"]), str(each["metadata"]["uid"])
            if finished(each) or each["metadata"].get("deletionTimestamp"):
                continue
            wanted = kubernetes_rules.porter(name, self._hub, self._cluster)["spec"]["template"]["spec"]
            waited = time.time() - moment(each["metadata"].get("creationTimestamp"))
            is_fit = _means(each["spec"]["template"]["spec"]) == _means(wanted) and waited < STUCK_SECONDS
            if is_fit and not _has_ended(self._pods(name)):
                return name, uid
            self._api.delete("jobs", name, uid)
        return None

    def _new(self) -> tuple[str, str]:
        name = f"cg-{kubernetes_rules.short(self._hub)[:8]}-porter-{secrets.token_hex(4)}"
        made = self._api.create("jobs", kubernetes_rules.porter(name, self._hub, self._cluster))
        return name, str(made["metadata"]["uid"])

    def run(self, script: str, stdin: Callable[[], Iterable[bytes]] | None = None, *, seconds: float = 60.0) -> Done:
        """Run a script that may be run twice, again with another porter if one is gone. Raises ClusterAway."""
        for last in (False, True):
            pod = self._ready()
            try:
                return self._api.run(pod, script, stdin() if stdin else (), seconds=seconds)
            except ClusterAway:
                self._lose(pod)
                if last:
                    raise
        raise AssertionError("one of the two tries returned or raised")

    def _lose(self, pod: str) -> None:
        with self._lock:
            if self._pod == pod:
                self._pod = ""

    # --- carrying

    def try_out(self) -> str:
        """Write to the workspace, and take it away again; what is free there. Raises ClusterAway in words."""
        done = self.run(pod_side.try_out(kubernetes_rules.short(self._hub), secrets.token_hex(6)))
        if done.code != 0:
            raise ClusterAway(f"the workspace cannot be written: {done.said}")
        return done.out.decode(errors="replace")

    def lay(self, job: str, run: int, archive: Path) -> None:
        """Lay a run's folder out of a compressed archive, unless that was done. Raises NotStaged or ClusterAway."""
        size = archive.stat().st_size
        before = self._folder(job, run - 1) if run > 1 else ""
        script = pod_side.lay(self._folder(job, run), secrets.token_hex(6), size, before)
        done = self.run(script, lambda: _pieces(archive), seconds=600.0)
        if done.code != 0:
            raise NotStaged(f"its folder could not be laid in the workspace: {done.said}")

    def folder(self, job: str, run: int) -> Folder:
        """What a run's folder says. Raises ClusterAway."""
        name = self._folder(job, run)
        done = self.run(pod_side.tell([name]))
        if done.code != 0:
            raise ClusterAway(f"the workspace cannot be read: {done.said}")
        return pod_side.folders(done.out.decode(errors="replace")).get(name, Folder())

    def note_uid(self, job: str, run: int, uid: str) -> None:
        self.run(pod_side.note_uid(self._folder(job, run), uid))

    def forbid(self, job: str, run: int) -> bool:
        """See to it that no pod can ever run this run; False when one has, or may have. Raises ClusterAway."""
        done = self.run(pod_side.forbid(self._folder(job, run)))
        if done.code != 0:
            raise ClusterAway(f"the run's lock cannot be taken: {done.said}")
        return done.out.decode(errors="replace").strip() == pod_side.NOBODY

    def logs(self, wanted: Sequence[tuple[str, int, int]]) -> dict[tuple[str, int], tuple[int, bytes]]:
        """The next bytes of logs, at most a mebibyte of each: {(job, run): (offset, bytes)}. Raises ClusterAway."""
        by_folder = {self._folder(job, run): (job, run) for job, run, _ in wanted}
        done = self.run(pod_side.log_pieces([(self._folder(job, run), at) for job, run, at in wanted]))
        found: dict[tuple[str, int], tuple[int, bytes]] = {}
        data, at = done.out, 0
        while (stop := data.find(b"\n", at)) >= 0 and data[at : at + 2] == b"@ ":
            folder, offset, length = data[at + 2 : stop].decode().rsplit(" ", 2)
            at = stop + 1 + int(length)
            found[by_folder[folder]] = (int(offset), data[stop + 1 : at])
        return found

    def listing(self, job: str, run: int, most: int) -> tuple[list[Found], int, int]:
        """(the files below work/, how many there are, how many other things); no files when more than `most`."""
        done = self.run(pod_side.listing(self._folder(job, run), most), seconds=600.0)
        if done.code != 0:
            raise ClusterAway(f"its results cannot be listed: {done.said}")
        head, *lines = done.out.split(b"\0")
        total, odd = (int(word) for word in head.split())
        found: list[Found] = []
        for line in lines:
            words = line.split(b" ", 2)
            if len(words) != 3:
                continue
            try:
                path = words[2].decode().removeprefix("./")
                found.append(Found(path, int(words[0]), int(words[1]) * 10**9))
            except ValueError:
                odd += 1
        return found, total, odd

    def fetch(self, job: str, run: int, files: Sequence[Found]) -> Iterator[tuple[Found, Iterator[bytes]]]:
        """The files' bytes, each to be read before the next: small ones together, large ones one by one."""
        folder = self._folder(job, run)
        small = [each for each in files if each.size <= ONE_BY_ONE_BYTES]
        for batch in _batches(small):
            yield from self._together(folder, batch)
        for each in files:
            if each.size > ONE_BY_ONE_BYTES:
                yield each, self._large(folder, each)

    def _together(self, folder: str, batch: Sequence[Found]) -> Iterator[tuple[Found, Iterator[bytes]]]:
        by_path = {each.path: each for each in batch}
        for attempt in range(TIMES):
            pod = self._ready()
            pieces = self._api.output(pod, pod_side.pack(folder, list(by_path)))
            try:
                with tarfile.open(fileobj=io.BufferedReader(_Reader(pieces)), mode="r|") as archive:
                    for head in archive:
                        each = by_path.get(head.name.removeprefix("./"))
                        if each is None or not head.isreg() or head.size > ONE_BY_ONE_BYTES:
                            continue
                        stream = archive.extractfile(head)
                        assert stream is not None
                        data = stream.read()
                        if len(data) != head.size:
                            raise Doubtful("the archive broke off")
                        del by_path[each.path]
                        yield each, iter([data])
                # An archive that broke off between two files looks whole; only the command's end says that it is.
                for _ in pieces:
                    pass
                return
            except (ClusterAway, tarfile.TarError):
                self._lose(pod)
                if not by_path:
                    return
                if attempt == TIMES - 1:
                    raise
            finally:
                pieces.close()

    def _large(self, folder: str, file: Found) -> Iterator[bytes]:
        """One file, from where it broke off if it did."""
        at, failures = 0, 0
        while at < file.size:
            pod = self._ready()
            before = at
            try:
                for piece in self._api.output(pod, pod_side.one_file(folder, file.path, at)):
                    at += len(piece)
                    yield piece
                return
            except ClusterAway:
                self._lose(pod)
                failures = 1 if at > before else failures + 1
                if failures >= TIMES:
                    raise

    def clear(self, job: str, run: int, *, whole: bool = False) -> None:
        self.run(pod_side.clear(self._folder(job, run), whole=whole), seconds=600.0)

    def sweep(self, runs: Sequence[tuple[str, int]]) -> list[Removed]:
        """Remove the folders of these runs, whole. Raises ClusterAway."""
        root = f"{kubernetes_rules.MOUNT}/{kubernetes_rules.short(self._hub)}"
        done = self.run(far_sweep.sweep(root, runs), seconds=far_sweep.SECONDS)
        return far_sweep.removed(done.out.decode(errors="replace"))

    def _folder(self, job: str, run: int) -> str:
        return kubernetes_rules.folder_of(self._hub, job, run)


class _Reader(io.RawIOBase):
    """Pieces read as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._left:
            self._left = next(self._pieces, b"")
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


def _means(pod: Json) -> tuple[object, ...]:
    """What makes a porter's pod the one that is described: its image, its user and its claim."""
    claims = [each["persistentVolumeClaim"]["claimName"] for each in pod.get("volumes") or [] if _CLAIM in each]
    user = (pod.get("securityContext") or {}).get("runAsUser")
    return (pod["containers"][0]["image"], user, *claims)


def _has_ended(pods: Sequence[Json]) -> bool:
    return any(pod.get("status", {}).get("phase") in ("Succeeded", "Failed") for pod in pods)


def _usable(pod: Json) -> bool:
    status = pod.get("status", {})
    return (
        status.get("phase") == "Running"
        and not pod["metadata"].get("deletionTimestamp")
        and all(each.get("ready") for each in status.get("containerStatuses") or [{}])
    )


def _pieces(archive: Path) -> Iterator[bytes]:
    with archive.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _batches(files: Sequence[Found]) -> Iterator[list[Found]]:
    batch: list[Found] = []
    named = 0
    for each in files:
        length = len(each.path.encode()) + 8
        if batch and named + length > NAMED_BYTES:
            yield batch
            batch, named = [], 0
        batch.append(each)
        named += length
    if batch:
        yield batch
