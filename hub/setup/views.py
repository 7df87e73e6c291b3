"""What can be read about the set-up: how each step stands and what its test found; never a secret."""

from __future__ import annotations

from typing import Any, Literal, cast
from urllib.parse import quote

import msgspec
import sqlalchemy as sa

from hub.chats import installations
from hub.core import relaunch
from hub.core.clock import iso
from hub.core.context import Scope
from hub.core.settings import documented
from hub.jobs.clusters.tables import clusters
from hub.people import mail, step_up
from hub.people.tables import emails
from hub.setup import manifest, stored
from hub.setup.rules import STEPS, Check, StepName, StepRule, StepState, is_finished
from hub.setup.tables import hub_settings, setup_steps

Source = Literal["environment", "stored", "default"]


class SettingRow(msgspec.Struct, frozen=True):
    """A setting of a step; a secret one is shown as set or not set."""

    name: str
    value: str
    source: Source


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One step; `fields` is what its form may begin with."""

    name: StepName
    title: str
    text: str
    state: StepState
    checks: tuple[Check, ...]
    tested: str | None
    settings: tuple[SettingRow, ...]
    fields: dict[str, str]


class SetupView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole set-up."""

    steps: tuple[StepView, ...]
    finished: bool
    origin: str
    public_url_is_loopback: bool
    restart_needed: bool
    supervised: bool
    slack_app: str  # address that makes the Slack app; empty where the manifest is not there
    slack_by_socket: bool
    fresh: bool  # whether the reader may change something without another proof


def setup(scope: Scope) -> SetupView:
    """How setting this hub up stands; for operators."""
    scope.access.hub("hub:set_up")
    rows = {row.name: row for row in scope.execute(sa.select(setup_steps))}
    steps = tuple(_step(scope, step, rows.get(step.name)) for step in STEPS)
    settings = stored.overlaid(scope.house)
    shipped = manifest.text()
    filled = manifest.filled(shipped, settings.origin, by_socket=settings.is_loopback)
    return SetupView(
        steps=steps,
        finished=is_finished(step.state for step in steps),
        origin=settings.origin,
        public_url_is_loopback=settings.is_loopback,
        restart_needed=settings.origin != scope.settings.origin
        or (settings.tls_certificate, settings.tls_key) != (scope.settings.tls_certificate, scope.settings.tls_key),
        supervised=relaunch.running(scope.settings.data) is not None,
        slack_app=manifest.new_app(filled) if shipped else "",
        slack_by_socket=settings.is_loopback,
        fresh=step_up.is_fresh(scope),
    )


def is_fresh_hub(conn: sa.Connection) -> bool:
    """Whether nobody has begun to set this hub up."""
    return conn.execute(sa.select(setup_steps.c.name).limit(1)).first() is None


def unfinished(scope: Scope) -> tuple[int, int]:
    """How many steps failed, and how many wait."""
    states = {row.name: row.state for row in scope.execute(sa.select(setup_steps.c.name, setup_steps.c.state))}
    failed = sum(state == "failed" for state in states.values())
    return failed, sum(step.name not in states for step in STEPS)


def _step(scope: Scope, step: StepRule, row: sa.Row[Any] | None) -> StepView:
    return StepView(
        name=step.name,
        title=step.title,
        text=step.text,
        state=cast(StepState, "open" if row is None else row.state),
        checks=() if row is None else tuple(msgspec.convert(row.checks, list[Check])),
        tested=None if row is None or row.tested_at is None else iso(row.tested_at),
        settings=_settings(scope, step),
        fields=_FIELDS[step.name](scope),
    )


def _settings(scope: Scope, step: StepRule) -> tuple[SettingRow, ...]:
    secret = {name.removeprefix("COLLEGIUM_").lower() for name, _, _, is_secret in documented() if is_secret}
    names = set(scope.execute(sa.select(hub_settings.c.name)).scalars())
    given, now = scope.house.given_settings, stored.overlaid(scope.house)
    found = []
    for name in step.settings:
        value = str(getattr(now, name))
        source: Source = "environment" if given.is_given(name) else "stored" if name in names else "default"
        found.append(SettingRow(name, ("set" if value else "") if name in secret else value, source))
    return tuple(found)


def _public_url(scope: Scope) -> dict[str, str]:
    now = stored.overlaid(scope.house)
    return {"url": now.public_url, "tls_certificate": now.tls_certificate, "tls_key": now.tls_key}


def _owner(scope: Scope) -> dict[str, str]:
    address = scope.execute(
        sa.select(emails.c.email).where(emails.c.person == scope.actor.id).order_by(emails.c.verified_at.is_(None))
    ).scalar()
    return {"name": scope.actor.name, "handle": scope.actor.handle, "email": address or ""}


def _slack(scope: Scope) -> dict[str, str]:
    connected = [row for row in installations.listed(scope) if row.platform == "slack"]
    names = ", ".join(row.name or row.workspace for row in connected)
    return {"workspaces": names, "join": stored.overlaid(scope.house).join}


def _mail(scope: Scope) -> dict[str, str]:
    now = stored.overlaid(scope.house)
    if not now.smtp_url:
        return {"host": "", "port": "", "security": "starttls", "user": "", "sender": now.mail_from, "password": ""}
    at = mail.server(now.smtp_url)
    return {
        "host": at.host,
        "port": str(at.port),
        "security": "none" if at.tls == "plain" else at.tls,
        "user": at.user,
        "sender": now.mail_from,
        "password": "set" if at.password else "",
    }


def _backup(scope: Scope) -> dict[str, str]:
    return {"folder": stored.overlaid(scope.house).backup_to}


def _clusters(scope: Scope) -> dict[str, str]:
    names = scope.execute(sa.select(clusters.c.name).where(clusters.c.removed_at.is_(None)).order_by(clusters.c.name))
    return {"known": ", ".join(names.scalars())}


_FIELDS = {
    "public_url": _public_url, "owner": _owner, "slack": _slack, "mail": _mail, "backup": _backup,
    "clusters": _clusters,
}  # fmt: skip


def link(secret: str, origin: str) -> str:
    """The one-time address of the set-up page for a secret of a sign-in link."""
    return f"{origin}/setup/{quote(secret, safe='')}"
