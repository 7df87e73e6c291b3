"""What an update to a draft may be, when a log is long enough to fold, whether a fold is sound; functions over values.

Updates are Yjs's first encoding. They are read here before any library sees them: a draft is one text, so anything that
is not a piece of that text, or refers to what nobody has, is refused by name. The library would keep an update that
refers to something missing aside, without a word, and leave it out of everything it writes afterwards.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping

import msgspec

from hub.core import limits

TEXT = "text"
FOLD_UPDATES = 500
FOLD_BYTES = 256 * 1024
_MOST_CLOCK = 1 << 31
_MOST_CLIENT = 1 << 53
_GC, _DELETED, _STRING, _SKIP = 0, 1, 4, 10
_REFERENCE, _HAS_ORIGIN, _HAS_RIGHT_ORIGIN, _HAS_PARENT_SUB = 0x1F, 0x80, 0x40, 0x20


class NotAnUpdateError(Exception):
    """These bytes are no update of a text."""


class Update(msgspec.Struct, frozen=True):
    """What an update says it holds: for each client from which clock to which, and up to where it needs others."""

    spans: dict[int, tuple[int, int]]
    needs: dict[int, int]

    @property
    def is_empty(self) -> bool:
        return not self.spans and not self.needs


class _Reader:
    """Numbers and strings as Yjs writes them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        if self._at >= len(self._data):
            raise NotAnUpdateError("the update ends too early")
        self._at += 1
        return self._data[self._at - 1]

    def number(self, below: int) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if value >= below:
                raise NotAnUpdateError("a number in the update is too large")
            if byte < 0x80:
                return value
            shift += 7

    def string(self) -> str:
        size = self.number(_MOST_CLOCK)
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise NotAnUpdateError("the update ends too early")
        self._at += size
        try:
            return piece.decode()
        except UnicodeDecodeError:
            raise NotAnUpdateError("a text in the update is not UTF-8") from None

    def end(self) -> None:
        if self._at != len(self._data):
            raise NotAnUpdateError("bytes are left over")


def read_update(data: bytes) -> Update:
    """The update's outline.

    :raises NotAnUpdateError: for any bytes that are not exactly one update of a draft's text.
    """
    reader = _Reader(data)
    spans: dict[int, tuple[int, int]] = {}
    needs: dict[int, int] = {}
    for _ in range(reader.number(_MOST_CLOCK)):
        count, client, clock = reader.number(_MOST_CLOCK), reader.number(_MOST_CLIENT), reader.number(_MOST_CLOCK)
        if client in spans:
            raise NotAnUpdateError("a writer stands in it twice")
        start = clock
        for _ in range(count):
            size, known = _read_piece(reader, needs)
            if not known:
                # A gap: what comes behind it needs what is left out.
                _need(needs, client, clock + size)
            clock += size
            if clock >= _MOST_CLOCK:
                raise NotAnUpdateError("a clock in the update is too large")
        spans[client] = (start, clock)
    for _ in range(reader.number(_MOST_CLOCK)):
        client = reader.number(_MOST_CLIENT)
        for _ in range(reader.number(_MOST_CLOCK)):
            clock, size = reader.number(_MOST_CLOCK), reader.number(_MOST_CLOCK)
            _need(needs, client, clock + size)
    reader.end()
    return Update(spans, needs)


def _read_piece(reader: _Reader, needs: dict[int, int]) -> tuple[int, bool]:
    """How long the next piece is, and whether it says what it holds."""
    info = reader.byte()
    if info in (_GC, _SKIP):
        return _length(reader), info == _GC
    reference = info & _REFERENCE
    if info & _HAS_PARENT_SUB or reference not in (_DELETED, _STRING):
        raise NotAnUpdateError("a draft holds text only")
    if info & _HAS_ORIGIN:
        _read_place(reader, needs)
    if info & _HAS_RIGHT_ORIGIN:
        _read_place(reader, needs)
    if not info & (_HAS_ORIGIN | _HAS_RIGHT_ORIGIN) and (reader.number(2) != 1 or reader.string() != TEXT):
        raise NotAnUpdateError("it changes something that is not the draft's text")
    if reference == _DELETED:
        return _length(reader), True
    size = len(reader.string().encode("utf-16-le")) // 2
    if size == 0:
        raise NotAnUpdateError("an empty piece")
    return size, True


