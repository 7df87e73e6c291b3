"""What can be read about jobs: one, a list, a workflow, pieces of a log."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts.tables import versions
from hub.core import limits
from hub.core.context import Context, Scope
from hub.core.errors import InvalidInput
from hub.core.keys import unseal
from hub.jobs import (
    afterwards,
    logs,
    plans,
    progress,
    reading,
    rules,
    turns,
    vanishing,
    workflow_budget,
)
from hub.jobs.afterwards import CostView, EfficiencyView
from hub.jobs.amounts import shown_seconds
from hub.jobs.clusters.tables import cluster_accounts
from hub.jobs.clusters.views import kind_of
from hub.jobs.placement import Line
from hub.jobs.requests import Environment, Resources
from hub.jobs.rules import State
from hub.jobs.step_tables import workflow_steps
from hub.jobs.tables import backends, jobs, workflows
from hub.jobs.transitions import ONE, Job
from hub.people.views import PersonView, people
from hub.sessions.names import full_name, known_sessions

AGENT_ABSENT = "Waiting for its owner's own agent, which is not connected."
CERTIFICATE_ENDED = "Waiting for its owner to give a new certificate: the last one has ended."


class ProgressView(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is by what it printed, and how long it will take if it goes on like that."""

    fraction: float
    said: str
    done: int | None = None
    total: int | None = None
    rate_per_second: float | None = None
    remaining_seconds: float | None = None


class InputView(msgspec.Struct, frozen=True, kw_only=True):
    """A file the job was given, at the version it was given."""

    path: str
    version: str
    digest: str
    size_bytes: int
    url: str


class OutputView(msgspec.Struct, frozen=True, kw_only=True):
    """A file the job made. `kind` is `reference` for one that was too large to be fetched."""

    path: str
    version: str
    number: int
    kind: str
    digest: str | None
    size_bytes: int
    media_type: str
    url: str


class ScriptView(msgspec.Struct, frozen=True, kw_only=True):
    """What was run: `text` when it was written out, `path` when it is a file of the session."""

    kind: str
    digest: str
    interpreter: tuple[str, ...]
    path: str | None = None
    text: str | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts that were asked for, or used; None where nothing is known."""

    cpus: float | None = None
    memory_bytes: int | None = None
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    disk_bytes: int | None = None
    processes: int | None = None


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a workflow: `after` and `awaits` are the edges of its graph."""

    step: str
    job: str
    number: int
    state: State
    reason: str
    after: tuple[str, ...]
    awaits: dict[str, str]
    url: str


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job in a list. `name` is what it is called, `ref` how people say which one, `reason` its state in words."""

    id: str
    number: int
    ref: str
    session: str
    session_name: str
    name: str
    state: State
    reason: str
    backend: str
    submitted_by: PersonView
    submitted_at: dt.datetime
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    exit_code: int | None = None
    place_in_queue: int | None = None
    progress: ProgressView | None = None
    workflow: str | None = None
    step: str | None = None
    url: str


class KeptView(msgspec.Struct, frozen=True, kw_only=True):
    """A step that was not run, because an earlier job stands for it; `goes_into` are those that take its results."""

    step: str
    job: str
    number: int
    goes_into: tuple[str, ...]
    url: str


class WorkflowView(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow and its steps, in the order they were given; `kept` are those that were not run again.

    `deadline` and `budget` are of all steps together, `comes_to` what they have cost and may cost yet.
    """

    workflow: str
    name: str
    session: str
    session_name: str
    steps: list[StepView]
    jobs: list[str]
    kept: list[KeptView] = []
    deadline: dt.datetime | None = None
    budget: float | None = None
    comes_to: float | None = None


class JobView(JobRow, frozen=True, kw_only=True):
    """Everything about one job.

    `held` is whether it waits to be released, `wish` what its cluster is being asked, `may` what the reader may wish.
    One that is `attached` was submitted outside the hub, which has no script of it.
    """

    job_type: str
    cancel_asked: bool
    attached: bool
    held: bool
    wish: rules.Wish | None
    may: tuple[rules.Wish, ...]
    queued_at: dt.datetime | None = None
    script: ScriptView
    args: tuple[str, ...]
    env: dict[str, str]
    inputs: list[InputView]
    outputs: list[OutputView]
    declared_outputs: tuple[str, ...]
    resources: Resources
    environment: Environment
    found_environment: dict[str, Any] | None
    asked: Usage
    used: Usage
    efficiency: EfficiencyView | None
    cost: CostView | None
    sandboxed: bool | None
    notes: tuple[str, ...]
    unfetched: int | None  # files that lie only where the job ran
    vanishes_at: dt.datetime | None  # from when on these may be gone
    log_size_bytes: int
    log_total_bytes: int
    log_done: bool
    of_workflow: WorkflowView | None = None
    placed: plans.PlacedView | None = None


