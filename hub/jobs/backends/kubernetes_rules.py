"""What is asked of Kubernetes: a payload as one Job, and what cannot be asked of it at all. Pure.

The Job has one pod, of an array one for each task, and a name that only this run can have, so that making it twice
makes it once. Its program, its variables and
its inputs lie in a folder of the workspace volume and not in the Job, which others in the namespace can read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from hub.core import limits
from hub.jobs import arrays
from hub.jobs.amounts import shown_bytes, shown_seconds
from hub.jobs.placement import Refusal
from hub.jobs.requests import Environment, Resources

MOUNT = "/collegium"
HUB, JOB, RUN, PART = "collegium/hub", "collegium/job", "collegium/run", "collegium/part"
NETWORK, QUEUE = "collegium/network", "kueue.x-k8s.io/queue-name"
NAME, TOKEN, STOPPED = "collegium/name", "collegium/token", "collegium/stopped"
PERSON, SESSION, HANDLE = "collegium/person", "collegium/session", "collegium/handle"
HELD = "collegium/held"
CANCELLED, REQUEUED = "cancelled", "requeued"
# What a pod may take beyond its grace to be wound up by the wrapper.
WIND_UP_SECONDS = 10
SMALLEST_MEMORY = 16 << 20
# As many as Slurm takes by default; each is a pod of its own.
ARRAY_TASKS = 1000

_NAMED = r"(?!.*//)[a-z0-9][A-Za-z0-9._:/-]{0,254}"
_IMAGE = re.compile(_NAMED + "@sha256:[0-9a-f]{64}")
_EXAMPLE = "python@sha256:<64 hexadecimal digits>"

# All that the hub's account needs in its namespace (deploy/kubernetes/collegium.yaml): (group, kind, verbs).
RIGHTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("batch", "jobs", ("create", "get", "list", "watch", "patch", "delete")),
    ("", "pods", ("get", "list", "watch")),
    ("", "pods/exec", ("get", "create")),
    ("", "events", ("list",)),
)

Label = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * 86400)]


class Cluster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A namespace of a cluster, as its operator describes it.

    `claim` is the volume on which every run has its folder, writable for `user`; `porter_image` needs a shell, tar and
    the usual small programs; `gpu_types` says by which labels a node has GPUs of a type; `queue` is a queue of Kueue.
    """

    namespace: Label
    claim: Label
    porter_image: str
    image: str = ""
    user: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1000
    cpus: Annotated[int, msgspec.Meta(ge=1)] = 64
    memory_bytes: Annotated[int, msgspec.Meta(ge=SMALLEST_MEMORY)] = 256 << 30
    wall_seconds: Seconds = 7 * 86400
    temporary_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = limits.JOB_DISK_BYTES
    start_seconds: Seconds = 1800
    grace_seconds: Annotated[int, msgspec.Meta(ge=1, le=600)] = 20
    porter_seconds: Annotated[int, msgspec.Meta(ge=60)] = 6 * 3600
    node_selector: Mapping[str, str] = {}
    gpu_resource: str = "nvidia.com/gpu"
    gpu_types: Mapping[str, Mapping[str, str]] = {}
    queue: str = ""
    priority_class: str = ""
    pull_secrets: tuple[str, ...] = ()


def token_of(hub: str, job: str, run: int) -> str:
    """What only this run of this hub has: 32 hexadecimal digits."""
    return hashlib.sha256(f"{hub}\0{job}\0{run}".encode()).hexdigest()[:32]


def short(hub: str) -> str:
    """The hub's own mark in names, labels and folders: 12 hexadecimal digits."""
    return hashlib.sha256(hub.encode()).hexdigest()[:12]


def job_name(hub: str, job: str, run: int) -> str:
    """The one name a run's Job can have; at most 57 characters, so that a pod's suffix still fits."""
    readable = re.sub(r"[^a-z0-9]+", "-", job.lower()).strip("-")
    if not readable or len(readable) > 32:
        readable = hashlib.sha256(job.encode()).hexdigest()[:32]
    return f"cg-{short(hub)[:8]}-{readable}-{run}"


def folder_of(hub: str, job: str, run: int) -> str:
    """A run's folder below the workspace volume."""
    return f"{short(hub)}/jobs/{job}/{run}"


# --- what can be asked


def image_of(environment: Environment, cluster: Cluster) -> str:
    """The image, by digest: the payload's, else the cluster's own. Raises ValueError."""
    wanted = environment.container or cluster.image
    if not wanted:
        raise ValueError(f"a job on Kubernetes needs an image; name one in environment.container, such as {_EXAMPLE}")
    return pinned_image(wanted, "environment.container" if environment.container else "the cluster's image")


