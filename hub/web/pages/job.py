"""A job: its state in a sentence, the stations of its way, its log, what it was given, made and used."""

from __future__ import annotations

import datetime as dt

import msgspec
from markupsafe import Markup

from hub.artifacts import views as artifacts
from hub.artifacts.lineage import Edge, Graph, Node
from hub.core.context import Scope
from hub.core.errors import Conflict
from hub.jobs import rules
from hub.jobs import views as jobs
from hub.jobs.clusters import connecting
from hub.jobs.transitions import LOCAL
from hub.jobs.views import JobView
from hub.ledger import followers
from hub.sessions import views as sessions
from hub.web.pages import frames, job_form, log_lines, pictures, render, steps, words
from hub.web.pages.artifact import Lineage, pictured
from hub.web.pages.faces import Act, Fact, Lacking, State, Step, Usage, job_state

_MOST_CARDS = 24
_WAY = ("QUEUED", "PENDING", "RUNNING", "COLLECTING")
_FAILED = {"FAILED", "TIMED_OUT", "OUT_OF_MEMORY", "NODE_FAILED", "UNKNOWN_OUTCOME"}
_WHERE = {"local": "this hub"}


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The end of the log, and where a reader goes on."""

    title: str
    source: str
    offset: int
    size: int
    done: bool
    filename: str
    whole: bool
    lines: list[log_lines.Line]
    empty: str


class Face(msgspec.Struct, frozen=True, kw_only=True):
    """The job itself, as its page shows it."""

    id: str
    session: str
    number: int
    context: str
    title: str
    state: State
    done: bool
    says: Markup
    fraction: float | None
    progress_text: str
    trouble: Lacking | None
    room: str
    acts: list[Act]
    script: str
    script_path: str
    script_href: str
    script_digest: str


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /jobs/{ref}"""
    after = followers.newest(scope.conn)  # Before the job is read, so that no change falls between.
    view = jobs.job(scope, params["ref"])
    session = sessions.session(scope, view.session)
    files = artifacts.job_outputs(scope, view.id)
    way_in = _way_in(scope, view)
    return render.html(
        "job.html",
        frames.within(scope, session, f"Job {view.number}, {view.name}", "Jobs"),
        now=scope.now,
        after=after,
        job=_face(scope, view, frames.home_of(session)),
        stations=_stations(view, scope.now),
        log=log(scope, view),
        outputs=[pictures.card(scope, row) for row in files[:_MOST_CARDS]],
        outputs_say=_outputs_say(view, len(files)),
        lineage=_lineage(view) if view.inputs or view.outputs else None,
        workflow=None if view.of_workflow is None else steps.of_workflow(view.of_workflow, view.id),
        notes=(*placing(view), *map(job_form.in_words, view.notes)),
        usage=_usage(view),
        hints=view.efficiency.hints if view.efficiency else (),
        setup=_setup(view, way_in),
        environment=[Fact(key, _flat(value)) for key, value in (view.found_environment or {}).items() if _told(value)],
        again=[
            *(f"collegium job {verb} {view.ref}" for verb in ("logs", "status")),
            *([] if way_in is None else [way_in.command]),
        ],
    )


def placing(view: JobView) -> list[str]:
    """Why it is where it is, until when it is to have ended, and what became of thinking that over."""
    placed = view.placed
    if placed is None:
        return []
    found = [f"Sent to {_WHERE.get(view.backend, view.backend)}: {placed.why.rstrip('.')}."] if placed.why else []
    if placed.deadline is not None:
        found.append(f"It is to have ended by {words.moment(placed.deadline)} UTC.")
    if placed.slipped_to is not None and placed.ends_at is not None and view.state == "PENDING":
        promised, now = words.moment(placed.ends_at), words.moment(placed.slipped_to)
        found.append(f"It was to end by {promised} UTC; as its scheduler says now, it ends by {now} UTC at the latest.")
    if placed.moves:
        found.append(f"It was moved {words.count(placed.moves, 'time')}.")
    if placed.moving_to is not None and view.state == "PENDING":
        found.append(f"It goes to {placed.moving_to} as soon as it surely cannot start here any more.")
    return [*found, *([placed.said] if placed.said else [])]


