"""Every page, drawn from a world that holds everything: what it says first, what it offers, what it never does."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.house import House
from tests.conftest import Perform
from tests.web import page_world
from tests.web.conftest import ORIGIN
from tests.web.page_world import HOSTILE, World

pytestmark = pytest.mark.slow

HTML = {"accept": "text/html"}


@pytest.fixture
def world(house: House, clock: FrozenClock, perform: Perform, ana: Actor, ben: Actor) -> World:
    return page_world.make(house, clock, perform, ana, ben)


def browser(application: Starlette, world: World | House, person: Actor | None) -> TestClient:
    house = world.house if isinstance(world, World) else world
    cookies = {} if person is None else {"collegium": page_world.sign_in(house, person)}
    return TestClient(
        application, base_url=ORIGIN, headers=HTML, cookies=cookies, follow_redirects=False,
        raise_server_exceptions=True,
    )  # fmt: skip


def paths(world: World) -> dict[str, str]:
    home = f"/s/{world.name}"
    return {
        "home": "/",
        "me": "/me",
        "signing": "/me/signing",
        "security": "/me/security",
        "all jobs": "/jobs",
        "room": home,
        "room, artifact": f"{home}?look=artifact:{world.figure}",
        "room, entry": f"{home}?look=entry:{world.signed}",
        "room, job": f"{home}?look=job:{world.failed}",
        "room, nonsense": f"{home}?look=job:job_nothing",
        "notebook": f"{home}/notebook",
        "jobs": f"{home}/jobs",
        "files": f"{home}/files",
        "people": f"{home}/people",
        "usage": f"{home}/usage",
        "resources": "/resources",
        "running": f"/jobs/{world.running}",
        "failed": f"/jobs/{world.failed}",
        "succeeded": f"/jobs/{world.succeeded}",
        "queued": f"/jobs/{world.queued}",
        "signed": f"/entries/{world.signed}",
        "unsigned": f"/entries/{world.unsigned}",
        "figure": f"/artifacts/{world.figure}",
        "photo": f"/artifacts/{world.photo}",
        "table": f"/artifacts/{world.table}",
        "text": f"/artifacts/{world.text}",
        "blob": f"/artifacts/{world.blob}",
        "thread": f"/s/{world.name}/messages/{world.thread}",
        "reports": f"/s/{world.name}/reports",
        "my chats": "/me/chats",
        "my e-mail": "/me/email",
        "device": "/device",
        "invitation": f"/invitation/{world.invitation}",
        "chat link": f"/chat-link/{world.chat_link}",
        "address link": f"/email/{world.address_link}",
    }


class Forbidden(HTMLParser):
    """Collects what the content policy would refuse: inline style and script, anything from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in told):
            self.found.append(f"<{tag}>")
        self.found += [f"{tag} {name}" for name in told if name == "style" or name.startswith("on")]
        for name in ("src", "href", "action"):
            place = told.get(name) or ""
            if ":" in place.partition("/")[0] or place.startswith("//"):
                self.found.append(f"{tag} {name}={place}")


def forbidden_in(html: str) -> list[str]:
    parser = Forbidden()
    parser.feed(html)
    return parser.found


def words_of(html: str) -> str:
    """The text of a page, as a person reads it."""
    body = re.sub(r"(?s)<(script|svg|textarea)\b.*?</\1>", " ", html.partition("<main")[2])
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).strip()


