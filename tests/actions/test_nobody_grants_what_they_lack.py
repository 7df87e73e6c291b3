"""Over any sequence of sharing actions: what somebody holds was given by somebody who held at least as much then."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.core.context import Actor
from hub.core.errors import HubError
from hub.core.house import House
from hub.core.roles import SESSION_PERMISSIONS, SessionRole, may_grant
from hub.sessions.tables import links
from tests.conftest import Perform, make_person

ROLES = ("read", "read_write", "admin")
PEOPLE = 4
who = st.integers(0, PEOPLE - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("invite"), who, who, st.sampled_from(ROLES)),
        st.tuples(st.just("change"), who, who, st.sampled_from(ROLES)),
        st.tuples(st.just("revoke"), who, who),
        st.tuples(st.just("link"), who, st.sampled_from(ROLES[:2])),
        st.tuples(st.just("open"), who, st.integers(0, 5)),
        st.tuples(st.just("end link"), who, st.integers(0, 5)),
        st.tuples(st.just("leave"), who),
        st.tuples(st.just("hand over"), who, who),
    ),
    max_size=25,
)


class World:
    """A session of the first of four people, and every secret that was ever given out."""

    def __init__(self, house: House, perform: Perform, number: int) -> None:
        self.house, self.perform = house, perform
        self.people = [make_person(house, f"p{number}-{each}") for each in range(PEOPLE)]
        self.session = str(perform(self.people[0], "session_create", name="lab")["session"])
        self.links: list[dict[str, Any]] = []

    def role(self, person: Actor) -> SessionRole | None:
        with self.house.scope(person) as scope:
            return scope.access.role(self.session)

    def roles(self) -> list[SessionRole | None]:
        return [self.role(each) for each in self.people]

    def do(self, by: int, action: str, **params: Any) -> Any:
        """The answer, or None for a refusal."""
        try:
            return self.perform(self.people[by], action, **params)
        except HubError:
            return None

    def step(self, step: tuple[Any, ...]) -> None:
        kind, by, *rest = step
        lab = {"session_id": self.session}
        if kind == "invite":
            asked = [{"email": "x@y.z", "role": rest[1]}]
            if (shared := self.do(by, "session_share", **lab, participants=asked)) is not None:
                self.do(rest[0], "invitation_accept", secret=shared["invitations"][0]["secret"])
        elif kind == "change":
            self.do(by, "grant_change", **lab, participant=self.people[rest[0]].id, role=rest[1])
        elif kind == "revoke":
            self.do(by, "grant_revoke", **lab, participant=self.people[rest[0]].id)
        elif kind == "link" and (made := self.do(by, "link_create", **lab, role=rest[0])) is not None:
            self.links.append(made)
        elif kind == "open" and rest[0] < len(self.links):
            self.do(by, "link_open", secret=self.links[rest[0]]["secret"])
        elif kind == "end link" and rest[0] < len(self.links):
            self.do(by, "link_revoke", link=self.links[rest[0]]["link"])
        elif kind == "leave":
            self.do(by, "session_leave", **lab)
        elif kind == "hand over":
            self.do(by, "session_hand_over", **lab, to=self.people[rest[0]].id)

    def open_links(self) -> set[str]:
        with self.house.db.read() as conn:
            return set(
                conn.execute(
                    sa.select(links.c.created_by).where(links.c.session == self.session, links.c.revoked_at.is_(None))
                ).scalars()
            )


_number = iter(range(10**6))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_nobody_can_grant_what_they_lack(house: House, perform: Perform, sequence: list[tuple[Any, ...]]) -> None:
    world = World(house, perform, next(_number))
    for step in sequence:
        before = world.roles()
        world.step(step)
        after = world.roles()
        kind, by = step[0], step[1]
        changed = [at for at in range(PEOPLE) if before[at] != after[at]]
        assert after.count("owner") == 1
        if kind == "hand over" and changed:
            assert before[by] == "owner" and sorted(changed) == sorted({by, step[2]}) and after[by] == "admin"
            continue
        for at in changed:
            if kind == "leave":
                assert (at, after[at]) == (by, None) and before[at] != "owner"
            elif kind == "open":
                assert at == by and after[at] in ROLES[:2]
            else:
                assert at != by or kind == "invite"
                giver, given_role = before[by], after[at]
                assert giver is not None and "session:share" in SESSION_PERMISSIONS[giver]
                assert given_role is None or may_grant(giver, given_role)
        able = {p.id for p, role in zip(world.people, after, strict=True) if role in ("owner", "admin")}
        assert world.open_links() <= able, "a link outlived the right to make it"