def pinned_image(said: str, field: str) -> str:
    """An image that is the same tomorrow. Raises ValueError, which says what to write instead."""
    wanted = said.removeprefix("docker://")
    if _IMAGE.fullmatch(wanted):
        return wanted
    name = wanted.partition("@")[0]
    if "@" not in wanted and re.fullmatch(_NAMED, name):
        raise ValueError(
            f"{field}: {name} may be another image tomorrow; name it with its digest, {name}@sha256:..., "
            f"which `docker buildx imagetools inspect {name}` shows"
        )
    raise ValueError(f"{field}: {wanted[:120]!r} is no image with a digest, such as {_EXAMPLE}")


def refusals(resources: Resources, environment: Environment, cluster: Cluster) -> list[Refusal]:
    """Everything that was asked for and cannot be had there, each with what to do instead."""
    return [*_too_large(resources, cluster), *_foreign(resources, cluster), *_no_software(environment, cluster)]


def _too_large(resources: Resources, cluster: Cluster) -> Iterator[Refusal]:
    wanted = resources.amounts()
    memory, seconds = wanted.memory_bytes, wanted.wall_seconds
    if resources.nodes > 1:
        hint = "is more than one, and a Kubernetes job is one pod on one node; send it to a Slurm cluster"
        yield Refusal("resources.nodes", f"{hint}, or ask for one node with more cpus_per_node")
    if resources.tasks_per_node > 1:
        yield Refusal("resources.tasks_per_node", "is more than one; a pod runs one program, which may fork")
    if resources.cpus_per_node > cluster.cpus:
        yield Refusal("resources.cpus_per_node", f"is more than the {cluster.cpus} a job may have there")
    if memory is not None and memory > cluster.memory_bytes:
        most = shown_bytes(cluster.memory_bytes)
        yield Refusal("resources.memory", f"is more than the {most} a job may have there")
    if memory is not None and memory < SMALLEST_MEMORY:
        least = shown_bytes(SMALLEST_MEMORY)
        yield Refusal("resources.memory", f"is less than the {least} in which a container can start")
    if seconds is not None and seconds > cluster.wall_seconds:
        most = shown_seconds(cluster.wall_seconds)
        yield Refusal("resources.time", f"is more than the {most} a job may have there")


def _foreign(resources: Resources, cluster: Cluster) -> Iterator[Refusal]:
    if resources.gpu_type is not None and resources.gpu_type not in cluster.gpu_types:
        known = ", ".join(sorted(cluster.gpu_types)) or "none is described"
        yield Refusal("resources.gpu_type", f"is not known of this cluster; its types are: {known}")
    if resources.array is not None:
        yield from _no_array(resources.array)
    for name in ("partition", "account", "qos", "constraint", "licenses"):
        if getattr(resources, name) is not None:
            yield Refusal(f"resources.{name}", "means something to Slurm only")


def _no_array(array: str) -> Iterator[Refusal]:
    try:
        many = len(arrays.numbers(array))
        arrays.at_once(array)
    except ValueError as error:
        yield Refusal("resources.array", f"cannot be read: {error}")
        return
    if many > ARRAY_TASKS:
        yield Refusal("resources.array", f"has {many} tasks, and {ARRAY_TASKS} are the most of one job there")


def _no_software(environment: Environment, cluster: Cluster) -> Iterator[Refusal]:
    if environment.modules:
        instead = "are not there in a container; name an image that has them in environment.container"
        yield Refusal("environment.modules", instead)
    for name in ("venv", "conda"):
        said = getattr(environment, name)
        if said is not None and not said.startswith("/"):
            yield Refusal(f"environment.{name}", "has to be an absolute path inside the image")
    try:
        image_of(environment, cluster)
    except ValueError as error:
        yield Refusal("environment.container", str(error).removeprefix("environment.container: "))


# --- how it is asked


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one job, as far as a cluster is told of it."""

    job: str
    run: int
    name: str
    resources: Resources = Resources()
    environment: Environment = Environment()
    # For whom the hub's account does this: ids as labels, and how the person is called.
    person: str = ""
    session: str = ""
    handle: str = ""

    @property
    def tasks(self) -> tuple[int, ...]:
        """The numbers of an array's tasks; none for a job that is no array. Raises ValueError."""
        return () if self.resources.array is None else tuple(arrays.numbers(self.resources.array))

    @property
    def wall_seconds(self) -> int:
        return self.resources.amounts().wall_seconds or limits.JOB_WALLTIME_SECONDS

    @property
    def memory_bytes(self) -> int:
        return self.resources.amounts().memory_bytes or limits.JOB_MEMORY_BYTES


def labels(hub: str, job: str, run: int) -> dict[str, str]:
    return {HUB: short(hub), JOB: job, RUN: str(run), PART: "job"}


