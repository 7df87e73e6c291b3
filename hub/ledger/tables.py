"""Lines, the bytes that were hashed for them, their order, the tree's frontier, checkpoints."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Serial, metadata

# Inserted as the last statement of each action's transaction, never updated. `line` is the database's own serial: on
# PostgreSQL a smaller one may be committed later, so nobody reads by it; `ledger_order` is the order.
ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("line", Serial, primary_key=True, autoincrement=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("object_kind", sa.String(24), nullable=False),
    sa.Column("object", sa.String(64), nullable=False),
    sa.Column("session", sa.String(64), index=True),
    sa.Column("commitment", sa.LargeBinary(33), nullable=False),
    sqlite_autoincrement=True,
)

# The very bytes that were hashed; they may be erased while the commitment stands.
ledger_bodies = sa.Table(
    "ledger_bodies",
    metadata,
    sa.Column("line", Serial, sa.ForeignKey("ledger.line"), primary_key=True, autoincrement=False),
    sa.Column("nonce", sa.LargeBinary(32), nullable=False),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
)

ledger_pending = sa.Table(
    "ledger_pending",
    metadata,
    sa.Column("line", Serial, sa.ForeignKey("ledger.line"), primary_key=True, autoincrement=False),
)

ledger_order = sa.Table(
    "ledger_order",
    metadata,
    sa.Column("sequence", Serial, primary_key=True, autoincrement=False),
    sa.Column("line", Serial, sa.ForeignKey("ledger.line"), nullable=False, unique=True),
)

# The right edge of the Merkle tree after the newest sequence: (size, concatenated 32-byte hashes), one row, id 0.
ledger_frontier = sa.Table(
    "ledger_frontier",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", Serial, nullable=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("size", Serial, primary_key=True, autoincrement=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

# Who may do what only one may do: a lease with an epoch that fences whoever held it before.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("holder", sa.String(100), nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("until", Instant, nullable=False),
)
