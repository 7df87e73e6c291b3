"""How a channel is named, and who may set what it shows; pure."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from hub.core.errors import InvalidInput

Cards = Literal["full", "ends", "digest", "off"]
Notify = Literal["all", "ends", "failures", "none"]
Platform = Literal["slack", "matrix"]

_ID = re.compile(r"[A-Za-z0-9_.!@-]{1,64}")


class Place(msgspec.Struct, frozen=True):
    """A channel of a chat platform, by the platform's own ids."""

    platform: str
    workspace: str
    channel: str
    thread: str = ""

    def __str__(self) -> str:
        return f"{self.platform}:{self.workspace}:{self.channel}"


def place(text: str, path: str = "$.channel") -> Place:
    """`slack:T123:C456[:THREAD]` as a place. Raises InvalidInput."""
    parts = text.split(":", 3)
    if len(parts) < 3 or parts[0] not in ("slack", "matrix") or not all(map(_ID.fullmatch, parts[1:])):
        raise InvalidInput(
            f"{text[:100]!r} names no channel", path=path, hint="write slack:WORKSPACE:CHANNEL, with the platform's ids"
        )
    return Place(*parts)


def same_channel(came_by: str | None, asked: Place) -> bool:
    """Whether somebody was heard in the very channel they speak of."""
    return came_by is not None and (came_by + ":").startswith(f"{asked}:")
