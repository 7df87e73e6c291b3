"""What people and sessions may use: refused before it is too much, told when it comes close, set by who may."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, NotAllowed, NotFound
from hub.core.house import House
from hub.jobs import quotas
from hub.jobs.dry_plan import plan_job
from hub.jobs.tables import jobs
from hub.sessions import grants
from hub.sessions.tables import grants as grants_table
from tests.actions.cluster_fixtures import account_on
from tests.actions.notebook_fixtures import grant
from tests.conftest import Perform, make_person

SCRIPT = "#!/bin/sh\ntrue\n"
FOUR_HOURS = {"nodes": 2, "cpus_per_node": 2, "time": 60}


@pytest.fixture
def course(house: House, perform: Perform, ana: Actor, ben: Actor) -> str:
    session = str(perform(ana, "session_create", name="physics", title="Physics")["session"])
    grant(house, session, ben, "student")
    for who in (ana, ben):
        account_on(house, who, "raven", price_per_core_hour=0.5)
    return session


def submit(perform: Perform, who: Actor, session: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = perform(
        who, "job_submit", session_id=session, script=SCRIPT, **{"resources": FOUR_HOURS, **more}
    )
    return made


def ends(house: House, job: str, after: dt.timedelta) -> None:
    now = house.clock.now()
    values = {"state": "SUCCEEDED", "started_at": now, "ended_at": now + after}
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == job).values(**values)))


def test_a_job_that_would_break_a_persons_quota_is_refused_with_what_is_left_and_who_can_raise_it(
    house: House, perform: Perform, operator: Actor, ana: Actor, course: str
) -> None:
    perform(operator, "quota_set", person="ana", core_hours=6)
    submit(perform, ana, course)
    with pytest.raises(Conflict) as caught:
        submit(perform, ana, course)
    assert caught.value.code == "over_quota"
    assert list(caught.value.errors) == [
        "It may take 4 core hours, and you have 2 core hours left of 6 core hours in 30 days; "
        "an operator of this hub can raise it."
    ]
    perform(operator, "quota_set", person="ana", core_hours=8)
    submit(perform, ana, course)
    with house.db.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(jobs)).scalar_one() == 2


def test_what_a_job_did_not_use_is_given_back_when_it_ends_and_the_rest_after_the_term(
    house: House, clock: FrozenClock, perform: Perform, operator: Actor, ana: Actor, course: str
) -> None:
    perform(operator, "quota_set", person="ana", core_hours=6)
    ends(house, submit(perform, ana, course)["id"], dt.timedelta(minutes=30))
    submit(perform, ana, course)
    with pytest.raises(Conflict):
        submit(perform, ana, course)
    with house.db.read() as conn:
        [other] = conn.execute(sa.select(jobs.c.id).where(jobs.c.state != "SUCCEEDED")).scalars()
    ends(house, other, dt.timedelta(hours=1))
    clock.advance(31 * 86400)
    submit(perform, ana, course)


def test_a_session_and_each_of_its_members_have_bounds_of_their_own(
    house: House, perform: Perform, ana: Actor, ben: Actor, course: str
) -> None:
    perform(ana, "quota_set", session_id=course, money=4)
    perform(ana, "quota_set", session_id=course, each=True, open=1)
    submit(perform, ben, course)
    with pytest.raises(Conflict, match=r"each member of ana/physics has 0 jobs that have not ended left of 1"):
        submit(perform, ben, course)
    submit(perform, ana, course)
    perform(ana, "quota_set", session_id=course, each=True)
    with pytest.raises(Conflict, match=r"the session ana/physics has a cost of 0\.00 left of a cost of 4\.00"):
        submit(perform, ben, course)
    submit(perform, ana, "ana/personal")


def test_at_eighty_and_at_a_hundred_percent_the_submitter_is_warned_once(
    house: House, perform: Perform, ana: Actor, course: str
) -> None:
    perform(ana, "quota_set", session_id=course, core_hours=20)
    notes = [submit(perform, ana, course)["notes"] for _ in range(5)]
    assert [len(each) for each in notes] == [0, 0, 0, 1, 1]
    assert notes[3][0].endswith("used or reserved 16 core hours of 20 core hours in 30 days: 80% or more.")
    assert notes[4][0].endswith("used or reserved 20 core hours of 20 core hours in 30 days: all.")


def test_a_soft_quota_warns_and_lets_it_through(perform: Perform, ana: Actor, course: str) -> None:
    perform(ana, "quota_set", session_id=course, core_hours=3, soft=True)
    [note] = submit(perform, ana, course)["notes"]
    assert note.startswith("It may take 4 core hours, and the session ana/physics has 3 core hours left")


def test_the_plan_tells_of_a_quota_before_anything_is_submitted(
    house: House, perform: Perform, ana: Actor, course: str
) -> None:
    perform(ana, "quota_set", session_id=course, core_hours=3)
    shown = plan_job(house, ana, {"script": SCRIPT, "session_id": course, "resources": FOUR_HOURS})
    assert shown.chosen == "raven" and "3 core hours left" in shown.over[0]


def test_a_place_without_a_price_goes_with_no_quota_of_money(
    house: House, perform: Perform, ana: Actor, course: str
) -> None:
    account_on(house, ana, "dark", price_per_core_hour=None)
    perform(ana, "quota_set", session_id=course, money=100)
    with pytest.raises(Conflict, match="Nobody has said what dark costs"):
        submit(perform, ana, course, cluster="dark")
    submit(perform, ana, course, cluster="raven")


def test_a_workflow_counts_as_a_whole(perform: Perform, ana: Actor, course: str) -> None:
    perform(ana, "quota_set", session_id=course, core_hours=6)
    steps = [{"step": name, "script": SCRIPT} for name in "ab"]
    with pytest.raises(Conflict, match="It may take 8 core hours"):
        perform(ana, "job_submit", session_id=course, workflow=steps, resources=FOUR_HOURS)
    perform(ana, "job_submit", session_id=course, workflow=steps[:1], resources=FOUR_HOURS)


def test_options_in_the_script_count_as_well(perform: Perform, ana: Actor, course: str) -> None:
    perform(ana, "quota_set", session_id=course, core_hours=6)
    script = "#!/bin/sh\n#SBATCH --ntasks=8 --time=60\ntrue\n"
    with pytest.raises(Conflict, match="It may take 8 core hours"):
        perform(ana, "job_submit", session_id=course, script=script, cluster="raven")


def test_only_operators_bound_people_and_only_who_leads_a_session_bounds_it(
    perform: Perform, operator: Actor, ana: Actor, ben: Actor, course: str
) -> None:
    with pytest.raises(NotAllowed):
        perform(ana, "quota_set", person="ben", core_hours=1)
    with pytest.raises(NotAllowed):
        perform(ben, "quota_set", session_id=course, core_hours=1)
    with pytest.raises(NotFound):
        perform(operator, "quota_set", person="nobody", core_hours=1)
    with pytest.raises(NotFound):
        perform(operator, "quota_set", session_id=course, core_hours=1)


def test_everybody_sees_what_bounds_them(
    house: House, perform: Perform, operator: Actor, ana: Actor, ben: Actor, course: str
) -> None:
    perform(operator, "quota_set", person="ben", money=10)
    perform(ana, "quota_set", session_id=course, core_hours=20)
    perform(ana, "quota_set", session_id=course, each=True, core_hours=10)
    submit(perform, ben, course)
    submit(perform, ana, course)

    def seen(who: Actor) -> dict[str, tuple[float, float]]:
        with house.scope(who) as scope:
            return {each.kind: (each.amounts[0].used, each.amounts[0].left) for each in quotas.mine(scope).quotas}

    assert seen(ben) == {"person": (2.0, 8.0), "session": (8.0, 12.0), "member": (4.0, 6.0)}
    assert seen(ana) == {"session": (8.0, 12.0), "member": (4.0, 6.0)}
    with house.scope(ben) as scope:
        assert len(quotas.of_session(scope, course).quotas) == 3
    assert seen(operator) == {}


def test_the_students_of_a_class_have_a_total_and_each_a_share_and_who_leads_it_takes_none_of_it(
    house: House, perform: Perform, ana: Actor, ben: Actor, course: str
) -> None:
    cem = make_person(house, "cem")
    grant(house, course, cem, "student")
    account_on(house, cem, "raven")
    perform(ana, "quota_set", session_id=course, students=True, core_hours=10)
    perform(ana, "quota_set", session_id=course, students=True, each=True, core_hours=8)
    submit(perform, ana, course)
    submit(perform, ana, course)
    assert not submit(perform, ben, course)["notes"]
    noted = submit(perform, ben, course)["notes"]
    assert [each.partition(": ")[2] for each in noted] == ["80% or more.", "all."]
    assert "the class ana/physics has used or reserved 8 core hours of 10" in noted[0]
    assert "each student of ana/physics has used or reserved 8 core hours of 8" in noted[1]
    with pytest.raises(Conflict, match="each student of ana/physics has 0 core hours left of 8") as caught:
        submit(perform, ben, course)
    assert caught.value.code == "over_quota"
    with pytest.raises(Conflict, match="the class ana/physics has 2 core hours left of 10"):
        submit(perform, cem, course)
    submit(perform, ana, course)


def test_what_students_used_stays_the_classs_when_they_leave_and_a_teacher_who_is_also_one_is_bound_by_nothing(
    house: House, perform: Perform, ana: Actor, ben: Actor, course: str
) -> None:
    perform(ana, "quota_set", session_id=course, students=True, core_hours=6)
    submit(perform, ben, course)
    dan = make_person(house, "dan")
    account_on(house, dan, "raven")
    grant(house, course, dan, "student")
    with house.scope(ana) as scope:
        assert not grants.is_student(scope, course, ana.id) and grants.is_student(scope, course, dan.id)
    perform(ben, "session_leave", session_id=course)
    with pytest.raises(Conflict, match="the class ana/physics has 2 core hours left of 6"):
        submit(perform, dan, course)
    row = {"session": course, "subject": dan.id, "via": "class", "role": "teacher", "at": house.clock.now()}
    house.db.write(lambda tx: tx.execute(sa.insert(grants_table).values(**row)))
    submit(perform, dan, course)


def test_who_leads_a_class_sees_what_its_students_used_together_and_the_most_of_one_and_they_see_their_own(
    house: House, perform: Perform, ana: Actor, ben: Actor, course: str
) -> None:
    cem = make_person(house, "cem")
    grant(house, course, cem, "student")
    account_on(house, cem, "raven")
    perform(ana, "quota_set", session_id=course, students=True, core_hours=100)
    made = perform(ana, "quota_set", session_id=course, students=True, each=True, core_hours=50)
    assert made["of"] == "each student of ana/physics"
    for who in (ana, ben, ben, cem):
        submit(perform, who, course)

    def seen(who: Actor) -> dict[str, float]:
        with house.scope(who) as scope:
            return {each.kind: each.amounts[0].used for each in quotas.of_session(scope, course).quotas}

    assert seen(ana) == {"class": 12.0, "student": 8.0}
    assert seen(ben) == {"class": 12.0, "student": 8.0}
    assert seen(cem) == {"class": 12.0, "student": 4.0}
    with house.scope(ana) as scope:
        assert quotas.mine(scope).quotas == []  # nothing of it bounds her own jobs
    with house.scope(cem) as scope:
        assert [each.kind for each in quotas.mine(scope).quotas] == ["class", "student"]
    perform(ana, "quota_set", session_id=course, students=True)
    assert seen(cem) == {"student": 4.0}
