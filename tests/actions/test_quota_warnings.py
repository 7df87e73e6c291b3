"""A quota that is nearly used is told to whoever can do something about it: by mail, at home, on the page of use."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict
from hub.core.house import House
from hub.core.steps import steps
from hub.jobs import quota_warnings, quotas
from hub.ledger.tables import ledger
from hub.people.tables import emails
from tests.actions.notebook_fixtures import grant
from tests.actions.test_quotas import course, ends, submit
from tests.conftest import Perform, make_person

__all__ = ["course"]  # a fixture


@pytest.fixture
def posting(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """The hub was told of a mail server; nobody carries the mails away."""
    monkeypatch.setattr(house, "settings", msgspec.structs.replace(house.settings, smtp_url="smtp://127.0.0.1:9"))
    return house


def proved(house: House, who: Actor, address: str, *, is_proved: bool = True) -> None:
    row = {"email": address, "person": who.id, "verified_at": house.clock.now() if is_proved else None}
    house.db.write(lambda tx: tx.execute(sa.insert(emails).values(**row)) and None)


def mailed(house: House) -> list[dict[str, Any]]:
    with house.db.read() as conn:
        return list(conn.execute(sa.select(steps.c.args).where(steps.c.kind == "mail").order_by(steps.c.id)).scalars())


def close(house: House, who: Actor) -> list[tuple[str, str, int, bool]]:
    with house.scope(who) as scope:
        found = quota_warnings.close(scope)
    return [(one.quota.kind, one.amount.what, round(quotas.share_of(one.amount) * 100), one.mine) for one in found]


def test_who_leads_a_class_is_mailed_at_eighty_and_at_a_hundred_percent_and_no_student_is(
    posting: House, perform: Perform, ana: Actor, ben: Actor, course: str
) -> None:
    ted, dora = make_person(posting, "ted"), make_person(posting, "dora")
    grant(posting, course, ted, "teacher")
    grant(posting, course, dora, "mentor")
    proved(posting, ana, "ana@proved.edu")
    proved(posting, ted, "ted@proved.edu", is_proved=False)
    proved(posting, ben, "ben@proved.edu")
    proved(posting, dora, "dora@proved.edu")
    perform(ana, "quota_set", session_id=course, students=True, core_hours=8.5)
    submit(perform, ben, course)
    assert mailed(posting) == []
    submit(perform, ben, course)
    [first] = mailed(posting)
    assert (first["to"], first["subject"]) == ("ana@proved.edu", "80 % of a quota of ana/physics")
    assert "The class ana/physics has used or reserved 8 core hours of 8.5 core hours in 30 days" in first["text"]
    assert "/s/ana/physics/usage" in first["text"] and "quota set --session ana/physics" in first["text"]
    perform(ana, "quota_set", session_id=course, students=True, core_hours=12)
    proved(posting, ted, "t@proved.edu")
    submit(perform, ben, course)
    full = [each["to"] for each in mailed(posting) if each["subject"].startswith("100 %")]
    assert sorted(full) == ["ana@proved.edu", "t@proved.edu"]
    with pytest.raises(Conflict):
        submit(perform, ben, course)
    assert len(mailed(posting)) == 3, "what is refused was not used"


def test_a_threshold_that_is_passed_again_and_again_is_mailed_once_a_day(
    posting: House, perform: Perform, clock: FrozenClock, ana: Actor, ben: Actor, course: str
) -> None:
    proved(posting, ana, "ana@proved.edu")
    perform(ana, "quota_set", session_id=course, core_hours=5)
    for _ in range(3):
        ends(posting, submit(perform, ben, course)["id"], dt.timedelta(0))
    assert len(mailed(posting)) == 1
    with posting.db.read() as conn:
        lines = conn.execute(sa.select(ledger.c.action).where(ledger.c.action == "quota_reached")).scalars().all()
    assert len(lines) == 3
    clock.advance(86_401)
    submit(perform, ben, course)
    assert len(mailed(posting)) == 2


def test_a_leader_who_submits_is_told_on_the_job_alone_and_without_a_mail_server_nothing_is_queued(
    house: House, posting: House, perform: Perform, ana: Actor, ben: Actor, course: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved(posting, ana, "ana@proved.edu")
    perform(ana, "quota_set", session_id=course, core_hours=5)
    made = submit(perform, ana, course)
    assert any("80% or more" in note for note in made["notes"]) and mailed(posting) == []
    ends(posting, made["id"], dt.timedelta(0))
    monkeypatch.setattr(house, "settings", msgspec.structs.replace(house.settings, smtp_url=None))
    submit(perform, ben, course)
    assert mailed(house) == []


def test_home_is_told_what_its_reader_can_do_something_about(
    house: House, perform: Perform, operator: Actor, ana: Actor, ben: Actor, course: str
) -> None:
    perform(ana, "quota_set", session_id=course, students=True, core_hours=5)
    perform(ana, "quota_set", session_id=course, students=True, each=True, core_hours=4)
    perform(operator, "quota_set", person="ben", core_hours=6, open=1)
    assert close(house, ana) == close(house, ben) == []
    submit(perform, ben, course)
    assert sorted(close(house, ana)) == [("class", "core_hours", 80, True), ("student", "core_hours", 100, True)]
    assert close(house, ben) == [("student", "core_hours", 100, False)], "67 % of his own, and the class's is not his"
    perform(operator, "quota_set", person="ben", core_hours=5)
    assert sorted(close(house, ben)) == [("person", "core_hours", 80, False), ("student", "core_hours", 100, False)]


def test_who_leads_sees_what_each_used_of_what_each_may_and_nobody_else_does(
    house: House, perform: Perform, ana: Actor, ben: Actor, course: str
) -> None:
    cleo = make_person(house, "cleo")
    grant(house, course, cleo, "student")
    perform(ana, "quota_set", session_id=course, students=True, each=True, core_hours=10)
    perform(ana, "quota_set", session_id=course, each=True, open=5)
    submit(perform, ben, course)
    submit(perform, ben, course)
    submit(perform, ana, course)
    with house.scope(ana) as scope:
        found = quotas.of_session(scope, course).people
    told = [(one.person.handle, one.kind, one.amounts[0].used, one.amounts[0].most) for one in found]
    assert told == [("ben", "student", 8.0, 10.0), ("ben", "member", 2.0, 5.0), ("ana", "member", 1.0, 5.0)]
    with house.scope(ben) as scope:
        assert quotas.of_session(scope, course).people == []
