"""`collegium`: the operator's verbs, with the one command tree of every door mounted beside them.

The verbs here run on the hub's own machine and read its settings; everything else goes through the API as from
anywhere. Only this module knows both the hub and the bot.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click
import msgspec

from bot import config, terminal
from bot.cards import Reply, Row, Table
from bot.commands import COMMANDS
from bot.door import Door
from bot.faces.ledger import ledger_card
from bot.grammar import KeyValue, Noun, Verb, session_option
from bot.hub_views import LedgerVerification
from bot.problems import UNAVAILABLE, Problem, exit_code_of
from bot.verbs.cluster import examine_cluster
from hub import extras
from hub.core.errors import HubError, InvalidInput, NotFound
from hub.core.parent import die_with_parent
from hub.core.settings import Settings, documented, load

if TYPE_CHECKING:
    from hub.doctor import Part

# Kept apart from COLLEGIUM_DATA, so that the client finds the same hub by the same words.
data_option = click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of the hub.")


@click.group("collegium", cls=Noun)
@click.version_option(package_name="collegium", message="collegium %(version)s")
def tree() -> None:
    """Jobs, a signed notebook, versioned files and rooms for people who work together."""


@contextlib.contextmanager
def _refusals_told() -> Iterator[None]:
    """What the hub refuses, and a library that is not installed, as the problem every door tells."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise extras.missing(error) from error
    except HubError as error:
        raise Problem(
            error.code,
            error.message,
            status=error.status,
            hint=error.hint,
            path=error.path or "",
            errors=error.errors,
            exit_code=exit_code_of(error.status),
        ) from error


def operates(name: str, *options: Callable[[Any], Any]) -> Callable[[Callable[..., Reply | None]], click.Command]:
    """Register an operator's verb; what the hub refuses is told as every other problem."""

    def register(function: Callable[..., Reply | None]) -> click.Command:
        def run(_door: Door, **arguments: Any) -> Reply:
            with _refusals_told():
                return function(**arguments) or Reply()

        run.__doc__ = function.__doc__
        command: Any = click.pass_obj(run)
        for option in reversed(options):
            command = option(command)
        section = "Operating a hub" if name != "verify" else "Commands"
        made: click.Command = click.command(name, cls=Verb, help=function.__doc__, section=section)(command)
        tree.add_command(made)
        return made

    return register


def settings_for(data: Path | None = None, **overrides: Any) -> Settings:
    """The settings of this machine's hub."""
    return load(os.environ, data=data, **overrides)


@operates(
    "up",
    data_option,
    click.option("--host", help="Address to listen on; 127.0.0.1 (this machine alone) unless it is set."),
    click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any that is free."),
    click.option("--demo", is_flag=True, help="Carry out the bundled analysis from submission to signed result."),
    click.option("--verbose", is_flag=True, help="Show what the processes write, not only their log files."),
)
def up(data: Path | None, host: str | None, port: int | None, demo: bool, verbose: bool) -> Reply | None:
    """Run a whole hub here: everything on loopback, all data in one folder.

    It stays until Ctrl-C. Scripts wait for /readyz and use the token in DATA/operator.token.
    """
    from hub import up as processes

    if demo:
        extras.require("numpy", "matplotlib")
    settings = settings_for(data, host=host, port=port)

    async def when_ready(running: Settings) -> None:
        _say(f"Collegium is up at {running.origin}, its data in {running.data.absolute()}. Ctrl-C stops it.")
        if told := await asyncio.to_thread(_first_words, running):
            _say(told)
        if demo:
            await _in_daemon(_demonstrate, running)

    code = processes.up(settings, when_ready=when_ready, console=sys.stderr if verbose else None)
    return Reply(exit_code=code)


def _first_words(settings: Settings) -> str:
    """The way to the set-up of a hub that nobody has begun to set up: a link that works once, for its owner."""
    from hub import setting_up

    if (link := setting_up.first_link(settings)) is None:
        return ""
    return f"Set it up at {link} (works once, for 15 minutes), or with: collegium setup"


