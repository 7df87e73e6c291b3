"""`collegium setup`: the set-up in a terminal, by the same actions as the page, whether or not the hub runs.

On a terminal it asks; without one, `--step NAME --set key=value` says it all, and secrets come from a file or from
standard input, never from the command line. Who can read the data folder acts as the owner of the hub.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from bot.cards import Next, Reply, Row, Table
from bot.verbs.certifying import ways
from hub import app, perform
from hub.core import actions, relaunch
from hub.core.bus import MemoryBus
from hub.core.context import Actor
from hub.core.errors import Conflict, HubError, InvalidInput, Unavailable
from hub.core.house import House
from hub.core.settings import Settings
from hub.demo.run import proof_of_presence
from hub.people import accounts, embedded
from hub.setup import views
from hub.setup.rules import BY_NAME, STEPS, StepName
from hub.setup.views import SetupView, StepView
from hub.work import entry

TEST_SECONDS = 60.0
EXIT_FAILED = 1


class Asked(msgspec.Struct, frozen=True):
    """One field of a step: what is asked, whether it is hidden, what may be answered."""

    key: str
    label: str
    is_secret: bool = False
    choices: tuple[str, ...] = ()
    is_asked: bool = True  # else it is given by --set only


FIELDS: dict[str, tuple[Asked, ...]] = {
    "public_url": (
        Asked("url", "Address, as in https://hub.lab.org (empty: this machine alone)"),
        Asked("tls_certificate", "Certificate file (empty: a proxy ends TLS)"),
        Asked("tls_key", "Key file"),
    ),
    "owner": (
        Asked("name", "Your name"),
        Asked("handle", "Handle"),
        Asked("email", "E-mail"),
        Asked("password", "Password (empty: leave it)", True),
    ),
    "slack": (
        Asked("bot_token", "Bot token, xoxb-... (empty: leave it)", True),
        Asked("signing_secret", "Signing secret", True),
        Asked("app_token", "App-level token, xapp-... (empty: none)", True),
        Asked("channel", "Channel to say hello in (empty: none)"),
        Asked("join", "Who may join from there", choices=("invite", "workspace")),
    ),
    "mail": (
        Asked("host", "Mail server"),
        Asked("security", "Encryption", choices=("starttls", "tls", "none")),
        Asked("port", "Port (empty: the usual one)"),
        Asked("user", "User (empty: none)"),
        Asked("password", "Password (empty: leave it)", True),
        Asked("sender", "Mail comes from (empty: collegium@ the public host)"),
    ),
    "backup": (Asked("folder", "Folder for backups"),),
    "clusters": (
        Asked("name", "What the cluster is called here"),
        Asked("host", "Login node, as in login.cluster.example.org"),
        Asked("port", "Port of its SSH (empty: 22)"),
        Asked("price_per_core_hour", "Price of a core-hour (empty: not counted)"),
        Asked("fingerprint", "Its host key's fingerprint, after you compared it", is_asked=False),
    ),
}
SIGNS = {"open": "○", "testing": "…", "done": "✓", "failed": "✗", "skipped": "–"}

Say = Callable[[str], None]


def told(settings: Settings) -> Reply:
    """How the set-up stands."""
    with _opened(settings) as desk:
        return _reply(desk.look())


def one(
    settings: Settings,
    step: str,
    given: Mapping[str, str],
    secrets: Mapping[str, str],
    what: Literal["change", "test", "skip"],
) -> Reply:
    """Carry one step out as the words say."""
    name = _step_name(step)
    with _opened(settings) as desk:
        if what == "skip":
            desk.act({"action": "setup_skip", "step": name})
            return _step_reply(desk, name)
        if what == "test":
            desk.test(desk.act({"action": "setup_test", "step": name}))
            return _step_reply(desk, name)
        desk.change(name, {**_values(name, given, is_secret=False), **_values(name, secrets, is_secret=True)})
        return _step_reply(desk, name)


def asked(settings: Settings, step: str | None, say: Say) -> Reply:
    """Go through the steps, or through one, asking at the terminal."""
    names = [_step_name(step)] if step else [each.name for each in STEPS]
    with _opened(settings) as desk:
        for name in names:
            view = desk.step(name)
            say(f"\n{view.title}: {view.state}. {view.text}")
            _say_checks(view, say)
            if name == "slack" and (link := desk.look().slack_app):
                say(f"  Make the app here: {link}")
            if not step and not (choice := _choice(view)):
                continue
            elif not step and choice == "skip":
                desk.act({"action": "setup_skip", "step": name})
                continue
            try:
                _change(desk, name, _answers(view), say)
            except HubError as error:
                say(f"  {error.message}." + (f" {error.hint}." if error.hint else ""))
                continue
            _say_checks(desk.step(name), say)
        return _reply(desk.look())


def first_link(settings: Settings) -> str | None:
    """A one-time link to the set-up, as long as nobody has begun it."""
    house = app.build(settings)
    try:
        with house.db.read() as conn:
            actor = accounts.actor_of(conn, embedded.owner_id(conn)) if views.is_fresh_hub(conn) else None
        if actor is None:
            return None
        made = perform.perform(house, {"action": "signin_link"}, actor).result
        return views.link(made["secret"], house.settings.origin)
    finally:
        house.close()


def secret_from(source: str) -> str:
    """What stands in a file, or on standard input for `-`; without the line's end. Raises InvalidInput."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{source} cannot be read: {error}", code="file_unreadable") from None
    return text.rstrip("\r\n")


