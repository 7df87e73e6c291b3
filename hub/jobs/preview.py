"""A dry run: what would run, made by the very code that stages the real run. Nothing is recorded and nothing sent.

Two things exist only once a job does: its id and what is made from it. In what is shown, JOB stands for the id, TOKEN
for the mark by which a cluster's jobs are found again, and /HOME for the home of the account on the cluster. On this
machine paths are told from the folder of the job's run.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts.blobs import BlobStore
from hub.core.context import Scope
from hub.core.errors import InvalidInput
from hub.jobs import quotas, seen, starting
from hub.jobs.actions import SubmitJob, SubmitWorkflow, wished_job, wished_steps
from hub.jobs.assumed import AssumedFile, DryScope
from hub.jobs.clusters.tables import clusters
from hub.jobs.clusters.views import kubernetes
from hub.jobs.plans import Settled
from hub.jobs.submission import Submission, row
from hub.sessions.names import full_name

JOB, TOKEN, HOME = "JOB", "TOKEN", "/HOME"
# So much of a script that is a file of the session is shown.
SHOWN_BYTES = 64 << 10


class PreviewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it would lie in the run's folder."""

    path: str
    text: str


class PreviewInput(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the session that the job would be given."""

    path: str
    digest: str
    size_bytes: int


class PreviewOption(msgspec.Struct, frozen=True, kw_only=True):
    """An option of sbatch: who asked for it, and why it lost where it did; empty for one that is asked for."""

    option: str
    by: str
    lost_because: str = ""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """One job as it would run.

    `command` is what is called: the program on this machine, `sbatch` on Slurm. `around` stands before it (a sandbox).
    `limits` are in bytes, seconds and numbers; `manifest` is a Job of Kubernetes, as YAML.
    """

    name: str
    step: str | None = None
    backend: str
    kind: str
    command: list[str]
    around: list[str] = []
    folder: str = ""
    variables: dict[str, str] = {}
    limits: dict[str, int] = {}
    options: list[PreviewOption] = []
    manifest: str = ""
    files: list[PreviewFile]
    inputs: list[PreviewInput]
    script: str
    script_digest: str
    waits_for: list[str] = []
    notes: list[str]


class Previews(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission would start. `kept` are steps that stand from before; `changed` must be confirmed first."""

    session: str
    session_name: str
    name: str
    jobs: list[Preview]
    kept: list[str] = []
    changed: list[seen.Changed] = []


def preview(scope: Scope, act: Any, files: Sequence[AssumedFile] = ()) -> Previews:
    """What the submission would start. Raises what the submission itself would; what changed is told, not asked.

    `files` are those that would be uploaded first.
    """
    if files:
        scope = DryScope(scope, files)
    if isinstance(act, SubmitJob):
        wished = wished_job(act, scope)
        job = _with_quotas(scope, wished.job, [wished.settled])
        return _previews(scope, job.session, job.name, [_shown(scope, job)], [wished.changed])
    if not isinstance(act, SubmitWorkflow):
        raise InvalidInput(
            "only a submission can be tried dry", code="no_dry_run", path="$.params.action", hint="use job_submit"
        )
    steps = wished_steps(act, scope)
    settled = [each for name, each in steps.settled.items() if name not in steps.kept]
    left = {name: _with_quotas(scope, job, settled) for name, job in steps.left().items()}
    after = {plan.name: plan.after for plan in steps.planned}
    shown = [_shown(scope, job, [each for each in after[name] if each in left]) for name, job in left.items()]
    found = _previews(scope, steps.session, steps.name, shown, steps.changed)
    return msgspec.structs.replace(found, kept=[plan.name for plan in steps.planned if plan.name in steps.kept])


def _with_quotas(scope: Scope, job: Submission, settled: Sequence[Settled]) -> Submission:
    """The job with what these submissions together would break of a quota, or come close to."""
    over, warnings = quotas.judge(scope, job.session, settled)
    refused = [f"It would be refused: {each}" for each in over]
    return msgspec.structs.replace(job, notes=[*job.notes, *refused, *warnings])


def _previews(
    scope: Scope, session: str, name: str, shown: list[Preview], changed: list[seen.Changed | None]
) -> Previews:
    return Previews(
        session=session,
        session_name=full_name(scope, session),
        name=name,
        jobs=shown,
        changed=seen.with_diffs(scope, session, changed),
    )


def _shown(scope: Scope, job: Submission, after: list[str] | None = None) -> Preview:
    """One job. It goes through the code that would stage it, as the row it would have."""
    made = row(scope, job, JOB, 0)
    # As a database gives it back.
    stored = msgspec.json.decode(msgspec.json.encode({key: made[key] for key in _JSON}))
    as_row = types.SimpleNamespace(**{**made, **stored, "run": 1, "placed_at": scope.now, "script_sealed": None})
    found = _local(scope, as_row, job) if job.target.account is None else _on_cluster(scope, as_row, job)
    return msgspec.structs.replace(
        found,
        step=job.step,
        files=[*found.files, *_script_of(scope, job)],
        inputs=[
            PreviewInput(path=each["path"], digest=f"sha256:{each['digest']}", size_bytes=each["size"])
            for each in job.inputs
        ],
        waits_for=after or [],
        notes=[*found.notes, *job.notes, *([f"It waits for {', '.join(after)}."] if after else [])],
    )


_JSON = ("interpreter", "args", "env", "inputs", "outputs", "fetch_patterns", "resources", "environment")


def _base(job: Submission, kind: str, files: dict[str, str], **known: Any) -> Preview:
    return Preview(
        name=job.name,
        backend=job.target.backend,
        kind=kind,
        files=[PreviewFile(path=path, text=text) for path, text in files.items()],
        inputs=[],
        script=job.script.file["path"] if job.script.file else "",
        script_digest=f"sha256:{job.script.digest}",
        **known,
    )


def _local(scope: Scope, as_row: Any, job: Submission) -> Preview:
    try:
        planned = starting.planned(scope.settings, as_row, job.script.text)
    except starting.CannotStart as reason:
        return _base(job, "local", {}, command=[], notes=[f"It would end at once: {reason}"])
    spec, place = planned.spec, str(starting.local(scope.settings).folder(JOB, 1))

    def told(text: str) -> str:
        """As seen from the job's folder: where that lies on the hub's machine is nothing a submitter needs to know."""
        return text.replace(f"{place}/", "").replace(place, ".")

    return _base(
        job,
        "local",
        {path: told(text) for path, text in planned.written.items()},
        command=[told(each) for each in spec["argv"]],
        around=[told(each) for each in spec["wrapper"]],
        folder=told(spec["cwd"]),
        variables={name: told(value) for name, value in spec["env"].items()},
        limits=spec["limits"],
        notes=[f"{JOB} stands for the id that the job will have; paths without a leading / are in its folder."],
    )


def _on_cluster(scope: Scope, as_row: Any, job: Submission) -> Preview:
    # Here and not above: what speaks to clusters is nothing that the web process carries about.
    from hub.jobs.backends import far_side, slurm_prepare, slurm_rules
    from hub.jobs.backends.kubernetes_rules import Cluster
    from hub.jobs.clusters.house_port import order_of

    cluster = scope.execute(sa.select(clusters).where(clusters.c.name == job.target.backend)).one()
    store = scope.port(BlobStore)  # type: ignore[type-abstract]
    order = order_of(store, as_row, job.script.text, cluster.defaults, scope.actor.handle)
    if (there := kubernetes(scope, cluster.id)) is not None:
        try:
            made = on_kubernetes(order, str(job.target.account), msgspec.convert(there.described, Cluster))
        except ValueError as fault:
            return _base(job, "kubernetes", {}, command=[], notes=[f"{job.target.backend} would refuse it: {fault}"])
        return msgspec.structs.replace(
            made, name=job.name, backend=job.target.backend, script_digest=f"sha256:{job.script.digest}",
            script=job.script.file["path"] if job.script.file else "",
        )  # fmt: skip
    root = cluster.root or far_side.below_home(str(job.target.account))
    if not root.startswith("/"):
        root = f"{HOME}/{root}"
    try:
        planned = slurm_prepare.planned(order, root, lambda _: iter(()))
    except ValueError as fault:
        return _base(job, "slurm", {}, command=[], notes=[f"{job.target.backend} would refuse it: {fault}"])
    options = [*slurm_rules.known_by(order.name, TOKEN), *planned.options]
    named = [f"{JOB} stands for the id that the job will have, {TOKEN} for its mark there."]
    if root.startswith(f"{HOME}/"):
        named.append(f"{HOME} stands for your home on {job.target.backend}.")
    return _base(
        job,
        "slurm",
        planned.laid.written(),
        command=far_side.sbatch(root, order.job, order.run, options),
        folder=far_side.folder_of(root, order.job, order.run),
        variables=order.variables,
        options=[
            PreviewOption(option=each.option, by=each.by, lost_because=each.lost_because) for each in planned.choices
        ],
        notes=named,
    )


def on_kubernetes(order: Any, hub: str, cluster: Any) -> Preview:
    """A job as a cluster of Kubernetes would be given it. Raises ValueError for what cannot be had there."""
    from hub.jobs.backends import kubernetes_prepare

    work, laid = kubernetes_prepare.planned(order, cluster, lambda _: iter(()))
    return Preview(
        name=order.name,
        backend="kubernetes",
        kind="kubernetes",
        command=["/bin/sh", "/collegium/run.sh"],
        variables=order.variables,
        manifest=kubernetes_prepare.shown(work, hub, cluster),
        files=[PreviewFile(path=path, text=text) for path, text in laid.written().items()],
        inputs=[],
        script=order.script_path,
        script_digest="",
        notes=[],
    )


def _script_of(scope: Scope, job: Submission) -> list[PreviewFile]:
    """The script, where it is a file of the session and the submitter may read files there."""
    file = job.script.file
    if file is None or not scope.access.may(job.session, "artifact:read"):
        return []
    store = scope.port(BlobStore)  # type: ignore[type-abstract]
    text = b"".join(store.open(job.script.digest, job.session, 0, min(file["size"], SHOWN_BYTES)))
    more = "\n... and more, which is not shown here\n" if file["size"] > SHOWN_BYTES else ""
    return [PreviewFile(path=f"work/{file['path']}", text=text.decode(errors="replace") + more)]