async def _in_daemon(work: Callable[[Settings], None], settings: Settings) -> None:
    """Like `to_thread`, in a thread nobody waits for: Ctrl-C in the middle of it ends the hub at once."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[BaseException | None] = loop.create_future()

    def told(fault: BaseException | None) -> None:
        if not over.done():
            over.set_result(fault)

    def run() -> None:
        fault: BaseException | None = None
        try:
            work(settings)
        except BaseException as error:
            fault = error  # A thread has nobody to raise to: whoever awaits it is told.
        with contextlib.suppress(RuntimeError):  # the loop is closed: the hub went first
            loop.call_soon_threadsafe(told, fault)

    threading.Thread(target=run, daemon=True, name="demonstration").start()
    if (fault := await over) is not None:
        raise fault


def _demonstrate(settings: Settings) -> None:
    """The main job, by the commands a person would type, as the owner of this hub."""
    from hub import app
    from hub.demo import run

    environ = {**os.environ, "COLLEGIUM_DATA": str(settings.data.absolute()), "COLLEGIUM_HUB": settings.origin}
    environ["COLLEGIUM_TOKEN_FILE"] = str(settings.data.absolute() / "operator.token")

    def invoke(words: Sequence[str], stdout: TextIO | None = None) -> int:
        return terminal.receive(tree, list(words), environ=environ, stdout=stdout, here=run.FOLDER)

    house = app.build(settings)
    try:
        run.carry_out(invoke, _say, lambda: run.proof_of_presence(house))
    except run.NotCarriedOut as failed:
        _say(f"The demonstration stopped at: {failed}. The hub goes on; `collegium up --demo` tries again.")
    finally:
        house.close()


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


@operates("web", click.option("--uds", type=click.Path(path_type=Path), help="Unix socket to listen on."))
def web(uds: Path | None) -> None:
    """Run one web process: actions, views and pages."""
    from hub import app

    app.serve_web(settings_for(), uds=uds)


@operates("live")
def live() -> None:
    """Run the live process: every room's sockets, and on a laptop the front door."""
    from hub.live import app as live_app

    live_app.serve(settings_for())


@operates("work")
def work() -> None:
    """Run one worker, with the dispatcher and the sequencer beside it."""
    from hub import app
    from hub.setup import following
    from hub.work import worker

    house = app.build(settings_for())
    stop_following = following.follow(house)
    worker.run(house)
    stop_following()
    house.close()


@operates(
    "agent",
    click.option("--hub", metavar="URL", help="Address of a hub elsewhere (COLLEGIUM_HUB)."),
    click.option("--cluster", metavar="NAME", help="Cluster on which it is to work for you."),
    click.option("--token-file", metavar="FILE", help="File with the agent's token; it is asked for once otherwise."),
    click.option("--control-path", metavar="SOCKET", help="Line you opened with `ssh -M -S SOCKET`; else ssh-agent."),
    click.option("--identity", metavar="FILE.pub", help="Which of the ssh-agent's keys, by its public half."),
)
def agent(
    hub: str | None, cluster: str | None, token_file: str | None, control_path: str | None, identity: str | None
) -> None:
    """Run the agent that watches the jobs of this machine; with --cluster, your own agent for a cluster.

    Your own agent runs where you can sign in to the cluster, with your ssh-agent or a line that you opened; the hub
    elsewhere then has nothing that could. `collegium cluster join NAME LOGIN --agent` shows its token.
    """
    if cluster is None:
        if token_file or control_path or identity or hub:
            raise InvalidInput("name the cluster with --cluster")
        from hub import app

        app.serve_agent(settings_for())
        return
    from hub.jobs.anywhere import start

    start.serve(
        hub or os.environ.get("COLLEGIUM_HUB", ""),
        cluster,
        kept=config.folder(os.environ),
        state=config.state_folder(os.environ),
        token_file=token_file,
        control_path=control_path,
        identity=identity,
    )


@operates(
    "bot",
    click.option("--uds", type=click.Path(path_type=Path), help="Unix socket of a web process; else the public URL."),
)
def bot(uds: Path | None) -> None:
    """Run the chat bot: what people say in Slack, and the cards they see there.

    The commands of rooms are served always; a workspace that is connected is served within seconds.
    """
    from bot import process
    from hub import app
    from hub.people import embedded

    settings = settings_for()
    house = app.build(settings)
    known = house.settings  # with what set-up stored
    house.close()
    token = settings.bot_token or (settings.data.absolute() / embedded.BOT_TOKEN).read_text().strip()
    process.run(
        process.Wiring(
            hub_url=known.origin,
            token=token,
            listen_on=settings.bot_socket,
            hub_socket=uds,
            api_url=settings.slack_api_url,
        )
    )


@operates("migrate", data_option)
def migrate(data: Path | None) -> Reply:
    """Bring the database to the schema of this version; what was there before is kept in DATA/backups."""
    from hub import app
    from hub.core import migrations

    house = app.prepare(settings_for(data))
    revision = migrations.current(house.db)
    house.close()
    return Reply(sentence=f"The database is at revision {revision}.")


key_options = (
    click.option("--passphrase", "is_asked", is_flag=True, help="Ask for a passphrase."),
    click.option("--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), help="File with a passphrase."),
    click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False), help="File with a recovery key."),
)


