"""Clusters as pages, without a script: a host key is compared before it is trusted, errors stand beside their fields.

The network is the subject of tests with a real sshd; here it is forms, words and rights.
"""

from __future__ import annotations

import datetime as dt
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, Unavailable
from hub.core.house import House
from hub.jobs.backends.slurm import Site
from hub.jobs.clusters import reaching
from hub.jobs.clusters.rules import fingerprint
from hub.jobs.clusters.tables import cluster_accounts, clusters
from tests.conftest import Perform
from tests.site_ca import SiteCa
from tests.web.conftest import ORIGIN, Client
from tests.web.page_world import sign_in
from tests.web.test_setup_page import run_tests

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGh5cG90aGV0aWNhbGhvc3RrZXlvZmFjbHVzdGVy"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFub3RoZXJob3N0a2V5b2ZhbnRoZXJob3N0MTIz"
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n-----END OPENSSH PRIVATE KEY-----"
RAVEN = {"name": "raven", "host": "login.raven.example.org", "port": "22"}


@pytest.fixture(autouse=True)
def _network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY)


@pytest.fixture
def browser(client: Client, house: House) -> Any:
    """`browser(ana)`: a browser of hers, which asks for pages."""

    def make(actor: Actor) -> TestClient:
        made = client()
        made.cookies.set("collegium", sign_in(house, actor))
        made.headers.update({"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"})
        made.headers["Content-Type"] = "application/x-www-form-urlencoded"  # a button alone has no fields
        return made

    return make


@pytest.fixture
def raven(perform: Perform, operator: Actor) -> None:
    perform(operator, "cluster_add", **{**RAVEN, "port": 22, "fingerprint": fingerprint(HOST_KEY)})


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def field(html: str, name: str) -> str:
    """The paragraph of one field: its label, the input, what stands beside."""
    return next(each for each in re.findall(r'<p class="field">.*?</p>', html, re.DOTALL) if f'name="{name}"' in each)


def known(house: House) -> list[str]:
    with house.db.read() as conn:
        return list(conn.execute(sa.select(clusters.c.name).where(clusters.c.removed_at.is_(None))).scalars())


def test_a_cluster_is_added_in_two_steps(browser: Any, operator: Actor, house: House) -> None:
    mine = browser(operator)
    assert "This hub knows no cluster yet" in text_of(mine.get("/clusters").text)
    shown = mine.post("/clusters", data=RAVEN)
    assert shown.status_code == 200 and fingerprint(HOST_KEY) in shown.text and known(house) == []
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', shown.text))
    assert hidden == {**RAVEN, "fingerprint": fingerprint(HOST_KEY)}
    hasty = mine.post("/clusters", data=hidden)
    assert hasty.status_code == 400 and "Compare it first" in field(hasty.text, "compared") and known(house) == []
    added = mine.post("/clusters", data={**hidden, "compared": "true"})
    assert (added.status_code, added.headers["location"]) == (303, "/clusters/raven")
    assert known(house) == ["raven"]
    assert "login.raven.example.org" in text_of(mine.get("/clusters").text)


def test_the_set_up_adds_one_and_tests_that_it_answers(
    browser: Any, operator: Actor, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = browser(operator)
    assert "None is known" not in text_of(mine.get("/setup").text)
    sent = {**RAVEN, "next": "/setup#clusters"}
    shown = mine.post("/clusters", data=sent)
    assert 'name="next" value="/setup#clusters"' in shown.text
    confirmed = {**sent, "fingerprint": fingerprint(HOST_KEY), "compared": "true"}
    added = mine.post("/clusters", data=confirmed)
    assert (added.status_code, added.headers["location"]) == (303, "/setup#clusters")
    run_tests(house)
    elsewhere = mine.post("/clusters", data={**confirmed, "name": "crow", "next": "https://evil.example"})
    assert elsewhere.headers["location"] == "/clusters/crow"
    page = text_of(mine.get("/setup").text)
    assert (
        "login.raven.example.org answers with the host key that was compared." in page and "Known: crow, raven" in page
    )
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: OTHER_KEY)
    mine.post("/do", data={"action": "setup_test", "step": "clusters", "next": "/setup"})
    run_tests(house)
    assert "answers with another host key than the one that was compared" in text_of(mine.get("/setup").text)


