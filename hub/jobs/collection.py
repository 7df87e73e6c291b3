"""Bringing a job's results home: what it made is streamed into the store, then one unit of work ends the job.

Nothing a job left is trusted: only regular files are read, links are never followed, names that cannot be paths are
passed over, and whatever does not come back is told.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from hub.artifacts import leases, versions
from hub.artifacts import rules as paths
from hub.core import limits, steps
from hub.core.context import Context
from hub.core.database import Tx
from hub.core.errors import HubError, InvalidInput
from hub.core.house import House
from hub.jobs import outputs, remote, transitions
from hub.jobs.amounts import shown_bytes
from hub.jobs.backends import kubernetes_rules
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.outputs import Found
from hub.jobs.rules import Event
from hub.jobs.starting import command_shown, given_of, local
from hub.jobs.tables import jobs
from hub.jobs.transitions import Job
from hub.perform import record, within

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DEEPEST = 64


@steps.runs(transitions.COLLECT)
def collect_job(step: steps.Step, house: House) -> None:
    """Store the outputs, then record them and the end of the job at once."""
    with house.db.read() as conn:
        job = conn.execute(sa.select(jobs).where(jobs.c.id == step.object)).first()
    if job is None or job.state != "COLLECTING":
        return
    folder = local(house.settings).folder(job.id, job.run)
    notes: list[str] = []
    choice, odd = outputs.Choice([], [], 0, []), 0
    stored: list[tuple[Found, str]] = []
    there = remote.kept(folder)
    if there is None and job.account is not None:
        there = _left(house, job)
    lie_at = (transitions.LOCAL, str(folder / "work")) if there is None else (there.cluster, f"{there.folder}/work")
    if (folder / "given.json").exists() and (folder / "work").is_dir():
        given = given_of(folder)
        files, odd = _look(folder / "work")
        choice = outputs.choose(files, given, job.outputs, job.fetch_patterns or ())
        for file in choice.store:
            digest = _store(house, job, folder / "work", file)
            before = given.get(file.path)
            if before is None or before.digest != digest:
                stored.append((file, digest))
    if there is not None:
        # They were chosen where they lay: what is here, if anything came, is what was chosen.
        choice = outputs.Choice(choice.store, there.refer, there.ignored, there.missing)
        odd = there.odd
        notes += remote.notes(there)
    notes += _notes(choice, odd)
    notes += _log_note(job)

    def work(ctx: Context) -> None:
        row = transitions.lock(ctx, job.id)
        if row is not None and row.state == "COLLECTING":
            _record(ctx, row, lie_at, stored, choice.refer)
            _end(ctx, row, [*row.notes, *notes], unfetched=_unfetched(choice, there))
        steps.finish(ctx.tx, step, ctx.now)

    record(house, transitions.OBSERVED, work)
    if there is not None or not choice.refer:  # What was too large stays where it lies; everything else was fetched.
        local(house.settings).clear(job.id, job.run)


def _left(house: House, job: Job) -> remote.Remote:
    """Of a run whose outputs somebody did not wait for: where they lie, by what is known here."""
    from hub.jobs.backends import far_side  # which brings SSH with it, and is needed seldom here

    query = sa.select(clusters.c.kind, clusters.c.root).join(
        cluster_accounts, cluster_accounts.c.cluster == clusters.c.id
    )
    with house.db.read() as conn:
        row = conn.execute(query.where(cluster_accounts.c.id == job.account)).one()
    if row.kind == "kubernetes":
        lies = kubernetes_rules.folder_of(job.account, job.id, job.run)
    else:
        lies = far_side.folder_of(row.root or f"~/{far_side.below_home(job.account)}", job.id, job.run)
    return remote.Remote(job.backend, lies, [], failed="they were not waited for any more")


@steps.when_given_up(transitions.COLLECT)
def collect_given_up(tx: Tx, house: House, step: steps.Step, reason: str) -> None:
    """The job's end is known even when its outputs cannot be fetched; both are said."""
    with within(house, tx, transitions.OBSERVED) as ctx:
        job = transitions.lock(ctx, step.object)
        if job is not None and job.state == "COLLECTING":
            _end(ctx, job, [*job.notes, f"Its outputs could not be fetched: {reason}"])