@operates(
    "backup",
    click.argument("folder", required=False, type=click.Path(path_type=Path)),
    click.option("--verify", "is_check", is_flag=True, help="Read back the backup named instead of writing one."),
    *key_options,
    data_option,
)
def backup(
    folder: Path | None,
    is_check: bool,
    is_asked: bool,
    passphrase_file: Path | None,
    key_file: Path | None,
    data: Path | None,
) -> Reply:
    """Back up the whole hub into FOLDER while it runs: one encrypted file, read back whole.

    Without a passphrase or a key file, a recovery key is made and shown once. A key file is made at first use.
    """
    from hub import leaving

    if is_check:
        if folder is None:
            raise InvalidInput("name the backup to read: `collegium backup --verify FILE`", code="no_backup")
        passphrase = leaving.secret(passphrase_file, is_asked=is_asked, is_new=False)
        return leaving.verify(folder, *leaving.asked_key(passphrase, key_file))
    passphrase = leaving.secret(passphrase_file, is_asked=is_asked, is_new=True)
    return leaving.backup(settings_for(data), folder, passphrase, key_file)


@operates("restore", click.argument("file", type=click.Path(path_type=Path)), *key_options, data_option)
def restore(
    file: Path, is_asked: bool, passphrase_file: Path | None, key_file: Path | None, data: Path | None
) -> Reply:
    """Bring a hub back from a backup into an empty folder, and prove it before calling it restored.

    PostgreSQL is restored into the empty database that COLLEGIUM_DATABASE_URL names.
    """
    from hub import leaving

    settings = settings_for(data)
    passphrase = leaving.secret(passphrase_file, is_asked=is_asked, is_new=False)
    return leaving.restore(file, settings.data, settings.database_url, *leaving.asked_key(passphrase, key_file))


@operates("step-up", data_option)
def step_up(data: Path | None) -> Reply:
    """Print a code that proves the owner of this hub is here, for `collegium window open`.

    Who can read the data folder is taken for its owner: that is the trust model of a hub on one's own machine.
    """
    from hub import app
    from hub.demo.run import proof_of_presence

    house = app.build(settings_for(data))
    try:
        return Reply(sentence=proof_of_presence(house))
    finally:
        house.close()


@operates(
    "setup",
    click.option("--step", metavar="NAME", help="One step: public_url, owner, slack, mail, backup or clusters."),
    click.option("--set", "given", type=KeyValue(), multiple=True, help="A field of the step; others stay."),
    click.option(
        "--secret",
        "secrets",
        type=KeyValue(),
        metavar="KEY=FILE",
        multiple=True,
        help="A field from a file; - is standard input.",
    ),
    click.option("--test", "is_test", is_flag=True, help="Test the step with what is stored."),
    click.option("--skip", "is_skip", is_flag=True, help="Leave the step out."),
    data_option,
)
def set_up(
    step: str | None,
    given: tuple[tuple[str, str], ...],
    secrets: tuple[tuple[str, str], ...],
    is_test: bool,
    is_skip: bool,
    data: Path | None,
) -> Reply:
    """Set the hub up: public address, owner, Slack, mail, backup place, clusters; each step is tested.

    On a terminal it asks. Without one, name a step and its fields; without a step it says how the set-up stands.
    """
    from hub import setting_up

    settings = settings_for(data)
    if step is None and (given or secrets or is_test or is_skip):
        raise InvalidInput("name the step with --step", hint="steps: public_url, owner, slack, mail, backup, clusters")
    if is_test + is_skip + bool(given or secrets) > 1:
        raise InvalidInput("--set, --test and --skip are three commands")
    if step is not None and (given or secrets or is_test or is_skip):
        opened = {key: setting_up.secret_from(source) for key, source in secrets}
        what: Literal["test", "skip", "change"] = "test" if is_test else "skip" if is_skip else "change"
        return setting_up.one(settings, step, dict(given), opened, what)
    if sys.stdin.isatty() and sys.stdout.isatty():
        return setting_up.asked(settings, step, _say)
    if step is not None:
        fields = ", ".join(field.key for field in setting_up.FIELDS.get(step, ()))
        raise InvalidInput("there is no terminal to ask at", hint=f"name fields with --set: {fields}")
    return setting_up.told(settings)


@operates("settings", data_option)
def show_settings(data: Path | None) -> Reply:
    """Print every setting, its value and what it means; secrets are masked."""
    settings = settings_for(data)
    lines = []
    for variable, _default, sentence, is_secret in documented():
        value = getattr(settings, variable.removeprefix("COLLEGIUM_").lower())
        shown = ("set, not shown" if value else "not set") if is_secret else str(value)
        lines.append(f"{variable}={shown}\n    {sentence}")
    return Reply(body="\n".join(lines))