@pytest.mark.usefixtures("raven")
def test_a_name_that_is_taken_is_told_before_anybody_compares_a_key(browser: Any, operator: Actor) -> None:
    refused = browser(operator).post("/clusters", data=RAVEN)
    assert refused.status_code == 409 and "a cluster is called raven already" in field(refused.text, "name").lower()


def test_another_key_than_the_compared_one_is_told_and_stores_nothing(
    browser: Any, operator: Actor, house: House
) -> None:
    sent = {**RAVEN, "fingerprint": fingerprint(OTHER_KEY), "compared": "true"}
    refused = browser(operator).post("/clusters", data=sent)
    assert refused.status_code == 409 and "somebody may stand between" in text_of(refused.text)
    assert known(house) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("name", "Raven!", "small letters, digits and dashes"),
        ("name", "", "needed"),
        ("host", "-oProxyCommand=x", "no name or address of a host"),
        ("port", "many", "whole number"),
        ("port", "70000", "65535"),
        ("root", "relative", "given in full"),
        ("path", "/opt/slurm/bin, bin", "given in full"),
        ("defaults", "partition", "NAME=VALUE"),
        ("defaults", "wrap=x", "cannot be a default"),
        ("portal_url", "http://portal", "https://"),
        ("price_per_core_hour", "-1", "0"),
        ("host_key", "what is this", "begins with its kind"),
        ("jump.host", "gate.example.org", ""),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    browser: Any, operator: Actor, house: House, name: str, value: str, said: str
) -> None:
    refused = browser(operator).post("/clusters", data={**RAVEN, name: value})
    assert refused.status_code == 400 and known(house) == []
    wrong = field(refused.text, "jump.host_keys" if name == "jump.host" else name)
    assert 'aria-invalid="true"' in wrong and 'class="wrong"' in wrong and said in unescape(wrong)
    assert refused.text.count("aria-invalid") == 1
    assert unescape(value) in unescape(refused.text), "what was typed is still there"


def test_a_cluster_behind_another_host_is_compared_as_well(browser: Any, operator: Actor, house: House) -> None:
    jump = {"jump.host": "gate.example.org", "jump.host_keys": f"# gate\ngate.example.org {OTHER_KEY} note"}
    sent = {**RAVEN, **jump, "host_key": f"login.raven.example.org {HOST_KEY}"}
    mine = browser(operator)
    shown = mine.post("/clusters", data=sent)
    assert shown.status_code == 200 and known(house) == []
    assert fingerprint(HOST_KEY) in shown.text and fingerprint(OTHER_KEY) in shown.text
    assert mine.post("/clusters", data={**sent, "compared": "true"}).status_code == 303
    with house.db.read() as conn:
        row = conn.execute(sa.select(clusters)).one()
    assert row.host_keys == [HOST_KEY] and row.jump["host_keys"] == [OTHER_KEY]


@pytest.mark.parametrize("name", ["name", "host", "host_key", "jump.host_keys", "defaults", "root"])
def test_a_private_key_is_refused_wherever_it_is_pasted(browser: Any, operator: Actor, house: House, name: str) -> None:
    refused = browser(operator).post("/clusters", data={**RAVEN, name: PRIVATE})
    assert refused.status_code == 400 and "looks like a private key" in field(refused.text, name)
    assert "b3BlbnNzaC1rZXktdjE" not in refused.text and known(house) == []


@pytest.mark.usefixtures("raven")
def test_a_private_key_as_a_login_is_refused_and_not_shown_again(browser: Any, ana: Actor, house: House) -> None:
    refused = browser(ana).post("/clusters/raven/join", data={"login": PRIVATE})
    assert refused.status_code == 400 and "looks like a private key" in field(refused.text, "login")
    assert "b3BlbnNzaC1rZXktdjE" not in refused.text
    with house.db.read() as conn:
        assert conn.execute(sa.select(cluster_accounts)).all() == []


def test_a_private_key_is_refused_by_the_action_itself(perform: Perform, operator: Actor) -> None:
    with pytest.raises(InvalidInput) as refused:
        perform(operator, "cluster_add", name="raven", host="raven", host_key=PRIVATE)
    assert refused.value.code == "private_key_refused" and "b3BlbnNz" not in str(refused.value)


