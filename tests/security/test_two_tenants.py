"""Two tenants of one hub, a guest by link, and nobody known: every address and every action, aimed at others' things.

What somebody may not know of is 404, in the words in which what does not exist is; nothing is a fault of the hub (5xx);
and nothing changes. Routes and actions are enumerated from the tables, so a new one is tried, too (`crawl.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.errors import HubError
from hub.core.house import House
from hub.core.ids import new_id
from hub.core.keys import seal
from hub.core.roles import HUB_PERMISSIONS, NOT_BY_LINK
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger
from hub.people import accounts
from hub.perform import perform as perform_action
from hub.rooms.tables import message_reports
from hub.sessions import links
from hub.web.application import create
from tests.conftest import Perform, make_person
from tests.security import crawl
from tests.security.crawl import Aim
from tests.web import page_world
from tests.web.conftest import ORIGIN
from tests.web.page_world import World

pytestmark = pytest.mark.slow

# What stands in Ana's session and nowhere else.
# What this hub may say that it does not have, to anybody; and the probe that says whether its tables are migrated.
NOT_HERE = {"export_type_missing", "no_mail", "tools_missing", "not_set_up"}
PROBE = "/readyz"
CANARIES = ("The HCl band", "isotope shift", "Anharmonicity", "levels.png", "fit_band")


@pytest.fixture
def application(house: House) -> Starlette:
    return create(house)


@pytest.fixture
def world(house: House, clock: FrozenClock, perform: Perform, ana: Actor, ben: Actor) -> World:
    return page_world.make(house, clock, perform, ana, ben)


@pytest.fixture
def anas(house: House, world: World, perform: Perform) -> Aim:
    """Something of every kind of Ana's."""
    return aim_at(house, perform, world.ana, world.session, "hcl-band", world.figure)


@pytest.fixture
def eve(house: House, world: World) -> Actor:
    return make_person(house, "eve")


def aim_at(house: House, perform: Perform, owner: Actor, session: str, name: str, artifact: str) -> Aim:
    flow = perform(owner, "job_submit", session_id=session, workflow=[{"step": "a", "script": "#!/bin/sh\ntrue\n"}])
    with house.db.read() as conn:
        job = conn.execute(sa.select(jobs.c.id).where(jobs.c.session == session).limit(1)).scalar_one()
    entry = {"title": "Private", "content": "x"}
    node = {"tool": "distributed_collaboration", "action": "lab_notebook", "entry": {"title": "T", "content": "x"}}
    said = perform(owner, "room_message", session_id=session, text="between us")["id"]
    asked = perform(owner, "room_poll", session_id=session, question="Which?", options=["a", "b"])["id"]
    ids = {
        "session": session,
        "message": said,
        "poll": asked,
        "report": report_of(house, session, said),
        "job": job,
        "workflow": flow["workflow"],
        "entry": perform(owner, "lab_notebook", session_id=session, entry=entry)["entry"],
        "artifact": artifact,
        "link": perform(owner, "link_create", session_id=session)["link"],
        "export": perform(owner, "export", tool="export_tool", session_id=session, export_type="overleaf")["export"],
        "experiment": perform(owner, "run", tool="experiment_orchestrator", session_id=session, dag=[node])[
            "experiment"
        ],
        "draft": perform(owner, "draft_create", session_id=session, name="plan")["id"],
        "channel": "slack:T1:C1",
    }
    return Aim(ids, owner.handle, name)


def report_of(house: House, session: str, message: str) -> str:
    """A report somebody made; what matters here is that it is there."""
    report = new_id("rpt")
    key = house.keys.domain(session)
    sealed = {part: seal(key, b"x", f"report:{report}:{part}") for part in ("text", "reason")}
    house.db.write(
        lambda tx: tx.insert_new(
            message_reports, id=report, session=session, message=message, reporter="per_x", at=house.clock.now(),
            text_sealed=sealed["text"], reason_sealed=sealed["reason"], settled_at=None, settled_by=None, outcome=None,
        )
    )  # fmt: skip
    return report


def browser(app: Starlette, house: House, cookie: str | None) -> TestClient:
    cookies = {} if cookie is None else {"collegium": cookie}
    return TestClient(app, base_url=ORIGIN, cookies=cookies, follow_redirects=False, raise_server_exceptions=True)


def guest_of(house: House, perform: Perform, owner: Actor, session: str) -> tuple[Actor, str]:
    """Somebody who came by a link that lets write, as an actor and as a cookie."""
    made = perform(owner, "link_create", session_id=session, role="read_write")
    cookie = perform(ANYONE, "link_open", secret=made["secret"])["cookie"]
    with house.db.read() as conn:
        row = accounts.live_sign_in(conn, cookie, house.clock.now())
        assert row is not None
        actor = links.guest(conn, row.link, row.id, house.clock.now())
    assert actor is not None
    return actor, cookie


def lines_of(house: House, session: str) -> int:
    with house.db.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).where(ledger.c.session == session)).scalar_one())


def tried(house: House, envelope: dict[str, Any], actor: Actor) -> tuple[int, str, str]:
    """(status, code, all that was answered) of an action."""
    try:
        answer = perform_action(house, envelope, actor)
    except HubError as error:
        return error.status, error.code, f"{error} {error.hint} {error.errors}"
    return 200, "", msgspec.json.encode(answer.result).decode()


