"""Every cell of role x action x visibility, against a table written by hand and read by people.

The table below is the promise; the code's own table is what is tested. A permission missing here fails the test, so
nobody can add a right without saying here who has it.
"""

from __future__ import annotations

import itertools

import pytest

from hub.core.roles import (
    ALL_PERMISSIONS,
    SESSION_PERMISSIONS,
    Allowed,
    HubRole,
    Refused,
    SessionRole,
    Standing,
    Visibility,
    decide,
    may_grant,
)

# permission -> the session roles that have it
BY_SESSION_ROLE: dict[str, str] = {
    "session:read": "owner admin read_write read teacher mentor student guest",
    "people:read": "owner admin read_write read teacher mentor student guest",
    "job:read": "owner admin read_write read teacher mentor student guest",
    "entry:read": "owner admin read_write read teacher mentor student guest",
    "artifact:read": "owner admin read_write read teacher mentor student guest",
    "room:join": "owner admin read_write read teacher mentor student guest",
    "room:speak": "owner admin read_write teacher mentor student",
    "room:voice": "owner admin read_write teacher mentor student",
    "room:present": "owner admin read_write teacher mentor student",
    "room:ask": "owner admin read_write teacher mentor student",
    "room:moderate": "owner admin teacher mentor",
    "room:caption": "owner admin teacher mentor",
    "draft:write": "owner admin read_write teacher mentor student",
    "job:submit": "owner admin read_write teacher student",
    "job:cancel": "owner admin read_write teacher student",
    "entry:write": "owner admin read_write teacher student",
    "entry:sign": "owner admin read_write teacher mentor student",
    "artifact:write": "owner admin read_write teacher student",
    "export:make": "owner admin read_write teacher student",
    "experiment:run": "owner admin read_write teacher student",
    "job:cancel_any": "owner admin teacher",
    "session:share": "owner admin teacher",
    "session:change": "owner admin teacher",
    "session:leave": "owner admin read_write read teacher mentor student guest",
    "session:hand_over": "owner",
    "link:create": "owner admin teacher",
    "link:read": "owner admin teacher",
    "quota:set": "owner admin teacher",
    "policy:set": "owner admin teacher",
}
BY_HUB_ROLE: dict[str, str] = {
    "hub:read": "operator member",
    "session:create": "operator member",
    "token:create": "operator member",
    "token:revoke": "operator member",
    "key:create": "operator member",
    "key:revoke": "operator member",
    "key:use": "operator member",
    "invitation:accept": "operator member",
    "chat:serve": "service",
    "chat:link": "operator member",
    "chat:unlink": "operator member service",
    "email:add": "operator member",
    "email:verify": "operator member",
    "device:approve": "operator member",
    "invitation:join": "operator member guest",
    "account:create": "operator",
    "account:change": "operator",
    "account:secure": "operator member guest",
    "account:sign_in_link": "operator",
    "access:explain": "operator",
    "chat:install": "operator",
    "cluster:add": "operator",
    "cluster:join": "operator member",
    "quota:set_any": "operator",
    "notify:set": "operator member",
    "hub:verify": "operator",
    "hub:set_up": "operator",
    "link:open": "operator member guest",
    "sign_in:use": "operator member guest",
    "sign_in:end": "operator member guest",
}
READS = {"session:read", "people:read", "job:read", "entry:read", "artifact:read", "room:join"}
IN_ROOMS = {"room:speak", "room:voice", "room:present", "draft:write"}
WITHOUT_IDENTITY = {"entry:write", "artifact:write", *IN_ROOMS, *READS}  # what a guest by link may at most do

SESSION_ROLES: list[SessionRole | None] = [*SESSION_PERMISSIONS, None]
HUB_ROLES: list[HubRole] = ["operator", "member", "guest", "service"]
VISIBILITIES: list[Visibility] = ["private", "session", "hub"]


def test_every_permission_stands_in_the_table() -> None:
    assert set(BY_SESSION_ROLE) | set(BY_HUB_ROLE) == ALL_PERMISSIONS


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("hub_role", HUB_ROLES)
def test_each_cell_of_role_permission_and_visibility(hub_role: HubRole, visibility: Visibility) -> None:
    for role, permission, is_owner, by_link in itertools.product(
        SESSION_ROLES, BY_SESSION_ROLE, (False, True), (False, True)
    ):
        decision = decide(Standing(hub_role, role, is_owner, by_link), permission, visibility)
        has_role = role is not None and role in BY_SESSION_ROLE[permission].split()
        if by_link:
            has_role = has_role and permission in WITHOUT_IDENTITY
        open_to_members = (
            role is None
            and visibility == "hub"
            and permission in READS
            and hub_role in {"operator", "member"}
            and not by_link
        )
        expected = (has_role or open_to_members) and (visibility != "private" or is_owner)
        cell = (hub_role, visibility, role, permission, is_owner, by_link)
        assert isinstance(decision, Allowed) == expected, (cell, decision)
        if isinstance(decision, Refused):
            assert decision.reason, cell
            may_know = role is not None or (visibility == "hub" and hub_role in {"operator", "member"} and not by_link)
            assert decision.known == (may_know and (visibility != "private" or is_owner)), (cell, decision)


@pytest.mark.parametrize("hub_role", HUB_ROLES)
def test_each_right_in_the_hub_itself(hub_role: HubRole) -> None:
    for permission, roles in BY_HUB_ROLE.items():
        decision = decide(Standing(hub_role), permission, None)
        assert isinstance(decision, Allowed) == (hub_role in roles.split()), permission


def test_a_token_is_never_wider_than_its_scopes() -> None:
    for permission, visibility in itertools.product(BY_SESSION_ROLE, VISIBILITIES):
        narrow = Standing("operator", "owner", is_owner=True, scopes=frozenset({"job:read"}))
        allowed = isinstance(decide(narrow, permission, visibility), Allowed)
        assert allowed == (permission == "job:read")
    assert isinstance(decide(Standing("operator", scopes=frozenset()), "account:create", None), Refused)


def test_nobody_grants_more_than_they_have_and_nobody_makes_an_owner() -> None:
    for granter, role in itertools.product(SESSION_PERMISSIONS, SESSION_PERMISSIONS):
        if may_grant(granter, role):
            assert role != "owner"
            assert SESSION_PERMISSIONS[role] <= SESSION_PERMISSIONS[granter], (granter, role)
