"""Who may do what: one table, one pure function.

A permission is `noun:verb`. A person stands towards an object by the role they hold in its session, by their role in
the hub, and by whether they made it. `decide` says Allowed, or Refused with the reason and whether the actor may know
that the object exists at all (if not, the answer outside is 404).
"""

from __future__ import annotations

from typing import Literal

import msgspec

SessionRole = Literal["owner", "admin", "read_write", "read", "teacher", "mentor", "student", "guest"]
HubRole = Literal["operator", "member", "guest", "service"]
Visibility = Literal["private", "session", "hub"]
RoomStanding = Literal["present", "speak", "write", "observe", "caption"]

_READ = frozenset({"session:read", "people:read", "job:read", "entry:read", "artifact:read", "room:join"})
_PRESENT = _READ | {"session:leave"}
# In a room: write to others, be heard and seen, show a screen, and ask everybody something.
_SPEAK = _PRESENT | {"room:speak", "room:voice", "room:present", "room:ask"}
_MODERATE = frozenset({"room:moderate", "room:caption"})
_WRITE = _SPEAK | {
    "draft:write",
    "job:submit",
    "job:cancel",
    "entry:write",
    "entry:sign",
    "artifact:write",
    "export:make",
    "experiment:run",
}
_ADMIN = (
    _WRITE
    | _MODERATE
    | {"session:share", "session:change", "link:create", "link:read", "job:cancel_any", "policy:set"}
    | {"quota:set"}
)

# What each role may do to the things of its session.
SESSION_PERMISSIONS: dict[SessionRole, frozenset[str]] = {
    "owner": _ADMIN | {"session:hand_over"},
    "admin": _ADMIN,
    "read_write": _WRITE,
    "read": _PRESENT,
    "teacher": _ADMIN,
    "mentor": _SPEAK | _MODERATE | {"draft:write", "entry:sign"},
    "student": _WRITE,
    "guest": _PRESENT,
}

# What a moderator can let single people do in a room, whatever their role says of these.
IN_ROOM = frozenset({"room:speak", "room:voice", "room:present", "room:ask", "room:caption", "draft:write"})
ROOM_STANDINGS: dict[RoomStanding, frozenset[str]] = {
    "present": IN_ROOM - {"room:caption"},
    "speak": frozenset({"room:speak", "room:voice", "draft:write"}),
    "write": frozenset({"room:speak", "draft:write"}),
    "observe": frozenset(),
    "caption": frozenset({"room:speak", "room:caption", "draft:write"}),
}

# What each role may do in the hub as a whole, without any session.
_GUEST = frozenset({"link:open", "sign_in:use", "sign_in:end", "invitation:join", "account:secure"})
_MEMBER = _GUEST | frozenset(
    {"hub:read", "session:create", "token:create", "token:revoke"}
    | {"key:create", "key:revoke", "key:use", "invitation:accept"}
    | {"notify:set"}
    | {"chat:link", "chat:unlink", "email:add", "email:verify", "device:approve"}
    | {"cluster:join"}
)
HUB_PERMISSIONS: dict[HubRole, frozenset[str]] = {
    "operator": _MEMBER
    | frozenset(
        {"account:create", "account:change", "account:sign_in_link"}
        | {"access:explain", "hub:verify", "hub:set_up", "chat:install", "cluster:add"}
        | {"quota:set_any"}
    ),
    "member": _MEMBER,
    "guest": _GUEST,
    # What a service of the hub (live, bot) may do in its own name; for all else it names the person it acts as.
    "service": frozenset({"chat:serve", "chat:unlink"}),
}

# Which of several roles somebody holds counts.
_RANK: dict[SessionRole, int] = {
    "guest": 0,
    "read": 1,
    "mentor": 2,
    "student": 3,
    "read_write": 3,
    "teacher": 4,
    "admin": 4,
    "owner": 5,
}

# Never done by somebody who came by an expiring link: they have no identity a job or a signature could carry.
NOT_BY_LINK = frozenset(
    {
        "room:moderate",
        "room:caption",
        "room:ask",
        "job:submit",
        "job:cancel",
        "entry:sign",
        "session:share",
        "session:change",
        "session:leave",
        "session:hand_over",
        "link:create",
        "link:read",
        "job:cancel_any",
        "policy:set",
        "quota:set",
        "experiment:run",
        "export:make",
    }
)
ALL_PERMISSIONS: frozenset[str] = frozenset().union(*SESSION_PERMISSIONS.values(), *HUB_PERMISSIONS.values())


class Standing(msgspec.Struct, frozen=True):
    """How an actor stands towards one object."""

    hub_role: HubRole
    session_role: SessionRole | None = None
    is_owner: bool = False
    by_link: bool = False
    scopes: frozenset[str] | None = None  # a token may be narrower than its owner, never wider
    in_room: RoomStanding | None = None  # what a moderator of the session's room said of them


class Allowed(msgspec.Struct, frozen=True):
    """The actor may; `reason` says by what."""

    reason: str


class Refused(msgspec.Struct, frozen=True):
    """The actor may not; `known` says whether they may learn that the object exists."""

    reason: str
    known: bool


Decision = Allowed | Refused


def decide(actor: Standing, permission: str, visibility: Visibility | None) -> Decision:
    """Whether `actor` may do `permission` to an object of this visibility (None: to the hub itself)."""
    decision = _by_role(actor, permission, visibility)
    if isinstance(decision, Allowed) and actor.scopes is not None and permission not in actor.scopes:
        return Refused(f"the token's scopes do not include {permission}", known=True)
    return decision


def _by_role(actor: Standing, permission: str, visibility: Visibility | None) -> Decision:
    if visibility is None:
        if permission in HUB_PERMISSIONS[actor.hub_role]:
            return Allowed(f"every {actor.hub_role} may {permission}")
        return Refused(f"{permission} is not given to a {actor.hub_role}", known=True)
    if visibility == "private" and not actor.is_owner:
        return Refused("it is private to somebody else", known=False)
    if actor.session_role is None:
        is_open = visibility == "hub" and actor.hub_role in {"operator", "member"} and not actor.by_link
        if is_open and permission in _READ:
            return Allowed("it is open to every member of this hub")
        return Refused("no role in its session", known=is_open)
    if actor.by_link and permission in NOT_BY_LINK:
        return Refused(f"who comes by a link may not {permission}; sign in to do so", known=True)
    if permission in held(actor.session_role, actor.in_room):
        return Allowed(f"{actor.session_role} in its session")
    if actor.in_room is not None and permission in IN_ROOM:
        return Refused(f"who moderates the room lets them {actor.in_room}, not more", known=True)
    return Refused(f"{permission} is not given to the role {actor.session_role}", known=True)


def held(role: SessionRole, in_room: RoomStanding | None = None) -> frozenset[str]:
    """What a role may do in its session, with what a moderator said of its bearer."""
    permissions = SESSION_PERMISSIONS[role]
    if in_room is None or "room:moderate" in permissions:
        return permissions
    return permissions - IN_ROOM | ROOM_STANDINGS[in_room]


def may_grant(granter: SessionRole, role: SessionRole) -> bool:
    """Nobody can give more than they have, and nobody can make an owner."""
    return role != "owner" and SESSION_PERMISSIONS[role] <= SESSION_PERMISSIONS[granter]


def strongest(roles: list[SessionRole]) -> SessionRole | None:
    """The role that counts when somebody was granted several."""
    return max(roles, key=lambda role: _RANK[role], default=None)
