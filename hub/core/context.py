"""What a view and a handler are given: the whole world they may touch, and no more.

A `Scope` can look; a `Context` can also change things, within the one transaction of the action it carries out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import sqlalchemy as sa

from hub.core import steps
from hub.core.access import Access
from hub.core.database import Tx
from hub.core.errors import HubError
from hub.core.ids import derived_secret
from hub.core.roles import HubRole, SessionRole

if TYPE_CHECKING:
    from hub.core.house import House

P = TypeVar("P")


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts: a person, a guest by link, a service, or the hub itself."""

    id: str
    name: str
    kind: Literal["person", "link", "service", "system"] = "person"
    handle: str = ""
    hub_role: HubRole = "member"
    token_id: str | None = None
    sign_in_id: str | None = None
    scopes: frozenset[str] | None = None
    link_id: str | None = None
    link_session: str | None = None
    link_role: SessionRole | None = None
    signed_in_at: dt.datetime | None = None
    by_service: str | None = None  # the service that acts as this person
    address: str = ""  # of the client, as the front door saw it
    must_enrol: bool = False  # signed in, but the hub asks a second factor of their role and they have none yet
    agent: str = ""  # what kind of browser, in our own words
    came_by: str | None = None  # where a chat bot heard them: `slack:WORKSPACE:CHANNEL[:THREAD]`; goes into the ledger


SYSTEM = Actor(id="hub", name="Collegium", kind="system", hub_role="operator")
ANYONE = Actor(id="anyone", name="somebody not signed in", kind="link", hub_role="guest")


class Refusal(Exception):
    """An action is refused and undone, but `also` is committed: a wrong passphrase is counted."""

    def __init__(self, error: HubError, also: Callable[[Tx], None]) -> None:
        super().__init__(str(error))
        self.error = error
        self.also = also


class Scope:
    """What a view is given."""

    def __init__(self, house: House, conn: sa.Connection, actor: Actor) -> None:
        self.house = house
        self.conn = conn
        self.actor = actor
        self.now = house.clock.now()
        self.settings = house.settings
        self.access = Access(self)
        self._known: dict[Hashable, Any] = {}

    def execute(self, statement: sa.Executable, *args: Any, **kwargs: Any) -> sa.CursorResult[Any]:
        return self.conn.execute(statement, *args, **kwargs)

    def once(self, key: Hashable, look: Callable[[], P]) -> P:
        """What `look` found when it was first asked for under this key: for what no unit of work changes and reads."""
        if key not in self._known:
            self._known[key] = look()
        found: P = self._known[key]
        return found

    def port(self, kind: type[P]) -> P:
        """The implementation of a port that `hub/app.py` chose."""
        return self.house.port(kind)


class Named(msgspec.Struct, frozen=True):
    """The object of one ledger line, and the facts that go into its body."""

    kind: str
    id: str
    session_id: str | None
    facts: dict[str, Any]
    action: str | None = None
    written: Callable[[int], None] | None = None  # told the line, in the same transaction


class Context(Scope):
    """What an action's handler is given."""

    def __init__(self, house: House, tx: Tx, actor: Actor) -> None:
        super().__init__(house, tx.conn, actor)
        self.tx = tx
        self.lines: list[Named] = []
        self.revealed: dict[str, tuple[str, str, str]] = {}
        self.prepared: Any = None  # what the action's `before` answered

    def about(
        self,
        kind: str,
        object_id: str,
        session_id: str | None = None,
        *,
        action: str | None = None,
        written: Callable[[int], None] | None = None,
        **facts: Any,
    ) -> None:
        """Name the object of this action's ledger line. Facts hold ids, digests and numbers; never names or e-mails."""
        self.lines.append(Named(kind, object_id, session_id, facts, action, written))

    def enqueue(
        self, kind: str, object_id: str, *, queue: str = "default", due_at: dt.datetime | None = None, **args: Any
    ) -> str:
        """Record a step to be carried out after commit; returns its id."""
        step_id = steps.add(self.tx, kind, object_id, queue=queue, due_at=due_at or self.now, args=args)
        if due_at is None or due_at <= self.now:
            self.after_commit(lambda: self.house.bus.push(queue, step_id))
        return step_id

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Tell whoever listens now, after commit; nothing may depend on its arrival."""
        self.after_commit(lambda: self.house.bus.publish(channel, message))

    def after_commit(self, then: Callable[[], None]) -> None:
        self.tx.after_commit(then)

    def reveal(self, field: str, prefix: str, purpose: str, object_id: str) -> str:
        """A secret shown once in `field` (`invitations.0.secret`) of the answer.

        It is derived from the hub's key, so it is never stored.
        A retry under the same idempotency key is answered with the same secret.
        """
        self.revealed[field] = (prefix, purpose, object_id)
        return derived_secret(self.house.secret, prefix, purpose, object_id)
