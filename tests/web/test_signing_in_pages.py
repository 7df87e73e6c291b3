"""The sign-in forms and the page about signing in, as a browser uses them: cookies, words, and where one goes on."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pyotp
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.house import House
from hub.core.settings import Settings
from hub.people import passwords
from tests.actions.people_fixtures import PASSWORD, act, code_of, in_browser, with_app, with_password
from tests.soft_authenticator import SoftAuthenticator
from tests.web import page_world
from tests.web.conftest import ORIGIN
from tests.web.test_pages import words_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_hashes")]

FROM_HERE = {"origin": ORIGIN, "accept": "text/html"}
Browser = Callable[..., TestClient]


@pytest.fixture
def browser(application: Starlette, house: House) -> Iterator[Browser]:
    """`browser()` is a fresh one, `browser(ana)` one where Ana is signed in."""

    def open_browser(person: Actor | None = None, address: str = "203.0.113.7", **headers: str) -> TestClient:
        made = TestClient(
            application,
            base_url=ORIGIN,
            headers={**FROM_HERE, **headers},
            follow_redirects=False,
            client=(address, 50_000),
        )
        made.portal = running.portal  # one event loop and one lifespan for them all
        if person is not None:
            made.cookies.set("collegium", page_world.sign_in(house, person), domain="hub.test", path="/")
        return made

    with TestClient(application, base_url=ORIGIN) as running:
        yield open_browser


def cookies_of(answer: Any) -> dict[str, str]:
    return {line.partition("=")[0]: line for line in answer.headers.get_list("set-cookie")}


def me(browser: TestClient) -> int:
    return int(browser.get("/api/me").status_code)


def test_a_password_signs_in_and_leads_on(house: House, ana: Actor, browser: Browser) -> None:
    with_password(house, ana)
    fresh = browser()
    page = fresh.get("/signin?next=/me/security")
    assert 'name="next" value="/me/security"' in page.text
    answer = fresh.post("/signin", data={"who": "ana", "password": PASSWORD, "next": "/me/security"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/me/security")
    cookie = cookies_of(answer)["collegium"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert "Where you are signed in" in words_of(fresh.get("/me/security").text)
    assert "You are signed in as Ana" in words_of(fresh.get("/signin").text)


def test_a_wrong_password_comes_back_as_the_form_with_what_was_typed_but_the_password(
    house: House, ana: Actor, browser: Browser
) -> None:
    with_password(house, ana)
    hostile = '"><script>alert(1)</script>'
    for who in ("ana", "nobody", hostile):
        answer = browser().post("/signin", data={"who": who, "password": "not the password", "next": "/jobs"})
        assert answer.status_code == 401 and "That did not fit" in words_of(answer.text)
        assert f'value="{html.escape(who, quote=True).replace("&quot;", "&#34;")}"' in answer.text
        assert 'value="/jobs"' in answer.text and "not the password" not in answer.text
        assert hostile not in answer.text
        assert cookies_of(answer) == {}


def test_a_form_from_another_site_signs_nobody_in(house: House, ana: Actor, browser: Browser) -> None:
    """Being signed in as somebody else without knowing is an attack as well."""
    with_password(house, ana)
    for origin in ("https://evil.example", "null", "http://hub.test.evil.example"):
        for path in ("/signin", "/signin/second", "/signin/passkey", "/step-up", "/signin/passkey/options"):
            answer = browser(origin=origin).post(path, data={"who": "ana", "password": PASSWORD})
            assert answer.status_code == 403, (origin, path)


def test_the_second_page_asks_for_the_code_and_then_leads_on(
    house: House, ana: Actor, browser: Browser, clock: FrozenClock
) -> None:
    app = with_app(house, with_password(house, ana))
    clock.advance(30)
    fresh = browser()
    answer = fresh.post("/signin", data={"who": "ana", "password": PASSWORD, "next": "/jobs"})
    assert answer.headers["location"] == "/signin/second?next=%2Fjobs"
    half = cookies_of(answer)["collegium-second"].lower()
    assert "httponly" in half and "samesite=strict" in half and "max-age=600" in half
    assert "collegium" not in cookies_of(answer) and me(fresh) == 401
    assert 'value="/jobs"' in fresh.get(answer.headers["location"]).text
    wrong = fresh.post("/signin/second", data={"code": "000000", "next": "/jobs"})
    assert wrong.status_code == 401 and "That did not fit" in words_of(wrong.text)
    answer = fresh.post("/signin/second", data={"code": code_of(app, house), "next": "/jobs"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
    assert me(fresh) == 200 and "collegium-second" not in fresh.cookies


def test_the_second_page_without_a_first_leads_back(browser: Browser) -> None:
    answer = browser().post("/signin/second", data={"code": "123456", "next": "//evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin?next=%2F")


def test_a_one_time_link_leads_to_the_second_page_as_well(
    house: House, ana: Actor, operator: Actor, browser: Browser, clock: FrozenClock
) -> None:
    app = with_app(house, with_password(house, ana))
    clock.advance(30)
    secret = act(house, operator, "signin_link", person="ana")["secret"]
    fresh = browser()
    answer = fresh.post(f"/signin/{secret}")
    assert answer.headers["location"].startswith("/signin/second?") and me(fresh) == 401
    fresh.post("/signin/second", data={"code": code_of(app, house)})
    assert me(fresh) == 200


ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "////evil.example/%2f..",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "//\\evil.example",
    "https://evil.example",
    "http://evil.example",
    "HTTPS://EVIL.EXAMPLE",
    "https:evil.example",
    "https:/evil.example",
    "http:///evil.example",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "ftp://evil.example",
    "mailto:a@evil.example",
    "evil.example",
    ".evil.example",
    "@evil.example",
    ":80",
    "?next=//evil.example",
    "#//evil.example",
    "",
    " ",
    " //evil.example",
    "\t//evil.example",
    "\n//evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\nLocation: https://evil.example",
    "/a\r\nSet-Cookie: collegium=stolen",
    "/a\x00b",
    "/\x0b/evil.example",
    "/\x7fb",
    "/\u202e/elpmaxe.live",
    "/\u2028/evil.example",
    "/\u200b/evil.example",
    "／／evil.example",
    "\u2044/evil.example",
    "〱evil.example",
    "http://hub.test@evil.example",
    "http://hub.test.evil.example",
    "//hub.test@evil.example",
    "/" + "a" * 3000,
    "/me\\..\\..\\evil",
]


def test_signing_in_never_leads_away_from_the_hub(house: House, ana: Actor, browser: Browser) -> None:
    with_password(house, ana)
    for onward in ELSEWHERE:
        page = browser().get("/signin", params={"next": onward})
        if page.status_code == 200:
            assert 'name="next" value="/"' in page.text, onward
        answer = browser().post("/signin", data={"who": "ana", "password": PASSWORD, "next": onward})
        if answer.status_code == 303:
            assert answer.headers["location"] == "/", onward
        else:
            assert answer.status_code == 400 and "location" not in answer.headers, onward


@pytest.mark.parametrize(
    "onward",
    ["/", "/me", "/s/ana/hcl-band?look=job:job_1", "/jobs?state=RUNNING#top", "/s/ana/größe", "/a//b", "/?x=//y"],
)
def test_signing_in_leads_to_any_path_of_the_hub(house: House, ana: Actor, browser: Browser, onward: str) -> None:
    with_password(house, ana)
    answer = browser().post("/signin", data={"who": "ana", "password": PASSWORD, "next": onward})
    place = urlsplit(answer.headers["location"])
    assert (place.scheme, place.netloc) == ("", "") and answer.headers["location"].startswith(onward[:6])


def test_who_is_shown_the_way_in_comes_back_to_where_they_were(ana: Actor, house: House, browser: Browser) -> None:
    with_password(house, ana)
    fresh = browser()
    refused = fresh.get("/me/security")
    way = re.search(r'href="(/signin\?[^"]+)"', refused.text)
    assert refused.status_code == 401 and way is not None
    assert parse_qs(urlsplit(html.unescape(way[1])).query) == {"next": ["/me/security"]}


def test_guessing_from_ever_new_cookies_and_headers_is_counted_all_the_same(
    house: House, ana: Actor, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_password(house, ana)
    evaluated: list[str] = []
    really = passwords.matches
    monkeypatch.setattr(passwords, "matches", lambda stored, text: evaluated.append(text) or really(stored, text))
    last: Any = None
    for number in range(limits.GUESSES_PER_ADDRESS + 5):
        guessing = browser(
            **{
                "user-agent": f"Mozilla/{number}",
                "x-forwarded-for": f"192.0.2.{number}",
                "forwarded": f"for=192.0.2.{number}",
                "x-real-ip": f"192.0.2.{number}",
                "accept-language": f"x-{number}",
            }
        )
        guessing.cookies.set("collegium", f"clgc_{number}")
        guessing.cookies.set("collegium-second", f"clgh_{number}")
        last = guessing.post("/signin", data={"who": f"ana{number % 12 or ''}", "password": f"guess number {number}"})
    assert len(evaluated) == limits.GUESSES_PER_ADDRESS
    assert evaluated.count("guess number 0") == 1
    assert last.status_code == 429 and int(last.headers["retry-after"]) > 0
    assert "Too many tries" in words_of(last.text)


def test_signing_out_is_a_button_that_works(ana: Actor, browser: Browser) -> None:
    anas = browser(ana)
    form = re.search(
        r'<form method="post" action="(/do)"><input type="hidden" name="action" value="sign_out">', anas.get("/me").text
    )
    assert form is not None
    answer = anas.post("/do", data={"action": "sign_out", "next": "/signin"})
    assert answer.headers["location"] == "/signin" and me(anas) == 401


def test_an_app_is_set_up_on_the_page_and_its_recovery_codes_are_shown_once(
    house: House, ana: Actor, browser: Browser
) -> None:
    anas = browser(ana)
    before = anas.cookies["collegium"]
    anas.post("/do", data={"action": "account_authenticator_begin", "next": "/me/security"})
    page = anas.get("/me/security")
    seed = re.search(r"<code>((?:[A-Z2-7]{4} ?){8})</code>", page.text)
    assert seed is not None and '<svg viewBox="0 0' in page.text
    app = pyotp.TOTP(seed[1].replace(" ", ""))
    answer = anas.post("/do", data={"action": "account_authenticator_confirm", "totp": code_of(app, house)})
    assert answer.status_code == 200 and "Your recovery codes" in words_of(answer.text)
    assert len(set(re.findall(r"\b[0-9a-z]{4}(?:-[0-9a-z]{4}){3}\b", words_of(answer.text)))) == limits.RECOVERY_CODES
    assert anas.cookies["collegium"] != before and me(anas) == 200
    after = words_of(anas.get("/me/security").text)
    assert "Ten recovery codes left" in after and seed[1] not in after


def test_the_seed_is_shown_to_nobody_whose_proof_is_old(
    house: House, ana: Actor, browser: Browser, clock: FrozenClock
) -> None:
    with_password(house, ana)
    anas = browser(ana)
    anas.post("/do", data={"action": "account_authenticator_begin"})
    clock.advance(limits.STEP_UP_SECONDS + 1)
    page = anas.get("/me/security").text
    assert "<svg viewBox" not in page and "Prove that it is you" in words_of(page)


@pytest.mark.parametrize("place", ["/me/signing", "/me/security"])
def test_a_stale_sign_in_is_proved_anew_on_the_page_that_needs_it(
    house: House, ana: Actor, browser: Browser, clock: FrozenClock, place: str
) -> None:
    with_password(house, ana)
    act(house, ana, "key_create", name="lab")
    anas = browser(ana)
    clock.advance(limits.STEP_UP_SECONDS + 1)
    assert "Prove that it is you" in words_of(anas.get(place).text)
    old = anas.cookies["collegium"]
    wrong = anas.post("/step-up", data={"password": "not the password", "next": place})
    assert wrong.headers["location"] == f"{place}?said=step_up_refused"
    assert "That did not fit" in words_of(anas.get(wrong.headers["location"]).text)
    answer = anas.post("/step-up", data={"password": PASSWORD, "next": place})
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    assert anas.cookies["collegium"] != old
    stolen = browser()
    stolen.cookies.set("collegium", old)
    assert me(anas) == 200 and me(stolen) == 401, "the cookie from before is dead"
    if place == "/me/signing":
        opened = anas.post("/do", data={"action": "signing_window", "key": "lab", "next": place})
        assert opened.status_code == 303
    else:
        assert "New password" in words_of(anas.get(place).text)


def test_sign_ins_are_listed_in_words_and_ended_from_the_page(house: House, ana: Actor, browser: Browser) -> None:
    with_password(house, ana)
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    there = browser(**{"user-agent": agent})
    there.post("/signin", data={"who": "ana", "password": PASSWORD})
    here = browser(ana)
    page = here.get("/me/security").text
    assert "Firefox on Linux" in words_of(page) and agent not in page
    ended = re.findall(
        r'name="action" value="sign_out_other">\s*<input type="hidden" name="sign_in" value="(sin_\w+)"', page
    )
    for sign_in in ended:
        here.post("/do", data={"action": "sign_out_other", "sign_in": sign_in})
    assert me(there) == 401 and me(here) == 200
    assert [row["here"] for row in here.get("/api/sign-ins").json()] == [True]


def test_a_sign_in_is_seen_to_the_hour(house: House, ana: Actor, browser: Browser, clock: FrozenClock) -> None:
    anas = browser(ana)
    clock.advance(3 * 3600 + 1234)
    me(anas)
    house.db.write(lambda tx: None)
    (row,) = anas.get("/api/sign-ins").json()
    assert row["seen"] == "2024-06-01T15:00:00.000Z"


def test_who_must_have_a_second_factor_is_led_to_it_and_can_do_nothing_else(
    house: House, ana: Actor, operator: Actor, application: Starlette, browser: Browser, clock: FrozenClock
) -> None:
    house.settings = msgspec.structs.replace(house.settings, second_factor_for="operator")
    with_password(house, operator)
    olgas = browser()
    olgas.post("/signin", data={"who": "olga", "password": PASSWORD})
    for path in ("/", "/me", "/jobs", "/s/olga/personal", "/me/signing"):
        answer = olgas.get(path)
        assert (answer.status_code, answer.headers.get("location")) == (303, "/me/security"), path
    assert "asks a second factor of you" in words_of(olgas.get("/me/security").text)
    for path in ("/api/sessions", "/api/jobs", "/api/me"):
        assert olgas.get(path, headers={"accept": "application/json"}).json()["code"] == "second_factor_required"
    for tag, more in (
        ("session_create", {"name": "x"}),
        ("token_create", {"name": "x"}),
        ("account_create", {"name": "X"}),
        ("key_create", {"name": "x"}),
        ("account_disable", {"person": "ana"}),
    ):
        assert olgas.post("/do", data={"action": tag, **more}).status_code == 403, tag
    assert olgas.post("/api/tickets", json={"session": "olga/personal"}).status_code == 403
    with_app(house, in_browser(house, operator, olgas.cookies["collegium"]))
    assert me(olgas) == 401, "the cookie from before is dead"
    clock.advance(30)
    again = browser(operator)
    assert again.get("/").status_code == 200
    assert browser(ana).get("/").status_code == 200


def test_the_forms_of_passkeys_work_from_options_to_cookie(
    house: House, ana: Actor, application: Starlette, browser: Browser
) -> None:
    house.settings = Settings(data=house.settings.data, public_url="http://localhost:8400")
    anas, device = browser(ana), SoftAuthenticator()
    options = anas.post("/me/passkeys/options").json()
    added = anas.post(
        "/do",
        data={"action": "account_passkey_add", "name": "Key", "passkey": device.make(options), "next": "/me/security"},
    )
    assert added.headers["location"] == "/me/security" and "Key" in words_of(anas.get("/me/security").text)
    fresh = browser()
    options = fresh.post("/signin/passkey/options").json()
    assert options["userVerification"] == "required" and "allowCredentials" not in {k for k, v in options.items() if v}
    answer = fresh.post("/signin/passkey", data={"passkey": device.use(options), "next": "/jobs"})
    assert answer.headers["location"] == "/jobs" and me(fresh) == 200
    stranger = browser().post("/signin/passkey", data={"passkey": SoftAuthenticator().use(options)})
    assert stranger.status_code in (401, 404)


def test_nobody_gets_the_options_for_somebody_elses_passkey(browser: Browser) -> None:
    assert browser().post("/me/passkeys/options").status_code == 401


def test_on_a_bare_address_the_page_says_why_there_are_no_passkeys(house: House, ana: Actor, browser: Browser) -> None:
    house.settings = msgspec.structs.replace(house.settings, public_url="http://127.0.0.1:8400")
    assert "browsers bind passkeys to a name" in words_of(browser(ana).get("/me/security").text)
