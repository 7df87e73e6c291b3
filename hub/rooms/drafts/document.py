"""One draft in memory: the only place that knows which library keeps the text.

Whoever holds a document holds it alone: it is taken out of the shelf (`shelf.py`), changed, and put back.
"""

from __future__ import annotations

from pycrdt import Doc, Text, TransactionEvent, merge_updates

from hub.rooms.drafts import rules
from hub.rooms.drafts.rules import NotAnUpdateError, Update


class SpoiltError(Exception):
    """The library did not take an update whole; this document must not be used any more."""


class Document:
    """A text that several people change at once."""

    def __init__(self) -> None:
        self._doc: Doc[Text] = Doc(allow_multithreading=True)
        self._text = self._doc.get(rules.TEXT, type=Text)
        self._changes: list[bytes] = []
        self._observing = self._doc.observe(self._changed)

    def _changed(self, event: TransactionEvent) -> None:
        self._changes.append(event.update)

    def apply(self, update: bytes, outline: Update) -> bytes:
        """Take up an update; what of it was new, as an update, and nothing (b"") if all of it was known.

        :raises SpoiltError: when it was not taken whole.
        """
        self._changes.clear()
        wanted = rules.covered(outline, self.state())
        try:
            self._doc.apply_update(update)
        except ValueError as error:
            raise SpoiltError(str(error)) from error
        except BaseException as error:
            # A panic of the library is no Exception of Python's.
            if type(error).__name__ != "PanicException":
                raise
            raise SpoiltError(str(error)) from None
        if rules.is_behind(self.state(), wanted):
            raise SpoiltError("the library keeps a part of it aside")
        return joined(self._changes)

    def take(self, update: bytes) -> None:
        """Apply what is known to be sound, such as the record's own log."""
        self.apply(update, rules.read_update(update))

    def become(self, text: str) -> bytes:
        """Change the text into another one by the smallest edit; the edit, or b"" when they are equal."""
        self._changes.clear()
        before = self.text()
        start, count, instead = rules.change(before, text)
        at = len(before[:start].encode())
        gone = len(before[start : start + count].encode())
        with self._doc.transaction():
            if gone:
                del self._text[at : at + gone]
            if instead:
                self._text.insert(at, instead)
        return joined(self._changes)

    def text(self) -> str:
        return str(self._text)

    def vector(self) -> bytes:
        """How far it has come, as Yjs writes it."""
        return self._doc.get_state()

    def state(self) -> dict[int, int]:
        return rules.read_state(self.vector())

    def whole(self) -> bytes:
        """All of it as one update."""
        return self._doc.get_update()

    def lacking(self, vector: bytes) -> bytes:
        """What somebody lacks who has come as far as `vector` (b"": who has nothing).

        :raises NotAnUpdateError: when that is no state vector.
        """
        if not vector:
            return self.whole()
        rules.read_state(vector)
        try:
            return self._doc.get_update(vector)
        except ValueError as error:
            raise NotAnUpdateError(str(error)) from None


def joined(updates: list[bytes]) -> bytes:
    """Several updates as one."""
    return merge_updates(*updates) if len(updates) > 1 else updates[0] if updates else b""
