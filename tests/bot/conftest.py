"""A shell in a folder of its own, speaking to whatever transport a test gives it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec
import pytest
from starlette.testclient import TestClient

from bot import terminal_live
from bot.commands import tree
from bot.terminal import receive
from hub.core.context import Actor
from hub.core.house import House
from hub.web.application import create
from tests.conftest import Perform

HUB = "https://hub.test"


class Ran(msgspec.Struct, frozen=True):
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


class Stream(io.TextIOWrapper):
    """Standard output that a test can read, a terminal if wanted."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self.content = io.BytesIO()
        self._is_terminal = is_terminal
        super().__init__(self.content, encoding="utf-8", newline="\n")

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def text(self) -> str:
        self.flush()
        return self.content.getvalue().decode()


Shell = Callable[..., Ran]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a terminal does once a second is done at once."""
    monkeypatch.setattr(terminal_live, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(terminal_live, "_DRAW_SECONDS", 0.002)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def shell(here: Path, tmp_path: Path) -> Shell:
    """`shell("job list", transport=...)` gives one command line from `here`, off a terminal unless said otherwise."""

    def run(
        *words: str,
        transport: httpx.BaseTransport | None = None,
        token: str = "clg_test",
        is_terminal: bool = False,
        term: str = "xterm",
        commands: click.Group = tree,
        **variables: str,
    ) -> Ran:
        out, err = Stream(is_terminal=is_terminal), Stream(is_terminal=is_terminal)
        environ = {
            "HOME": str(tmp_path),
            "TERM": term,
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "COLLEGIUM_HUB": HUB,
            "COLLEGIUM_TOKEN": token,
        }
        environ.update(variables)
        code = receive(
            commands, words, environ={k: v for k, v in environ.items() if v}, stdout=out, stderr=err, here=here,
            transport=transport,
        )  # fmt: skip
        return Ran(code, out.text, err.text)

    return run


class InProcess(httpx.BaseTransport):
    """The web application behind the client's own HTTP library."""

    def __init__(self, application: TestClient) -> None:
        self._application = application

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._application.request(
            request.method, str(request.url), headers=dict(request.headers), content=request.read(),
            follow_redirects=False,
        )  # fmt: skip
        headers = [(name, value) for name, value in answer.headers.multi_items() if name != "content-encoding"]
        return httpx.Response(answer.status_code, headers=headers, content=answer.content)


Collegium = Callable[..., Ran]


@pytest.fixture
def application(house: House) -> Iterator[TestClient]:
    with TestClient(create(house), base_url="http://hub.test", raise_server_exceptions=False) as running:
        yield running


@pytest.fixture
def collegium(application: TestClient, shell: Shell, perform: Perform, ana: Actor) -> Collegium:
    """`collegium("job", "list")` as Ana; `by=ben` as somebody else."""
    tokens: dict[str, str] = {}

    def run(*words: str, by: Actor = ana, code: int = 0) -> Ran:
        if by.id not in tokens:
            tokens[by.id] = perform(by, "token_create", name="shell")["secret"]
        ran = shell(*words, transport=InProcess(application), token=tokens[by.id])
        assert ran.code == code, ran.err or ran.out
        return ran

    return run


@pytest.fixture
def lab(ana: Actor, ben: Actor, perform: Perform) -> str:
    """A session of Ana's in which Ben may write."""
    session: str = perform(ana, "session_create", name="lab")["session"]
    asked = [{"email": "b@x.org", "role": "read_write"}]
    shared = perform(ana, "session_share", session_id=session, participants=asked)
    perform(ben, "invitation_accept", secret=shared["invitations"][0]["secret"])
    return session
