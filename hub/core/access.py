"""The only door to an object: find it by what people call it, and check the right, in one step.

Features register two things here and nothing else: how an id of theirs leads to a session and a visibility
(`@guards`), and how a name people say leads to an id (`@resolves`). What an actor may not know of is NotFound, in the
same words as what does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from hub.core.database import metadata
from hub.core.errors import NotAllowed, NotFound
from hub.core.ids import looks_like_id
from hub.core.roles import IN_ROOM, Allowed, Decision, Refused, RoomStanding, SessionRole, Standing, Visibility, decide

if TYPE_CHECKING:
    from hub.core.context import Actor, Scope

# What incident response froze: nothing can be done to it but by the hub itself.
frozen = sa.Table(
    "frozen",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
)


# What every action asks is built once: building a statement costs more than running it.
_FROZEN = sa.select(frozen.c.reason).where(
    frozen.c.kind == sa.bindparam("object_kind"), frozen.c.id == sa.bindparam("object")
)


class Guarded(msgspec.Struct, frozen=True):
    """What access needs to know of an object to decide."""

    session_id: str | None
    owner_id: str | None = None
    visibility: Visibility = "session"
    shared_with: str | None = None  # one more person to whom it is as private as to its owner


Guard = Callable[[sa.Connection, str], Guarded | None]
Resolver = Callable[["Scope", str], str | None]
RoleOf = Callable[["Scope", "Actor", str], SessionRole | None]

GUARDS: dict[str, Guard] = {}
RESOLVERS: dict[str, Resolver] = {}
_role_of: list[RoleOf] = []
_room_standing: list[Callable[[Scope, str, str], RoomStanding | None]] = []
_default_session: list[Callable[[Scope], str | None]] = []


def guards(kind: str) -> Callable[[Guard], Guard]:
    """Register how an object of this kind leads to its session, owner and visibility."""

    def register(guard: Guard) -> Guard:
        GUARDS[kind] = guard
        return guard

    return register


def resolves(kind: str) -> Callable[[Resolver], Resolver]:
    """Register how a name people say for this kind leads to an id (ids themselves need no resolver)."""

    def register(resolver: Resolver) -> Resolver:
        RESOLVERS[kind] = resolver
        return resolver

    return register


def gives_roles(role_of: RoleOf) -> RoleOf:
    """Register who looks up the grants: the sessions feature."""
    _role_of[:] = [role_of]
    return role_of


def gives_room_standing(
    find: Callable[[Scope, str, str], RoomStanding | None],
) -> Callable[[Scope, str, str], RoomStanding | None]:
    """Register who knows what a moderator lets a person do in a room: the rooms feature."""
    _room_standing[:] = [find]
    return find


def gives_default_session(find: Callable[[Scope], str | None]) -> Callable[[Scope], str | None]:
    """Register what `session_id: null` means for an actor: their personal session."""
    _default_session[:] = [find]
    return find


class Access:
    """The rights of one actor in one unit of work."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._roles: dict[str, SessionRole | None] = {}
        self.checked: set[str] = set()

    def hub(self, permission: str) -> None:
        """Check a right that concerns no session. Raises NotAllowed."""
        self.checked.add(permission)
        decision = self.explain_hub(permission)
        if isinstance(decision, Refused):
            raise NotAllowed(f"not allowed: {decision.reason}", permission=permission)

    def session(self, ref: str | None, permission: str) -> str:
        """The id of the session `ref` names (None: the actor's own), if the actor may do this in it."""
        if ref is None:
            found = _default_session[0](self._scope)
            if found is None:
                raise NotFound(
                    "no session was named and you have none of your own", hint="name one with `session_id`, or sign in"
                )
            ref = found
        return self.find("session", ref, permission)

    def find(self, kind: str, ref: str, permission: str) -> str:
        """The id of the object `ref` names, if the actor may do this to it. Raises NotFound or NotAllowed."""
        self.checked.add(permission)
        object_id = ref if looks_like_id(ref) else None
        if object_id is None and kind in RESOLVERS:
            object_id = RESOLVERS[kind](self._scope, ref)
        if object_id is None:
            raise self._no_such(kind, ref)
        decision = self.explain(kind, object_id, permission)
        if isinstance(decision, Refused):
            if decision.known:
                raise NotAllowed(f"you may not do this to {kind} {ref[:100]}: {decision.reason}", permission=permission)
            raise self._no_such(kind, ref)
        if not self._is_hub_itself() and not permission.endswith((":read", ":join")):
            self._refuse_frozen(kind, object_id)
        return object_id

    def explain(self, kind: str, object_id: str, permission: str) -> Decision:
        """The decision and its reason, without raising."""
        guarded = GUARDS[kind](self._scope.conn, object_id)
        if guarded is None:
            return Refused("there is no such thing", known=False)
        if self._is_hub_itself():
            return Allowed("the hub itself")
        standing = self._standing(guarded.session_id, guarded.owner_id, guarded.shared_with)
        if permission in IN_ROOM and guarded.session_id is not None:
            standing = msgspec.structs.replace(standing, in_room=self.in_room(guarded.session_id))
        return decide(standing, permission, self._visibility(kind, guarded))

    def explain_hub(self, permission: str) -> Decision:
        """As `explain`, for a right that concerns no session."""
        return Allowed("the hub itself") if self._is_hub_itself() else decide(self._standing(None), permission, None)

    def frozen_because(self, kind: str, object_id: str) -> str | None:
        """Why nothing may be done to an object now, if it is frozen."""
        found: str | None = self._scope.execute(_FROZEN, {"object_kind": kind, "object": object_id}).scalar()
        return found

    def session_of(self, kind: str, object_id: str) -> str | None:
        """The session an object belongs to."""
        guarded = GUARDS[kind](self._scope.conn, object_id)
        return None if guarded is None else guarded.session_id

    def visibility(self, kind: str, object_id: str) -> Visibility | None:
        """How open an object is: as it was made, or as open as its session. None when it does not exist."""
        guarded = GUARDS[kind](self._scope.conn, object_id)
        return None if guarded is None else self._visibility(kind, guarded)

    def may(self, session_id: str, permission: str) -> bool:
        """Whether the actor has this right in a session; for pages that hide what would be refused."""
        return isinstance(self.explain("session", session_id, permission), Allowed)

    def role(self, session_id: str) -> SessionRole | None:
        """The actor's role in a session, looked up once."""
        if session_id not in self._roles:
            self._roles[session_id] = _role_of[0](self._scope, self._scope.actor, session_id)
        return self._roles[session_id]

    def in_room(self, session_id: str) -> RoomStanding | None:
        """What a moderator of the session's room said the actor may do in it."""
        return _room_standing[0](self._scope, session_id, self._scope.actor.id) if _room_standing else None

    def forget_roles(self) -> None:
        """Look roles up again, because this very action changed them."""
        self._roles.clear()

    def _visibility(self, kind: str, guarded: Guarded) -> Visibility:
        """What is not kept closer than its session is as open as its session."""
        if guarded.visibility != "session" or guarded.session_id is None or kind == "session":
            return guarded.visibility
        around = GUARDS["session"](self._scope.conn, guarded.session_id)
        return "session" if around is None else around.visibility

    def _standing(self, session_id: str | None, *owners: str | None) -> Standing:
        actor = self._scope.actor
        return Standing(
            hub_role=actor.hub_role,
            session_role=self.role(session_id) if session_id else None,
            is_owner=actor.id in owners,
            by_link=actor.kind == "link",
            scopes=actor.scopes,
        )

    def _is_hub_itself(self) -> bool:
        return self._scope.actor.kind == "system"

    def _refuse_frozen(self, kind: str, object_id: str) -> None:
        reason = self.frozen_because(kind, object_id)
        if reason is not None:
            raise NotAllowed(f"this {kind} is frozen: {reason}", code="frozen")

    @staticmethod
    def _no_such(kind: str, ref: str) -> NotFound:
        return NotFound(f"there is no {kind} {ref[:100]!r} that you may see", code=f"{kind}_not_found")
