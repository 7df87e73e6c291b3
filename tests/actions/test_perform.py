"""The one door: idempotency, ledger lines, rights that cannot be forgotten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.ledger import sequencer
from hub.ledger.keys import CheckpointKey
from hub.ledger.tables import ledger, ledger_bodies
from hub.ledger.verification import verify
from hub.perform import idempotency
from hub.sessions.tables import sessions
from tests.conftest import Perform


def lines(house: House) -> list[tuple[str, str]]:
    with house.db.read() as conn:
        return [(row.actor, row.action) for row in conn.execute(sa.select(ledger).order_by(ledger.c.line))]


def test_an_action_is_one_ledger_line_by_its_actor(house: House, ana: Actor, perform: Perform) -> None:
    perform(ana, "session_create", name="hcl")
    assert lines(house) == [(ana.id, "session_create")]


def test_a_refused_action_leaves_no_line_and_no_row(house: House, ana: Actor, perform: Perform) -> None:
    perform(ana, "session_create", name="hcl")
    with pytest.raises(Conflict):
        perform(ana, "session_create", name="hcl")
    assert len(lines(house)) == 1


def test_the_same_key_twice_has_one_effect_and_one_answer(house: House, ana: Actor, perform: Perform) -> None:
    first = perform(ana, "session_create", key="k1", name="hcl")
    assert perform(ana, "session_create", key="k1", name="hcl") == first
    assert len(lines(house)) == 1


def test_the_same_key_for_another_request_is_a_conflict(ana: Actor, perform: Perform) -> None:
    perform(ana, "session_create", key="k1", name="hcl")
    with pytest.raises(Conflict) as caught:
        perform(ana, "session_create", key="k1", name="dcl")
    assert caught.value.code == "idempotency_key_reused"


def test_a_key_belongs_to_its_actor(ana: Actor, ben: Actor, perform: Perform) -> None:
    first = perform(ana, "session_create", key="k1", name="hcl")
    assert perform(ben, "session_create", key="k1", name="hcl")["session"] != first["session"]


def test_a_refused_action_does_not_use_its_key_up(ana: Actor, perform: Perform) -> None:
    with pytest.raises(NotFound):
        perform(ana, "token_revoke", key="k", token="tok_none")
    assert perform(ana, "session_create", key="k", name="hcl")


def test_sixteen_retries_at_once_have_one_effect(house: House, ana: Actor, perform: Perform) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: perform(ana, "session_create", key="k", name="hcl"), range(16)))
    assert all(answer == answers[0] for answer in answers)
    assert len(lines(house)) == 1


def test_a_secret_shown_once_is_shown_again_to_a_retry_and_never_stored(
    house: House, ana: Actor, perform: Perform
) -> None:
    first = perform(ana, "token_create", key="k", name="laptop")
    assert perform(ana, "token_create", key="k", name="laptop") == first
    with house.db.read() as conn:
        stored: Any = conn.execute(sa.select(idempotency.c.answer)).scalar()
        bodies = b"".join(conn.execute(sa.select(ledger_bodies.c.bytes)).scalars())
    assert first["secret"].encode() not in stored + bodies


def test_an_invitations_secret_survives_a_retry_and_is_not_stored(house: House, ana: Actor, perform: Perform) -> None:
    share: dict[str, Any] = {"session_id": "lab", "participants": [{"email": "new@university.edu"}]}
    first = perform(ana, "session_share", key="k", **share)
    assert first["invitations"][0]["secret"].startswith("clgi_")
    assert perform(ana, "session_share", key="k", **share) == first
    with house.db.read() as conn:
        stored: Any = conn.execute(sa.select(idempotency.c.answer)).scalar()
    assert first["invitations"][0]["secret"].encode() not in stored


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_of_no_sensible_length_is_refused(ana: Actor, perform: Perform, key: str) -> None:
    with pytest.raises(InvalidInput):
        perform(ana, "session_create", key=key, name="hcl")


def test_no_name_or_address_of_a_person_stands_in_the_ledger(house: House, ana: Actor, perform: Perform) -> None:
    perform(ana, "session_share", session_id="lab", participants=[{"email": "secret.person@university.edu"}])
    with house.db.read() as conn:
        bodies = b"".join(conn.execute(sa.select(ledger_bodies.c.bytes)).scalars())
    assert b"secret.person" not in bodies and b"university" not in bodies


def test_a_member_may_not_do_what_operators_do(ana: Actor, perform: Perform) -> None:
    with pytest.raises(NotAllowed):
        perform(ana, "account_create", name="Eve")


def test_what_was_done_verifies(house: House, ana: Actor, perform: Perform) -> None:
    for n in range(5):
        perform(ana, "session_create", name=f"s{n}")
    sequencer.pass_once(house.db, "t", house.clock.now())
    key = house.port(CheckpointKey)
    with house.db.read() as conn:
        result = verify(conn, key.origin, key.public)
        assert conn.execute(sa.select(sa.func.count()).select_from(sessions)).scalar() == 6
    assert (result.holds, result.lines) == (True, 5)