class _Desk:
    """The owner at work on the set-up."""

    def __init__(self, house: House, actor: Actor) -> None:
        self.house, self.actor = house, actor

    def look(self) -> SetupView:
        with self.house.scope(self.actor) as scope:
            return views.setup(scope)

    def step(self, name: StepName) -> StepView:
        return next(step for step in self.look().steps if step.name == name)

    def act(self, envelope: dict[str, Any]) -> Any:
        return perform.perform(self.house, actions.from_form(envelope), self.actor).result

    def change(self, name: StepName, values: dict[str, str]) -> None:
        """Store a step, what is not named staying as it is, and have it tested."""
        if name == "clusters":
            self.act({"action": "cluster_add", **values})
            self.test(self.act({"action": "setup_test", "step": name}))
            return
        password = values.pop("password", "") if name == "owner" else ""
        if password:
            self._prove({"action": "account_password", "password": password})
        fields = {**_kept(self.step(name), values), **values}
        self.test(self._prove({"action": "setup_change", name: {k: v for k, v in fields.items() if v != ""}}))
        with self.house.db.read() as conn:
            self.actor = accounts.actor_of(conn, self.actor.id) or self.actor

    def _prove(self, envelope: dict[str, Any]) -> Any:
        return self.act({**envelope, "code": proof_of_presence(self.house)})

    def test(self, made: dict[str, Any]) -> None:
        """Run the test, unless a worker of the running hub has it; wait for what it finds."""
        by_hub = made["restart"] == "by_itself"
        deadline = time.monotonic() + TEST_SECONDS
        while self.step(made["step"]).state == "testing":
            if time.monotonic() > deadline:
                raise Unavailable("the test did not end in time", code="test_running", hint="collegium setup shows it")
            if by_hub or not entry.carry_out(self.house, made["test"]):
                time.sleep(0.2)


@contextmanager
def _opened(settings: Settings) -> Iterator[_Desk]:
    is_up = relaunch.running(settings.data) is not None
    if not is_up:
        app.prepare(settings).close()
    # Without a bus nobody hears of it; whoever starts later reads it from the database.
    house = app.build(settings, bus=None if is_up or settings.redis_url else MemoryBus())
    try:
        with house.db.read() as conn:
            actor = accounts.actor_of(conn, embedded.owner_id(conn))
        if actor is None:
            raise Unavailable("the owner of this hub is disabled", code="owner_disabled")
        yield _Desk(house, actor)
    finally:
        house.close()


def _step_name(step: str) -> StepName:
    if step not in BY_NAME:
        raise InvalidInput(f"there is no step {step!r}", hint=f"steps: {', '.join(BY_NAME)}", path="--step")
    return BY_NAME[step].name


def _values(name: StepName, given: Mapping[str, str], *, is_secret: bool) -> dict[str, str]:
    """The fields as given, each where it belongs. Raises InvalidInput."""
    known = {field.key: field for field in FIELDS[name]}
    for key, value in given.items():
        field = known.get(key)
        if field is None:
            raise InvalidInput(f"{name} has no {key!r}", hint=f"it has: {', '.join(known)}", path=f"--set {key}")
        if field.is_secret and not is_secret:
            raise InvalidInput(
                f"{key} is a secret, and others can read a command line",
                code="secret_on_command_line",
                path=f"--set {key}",
                hint=f"write --secret {key}=FILE, or --secret {key}=- for standard input",
            )
        if field.choices and value not in field.choices:
            raise InvalidInput(f"{key} is one of {', '.join(field.choices)}", path=f"--set {key}")
    return dict(given)


