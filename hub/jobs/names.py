"""What jobs are called: `12` or `job 12` in one's own session, `hcl#12` or `ana/hcl#12` anywhere, or the id."""

from __future__ import annotations

import re

import sqlalchemy as sa

from hub.core.access import Guarded, guards, resolves
from hub.core.context import Context, Scope
from hub.core.errors import Conflict, NotFound
from hub.jobs.tables import job_numbers, jobs, workflows
from hub.sessions.grants import personal_session
from hub.sessions.names import full_name, known_sessions

_NUMBER = re.compile(r"(?:job\s*)?#?([1-9]\d{0,8})", re.IGNORECASE | re.ASCII)
_IN_SESSION = re.compile(r"(?s)(.+)#([1-9]\d{0,8})", re.ASCII)


# Built once: a statement costs more to build than to carry out.
_GUARDED = sa.select(jobs.c.session, jobs.c.submitted_by).where(jobs.c.id == sa.bindparam("which"))
_NEXT_NUMBERS = (
    sa.update(job_numbers)
    .where(job_numbers.c.session == sa.bindparam("of"))
    .values(last=job_numbers.c.last + sa.bindparam("count"))
    .returning(job_numbers.c.last)
)


@guards("workflow")
def guard_workflow(conn: sa.Connection, workflow_id: str) -> Guarded | None:
    """A workflow is as visible as its session."""
    row = conn.execute(sa.select(workflows.c.session).where(workflows.c.id == workflow_id)).first()
    return None if row is None else Guarded(row.session)


@guards("job")
def guard_job(conn: sa.Connection, job_id: str) -> Guarded | None:
    row = conn.execute(_GUARDED, {"which": job_id}).first()
    return None if row is None else Guarded(row.session, row.submitted_by)


@resolves("job")
def resolve_job(scope: Scope, ref: str) -> str | None:
    """A name -> id. A bare number means one's own session, else the one other session that has such a job.

    Raises Conflict when several have one.
    """
    text = ref.strip()
    if (match := _IN_SESSION.fullmatch(text)) is not None:
        try:
            session = scope.access.find("session", match[1].strip(), "job:read")
        except NotFound:
            return None
        return _numbered(scope, session, int(match[2]))
    if (match := _NUMBER.fullmatch(text)) is None:
        return None
    number = int(match[1])
    own = personal_session(scope)
    if own is not None and (found := _numbered(scope, own, number)) is not None:
        return found
    rows = scope.execute(
        sa.select(jobs.c.id, jobs.c.session).where(
            jobs.c.number == number, jobs.c.session.in_(known_sessions(scope).scalar_subquery())
        )
    ).all()
    if len(rows) > 1:
        raise Conflict(
            f"several of your sessions have a job {number}",
            code="ambiguous_job",
            errors=sorted(f"{full_name(scope, row.session)}#{number}" for row in rows),
            hint="say which one as owner/name#number",
        )
    return str(rows[0].id) if rows else None


def _numbered(scope: Scope, session: str, number: int) -> str | None:
    found: str | None = scope.execute(
        sa.select(jobs.c.id).where(jobs.c.session == session, jobs.c.number == number)
    ).scalar()
    return found


def next_numbers(ctx: Context, session: str, count: int) -> range:
    """Fresh numbers in a session, in a row."""
    wanted = {"of": session, "count": count}
    if (last := ctx.execute(_NEXT_NUMBERS, wanted).scalar()) is None:
        ctx.tx.insert_new(job_numbers, session=session, last=0)
        last = ctx.execute(_NEXT_NUMBERS, wanted).scalar_one()
    return range(int(last) - count + 1, int(last) + 1)
