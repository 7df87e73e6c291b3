"""A process that runs goes by what is stored now: mail, joining and the backup place change without a restart.

The address and its certificate do not: they were told to others (a cookie's name, allowed origins, sockets) when the
process began. A message that is lost is made up for by looking now and then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from hub.core.errors import HubError
from hub.core.house import House
from hub.setup import stored
from hub.setup.rules import NEEDS_RESTART
from hub.setup.testing import CHANGED

LOOK_SECONDS = 60.0
log = structlog.get_logger()


def look(house: House) -> None:
    """Take up what is stored now, except what needs a restart."""
    now = stored.overlaid(house)
    as_begun = {name: getattr(house.settings, name) for name in NEEDS_RESTART}
    house.settings = msgspec.structs.replace(now, **as_begun)


def follow(house: House, every_seconds: float = LOOK_SECONDS) -> Callable[[], None]:
    """Look whenever somebody stored something, and now and then; until the returned function is called."""
    wake, over = threading.Event(), threading.Event()

    def heard(_channel: str, _message: dict[str, Any]) -> None:
        wake.set()

    def run() -> None:
        while True:
            wake.wait(every_seconds)
            wake.clear()
            if over.is_set():
                return
            try:
                look(house)
            except HubError as error:
                log.warning("settings.not_looked", error=str(error))

    deafen = house.bus.listen(CHANGED, heard)
    threading.Thread(target=run, name="settings", daemon=True).start()

    def stop() -> None:
        deafen()
        over.set()
        wake.set()

    return stop
