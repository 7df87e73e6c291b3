"""The form for a job offers every place its reader can use: one's own accounts, the hub's pods, and the hub itself."""

from __future__ import annotations

from typing import Any

import pytest

from hub.core.context import Actor
from hub.core.house import House
from tests.actions.cluster_fixtures import account_on
from tests.actions.test_kubernetes_accounts import NAME, Add, add, authority, backend_of, works
from tests.conftest import Perform
from tests.jobs import personal
from tests.web.test_cluster_pages import browser, field

__all__ = ["add", "authority", "browser", "works"]  # fixtures
FORM = {"action": "job_submit", "session_id": "personal", "job_type": "auto", "script": "#!/bin/sh\ntrue\n"}


@pytest.mark.usefixtures("works")
def test_a_kubernetes_cluster_is_offered_to_the_sessions_that_may_use_it_and_takes_the_job(
    browser: Any, house: House, ana: Actor, ben: Actor, operator: Actor, perform: Perform, add: Add
) -> None:
    add(every_session=None, sessions=[personal(house, ana)])
    assert 'name="cluster"' not in browser(ana).get("/s/ana/personal/jobs").text, "nobody has tried it yet"
    perform(operator, "cluster_test", cluster=NAME)
    page = browser(ana).get("/s/ana/personal/jobs").text
    offered = field(page, "cluster")
    assert f'<option value="{NAME}">' in offered and "Wherever it suits (auto)" in offered
    assert f"On {NAME} it runs as a pod, under the hub’s account." in page
    assert "your own account there" not in page
    assert 'name="cluster"' not in browser(ben).get("/s/ben/personal/jobs").text
    for cluster, backend in ((NAME, NAME), ("", "local"), ("local", "local")):
        sent = browser(ana).post("/do", data={**FORM, "cluster": cluster, "next": "/jobs/{id}"})
        assert sent.status_code == 303
        assert backend_of(house, sent.headers["location"].rpartition("/")[2])[0] == backend
    # One who is not offered it and asks all the same is refused.
    refused = browser(ben).post("/do", data={**FORM, "cluster": NAME, "next": "/jobs/{id}"})
    assert refused.status_code == 403 and "may not go to harbour" in refused.text


@pytest.mark.usefixtures("works")
def test_ones_own_accounts_stand_beside_it(
    browser: Any, house: House, ana: Actor, operator: Actor, perform: Perform, add: Add
) -> None:
    add()
    perform(operator, "cluster_test", cluster=NAME)
    account_on(house, ana, "raven")
    page = browser(ana).get("/s/ana/personal/jobs").text
    assert f'<option value="raven">raven</option><option value="{NAME}">' in field(page, "cluster")
    assert "On raven it runs under your own account there." in page
