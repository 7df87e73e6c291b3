"""Connected workspaces and their tokens, which are sealed in the database and opened for the bot alone."""

from __future__ import annotations

import datetime as dt

import msgspec
import sqlalchemy as sa

from hub.chats.tables import chat_installations
from hub.core.clock import iso
from hub.core.context import Context, Scope
from hub.core.database import Tx
from hub.core.errors import NotFound
from hub.core.keys import seal, unseal

DOMAIN = "chats"


class Tokens(msgspec.Struct, frozen=True):
    """What a workspace gives a bot to prove itself with, and the secret its own requests are signed by."""

    bot_token: str
    signing_secret: str
    app_token: str | None = None


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """A connected workspace as the bot needs it."""

    platform: str
    workspace: str
    name: str
    bot_user: str
    bot_token: str
    signing_secret: str
    app_token: str | None


class InstallationRow(msgspec.Struct, frozen=True, kw_only=True):
    """A connected workspace as an operator sees it; `broken` says why its tokens are not taken any more."""

    platform: str
    workspace: str
    name: str
    installed: str
    broken: str | None


def _one(platform: str, workspace: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (chat_installations.c.platform == platform, chat_installations.c.workspace == workspace)


def _about(platform: str) -> str:
    # Not the workspace: it may become known only after the tokens were sealed.
    return f"chat tokens:{platform}"


def keep(ctx: Context, platform: str, workspace: str, name: str, bot_user: str, tokens: Tokens) -> None:
    """Record an installation; the same workspace again replaces its tokens and is whole again."""
    sealed = seal(ctx.house.keys.domain_in(ctx.tx, DOMAIN), msgspec.json.encode(tokens), _about(platform))
    ctx.execute(sa.delete(chat_installations).where(*_one(platform, workspace)))
    ctx.execute(
        sa.insert(chat_installations).values(
            platform=platform,
            workspace=workspace,
            name=name,
            bot_user=bot_user,
            sealed=sealed,
            installed_by=ctx.actor.id,
            installed_at=ctx.now,
        )
    )


def drop(ctx: Context, platform: str, workspace: str) -> str:
    """Forget an installation; returns its name. Raises NotFound."""
    row = ctx.execute(
        sa.delete(chat_installations).where(*_one(platform, workspace)).returning(chat_installations.c.name)
    ).first()
    if row is None:
        raise NotFound("no such workspace is connected", code="installation_not_found", path="$.params.workspace")
    return str(row.name)


def opened(scope: Scope) -> list[Installation]:
    """Every installation with its tokens; for the bot."""
    rows = scope.execute(sa.select(chat_installations).order_by(chat_installations.c.installed_at)).all()
    if not rows:
        return []
    key = scope.house.keys.domain(DOMAIN)
    found = []
    for row in rows:
        tokens = msgspec.json.decode(unseal(key, row.sealed, _about(row.platform)), type=Tokens)
        found.append(
            Installation(
                platform=row.platform,
                workspace=row.workspace,
                name=row.name,
                bot_user=row.bot_user,
                bot_token=tokens.bot_token,
                signing_secret=tokens.signing_secret,
                app_token=tokens.app_token,
            )
        )
    return found


def listed(scope: Scope) -> list[InstallationRow]:
    """The connected workspaces and whether they work; for operators and `doctor`."""
    scope.access.hub("chat:install")
    return [
        InstallationRow(
            platform=row.platform,
            workspace=row.workspace,
            name=row.name,
            installed=iso(row.installed_at),
            broken=row.broken_why,
        )
        for row in scope.execute(sa.select(chat_installations).order_by(chat_installations.c.installed_at))
    ]


def introduce(tx: Tx, platform: str, known_as: str, workspace: str, name: str, bot_user: str) -> bool:
    """The platform said who a token speaks for: the row gets its workspace's id. Whether such a row was there."""
    if known_as != workspace:
        tx.execute(sa.delete(chat_installations).where(*_one(platform, workspace)))
    changed = tx.execute(
        sa.update(chat_installations)
        .where(*_one(platform, known_as))
        .values(workspace=workspace, name=name, bot_user=bot_user)
    )
    return changed.rowcount == 1


def mark(tx: Tx, platform: str, workspace: str, why: str | None, now: dt.datetime) -> bool:
    """Write down that the platform does not take the tokens any more (or, without a `why`, that it does again)."""
    changed = tx.execute(
        sa.update(chat_installations)
        .where(*_one(platform, workspace))
        .values(broken_at=None if why is None else now, broken_why=why)
    )
    return changed.rowcount == 1
