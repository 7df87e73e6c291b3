"""Hears what the other processes of the hub say over Redis, and says what rooms say to their halves elsewhere.

It wakes and carries; what lasts is in SQL for whoever misses it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

log = structlog.get_logger()
PATTERNS = ("session:*", "log:*", "ledger", "room:*")
PAUSE_SECONDS = 0.5
LEASE_SECONDS = 10.0


class Carrier:
    """A subscription that comes back by itself."""

    def __init__(
        self,
        url: str,
        heard: Callable[[str, dict[str, Any]], None],
        batch: Callable[[str, bytes], None] = lambda session, data: None,
        back: Callable[[], None] = lambda: None,
    ) -> None:
        self._url = url
        self._heard = heard
        self._batch = batch
        self._back = back  # called whenever the subscription begins (again)
        # A blocking read of redis-py 8 ends after 5 s unless told otherwise; ours may be silent for a day. One for all
        # attempts: a new one reads from the disk which version it is, twice a second for as long as the bus is away.
        self._hearing = redis.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=2, health_check_interval=15
        )
        self._speaking: redis.Redis | None = None
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
        async with self._hearing.pubsub() as subscription:
            await subscription.psubscribe(*PATTERNS)
            self._back()
            async for message in subscription.listen():
                self._failing = False
                if message["type"] == "pmessage":
                    self._take(message["channel"], message["data"])

    @property
    def _client(self) -> redis.Redis:
        if self._speaking is None:
            self._speaking = redis.Redis.from_url(self._url, socket_timeout=2, socket_connect_timeout=2)
        return self._speaking

    async def aclose(self) -> None:
        await self._hearing.aclose()
        if self._speaking is not None:
            await self._speaking.aclose()

    async def publish(self, channel: str, data: bytes) -> bool:
        """Say something to the other nodes; False when nobody can have heard it."""
        try:
            await self._client.publish(channel, data)
        except (RedisError, OSError):
            return False
        return True

    async def claim(self, name: str, number: int) -> bool:
        """Take, or keep, a node's number for as long as `LEASE_SECONDS`. Raises RedisError or OSError."""
        key, lease_ms = f"live:node:{number}", int(LEASE_SECONDS * 1000)
        if await self._client.set(key, name, nx=True, px=lease_ms):
            return True
        if await self._client.get(key) != name.encode():
            return False
        await self._client.pexpire(key, lease_ms)
        return True

    def _take(self, channel: bytes, data: bytes) -> None:
        if channel.startswith(b"room:"):
            return self._batch(channel[5:].decode(errors="replace"), data)
        try:
            said = msgspec.json.decode(data, type=dict[str, Any])
            name = channel.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("live.bus_nonsense", error=str(error))
            return None
        self._heard(name, said)
        return None
