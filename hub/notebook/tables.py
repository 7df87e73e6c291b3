"""Entries and their versions, what they cite, who signed them; signing keys and the windows in which one is used."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, Serial, metadata

# One row per entry: its number in the session, and the lock under which versions are added.
entries = sa.Table(
    "entries",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_by", sa.String(64), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.UniqueConstraint("session", "number"),
)

# One row per session that has a notebook: the number its next entry takes, so that no number is used again.
notebooks = sa.Table(
    "notebooks",
    metadata,
    sa.Column("session", sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("next_number", sa.Integer, nullable=False),
)

# Never updated. `body` is the canonical bytes that signatures cover; the other columns say the same for queries.
entry_versions = sa.Table(
    "entry_versions",
    metadata,
    sa.Column("entry", sa.ForeignKey("entries.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("title", sa.String(300), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("tools_used", Json, nullable=False),
    sa.Column("conclusions", sa.Text, nullable=False),
    sa.Column("author", sa.String(64), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("body_digest", sa.String(64), nullable=False),
    sa.Column("previous_digest", sa.String(64)),
    sa.Column("draft_version", sa.String(40)),  # the version of a shared draft that the text came from
)

entry_attachments = sa.Table(
    "entry_attachments",
    metadata,
    sa.Column("entry", sa.String(40), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),  # the path in the session
    sa.Column("version_id", sa.String(40), nullable=False),
    sa.Column("digest", sa.String(64)),  # NULL: cited by location only
    sa.ForeignKeyConstraint(["entry", "version"], ["entry_versions.entry", "entry_versions.version"]),
    sa.Index("ix_entry_attachments_version_id", "version_id"),
)

# The private half of a hub-held key is sealed under its owner's key domain; a client-held key has none here.
signing_keys = sa.Table(
    "signing_keys",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("person", sa.ForeignKey("persons.id"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("algorithm", sa.String(16), nullable=False),
    sa.Column("public", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("private_sealed", sa.LargeBinary),
    sa.Column("custody", sa.String(16), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("created_line", Serial),
    sa.Column("revoked_at", Instant),
    sa.Column("revoked_line", Serial),
    # A revoked key's name may be given to its successor.
    sa.Index(
        "uq_signing_keys_person_name",
        "person",
        "name",
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    ),
)

# `stated_at` is the signer's clock, `at` and `line` are the hub's. A statement is taken once, in whatever envelope.
signatures = sa.Table(
    "signatures",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("entry", sa.String(40), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("person", sa.ForeignKey("persons.id"), nullable=False),
    sa.Column("key", sa.ForeignKey("signing_keys.id"), nullable=False),
    sa.Column("meaning", sa.String(16), nullable=False),
    sa.Column("custody", sa.String(16), nullable=False),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Column("statement_digest", sa.String(64), nullable=False, unique=True),
    sa.Column("stated_at", Instant, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("line", Serial),
    sa.ForeignKeyConstraint(["entry", "version"], ["entry_versions.entry", "entry_versions.version"]),
    sa.UniqueConstraint("entry", "version", "person", "meaning", name="uq_signatures_entry_version_person_meaning"),
)

# While one is open, its person may sign with that key by name, through the credential that opened it and no other.
signing_windows = sa.Table(
    "signing_windows",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("person", sa.ForeignKey("persons.id"), nullable=False),
    sa.Column("credential", sa.String(80), nullable=False),
    sa.Column("key", sa.ForeignKey("signing_keys.id"), nullable=False),
    sa.Column("proof", sa.String(16), nullable=False),  # code | sign_in
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("closed_at", Instant),
    sa.Index("ix_signing_windows_person", "person"),
)