def _kept(step: StepView, values: Mapping[str, str]) -> dict[str, str]:
    """What the step stores already and nobody named now."""
    if step.name == "public_url" and values.get("url") == "":
        return {}  # back to this machine alone, certificate and all
    fixed = {row.name for row in step.settings if row.source == "environment"}
    if step.name == "public_url":
        return {k: v for k, v in step.fields.items() if (k if k != "url" else "public_url") not in fixed}
    plain = {field.key for field in FIELDS[step.name] if not field.is_secret}
    return {k: v for k, v in step.fields.items() if k in plain} if step.name != "owner" else {}


def _choice(view: StepView) -> str:
    words = click.prompt(
        "  Do it now, skip it, or leave it for later",
        type=click.Choice(["now", "skip", "later"]),
        default="later" if view.state in {"done", "skipped"} else "now",
    )
    return "" if words == "later" else str(words)


def _change(desk: _Desk, name: StepName, answers: dict[str, str], say: Say) -> None:
    """As `_Desk.change`; the host key of a cluster is shown first, and trusted once somebody compared it."""
    try:
        desk.change(name, answers)
    except Conflict as shown:
        if shown.code != "compare_fingerprint":
            raise
        say(f"  {shown.message}.")
        if not click.confirm("  Compare it with what the cluster's own pages say. Is it the same", default=False):
            raise InvalidInput("then nothing is stored; somebody may stand between") from None
        desk.change(name, {**answers, "fingerprint": shown.errors[0]})
    if name == "clusters":
        say("  Everybody signs up there in the first of these ways that the site allows:")
        for way in ways(answers["name"]):
            say(f"  {way}")


def _answers(view: StepView) -> dict[str, str]:
    answers = {}
    for field in (each for each in FIELDS[view.name] if each.is_asked):
        kind = click.Choice(list(field.choices)) if field.choices else str
        default = "" if field.is_secret else view.fields.get(field.key, "")
        answers[field.key] = str(
            click.prompt(
                f"  {field.label}", default=default, type=kind, hide_input=field.is_secret,
                show_default=bool(default) and not field.is_secret,
            )
        ).strip()  # fmt: skip
    return {key: value for key, value in answers.items() if value or key == "url"}


def _say_checks(view: StepView, say: Say) -> None:
    for check in view.checks:
        say(f"  {'✓' if check.holds else '✗'} {check.name}: {check.words} {check.hint}".rstrip())


def _step_reply(desk: _Desk, name: StepName) -> Reply:
    found = desk.look()
    step = next(each for each in found.steps if each.name == name)
    rows = tuple(
        Row(
            ("✓" if check.holds else "✗", check.name, f"{check.words} {check.hint}".strip()),
            f"{check.name}: {'holds' if check.holds else 'fails'}. {check.words} {check.hint}".strip(),
        )
        for check in step.checks
    )
    restart = ""
    if found.restart_needed and not found.supervised and relaunch.running(desk.house.settings.data) is None:
        restart = " It counts from the next start of the hub."
    return Reply(
        sentence=f"{step.title}: {step.state}.{restart}",
        table=Table(("", "checked", "found"), rows) if rows else None,
        exit_code=EXIT_FAILED if step.state == "failed" else 0,
        data=step,
    )


def _reply(found: SetupView) -> Reply:
    rows = tuple(
        Row(
            (SIGNS[step.state], step.name, step.state, " ".join(c.words for c in step.checks if not c.holds)),
            f"{step.title}: {step.state}." + "".join(f" {c.words}" for c in step.checks if not c.holds),
        )
        for step in found.steps
    )
    return Reply(
        sentence="The hub is set up." if found.finished else "Some steps of the set-up wait.",
        table=Table(("", "step", "state", "what is wrong"), rows),
        next=(Next("do one", ("setup", "--step", "NAME")), Next("on a page", url=f"{found.origin}/setup")),
        data=found,
    )