def log(scope: Scope, view: JobView) -> Log:
    """The last part of a job's log."""
    start = max(0, view.log_size_bytes - log_lines.SHOWN_BYTES)
    piece = jobs.log_piece(scope, view.id, start, log_lines.SHOWN_BYTES)
    cut = log_lines.excerpt(piece.data, start, done=piece.done)
    return Log(
        title="Log",
        source=f"/api/jobs/{view.id}/log",
        offset=cut.offset,
        size=view.log_size_bytes,
        done=piece.done,
        filename=f"job-{view.number}.log",
        whole=cut.whole,
        lines=cut.lines,
        empty="It wrote nothing." if piece.done else "Nothing is written yet.",
    )


def says(view: jobs.JobRow, now: dt.datetime) -> Markup:
    """The state in a sentence; while it runs, its time goes on in the browser."""
    where = _WHERE.get(view.backend, view.backend)
    if view.state == "RUNNING" and view.started_at is not None:
        return _running(view, view.started_at, where, now)
    if view.state == "SUCCEEDED" and view.started_at and view.ended_at:
        took = words.duration((view.ended_at - view.started_at).total_seconds())
        return Markup("Finished after {} on {}, {}.").format(took, where, words.ago(view.ended_at, now))
    if view.ended_at is not None:
        return Markup("{} That was {}.").format(view.reason, words.ago(view.ended_at, now))
    return Markup("{}").format(view.reason)


def _running(view: jobs.JobRow, since: dt.datetime, where: str, now: dt.datetime) -> Markup:
    elapsed = Markup('<elapsed-time since="{}">{}</elapsed-time>').format(
        since.isoformat(), words.duration((now - since).total_seconds())
    )
    if view.reason.startswith("Being"):
        return Markup("{}, after {} on {}.").format(view.reason.rstrip("."), elapsed, where)
    rest = view.progress.remaining_seconds if view.progress else None
    left = "" if rest is None else ", nearly there" if rest < 5 else f", about {words.duration(_round(rest))} left"
    return Markup("Running for {} on {}{}.").format(elapsed, where, left)


def _round(seconds: float) -> float:
    """An estimate says no more than it knows."""
    step = 5 if seconds < 60 else 30 if seconds < 600 else 60
    return max(step, round(seconds / step) * step)


def _face(scope: Scope, view: JobView, room: str) -> Face:
    over = view.state in rules.TERMINAL
    collecting = view.state == "COLLECTING"
    can_be = view.backend != LOCAL if collecting else not over and not view.cancel_asked
    may_cancel = can_be and scope.access.may(view.session, "job:cancel")
    cancel = Act("Leave its outputs there" if collecting else "Cancel job", action="job_cancel",
                 fields={"job": view.id}, next=f"/jobs/{view.id}", look="danger", glyph="stop")  # fmt: skip
    branch = Act("Cancel what waits for it too", action="job_cancel", fields={"job": view.id, "downstream": "true"},
                 next=f"/jobs/{view.id}", look="danger", glyph="stop")  # fmt: skip
    waited_for = view.of_workflow is not None and any(view.step in step.after for step in view.of_workflow.steps)
    context = ""
    if view.of_workflow is not None:
        place = [step.job for step in view.of_workflow.steps].index(view.id) + 1
        context = f"{view.step}, step {place} of {len(view.of_workflow.steps)} in “{view.of_workflow.name}”"
    return Face(
        id=view.id,
        session=view.session,
        number=view.number,
        context=context,
        title=view.name,
        state=job_state(view.state),
        # The picture of its workflow goes on after a step's own end.
        done=over and view.log_done and (view.of_workflow is None or steps.is_over(view.of_workflow)),
        says=says(view, scope.now),
        fraction=view.progress.fraction if view.progress else None,
        progress_text=_counted(view),
        trouble=Lacking(view.reason, _remedy(view)) if view.state in _FAILED else None,
        room=f"{room}?look=job:{view.id}",
        acts=[
            *_wishes(view),
            *_unwatch(scope, view),
            *([cancel, *([branch] if waited_for else [])] if may_cancel else []),
        ],
        script=view.script.text or "",
        script_path=view.script.path or "",
        script_href=next((f"/artifacts/{each.version}" for each in view.inputs if each.path == view.script.path), ""),
        script_digest=view.script.digest,
    )


