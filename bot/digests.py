"""Channels that want one message an hour: what ended is gathered in a card of the hour, edited as more ends.

The row of each thing says by `shown` to which hour it belongs, so that after a restart the same hour is told again in
the same message.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bot.cards import Reply
from bot.detail import strictest
from bot.door import Place
from bot.faces.digest import digest_face
from bot.notify_rules import Face, Standing, Thing

if TYPE_CHECKING:
    from bot.card_work import Live
    from bot.follower import Follower

_Channel = tuple[str, str, str]


class Digests:
    """The digests of a follower's channels."""

    def __init__(self, follower: "Follower") -> None:
        self._follower = follower

    async def look(self) -> None:
        """Give each ended thing its hour, show each hour as it stands, close the hours that are over."""
        channels: dict[_Channel, list[Live]] = {}
        for live in list(self._follower.live.values()):
            if live.card.state == "digest":
                channels.setdefault((live.card.platform, live.card.workspace, live.card.channel), []).append(live)
        for channel, lives in channels.items():
            await self._channel(channel, lives)

    async def _channel(self, channel: _Channel, lives: "list[Live]") -> None:
        hour = self._hour()
        for live in lives:
            if live.face is not None and live.face.standing.is_over and not live.card.shown:
                live.card = await self._follower.record(live.card.id, shown=hour)
        going_on = sum(1 for live in lives if not live.card.shown)
        for told in sorted({live.card.shown for live in lives if live.card.shown}):
            mine = [live for live in lives if live.card.shown == told and live.face is not None]
            await self._show(channel, told, mine, going_on if told == hour else 0, is_over=told != hour)

    async def _show(self, channel: _Channel, hour: str, mine: "list[Live]", going_on: int, *, is_over: bool) -> None:
        thing = Thing("digest", f"{channel[2]}@{hour}"[:64])
        card = await self._follower.claim(thing, Place(*channel), "wanted")
        replies: list[Reply] = [live.face.reply for live in mine if live.face is not None]
        detail = strictest(*(live.face.detail for live in mine if live.face is not None))
        standing = Standing("well" if is_over else "", word=str(len(replies)))
        if not card.card.settled:
            self._follower.show(card, Face(digest_face(replies, going_on), standing, detail))
            return
        for live in mine:
            live.card = await self._follower.record(live.card.id, settled=True)
            self._follower.drop(live)

    def _hour(self) -> str:
        return datetime.fromtimestamp(self._follower.now(), UTC).strftime("%Y-%m-%dT%H")