class JobsView(msgspec.Struct, frozen=True):
    """A page of jobs, the newest first."""

    jobs: list[JobRow]
    cursor: str | None


class LogPiece(msgspec.Struct, frozen=True):
    """Bytes of a log from `offset`; `size` is how much there is, `done` whether more can come.

    `followed` is false when there may be more already where the job runs, which is being asked for now.
    """

    offset: int
    size: int
    done: bool
    data: bytes
    followed: bool = True


def looked_at(scope: Scope, ref: str) -> JobView:
    """One job for somebody who looks at it: how far it is stands in its log, which is followed for a while."""
    view = job(scope, ref)
    reading.look(scope, view.id)
    return view


def job(scope: Scope, ref: str) -> JobView:
    """One job by any name it has."""
    return made(scope, scope.access.find("job", ref, "job:read"))


def made(scope: Scope, job_id: str) -> JobView:
    """One job by its id, for somebody whose right to see it is known, as of one that they have just made."""
    row = scope.execute(ONE, {"which": job_id}).one()
    base = _rows(scope, [row])[0]
    end: dict[str, Any] = row.exit or {}
    resources = msgspec.convert(row.resources, Resources)
    wanted = resources.amounts()
    kept = logs.store(scope.settings.data).size(row.id)
    vanishes = vanishing.at(scope, row)
    return JobView(
        **msgspec.structs.asdict(base),
        job_type=row.job_type,
        cancel_asked=row.cancel_asked_at is not None,
        attached=row.attached,
        held=is_held(row),
        wish=row.wish if row.state in rules.GRANTED.get(row.wish, {}) else None,
        may=_may(scope, row),
        queued_at=row.queued_at,
        script=_script(scope, row),
        args=tuple(row.args),
        env=row.env,
        inputs=[_input(scope, each) for each in row.inputs],
        outputs=_outputs(scope, row.id),
        declared_outputs=tuple(row.outputs),
        resources=resources,
        environment=msgspec.convert(row.environment, Environment),
        found_environment=row.found,
        asked=Usage(
            cpus=resources.cpus_per_node,
            memory_bytes=wanted.memory_bytes or limits.JOB_MEMORY_BYTES,
            wall_seconds=wanted.wall_seconds or limits.JOB_WALLTIME_SECONDS,
            disk_bytes=limits.JOB_DISK_BYTES,
            processes=limits.JOB_PROCESSES,
        ),
        used=Usage(
            cpus=round(end["cpu_seconds"] / end["seconds"], 2) if end.get("seconds") else None,
            memory_bytes=end.get("peak_memory_bytes"),
            wall_seconds=end.get("seconds"),
            cpu_seconds=end.get("cpu_seconds"),
            disk_bytes=end.get("peak_disk_bytes"),
            processes=end.get("peak_processes"),
        ),
        efficiency=afterwards.efficiency_of(row, resources, end),
        cost=afterwards.cost_of(scope, row, resources),
        sandboxed=end.get("sandboxed", (row.found or {}).get("sandboxed")),
        notes=(*row.notes, *vanishing.warning(row, vanishes, scope.now)),
        unfetched=row.unfetched,
        vanishes_at=vanishes,
        log_size_bytes=kept,
        log_total_bytes=end.get("log_bytes", kept),
        log_done=row.log_done,
        of_workflow=None if row.workflow is None else workflow(scope, row.workflow),
        placed=plans.placed(scope, row.id),
    )


def is_held(row: Job) -> bool:
    """Whether somebody holds it back: here, or on its cluster."""
    return bool(row.state == "HELD" or (row.state == "PENDING" and row.waits_for == rules.HELD_BACK))


def _may(scope: Scope, row: Job) -> tuple[rules.Wish, ...]:
    """What the reader may wish of it now, that it is not already."""
    own = row.submitted_by == scope.actor.id
    if row.cancel_asked_at is not None or not scope.access.may(row.session, "job:cancel" if own else "job:cancel_any"):
        return ()
    held = is_held(row)
    there = rules.ASKED_THERE.get(kind_of(scope, row.account), frozenset())
    if row.attached and not own:
        return ()
    useful = {"hold": not held, "release": held, "requeue": own}
    granted = {wish: rules.GRANTED[wish].get(row.state) for wish in rules.WISHES}
    return tuple(
        wish for wish in rules.WISHES if useful[wish] and granted[wish] and (granted[wish] != "there" or wish in there)
    )


