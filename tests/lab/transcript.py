"""What a lab day looks like from its three doors, printed side by side: Slack, the shell, a browser.

    python -m tests.lab.transcript

A whole embedded hub, a fake Slack it is installed in, a real Chromium; what people type is written here, and nothing
of what they are answered.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.bot.fake_slack import Message
from tests.lab.laboratory import Laboratory, laboratory

SESSION = "ana/hcl"
SCRIPT = """#!/bin/sh
for line in 1 2 3; do echo "line $line"; sleep 1; done
echo 2886,1 > peaks.csv
"""


class Transcript:
    """One day, told as it happens."""

    def __init__(self, lab: Laboratory, page: Page, say: Callable[[str, str, str], None]) -> None:
        self.lab, self.page, self.say = lab, page, say
        self.ben = next(iter(lab.people))
        self.channel = lab.slack.channel("hcl")

    def shell(self, *words: str, code: int = 0) -> str:
        answer = self.lab.hub(*words, code=code).strip()
        self.say("shell", "ana", f"$ collegium {' '.join(words)}")
        for line in answer.splitlines()[:6]:
            self.say("", "", line)
        return answer

    def slack(self, text: str, *, channel: str = "") -> None:
        before = len(self.lab.slack.seen_by(self.ben))
        told = self.lab.slack.command(self.ben, "/collegium", text, channel=channel)
        self.say("slack", "ben", f"/collegium {text}")
        said = told.body.get("text") if isinstance(told.body, dict) else ""
        self.say("", "", f"→ {said or self.lab.slack.seen_by(self.ben)[before:]}"[:300])

    def card(self, holds: Callable[[Message], bool], why: str) -> Message:
        def look() -> Any:
            posts = [m for m in self.lab.slack.messages if m.channel == self.channel and m.user != self.ben]
            return next((m for m in posts if holds(m)), None)

        self.lab.slack.wait_for(look, 60)
        found: Message = look()
        self.say("slack", why, found.text)
        return found

    def browse(self, path: str, selector: str = "main") -> str:
        self.page.goto(self.lab.hub.url + path)
        words = " ".join(self.page.locator(selector).first.inner_text().split())
        self.say("browser", "ana", f"{path}: {words[:260]}")
        return words

    def day(self) -> None:
        """The script."""
        self.shell("session", "create", "hcl")
        self.shell("use", SESSION)
        token = self.token_of(self.ben)
        ben = self.lab.view("/api/me", token)
        invited = self.shell("share", "create", SESSION, "--participant", "ben@university.edu:read_write")
        found = re.search(r"clgi_[\w-]+", invited)
        assert found is not None, invited
        self.lab.act(token, "invitation_accept", secret=found.group())
        self.say("browser", "ben", "takes the invitation up by its link")
        self.slack(f"channel use {SESSION}", channel=self.channel)
        self.give_channel()
        self.slack("whoami", channel=self.channel)
        said = self.lab.slack.mention(self.ben, f"job submit ```{SCRIPT}``` --name fit", channel=self.channel)
        self.say("slack", "ben", f"@Collegium job submit ```{SCRIPT.splitlines()[0]} …``` --name fit  ({said.status})")
        self.card(lambda m: "“fit”" in m.text and not m.thread, "card")
        self.shell("job", "list")
        self.shell("job", "logs", "1", "--follow")
        self.card(lambda m: "“fit”" in m.text and not m.thread and "succeeded" in m.text, "card, edited")
        self.card(lambda m: bool(m.thread), "its thread")
        self.shell("artifact", "log", "peaks.csv")
        self.slack('note post "Peaks of HCl" --text "Three lines, one peak." --attach peaks.csv', channel=self.channel)
        self.card(lambda m: "Peaks of HCl" in m.text and not m.thread, "card of the entry")
        self.slack("key create notebook", channel=self.channel)
        self.slack("note sign 1 --key notebook", channel=self.channel)
        self.shell("share", "create", SESSION, "--expires", "7d")
        self.shell("who", SESSION)
        self.shell("explain", ben["handle"], "session_share", SESSION)
        link = re.search(r"http\S+/signin/\S+", self.shell("link"))
        assert link is not None
        self.page.goto(link.group())
        self.page.locator("main form button").first.click()
        self.browse("/")
        self.browse(f"/s/{SESSION}")
        self.browse("/entries/" + self.lab.view(f"/api/sessions/{SESSION}/entries")["entries"][0]["id"])
        self.shell("share", "revoke", ben["handle"])
        self.slack(f"job list --session {SESSION}", channel=self.channel)
        self.shell("verify")

    def token_of(self, user: str) -> str:
        """A token of somebody in Slack, to ask what the hub calls them."""
        who = {
            "Authorization": f"Bearer {self.lab.secret('keys/bot.token')}",
            "Collegium-Act-As": self.lab.people[user],
        }
        body = {"tool": "distributed_collaboration", "params": {"action": "token_create", "name": "transcript"}}
        return str(self.lab.api.post("/api/actions", json=body, headers=who).json()["result"]["secret"])

    def give_channel(self) -> None:
        """Ana, who may share the session, gives it the channel: in Slack she would write `channel use`."""
        place = {"platform": "slack", "workspace": self.lab.slack.team, "channel": self.channel}
        self.lab.act(self.lab.owner, "channel_set", **place, session_id=SESSION)
        self.say("slack", "ana", f"/collegium channel use {SESSION}")


def main() -> None:
    began = time.monotonic()

    def say(door: str, who: str, words: str) -> None:
        at = f"{time.monotonic() - began:6.1f} s" if door else ""
        print(f"{at:>8}  {door:<8}{who:<14}{words}")

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium on this machine")
    with tempfile.TemporaryDirectory() as folder, laboratory(Path(folder), ("Ben",)) as lab, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        Transcript(lab, browser.new_page(), say).day()
        browser.close()


if __name__ == "__main__":
    main()
