"""The grammar of commands: nouns that hold verbs, suggestions for typing errors, and values with a meaning.

Click parses; this file makes it speak as the rest does. Whatever is wrong with the words is a Problem with what, where
and what was probably meant, and it never prints or exits by itself, because the same tree answers in a chat.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bot.cards import Reply
from bot.door import Door
from bot.phrasing import rephrased
from bot.problems import USAGE, Problem, nearest, usage

# Generic since click 8.4, and only for who checks types.
if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType


# The heading under which a command is listed unless it says another.
COMMANDS = "Commands"


class _Asked(Exception):
    """Somebody asked for help instead of giving a command."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _show_help(ctx: click.Context, _param: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        raise _Asked(ctx.get_help())


def _help_option() -> click.Option:
    return click.Option(
        ["-h", "--help"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_help,
        help="Show this and do nothing.",
    )


class Verb(click.Command):
    """Something that can be done; returns a Reply. `fields` names its options by the action's fields they fill;
    `section` is the heading under which it is listed; `in_shell_only` says that no chat offers it."""

    def __init__(
        self,
        *args: Any,
        fields: Mapping[str, str] | None = None,
        section: str = COMMANDS,
        in_shell_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.in_shell_only = in_shell_only
        self.section = section
        self.fields = {"session_id": "--session", **(fields or {})}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _refuse_in_chat(self.in_shell_only, ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Problem as problem:
            raise rephrased(problem, self.fields) from problem

    def get_help_option(self, ctx: click.Context) -> click.Option:
        return _help_option()


def _refuse_in_chat(in_shell_only: bool, ctx: click.Context) -> None:
    if in_shell_only and _is_chat(ctx):
        asked = " ".join(_words_above(ctx))
        raise usage(
            f"“{asked}” is a command of the shell; here it would do nothing.",
            hint=f"On your own machine: collegium {asked}. Here you are known by your chat account.",
        )


def _is_chat(ctx: click.Context) -> bool:
    """Whether the words came by a door that is not the shell's."""
    return isinstance(ctx.obj, Door) and ctx.obj.shell is None


class Noun(click.Group):
    """A thing and its verbs, listed in the order they were written."""

    command_class = Verb
    group_class = type

    @property
    def in_shell_only(self) -> bool:
        """Whether no chat offers any of its verbs."""
        return bool(self.commands) and all(getattr(each, "in_shell_only", False) for each in self.commands.values())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _refuse_in_chat(self.in_shell_only, ctx)
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: click.Context) -> click.Option:
        return _help_option()

    def list_commands(self, ctx: click.Context) -> list[str]:
        hides = _is_chat(ctx)
        return [
            name
            for name, command in self.commands.items()
            if not command.hidden and not (hides and getattr(command, "in_shell_only", False))
        ]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            self._no_such(ctx, name)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The whole first sentence of each command: one that breaks off helps nobody."""
        sections: dict[str, list[tuple[str, str]]] = {COMMANDS: []}
        for name in self.list_commands(ctx):
            one = self.commands[name]
            first_sentence = " ".join((one.help or "").split("\n\n")[0].split())
            sections.setdefault(getattr(one, "section", COMMANDS), []).append((name, first_sentence))
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _no_such(self, ctx: click.Context, name: str) -> NoReturn:
        above = _words_above(ctx)
        asked = " ".join((*above, name))
        meant = nearest(name, self.list_commands(ctx))
        fix = " ".join((*above, meant)) if meant else _elsewhere(ctx, name)
        known = ", ".join(self.list_commands(ctx))
        raise usage(f"There is no “{asked}”.", fix=fix, hint="" if fix else f"There is: {known}.")


class KeyValue(_Type):
    """`KEY=VALUE`."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"“{value}” is not of the form KEY=VALUE", param, ctx)
        return key, text


class Hours(_Type):
    """`08:00-18:00=50`: between these times of day, at most so many megabits a second; 0 for none at all."""

    name = "HH:MM-HH:MM=MBIT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        span, equals, mbit = str(value).partition("=")
        begin, dash, end = span.partition("-")
        try:
            return {"from": begin, "to": end, "mbit": float(mbit)}
        except ValueError:
            pass
        if not (equals and dash):
            self.fail(f"“{value}” is not of the form 08:00-18:00=50", param, ctx)
        return self.fail(f"“{mbit}” is no number of megabits a second", param, ctx)


class EmailRole(_Type):
    """`ben@example.org:read_write`; the role may be left out and is then `read`."""

    name = "EMAIL:ROLE"
    roles = ("read", "read_write", "admin")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        email, _, role = str(value).partition(":")
        role = role.replace("-", "_") or "read"
        if "@" not in email.strip("@"):
            self.fail(f"“{email}” is not an e-mail address", param, ctx)
        if role not in self.roles:
            meant = nearest(role, self.roles)
            self.fail(
                f"“{role}” is not a role: {', '.join(self.roles)}" + (f"; did you mean {meant}?" if meant else ""),
                param,
                ctx,
            )
        return {"email": email, "role": role}


class When(_Type):
    """A moment to come: `2027-01-31`, `2027-01-31T18:00`, or from now: `45m`, `12h`, `7d`, `2w`."""

    name = "WHEN"
    _span = re.compile(r"(\d{1,5})\s*(m|min|h|d|w)")
    _units = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        now = ctx.obj.now() if ctx is not None and isinstance(ctx.obj, Door) else datetime.now(UTC)
        if span := self._span.fullmatch(text):
            return _iso(now + timedelta(**{self._units[span[2]]: int(span[1])}))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"“{text}” is no moment; write 2027-01-31, 2027-01-31T18:00, 12h or 7d", param, ctx)
        if moment.tzinfo is None:
            moment = moment.astimezone()
        # That it lies in the past is refused by the hub, whose clock decides.
        return _iso(moment)


def session_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--session OWNER/NAME`, where the session in use is not meant."""
    return click.option(
        "-s", "--session", metavar="OWNER/NAME", help="The session; else the one in use, else your own."
    )(command)


def carry_out(tree: click.Group, words: Sequence[str], door: Door | None, name: str = "") -> Reply:
    """The Reply to a command given as words. Raises Problem for everything that is not done."""
    if door is not None:
        door.said = tuple(words)
    try:
        answer = tree.main(list(words), prog_name=name, standalone_mode=False, obj=door)
    except _Asked as asked:
        return _help_reply(asked.text)
    except click.exceptions.NoArgsIsHelpError as error:
        return _help_reply(error.ctx.get_help() if error.ctx else error.format_message(), exit_code=USAGE)
    except click.exceptions.Exit as asked_to_leave:
        return Reply(exit_code=asked_to_leave.exit_code)
    except click.UsageError as error:
        raise _problem(error) from error
    except click.Abort as error:
        raise KeyboardInterrupt from error
    # A verb that keeps a process busy and says nothing at its end returns nothing.
    return answer if isinstance(answer, Reply) else Reply()


def _help_reply(text: str, exit_code: int = 0) -> Reply:
    return Reply(sentence=text.strip().splitlines()[0], body=text, exit_code=exit_code, is_common=True)


def _problem(error: click.UsageError) -> Problem:
    command = (" ".join(_words_above(error.ctx)) or error.ctx.command_path.strip()) if error.ctx else ""
    help_hint = f"`{error.ctx.command_path.strip()} --help` shows how it is written." if error.ctx else ""
    if isinstance(error, click.NoSuchOption) and error.ctx:
        meant = nearest(error.option_name, _options(error.ctx))
        return usage(
            f"“{command}” has no option {error.option_name}.",
            fix=f"{command} … {meant}" if meant else "",
            hint="" if meant else help_hint,
        )
    if isinstance(error, click.MissingParameter) and error.param is not None:
        what = error.param.make_metavar(error.ctx) if error.ctx else (error.param.name or "")
        return usage(f"“{command}” needs {what.strip('[]')}.", hint=help_hint)
    if isinstance(error, click.BadParameter) and error.param is not None:
        where = (
            max(error.param.opts, key=len) if isinstance(error.param, click.Option) else error.param.human_readable_name
        )
        fix = ""
        if isinstance(error.param.type, click.Choice) and (words := re.findall("'([^']*)'", error.message)):
            choices = [str(choice) for choice in error.param.type.choices]
            meant = nearest(words[0], choices)
            fix = f"{where} {meant}" if meant else ""
        return usage(f"{where}: {error.message.rstrip('.')}.", hint="" if fix else help_hint, fix=fix)
    return usage(error.format_message(), hint=help_hint)


def _words_above(ctx: click.Context | None) -> list[str]:
    """The words of the command so far, without the program's name."""
    found: list[str] = []
    while ctx is not None and ctx.parent is not None:
        found.insert(0, ctx.info_name or "")
        ctx = ctx.parent
    return found


def _elsewhere(ctx: click.Context, name: str) -> str:
    """A verb given without its noun: `submit` for `job submit`."""
    root = ctx.find_root().command
    if not isinstance(root, click.Group):
        return ""
    for noun, command in root.commands.items():
        if isinstance(command, click.Group) and name in command.commands and command is not ctx.command:
            return f"{noun} {name}"
    return ""


def _options(ctx: click.Context) -> list[str]:
    return [option for param in ctx.command.get_params(ctx) if isinstance(param, click.Option) for option in param.opts]


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