def test_every_page_is_whole_escaped_and_free_of_what_the_policy_forbids(application: Starlette, world: World) -> None:
    anas = browser(application, world, world.ana)
    for name, path in paths(world).items():
        answer = anas.get(path)
        assert answer.status_code == 200, (name, answer.text[-400:])
        html = answer.text
        assert html.startswith("<!doctype html>") and html.rstrip().endswith("</html>"), name
        assert HOSTILE not in html, name
        assert forbidden_in(html) == [], name
        assert len(re.findall(r"<h1\b", html)) == 1, name
        assert html.count('id="status"') == 1, name
        identifiers = re.findall(r'\sid="([^"]+)"', html)
        assert len(identifiers) == len(set(identifiers)), (name, identifiers)
        assert set(re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', html)) <= set(identifiers), name
        named = set(re.findall(r'<label[^>]*\bfor="([^"]+)"', html))
        assert named <= set(identifiers), name


def test_every_link_of_every_page_leads_somewhere(application: Starlette, world: World) -> None:
    anas = browser(application, world, world.ana)
    links: set[str] = set()
    for path in paths(world).values():
        found = re.findall(r'(?:href|src)="(/[^"]*)"', anas.get(path).text)
        links |= {link.partition("#")[0].replace("&amp;", "&") for link in found}
    assert len(links) > 40
    assert {link: status for link in sorted(links) if (status := anas.get(link).status_code) not in (200, 206)} == {}


SAYS = {
    "home": "Two things need you",
    "running": "Running for 6 min 12 s on this hub, about 3 min 30 s left.",
    "failed": "Ended by the hub, because it used 2.1 GiB of memory",
    "succeeded": "Finished after 9 min 41 s on this hub",
    "queued": "Next in the queue.",
    "signed": "Signed, verified",
    "unsigned": "You wrote this and have not signed it.",
    "notebook": "Two entries; one is signed.",
    "jobs": "One is running, one waits and two have ended.",
    "people": "Two people belong to this session; one is invited; one link is open.",
    "figure": "Made by job 1, today 07:09, from two files.",
}


def test_a_page_opens_with_a_sentence_a_person_would_say(application: Starlette, world: World) -> None:
    anas = browser(application, world, world.ana)
    told = {name: words_of(anas.get(paths(world)[name]).text) for name in SAYS}
    assert {name: told[name][:300] for name, says in SAYS.items() if says not in told[name]} == {}


def test_who_may_only_read_is_offered_nothing_else(application: Starlette, world: World, perform: Perform) -> None:
    perform(world.ana, "grant_change", session_id=world.session, participant=world.ben.id, role="read")
    bens = browser(application, world, world.ben)
    for name in ("room", "notebook", "jobs", "files", "people", "signed", "running", "figure"):
        html = bens.get(paths(world)[name]).text
        offered = re.findall(r'name="action" value="(\w+)"', html)
        theirs = {"people": ["session_leave"], "room": ["room_hand", "room_hand"]}  # with and without a question
        assert offered == theirs.get(name, []), name


def test_a_stranger_is_told_there_is_nothing_here(application: Starlette, world: World) -> None:
    theirs = browser(application, world, world.olga)
    for name in ("room", "notebook", "jobs", "files", "people", "signed", "running", "figure"):
        answer = theirs.get(paths(world)[name])
        assert answer.status_code == 404, name
        assert "There is nothing here" in words_of(answer.text)
        assert "hcl-band" not in re.sub(re.escape("ana/hcl-band"), "", words_of(answer.text))


def test_who_is_not_signed_in_is_shown_the_way(application: Starlette, world: World) -> None:
    nobody = browser(application, world, None)
    assert "Handle or e-mail Password Sign in" in words_of(nobody.get("/").text)
    answer = nobody.get(paths(world)["running"])
    assert answer.status_code == 401 and "Sign in to see this" in words_of(answer.text)


def test_opening_a_landing_page_spends_nothing(application: Starlette, world: World, perform: Perform) -> None:
    made = perform(world.ana, "link_create", session_id=world.session, uses=1)
    nobody = browser(application, world, None)
    for _ in range(3):
        page = nobody.get(f"/l/{made['secret']}")
        assert "You are invited to “The HCl band”" in words_of(page.text)
        assert f'action="/l/{made["secret"]}"' in page.text
    assert "This link opens nothing" in words_of(nobody.get("/l/clgl_wrong").text)
    assert 'action="/signin/clgs_x"' in nobody.get("/signin/clgs_x").text


def test_a_fresh_person_finds_ways_to_begin(application: Starlette, house: House, ben: Actor) -> None:
    bens = browser(application, house, ben)
    home = words_of(bens.get("/").text)
    assert "Nothing needs you, Ben" in home and "collegium job submit" in home
    name = re.search(r'href="(/s/ben/[a-z]+)"', bens.get("/").text)
    assert name is not None
    own = name[1]
    assert "Nothing has run here yet" in words_of(bens.get(f"{own}/jobs").text)
    assert "Nothing is written here yet" in words_of(bens.get(f"{own}/notebook").text)
    assert "No files yet" in words_of(bens.get(f"{own}/files").text)
    assert "Nothing is looked at yet" in words_of(bens.get(own).text)


def test_a_form_does_what_the_action_does_and_leads_on(application: Starlette, world: World) -> None:
    anas = browser(application, world, world.ana)
    home = {"origin": ORIGIN}
    said = anas.post(
        "/do",
        data={"action": "room_message", "session_id": world.session, "text": "By form", "next": f"/s/{world.name}"},
        headers=home,
    )
    assert (said.status_code, said.headers["location"]) == (303, f"/s/{world.name}")
    assert "By form" in words_of(anas.get(f"/s/{world.name}").text)
    written = anas.post(
        "/do",
        data={
            "action": "lab_notebook",
            "session_id": world.session,
            "entry.title": "From a page",
            "entry.content": "Text",
            "entry.artifacts[,]": "figures/band.svg, tables/levels.csv",
            "entry.conclusions": "",
            "next": "/entries/{entry}",
        },
        headers=home,
    )
    assert written.status_code == 303
    assert "two files, cited by digest" in words_of(anas.get(written.headers["location"]).text)
    shown = anas.post("/do", data={"action": "link_create", "session_id": world.session, "uses": "3"}, headers=home)
    assert shown.status_code == 200 and re.search(r"http://hub\.test/l/clgl_[\w-]+", shown.text)
    invited = anas.post(
        "/do",
        data={
            "action": "session_share",
            "session_id": world.session,
            "participants.0.email": "new@university.edu",
            "participants.0.role": "read",
        },
        headers=home,
    )
    assert invited.status_code == 200 and "new@university.edu" in invited.text


def test_what_a_form_got_wrong_is_said_with_every_missing_thing(application: Starlette, world: World) -> None:
    anas = browser(application, world, world.ana)
    answer = anas.post(
        "/do",
        data={
            "action": "job_submit",
            "session_id": world.session,
            "script": "#!/bin/sh",
            "artifacts[,]": "no.csv, nor.csv",
        },
        headers={"origin": ORIGIN, "referer": f"{ORIGIN}/s/{world.name}/jobs"},
    )
    assert answer.status_code == 400
    said = words_of(answer.text)
    assert all(name in said for name in ("no.csv", "nor.csv"))
    assert f'href="/s/{world.name}/jobs"' in answer.text
    assert re.search(r"400 \w+ · request [0-9a-f]+", said)
