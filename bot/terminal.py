"""The shell's door: receive words, render the reply, update what is alive in it.

Slack, Matrix and the room have modules with the same three functions. On a terminal that can draw, a job is a card
with a bar that moves; under `--plain`, `TERM=dumb`, or where no terminal is, it is one full line an event. Replies go
to standard output, problems and progress to standard error, so that a pipe carries the answer alone.
"""

import copy
import os
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

import click
import httpx
import msgspec
from rich.console import RenderableType

from bot import completion, config, terminal_plain, terminal_rich
from bot.cards import ExportLive, FileLive, JobLive, LogLive, Reply
from bot.door import Door
from bot.grammar import carry_out
from bot.hub_client import HubClient, Unreachable
from bot.problems import INTERRUPTED, Problem, usage
from bot.screen import Screen, Wishes
from bot.shell import Shell
from bot.terminal_files import UploadLine
from bot.terminal_live import carry, ended_job
from bot.text import printable_lines
from bot.uploads import LocalUploads

# What a shell reports for a program whose reader went away (128 + SIGPIPE).
PIPE_CLOSED = 141


def receive(
    tree: click.Group,
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    here: Path | None = None,
    transport: httpx.BaseTransport | None = None,
) -> int:
    """Carry out one command line and return its exit code; what people do wrong is told, never a traceback."""
    environ = os.environ if environ is None else environ
    wishes = Wishes(is_plain=bool(environ.get("COLLEGIUM_PLAIN")))
    if environ.get(completion.VARIABLE):
        furnished = _with_shell_options(tree, wishes)
        return completion.answer(
            furnished, wishes, environ, stdout=stdout or sys.stdout, here=here or Path.cwd(), transport=transport
        )
    screen = Screen(stdout or sys.stdout, stderr or sys.stderr, wishes, environ.get("TERM", ""))
    door = _door(wishes, screen, environ, here or Path.cwd(), transport)
    try:
        reply = carry_out(_with_shell_options(tree, wishes), argv, door, name="collegium")
        screen.clear()
        return _answer(reply, screen, door, here or Path.cwd())
    except Problem as problem:
        screen.clear()
        _show_problem(problem, screen)
        return problem.exit_code
    except KeyboardInterrupt:
        screen.settle()
        screen.aside("Stopped here. What the hub was asked for goes on.")
        return INTERRUPTED
    except BrokenPipeError:
        screen.abandon()
        return PIPE_CLOSED
    finally:
        if "hub" in vars(door):
            door.hub.close()


def _answer(reply: Reply, screen: Screen, door: Door, here: Path) -> int:
    """Show the reply, or carry its live part, or write what the hub answered."""
    is_stream = isinstance(reply.live, LogLive | FileLive | ExportLive)
    if screen.as_json and not is_stream:
        ended, code = ended_job(reply, door) if isinstance(reply.live, JobLive) else (reply.data, reply.exit_code)
        if ended is None and reply.sentence:
            ended = {"answer": reply.body or reply.sentence}
        screen.json(ended)
        return code
    if not reply.is_empty and not is_stream and not isinstance(reply.live, JobLive):
        _show(reply, screen, door)
    return carry(reply, door, screen, here) if reply.live is not None else reply.exit_code


def render(reply: Reply, *, is_plain: bool, call: str = "collegium ") -> RenderableType | list[str]:
    """The reply in the terminal's own form: a drawing, or full lines."""
    return list(terminal_plain.lines(reply)) if is_plain else terminal_rich.card(reply, call)


def update(screen: Screen, reply: Reply, at: datetime) -> None:
    """Show a later state of what is on the screen: the card redrawn, or one more line."""
    screen.update(reply, at)


def _show(reply: Reply, screen: Screen, door: Door) -> None:
    shown = render(reply, is_plain=screen.is_plain, call=door.call)
    if isinstance(shown, list):
        screen.lines(shown)
    else:
        screen.draw(shown)


def _show_problem(problem: Problem, screen: Screen) -> None:
    if screen.as_json:
        told = {
            "code": problem.code, "detail": problem.detail, "status": problem.status, "hint": problem.hint,
            "path": problem.path, "errors": problem.errors, "exit_code": problem.exit_code, "facts": problem.facts,
        }  # fmt: skip
        screen.aside(msgspec.json.encode(told).decode())
    elif screen.is_plain:
        for line in terminal_plain.problem_lines(problem):
            screen.aside(line)
    else:
        screen.draw_aside(terminal_rich.problem(problem))


