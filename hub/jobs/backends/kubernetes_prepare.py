"""From an order to what is brought to a Kubernetes cluster: the run's folder as an archive, and the Job's measures.

Nothing is set up that was not asked for: a job that asks for nothing is its interpreter and its script, in its image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from hub.jobs.backends import kubernetes_rules, pod_side
from hub.jobs.backends.kubernetes_rules import MOUNT, Cluster, Work
from hub.jobs.backends.pod_side import Program, command
from hub.jobs.backends.staging import Content, Laid, lay, text
from hub.jobs.port import Order

Fetch = Callable[[str], Iterator[bytes]]

TEMPORARY = "/tmp"  # noqa: S108  (its own, inside the container)


def prepare(order: Order, cluster: Cluster, target: Path, fetch: Fetch) -> Work:
    """Write the archive of the run's folder. Raises ValueError for what cannot be had on such a cluster."""
    work, laid = planned(order, cluster, fetch)
    lay(target, laid, order.at)
    return work


def shown(work: Work, hub: str, cluster: Cluster) -> str:
    """The Job as `kubectl` would be given it. Raises ValueError as `planned`."""
    import yaml  # type: ignore[import-untyped]  # comes with the client of Kubernetes, which only hubs with such clusters have

    return str(yaml.safe_dump(kubernetes_rules.manifest(work, hub, cluster), sort_keys=False, allow_unicode=True))


def planned(order: Order, cluster: Cluster, fetch: Fetch) -> tuple[Work, Laid]:
    """The same without writing anything: what a dry run shows. Raises ValueError."""
    if found := kubernetes_rules.refusals(order.resources, order.environment, cluster):
        raise ValueError(". ".join(f"{each.path} {each.reason}" for each in found))
    work = Work(
        job=order.job,
        run=order.run,
        name=order.name,
        resources=order.resources,
        environment=order.environment,
        person=order.person,
        session=order.session,
        handle=order.handle,
    )
    around = order.environment
    script = f"{MOUNT}/given/script" if order.script is not None else f"{MOUNT}/work/{order.script_path}"
    plain = [*order.interpreter, script, *order.args]
    lines = ["set -e", *around.setup, f"exec {command(plain)}"] if around.setup else []
    cpus = str(order.resources.cpus_per_node)
    program = Program(
        command=["sh", f"{MOUNT}/given/start.sh"] if lines else plain,
        variables={
            "HOME": TEMPORARY,
            "TMPDIR": TEMPORARY,
            "PYTHONUNBUFFERED": "1",  # so that a log is live
            "PYTHONPATH": f"{MOUNT}/work",
            "OMP_NUM_THREADS": cpus,
            "OPENBLAS_NUM_THREADS": cpus,
            **({"VIRTUAL_ENV": around.venv} if around.venv else {}),
            **({"CONDA_PREFIX": around.conda} if around.conda else {}),
            **order.variables,
            "COLLEGIUM_JOB": order.job,
            "COLLEGIUM_INPUTS": f"{MOUNT}/given/inputs.json",
        },
        wall_seconds=work.wall_seconds,
        grace_seconds=cluster.grace_seconds,
        workdir=order.workdir,
        path=[f"{each}/bin" for each in (around.venv, around.conda) if each],
        tasks=work.tasks,
    )
    manifest = [{**each, "digest": f"sha256:{each['digest']}"} for each in order.inputs]
    contents = [
        text("run.sh", pod_side.run_script(order.job, order.run, program)),
        *([text("array", str(len(work.tasks)))] if work.tasks else []),
        text("given/inputs.json", msgspec.json.encode(manifest)),
        *([text("given/script", order.script)] if order.script is not None else []),
        *([text("given/start.sh", "\n".join(lines) + "\n")] if lines else []),
        *(Content(f"work/{each['path']}", each["size"], fetch(each["digest"])) for each in order.inputs),
    ]
    folders = ["given", "work", *([f"work/{order.workdir}"] if order.workdir else [])]
    return work, Laid(contents, folders)
