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
    sa.Column("how", sa.String(16)),  # link | password | passkey
    sa.Column("agent", sa.String(80)),  # "Firefox on Linux": our own words, not what the browser sent
    sa.Column("proved_at", Instant),  # when the person last proved to be here through it; NULL: at its beginning
    sa.Column("seen_at", Instant),  # to the hour
)

passwords = sa.Table(
    "passwords",
    metadata,
    sa.Column("person", sa.ForeignKey("persons.id"), primary_key=True),
    sa.Column("stored", sa.String(300), nullable=False),  # argon2id with its parameters
    sa.Column("set_at", Instant, nullable=False),
)

# An authenticator app. The last time step that was accepted only grows, so that each code is good once.
authenticators = sa.Table(
    "authenticators",
    metadata,
    sa.Column("person", sa.ForeignKey("persons.id"), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # under the person's key domain
    sa.Column("begun_at", Instant, nullable=False),
    sa.Column("confirmed_at", Instant),
    sa.Column("last_step", sa.BigInteger, nullable=False, server_default="0"),
)

recovery_codes = sa.Table(
    "recovery_codes",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("person", sa.ForeignKey("persons.id"), nullable=False, index=True),
    sa.Column("used_at", Instant),
)

passkeys = sa.Table(
    "passkeys",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("person", sa.ForeignKey("persons.id"), nullable=False, index=True),
    sa.Column("credential", sa.LargeBinary(1023), nullable=False, unique=True),
    sa.Column("public_key", sa.LargeBinary, nullable=False),  # COSE
    sa.Column("sign_count", sa.BigInteger, nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("made_at", Instant, nullable=False),
    sa.Column("used_at", Instant),
    sa.Column("warned_at", Instant),  # its count went backwards: it may have been copied
)

# How often somebody guessed. A window begins with its first guess; each is counted before it is looked at.
guesses = sa.Table(
    "guesses",
    metadata,
    sa.Column("subject", sa.String(80), primary_key=True),
    sa.Column("began_at", Instant, nullable=False, index=True),
    sa.Column("count", sa.Integer, nullable=False),
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

# A shell that asks to be signed in, until its person answered in a browser and it fetched its token.
device_codes = sa.Table(
    "device_codes",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),  # of what the shell asks with
    sa.Column("user_digest", sa.LargeBinary(32), nullable=False, unique=True),  # of the code, under the hub's key
    sa.Column("host", sa.String(100), nullable=False),
    sa.Column("address", sa.String(60), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False, index=True),
    sa.Column("interval", sa.Integer, nullable=False),
    sa.Column("poll_after", Instant, nullable=False),
    sa.Column("answered_at", Instant),
    sa.Column("refused", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("token", sa.String(40)),
    sa.Column("taken_at", Instant),
)

# What became of a mail, told where its object is shown; the mail itself is in its step, without its secret.
mails = sa.Table(
    "mails",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("about", sa.String(40), nullable=False, index=True),
    sa.Column("asked_by", sa.String(40), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("sent_at", Instant),
    sa.Column("refused_at", Instant),
    sa.Column("trouble", sa.String(500)),
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
