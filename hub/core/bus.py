"""The bus wakes and carries; it never remembers.

Whoever misses a message finds the same facts in SQL. Channels: `ledger` (new lines were numbered), `pending` (lines
wait for a number), `session:<id>` (something to show in a room), `log:<job>` (bytes were appended), `agent:<account>`
(there is something to do on a cluster). Queues carry step ids to RQ workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import redis
import rq
import structlog
from rq.serializers import JSONSerializer

log = structlog.get_logger()
ENTRY_POINT = "hub.work.entry.run_step"


class Bus(Protocol):
    """Carries small messages between processes, at most once."""

    def publish(self, channel: str, message: dict[str, Any]) -> None: ...

    def push(self, queue: str, step_id: str) -> None: ...

    def listen(self, pattern: str, heard: Callable[[str, dict[str, Any]], None]) -> Callable[[], None]:
        """Call `heard(channel, message)` from a thread of its own until the returned function is called."""
        ...


class MemoryBus:
    """A bus within one process, for tests; remembers what it carried."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.pushed: list[tuple[str, str]] = []
        self._listeners: list[tuple[str, Callable[[str, dict[str, Any]], None]]] = []

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        self.published.append((channel, message))
        for pattern, heard in list(self._listeners):
            if channel == pattern or (pattern.endswith("*") and channel.startswith(pattern[:-1])):
                heard(channel, message)

    def push(self, queue: str, step_id: str) -> None:
        self.pushed.append((queue, step_id))

    def listen(self, pattern: str, heard: Callable[[str, dict[str, Any]], None]) -> Callable[[], None]:
        listener = (pattern, heard)
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


def connect(url: str, *, socket_timeout: float | None = 5) -> redis.Redis:
    """A client of Redis or Valkey.

    A blocking read needs a `socket_timeout` above its wait: redis-py 8 gives up after 5 s by default.
    """
    return redis.Redis.from_url(url, socket_timeout=socket_timeout, socket_connect_timeout=2, health_check_interval=30)


class RedisBus:
    """The bus over Redis or Valkey; a failure to publish is logged and forgotten, because SQL is the record."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = connect(url)

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        try:
            self._client.publish(channel, msgspec.json.encode(message))
        except redis.RedisError as error:
            log.warning("bus.publish_failed", channel=channel, error=str(error))

    def push(self, queue: str, step_id: str) -> None:
        try:
            rq.Queue(queue, connection=self._client, serializer=JSONSerializer).enqueue(
                ENTRY_POINT, step_id, job_timeout=-1, result_ttl=0, failure_ttl=0
            )
        except redis.RedisError as error:
            log.warning("bus.push_failed", queue=queue, step=step_id, error=str(error))

    def listen(self, pattern: str, heard: Callable[[str, dict[str, Any]], None]) -> Callable[[], None]:
        stop = threading.Event()
        threading.Thread(target=self._listen, args=(pattern, heard, stop), name=f"bus {pattern}", daemon=True).start()
        return stop.set

    def _listen(self, pattern: str, heard: Callable[[str, dict[str, Any]], None], stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                with connect(self._url, socket_timeout=30).pubsub() as pubsub:  # type: ignore[no-untyped-call]
                    pubsub.psubscribe(pattern)
                    while not stop.is_set():
                        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
                        if message is not None:
                            heard(message["channel"].decode(), msgspec.json.decode(message["data"]))
            except redis.RedisError as error:
                log.warning("bus.listen_failed", pattern=pattern, error=str(error))
                stop.wait(0.5)