def job_list(scope: Scope, session: str | None = None, cursor: str | None = None, state: str = "") -> JobsView:
    """Jobs of one session, or of all that the actor takes part in; the newest first."""
    query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limits.PAGE_ITEMS + 1)
    if session is not None:
        query = query.where(jobs.c.session == scope.access.session(session, "job:read"))
    else:
        query = query.where(jobs.c.session.in_(known_sessions(scope).scalar_subquery()))
    if state:
        wanted = [word.strip().upper() for word in state.split(",")]
        if unknown := sorted(set(wanted) - set(rules.STATES)):
            raise InvalidInput(f"there is no state {', '.join(unknown)[:100]}", path="state", errors=list(rules.STATES))
        query = query.where(jobs.c.state.in_(wanted))
    if cursor:
        query = query.where(jobs.c.id < cursor)
    found = [row for row in scope.execute(query).all() if scope.access.may(row.session, "job:read")]
    rows = found[: limits.PAGE_ITEMS]
    return JobsView(_rows(scope, rows), rows[-1].id if len(found) > len(rows) else None)


def some(scope: Scope, ids: set[str]) -> list[JobRow]:
    """Jobs by id, in one look; for the hub's own services, which have seen to it who is shown them."""
    return _rows(scope, list(scope.execute(sa.select(jobs).where(jobs.c.id.in_(ids))).all()))


def some_looked_at(scope: Scope, ids: set[str]) -> list[JobRow]:
    """The same for cards that people have before them, on which it stands how far each job is."""
    reading.look_all(scope, ids)
    return some(scope, ids)


def workflow(scope: Scope, workflow_id: str) -> WorkflowView:
    """A workflow as its graph; the caller has seen to the right to see it, by one of its jobs."""
    head = scope.execute(sa.select(workflows).where(workflows.c.id == workflow_id)).one()
    rows = scope.execute(sa.select(jobs).where(jobs.c.workflow == workflow_id).order_by(jobs.c.number)).all()
    steps = {row.id: row.step for row in rows}
    kept = scope.execute(
        sa.select(workflow_steps.c.step, workflow_steps.c.kept_for, jobs.c.id, jobs.c.number)
        .join(jobs, jobs.c.id == workflow_steps.c.kept)
        .where(workflow_steps.c.workflow == workflow_id)
        .order_by(jobs.c.number)
    ).all()
    return WorkflowView(
        workflow=workflow_id,
        name=head.name,
        session=head.session,
        session_name=full_name(scope, head.session),
        deadline=head.deadline,
        budget=head.budget,
        comes_to=None if head.budget is None else head.spent + sum(workflow_budget.costs(scope, workflow_id).values()),
        jobs=[row.id for row in rows],
        kept=[
            KeptView(
                step=row.step,
                job=row.id,
                number=row.number,
                goes_into=tuple(row.kept_for or ()),
                url=_url(scope, row.id),
            )
            for row in kept
        ],
        steps=[
            StepView(
                step=row.step,
                job=row.id,
                number=row.number,
                state=row.state,
                reason=rules.sentence(
                    row.state,
                    row.reason,
                    cancel_asked=row.cancel_asked_at is not None,
                    waits_for=row.waits_for,
                    wish=row.wish,
                ),
                after=tuple(steps[each] for each in row.after),
                awaits={path: steps[maker] for path, maker in row.awaits.items()},
                url=_url(scope, row.id),
            )
            for row in rows
        ],
    )


def log_piece(scope: Scope, ref: str, offset: int = 0, limit: int = logs.PAGE_BYTES) -> LogPiece:
    """Bytes of a job's log; ask again from `offset + len(data)` until that is `size` and `done` is true."""
    job_id = scope.access.find("job", ref, "job:read")
    # First whether it is complete, then how much there is: the other order could miss the last bytes.
    done = bool(scope.execute(sa.select(jobs.c.log_done).where(jobs.c.id == job_id)).scalar())
    store = logs.store(scope.settings.data)
    size = store.size(job_id)
    if not 0 <= offset <= size:
        raise InvalidInput(f"the log has {size} bytes; `offset` lies beyond", code="bad_offset", path="offset")
    followed = done or reading.look(scope, job_id)
    return LogPiece(offset, size, done, store.read(job_id, offset, limit), followed)