@operates("doctor", click.argument("cluster", metavar="[CLUSTER]", required=False), data_option)
def examine(cluster: str | None, data: Path | None) -> Reply:
    """Say what this machine offers a hub, what is missing, and what that means; or what is wrong with CLUSTER.

    With CLUSTER a running hub is asked, as by `cluster doctor`.
    """
    if cluster is not None:
        told: Reply = click.get_current_context().invoke(examine_cluster, name=cluster)
        return told
    from hub import doctor

    found = doctor.examine(settings_for(data))
    missing = [part.name for part in found if part.is_needed and not part.holds]
    return Reply(
        sentence=f"Missing or failing: {', '.join(missing)}." if missing else "All that a hub needs is here.",
        table=Table(("", "part", "found"), tuple(Row(*_told(part)) for part in found)),
        exit_code=UNAVAILABLE if missing else 0,
        data=found,
    )


def _told(part: Part) -> tuple[tuple[str, str, str], str]:
    """A part as cells and as a sentence."""
    words = ("holds", "fails") if part.is_set_up else ("there", "missing" if part.is_needed else "not there")
    sign = "✓" if part.holds else "✗" if part.is_needed else "○"
    return (sign, part.name, part.words), f"{part.name}: {words[not part.holds]}. {part.words}"


@operates(
    "verify",
    click.argument("which", metavar="[ENTRY]", required=False),
    session_option,
    click.option("--offline", is_flag=True, help="Read the ledger in the data folder itself; no hub need run."),
    data_option,
)
def verify(which: str | None, session: str | None, offline: bool, data: Path | None) -> Reply:
    """Check the whole hub's ledger, or the signatures and attachments of one ENTRY.

    The exit code is 0 only when everything holds.
    """
    if offline:
        if which is not None:
            raise InvalidInput("--offline checks the whole ledger; to check an entry, ask a running hub")
        return _verify_folder(settings_for(data))
    found: Reply = click.get_current_context().invoke(_verify_by_asking, which=which, session=session)
    return found


def _verify_folder(settings: Settings) -> Reply:
    from hub import app
    from hub.ledger import verification
    from hub.ledger.keys import CheckpointKey

    if not settings.database_url and not Path(settings.database.removeprefix("sqlite:///")).exists():
        raise NotFound(f"there is no hub in {settings.data}", code="no_hub", hint="--data names another folder")
    house = app.build(settings)
    try:
        key = house.port(CheckpointKey)
        with house.db.read() as conn:
            found = verification.verify(conn, key.origin, key.public)
    finally:
        house.close()
    return ledger_card(msgspec.convert(msgspec.to_builtins(found), LedgerVerification))


def _with_folder(command: click.Command) -> click.Command:
    """`export` with `--everyone`: who can read the data folder is its operator, and may leave with all of it."""

    def run(door: Door, everyone: bool, data: Path | None, **arguments: Any) -> Reply:
        if everyone:
            with _refusals_told():
                from hub import leaving

                door.hub = leaving.client_inside(settings_for(data))
            arguments["is_all"] = True
        callback: Callable[..., Reply] = command.callback.__wrapped__  # type: ignore[union-attr]
        return callback(door, **arguments)

    own = copy.copy(command)
    own.callback = click.pass_obj(run)
    own.params = [
        *command.params,
        click.Option(["--everyone"], is_flag=True, help="Everybody's sessions, read from the data folder itself."),
        click.Option(["--data"], type=click.Path(path_type=Path, file_okay=False), help="Folder of the hub."),
    ]
    return own


for _command in COMMANDS:
    # What asks a running hub is reached through the verbs here, which can also read the folder.
    if _command.name == "verify":
        _verify_by_asking = _command
    elif _command.name == "export":
        tree.add_command(_with_folder(_command))
    else:
        tree.add_command(_command)

# Processes of the house: they listen for signals themselves and end with their launcher.
SERVING = {"web", "live", "work", "agent", "bot"}


def main() -> None:
    """The entry point."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in SERVING:
        die_with_parent()
    code = terminal.receive(tree, arguments)
    sys.stdout.flush()
    # At the end of a process msgspec may free what it has made of our types twice (its issue 717): a clean end would be
    # a crash. What is frozen is not looked through any more.
    gc.freeze()
    # A daemon thread that still blocks in a driver must not hold the exit up.
    if threading.active_count() > 1 and arguments and arguments[0] in SERVING:
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
