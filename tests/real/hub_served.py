"""A hub's web application on a port of loopback, over a house that a test holds, to be away for a while."""

from __future__ import annotations

import threading

import uvicorn

from hub.core.connection import Droppable
from hub.core.house import House
from hub.web.application import create
from tests.real.sshd_box import answers
from tests.waiting import wait_for


class Served:
    """It can be taken away and brought back; the house stays open, and is whoever's who made it."""

    def __init__(self, house: House, port: int) -> None:
        self._house, self.port = house, port
        self._server: uvicorn.Server | None = None

    def start(self) -> None:
        # Without a lifespan, at whose end the application would close the house.
        config = uvicorn.Config(
            create(self._house), host="127.0.0.1", port=self.port, http=Droppable, ws="none", lifespan="off",
            log_level="critical", access_log=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)
        self._thread.start()
        wait_for(lambda: answers(self.port), 20, "an answer of the web application")

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(20)
            assert not self._thread.is_alive()
            self._server = None

    @property
    def is_away(self) -> bool:
        return self._server is None
