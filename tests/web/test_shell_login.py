"""`collegium login` and `logout` against the real web process: the token's file, and everything that can go wrong."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from bot import logins
from bot.commands import run, tree
from bot.config import find_hub, folder
from bot.door import Door
from bot.problems import INVALID, NOT_ALLOWED, NOT_SIGNED_IN, UNAVAILABLE, USAGE, Problem
from bot.shell import Shell
from bot.terminal import receive
from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.house import House
from hub.people.tables import tokens
from tests.bot.conftest import Ran, Stream
from tests.conftest import Perform
from tests.web.conftest import ORIGIN, Client
from tests.web.test_chat_link_pages import browser
from tests.web.test_chats import Wire
from tests.web.test_device_login import answer

pytestmark = pytest.mark.slow

NOBODY = Actor(id="per_none", name="", handle="")


class Away(Wire):
    """Somebody's machine away from the hub; a minute passes for the hub whenever it waits."""

    def __init__(self, inside: TestClient, clock: FrozenClock, root: Path) -> None:
        super().__init__(inside)
        self.clock = clock
        self.environ = {"HOME": str(root), "HOSTNAME": "laptop"}
        self.here = root / "here"
        self.here.mkdir()
        self.while_waiting: Callable[[str], object] = lambda code: None
        self.said = ""

    def __call__(self, *words: str, **more: str) -> Ran:
        out, err = Stream(), Stream()
        environ = {**self.environ, **more}
        code = receive(tree, words, environ=environ, stdout=out, stderr=err, here=self.here, transport=self)
        return Ran(code, out.text, err.text)

    def pause(self, seconds: float) -> None:
        """What happens elsewhere meanwhile."""
        self.clock.advance(seconds)
        codes = re.findall(r"([A-Z]{4}-[A-Z]{4})", self.said)
        if codes:
            self.while_waiting(codes[-1])

    @property
    def kept(self) -> Path:
        return logins.token_file(folder(self.environ), ORIGIN)


