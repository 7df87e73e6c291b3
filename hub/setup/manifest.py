"""The manifest of the Slack app, filled in for this hub: the one in `deploy/slack/`, with this hub's address in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

# Beside this file in a wheel, in its own place in a checkout.
_SHIPPED = Path(__file__).with_name("manifest.yaml")
MANIFEST = _SHIPPED if _SHIPPED.exists() else _SHIPPED.parents[2] / "deploy" / "slack" / "manifest.yaml"
NEW_APP = "https://api.slack.com/apps?new_app=1&manifest_yaml="
_ADDRESS = re.compile(r"https://[^\s/\"']+(?=/slack/)")
_COMMENT = re.compile(r"(^|\s+)#(\s|-|$).*$")  # they would make the address of a new app twice as long
_URL_LINE = re.compile(r"^\s*(?:- )?(?:url|request_url|message_menu_options_url):\s*\S+/slack/\S*\s*$")


def text() -> str:
    """The manifest as it is shipped; empty where this installation came without it."""
    try:
        return MANIFEST.read_text()
    except OSError:
        return ""


def filled(manifest: str, origin: str, *, by_socket: bool) -> str:
    """The manifest for this hub. Where Slack cannot reach the hub, the hub calls Slack (Socket Mode)."""
    plain = (_COMMENT.sub("", line) for line in _ADDRESS.sub(origin, manifest).splitlines())
    lines = [line for line in plain if line.strip()]
    if by_socket:
        lines = [line for line in lines if not _URL_LINE.match(line)]
    mode = "true" if by_socket else "false"
    return re.sub(r"socket_mode_enabled: \w+", f"socket_mode_enabled: {mode}", "\n".join(lines).strip()) + "\n"


def new_app(manifest: str) -> str:
    """The address at which Slack makes an app from this manifest."""
    return NEW_APP + quote(manifest, safe="")


def bot_scopes(manifest: str) -> frozenset[str]:
    """What the app asks to be allowed: the list below `scopes:` and `bot:`."""
    return frozenset(_listed(manifest))


def _listed(manifest: str) -> Iterator[str]:
    above: list[tuple[int, str]] = []  # the keys a line stands under, with their indents
    for line in manifest.splitlines():
        word = line.partition(" #")[0].strip()
        indent = len(line) - len(line.lstrip())
        if not word or word.startswith("#"):
            continue
        if word.startswith("- "):
            if [key for _, key in above[-2:]] == ["scopes", "bot"]:
                yield word[2:].strip("\"' ")
            continue
        while above and above[-1][0] >= indent:
            above.pop()
        above.append((indent, word.partition(":")[0]))
