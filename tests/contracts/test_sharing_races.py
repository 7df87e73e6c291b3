"""Sharing under races, on both databases: a use is spent once, a removal holds, and nobody grants what they lack."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub import app
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.errors import HubError
from hub.core.house import House
from hub.core.settings import Settings
from hub.perform import perform
from hub.sessions.tables import grants, invitations, link_tries, links
from tests.conftest import NOW, make_person
from tests.databases import OpenDatabase

pytestmark = pytest.mark.slow

THREADS = 20


@pytest.fixture
def hub(databases: OpenDatabase, tmp_path: Path) -> Iterator[House]:
    app.register_features()
    settings = Settings(data=tmp_path / "data", public_url="http://hub.test")
    settings.data.mkdir()
    house = app.build(settings, clock=FrozenClock(NOW), bus=MemoryBus(), db=databases())
    yield house
    house.close()


def do(house: House, actor: Actor, action: str, **params: Any) -> Any:
    envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
    return perform(house, envelope, actor).result


def at_once(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """Everything at the same moment; a refusal is an outcome."""
    gate = threading.Barrier(len(work))

    def run(one: Callable[[], Any]) -> Any:
        gate.wait(30)
        try:
            return one()
        except HubError as error:
            return error

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(run, work))


def test_a_link_with_seven_uses_lets_seven_of_twenty_in(hub: House) -> None:
    ana = make_person(hub, "ana")
    session = do(hub, ana, "session_create", name="lab")["session"]
    link = do(hub, ana, "link_create", session_id=session, uses=7)
    people = [make_person(hub, f"p{number}") for number in range(THREADS // 2)] + [ANYONE] * (THREADS // 2)
    outcomes = at_once([partial(do, hub, who, "link_open", secret=link["secret"]) for who in people])
    let_in = [each for each in outcomes if isinstance(each, dict)]
    assert len(let_in) == 7
    assert {each.code for each in outcomes if isinstance(each, HubError)} == {"link_not_valid"}
    with hub.db.read() as conn:
        row = conn.execute(sa.select(links)).one()
        held = conn.execute(sa.select(sa.func.count()).select_from(grants)).scalar_one()
    assert (row.uses, row.uses_left) == (7, 0)
    assert held == sum(each["cookie"] is None for each in let_in)


def test_twenty_guesses_at_once_are_counted_as_ten(hub: House) -> None:
    ana = make_person(hub, "ana")
    session = do(hub, ana, "session_create", name="lab")["session"]
    link = do(hub, ana, "link_create", session_id=session, passphrase="blue kettle", uses=1)
    guesses = [
        partial(do, hub, ANYONE, "link_open", secret=link["secret"], passphrase=f"guess {number}")
        for number in range(THREADS)
    ]
    codes = sorted(each.code for each in at_once(guesses))
    assert codes == ["passphrase_tries"] * 10 + ["wrong_passphrase"] * 10
    with hub.db.read() as conn:
        assert conn.execute(sa.select(link_tries.c.wrong)).scalar_one() == 10
        assert conn.execute(sa.select(links.c.uses_left)).scalar_one() == 1


def test_a_removal_holds_against_everything_the_removed_admin_does_at_that_moment(hub: House) -> None:
    ana, ben = make_person(hub, "ana"), make_person(hub, "ben")
    session = do(hub, ana, "session_create", name="lab")["session"]
    shared = do(hub, ana, "session_share", session_id=session, participants=[{"email": "b@x.org", "role": "admin"}])
    do(hub, ben, "invitation_accept", secret=shared["invitations"][0]["secret"])
    own = do(hub, ben, "link_create", session_id=session)["secret"]
    work = [partial(do, hub, ana, "grant_revoke", session_id=session, participant="ben")]
    for number in range(6):
        guest = {"email": f"g{number}@x.org", "role": "admin"}
        work += [
            partial(do, hub, ben, "link_create", session_id=session),
            partial(do, hub, ben, "session_share", session_id=session, participants=[guest]),
            partial(do, hub, ben, "link_open", secret=own),
        ]
    outcomes = at_once(work)
    made = [each["secret"] for each in outcomes if isinstance(each, dict) and "uses_left" in each]
    invited = [each["invitations"][0]["secret"] for each in outcomes if isinstance(each, dict) and "granted" in each]
    with hub.scope(ben) as scope:
        assert scope.access.role(session) is None, "a removed person came back"
    for action, secrets in (("link_open", [own, *made]), ("invitation_accept", invited)):
        for secret in secrets:
            with pytest.raises(HubError):
                do(hub, ben, action, secret=secret)
    with hub.db.read() as conn:
        assert conn.execute(sa.select(links.c.id).where(links.c.revoked_at.is_(None))).all() == []
        still = sa.select(invitations.c.id).where(invitations.c.by == ben.id, invitations.c.withdrawn_at.is_(None))
        assert conn.execute(still).all() == []


def test_a_session_has_one_owner_whoever_hands_it_over_at_once(hub: House) -> None:
    ana, ben, eve = (make_person(hub, handle) for handle in ("ana", "ben", "eve"))
    session = do(hub, ana, "session_create", name="lab")["session"]
    row = {"session": session, "via": "share", "role": "admin", "at": hub.clock.now()}
    held = [{**row, "subject": heir.id} for heir in (ben, eve)]
    hub.db.write(lambda tx: tx.execute(sa.insert(grants), held) and None)
    outcomes = at_once(
        [partial(do, hub, ana, "session_hand_over", session_id=session, to=to) for to in ("ben", "eve") * 5]
    )
    assert sum(isinstance(each, dict) for each in outcomes) == 1
    roles = []
    for person in (ana, ben, eve):
        with hub.scope(person) as scope:
            roles.append(scope.access.role(session))
    assert sorted(map(str, roles)) == ["admin", "admin", "owner"] and roles[0] == "admin"
