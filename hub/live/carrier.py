"""Hears what the other processes of the hub say over Redis. It wakes and carries; whoever misses it finds it in SQL."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

log = structlog.get_logger()
PATTERNS = ("session:*", "log:*", "ledger")
PAUSE_SECONDS = 0.5


class Carrier:
    """A subscription that comes back by itself."""

    def __init__(self, url: str, heard: Callable[[str, dict[str, Any]], None]) -> None:
        self._url = url
        self._heard = heard
        self._failing = False

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                if not self._failing:
                    log.warning("live.bus_out_of_reach", error=repr(error))
                self._failing = True
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        # A blocking read of redis-py 8 ends after 5 s unless told otherwise; ours may be silent for a day.
        client = redis.Redis.from_url(
            self._url, socket_timeout=None, socket_connect_timeout=2, health_check_interval=15
        )
        async with contextlib.aclosing(client), client.pubsub() as subscription:
            await subscription.psubscribe(*PATTERNS)
            async for message in subscription.listen():
                self._failing = False
                if message["type"] == "pmessage":
                    self._take(message["channel"], message["data"])

    def _take(self, channel: bytes, data: bytes) -> None:
        try:
            said = msgspec.json.decode(data, type=dict[str, Any])
            name = channel.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("live.bus_nonsense", error=str(error))
            return
        self._heard(name, said)
