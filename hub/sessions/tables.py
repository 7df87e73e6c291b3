"""Shared workspaces and the only source of rights: grants."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, metadata

# A session is a shared workspace and the unit of tenancy: every job, artifact, entry and room belongs to one.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("owner", sa.ForeignKey("persons.id"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("title", sa.String(300), nullable=False),
    sa.Column("visibility", sa.String(16), nullable=False, server_default="session"),
    # How much of its cards leaves for a chat company's servers: full | names | ids.
    sa.Column("chat_detail", sa.String(8), nullable=False, server_default="full"),
    sa.Column("personal", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("features", Json, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.UniqueConstraint("owner", "name"),
)

# (session, subject) may have several grants, each by its way (`share`, a link, a class); the strongest counts.
grants = sa.Table(
    "grants",
    metadata,
    sa.Column("session", sa.ForeignKey("sessions.id"), primary_key=True),
    sa.Column("subject", sa.String(40), primary_key=True),
    sa.Column("via", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("by", sa.String(40)),  # who gave it by hand
    sa.Column("expires_at", Instant),
    sa.Column("at", Instant, nullable=False),
    sa.Index("ix_grants_subject", "subject"),
)

invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False, index=True),
    sa.Column("email", sa.String(254), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("by", sa.String(40), nullable=False),
    sa.Column("grant_expires_at", Instant),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("accepted_by", sa.String(40)),
    sa.Column("withdrawn_at", Instant),
)

links = sa.Table(
    "links",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("session", sa.ForeignKey("sessions.id"), nullable=False, index=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("passphrase", sa.Text),  # argon2id; NULL: the secret alone opens it
    sa.Column("label", sa.String(300), nullable=False),
    sa.Column("target", sa.String(200), nullable=False),  # path of the page it opens first
    sa.Column("created_by", sa.String(40), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("uses_left", sa.Integer),  # NULL: as often as you like
    sa.Column("uses", sa.Integer, nullable=False, server_default="0"),
    sa.Column("revoked_at", Instant),
)

# Wrong passphrases of a link since `since`; a row of its own, because a refusal undoes everything else.
link_tries = sa.Table(
    "link_tries",
    metadata,
    sa.Column("link", sa.ForeignKey("links.id"), primary_key=True),
    sa.Column("since", Instant, nullable=False),
    sa.Column("wrong", sa.Integer, nullable=False),
)
