"""Why somebody may do something, or may not: the very decision of `core.access`, made for another actor, in words.

Told to those who may share the session, to operators, and to everybody about themselves. Of people who have nothing to
do with the session an admin learns no more than that: the answer for them is the answer for any stranger, whether there
is such an account or not.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.core import actions
from hub.core.access import GUARDS
from hub.core.context import ANYONE, Actor, Scope
from hub.core.errors import InvalidInput, NotAllowed, NotFound
from hub.core.ids import looks_like_id
from hub.core.roles import ALL_PERMISSIONS, HUB_PERMISSIONS, SESSION_PERMISSIONS, Allowed, Decision, Refused
from hub.people import accounts
from hub.people.tables import persons, tokens
from hub.sessions import belonging, objects, rules
from hub.sessions.belonging import WayView
from hub.sessions.tables import links


class Subject(msgspec.Struct, frozen=True):
    """Whom the question is about: the actor they would be, and what keeps them from being it."""

    actor: Actor
    said: str
    ended: str = ""


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """The decision about one permission; a hidden object is answered as if it did not exist."""

    permission: str
    allowed: bool
    answer: str  # allowed | refused | hidden
    reason: str
    would_change: list[str]


class ExplanationView(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, and what it rests on."""

    actor: str
    actor_kind: str
    action: str
    kind: str
    object: str
    session: str | None
    allowed: bool
    sentence: str
    decisions: list[DecisionView]
    ways: list[WayView]
    frozen: str | None


def explain(scope: Scope, actor: str, action: str, ref: str) -> ExplanationView:
    """What would be answered if this actor did this to this object now."""
    needed = _permissions(action)
    kind, object_id = _object(scope, ref, needed[0])
    guarded = None if kind == "hub" else GUARDS[kind](scope.conn, object_id)
    session_id = None if guarded is None else guarded.session_id
    subject = _subject(scope, actor, session_id)
    asked = Scope(scope.house, scope.conn, subject.actor)
    is_read = all(permission.endswith((":read", ":join")) for permission in needed)
    frozen = None if kind == "hub" or is_read else scope.access.frozen_because(kind, object_id)
    found = [_decided(asked, subject, kind, object_id, permission, frozen) for permission in needed]
    ways: list[WayView] = []
    if session_id is not None and subject.actor.kind == "person":
        takes_part = belonging.participants(scope, session_id)
        ways = next((each.ways for each in takes_part if each.person.id == subject.actor.id), [])
    allowed = all(each.allowed for each in found)
    return ExplanationView(
        actor=subject.said,
        actor_kind=subject.actor.kind,
        action=action,
        kind=kind,
        object=object_id,
        session=session_id,
        allowed=allowed,
        sentence=f"{subject.said} {'may' if allowed else 'may not'} {action}: "
        + "; ".join(dict.fromkeys(each.reason for each in found if each.allowed == allowed)),
        decisions=found,
        ways=ways,
        frozen=frozen,
    )


def _decided(
    asked: Scope, subject: Subject, kind: str, object_id: str, permission: str, frozen: str | None
) -> DecisionView:
    decision: Decision
    if subject.ended:
        decision = Refused(subject.ended, known=False)
    elif kind == "hub":
        decision = asked.access.explain_hub(permission)
    else:
        decision = asked.access.explain(kind, object_id, permission)
        if frozen is not None and isinstance(decision, Allowed):
            decision = Refused(f"this {kind} is frozen: {frozen}", known=True)
    if isinstance(decision, Allowed):
        return DecisionView(
            permission=permission, allowed=True, answer="allowed", reason=decision.reason, would_change=[]
        )
    guarded = None if kind == "hub" else GUARDS[kind](asked.conn, object_id)
    role = None if guarded is None or guarded.session_id is None else asked.access.role(guarded.session_id)
    return DecisionView(
        permission=permission,
        allowed=False,
        answer="refused" if decision.known else "hidden",
        reason=decision.reason,
        would_change=rules.would_change(
            permission,
            role=role,
            by_link=subject.actor.kind == "link",
            scopes=subject.actor.scopes,
            ended=bool(subject.ended),
            frozen=frozen is not None,
        ),
    )


def _permissions(action: str) -> list[str]:
    """The permissions an action needs, by its tag; or the permission itself. Raises InvalidInput."""
    if action in ALL_PERMISSIONS:
        return [action]
    found = [shape.needs for (_, tag), shapes in actions.SHAPES.items() if tag == action for shape in shapes]
    if not found:
        raise InvalidInput(
            f"{action[:60]!r} is neither an action nor a permission",
            code="unknown_action",
            path="action",
            hint="such as job_submit or job:submit; the reference lists them",
        )
    return list(dict.fromkeys(found))