def _length(reader: _Reader) -> int:
    size = reader.number(_MOST_CLOCK)
    if size == 0:
        raise NotAnUpdateError("an empty piece")
    return size


def _read_place(reader: _Reader, needs: dict[int, int]) -> None:
    client, clock = reader.number(_MOST_CLIENT), reader.number(_MOST_CLOCK)
    _need(needs, client, clock + 1)


def _need(needs: dict[int, int], client: int, clock: int) -> None:
    needs[client] = max(needs.get(client, 0), clock)


def read_state(data: bytes) -> dict[int, int]:
    """A state vector: how far each client's clock has come.

    :raises NotAnUpdateError: for bytes that are none.
    """
    reader = _Reader(data)
    state = {}
    for _ in range(reader.number(_MOST_CLOCK)):
        client = reader.number(_MOST_CLIENT)
        state[client] = reader.number(_MOST_CLOCK)
    reader.end()
    return state


def is_missing(update: Update, state: Mapping[int, int]) -> bool:
    """Whether the update stands on something that neither the record nor the update itself has."""
    after = covered(update, state)
    return any(start > state.get(client, 0) for client, (start, _) in update.spans.items()) or any(
        clock > after.get(client, 0) for client, clock in update.needs.items()
    )


def covered(update: Update, state: Mapping[int, int]) -> dict[int, int]:
    """The state once the update is in."""
    return {**state, **{client: max(state.get(client, 0), end) for client, (_, end) in update.spans.items()}}


def is_behind(state: Mapping[int, int], other: Mapping[int, int]) -> bool:
    """Whether the other has something that this state lacks."""
    return any(clock > state.get(client, 0) for client, clock in other.items())


def is_long(updates: int, size_bytes: int) -> bool:
    """Whether a log is to be folded into a checkpoint."""
    return updates >= FOLD_UPDATES or size_bytes >= FOLD_BYTES


def is_sound(before: str, after: str, needed: Mapping[int, int], state: Mapping[int, int], *, had_pieces: bool) -> bool:
    """Whether a checkpoint may take the place of its log: nothing written is missing, and the text is the same.

    A checkpoint without any state never replaces a log that had some, whatever the two texts say.
    """
    return digest(before) == digest(after) and not is_behind(state, needed) and (bool(state) or not had_pieces)


def digest(text: str) -> str:
    """What a text is known by."""
    return hashlib.sha256(text.encode()).hexdigest()


def change(before: str, after: str) -> tuple[int, int, str]:
    """The smallest single replacement that makes one text the other: (from, how many characters, what instead)."""
    most = min(len(before), len(after))
    start = 0
    while start < most and before[start] == after[start]:
        start += 1
    tail = 0
    while tail < most - start and before[len(before) - 1 - tail] == after[len(after) - 1 - tail]:
        tail += 1
    return start, len(before) - tail - start, after[start : len(after) - tail]


_ENDS: dict[int, str | None] = {ord("\r"): "\n", 0x2028: "\n", 0x2029: "\n"}
_CONTROLS: dict[int, str | None] = {code: None for code in (*range(32), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
# Overrides of the writing direction can make a text read as another one.
_OVERRIDES: dict[int, str | None] = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def clean_text(text: str) -> str:
    """A text as a draft begins: one kind of line ending, no control characters."""
    return text.replace("\r\n", "\n").translate(_CONTROLS | _ENDS)


def clean_name(name: str) -> str:
    """A draft's name: one line, nothing blank around it, nothing in it that cannot be seen."""
    return " ".join(name.translate(_ENDS).translate(_CONTROLS | _OVERRIDES).split())


def is_name(name: str) -> bool:
    """Whether a cleaned name names anything: it is no longer than titles are, and something of it can be seen."""
    return len(name) <= limits.TITLE_CHARACTERS and any(unicodedata.category(each)[0] not in "CZ" for each in name)