@pytest.fixture
def away(client: Client, clock: FrozenClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Away:
    found = Away(client(), clock, tmp_path)

    def made(**parts: Any) -> Shell:
        say = parts["say"]

        def heard(line: str) -> None:
            found.said += line + "\n"
            say(line)

        return Shell(**{**parts, "say": heard, "pause": found.pause})

    monkeypatch.setattr("bot.terminal.Shell", made)
    return found


@pytest.fixture
def hers(application: Starlette, house: House, ana: Actor) -> Iterator[TestClient]:
    yield browser(application, house, ana)


def signed_in(away: Away, hers: TestClient) -> Ran:
    away.while_waiting = lambda code: answer(hers, {"user_code": code})
    ran = away("login", ORIGIN)
    assert ran.code == 0, ran.err
    away.while_waiting = lambda code: None
    return ran


def test_a_shell_is_signed_in_and_its_token_is_for_its_owner_alone(away: Away, hers: TestClient) -> None:
    ran = signed_in(away, hers)
    assert "signed in to http://hub.test as Ana (ana)" in ran.out
    assert re.search(r"Open http://hub\.test/device in a browser; .*: [A-Z]{4}-[A-Z]{4}", ran.err)
    assert stat.S_IMODE(away.kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(away.kept.parent.stat().st_mode) == 0o700
    assert away.kept.read_text().startswith("clg_") and "clg_" not in ran.out + ran.err
    assert "You are Ana (ana)" in away("whoami").out
    assert "You are Ana (ana)" in away("whoami", "--hub", ORIGIN).out


def test_a_hub_elsewhere_over_http_is_warned_of(away: Away, hers: TestClient) -> None:
    assert "Warning: The token goes to hub.test unencrypted; use https." in signed_in(away, hers).err
    assert "unencrypted" in away("whoami").err


def test_logout_revokes_the_token_and_removes_its_file(
    away: Away, hers: TestClient, house: House, client: Client
) -> None:
    signed_in(away, hers)
    token = away.kept.read_text().strip()
    ran = away("logout")
    assert ran.code == 0 and "revoked" in ran.out and not away.kept.exists()
    program = client()
    program.headers["Authorization"] = f"Bearer {token}"
    assert program.get("/api/me").status_code == 401
    with house.db.read() as conn:
        assert conn.execute(tokens.select()).one().revoked_at is not None
    assert away("logout").code == NOT_SIGNED_IN
    assert away("whoami").code == UNAVAILABLE  # no hub is meant any more


def test_a_token_revoked_elsewhere_is_told_and_its_file_goes(
    away: Away, hers: TestClient, house: House, ana: Actor, perform: Perform
) -> None:
    signed_in(away, hers)
    with house.db.read() as conn:
        token = conn.execute(tokens.select()).one().id
    perform(ana, "token_revoke", token=token)
    ran = away("whoami")
    assert ran.code == NOT_SIGNED_IN and "collegium login http://hub.test" in ran.err
    ran = away("logout")
    assert ran.code == 0 and "no good any more" in ran.out and not away.kept.exists()


def test_logout_without_the_hub_keeps_the_file_unless_told(away: Away, hers: TestClient) -> None:
    signed_in(away, hers)

    def cut(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    away.handle_request = cut  # type: ignore[method-assign]
    ran = away("logout")
    assert ran.code == UNAVAILABLE and "--forget" in ran.err and away.kept.exists()
    ran = away("logout", "--forget")
    assert ran.code == 0 and "stays good" in ran.out and not away.kept.exists()


def test_a_token_file_others_can_read_is_refused(away: Away, hers: TestClient) -> None:
    signed_in(away, hers)
    away.kept.chmod(0o640)
    ran = away("whoami")
    assert ran.code == INVALID and "Others on this machine can read your token" in ran.err
    assert away("logout").code == 0 and not away.kept.exists()


def test_a_refused_login_keeps_nothing(away: Away, hers: TestClient) -> None:
    away.while_waiting = lambda code: answer(hers, {"user_code": code}, "refuse")
    ran = away("login", ORIGIN)
    assert ran.code == NOT_ALLOWED and "refused in the browser" in ran.err and not away.kept.exists()


def test_a_login_nobody_confirms_ends(away: Away, clock: FrozenClock) -> None:
    away.while_waiting = lambda code: clock.advance(limits.DEVICE_CODE_SECONDS / 3)
    ran = away("login", ORIGIN)
    assert ran.code == UNAVAILABLE and "Nobody confirmed the code in time" in ran.err and not away.kept.exists()


def test_a_shell_told_to_slow_down_does(away: Away, hers: TestClient, clock: FrozenClock) -> None:
    waited: list[float] = []

    def hasty(seconds: float) -> None:
        waited.append(seconds)
        clock.advance(0.1 if len(waited) == 2 else seconds)
        if len(waited) == 3:
            answer(hers, {"user_code": re.findall(r"[A-Z]{4}-[A-Z]{4}", away.said)[-1]})

    away.pause = hasty  # type: ignore[method-assign]
    assert away("login", ORIGIN).code == 0
    assert waited[0] == waited[1] < waited[2]


def test_a_hub_that_is_away_for_a_moment_is_asked_again(away: Away, hers: TestClient) -> None:
    inside, cuts = away.handle_request, iter(range(3))

    def sometimes(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/device/token" and next(cuts, None) is not None:
            raise httpx.ConnectError("restarting")
        return inside(request)

    away.handle_request = sometimes  # type: ignore[method-assign]
    signed_in(away, hers)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("hub.example.edu", "login https://hub.example.edu"),
        ("ftp://hub.test", "not the address of a hub"),
        ("https://ana:pw@hub.test", "not the address of a hub"),
        ("https://hub.test:notaport", "not the address of a hub"),
        ("https://hub.test/s/ana/hcl", "login https://hub.test"),
        ("", "Which hub?"),
    ],
)
def test_a_wrong_url_is_told_before_anything_is_sent(away: Away, url: str, words: str) -> None:
    ran = away("login", *([url] if url else []))
    assert ran.code == USAGE and words in ran.err and away.requests == []


def test_a_hub_that_names_another_as_its_own_gets_no_token(away: Away) -> None:
    """Else a false hub could pass on the code of one you trust."""
    inside = away.handle_request

    def relayed(request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="hub.test", scheme="http", port=None)
        request.headers["host"] = "hub.test"
        return inside(request)

    away.handle_request = relayed  # type: ignore[method-assign]
    ran = away("login", "https://evil.example")
    assert ran.code == INVALID and "says that it is http://hub.test" in ran.err
    assert re.search(r"[A-Z]{4}-[A-Z]{4}", ran.err) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(301, headers={"location": "https://hub.test/"}), "perhaps https://hub.test is meant"),
        (httpx.Response(200, text="<html>"), "not what this version"),
        (httpx.Response(404, text="nginx"), "What answered is not a hub"),
    ],
)
def test_what_is_no_hub_is_told(away: Away, answer: httpx.Response, words: str) -> None:
    away.handle_request = lambda request: answer  # type: ignore[method-assign]
    ran = away("login", ORIGIN)
    assert ran.code != 0 and words in " ".join(ran.err.split())


def test_the_session_in_use_is_kept_for_each_hub(away: Away, hers: TestClient, ana: Actor, perform: Perform) -> None:
    perform(ana, "session_create", name="hcl")
    signed_in(away, hers)
    assert away("use", "ana/hcl").code == 0
    assert "session  ana/hcl" in re.sub(r" {2,}|: ", "  ", away("whoami").out)
    (away.here / ".data").mkdir()
    (away.here / ".data" / "hub.json").write_text('{"url": "http://127.0.0.1:9"}')
    assert find_hub(away.environ, away.here).url == "http://127.0.0.1:9"  # here another hub is meant
    assert "session  ana/hcl" in re.sub(r" {2,}|: ", "  ", away("whoami", "--hub", ORIGIN).out)


def test_a_token_given_otherwise_comes_before_the_one_kept(away: Away, hers: TestClient) -> None:
    signed_in(away, hers)
    assert find_hub({**away.environ, "COLLEGIUM_TOKEN": "clg_other"}, away.here).token == "clg_other"


def test_no_chat_offers_login(away: Away) -> None:
    door = Door(lambda: pytest.fail("the hub was asked"), call="/")
    with pytest.raises(Problem, match="command of the shell") as told:
        run("login https://hub.test", door)
    assert told.value.exit_code == USAGE and "collegium login" in told.value.hint
    with pytest.raises(Problem):
        run("logout --help", door)
    assert "login" not in run("--help", door).body
    assert "login" in away("--help").out


def test_a_token_file_is_made_unreadable_from_its_first_byte(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        place = logins.keep(tmp_path / "new", ORIGIN, "clg_x")
    finally:
        os.umask(old)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600 and logins.recall(tmp_path / "new", ORIGIN) == "clg_x"
    assert logins.recall(tmp_path / "new", "https://other.test") == ""