def test_a_stranger_finds_nothing_of_anothers_at_any_address(
    application: Starlette, house: House, anas: Aim, eve: Actor, world: World
) -> None:
    hers = browser(application, house, page_world.sign_in(house, eve))
    paths = crawl.gets(application)
    assert len(paths) > 60
    for path in paths:
        found = hers.get(crawl.address(path, anas))
        if crawl.names_something(path):
            assert found.status_code == 404, f"{path}: {found.status_code}"
            nothing = hers.get(crawl.address(path, anas.at_nothing()))
            assert nothing.status_code == 404, path
        assert found.status_code < 500 or path == PROBE, path
        told, asked = found.text.replace("ana/hcl-band", ""), crawl.address(path, anas)
        assert [each for each in (*CANARIES, *anas.ids.values()) if each in told and each not in asked] == [], path
        for query in crawl.queries(path, anas):
            assert hers.get(f"{path}?{query}").status_code == 404, f"{path}?{query}"


def test_nobody_known_is_asked_to_sign_in_at_every_address_that_is_not_for_all(
    application: Starlette, house: House, anas: Aim
) -> None:
    nobody = browser(application, house, None)
    for path in crawl.gets(application):
        found = nobody.get(crawl.address(path, anas))
        assert found.status_code < 500 or path == PROBE, path
        if path.startswith("/api/") or crawl.names_something(path):
            assert found.status_code in (401, 303), f"{path}: {found.status_code}"
        assert not any(canary in found.text for canary in CANARIES), path


def test_a_guest_sees_the_session_of_the_link_and_finds_nothing_elsewhere(
    application: Starlette, house: House, anas: Aim, eve: Actor, world: World, perform: Perform
) -> None:
    lab = perform(eve, "session_create", name="lab")["session"]
    _, cookie = guest_of(house, perform, eve, lab)
    theirs = browser(application, house, cookie)
    assert theirs.get("/s/eve/lab").status_code == 200
    for path in crawl.gets(application):
        found = theirs.get(crawl.address(path, anas))
        if crawl.names_something(path):
            assert found.status_code == 404, f"{path}: {found.status_code}"
        assert found.status_code < 500 or path == PROBE, path
        for query in crawl.queries(path, anas):
            assert theirs.get(f"{path}?{query}").status_code == 404, f"{path}?{query}"
    _, cookie = guest_of(house, perform, world.ana, world.session)
    welcome = browser(application, house, cookie)
    for path in crawl.gets(application):
        found = welcome.get(crawl.address(path, anas))
        assert found.status_code < 500 or path == PROBE, path
        if path.startswith("/s/"):
            assert found.status_code == (403 if path.endswith("/reports") else 200), path
        if path.endswith("/links"):
            assert found.status_code == 403, path


@pytest.mark.parametrize("who", ["stranger", "guest elsewhere", "nobody"])
def test_no_action_reaches_what_one_may_not_know_of(
    house: House, anas: Aim, eve: Actor, world: World, perform: Perform, who: str
) -> None:
    lab = perform(eve, "session_create", name="lab")["session"]
    actor = {"stranger": eve, "guest elsewhere": guest_of(house, perform, eve, lab)[0], "nobody": ANYONE}[who]
    before = lines_of(house, world.session)
    every_hub_right = frozenset().union(*HUB_PERMISSIONS.values())
    for shape, envelope, aimed in crawl.envelopes(anas):
        status, code, told = tried(house, envelope, actor)
        assert status < 500 or code in NOT_HERE, (shape.tag, status, code)
        assert not any(canary in told for canary in CANARIES if canary not in str(envelope)), (shape.tag, told)
        if not aimed or shape.needs in every_hub_right:
            continue
        assert status in (400, 403, 404), (shape.tag, status, code)
        nothing = next(e for s, e, _ in crawl.envelopes(anas.at_nothing()) if s is shape)
        assert tried(house, nothing, actor)[:2] == (status, code), shape.tag
    assert lines_of(house, world.session) == before, "something of Ana's changed"


def test_a_guest_who_may_write_never_submits_signs_shares_or_decides(
    house: House, anas: Aim, world: World, perform: Perform
) -> None:
    guest, _ = guest_of(house, perform, world.ana, world.session)
    done = set()
    for shape, envelope, aimed in crawl.envelopes(anas):
        if shape.tag == "session_leave":
            continue
        status, code, _ = tried(house, envelope, guest)
        assert status < 500 or code in NOT_HERE, (shape.tag, status, code)
        if shape.needs in NOT_BY_LINK:
            assert status in (403, 404, 400), (shape.tag, status, code)
        if status == 200 and aimed:
            done.add(shape.needs)
    assert done <= {"entry:write", "artifact:write", "room:join", "room:speak", "draft:write"} and "entry:write" in done


def test_a_revoked_link_leaves_its_guest_nothing_at_any_address(
    application: Starlette, house: House, anas: Aim, world: World, perform: Perform
) -> None:
    guest, cookie = guest_of(house, perform, world.ana, world.session)
    theirs = browser(application, house, cookie)
    assert theirs.get(f"/s/{world.name}").status_code == 200
    perform(world.ana, "link_revoke", link=guest.link_id)
    for path in crawl.gets(application):
        if crawl.names_something(path):
            assert theirs.get(crawl.address(path, anas)).status_code in (401, 303), path
    for shape, envelope, aimed in crawl.envelopes(anas):
        if aimed:
            assert tried(house, envelope, guest)[0] in (400, 403, 404), shape.tag
