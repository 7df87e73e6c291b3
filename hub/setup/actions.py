"""What can be done to set a hub up: store what a step asks for, test it, skip it; in any order, as often as one likes.

Storing needs a fresh proof that it is the operator, because whoever can point mail or the public address elsewhere can
take accounts over. A test talks to the network, so it is a step of its own and never part of the transaction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits, relaunch, steps, tls
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotAllowed
from hub.people import accounts, mail, step_up
from hub.people import rules as people_rules
from hub.people.tables import emails, persons
from hub.setup import rules, stored, testing
from hub.setup.probes.slack import PASTED, Pasted
from hub.setup.rules import NEEDS_RESTART, MailServer, Security, StepName

Code = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=1000)]
Token = Annotated[str, Meta(max_length=limits.CHAT_TOKEN_CHARACTERS, pattern=r"^[!-~]*$")]


class StepChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A step after it was changed: what is stored anew, the test that runs now, what else must happen."""

    step: StepName
    changed: tuple[str, ...]
    test: str
    restart: Literal["none", "by_itself", "by_hand"] = "none"
    origin: str = ""


class PublicUrl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address, and the files of the certificate served there (none where a proxy ends TLS)."""

    url: Text = ""
    tls_certificate: Text = ""
    tls_key: Text = ""


class ChangePublicUrl(Action, frozen=True, tag="setup_change"):
    """Set the public address of this hub and the certificate it shows; empty goes back to this machine alone."""

    public_url: PublicUrl
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


@handles(ChangePublicUrl, needs="hub:set_up", when="public_url")
def change_public_url(act: ChangePublicUrl, ctx: Context) -> StepChanged:
    """What cannot be served is refused here, before anything is restarted for it."""
    _begin(ctx, act.code)
    given = act.public_url
    url = rules.checked_public_url(given.url) if given.url.strip() else ""
    chain, key = given.tls_certificate.strip(), given.tls_key.strip()
    if bool(chain) != bool(key):
        raise InvalidInput(
            "a certificate and its key go together",
            code="half_a_certificate",
            path="$.params.public_url.tls_key" if chain else "$.params.public_url.tls_certificate",
        )
    if chain:
        served = url or ctx.house.given_settings.public_url  # what the environment sets is not sent along
        if not served.startswith("https://"):
            raise InvalidInput(
                "a certificate needs an address that begins with https://", code="bad_url",
                path="$.params.public_url.url",
            )  # fmt: skip
        for name in (chain, key):
            if not Path(name).is_absolute():
                raise InvalidInput(f"{name[:200]!r} does not begin with /", code="bad_certificate_path")
        tls.checked(Path(chain), Path(key), tls.host_as_named(urlsplit(served).hostname or ""), ctx.now)
    return _store(ctx, "public_url", public_url=url, tls_certificate=chain, tls_key=key)


class Owner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who you are; what is left out stays."""

    name: Text | None = None
    handle: Annotated[str, Meta(max_length=64)] | None = None
    email: Annotated[str, Meta(max_length=254)] | None = None


class ChangeOwner(Action, frozen=True, tag="setup_change"):
    """Say who operates this hub: your own name, handle and address."""

    owner: Owner
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


@handles(ChangeOwner, needs="hub:set_up", when="owner")
def change_owner(act: ChangeOwner, ctx: Context) -> StepChanged:
    """The account made at first start is called after the machine's user; here it gets a person's name."""
    _begin(ctx, act.code)
    if ctx.actor.kind != "person":
        raise NotAllowed("this step is about whoever carries it out; do it as a person")
    changed = []
    if act.owner.name is not None:
        _set_person(ctx, name=people_rules.checked_name(act.owner.name))
        changed.append("name")
    if act.owner.handle is not None:
        handle = people_rules.checked_handle(act.owner.handle.strip().removeprefix("@"))
        if accounts.by_handle(ctx.conn, handle) not in {None, ctx.actor.id}:
            raise Conflict(f"the handle {handle!r} is taken", code="handle_taken", path="$.params.owner.handle")
        _set_person(ctx, handle=handle)
        changed.append("handle")
    if act.owner.email is not None and _set_email(ctx, people_rules.normal_email(act.owner.email)):
        changed.append("email")
    return _changed(ctx, "owner", changed)