@pytest.mark.usefixtures("raven")
def test_who_is_no_operator_sees_no_such_form_and_is_refused(
    browser: Any, ana: Actor, operator: Actor, house: House
) -> None:
    hers = browser(ana)
    assert 'id="add"' not in hers.get("/clusters").text and 'id="add"' in browser(operator).get("/clusters").text
    assert 'id="operate"' not in hers.get("/clusters/raven").text
    assert 'id="operate"' in browser(operator).get("/clusters/raven").text
    other = {**RAVEN, "name": "crow"}
    confirmed = {**other, "compared": "true", "fingerprint": fingerprint(HOST_KEY)}
    for sent in (other, confirmed, {**other, "host_key": HOST_KEY}):
        refused = hers.post("/clusters", data=sent)
        assert refused.status_code == 403 and "SHA256:" not in refused.text
    assert hers.post("/clusters/raven/remove").status_code == 403
    assert hers.post("/clusters/raven/trust").status_code == 403
    assert known(house) == ["raven"]


@pytest.mark.usefixtures("raven")
def test_from_a_login_to_a_tested_account_and_back(
    browser: Any, ana: Actor, ben: Actor, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    hers = browser(ana)
    assert "You have none on raven" in text_of(hers.get("/clusters/raven").text)
    assert hers.post("/clusters/raven/join", data={"login": "ana n"}).status_code == 400
    joined = hers.post("/clusters/raven/join", data={"login": "anan"})
    assert (joined.status_code, joined.headers["location"]) == (303, "/clusters/raven#account")
    page = hers.get("/clusters/raven").text
    assert re.search(r'<copy-text class="command"><code>restrict ssh-ed25519 \S+ collegium:ana@raven</code>', page)

    def refuses(*_: object) -> Site:
        raise Conflict("raven does not accept the key", code="key_refused", hint="add the line first")

    monkeypatch.setattr(reaching, "try_out", refuses)
    refused = hers.post("/clusters/raven/test")
    assert refused.status_code == 409 and 'role="alert"' in refused.text
    assert "Raven does not accept the key. Add the line first." in text_of(refused.text)
    assert "To be tested" in text_of(hers.get("/clusters").text)
    site = Site(user="anan", home="/h", root="/h/r", version="22.05.8", forgets_after=300.0, accounting=True)
    monkeypatch.setattr(reaching, "try_out", lambda *_: site)
    assert hers.post("/clusters/raven/test").status_code == 303
    told = text_of(hers.get("/clusters/raven").text)
    assert "Jobs of yours can go here, as anan." in told and "Slurm 22.05.8." in told
    assert "anan" not in browser(ben).get("/clusters/raven").text, "nobody sees another's account"
    left = hers.post("/clusters/raven/leave")
    assert (left.status_code, left.headers["location"]) == (303, "/clusters#erased")
    assert "Lines to delete" in hers.get("/clusters").text and "collegium:ana@raven" in hers.get("/clusters").text
    assert "Lines to delete" not in browser(ben).get("/clusters").text


@pytest.mark.usefixtures("raven")
def test_who_loses_an_account_with_its_cluster_is_told_the_line(
    browser: Any, ana: Actor, operator: Actor, perform: Perform
) -> None:
    line = perform(ana, "cluster_join", cluster="raven", login="anan")["line"]
    gone = browser(operator).post("/clusters/raven/remove")
    assert (gone.status_code, gone.headers["location"]) == (303, "/clusters#erased")
    assert line in unescape(browser(ana).get("/clusters").text)
    assert browser(ana).get("/clusters/raven").status_code == 404


@pytest.mark.usefixtures("raven")
def test_a_new_host_key_is_compared_before_it_is_trusted(
    browser: Any, operator: Actor, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: OTHER_KEY)
    his = browser(operator)
    shown = his.post("/clusters/raven/trust")
    assert shown.status_code == 200 and fingerprint(OTHER_KEY) in shown.text
    sent = {"fingerprint": fingerprint(OTHER_KEY)}
    assert his.post("/clusters/raven/trust", data=sent).status_code == 400
    assert his.post("/clusters/raven/trust", data={**sent, "compared": "true"}).status_code == 303
    with house.db.read() as conn:
        assert conn.execute(sa.select(clusters.c.host_keys)).scalar_one() == [OTHER_KEY]


def test_nobody_there_is_told_beside_the_host(browser: Any, operator: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> str:
        raise Unavailable("login.raven.example.org cannot be reached", path="$.params.host")

    monkeypatch.setattr(reaching, "shown_key", away)
    refused = browser(operator).post("/clusters", data=RAVEN)
    assert refused.status_code == 503 and "cannot be reached" in field(refused.text, "host")


@pytest.mark.usefixtures("raven")
def test_what_does_not_hold_is_told_with_what_to_do(
    browser: Any, client: Client, ana: Actor, perform: Perform, house: House
) -> None:
    perform(ana, "cluster_join", cluster="raven", login="anan")
    standing = {"reached": False, "said": "nobody answers", "per_minute": {"squeue": 6, "sacct": 2}}
    values = {"tested_at": house.clock.now() - dt.timedelta(days=1), "standing": standing}
    house.db.write(lambda tx: tx.execute(sa.update(cluster_accounts).values(**values)) and None)
    told = text_of(browser(ana).get("/clusters/raven").text)
    assert "Not reached: nobody answers. The hub tries again by itself" in told
    assert "The scheduler is asked 8 times, and 6 are the most it should be." in told
    assert "Calls in a minute 8" in text_of(browser(ana).get("/clusters").text)
    found = client(ana).get("/api/clusters/raven").json()["findings"]
    assert [each["name"] for each in found if each["holds"] is False] == ["connection", "calls"]
    assert client(ana).get("/api/clusters/crow").status_code == 404


@pytest.mark.usefixtures("raven")
def test_the_form_for_a_job_offers_the_clusters_one_can_use(
    browser: Any, ana: Actor, ben: Actor, perform: Perform, house: House
) -> None:
    perform(ana, "cluster_join", cluster="raven", login="anan")
    assert 'name="cluster"' not in browser(ana).get("/s/ana/personal/jobs").text
    values = {"tested_at": house.clock.now()}
    house.db.write(lambda tx: tx.execute(sa.update(cluster_accounts).values(**values)) and None)
    offered = field(browser(ana).get("/s/ana/personal/jobs").text, "cluster")
    assert '<option value="raven">' in offered and '<option value="local">' in offered
    assert 'name="cluster"' not in browser(ben).get("/s/ben/personal/jobs").text
    base = {"action": "job_submit", "session_id": "personal", "job_type": "auto", "script": "#!/bin/sh\ntrue\n"}
    for cluster, backend in (("", "local"), ("local", "local"), ("raven", "raven")):
        sent = browser(ana).post("/do", data={**base, "cluster": cluster, "next": "/jobs/{id}"})
        assert sent.status_code == 303
        job = sent.headers["location"].rpartition("/")[2]
        with house.db.read() as conn:
            assert conn.execute(sa.text("SELECT backend FROM jobs WHERE id = :id"), {"id": job}).scalar_one() == backend


def test_a_page_says_what_is_wrong_when_one_looks(
    browser: Any, operator: Actor, ana: Actor, perform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform(operator, "cluster_add", **{**RAVEN, "port": 22, "fingerprint": fingerprint(HOST_KEY)})
    hers = browser(ana)
    assert "Look what is wrong" in hers.get("/clusters/raven").text
    looked = hers.post("/clusters/raven/doctor")
    assert looked.status_code == 200 and "What was found just now" in looked.text
    told = text_of(looked.text)
    assert "It is the one that was compared." in told and "You have no account on raven." in told
    assert "Look again" in told and "Warning" in told

    def away(host: str, port: int) -> str:
        raise Unavailable("raven cannot be reached: no route", code="cluster_unreachable")

    monkeypatch.setattr(reaching, "shown_key", away)
    told = text_of(hers.post("/clusters/raven/doctor").text)
    assert "Raven cannot be reached: no route." in told and "Failed" in told
    assert hers.post("/clusters/heron/doctor").status_code == 404
    assert hers.post("/clusters/raven/doctor", data={"x": "1"}).status_code == 400


def certified(text: str) -> str:
    """The public key that is shown on a page, and nothing else of it."""
    found = re.search(r"<code>(ssh-ed25519 \S+ collegium:ana@raven)</code>", text)
    assert found is not None
    return found[1]


@pytest.mark.usefixtures("raven")
def test_the_three_ways_stand_in_their_order_wherever_somebody_begins(
    browser: Any, ana: Actor, operator: Actor
) -> None:
    ways = ["An agent on your own machine", "A short-lived certificate", "A key pair made here"]
    for who, at in ((ana, "/clusters/raven"), (operator, "/clusters"), (operator, "/setup")):
        told = text_of(browser(who).get(at).text)
        places = [told.index(each) for each in ways]
        assert places == sorted(places), at
    values = re.findall(r'name="way" value="(\w+)"( checked)?', browser(ana).get("/clusters/raven").text)
    assert values == [("agent", " checked"), ("certificate", ""), ("key", "")]


@pytest.mark.usefixtures("raven")
def test_an_agents_token_is_shown_once_on_the_page(browser: Any, ana: Actor) -> None:
    hers = browser(ana)
    joined = hers.post("/clusters/raven/join", data={"login": "anan", "way": "agent"})
    assert joined.status_code == 200 and "clga_" in joined.text
    assert f"collegium agent --hub {ORIGIN} --cluster raven" in joined.text
    assert "clga_" not in hers.get("/clusters/raven").text
    again = hers.post("/clusters/raven/join", data={"login": "anan", "way": "agent"})
    assert again.status_code == 303, "asked again it is signed up already, and has no token to show"
    assert hers.post("/clusters/raven/join", data={"login": "anan", "way": "key"}).status_code == 409
    assert hers.post("/clusters/raven/join", data={"login": "anan", "way": "magic"}).status_code == 400


@pytest.mark.usefixtures("raven")
def test_from_a_public_key_to_a_certificate_that_ends(
    browser: Any, ana: Actor, ben: Actor, house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hers = browser(ana)
    joined = hers.post("/clusters/raven/join", data={"login": "anan", "way": "certificate"})
    assert (joined.status_code, joined.headers["location"]) == (303, "/clusters/raven#account")
    page = hers.get("/clusters/raven").text
    assert "To be certified" in text_of(page) and "authorized_keys" not in page
    ca = SiteCa(tmp_path / "site", house.clock.now())
    wrong = ca.sign(certified(page), "somebody")
    refused = hers.post("/clusters/raven/certify", data={"certificate": wrong})
    assert refused.status_code == 400 and "It is for somebody, and not for anan" in field(refused.text, "certificate")
    assert unescape(wrong.strip()) in unescape(refused.text), "what was pasted is still there"
    pasted = hers.post("/clusters/raven/certify", data={"certificate": PRIVATE})
    assert pasted.status_code == 400 and "b3BlbnNzaC1rZXktdjE" not in pasted.text
    assert hers.post("/clusters/raven/certify", data={"certificate": "x" * 17_000}).status_code == 400
    assert browser(ben).post("/clusters/raven/certify", data={"certificate": wrong}).status_code == 404

    site = Site(user="anan", home="/h", root="/h/r", version="22.05.8", forgets_after=300.0, accounting=True)
    monkeypatch.setattr(reaching, "try_out", lambda *_: site)
    good = ca.sign(certified(page), "anan", hours=12, serial=7)
    assert hers.post("/clusters/raven/certify", data={"certificate": good}).status_code == 303
    told = text_of(hers.get("/clusters/raven").text)
    assert (
        "Jobs of yours can go here, as anan." in told
        and "signed today , serial 7, which is good until 2024-06-02 00:00 UTC." in told
    )
    house.clock.advance(11 * 3600)  # type: ignore[attr-defined]
    told = text_of(hers.get("/clusters/raven").text)
    assert "Certificate ends soon" in told and "give a new certificate before" in told
    assert "jobs of yours can go to one" in text_of(hers.get("/clusters").text)
    house.clock.advance(3600)  # type: ignore[attr-defined]
    told = text_of(hers.get("/clusters/raven").text)
    assert "Certificate ended" in told and "Nobody signs in until you give a new one" in told
    left = hers.post("/clusters/raven/leave")
    assert left.status_code == 303 and "Lines to delete" not in hers.get("/clusters").text
