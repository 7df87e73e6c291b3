"""Documents that were open lately in this process, so that an edit need not read a draft's whole history.

A document is taken off the shelf to be changed and put back once the change is committed: a unit of work that fails or
runs twice finds none and reads the record again, and nothing that was rolled back is ever built upon.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import sqlalchemy as sa

from hub.rooms.drafts import log
from hub.rooms.drafts.document import Document

MOST_OPEN = 32


class Shelf:
    """At most so many documents, each as its draft was at some number of its history."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[int, int, Document]] = OrderedDict()

    def take(self, conn: sa.Connection, key: bytes, draft: sa.Row[Any]) -> Document:
        """The draft as its row says, for the caller alone."""
        with self._lock:
            found = self._open.pop(draft.id, None)
        if found is not None:
            epoch, sequence, document = found
            missed = log.after(conn, key, draft, sequence) if epoch == draft.epoch and sequence <= draft.head else None
            if missed is not None:
                for _, update in missed:
                    document.take(update)
                return document
        return log.load(conn, key, draft)

    def put(self, draft: str, epoch: int, sequence: int, document: Document) -> None:
        """Put a document back as what the draft is at a number of its history."""
        with self._lock:
            self._open[draft] = (epoch, sequence, document)
            self._open.move_to_end(draft)
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
