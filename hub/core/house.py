"""The assembled hub: settings, clock, database, bus, keys, and the ports that `hub/app.py` chose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hub.core.bus import Bus
from hub.core.clock import Clock
from hub.core.context import Actor, Scope
from hub.core.database import Database
from hub.core.keys import KeyRing
from hub.core.settings import Settings

if TYPE_CHECKING:
    pass

P = TypeVar("P")


class House:
    """One hub in one process; made once by the composition root and passed down."""

    def __init__(self, *, settings: Settings, clock: Clock, db: Database, bus: Bus, kek: bytes, secret: bytes) -> None:
        self.settings = settings
        self.given_settings = settings  # before what set-up stored is laid over them
        self.clock = clock
        self.db = db
        self.bus = bus
        self.secret = secret
        self.keys = KeyRing(db, kek, clock)
        self._ports: dict[type, Any] = {}
        self._closing: list[Callable[[], None]] = []

    def provide(self, kind: type[P], implementation: P) -> None:
        """Choose the implementation of a port; only `hub/app.py` and tests do."""
        self._ports[kind] = implementation

    def port(self, kind: type[P]) -> P:
        implementation: P = self._ports[kind]
        return implementation

    @contextmanager
    def scope(self, actor: Actor) -> Iterator[Scope]:
        """A snapshot in which `actor` looks around."""
        with self.db.read() as conn:
            yield Scope(self, conn, actor)

    def close(self) -> None:
        self.db.close()
