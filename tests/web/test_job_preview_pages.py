"""A dry run over HTTP and on its page; the question about a script that somebody else changed."""

from __future__ import annotations

import html
import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core.context import Actor
from hub.core.house import House
from tests.actions.test_script_changed import Lab, digest
from tests.conftest import Perform
from tests.web import page_world
from tests.web.conftest import ORIGIN, Client, act


@pytest.fixture
def lab(house: House, perform: Perform, ana: Actor, ben: Actor) -> Lab:
    return Lab(house, perform, ana, ben)


@pytest.fixture
def browser(application: Starlette, lab: Lab) -> TestClient:
    cookies = {"collegium": page_world.sign_in(lab.house, lab.ana)}
    headers = {"accept": "text/html", "origin": ORIGIN}
    return TestClient(application, base_url=ORIGIN, headers=headers, cookies=cookies, follow_redirects=False)


def envelope(**params: object) -> dict[str, object]:
    return {"tool": "distributed_collaboration", "params": {"action": "job_submit", **params}}


def fields(page: str) -> list[tuple[str, str]]:
    form = page[page.rindex('<form class="form"') :]
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
    return [(html.unescape(name), html.unescape(value)) for name, value in found]


def test_the_same_envelope_is_answered_with_what_it_would_start(client: Client, lab: Lab) -> None:
    lab.write(lab.ana, b"print(1)\n")
    said = client(lab.ana).post("/api/jobs/preview", json=envelope(session_id="lab", script="fit.py", args=["1"]))
    assert said.status_code == 200, said.text
    [job] = said.json()["jobs"]
    assert job["command"][0] == "python3" and job["command"][2] == "1"
    assert (job["script"], job["script_digest"]) == ("fit.py", digest(b"print(1)\n"))
    assert client(lab.ana).get("/api/jobs?session=ana/lab").json()["jobs"] == []


def test_who_may_not_submit_sees_no_dry_run(client: Client, lab: Lab, operator: Actor) -> None:
    said = client(operator).post("/api/jobs/preview", json=envelope(session_id=lab.id, script="#!/bin/sh\n"))
    assert said.status_code == 404
    said = client(lab.ana, scopes=["job:read"]).post(
        "/api/jobs/preview", json=envelope(session_id=lab.id, script="#!/bin/sh\n")
    )
    assert (said.status_code, said.json()["code"]) == (403, "not_allowed")
    assert client().post("/api/jobs/preview", json=envelope(script="#!/bin/sh\n")).status_code == 401


def test_a_token_that_may_submit_but_not_read_files_is_shown_none(client: Client, lab: Lab) -> None:
    lab.write(lab.ana, b"secret = 1\n")
    lab.write(lab.ben, b"secret = 2\n")
    narrow = client(lab.ana, scopes=["job:submit"])
    said = narrow.post("/api/jobs/preview", json=envelope(session_id=lab.id, script="fit.py"))
    assert said.status_code == 200 and "secret" not in said.text
    refused = act(narrow, "job_submit", session_id=lab.id, script="fit.py")
    assert refused.status_code == 409 and "secret" not in refused.text


def test_a_refusal_carries_the_change_as_data(client: Client, lab: Lab) -> None:
    lab.write(lab.ana, b"print(1)\n")
    lab.write(lab.ben, b"print(2)\n")
    refused = act(client(lab.ana), "job_submit", session_id=lab.id, script="fit.py")
    assert (refused.status_code, refused.json()["code"]) == (409, "script_changed")
    [script] = refused.json()["facts"]["scripts"]
    assert script["confirm"] == digest(b"print(2)\n") and "+print(2)" in script["diff"]


def test_a_page_previews_and_its_button_submits_the_same(browser: TestClient, lab: Lab) -> None:
    form = {"action": "job_submit", "session_id": lab.id, "job_type": "auto", "next": "/jobs/{id}"}
    script = "#!/bin/sh\r\necho '<b>' \"&\"\r\n"
    shown = browser.post("/jobs/preview", data={**form, "script": script, "artifacts[,]": ""})
    assert shown.status_code == 200 and "Nothing is recorded yet" in shown.text
    assert "given/script" in shown.text and "&lt;b&gt;" in shown.text and "<b>'" not in shown.text
    done = browser.post("/jobs/submit", data=dict(fields(shown.text)))
    assert done.status_code == 303 and done.headers["location"].startswith("/jobs/job_")


def test_a_page_asks_before_a_changed_script_runs_and_its_button_runs_it(browser: TestClient, lab: Lab) -> None:
    lab.write(lab.ana, b"print(1)\n")
    lab.write(lab.ben, b"print('<script>')\n")
    form = {"action": "job_submit", "session_id": lab.id, "job_type": "auto", "next": "/jobs/{id}", "script": "fit.py"}
    asked = browser.post("/do", data=form)
    assert asked.status_code == 409 and "The script has changed" in asked.text
    assert "&lt;script&gt;" in asked.text and "print('<script>" not in asked.text
    assert "Run it as it is now" in browser.post("/jobs/preview", data=form).text
    again = dict(fields(asked.text))
    assert again["confirm[]"] == digest(b"print('<script>')\n")
    assert browser.post("/do", data=again).status_code == 303


def test_a_preview_of_nonsense_is_the_form_again_with_what_is_wrong(browser: TestClient, lab: Lab) -> None:
    said = browser.post("/jobs/preview", data={"action": "job_submit", "session_id": lab.id, "script": "nope.py"})
    assert said.status_code == 400 and "the session has no" in html.unescape(said.text).casefold()
    assert 'aria-invalid="true"' in said.text and "nope.py</textarea>" in said.text
    assert browser.post("/jobs/preview", data={"action": "job_cancel", "job": "1"}).status_code == 400