def _object(scope: Scope, ref: str, permission: str) -> tuple[str, str]:
    """What is meant: `hub`, an id, `KIND:NAME`, or a name as people say it. Raises HubError."""
    is_operator = isinstance(scope.access.explain_hub("access:explain"), Allowed)
    if ref == "hub" or all(permission not in held for held in SESSION_PERMISSIONS.values()):
        if not any(permission in held for held in HUB_PERMISSIONS.values()):
            raise InvalidInput(f"{permission} is about a session or what is in one", path="object")
        scope.access.hub("hub:read")
        return "hub", "hub"
    kind, name = objects.meant(ref, permission.partition(":")[0])
    if is_operator and looks_like_id(name):
        if GUARDS[kind](scope.conn, name) is None:
            raise NotFound(f"there is no {kind} {name!r}", code=f"{kind}_not_found")
        return kind, name
    return kind, scope.access.find(kind, name, objects.reading(kind))


def _subject(scope: Scope, said: str, session_id: str | None) -> Subject:
    """Whom is meant, if the asker may ask about them here. Raises NotAllowed, NotFound."""
    is_operator = isinstance(scope.access.explain_hub("access:explain"), Allowed)
    may_share = session_id is not None and scope.access.may(session_id, "session:share")
    found = _known(scope, said)
    if found is not None and found.actor.id == scope.actor.id and scope.actor.kind == "person":
        return found
    if not (is_operator or may_share):
        raise NotAllowed(
            "who may share the session can ask this about others", code="not_yours_to_ask", hint="ask about yourself"
        )
    if is_operator:
        if found is None:
            raise NotFound(f"there is no actor {said[:60]!r}", code="actor_not_found", path="actor")
        return found
    assert session_id is not None
    if said == ANYONE.id or (found is not None and _belongs(scope, found.actor, session_id)):
        assert found is not None
        return found
    if looks_like_id(said, "lnk") or looks_like_id(said, "tok"):
        raise NotFound(f"there is no actor {said[:60]!r} of this session", code="actor_not_found", path="actor")
    return Subject(Actor(id="per_unknown", name=said[:64], handle=said[:64]), said[:64])


def _belongs(scope: Scope, actor: Actor, session_id: str) -> bool:
    if actor.kind == "link":
        return actor.link_session == session_id
    if actor.token_id is not None:
        return False
    return any(each.person.id == actor.id for each in belonging.participants(scope, session_id))


def _known(scope: Scope, said: str) -> Subject | None:
    """The actor of a handle, a person's, link's or token's id, or `anyone`."""
    if said == ANYONE.id:
        return Subject(ANYONE, "anyone")
    if looks_like_id(said, "lnk"):
        return _by_link(scope, said)
    if looks_like_id(said, "tok"):
        return _by_token(scope, said)
    which = persons.c.id == said if looks_like_id(said, "per") else persons.c.handle == said
    row = scope.execute(sa.select(persons).where(which)).first()
    if row is None:
        return None
    actor = Actor(id=row.id, name=row.name, handle=row.handle, hub_role=row.hub_role)
    return Subject(actor, row.handle, "this account is disabled" if row.disabled_at is not None else "")


def _by_link(scope: Scope, link_id: str) -> Subject | None:
    row = scope.execute(sa.select(links).where(links.c.id == link_id)).first()
    if row is None:
        return None
    ended = "the link was revoked" if row.revoked_at is not None else ""
    if not ended and row.expires_at <= scope.now:
        ended = f"the link ended at {row.expires_at:%Y-%m-%d %H:%M} UTC"
    actor = Actor(
        id="guest", name="A guest", kind="link", hub_role="guest", link_id=row.id, link_session=row.session,
        link_role=row.role,
    )  # fmt: skip
    return Subject(actor, f"a guest by {link_id}", ended)


def _by_token(scope: Scope, token_id: str) -> Subject | None:
    row = scope.execute(sa.select(tokens).where(tokens.c.id == token_id)).first()
    if row is None:
        return None
    said = f"the token {row.name!r}"
    actor = accounts.actor_by_token_id(scope.conn, token_id, scope.now)
    if actor is not None:
        return Subject(actor, said)
    ended = "the token was revoked" if row.revoked_at is not None else "the token, or the account it is of, has ended"
    return Subject(Actor(id=row.person or row.id, name=row.name, token_id=row.id), said, ended)
