"""`login`, `logout`: this shell at a hub elsewhere, by a code that is confirmed in a browser. In the shell only."""

from datetime import datetime
from urllib.parse import quote, urlsplit

import click

from bot import config, logins
from bot.cards import Next, Reply, fields
from bot.door import Door
from bot.grammar import Verb
from bot.hub_client import HubClient, NoAnswer
from bot.hub_views import DeviceCode, Ended
from bot.problems import INVALID, NOT_ALLOWED, NOT_SIGNED_IN, UNAVAILABLE, Problem, usage
from bot.shell import Shell
from bot.words import moment

_SLOWER_SECONDS = 3
_REDIRECTS = (301, 302, 303, 307, 308)


@click.command("login", cls=Verb, in_shell_only=True)
@click.argument("url", required=False)
@click.option("--print", "is_printed", is_flag=True, help="Print the address and open no browser.")
@click.pass_obj
def login(door: Door, url: str | None, is_printed: bool) -> Reply:
    """Sign this shell in to the hub at URL: it shows a code, which you confirm in your browser.

    The token is kept for you alone, and `collegium logout` revokes it.
    """
    shell = door.the_shell
    named = url or shell.hub_named()
    if not named:
        raise usage("Which hub?", hint="Give its address: collegium login https://hub.example.edu")
    address = logins.hub_address(named)
    if warning := logins.open_warning(address):
        shell.say(f"Warning: {warning}")
    hub = shell.connect(address, "")
    try:
        begun = _begun(hub, address, logins.host_name(shell.environ))
        page = f"{begun.url}?code={quote(begun.user_code)}"
        is_open = not is_printed and door.open_page(page)
        how = "A browser opens" if is_open else f"Open {begun.url} in a browser"
        shell.say(f"{how}; type this code there if it is not shown: {begun.user_code}")
        token, until = _confirmed(hub, begun, shell)
    finally:
        hub.close()
    return _kept(shell, address, token, until)


def _begun(hub: HubClient, address: str, host: str) -> DeviceCode:
    try:
        begun = hub.begin_login(host)
    except Problem as problem:
        if problem.status in _REDIRECTS:
            problem.hint = f"It sends one elsewhere; perhaps https://{urlsplit(address).netloc} is meant."
        raise
    own = logins.hub_address(begun.url.removesuffix("/device"))
    if own != address:
        # Else some other hub could pass on the code of one you trust, and get the token you confirm.
        raise Problem(
            "other_hub", f"The hub at {address} says that it is {own}.",
            hint="Log in by the address that is its own, if you know it to be.", fix=f"login {own}",
            exit_code=INVALID,
        )  # fmt: skip
    return begun


def _confirmed(hub: HubClient, begun: DeviceCode, shell: Shell) -> tuple[str, datetime | None]:
    """Ask until the browser has answered; a hub that is away for a moment is asked again."""
    interval = float(begun.interval)
    silent = 0
    while True:
        shell.pause(interval)
        try:
            found = hub.poll_login(begun.device_code)
            silent = 0
        except NoAnswer:
            silent += 1
            if silent > 5:
                raise
            continue
        except Problem as problem:
            if problem.code != "slow_down":
                raise _refused(problem) from problem
            interval += _SLOWER_SECONDS
            continue
        if found.secret:
            return found.secret, found.expires
        interval = max(interval, float(found.interval))


def _refused(problem: Problem) -> Problem:
    if problem.code == "device_refused":
        return Problem(
            "login_refused", "The login was refused in the browser.", hint="Nothing was kept.", exit_code=NOT_ALLOWED
        )
    if problem.code == "device_code_over":
        return Problem(
            "login_expired", "Nobody confirmed the code in time.", hint="Nothing was kept; log in again when you can.",
            fix="login", exit_code=UNAVAILABLE,
        )  # fmt: skip
    return problem


def _kept(shell: Shell, address: str, token: str, until: datetime | None) -> Reply:
    place = logins.keep(config.folder(shell.environ), address, token)
    config.remember_hub(shell.environ, address)
    hub = shell.connect(address, token)
    try:
        me = hub.me()
    finally:
        hub.close()
    return Reply(
        sentence=f"This shell is signed in to {address} as {me.name} ({me.handle}).",
        fields=fields(until=moment(until) if until else None, kept_in=str(place)),
        next=(Next("choose a session", ("session", "list")), Next("sign out again", ("logout",))),
        data={"hub": address, "person": me},
    )


@click.command("logout", cls=Verb, in_shell_only=True)
@click.argument("url", required=False)
@click.option("--forget", "is_forgotten", is_flag=True, help="Only remove the file; the token stays good.")
@click.pass_obj
def logout(door: Door, url: str | None, is_forgotten: bool) -> Reply:
    """Sign this shell out of a hub: the token is revoked and its file removed."""
    shell = door.the_shell
    named = url or shell.hub_named()
    if not named:
        raise Problem("not_logged_in", "This shell is signed in to no hub.", exit_code=NOT_SIGNED_IN)
    address = logins.hub_address(named)
    folder = config.folder(shell.environ)
    token = _exposed_or_not(shell, address)
    if not token:
        raise Problem("not_logged_in", f"This shell is not signed in to {address}.", exit_code=NOT_SIGNED_IN)
    told = "The token is revoked and its file is gone."
    if is_forgotten:
        told = "The file is gone; the token stays good until you revoke it on your page."
    else:
        hub = shell.connect(address, token)
        try:
            hub.act("token_revoke", Ended, idempotency_key=door.key())
        except NoAnswer as silence:
            silence.hint = "The token was not revoked, and its file is kept. `logout --forget` removes the file alone."
            raise
        except Problem as problem:
            if problem.exit_code != NOT_SIGNED_IN:
                raise
            told = "The token was no good any more; its file is gone."
        finally:
            hub.close()
    logins.forget(folder, address)
    config.forget_hub(shell.environ, address)
    return Reply(sentence=f"Signed out of {address}. {told}", data={"hub": address})


def _exposed_or_not(shell: Shell, address: str) -> str:
    """The token kept for a hub, also one that others could read: it is revoked the sooner."""
    place = logins.token_file(config.folder(shell.environ), address)
    try:
        return place.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        return logins.recall(config.folder(shell.environ), address)
