"""A lab of ten on a Monday: a whole embedded hub, a fake Slack it is installed in, and people who use both."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.bot.fake_slack import FakeSlack
from tests.embedded import Hub

PATIENCE_SECONDS = 60.0


class Laboratory:
    """The hub, its Slack, and the people by the handle they have at the hub."""

    def __init__(self, root: Path, slack: FakeSlack, **settings: str) -> None:
        self.slack = slack
        self.hub = Hub(root, COLLEGIUM_SLACK_API_URL=slack.url, COLLEGIUM_JOIN="workspace", **settings)
        self.api = httpx.Client(base_url=self.hub.url, timeout=30)
        self._before: list[httpx.Client] = []
        self.people: dict[str, str] = {}  # the fake Slack's user id -> the person's id at the hub
        slack.deliver_to(self.hub.url)

    def moved(self) -> None:
        """The hub was started again, on another port: people's browsers and Slack find it there."""
        self._before.append(self.api)  # somebody may be in the middle of a question
        self.api = httpx.Client(base_url=self.hub.url, timeout=30)
        self.slack.deliver_to(self.hub.url)

    def secret(self, name: str) -> str:
        return (self.hub.data / name).read_text().strip()

    def act(self, token: str, action: str, *, key: str | None = None, **params: Any) -> Any:
        """One action by a token; an assertion tells what the hub said when it refused."""
        headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
        body = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        answer = self.api.post("/api/actions", json=body, headers=headers)
        assert answer.status_code == 200, (action, answer.status_code, answer.text)
        return answer.json()["result"]

    def view(self, path: str, token: str = "") -> Any:
        answer = self.api.get(path, headers={"Authorization": f"Bearer {token or self.owner}"})
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    @property
    def owner(self) -> str:
        """The token of the hub's owner."""
        return self.secret("operator.token")

    def install(self) -> None:
        """Connect the workspace, and wait until the bot answers in it."""
        slack = self.slack
        tokens = {"bot_token": slack.bot_token, "signing_secret": slack.signing_secret}
        self.act(self.owner, "chat_install", platform="slack", **tokens)

    def join(self, name: str) -> str:
        """Somebody of the workspace who has an account here; returns their Slack id."""
        user = self.slack.person(name)
        made = self.act(
            self.secret("keys/bot.token"), "chat_join", platform="slack", workspace=self.slack.team, user=user,
            name=name, standing="full",
        )  # fmt: skip
        self.people[user] = made["person"]
        return user

    def until_it_answers(self, user: str) -> None:
        """Wait until a command of this person is answered by the hub."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            told = self.slack.command(user, "/collegium", "whoami")
            if told.status == 200 and "You are" in json.dumps(told.body):
                return
            assert time.monotonic() < deadline, (told.status, told.body, self.hub.log.read_text()[-2000:])
            time.sleep(0.1)

    def close(self) -> None:
        for client in (*self._before, self.api):
            client.close()
        self.hub.close()


@contextlib.contextmanager
def laboratory(root: Path, people: tuple[str, ...], **settings: str) -> Iterator[Laboratory]:
    """A laboratory whose bot answers everybody named."""
    with FakeSlack() as slack:
        lab = Laboratory(root, slack, **settings)
        try:
            lab.install()
            users = [lab.join(name) for name in people]
            lab.until_it_answers(users[0])
            yield lab
        finally:
            lab.close()
