"""The worker process: RQ hands it step ids, one at a time; beside it run the dispatcher and the sequencer.

A SimpleWorker, because a step is short and a fork per step costs more than the step. RQ's own death penalty is off: it
raises in the middle of a step, and a deadline belongs to the step's lease. A worker whose Redis is away waits for it.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

import redis
import rq
import structlog
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from hub.core.bus import connect
from hub.core.house import House
from hub.work import entry
from hub.work.dispatcher import Loops, schedule_housekeeping

log = structlog.get_logger()
QUEUES = ("local", "default", "previews")


class NoDeathPenalty:
    """RQ asks for one around each job; ours never strikes."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class Hand(rq.SimpleWorker):
    """A worker without signal handlers or pub/sub thread of its own, which leaves between jobs when told."""

    death_penalty_class = NoDeathPenalty  # type: ignore[assignment]
    stop: threading.Event

    def _install_signal_handlers(self) -> None: ...

    def subscribe(self, *_: Any, **__: Any) -> None: ...

    def unsubscribe(self, *_: Any, **__: Any) -> None: ...

    def heartbeat(self, *args: Any, **kwargs: Any) -> Any:
        if self.stop.is_set() and not self.executions:
            raise StopRequested
        return super().heartbeat(*args, **kwargs)


def run(house: House) -> None:
    """Work until SIGTERM; the step in hand is finished first."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    entry.serve(house)
    schedule_housekeeping(house)
    loops = Loops(house)
    loops.start()
    # RQ blocks in Redis; it runs in a thread so that signals reach the main one at once.
    hands = threading.Thread(target=_keep_working, args=(house, stop), name="hand", daemon=True)
    hands.start()
    while not stop.wait(0.5):
        if not hands.is_alive():
            raise RuntimeError("the worker's hand is gone")
    loops.stop()
    hands.join(timeout=8)


def _keep_working(house: House, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            connection = connect(house.settings.redis, socket_timeout=30)
            # worker_ttl 17 makes RQ block for 2 s at a time, so that a stop is noticed soon.
            hand = Hand(
                list(QUEUES),
                connection=connection,
                serializer=JSONSerializer,
                worker_ttl=17,
                log_job_description=False,
            )
            hand.stop = stop
            hand.work(logging_level="WARNING", with_scheduler=False)
        except (redis.RedisError, OSError) as error:
            log.warning("worker.redis_away", error=str(error))
            stop.wait(1)