def _set_person(ctx: Context, **values: str) -> None:
    ctx.execute(sa.update(persons).where(persons.c.id == ctx.actor.id).values(**values))


def _set_email(ctx: Context, address: str) -> bool:
    """Add an address, in place of those that were typed before and never verified. Raises Conflict."""
    taken = ctx.execute(sa.select(emails.c.person).where(emails.c.email == address)).scalar()
    if taken not in {None, ctx.actor.id}:
        raise Conflict("an account with this e-mail exists", code="email_taken", path="$.params.owner.email")
    if taken is not None:
        return False
    ctx.execute(sa.delete(emails).where(emails.c.person == ctx.actor.id, emails.c.verified_at.is_(None)))
    ctx.execute(sa.insert(emails).values(email=address, person=ctx.actor.id))
    return True


class Slack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tokens of an app that was installed to a workspace; empty ones leave those that are stored."""

    bot_token: Token = ""
    signing_secret: Token = ""
    app_token: Token = ""
    channel: Annotated[str, Meta(max_length=100)] = ""
    join: Literal["invite", "workspace"] = "invite"


class ChangeSlack(Action, frozen=True, tag="setup_change"):
    """Connect a Slack workspace: its tokens are tried, stored when Slack takes them, and a hello is posted."""

    slack: Slack
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code", "slack.bot_token", "slack.signing_secret", "slack.app_token")


@handles(ChangeSlack, needs="hub:set_up", when="slack")
def change_slack(act: ChangeSlack, ctx: Context) -> StepChanged:
    """The tokens wait, sealed, until Slack has said whose they are."""
    _begin(ctx, act.code)
    given = act.slack
    if given.bot_token and not given.bot_token.startswith("xoxb-"):
        raise _bad_token("bot_token", "a bot token begins with xoxb-", "OAuth & Permissions, Bot User OAuth Token")
    if given.app_token and not given.app_token.startswith("xapp-"):
        raise _bad_token("app_token", "an app-level token begins with xapp-", "Basic Information, App-Level Tokens")
    if bool(given.bot_token) != bool(given.signing_secret):
        missing = "signing_secret" if given.bot_token else "bot_token"
        raise _bad_token(
            missing, "the bot token and the signing secret go together", "Basic Information, App Credentials"
        )
    if given.app_token and not given.bot_token:
        raise _bad_token("bot_token", "an app-level token goes with the bot token", "paste all tokens of the app again")
    pasted = Pasted(given.bot_token, given.signing_secret, given.app_token or None, given.channel.strip())
    stored.put_aside(ctx, PASTED, msgspec.json.encode(pasted).decode())
    return _store(ctx, "slack", join="" if given.join == "invite" else given.join)


def _bad_token(field: str, message: str, where: str) -> InvalidInput:
    return InvalidInput(message, code="bad_token", path=f"$.params.slack.{field}", hint=f"it is under: {where}")


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mail server; an empty password leaves the one that is stored for the same server and user."""

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    security: Security = "starttls"
    user: Annotated[str, Meta(max_length=254)] = ""
    password: Annotated[str, Meta(max_length=1000)] = ""
    sender: Annotated[str, Meta(max_length=254)] = ""


class ChangeMail(Action, frozen=True, tag="setup_change"):
    """Name the mail server of this hub and the address mail comes from; a test mail goes to you."""

    mail: Mail
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code", "mail.password")


