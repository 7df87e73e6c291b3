"""The manifest asks for what the bot uses and nothing else, and the file people paste is the one that is generated."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from bot.slack_manifest import EVENTS, SCOPES, SHORT_COMMANDS, manifest
from tests.bot.fake_slack.methods import METHODS, needed_scope

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "deploy" / "slack" / "manifest.yaml").read_text()
URL = "https://hub.example.edu"
# Being spoken to, a file's bytes and what users.info tells of somebody need scopes too.
WITHOUT_A_METHOD = {"app_mentions:read", "commands", "files:read", "users:read.email"}


def test_the_file_people_paste_is_the_generated_one() -> None:
    assert yaml.safe_load(SHIPPED) == manifest(URL)


def test_the_lines_that_are_an_opt_in_are_whole() -> None:
    with_short = re.sub(r"^    #(?=[- ] {1,2}\w)", "    ", SHIPPED, flags=re.MULTILINE)
    assert yaml.safe_load(with_short) == manifest(URL, short_commands=True)
    assert len(manifest(URL, short_commands=True)["features"]["slash_commands"]) == 1 + len(SHORT_COMMANDS)


def test_over_socket_mode_only_the_addresses_are_gone() -> None:
    by_socket = manifest("", socket=True)
    assert "https://" not in str(by_socket)
    assert by_socket["settings"]["socket_mode_enabled"] is True
    lines = [line for line in SHIPPED.splitlines() if URL not in line]
    shipped = yaml.safe_load("\n".join(lines).replace("socket_mode_enabled: false", "socket_mode_enabled: true"))
    assert shipped == by_socket


def test_every_method_the_bot_calls_is_asked_for_and_nothing_more() -> None:
    called = re.compile(r"[.\"]((?:chat|views|conversations|users|files|auth)[_.][a-zA-Z_.0-9]+)")
    source = "".join(path.read_text() for path in (ROOT / "bot").rglob("*.py"))
    used = {name.replace("_", ".", 1) for name in called.findall(source)} & set(METHODS)
    assert {"chat.postMessage", "chat.update", "views.open", "conversations.history", "users.info"} <= used
    needed = {needed_scope(method, {"channel": channel}) for method in used for channel in ("C1", "G1", "D1")}
    assert needed - {""} | WITHOUT_A_METHOD == set(SCOPES)


def test_the_events_are_those_the_bot_listens_to() -> None:
    assert set(EVENTS) == {"app_mention", "message.im"}
    assert all(scope in SHIPPED for scope in SCOPES)


def test_descriptions_keep_to_slacks_lengths() -> None:
    made = manifest(URL, short_commands=True)
    assert len(made["display_information"]["name"]) <= 35
    assert len(made["display_information"]["description"]) <= 140
    for command in made["features"]["slash_commands"]:
        assert len(command["description"]) <= 2000 and len(command["usage_hint"]) <= 1000