def _door(
    wishes: Wishes, screen: Screen, environ: Mapping[str, str], here: Path, transport: httpx.BaseTransport | None
) -> Door:
    def connect() -> HubClient:
        address = config.find_hub(environ, here, hub=wishes.hub, token_file=wishes.token_file)
        if address.warning:
            screen.aside(f"Warning: {address.warning}")
        if not config.is_running(address):
            raise Unreachable(
                "hub_stopped",
                f"The hub of {address.data} is not running.",
                hint=f"Start it: collegium up --data {address.data}",
                status=503,
            )
        client = HubClient(address.url, address.token, transport=transport)
        client.was_logged_in = address.is_login
        return client

    def remember(session: str | None) -> str:
        return str(config.remember_session(environ, door.hub.url, session))

    shell = Shell(
        environ=environ,
        hub_named=lambda: config.named_hub(environ, wishes.hub),
        connect=lambda url, token: HubClient(url, token, transport=transport),
        say=screen.aside,
        pause=time.sleep,
        ask=_asking(screen) if _somebody_sits_there(screen) else None,
    )
    door = Door(
        connect,
        shell=shell,
        uploads=LocalUploads(here, config.uploads_file(environ), UploadLine(screen).report),
        session=lambda: config.recall_session(environ, door.hub.url),
        remember=remember,
        read_standard_input=_read_standard_input,
        has_folder=True,
        open_page=None if screen.is_plain else lambda url: _open_page(url, environ),
    )
    return door


def _with_shell_options(tree: click.Group, wishes: Wishes) -> click.Group:
    """A copy of the tree whose every command takes the shell's own options, before or after its words."""
    ours = [
        click.Option(["--plain"], is_flag=True, expose_value=False, callback=_setter(wishes, "is_plain"),
                     help="Full lines of text; nothing is redrawn."),
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_setter(wishes, "as_json"),
                     help="The hub's answer as JSON."),
        click.Option(["--hub"], metavar="URL", expose_value=False, callback=_setter(wishes, "hub"),
                     help="The hub's address (COLLEGIUM_HUB)."),
        click.Option(["--token-file"], metavar="FILE", expose_value=False, callback=_setter(wishes, "token_file"),
                     help="File with your API token (COLLEGIUM_TOKEN_FILE)."),
    ]  # fmt: skip
    return _opted(tree, ours)


def _opted(command: click.Group, options: list[click.Option]) -> click.Group:
    own = copy.copy(command)
    own.params = [*command.params, *options]
    own.commands = {
        name: _opted(below, options) if isinstance(below, click.Group) else _opted_verb(below, options)
        for name, below in command.commands.items()
    }
    return own


def _opted_verb(command: click.Command, options: list[click.Option]) -> click.Command:
    own = copy.copy(command)
    taken = {flag for param in command.params for flag in param.opts}
    own.params = [*command.params, *(option for option in options if not taken.intersection(option.opts))]
    return own


def _setter(wishes: Wishes, name: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def take(_ctx: click.Context, _param: click.Parameter, value: object) -> None:
        if value:
            setattr(wishes, name, value)

    return take


def _somebody_sits_there(screen: Screen) -> bool:
    return screen.is_terminal and not screen.as_json and sys.stdin is not None and sys.stdin.isatty()


def _read_standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise usage("Standard input is not text in UTF-8.") from error


def _asking(screen: Screen) -> Callable[[str | Reply, str, bool], bool]:
    """How a question is asked below what it is about."""

    def ask(shown: str | Reply, question: str, usual: bool) -> bool:
        if isinstance(shown, Reply) and not screen.is_plain:
            screen.draw_aside(terminal_rich.card(shown))
        else:
            text = printable_lines(shown).split("\n") if isinstance(shown, str) else terminal_plain.lines(shown)
            for line in text:
                screen.aside(line)
        screen.ask(f"{question} [{'Y/n' if usual else 'y/N'}] ")
        answer = sys.stdin.readline()  # nothing at all, not even a line's end, is no answer
        return usual if answer == "\n" else answer.strip().lower() in ("y", "yes")

    return ask


def _open_page(url: str, environ: Mapping[str, str]) -> bool:
    """Open the person's browser, where there is one to open: not over ssh, not without a display."""
    has_display = sys.platform == "darwin" or environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    return bool(has_display) and not environ.get("SSH_CONNECTION") and webbrowser.open(url)