@handles(ChangeMail, needs="hub:set_up", when="mail")
def change_mail(act: ChangeMail, ctx: Context) -> StepChanged:
    """Stored as one URL, as the setting has it."""
    _begin(ctx, act.code)
    given = act.mail
    password = given.password
    if not password and given.user and ctx.settings.smtp_url:
        before = mail.server(ctx.settings.smtp_url)
        if (before.host, before.user) == (given.host.strip(), given.user):
            password = before.password
    url = rules.smtp_url(MailServer(given.host.strip(), given.port, given.security, given.user, password))
    sender = people_rules.normal_email(given.sender) if given.sender else ""
    return _store(ctx, "mail", smtp_url=url, mail_from=sender)


class Backup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A folder on the hub's machine."""

    folder: Annotated[str, Meta(min_length=1, max_length=1000)]


class ChangeBackup(Action, frozen=True, tag="setup_change"):
    """Name the folder that backups go to; it is tried with a tiny one."""

    backup: Backup
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


@handles(ChangeBackup, needs="hub:set_up", when="backup")
def change_backup(act: ChangeBackup, ctx: Context) -> StepChanged:
    """Not inside what is backed up."""
    _begin(ctx, act.code)
    place = rules.checked_backup_place(act.backup.folder, ctx.settings.data.absolute())
    return _store(ctx, "backup", backup_to=place)


class TryStep(Action, frozen=True, tag="setup_test"):
    """Test a step of the set-up again, with what is stored."""

    step: StepName


@handles(TryStep, needs="hub:set_up")
def try_step(act: TryStep, ctx: Context) -> StepChanged:
    """As after a change, without one."""
    ctx.access.hub("hub:set_up")
    return _changed(ctx, act.step, [])


class SkipStep(Action, frozen=True, tag="setup_skip"):
    """Leave a step of the set-up out; it can be done at any later time."""

    step: StepName


class Skipped(msgspec.Struct, frozen=True):
    """The step that was left out."""

    step: StepName


@handles(SkipStep, needs="hub:set_up")
def skip_step(act: SkipStep, ctx: Context) -> Skipped:
    """What is stored stays stored; only that the step still waits is forgotten."""
    ctx.access.hub("hub:set_up")
    steps.cancel(ctx.tx, testing.STEP, act.step, ctx.now)
    testing.mark(ctx, act.step, "skipped")
    ctx.about("setup", act.step)
    return Skipped(act.step)


def _begin(ctx: Context, code: str | None) -> None:
    ctx.access.hub("hub:set_up")
    step_up.prove(ctx, code, "setting the hub up")


def _store(ctx: Context, step: StepName, **values: str) -> StepChanged:
    """Keep settings, unless they are given from outside: those could be stored, but never counted."""
    given = ctx.house.given_settings
    fixed = sorted(n for n, value in values.items() if given.is_given(n) and value not in {"", getattr(given, n)})
    if fixed:
        names = ", ".join(f"COLLEGIUM_{name.upper()}" for name in fixed)
        raise Conflict(
            f"set by the environment: {names}",
            code="set_by_environment",
            hint="change it where it is set, or take it away there; then set it here",
        )
    return _changed(ctx, step, stored.keep(ctx, **{k: v for k, v in values.items() if not given.is_given(k)}))


def _changed(ctx: Context, step: StepName, changed: list[str]) -> StepChanged:
    restart: Literal["none", "by_itself", "by_hand"] = "none"
    if NEEDS_RESTART.intersection(changed):
        restart = "by_itself" if relaunch.running(ctx.settings.data) is not None else "by_hand"
    test = testing.begin(ctx, step, later=restart == "by_itself")
    ctx.about("setup", step, changed=changed)
    if changed:
        ctx.publish(testing.CHANGED, {})
    if restart == "by_itself":
        ctx.after_commit(lambda: relaunch.ask(ctx.settings))
    origin = stored.overlaid_in(ctx).origin
    return StepChanged(step=step, changed=tuple(changed), test=test, restart=restart, origin=origin)
