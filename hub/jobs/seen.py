"""Whether somebody else changed a script since its submitter last saw it, and what they changed.

What a person last saw is the later of two versions at the path: the newest they made themselves (an upload, or what
a job of theirs brought back), and the one that ran in their last job of that path. That somebody only looked at a
file is not recorded anywhere, so it does not count; who never saw a version is not asked, and neither is who names
the version (`fit.py@3`, a digest).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts import rules as names
from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import versions
from hub.core.clock import iso
from hub.core.context import Scope
from hub.core.errors import Conflict, HubError
from hub.core.ids import looks_like_id
from hub.jobs import script_diff
from hub.jobs.tables import jobs
from hub.people.views import people

# All the diffs of one answer together.
TOLD_CHARACTERS, TOLD_DIFFS = 64_000, 10
NOT_READABLE = "(you may not read files of this session)"


class SeenVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a script: its number, its digest, who made it and when."""

    number: int
    digest: str
    size_bytes: int
    by: str
    at: str


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A script as its submitter last saw it and as it is now; `confirm` is what lets it run as it is."""

    path: str
    where: str
    step: str | None
    seen: SeenVersion
    now: SeenVersion
    confirm: str
    diff: str = ""


def changed(
    scope: Scope, session: str, said: str, file: Mapping[str, Any] | None, where: str, step: str | None = None
) -> Changed | None:
    """What has changed in the script that `said` means now, when somebody else changed it; None when nothing has."""
    if file is None or not file["version"] or not _means_newest(said, file["path"]):
        return None
    now = scope.execute(sa.select(versions).where(versions.c.id == file["version"])).one()
    if now.author == scope.actor.id:
        return None
    seen = _last_seen(scope, session, file["path"])
    if seen is None or seen.digest == now.digest or seen.number >= now.number:
        return None
    known = people(scope, {seen.author, now.author})
    told = [
        SeenVersion(
            number=row.number,
            digest=f"sha256:{row.digest}",
            size_bytes=row.size,
            by=known[row.author].name,
            at=iso(row.at),
        )
        for row in (seen, now)
    ]
    return Changed(
        path=file["path"],
        where=where,
        step=step,
        seen=told[0],
        now=told[1],
        confirm=told[1].digest,
    )


def _means_newest(said: str, path: str) -> bool:
    """Whether a name means whatever its path holds, and not one version."""
    if looks_like_id(said, "art"):
        return False
    return any(
        each.path == path and each.number is None and each.digest is None for each in names.parse_reference(said)
    )


def _last_seen(scope: Scope, session: str, path: str) -> sa.Row[Any] | None:
    """The stored version that the actor last made or ran, whichever is later."""
    here = sa.and_(versions.c.session == session, versions.c.path == path, versions.c.kind == "stored")
    own = scope.execute(
        sa.select(versions).where(here, versions.c.author == scope.actor.id).order_by(versions.c.number.desc()).limit(1)
    ).first()
    ran = scope.execute(
        sa.select(jobs.c.inputs)
        .where(jobs.c.session == session, jobs.c.submitted_by == scope.actor.id, jobs.c.script_path == path)
        .order_by(jobs.c.number.desc())
        .limit(1)
    ).scalar()
    given = next((each["version"] for each in ran or () if each["path"] == path), None)
    then = None if given is None else scope.execute(sa.select(versions).where(here, versions.c.id == given)).first()
    return max((each for each in (own, then) if each is not None), key=lambda each: each.number, default=None)


def with_diffs(scope: Scope, session: str, found: Sequence[Changed | None]) -> list[Changed]:
    """Those that changed, each different change with its diff, all of them together of a length that can be sent."""
    left = TOLD_CHARACTERS
    told: list[Changed] = []
    shown: dict[tuple[str, str], str] = {}
    for each in found:
        if each is None:
            continue
        key = (each.path, each.confirm)
        if key in shown:
            diff = "(as above)"
        elif left <= 0 or len(shown) >= TOLD_DIFFS:
            diff = "(not shown: the other changes take up the room)"
        else:
            diff = shown[key] = _diff(scope, session, each)
            left -= len(diff)
        told.append(msgspec.structs.replace(each, diff=diff))
    return told


def _diff(scope: Scope, session: str, one: Changed) -> str:
    if not scope.access.may(session, "artifact:read"):
        return NOT_READABLE
    store = scope.port(BlobStore)  # type: ignore[type-abstract]
    most = script_diff.READ_BYTES + 1
    try:
        before, after = (
            b"".join(store.open(each.digest.removeprefix("sha256:"), session, 0, min(each.size_bytes, most)))
            for each in (one.seen, one.now)
        )
    except HubError as error:
        return f"(it cannot be read: {error.message})"
    return script_diff.unified(before, after, f"{one.path}@{one.seen.number}", f"{one.path}@{one.now.number}")


def check(scope: Scope, session: str, found: Sequence[Changed | None], confirmed: str | Collection[str] | None) -> None:
    """Raises Conflict with what changed in every script whose digest was not confirmed."""
    agreed = {confirmed} if isinstance(confirmed, str) else set(confirmed or ())
    agreed = {each.removeprefix("sha256:") for each in agreed}
    left = [each for each in found if each is not None and each.confirm.removeprefix("sha256:") not in agreed]
    if not left:
        return
    first = left[0]
    others = "" if len(left) == 1 else f"; {len(left) - 1} more scripts changed as well"
    raise Conflict(
        f"{first.now.by} changed {first.path} since you last saw it: you saw version {first.seen.number}, "
        f"now it is version {first.now.number}{others}; nothing was submitted",
        code="script_changed",
        path=first.where,
        errors=[f"{each.where}: {each.path}@{each.now.number} by {each.now.by} is {each.confirm}" for each in left],
        hint="look at what changed, then submit again with the new digest in `confirm`",
        scripts=msgspec.to_builtins(with_diffs(scope, session, left)),
    )
