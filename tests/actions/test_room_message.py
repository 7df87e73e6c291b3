"""Saying something in a room: numbered without a gap, kept sealed, once per client_id, by who may speak."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.bus import MemoryBus
from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.rooms import views
from hub.rooms.tables import messages
from hub.sessions.tables import grants
from tests.conftest import settle

Perform = Callable[..., Any]


@pytest.fixture
def lab(perform: Perform, ana: Actor) -> str:
    made: str = perform(ana, "session_create", name="lab")["session"]
    return made


def read(house: House, actor: Actor, session: str, **page: Any) -> views.MessagePage:
    with house.scope(actor) as scope:
        return views.messages(scope, session, **page)


def give(house: House, session: str, person: Actor, role: str) -> None:
    house.db.write(
        lambda tx: tx.insert_new(
            grants, session=session, subject=person.id, via="share", role=role, at=house.clock.now()
        )
    )


def test_messages_are_numbered_from_one_without_a_gap(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    said = [perform(ana, "room_message", session_id=lab, text=f"line {n}") for n in range(3)]
    assert [message["sequence"] for message in said] == [1, 2, 3]
    page = read(house, ana, lab, after=1)
    assert [message.text for message in page.messages] == ["line 1", "line 2"]
    assert page.head == 3
    assert page.messages[0].author.handle == "ana"


def test_without_a_number_the_newest_are_read(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    for n in range(1, 6):
        perform(ana, "room_message", session_id=lab, text=str(n))
    assert [m.text for m in read(house, ana, lab, limit=2).messages] == ["4", "5"]
    assert [m.text for m in read(house, ana, lab, limit=2, before=4).messages] == ["2", "3"]


def test_the_same_client_id_says_it_once(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    first = perform(ana, "room_message", session_id=lab, text="hello", client_id="c1")
    again = perform(ana, "room_message", session_id=lab, text="hello", client_id="c1")
    assert again == first
    after = perform(ana, "room_message", session_id=lab, text="next", client_id="c2")
    assert after["sequence"] == first["sequence"] + 1
    with pytest.raises(Conflict) as caught:
        perform(ana, "room_message", session_id=lab, text="something else", client_id="c1")
    assert caught.value.code == "client_id_reused"
    assert read(house, ana, lab).head == 2


def test_many_at_once_are_all_kept_in_one_order(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda n: perform(ana, "room_message", session_id=lab, text=str(n)), range(24)))
    assert sorted(message["sequence"] for message in said) == list(range(1, 25))


def test_a_message_is_told_to_the_room_after_commit(
    house: House, bus: MemoryBus, perform: Perform, ana: Actor, lab: str
) -> None:
    message = perform(ana, "room_message", session_id=lab, text="hello", client_id="c1")
    settle(house)
    told = [said for channel, said in bus.published if channel == f"session:{lab}" and said["kind"] == "message"]
    assert told == [{"kind": "message", "message": message}]


def test_a_text_is_not_in_the_database_in_clear(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    perform(ana, "room_message", session_id=lab, text="the gap is at 2886")
    with house.db.read() as conn:
        sealed = conn.execute(sa.select(messages.c.text_sealed)).scalar_one()
    assert b"2886" not in sealed


@pytest.mark.parametrize("text", ["", "   \n", "\x00", "x" * 4001])
def test_nothing_and_too_much_are_refused(perform: Perform, ana: Actor, lab: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "room_message", session_id=lab, text=text)
    assert caught.value.path == "$.params.text"


def test_who_may_only_read_may_not_speak_and_a_stranger_learns_nothing(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    with pytest.raises(NotFound):
        perform(ben, "room_message", session_id=lab, text="hello")
    with pytest.raises(NotFound):
        read(house, ben, lab)
    give(house, lab, ben, "read")
    with pytest.raises(NotAllowed):
        perform(ben, "room_message", session_id=lab, text="hello")
    assert read(house, ben, lab).head == 0
