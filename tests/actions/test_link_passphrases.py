"""Links with a passphrase: it opens, a wrong one spends nothing and is counted, and too many make the link rest."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
import sqlalchemy as sa

from hub.core import actions, limits
from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.errors import HubError, InvalidInput, NotAllowed, NotFound, TooMany
from hub.core.house import House
from hub.ledger.tables import ledger_bodies
from hub.sessions import links
from hub.sessions import tables as t
from tests.conftest import Perform

pytestmark = pytest.mark.slow

PHRASE = "blue\u0301 kettle"


@pytest.fixture
def lab(ana: Actor, perform: Perform) -> str:
    """A session of Ana's."""
    session: str = perform(ana, "session_create", name="lab", title="Quiet work")["session"]
    return session


@pytest.fixture
def link(ana: Actor, lab: str, perform: Perform) -> dict[str, str]:
    """A link to it that opens three times, with a passphrase."""
    made: dict[str, str] = perform(ana, "link_create", session_id=lab, uses=3, passphrase=PHRASE)
    return made


def refused(perform: Perform, secret: str, **params: str) -> HubError:
    with pytest.raises(HubError) as caught:
        perform(ANYONE, "link_open", secret=secret, **params)
    return caught.value


def used(house: House) -> tuple[int, int]:
    with house.db.read() as conn:
        row = conn.execute(sa.select(t.links)).one()
    return row.uses, row.uses_left


def test_it_opens_with_its_passphrase_however_that_was_typed(
    house: House, link: dict[str, str], perform: Perform
) -> None:
    opened = perform(ANYONE, "link_open", secret=link["secret"], passphrase="blu\u00e9 kettle")
    assert opened["cookie"] and used(house) == (1, 2)


def test_a_wrong_or_missing_passphrase_spends_no_use(house: House, link: dict[str, str], perform: Perform) -> None:
    assert refused(perform, link["secret"]).code == "passphrase_needed"
    wrong = refused(perform, link["secret"], passphrase="red kettle")
    assert isinstance(wrong, NotAllowed) and wrong.code == "wrong_passphrase"
    assert used(house) == (0, 3)


def test_ten_wrong_ones_make_the_link_rest_and_even_the_right_one_waits(
    link: dict[str, str], perform: Perform, clock: FrozenClock
) -> None:
    for _ in range(limits.LINK_TRIES):
        assert refused(perform, link["secret"], passphrase="guess it").code == "wrong_passphrase"
        clock.advance(1)
    resting = refused(perform, link["secret"], passphrase=PHRASE)
    assert isinstance(resting, TooMany) and resting.retry_after_seconds == limits.LINK_TRIES_SECONDS - 10 + 1
    clock.advance(limits.LINK_TRIES_SECONDS - 10)
    assert perform(ANYONE, "link_open", secret=link["secret"], passphrase=PHRASE)["cookie"]


def test_a_quarter_of_an_hour_later_the_count_begins_anew(
    link: dict[str, str], perform: Perform, clock: FrozenClock
) -> None:
    for _ in range(3):
        for _ in range(limits.LINK_TRIES - 1):
            assert refused(perform, link["secret"], passphrase="guess it").code == "wrong_passphrase"
        clock.advance(limits.LINK_TRIES_SECONDS)
    assert perform(ANYONE, "link_open", secret=link["secret"], passphrase=PHRASE)["cookie"]


def test_the_same_request_repeated_under_its_key_is_refused_again_and_counted(
    house: House, link: dict[str, str], perform: Perform
) -> None:
    for _ in range(2):
        with pytest.raises(NotAllowed):
            perform(ANYONE, "link_open", key="k", secret=link["secret"], passphrase="guess it")
    with house.db.read() as conn:
        assert conn.execute(sa.select(t.link_tries.c.wrong)).scalar_one() == 2
    assert perform(ANYONE, "link_open", key="k", secret=link["secret"], passphrase=PHRASE)["cookie"]


@pytest.mark.parametrize("phrase", ["", "short", "x" * 10_000, "a\x00bcdef", "\ud800bcdef"])
def test_a_passphrase_that_cannot_be_one_is_refused_when_the_link_is_made(
    ana: Actor, lab: str, perform: Perform, phrase: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "link_create", session_id=lab, passphrase=phrase)
    assert caught.value.path is not None and caught.value.path.endswith("passphrase")


def test_a_passphrase_of_ten_thousand_characters_is_refused_before_it_is_hashed(
    house: House, link: dict[str, str], perform: Perform
) -> None:
    assert isinstance(refused(perform, link["secret"], passphrase="x" * 10_000), InvalidInput)
    with house.db.read() as conn:
        assert conn.execute(sa.select(t.link_tries)).first() is None


def test_the_landing_says_nothing_of_what_a_passphrase_guards(
    house: House, ana: Actor, lab: str, link: dict[str, str], perform: Perform
) -> None:
    plain = perform(ana, "link_create", session_id=lab)
    with house.scope(ANYONE) as scope:
        guarded, open_one = links.landing(scope, link["secret"]), links.landing(scope, plain["secret"])
    assert (guarded.valid, guarded.asks, guarded.title, guarded.role, guarded.expires) == (True, True, "", "", "")
    assert (open_one.asks, open_one.title) == (False, "Quiet work")


def test_an_expired_link_is_unknown_again_whatever_the_passphrase(
    house: House, link: dict[str, str], perform: Perform, clock: FrozenClock
) -> None:
    clock.advance(limits.LINK_SECONDS_DEFAULT)
    for phrase in (PHRASE, "guess it"):
        assert isinstance(refused(perform, link["secret"], passphrase=phrase), NotFound)
    with house.scope(ANYONE) as scope:
        assert not links.landing(scope, link["secret"]).valid


def test_a_link_ends_with_the_account_that_made_it(house: House, ana: Actor, lab: str, perform: Perform) -> None:
    made = perform(ana, "link_create", session_id=lab)
    house.db.write(lambda tx: tx.conn.exec_driver_sql("update persons set disabled_at = 1") and None)
    assert isinstance(refused(perform, made["secret"]), NotFound)


def test_neither_the_passphrase_nor_anything_to_guess_it_by_is_kept(
    house: House, ana: Actor, lab: str, perform: Perform
) -> None:
    request = {"session_id": lab, "passphrase": "sesame1"}
    perform(ana, "link_create", **request)
    action = actions.from_object({"action": "link_create", **request}, "$")
    plain = hashlib.sha256(msgspec.json.encode(action)).hexdigest()
    with house.db.read() as conn:
        bodies = b"".join(conn.execute(sa.select(ledger_bodies.c.bytes)).scalars())
        stored = conn.execute(sa.select(t.links.c.passphrase)).scalar_one()
    assert b"sesame1" not in bodies and plain.encode() not in bodies
    assert stored.startswith("$argon2id$")
