"""One golden suite through the adapters: the same words are answered by the shell and by Slack in the same words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from bot.door import Door
from bot.hub_client import HubClient
from bot.problems import Problem
from bot.slack import receive, render
from bot.slack_blocks import Rendered, problem_blocks
from bot.slack_spoken import said_words
from hub.core.context import Actor
from hub.core.house import House
from hub.web.application import create
from tests.bot.conftest import InProcess, Shell
from tests.bot.fake_slack import check_message
from tests.conftest import Perform

pytestmark = pytest.mark.slow

SCRIPT = '"#!/bin/sh\ntrue"'

HELP = [
    "",
    "--help",
    "job",
    "job --help",
    "job submit --help",
    "note",
    "note post -h",
    "draft",
    "share",
    "artifact",
    "session -h",
]

WRONG = [
    "jbo list", "job lst", "submit x", "job submit", "job submit --nmae x y", "job submit x --cpus two",
    "nothing at all",
    "job submit x --type slrum", "job status 12", "job cancel 404", "job logs 3", "note show 9", "note sign 9",
    "note post “open", "share create --participant nobody", "artifact log nowhere.csv", "artifact add nowhere.csv",
    "job status ana/nowhere#1", "use nobody/nothing", f"job submit {SCRIPT} --memory much", "verify 77", "who 1 2 3",
    f"job submit {SCRIPT} --in missing.csv", "window open 000000", "key revoke none", "explain",
    "room open nobody/none", "draft show 9", "draft show nothing", "draft remove 1", "draft restore 1 first",
    "draft shwo 1", "draft version 1",
]  # fmt: skip

RIGHT = [
    "whoami", "job list", "note list", "artifact list", "session list", "share list", "key list", "verify",
    f"job submit {SCRIPT} --name fit", "job status", "job list", 'note post "A title" --text "some *text* & <more>"',
    "note list", "note show 1", "share list", "note post –-text “smart quotes” “and dashes”", "job status 2",
    "job status 1", "artifact list", "session list", "who", "note show 2 --session ana/personal",
    'draft create Plan --text "some *text* & <more>"', "draft list", "draft show 1", 'draft version 1 "as sent"',
    "draft restore 1 1", "draft rename 1 Outline", "draft show 1 --version 1",
]  # fmt: skip

Both = Callable[[str], tuple[str, Rendered]]


@pytest.fixture
def both(house: House, shell: Shell, perform: Perform, ana: Actor) -> Iterator[Both]:
    """What the shell prints, and what Slack is sent, for the same words of the same person."""
    with TestClient(create(house), base_url="http://hub.test", raise_server_exceptions=False) as application:
        token = perform(ana, "token_create", name="test")["secret"]
        transport = InProcess(application)

        def run(text: str) -> tuple[str, Rendered]:
            try:
                words = said_words(text)
            except Problem:
                words = []
            ran = shell(*words, transport=transport, token=token, COLUMNS="120")
            hub = HubClient("https://hub.test", token, transport=transport)
            try:
                rendered = render(receive(said_words(text), Door(lambda: hub, call="/collegium ")))
            except Problem as problem:
                rendered = problem_blocks(problem)
            return ran.out + ran.err, rendered

        yield run


def shown(rendered: Rendered) -> list[str]:
    """The lines a person reads in Slack, buttons left out."""
    lines: list[str] = []
    for block in rendered["blocks"]:
        if block["type"] == "rich_text":
            for element in block["elements"]:
                items = element["elements"] if element["type"] == "rich_text_list" else [element]
                for item in items:
                    lines += "".join(piece["text"] for piece in item["elements"]).split("\n")
        elif block["type"] == "context":
            lines += [line for piece in block["elements"] for line in piece["text"].split("\n")]
    return [line.strip() for line in lines if line.strip()]


def alike(text: str) -> str:
    """Without what differs because it was done twice: ids, digests, numbers, and how one begins a command."""
    text = text.replace("/collegium ", "collegium ")
    text = re.sub(r"\d+(st|nd|rd|th) in the queue: [^.]*|Next in the queue", "In the queue", text)
    text = re.sub(r"\b[a-z]{2,4}_[0-9a-z]{20,}\b", "ID", text)
    text = re.sub(r"\b[0-9a-f]{12,}\b", "DIGEST", text)
    text = re.sub(r"\d+(?= (?:jobs?|entry|entries|lines?|not over|versions?)\b)|\b(\d+)(?= of \d)", "N", text)
    return re.sub(r"((?:\bjob|\bentry|\bdraft|\bversion|#|#n|#d) ?)\d+", r"\1N", text)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_in_the_same_words(both: Both, text: str) -> None:
    printed, rendered = both(text)
    if text.count("“") > text.count("”"):
        assert shown(rendered)[0].startswith('Error: A quotation that opens with "')
        return
    assert [alike(line) for line in shown(rendered)] == [alike(line) for line in printed.splitlines() if line.strip()]
    assert rendered["text"].startswith("Error: ")


def test_what_is_done_is_told_in_the_same_words(both: Both) -> None:
    for text in RIGHT:
        printed, rendered = both(text)
        check_message(rendered["text"], rendered["blocks"])
        lines = [alike(line) for line in shown(rendered)]
        expected = [alike(line) for line in printed.splitlines() if line.strip() and not line.startswith("page: ")]
        missing = [line for line in expected if line not in lines]
        assert not missing, (text, missing, lines)
        assert "Error" not in rendered["text"] or "Error" in printed, text


@pytest.mark.parametrize("text", HELP)
def test_help_is_the_same_at_every_level(both: Both, text: str) -> None:
    printed, rendered = both(text)
    whole = " ".join(printed.replace("collegium", "/collegium").split())
    [block] = [block for block in rendered["blocks"] if block["type"] == "rich_text"]
    body: Any = block["elements"][0]
    assert body["type"] == "rich_text_preformatted"
    for line in body["elements"][0]["text"].split("\n"):
        said = " ".join(line.split())
        assert said in whole, (said, whole)
