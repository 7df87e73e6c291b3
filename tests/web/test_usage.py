"""Use and cost as pages and JSON, and what Prometheus reads of the hub's work."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from hub.core.context import Actor
from hub.core.house import House
from tests.actions.notebook_fixtures import grant
from tests.conftest import Perform
from tests.web.conftest import Client
from tests.web.test_pages import words_of

SCRIPT = "#!/bin/sh\ntrue\n"


def samples(client: TestClient) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_prometheus_reads_queue_machine_and_workers(client: Client, ana: Actor, perform: Perform) -> None:
    perform(ana, "job_submit", session_id="personal", job_type="local", script=SCRIPT)
    read = samples(client())
    assert read["collegium_measured",] == 1
    assert read["collegium_jobs", "local", "waiting"] == 1
    assert read["collegium_jobs", "local", "running"] == 0
    assert read["collegium_backend_watched", "local"] == 0
    assert read["collegium_steps_due",] >= 1
    assert read["collegium_machine_cores",] >= 1
    assert read["collegium_disk_free_bytes",] > 0


def test_metrics_are_still_there_when_the_database_cannot_be_asked(client: Client, house: House) -> None:
    house.db.write(lambda tx: tx.execute(sa.text("ALTER TABLE backends RENAME TO elsewhere")))
    read = samples(client())
    assert read["collegium_measured",] == 0


def test_use_is_told_as_json_to_who_takes_part(client: Client, ana: Actor, ben: Actor, perform: Perform) -> None:
    session = perform(ana, "session_create", name="physics", title="Physics")["session"]
    perform(ana, "job_submit", session_id=session, job_type="local", script=SCRIPT)
    mine = client(ana)
    assert mine.get(f"/api/sessions/{session}/usage").json()["total"]["jobs"] == 1
    assert mine.get("/api/sessions/ana/physics/usage?days=7").json()["people"][0]["person"]["handle"] == "ana"
    assert mine.get("/api/usage").json()["total"]["alive"] == 1
    assert mine.get("/api/resources").json()["queues"][0]["waiting"] == 1
    assert client(ben).get(f"/api/sessions/{session}/usage").status_code == 404
    assert client().get("/api/resources").status_code == 401


@pytest.mark.parametrize("days", ["0", "-3", "9999", "x", "1e3", "9" * 400, "%00"])
def test_a_term_that_is_none_is_refused(client: Client, ana: Actor, days: str) -> None:
    for path in ("/api/usage", "/resources"):
        assert client(ana).get(f"{path}?days={days}").status_code < 500
    assert client(ana).get(f"/api/usage?days={days}").status_code in (400, 422)


def test_a_quota_that_is_nearly_used_needs_whoever_leads_and_its_page_shows_who_used_it(
    client: Client, house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    session = perform(ana, "session_create", name="physics", title="Physics")["session"]
    grant(house, session, ben, "student")
    perform(ana, "quota_set", session_id=session, students=True, core_hours=10)
    perform(ana, "quota_set", session_id=session, students=True, each=True, core_hours=9)
    job = {"session_id": session, "job_type": "local", "script": SCRIPT, "resources": {"time": 540}}
    perform(ben, "job_submit", **job)
    home = words_of(client(ana).get("/").text)
    assert "The class ana/physics has used 90 % of a quota" in home
    assert "9 of 10 core hours in 30 days used or reserved. You can raise it." in home
    own = words_of(client(ben).get("/").text)
    assert (
        "Each student of ana/physics has used 100 % of a quota" in own and "Who leads ana/physics can raise it" in own
    )
    assert "The class ana/physics has used" not in own
    page = words_of(client(ana).get("/s/ana/physics/usage").text)
    assert "What each used of theirs" in page and "Ben, as a student 9 of 9 core hours in 30 days" in page
    assert "What each used of theirs" not in words_of(client(ben).get("/s/ana/physics/usage").text)
    told = client(ana).get(f"/api/sessions/{session}/quotas").json()
    assert [(one["person"]["handle"], one["amounts"][0]["used"]) for one in told["people"]] == [("ben", 9.0)]
