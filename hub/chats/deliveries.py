"""What a chat platform delivered, each once: remembered for an hour under the platform's own words for it.

A platform's signed request can be sent again by whoever saw it. The bot names it with the first thing it asks the hub
because of it, and the hub records that name in the same unit of work as what is asked.
"""

from __future__ import annotations

import datetime as dt

import msgspec
import sqlalchemy as sa

from hub.chats.tables import chat_seen
from hub.core import limits
from hub.core.database import Tx
from hub.core.errors import Conflict, InvalidInput

HEADER = "Collegium-Delivery"
KEY_CHARACTERS = 200
REPEATED = "delivery_repeated"


_FORGET = sa.delete(chat_seen).where(chat_seen.c.at < sa.bindparam("before"))


class Delivery(msgspec.Struct, frozen=True):
    """A delivery by its platform and name there; `is_again` when the bot does not know whether it was recorded."""

    platform: str
    key: str
    is_again: bool = False

    def record(self, tx: Tx, now: dt.datetime) -> None:
        """Remember it. Raises Conflict when it was seen before, unless it is the same bot that asks again."""
        if not first_time(tx, self.platform, self.key, now) and not self.is_again:
            raise Conflict("this was delivered before, and is done once", code=REPEATED)


def read(header: str) -> Delivery:
    """`slack:KEY` or `slack:KEY again`. Raises InvalidInput."""
    name, _, more = header.partition(" ")
    platform, _, key = name.partition(":")
    if not (platform and key and key.isprintable() and len(key) <= KEY_CHARACTERS and len(platform) <= 16) or (
        more not in ("", "again")
    ):
        raise InvalidInput("a delivery is named PLATFORM:KEY", path=HEADER)
    return Delivery(platform, key, more == "again")


def first_time(tx: Tx, platform: str, key: str, now: dt.datetime) -> bool:
    """Whether a platform's event is new here; those seen an hour ago are forgotten."""
    tx.execute(_FORGET, {"before": now - dt.timedelta(seconds=limits.CHAT_SEEN_SECONDS)})
    return tx.insert_new(chat_seen, platform=platform, key=key, at=now)
