"""Jobs in a list: of one session, with a form to submit the next; or all that the reader takes part in."""

from __future__ import annotations

import datetime as dt

from hub.core.context import Scope
from hub.jobs import rules
from hub.jobs import views as jobs
from hub.orchestrator import views as experiments
from hub.orchestrator.views import ExperimentView
from hub.sessions import views as sessions
from hub.web.pages import frames, job_form, render, steps, words
from hub.web.pages.faces import Act, Crumb, JobRow, Way, job_state


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /s/{owner}/{name}/jobs?cursor="""
    session = sessions.session(scope, frames.ref(params))
    page = jobs.job_list(scope, session.id, params.get("cursor"))
    may_submit = scope.access.may(session.id, "job:submit") and scope.actor.kind == "person"
    here = f"{frames.home_of(session)}/jobs"
    return render.html(
        "jobs.html",
        frames.within(scope, session, "Jobs", "Jobs"),
        now=scope.now,
        rows=[row(each, scope.now) for each in page.jobs],
        says=_says(page.jobs) if page.jobs else _EMPTY,
        use=f"{frames.home_of(session)}/usage",
        older=f"{here}?cursor={page.cursor}" if page.cursor else "",
        ways=_ways(session.name) if may_submit else [],
        form=job_form.of(scope, session.id) if may_submit else None,
        labels=job_form.LABELS,
        begun=job_form.BEGUN,
        experiments=[_experiment(each, scope.now) for each in experiments.session_experiments(scope, session.id)],
    )


def _experiment(view: ExperimentView, now: dt.datetime) -> JobRow:
    at, ended = frames.instant(view.at), None if view.ended is None else frames.instant(view.ended)
    return JobRow(
        href=f"/experiments/{view.experiment}",
        title=steps.experiment_title(view),
        text=f"By {view.by.name}. {steps.experiment_says(view)}",
        state=job_state(view.state),
        at=words.duration(((ended or now) - at).total_seconds()),
        remark=words.ago(ended, now) if ended else "",
    )


def everywhere(scope: Scope, params: dict[str, str]) -> str:
    """GET /jobs?cursor="""
    page = jobs.job_list(scope, None, params.get("cursor"))
    return render.html(
        "jobs.html",
        frames.plain(scope, "Jobs", (Crumb("Jobs"),)),
        now=scope.now,
        rows=[row(each, scope.now, session=True) for each in page.jobs],
        says=_says(page.jobs) if page.jobs else _EMPTY,
        use="/resources",
        older=f"/jobs?cursor={page.cursor}" if page.cursor else "",
        ways=_ways(""),
        form=None,
        labels={},
        begun="",
        experiments=[],
    )


def row(job: jobs.JobRow, now: dt.datetime, *, session: bool = False) -> JobRow:
    """A job as a line of a list."""
    by = f"{job.session_name}, by {job.submitted_by.name}" if session else f"By {job.submitted_by.name}"
    over = job.state in rules.TERMINAL
    return JobRow(
        href=f"/jobs/{job.id}",
        title=f"{job.number} · {job.name}",
        text=by if job.state == "SUCCEEDED" else f"{by}. {job.reason}",
        state=job_state(job.state),
        at=_time(job, now),
        fraction=job.progress.fraction if job.progress else None,
        remark=words.ago(job.ended_at, now) if over and job.ended_at else "",
    )


def _time(job: jobs.JobRow, now: dt.datetime) -> str:
    if job.started_at is None:
        return ""
    return words.duration(((job.ended_at or now) - job.started_at).total_seconds())


_EMPTY = "Whatever is started here keeps its inputs, its script and its outputs together, and can be signed later."


def _says(rows: list[jobs.JobRow]) -> str:
    going = sum(each.state in ("RUNNING", "COLLECTING", "SUBMITTING") for each in rows)
    waiting = sum(each.state in ("WAITING", "QUEUED", "HELD", "PENDING") for each in rows)
    ended = len(rows) - going - waiting
    parts = [f"{words.number(going)} {'is' if going == 1 else 'are'} running"] if going else []
    parts += [f"{words.number(waiting)} {'waits' if waiting == 1 else 'wait'}"] if waiting else []
    parts += [f"{words.number(ended)} {'has' if ended == 1 else 'have'} ended"] if ended else []
    return f"{words.sentence(words.listing(parts))}."


def _ways(session: str) -> list[Way]:
    option = f" -s {session}" if session else ""
    return [
        *(
            [Way("From this page", "Paste a script.", Act("Submit a job", href="#submit", look="main"))]
            if session
            else []
        ),
        Way(
            "From your shell",
            "Files you name are brought along.",
            command=f"collegium job submit run.sh --in data.csv{option}",
        ),
        Way("From chat", "In a channel linked to this session.", command="/collegium job submit"),
    ]
