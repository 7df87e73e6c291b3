"""Does what was set up still hold? The steps' own tests without their traces, and what else a set-up hub relies on."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from hub.chats.tables import chat_installations
from hub.core.house import House
from hub.core.settings import Settings
from hub.setup import stored
from hub.setup.probes import TESTS
from hub.setup.rules import STEPS, Check
from hub.setup.tables import setup_steps

ANSWER_SECONDS = 2.0
_BREACHED_LINE = re.compile(rb"[0-9A-F]{40}(?::\d+)?\r?\n?")


def checks(house: House) -> Iterator[tuple[str, Check]]:
    """(what it is about, what was found), for every step that was done or tried, and for what stands beside them."""
    with house.db.read() as conn:
        if not sa.inspect(conn).has_table(setup_steps.name):
            return
        states = {row.name: row.state for row in conn.execute(sa.select(setup_steps))}
        has_chats = conn.execute(sa.select(chat_installations.c.platform).limit(1)).first() is not None
    settings = stored.overlaid(house)
    given = house.given_settings
    for step in STEPS:
        is_given = any(given.is_given(name) and getattr(given, name) != "invite" for name in step.settings)
        if states.get(step.name) in {"done", "failed", "testing"} or (is_given and step.name not in states):
            for check in TESTS[step.name](house, settings, None):
                yield step.title, check
    if has_chats:
        yield "Slack", _bot(settings)
    if settings.breached_passwords:
        yield "Passwords", _breached(Path(settings.breached_passwords))


def _bot(settings: Settings) -> Check:
    """Whether somebody listens where the front door hands on what chat platforms send."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(ANSWER_SECONDS)
            link.connect(str(settings.bot_socket))
    except OSError:
        hint = "Start the hub; where its processes are run one by one, start collegium bot."
        return Check("bot", False, "The bot's process does not answer.", hint)
    return Check("bot", True, "The bot's process answers.")


def _breached(path: Path) -> Check:
    name, hint = "breach list", "Nobody can set a password until COLLEGIUM_BREACHED_PASSWORDS names a list."
    try:
        with path.open("rb") as file:
            line = file.readline(100)
    except OSError as error:
        return Check(name, False, f"{path}: {(error.strerror or str(error)).lower()}.", hint)
    if not _BREACHED_LINE.fullmatch(line):
        return Check(name, False, f"{path} does not begin with a SHA-1 digest in capital hexadecimal letters.", hint)
    return Check(name, True, f"{path} can be read.")