def _unwatch(scope: Scope, view: JobView) -> list[Act]:
    """For whoever watches a job that was submitted outside the hub."""
    if not view.attached or view.state in rules.TERMINAL or view.submitted_by.id != scope.actor.id:
        return []
    return [Act("Stop watching", action="job_unwatch", fields={"job": view.id}, next=f"/jobs/{view.id}", look="quiet")]


_WISHES = {"hold": "Hold back", "release": "Release", "requeue": "Start again"}


def _wishes(view: JobView) -> list[Act]:
    """What can be asked for beside its end."""
    here = {"fields": {"job": view.id}, "next": f"/jobs/{view.id}"}
    return [Act(_WISHES[wish], action=f"job_{wish}", look="quiet", **here) for wish in view.may]  # type: ignore[arg-type]


def _counted(view: JobView) -> str:
    known = view.progress
    return f"{known.done:,} of {known.total:,}" if known and known.total and known.done is not None else ""


def _remedy(view: JobView) -> str:
    if view.state == "OUT_OF_MEMORY":
        return "Ask for more with --memory, or use less."
    if view.state == "TIMED_OUT":
        return "Ask for more with --time, or do less at once."
    if view.state == "UNKNOWN_OUTCOME":
        return "The hub does not guess. Look at the outputs and the log before you run it again."
    return "The last lines of its log may say why." if view.log_size_bytes else ""


def _stations(view: JobView, now: dt.datetime) -> list[Step]:
    """The stations: what is behind with how long it took, where it is, what is still to come."""
    found = [Step("Submitted", "good", "done", [f"by {view.submitted_by.name}"], at=view.submitted_at)]
    over = view.state in rules.TERMINAL
    if view.started_at is not None:
        waited = (view.started_at - view.submitted_at).total_seconds()
        found.append(Step("Waited", "good", "done", [words.duration(waited)]))
        ran = words.duration(((view.ended_at or now) - view.started_at).total_seconds())
        if over or view.state == "COLLECTING":
            found.append(Step("Ran", "good", "done", [ran], at=view.started_at))
    here = job_state(view.state)
    lines = [words.ago(view.ended_at, now)] if over and view.ended_at else []
    if view.state == "RUNNING" and view.started_at:
        lines = [f"since {words.clock(view.started_at)} UTC"]
    if over and view.exit_code is not None and view.state == "FAILED":
        lines.append(f"exit code {view.exit_code}")
    found.append(Step(here.word, here.glyph, "here", lines, here.tint))
    if not over:
        ahead = _WAY[_WAY.index(view.state) + 1 :] if view.state in _WAY else ("RUNNING", "COLLECTING")
        found += [Step(job_state(each).word, "later", "later") for each in ahead if each != "PENDING"]
        found.append(Step("Succeeded", "later", "later"))
    return found


def _outputs_say(view: JobView, many: int) -> str:
    if view.attached:
        return "left where they are"
    if not many:
        return "none" if view.state in rules.TERMINAL else "none so far; they come when it ends"
    places = sum(each.kind == "reference" for each in view.outputs)
    said = words.count(many, "file")
    if many > _MOST_CARDS:
        said += f", the first {_MOST_CARDS} shown"
    return f"{said}; {words.number(places)} left in place" if places else said


def _lineage(view: JobView) -> Lineage:
    """Inputs, the run, outputs."""
    run = Node(id=view.id, kind="job", label=f"job {view.number} · {view.name}", detail=view.reason,
               href=f"/jobs/{view.id}", current=True)  # fmt: skip
    given = [
        Node(id=f"in {each.version}", kind="version", label=each.path, detail=words.short(each.digest),
             href=f"/artifacts/{each.version}")
        for each in view.inputs
    ]  # fmt: skip
    made = [
        Node(id=f"out {each.version}", kind="version", label=each.path,
             detail=f"v{each.number} · {words.short(each.digest or '')}", href=f"/artifacts/{each.version}")
        for each in view.outputs[:_MOST_CARDS]
    ]  # fmt: skip
    edges = [Edge(each.id, view.id) for each in given] + [Edge(view.id, each.id) for each in made]
    return pictured(Graph(nodes=[*given, run, *made], edges=edges, truncated=len(view.outputs) > _MOST_CARDS))


