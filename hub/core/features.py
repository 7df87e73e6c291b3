"""What a session's room offers: each thing is switched by name, and some are on unless somebody switched them off."""

from __future__ import annotations

from collections.abc import Mapping

NAMES = ("live_cursor", "voice_chat", "screen_sharing", "private_messages")
ON_UNLESS_SAID = frozenset({"chat", "live_cursor", "private_messages"})


def offers(features: Mapping[str, bool], name: str) -> bool:
    """Whether a room with these switches offers this."""
    return features.get(name, name in ON_UNLESS_SAID)


def every(features: Mapping[str, bool]) -> dict[str, bool]:
    """Each of them, said or not."""
    return {name: offers(features, name) for name in NAMES}
