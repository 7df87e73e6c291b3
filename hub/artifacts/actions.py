"""What can be done with artifacts: a new version, an alternative text, the backup policy of a session."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.artifacts import leases, rules, versions
from hub.artifacts.tables import backup_policies
from hub.artifacts.tables import versions as versions_table
from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context
from hub.core.errors import InvalidInput

SessionRef = Annotated[str, Meta(min_length=1, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.PATH_BYTES + 200)]
Alt = Annotated[str, Meta(max_length=limits.ALT_CHARACTERS)]
BACKUPS_COME_LATER = "The policy is stored and shown. This version of the hub carries out no scheduled backups yet."


class AddVersion(Action, frozen=True, tag="artifact_versioning"):
    """Record a new version of a file: its content, what it was made from and with what."""

    artifact_path: Annotated[str, Meta(min_length=1, max_length=limits.PATH_BYTES)]
    digest: Annotated[str, Meta(max_length=80)] | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    lineage: Annotated[tuple[Name, ...], Meta(max_length=limits.LINEAGE_EDGES)] = ()
    alt: Alt | None = None
    session_id: SessionRef | None = None


class VersionMade(msgspec.Struct, frozen=True, kw_only=True):
    """The version that was recorded."""

    artifact: str
    session: str
    path: str
    number: int
    digest: str
    size: int
    media_type: str
    lineage: list[str]
    url: str


@handles(AddVersion, needs="artifact:write", when="artifact_path")
def add_version(act: AddVersion, ctx: Context) -> VersionMade:
    """The content is the named digest, else a waiting upload of that name, else what the path holds already."""
    session = ctx.access.session(act.session_id, "artifact:write")
    path = rules.normal_path(act.artifact_path)
    rules.check_metadata(act.metadata)
    sources = versions.resolve(ctx, session, act.lineage, "$.params.lineage")
    made = versions.add(
        ctx,
        session,
        path,
        _content(act, ctx, session, path),
        metadata=act.metadata,
        lineage=[source.version for source in sources],
        tools_used=rules.tools_in(act.metadata),
        commit=rules.commit_in(act.metadata),
        alt=act.alt,
    )
    return VersionMade(
        artifact=made.version,
        session=session,
        path=made.path,
        number=made.number,
        digest=f"sha256:{made.digest}",
        size=made.size,
        media_type=made.media_type,
        lineage=[source.version for source in sources],
        url=f"{ctx.settings.origin}/artifacts/{made.version}",
    )


def _content(act: AddVersion, ctx: Context, session: str, path: str) -> str:
    if act.digest is not None:
        digest = rules.parse_digest(act.digest)
        leases.check_may_name(ctx, session, digest)
        return digest
    waiting = leases.waiting_upload(ctx, session, [path, path.rsplit("/", 1)[-1]])
    if waiting is not None:
        return waiting
    now_there = versions.newest(ctx, session, path)
    if now_there is not None and now_there.kind == "stored" and now_there.digest is not None:
        return now_there.digest
    raise InvalidInput(
        f"there is no content for {path!r}: the session has no such file and you have uploaded none",
        code="content_missing",
        path="$.params.artifact_path",
        hint="upload the file to this session first, or name the `digest` of a finished upload",
    )


class SetBackup(Action, frozen=True, tag="artifact_versioning"):
    """Set how often a session is to be backed up and how long backups are kept."""

    auto_backup: bool
    backup_schedule: Literal["hourly", "daily", "weekly", "monthly"] = "daily"
    retention_policy: Annotated[str, Meta(pattern="^[1-9][0-9]{0,3}_(days|weeks|months|years)$")] = "30_days"
    session_id: SessionRef | None = None


class BackupPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The backup policy of a session, and what this hub does about it."""

    session: str
    auto_backup: bool
    backup_schedule: str
    retention_policy: str
    set_by: str
    set_at: str
    next_run: str | None
    note: str


@handles(SetBackup, needs="policy:set", when="auto_backup")
def set_backup(act: SetBackup, ctx: Context) -> BackupPolicy:
    """One policy per session; the newest holds."""
    session = ctx.access.session(act.session_id, "policy:set")
    values = {
        "auto_backup": act.auto_backup,
        "schedule": act.backup_schedule,
        "retention": act.retention_policy,
        "set_by": ctx.actor.id,
        "set_at": ctx.now,
    }
    if not ctx.tx.insert_new(backup_policies, session=session, **values):
        ctx.execute(sa.update(backup_policies).where(backup_policies.c.session == session).values(**values))
    ctx.about(
        "session",
        session,
        session,
        auto_backup=act.auto_backup,
        backup_schedule=act.backup_schedule,
        retention_policy=act.retention_policy,
    )
    return BackupPolicy(
        session=session,
        auto_backup=act.auto_backup,
        backup_schedule=act.backup_schedule,
        retention_policy=act.retention_policy,
        set_by=ctx.actor.id,
        set_at=iso(ctx.now),
        next_run=None,
        note=BACKUPS_COME_LATER,
    )


class AddResults(Action, frozen=True, tag="artifact_versioning"):
    """Record the outputs of the step before this one; only inside an experiment."""

    results: Literal["from_previous_step"]
    session_id: SessionRef | None = None


@handles(AddResults, needs="artifact:write", when="results")
def add_results(act: AddResults, ctx: Context) -> VersionMade:
    """The orchestrator carries this out itself, because only it knows which step came before."""
    ctx.access.session(act.session_id, "artifact:write")
    raise InvalidInput(
        "there is no previous step here",
        code="no_previous_step",
        path="$.params.results",
        hint="`results` belongs into the `dag` of an experiment; elsewhere name the file with `artifact_path`",
    )


class SetAlt(Action, frozen=True, tag="artifact_alt"):
    """Say in words what an artifact shows, for those who cannot see it."""

    artifact: Name
    alt: Alt


class AltSet(msgspec.Struct, frozen=True, kw_only=True):
    """The alternative text an artifact has now."""

    artifact: str
    alt: str


@handles(SetAlt, needs="artifact:write")
def set_alt(act: SetAlt, ctx: Context) -> AltSet:
    """The text describes the content and is no part of it: digest and number stay."""
    artifact = ctx.access.find("artifact", act.artifact, "artifact:write")
    row = ctx.execute(
        sa.update(versions_table)
        .where(versions_table.c.id == artifact)
        .values(alt=act.alt)
        .returning(versions_table.c.session)
    ).one()
    ctx.about("artifact", artifact, row.session, alt_characters=len(act.alt))
    return AltSet(artifact=artifact, alt=act.alt)