def _usage(view: JobView) -> list[Usage]:
    used, asked = view.used, view.asked
    found = []
    if used.cpus is not None:
        cores = asked.cpus
        found.append(Usage("Cores", f"{used.cpus:g}", f"{cores:g}" if cores else "", _share(used.cpus, cores),
                           _busy(used.cpus, cores)))  # fmt: skip
    if used.memory_bytes is not None:
        limit = asked.memory_bytes
        found.append(Usage("Memory", words.memory(used.memory_bytes), words.memory(limit) if limit else "",
                           _share(used.memory_bytes, limit), "At its highest."))  # fmt: skip
    if used.wall_seconds is not None:
        most = asked.wall_seconds
        found.append(Usage("Time", words.duration(used.wall_seconds), words.duration(most) if most else "",
                           _share(used.wall_seconds, most)))  # fmt: skip
    found += _held(view)
    return found


def _held(view: JobView) -> list[Usage]:
    """Hours of cores and GPUs that it kept from others, and what they cost, where they cost anything."""
    cost = view.cost
    if cost is None or view.started_at is None:
        return []
    found = [Usage("Core hours", words.hours(cost.core_hours), "", 0.0)]
    if cost.gpu_hours:
        found.append(Usage("GPU hours", words.hours(cost.gpu_hours), "", 0.0))
    if cost.amount is None:
        found.append(Usage("Cost", "unknown", "", 0.0, f"Nobody has said what {view.backend} costs."))
    elif cost.amount or cost.most:
        most = f"At most {words.money(cost.most)} {cost.currency}." if cost.most is not None else ""
        found.append(Usage("Cost", f"{words.money(cost.amount)} {cost.currency}".rstrip(), "", 0.0, most))
    return found


def _share(used: float, asked: float | None) -> float:
    return min(1.0, used / asked) if asked else 0.0


def _busy(used: float, asked: float | None) -> str:
    if not asked:
        return ""
    share = used / asked
    return f"Busy {min(share, 1):.0%} of the time{': well chosen' if share > 0.7 else ''}."


def _setup(view: JobView, way_in: connecting.ConnectionView | None) -> list[Fact]:
    facts = [
        Fact("Runs on", _WHERE.get(view.backend, view.backend)),
        Fact("Called", view.ref, code=True),
        Fact("Submitted", words.moment(view.submitted_at), at=view.submitted_at),
        Fact("By", view.submitted_by.name),
        Fact("Seen by", "who can see this?", href=f"/who?object={view.id}"),
    ]
    if way_in is not None:
        facts.append(Fact("Node", way_in.node))
        if way_in.portal_url:
            facts.append(Fact("Portal", "the cluster's own pages", href=way_in.portal_url))
    if view.script.interpreter:
        words_said = (*view.script.interpreter, view.script.path or "", *view.args)
        facts.append(Fact("Command", " ".join(filter(None, words_said)), code=True))
    if view.sandboxed is not None:
        facts.append(Fact("Sandbox", "yes" if view.sandboxed else "no: it ran with the hub's own rights"))
    facts += [Fact(f"${name}", value, code=True) for name, value in view.env.items()]
    return facts


def _way_in(scope: Scope, view: JobView) -> connecting.ConnectionView | None:
    """For its submitter, while it runs on a cluster."""
    if view.state != "RUNNING" or view.submitted_by.id != scope.actor.id:
        return None
    try:
        return connecting.connection(scope, view.id)
    except Conflict:
        return None


def _told(value: object) -> bool:
    """Whether a recorded value says something that is not said elsewhere on the page."""
    return bool(value) and not isinstance(value, bool)


def _flat(value: object) -> str:
    """A value of the recorded environment in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(each)}" for key, each in value.items())[:400]
    if isinstance(value, list | tuple):
        return ", ".join(_flat(each) for each in value)[:400]
    return str(value)[:400]