def _absent(scope: Scope, accounts: set[str]) -> dict[str, str]:
    """Those of these accounts that nobody signs in with until their person does something, and what they wait for."""
    if not accounts:
        return {}
    gone = sa.or_(backends.c.lease_until.is_(None), backends.c.lease_until <= scope.now)
    ended = cluster_accounts.c.certificate_until <= scope.now
    found = scope.execute(
        sa.select(cluster_accounts.c.id, cluster_accounts.c.kind)
        .outerjoin(backends, backends.c.name == cluster_accounts.c.id)
        .where(
            cluster_accounts.c.id.in_(accounts),
            sa.or_(
                sa.and_(cluster_accounts.c.kind == "agent", gone),
                sa.and_(cluster_accounts.c.kind == "certificate", ended),
            ),
        )
    )
    return {row.id: AGENT_ABSENT if row.kind == "agent" else CERTIFICATE_ENDED for row in found}


def _rows(scope: Scope, rows: list[Job]) -> list[JobRow]:
    who = people(scope, {row.submitted_by for row in rows})
    names = {session: full_name(scope, session) for session in {row.session for row in rows}}
    queue, places = Line(order=()), dict[str, int]()
    if any(row.state == "QUEUED" and row.account is None for row in rows):
        queue = turns.line(scope)
        places = {each.job: place for place, each in enumerate(queue.order, start=1)}
    absent = _absent(scope, {row.account for row in rows if row.state == "SUBMITTING" and row.account})
    return [
        JobRow(
            id=row.id,
            number=row.number,
            ref=f"{names[row.session]}#{row.number}",
            session=row.session,
            session_name=names[row.session],
            name=row.name,
            state=row.state,
            reason=rules.sentence(
                row.state,
                row.reason,
                turn=queue.sentence(row.id) if row.id in places else None,
                cancel_asked=row.cancel_asked_at is not None,
                waits_for=absent.get(row.account or "", row.waits_for),
                wish=row.wish,
            ),
            backend=row.backend,
            submitted_by=who[row.submitted_by],
            submitted_at=row.submitted_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            exit_code=(row.exit or {}).get("code"),
            place_in_queue=places.get(row.id),
            progress=_progress(row, scope.now),
            workflow=row.workflow,
            step=row.step,
            url=_url(scope, row.id),
        )
        for row in rows
    ]


def _progress(row: Job, now: dt.datetime) -> ProgressView | None:
    if row.progress is None or row.state not in ("RUNNING", "COLLECTING"):
        return None
    known = msgspec.convert(row.progress, progress.Progress)
    said = f"{known.done} of {known.total}" if known.total else f"{known.fraction:.0%}"
    rest = known.remaining_seconds
    if rest is not None:
        # The estimate was made when the reading came in; time has passed since.
        rest = max(0.0, rest - max(0.0, now.timestamp() - known.at))
        said += f", about {shown_seconds(rest)} left" if rest >= 1 else ", nearly there"
    return ProgressView(
        fraction=round(known.fraction, 4),
        said=said,
        done=known.done,
        total=known.total,
        rate_per_second=known.rate * known.total if known.rate is not None and known.total else known.rate,
        remaining_seconds=rest,
    )


def _script(scope: Scope, row: Job) -> ScriptView:
    text = None
    if row.script_sealed is not None:
        # Within an action the key may be as new as the job, and not committed yet.
        keys = scope.house.keys
        key = keys.domain_in(scope.tx, row.session) if isinstance(scope, Context) else keys.domain(row.session)
        text = unseal(key, row.script_sealed, f"script:{row.id}").decode()
    return ScriptView(
        kind=row.script_kind,
        digest=f"sha256:{row.script_digest}" if row.script_digest else "",
        interpreter=tuple(row.interpreter),
        path=row.script_path,
        text=text,
    )


def _input(scope: Scope, given: dict[str, Any]) -> InputView:
    return InputView(
        path=given["path"],
        version=given["version"],
        digest=f"sha256:{given['digest']}",
        size_bytes=given["size"],
        url=f"{scope.settings.origin}/artifacts/{given['version']}",
    )


_OUTPUTS = sa.select(versions).where(versions.c.job == sa.bindparam("which")).order_by(versions.c.path)


def _outputs(scope: Scope, job_id: str) -> list[OutputView]:
    return [
        OutputView(
            path=row.path,
            version=row.id,
            number=row.number,
            kind=row.kind,
            digest=None if row.digest is None else f"sha256:{row.digest}",
            size_bytes=row.size,
            media_type=row.media_type,
            url=f"{scope.settings.origin}/artifacts/{row.id}",
        )
        for row in scope.execute(_OUTPUTS, {"which": job_id})
    ]


def _url(scope: Scope, job_id: str) -> str:
    return f"{scope.settings.origin}/jobs/{job_id}"
