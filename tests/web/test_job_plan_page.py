"""Where a job would run, over HTTP: as JSON for programs, as a page for whoever fills in the form."""

from __future__ import annotations

import re

from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core.context import Actor
from hub.core.house import House
from tests.actions.cluster_fixtures import account_on
from tests.conftest import Perform
from tests.web.conftest import ORIGIN, Client
from tests.web.page_world import World
from tests.web.test_pages import browser, words_of, world

__all__ = ["world"]  # a fixture
SCRIPT = "#!/bin/sh\necho 'a \"b\" <i>'\n"


def test_a_program_asks_where_a_job_would_run_and_nothing_is_submitted(
    client: Client, house: House, ana: Actor, ben: Actor
) -> None:
    account_on(house, ana, "raven")
    mine = client(ana)
    told = mine.post("/api/jobs/plan", json={"script": SCRIPT, "resources": {"nodes": 2}})
    assert told.status_code == 200
    assert (told.json()["chosen"], told.json()["asking"]) == ("raven", ["raven"])
    assert mine.get("/api/jobs").json()["jobs"] == []
    wrong = mine.post("/api/jobs/plan", json={"script": SCRIPT, "colour": "red"})
    assert wrong.status_code == 400 and wrong.json()["path"] == "$.params"
    assert mine.post("/api/jobs/plan", json=[1]).status_code == 400
    assert client().post("/api/jobs/plan", json={"script": SCRIPT}).status_code == 401
    assert client(ben).post("/api/jobs/plan", json={"script": SCRIPT, "session_id": "ana/personal"}).status_code == 404


def asked(anas: TestClient, world: World, **more: str) -> str:
    fields = {"action": "job_submit", "session_id": world.session, "job_type": "auto", "script": SCRIPT, **more}
    headers = {"origin": ORIGIN, "referer": f"{ORIGIN}/s/{world.name}/jobs"}
    return anas.post("/jobs/plan", data=fields, headers=headers).text


def test_the_form_shows_the_places_and_submits_what_was_shown(
    application: Starlette, world: World, house: House
) -> None:
    anas = browser(application, world, world.ana)
    page = asked(anas, world, **{"resources.time": "30", "within": "", "artifacts[,]": ""})
    said = words_of(page)
    assert "Where it would run" in said and "Nothing is submitted yet." in said
    assert "One core, for 30 min at most." in said
    assert "Chosen." in said and "Submit to this hub" in said
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page))
    assert (hidden["agreed"], hidden["resources.time"]) == ("local", "30")
    assert "&lt;i&gt;" in hidden["script"], "what a person wrote stays text"


def test_the_page_tells_of_gpus_and_what_they_cost(application: Starlette, world: World, house: House) -> None:
    account_on(house, world.ana, "heron", price_per_core_hour=0.1, price_per_gpu_hour=2.0)
    asks = {"resources.time": "60", "resources.gpus": "2", "cluster": "heron"}
    said = words_of(asked(browser(application, world, world.ana), world, **asks))
    assert "One core and two GPUs, for 1 h at most." in said and "4.10" in said


def test_the_form_tells_of_a_quota_instead_of_offering_to_submit(
    application: Starlette, world: World, perform: Perform
) -> None:
    perform(world.ana, "quota_set", session_id=world.session, core_hours=0.1)
    said = words_of(asked(browser(application, world, world.ana), world))
    assert "can raise it" in said and "Submit to" not in said


def test_a_place_that_cannot_honour_what_was_asked_is_told_of_beside_each_field_before_anything_is_submitted(
    application: Starlette, world: World
) -> None:
    anas = browser(application, world, world.ana)
    page = asked(anas, world, cluster="local", **{"resources.gpus": "2", "environment.modules[,]": "gcc/12"})
    said = words_of(page)
    assert "GPUs are not given to local jobs" in said and "Modules are not there outside a cluster" in said
    assert page.count('aria-invalid="true"') == 2


def test_a_place_that_cannot_honour_it_stands_in_the_table_with_its_reason(
    application: Starlette, world: World, house: House
) -> None:
    said = words_of(asked(browser(application, world, world.ana), world, **{"resources.gpus": "2"}))
    assert "Where it would run" in said and "raven" in said
    assert "GPUs are not given to local jobs" in said and "resources.gpus" not in said


def test_quotas_stand_on_the_pages_of_use(client: Client, ana: Actor, operator: Actor, perform: Perform) -> None:
    session = perform(ana, "session_create", name="physics", title="Physics")["session"]
    perform(ana, "quota_set", session_id=session, core_hours=100, soft=True)
    perform(operator, "quota_set", person="ana", open=2)
    perform(ana, "job_submit", session_id=session, job_type="local", script=SCRIPT, resources={"time": 1200})
    mine = client(ana)
    for path in ("/s/ana/physics/usage", "/resources"):
        said = words_of(mine.get(path).text)
        assert "The session ana/physics" in said and "of 100 core hours in 30 days" in said
        assert "It is only warned of." in said and "An operator of this hub can raise it." in said
    told = mine.get("/api/quotas").json()
    assert [(each["kind"], each["amounts"][0]["what"]) for each in told["quotas"]] == [
        ("person", "open"),
        ("session", "core_hours"),
    ]
    assert len(mine.get(f"/api/sessions/{session}/quotas").json()["quotas"]) == 2


def test_a_job_submitted_elsewhere_is_watched_by_a_form_and_left_by_a_button(
    application: Starlette, world: World, house: House
) -> None:
    anas = browser(application, world, world.ana)
    headers = {"origin": ORIGIN, "referer": f"{ORIGIN}/s/{world.name}/jobs"}
    account_on(house, world.ana, "pods", kind="kubernetes")
    page = anas.get(f"/s/{world.name}/jobs").text
    form = page[page.index('id="watch"') :]
    assert '<option value="raven">' in form and '<option value="pods">' not in form
    fields = {"action": "job_watch", "session_id": world.session, "cluster": "raven", "next": "/jobs/{id}"}
    wrong = anas.post("/do", data={**fields, "native": "4;id"}, headers=headers)
    assert wrong.status_code == 400
    begun = anas.post("/do", data={**fields, "native": "41"}, headers=headers, follow_redirects=False)
    assert begun.status_code == 303
    shown = anas.get(begun.headers["location"]).text
    assert "raven:41" in shown and "Stop watching" in shown
    job = begun.headers["location"].removeprefix("/jobs/")
    stop = {"action": "job_unwatch", "job": job, "next": f"/jobs/{job}"}
    assert anas.post("/do", data=stop, headers=headers, follow_redirects=False).status_code == 303
    left = anas.get(f"/jobs/{job}").text
    assert "No longer watched" in words_of(left) and "Stop watching" not in left