def manifest(work: Work, hub: str, cluster: Cluster) -> dict[str, Any]:
    """The Job. Raises ValueError where `refusals` would have said why."""
    if found := refusals(work.resources, work.environment, cluster):
        raise ValueError(f"{found[0].path} {found[0].reason}")
    marks = labels(hub, work.job, work.run)
    marks |= {key: said for key, said in ((PERSON, work.person), (SESSION, work.session)) if said}
    noted = {NAME: work.name[:300], **({HANDLE: work.handle} if work.handle else {})}
    marks[NETWORK] = "yes" if work.environment.network else "no"
    amounts = {
        "cpu": str(work.resources.cpus_per_node),
        "memory": str(work.memory_bytes),
        "ephemeral-storage": str(cluster.temporary_bytes),
    }
    if work.resources.gpus:
        amounts[cluster.gpu_resource] = str(work.resources.gpus)
    # What is asked for is what is had: a node never promises more memory than it has.
    asked = {**amounts, "ephemeral-storage": str(min(cluster.temporary_bytes, 64 << 20))}
    container = {
        "name": "job",
        "image": image_of(work.environment, cluster),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", f"{MOUNT}/run.sh"],
        "env": [{"name": "COLLEGIUM_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
        "resources": {"requests": asked, "limits": amounts},
        "volumeMounts": [
            {"name": "workspace", "mountPath": MOUNT, "subPath": folder_of(hub, work.job, work.run)},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108  (its own, inside the container)
            {"name": "memory", "mountPath": "/dev/shm"},  # noqa: S108
        ],
        "securityContext": _UNPRIVILEGED,
    }
    pod = _pod(cluster, container)
    pod["volumes"] += [
        {"name": "temporary", "emptyDir": {"sizeLimit": str(cluster.temporary_bytes)}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": str(work.memory_bytes // 2)}},
    ]
    # The wrapper ends a program whose time is up; this ends a pod that never came so far. It counts from the moment a
    # node has taken the pod, so that waiting for a node costs nobody anything.
    pod["activeDeadlineSeconds"] = work.wall_seconds + cluster.start_seconds
    selector = {**cluster.node_selector, **cluster.gpu_types.get(work.resources.gpu_type or "", {})}
    pod |= {"nodeSelector": selector} if selector else {}
    pod |= {"priorityClassName": cluster.priority_class} if cluster.priority_class else {}
    described: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(hub, work.job, work.run),
            "labels": {**marks, **({QUEUE: cluster.queue} if cluster.queue else {})},
            "annotations": {**noted, TOKEN: token_of(hub, work.job, work.run)},
        },
        "spec": {
            **_times(work),
            "podReplacementPolicy": "Failed",
            "template": {"metadata": {"labels": marks, "annotations": noted}, "spec": pod},
        },
    }
    if cluster.queue:
        described["spec"]["suspend"] = True  # Kueue lets it go when it is its turn.
    return described


def _times(work: Work) -> dict[str, Any]:
    """How many pods it has. Nothing is run again by anybody but the hub."""
    tasks = work.tasks
    if not tasks:
        return {"backoffLimit": 0, "completions": 1, "parallelism": 1}
    at_once = arrays.at_once(work.resources.array or "")
    return {
        "completionMode": "Indexed",
        "completions": len(tasks),
        "parallelism": min(len(tasks), at_once or len(tasks)),
        # One task that fails ends no other.
        "backoffLimitPerIndex": 0,
    }


def porter(name: str, hub: str, cluster: Cluster) -> dict[str, Any]:
    """A Job whose pod holds the workspace volume and does nothing, so that files can be brought and fetched by it."""
    marks = {HUB: short(hub), PART: "porter", NETWORK: "no"}
    small = {"cpu": "500m", "memory": "128Mi", "ephemeral-storage": "16Mi"}
    container = {
        "name": "porter",
        "image": cluster.porter_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 60 & wait $!; done"],
        "resources": {"requests": {**small, "cpu": "20m"}, "limits": small},
        "volumeMounts": [{"name": "workspace", "mountPath": MOUNT}],
        "securityContext": {**_UNPRIVILEGED, "readOnlyRootFilesystem": True},
    }
    pod = _pod(cluster, container)
    pod |= {"activeDeadlineSeconds": cluster.porter_seconds, "terminationGracePeriodSeconds": 5}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": marks},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 60,
            "template": {"metadata": {"labels": marks}, "spec": pod},
        },
    }


# What the strictest of Kubernetes' own standards for pods ("restricted") asks.
_UNPRIVILEGED: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _pod(cluster: Cluster, container: dict[str, Any]) -> dict[str, Any]:
    secrets = [{"name": each} for each in cluster.pull_secrets]
    return {
        "restartPolicy": "Never",
        "containers": [container],
        "terminationGracePeriodSeconds": cluster.grace_seconds + WIND_UP_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": cluster.user,
            "runAsGroup": cluster.user,
            "fsGroup": cluster.user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "workspace", "persistentVolumeClaim": {"claimName": cluster.claim}}],
        **({"imagePullSecrets": secrets} if secrets else {}),
    }


def is_ours(job: Mapping[str, Any], hub: str, of_job: str, run: int) -> bool:
    """Whether a Job that bears a run's name was made for that run."""
    annotations = job.get("metadata", {}).get("annotations") or {}
    return bool(annotations.get(TOKEN) == token_of(hub, of_job, run))
