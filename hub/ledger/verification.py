"""Checking a whole ledger from what is stored: every body against its commitment, the order, the tree, the checkpoints.

It names the first thing that does not hold, and says of erased bodies that they were erased, not that they are wrong.
"""

from __future__ import annotations

import contextlib

import msgspec
import sqlalchemy as sa

from hub.core.decoding import UNREADABLE
from hub.core.errors import TamperDetected
from hub.ledger import checkpoints, rules
from hub.ledger.lines import Body
from hub.ledger.sequencer import read_frontier
from hub.ledger.tables import checkpoints as checkpoints_table
from hub.ledger.tables import ledger, ledger_bodies, ledger_order, ledger_pending


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked and, when something does not hold, the first fault in words."""

    holds: bool
    lines: int
    erased: int
    checkpoints: int
    root: str
    verifier_key: str
    fault: str = ""


def verify(conn: sa.Connection, origin: str, public: bytes) -> Verification:
    """Recompute everything from the stored bytes; O(n) in the number of lines."""
    erased = 0
    size, frontier = 0, list[bytes]()
    notes = list(conn.execute(sa.select(checkpoints_table).order_by(checkpoints_table.c.size)))
    due = iter(notes)
    note = next(due, None)

    def result(fault: str = "") -> Verification:
        return Verification(
            holds=not fault,
            lines=size,
            erased=erased,
            checkpoints=len(notes),
            root=rules.root(frontier).hex(),
            verifier_key=checkpoints.verifier_key(origin, public),
            fault=fault,
        )

    rows = conn.execute(
        sa.select(ledger_order.c.sequence, ledger, ledger_bodies.c.nonce, ledger_bodies.c.bytes)
        .join(ledger, ledger.c.line == ledger_order.c.line)
        .outerjoin(ledger_bodies, ledger_bodies.c.line == ledger.c.line)
        .order_by(ledger_order.c.sequence)
        .execution_options(yield_per=1000)
    )
    with contextlib.closing(rows):  # a server-side cursor must be closed, also when a fault ends the walk
        for row in rows:
            if row.sequence != size:
                return result(f"sequence {size} is missing")
            if row.bytes is None:
                erased += 1
            elif fault := _line_fault(row):
                return result(f"sequence {row.sequence} (line {row.line}): {fault}")
            size, frontier = rules.append(size, frontier, [rules.leaf(row.commitment)])
            if note is not None and note.size == size:
                if fault := _checkpoint_fault(note, origin, public, rules.root(frontier)):
                    return result(f"checkpoint at size {size}: {fault}")
                note = next(due, None)
    if note is not None:
        return result(f"the ledger ends at {size}, but a checkpoint was signed at {note.size}: lines were cut off")
    if read_frontier(conn) != (size, frontier):
        return result("the stored frontier of the tree is not that of its lines")
    orphans = conn.execute(
        sa.select(sa.func.count())
        .select_from(ledger)
        .outerjoin(ledger_order, ledger_order.c.line == ledger.c.line)
        .outerjoin(ledger_pending, ledger_pending.c.line == ledger.c.line)
        .where(ledger_order.c.line.is_(None), ledger_pending.c.line.is_(None))
    ).scalar()
    if orphans:
        return result(f"{orphans} lines have no place in the order")
    return result()


def _line_fault(row: sa.Row[tuple[object, ...]]) -> str:
    if rules.commitment(row.nonce, row.bytes) != row.commitment:
        return "its body is not the one that was committed to"
    try:
        said = msgspec.json.decode(row.bytes, type=Body)
    except UNREADABLE:
        return "its body cannot be read"
    shown = (row.actor, row.action, row.object_kind, row.object, row.session)
    if (said.actor, said.action, said.object_kind, said.object, said.session) != shown:
        return "its columns do not say what its body says"
    return ""


def _checkpoint_fault(note: sa.Row[tuple[object, ...]], origin: str, public: bytes, root: bytes) -> str:
    try:
        size, signed_root = checkpoints.open_note(note.note, origin, public)
    except TamperDetected as error:
        return error.message
    if size != note.size or signed_root != note.root:
        return "the note signs another size or root than its row says"
    return "" if signed_root == root else "the lines do not give the root that was signed"
