"""What the hub keeps for chat doors: installations, channels, cards, what was seen, how far the ledger was followed.

The bot owns no truth: whatever it must know after it was killed is a row here, and it reaches them over HTTP only.
"""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, metadata

# One connected workspace. The tokens are sealed in the key domain of the chats; `workspace` is empty until the platform
# was asked who the token speaks for.
chat_installations = sa.Table(
    "chat_installations",
    metadata,
    sa.Column("platform", sa.String(16), primary_key=True),
    sa.Column("workspace", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, server_default=""),
    sa.Column("bot_user", sa.String(64), nullable=False, server_default=""),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("installed_by", sa.String(40), nullable=False),
    sa.Column("installed_at", Instant, nullable=False),
    sa.Column("broken_at", Instant),
    sa.Column("broken_why", sa.String(100)),
)

chat_channels = sa.Table(
    "chat_channels",
    metadata,
    sa.Column("platform", sa.String(16), primary_key=True),
    sa.Column("workspace", sa.String(64), primary_key=True),
    sa.Column("channel", sa.String(64), primary_key=True),
    sa.Column("session", sa.String(40), index=True),
    sa.Column("cards", sa.String(8), nullable=False),
    sa.Column("set_by", sa.String(40), nullable=False),
    sa.Column("set_at", Instant, nullable=False),
)

# One thing shown in one channel. The row is made before the message is posted; its id travels with the message, so that
# a message that was posted and not yet recorded can be found again.
chat_cards = sa.Table(
    "chat_cards",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("platform", sa.String(16), nullable=False),
    sa.Column("workspace", sa.String(64), nullable=False),
    sa.Column("channel", sa.String(64), nullable=False),
    sa.Column("thread", sa.String(64), nullable=False, server_default=""),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("object", sa.String(64), nullable=False),
    sa.Column("session", sa.String(40), index=True),
    sa.Column("person", sa.String(40)),
    # wanted | held | digest | posting | posted | lost | forgetting | forgotten
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("message", sa.String(64)),
    sa.Column("reply", sa.String(12), nullable=False, server_default=""),  # "" | posting | posted | lost
    sa.Column("reply_message", sa.String(64)),
    sa.Column("anew", sa.Integer, nullable=False, server_default="0"),  # how often it was posted anew
    sa.Column("shown", sa.String(64), nullable=False, server_default=""),  # digest of what it shows
    sa.Column("posting_at", Instant, nullable=False),
    sa.Column("settled_at", Instant),  # nothing is left to be done for it
    sa.UniqueConstraint("platform", "workspace", "channel", "kind", "object"),
    sa.Index("ix_chat_cards_object", "object"),
    sa.Index(
        "ix_chat_cards_open",
        "id",
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    ),
)

# A platform's event that was taken in: a second delivery finds the row.
chat_seen = sa.Table(
    "chat_seen",
    metadata,
    sa.Column("platform", sa.String(16), primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("at", Instant, nullable=False, index=True),
)

# How far a follower of the ledger has come. One process at a time follows, under a lease; its epoch fences the ones
# before.
chat_cursors = sa.Table(
    "chat_cursors",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.String(100), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("lease_until", Instant, nullable=False),
)

chat_preferences = sa.Table(
    "chat_preferences",
    metadata,
    sa.Column("person", sa.String(40), primary_key=True),
    sa.Column("notify", sa.String(8), nullable=False),
)
