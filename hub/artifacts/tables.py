"""Blobs and uploads (bytes), versions, files and lineage (state), pins, previews, backup policies."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, metadata

# The bytes that are kept, by key domain. A row stands exactly as long as its bytes may be named.
blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("domain", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("verified_at", Instant, nullable=False),
)

# A finished upload is a lease: until `expires_at`, its bytes wait to be named by an action of its owner.
uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.String(40), nullable=False),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("length", sa.BigInteger, nullable=False),
    sa.Column("expected_digest", sa.String(64)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("digest", sa.String(64)),  # NULL until every byte arrived and was verified
    sa.Column("finished_at", Instant),
    sa.Column("named_at", Instant),
    sa.Index("ix_uploads_expires_at", "expires_at"),
    sa.Index("ix_uploads_session_digest", "session", "digest"),
    sa.Index("ix_uploads_owner", "owner"),
)

# One row per path of a session: its newest version, and the lock under which numbers are given.
files = sa.Table(
    "files",
    metadata,
    sa.Column("session", sa.String(40), primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("version", sa.String(40)),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.String(40), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),  # stored | reference
    sa.Column("digest", sa.String(64)),  # of a reference: NULL unless somebody made it
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("media_type", sa.String(100), nullable=False),
    sa.Column("metadata", Json, nullable=False),
    sa.Column("tools_used", Json, nullable=False),
    sa.Column("commit", sa.String(100)),
    sa.Column("job", sa.String(40)),
    sa.Column("author", sa.String(64), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("alt", sa.Text),
    # Where a reference lies, and how it looked when it was taken.
    sa.Column("cluster", sa.String(64)),
    sa.Column("source_path", sa.Text),
    sa.Column("source_mtime", Instant),
    sa.UniqueConstraint("session", "path", "number", name="uq_versions_session_path_number"),
    sa.CheckConstraint("kind IN ('stored', 'reference')", name="kind"),
    sa.CheckConstraint("kind = 'reference' OR digest IS NOT NULL", name="digest"),
    sa.Index("ix_versions_session_digest", "session", "digest"),
    sa.Index("ix_versions_session_at", "session", "at"),
    sa.Index("ix_versions_job", "job"),
    sa.Index("ix_versions_digest", "digest"),
)

lineage = sa.Table(
    "lineage",
    metadata,
    sa.Column("version", sa.String(40), sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("source", sa.String(40), sa.ForeignKey("versions.id"), primary_key=True),
    sa.Index("ix_lineage_source", "source"),
)

# What must not be cleaned away, and why: written by links and the notebook, read by retention.
pins = sa.Table(
    "pins",
    metadata,
    sa.Column("session", sa.String(40), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("reason_kind", sa.String(24), primary_key=True),
    sa.Column("reason_id", sa.String(64), primary_key=True),
    sa.Column("at", Instant, nullable=False),
)

# One row per picture, table or text made from some content, and one per refusal, so that a bomb is tried once.
previews = sa.Table(
    "previews",
    metadata,
    sa.Column("domain", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("renderer", sa.String(40), primary_key=True),
    sa.Column("variant", sa.String(10), primary_key=True),  # card | page | table | text | no-<kind>
    sa.Column("blob", sa.String(64)),  # NULL: refused, for the reason in `note`
    sa.Column("size", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("media_type", sa.String(40)),
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Index("ix_previews_domain_blob", "domain", "blob"),
)

backup_policies = sa.Table(
    "backup_policies",
    metadata,
    sa.Column("session", sa.String(40), primary_key=True),
    sa.Column("auto_backup", sa.Boolean, nullable=False),
    sa.Column("schedule", sa.String(10), nullable=False),
    sa.Column("retention", sa.String(20), nullable=False),
    sa.Column("set_by", sa.String(64), nullable=False),
    sa.Column("set_at", Instant, nullable=False),
)