def _end(ctx: Context, job: Job, notes: list[str], **values: Any) -> None:
    event: Event = job.outcome or "lost"
    transitions.happen(ctx, job, event, job.reason, notes=notes, **values)


def _unfetched(choice: outputs.Choice, there: remote.Remote | None) -> int:
    """How many files were left where they lie, which is no place to clear away then."""
    if there is None:
        return len(choice.refer)
    return len(there.refer) + there.unlisted + bool(there.failed)


def _record(
    ctx: Context, job: Job, lie_at: tuple[str, str], stored: list[tuple[Found, str]], refer: list[Found]
) -> None:
    sources = [each["version"] for each in job.inputs][: limits.LINEAGE_EDGES]
    facts = {
        "job": job.number,
        "command": command_shown(job)[:1000],
        "script": f"sha256:{job.script_digest}",
    }
    common = {"metadata": facts, "lineage": sources, "job": job.id, "author": job.submitted_by}
    for file, digest in stored:
        versions.add(ctx, job.session, file.path, digest, **common)
    for file in refer:
        source = versions.Source(
            cluster=lie_at[0],
            path=f"{lie_at[1]}/{file.path}",
            size=file.size,
            mtime=dt.datetime.fromtimestamp(file.mtime_ns / 1e9, dt.UTC),
        )
        versions.add_reference(ctx, job.session, file.path, source, **common)


def _look(work: Path) -> tuple[list[Found], int]:
    """Every regular file with a name that can be a path, and how many other things lay there."""
    found: list[Found] = []
    odd = 0
    for prefix, entry in _walk(work, "", DEEPEST):
        path = prefix + entry.name
        seen = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(seen.st_mode):
            odd += not stat.S_ISDIR(seen.st_mode)
            continue
        try:
            path.encode()
            paths.normal_path(path)
        except (UnicodeEncodeError, InvalidInput):
            odd += 1
            continue
        found.append(Found(path, seen.st_size, seen.st_mtime_ns))
    return found, odd


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, os.DirEntry[str]]]:
    if depth == 0:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            yield prefix, entry
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/", depth - 1)


def _store(house: House, job: Job, work: Path, file: Found) -> str:
    """Stream a file into the store under the submitter's lease; returns its digest."""
    with _opened(work, file.path) as stream:
        return leases.keep(
            house,
            job.session,
            stream,
            owner=job.submitted_by,
            filename=file.path,
            limit_bytes=max(limits.COLLECT_FILE_BYTES, file.size),  # as it was chosen
        ).digest


@contextlib.contextmanager
def _opened(work: Path, path: str) -> Iterator[BinaryIO]:
    """A regular file below `work`, reached without following a link anywhere on the way."""
    *folders, name = path.split("/")
    at = os.open(work, _FOLDER)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        descriptor = os.open(name, _FILE, dir_fd=at)
    finally:
        os.close(at)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise HubError(f"{path} is no longer a regular file")
        yield stream


def _notes(choice: outputs.Choice, odd: int) -> Iterator[str]:
    if choice.refer:
        said = ", ".join(f"{file.path} ({shown_bytes(file.size)})" for file in choice.refer[:5])
        more = f" and {len(choice.refer) - 5} more" if len(choice.refer) > 5 else ""
        yield (
            f"Not fetched, only noted where they lie: {said}{more}. Files up to "
            f"{limits.COLLECT_FILE_BYTES // 1_000_000} MB come back, at most {limits.COLLECT_FILES} of them and "
            f"{shown_bytes(limits.COLLECT_BYTES)} in all, unless `fetch` names them when the job is submitted."
        )
    if choice.missing:
        yield f"Declared as outputs, but not made: {', '.join(choice.missing[:20])}."
    if choice.ignored:
        yield f"Passed over {choice.ignored} files that tools keep for themselves, such as caches."
    if odd:
        yield f"Passed over {odd} things that are not plain files or have names that cannot be paths."


def _log_note(job: Job) -> Iterator[str]:
    end = job.exit or {}
    if end.get("log_bytes", 0) > end.get("log_kept_bytes", 0):
        yield f"The log was cut: {shown_bytes(end['log_kept_bytes'])} of {shown_bytes(end['log_bytes'])} were kept."
