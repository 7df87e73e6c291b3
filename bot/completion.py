"""Completion for bash, zsh and fish: words from the tree, and names of sessions, jobs, entries and files from the hub.

Click knows the protocol of the three shells. A key that is pressed must not wait: the hub is asked once, for a moment,
and whatever goes wrong (no hub, no token, no network) is silence.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import httpx
from click.shell_completion import CompletionItem, get_completion_class

from bot import config
from bot.door import Door
from bot.hub_client import HubClient
from bot.room_views import DraftRow
from bot.screen import Wishes
from bot.shell import Shell
from bot.text import printable

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
    Item = CompletionItem[Any]
else:
    _Type = click.ParamType
    Item = CompletionItem

VARIABLE = "_COLLEGIUM_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
_SECONDS = 1.5
# A name that comes from others is put on a command line as it is: what a shell would act on is not offered.
_HARMLESS = re.compile(r"[\w./@%+=:,][\w./@%+=:,#-]*")
Find = Callable[[Door, str | None], list[tuple[str, str]]]


class Momentary(HubClient):
    """The hub, asked once and not waited for."""

    def __init__(self, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        super().__init__(url, token, transport=transport, timeout_seconds=_SECONDS)

    def _insist(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self.send(method, path, **request)


class Named(_Type):
    """A name that the hub knows."""

    name = "text"

    def __init__(self, find: Find) -> None:
        self._find = find

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Item]:
        door = ctx.find_object(Door)
        if door is None:
            return []
        try:
            found = self._find(door, ctx.params.get("session") if param.name != "session" else None)
        except Exception:
            return []  # whatever it was, it is told when the command is carried out
        return [
            CompletionItem(name, help=printable(told)[:60])
            for name, told in found
            if name.startswith(incomplete) and _HARMLESS.fullmatch(name)
        ]


class Local(_Type):
    """A file or folder here; the shell itself knows which there are."""

    name = "text"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Item]:
        return [CompletionItem(incomplete, type=self._kind)]


def _sessions(door: Door, _session: str | None) -> list[tuple[str, str]]:
    return [(one.name, one.title) for one in door.hub.sessions()]


def _jobs(door: Door, session: str | None) -> list[tuple[str, str]]:
    jobs = door.hub.jobs(door.named_session(session)).jobs
    return [(str(one.number), f"{one.name}, {one.state.replace('_', ' ').lower()}") for one in jobs]


def _entries(door: Door, session: str | None) -> list[tuple[str, str]]:
    return [(str(one.number), one.title) for one in door.hub.entries(door.named_session(session)).entries]


def _drafts(door: Door, session: str | None) -> list[tuple[str, str]]:
    found = door.hub.of_room(door.named_session(session), "drafts", tuple[DraftRow, ...])
    return [(str(one.number), one.name) for one in found]


def _paths(door: Door, session: str | None) -> list[tuple[str, str]]:
    found = door.hub.artifacts(door.named_session(session)).artifacts
    return [(one.path, one.alt or f"version {one.number}") for one in found]


def _keys(door: Door, _session: str | None) -> list[tuple[str, str]]:
    known = door.hub.keys()
    return [(one.name, one.fingerprint) for one in known if not one.revoked]


# What a parameter takes, by the word that stands for it in the help.
_BY_METAVAR: dict[str, _Type] = {
    "OWNER/NAME": Named(_sessions),
    "SESSION": Named(_sessions),
    "JOB": Named(_jobs),
    "ENTRY": Named(_entries),
    "DRAFT": Named(_drafts),
    "PATH": Named(_paths),
    "KEY": Named(_keys),
    "INPUT": Named(_paths),
    "FILE": Local("file"),
    "TITLE|FILE.md": Local("file"),
    "NAME|FILE.md": Local("file"),
    "SCRIPT": Local("file"),
    "[SESSION] DIR": Local("dir"),
    "DIR": Local("dir"),
}


def furnished(command: click.Command) -> click.Command:
    """A copy of the tree whose parameters know what can be written for them."""
    own = copy.copy(command)
    own.params = [_furnished(param) for param in command.params]
    if isinstance(own, click.Group) and isinstance(command, click.Group):
        own.commands = {name: furnished(below) for name, below in command.commands.items()}
    return own


def _furnished(param: click.Parameter) -> click.Parameter:
    words = param.metavar or (param.name or "").upper()
    kind = _BY_METAVAR.get(words) or _BY_METAVAR.get(words.strip("[]"))
    if kind is None or not isinstance(param.type, type(click.STRING)):
        return param
    own = copy.copy(param)
    own.type = kind
    return own


def answer(
    tree: click.Command,
    wishes: Wishes,
    environ: Mapping[str, str],
    *,
    stdout: TextIO,
    here: Path,
    transport: httpx.BaseTransport | None = None,
) -> int:
    """Answer the shell that asks, as `bash_complete`, or hand it its script, as `bash_source`."""
    shell, _, what = environ[VARIABLE].partition("_")
    made = get_completion_class(shell)
    if made is None or what not in ("complete", "source"):
        return 1
    door = _door(wishes, environ, here, transport)
    asked = made(furnished(tree), {"obj": door}, "collegium", VARIABLE)
    stdout.write((asked.source() if what == "source" else asked.complete()) + "\n")
    stdout.flush()
    return 0


def offered(tree: click.Command, door: Door, words: Sequence[str], incomplete: str) -> list[Item]:
    """What can stand where `incomplete` stands, after these words."""
    made = get_completion_class("bash")
    return made(furnished(tree), {"obj": door}, "collegium", VARIABLE).get_completions(list(words), incomplete)


def source(shell: str, tree: click.Command) -> str:
    """The script that teaches a shell to ask."""
    made = get_completion_class(shell)
    assert made is not None
    return made(tree, {}, "collegium", VARIABLE).source()


def _door(wishes: Wishes, environ: Mapping[str, str], here: Path, transport: httpx.BaseTransport | None = None) -> Door:
    """A door that says nothing."""

    def connect() -> HubClient:
        address = config.find_hub(environ, here, hub=wishes.hub, token_file=wishes.token_file)
        return Momentary(address.url, address.token, transport)

    shell = Shell(
        environ=environ,
        hub_named=lambda: config.named_hub(environ, wishes.hub),
        connect=lambda url, token: Momentary(url, token, transport),
        say=lambda line: None,
        pause=lambda seconds: None,
    )
    door = Door(connect, shell=shell, session=lambda: config.recall_session(environ, door.hub.url))
    return door
