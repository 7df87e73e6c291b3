"""People, what they prove themselves with, and what may happen once."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, metadata

persons = sa.Table(
    "persons",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("handle", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("hub_role", sa.String(16), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("disabled_at", Instant),
)

emails = sa.Table(
    "emails",
    metadata,
    sa.Column("email", sa.String(254), primary_key=True),  # lower case
    sa.Column("person", sa.ForeignKey("persons.id"), nullable=False, index=True),
    sa.Column("verified_at", Instant),  # only a verified address binds an invitation
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("person", sa.ForeignKey("persons.id"), index=True),  # NULL: a service of the hub
    sa.Column("kind", sa.String(16), nullable=False),  # api | service
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("scopes", Json),  # NULL: everything its owner may do
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant),
    sa.Column("revoked_at", Instant),
)

# A browser's login; never called a session, which is a shared workspace.
sign_ins = sa.Table(
    "sign_ins",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("person", sa.ForeignKey("persons.id"), index=True),
    sa.Column("link", sa.String(40), index=True),  # who came by an expiring link has no person
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
)

# Who somebody is on a chat platform: by the platform's own immutable ids, never by a name that is shown.
chat_identities = sa.Table(
    "chat_identities",
    metadata,
    sa.Column("platform", sa.String(16), primary_key=True),
    sa.Column("workspace", sa.String(64), primary_key=True),
    sa.Column("user", sa.String(255), primary_key=True),
    sa.Column("person", sa.ForeignKey("persons.id"), nullable=False, index=True),
    sa.Column("shown_name", sa.String(200), nullable=False),  # as it was when it was linked; for the list only
    sa.Column("via", sa.String(16), nullable=False),  # link | join
    sa.Column("linked_at", Instant, nullable=False),
)

# What may happen once: consumed by UPDATE ... WHERE used_at IS NULL.
once = sa.Table(
    "once",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("person", sa.String(40)),
    sa.Column("facts", Json, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("used_at", Instant),
)
