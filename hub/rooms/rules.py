"""What a message is, as functions over values."""

from __future__ import annotations

_CONTROLS = {code: None for code in range(32) if code not in (9, 10)} | {127: None}
# Overrides of the writing direction can make a name or a number read as another one.
_OVERRIDES = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def clean_text(text: str) -> str:
    """The text as it is kept: one kind of line ending, no control characters, nothing blank around it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS | _OVERRIDES).strip()


def is_sayable(text: str, most_characters: int) -> bool:
    """Whether a cleaned text is a message: it says something and is not too long."""
    return 0 < len(text) <= most_characters
