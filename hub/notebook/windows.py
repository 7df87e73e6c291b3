"""Signing windows: for a few minutes after a step-up, the hub may use one key for one person through one credential."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context, Scope
from hub.core.errors import Conflict, InvalidInput, NotFound
from hub.core.ids import new_id
from hub.notebook import keys
from hub.notebook.keys import Code, Name
from hub.notebook.tables import signing_keys, signing_windows
from hub.people import step_up


class WindowView(msgspec.Struct, frozen=True, kw_only=True):
    """An open signing window."""

    window: str
    key: str
    name: str
    opened: str
    expires: str


class OpenWindow(Action, frozen=True, tag="signing_window"):
    """Let the hub sign with one of your hub-held keys for at most ten minutes, through this credential only."""

    key: Name | None = None
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


class CloseWindow(Action, frozen=True, tag="signing_window_close"):
    """Close your open signing windows before their time."""

    key: Name | None = None


class Closed(msgspec.Struct, frozen=True):
    """How many windows were closed."""

    closed: int


@handles(OpenWindow, needs="key:use")
def open_window(act: OpenWindow, ctx: Context) -> WindowView:
    """Bind a window to person, credential and key, once the person has proved to be here."""
    ctx.access.hub("key:use")
    row = _chosen(ctx, act.key)
    proof = step_up.prove(ctx, act.code, "opening a signing window")
    window_id = new_id("win")
    expires_at = ctx.now + dt.timedelta(seconds=limits.SIGNING_WINDOW_SECONDS)
    ctx.execute(
        sa.insert(signing_windows).values(
            id=window_id,
            person=ctx.actor.id,
            credential=step_up.credential(ctx.actor),
            key=row.id,
            proof=proof,
            opened_at=ctx.now,
            expires_at=expires_at,
        )
    )
    ctx.about("window", window_id, key=row.id, credential=step_up.credential(ctx.actor), proof=proof)
    return WindowView(window=window_id, key=row.id, name=row.name, opened=iso(ctx.now), expires=iso(expires_at))


@handles(CloseWindow, needs="key:use")
def close_window(act: CloseWindow, ctx: Context) -> Closed:
    """Close windows opened through any of the person's credentials."""
    ctx.access.hub("key:use")
    open_now = [*_open(ctx), signing_windows.c.person == ctx.actor.id]
    if act.key is not None:
        open_now.append(signing_windows.c.key == keys.named(ctx, act.key, "$.params.key").id)
    rows = ctx.execute(sa.select(signing_windows.c.id).where(*open_now)).scalars().all()
    if not rows:
        raise NotFound("no signing window of yours is open", code="window_not_found")
    ctx.execute(sa.update(signing_windows).where(signing_windows.c.id.in_(rows)).values(closed_at=ctx.now))
    for window_id in rows:
        ctx.about("window", window_id)
    return Closed(len(rows))


def require_open(ctx: Context, key_id: str) -> str:
    """The id of the window in which this actor may use this key now. Raises NotAllowed: nothing is stored."""
    window: str | None = ctx.execute(
        sa.select(signing_windows.c.id).where(
            *_open(ctx),
            signing_windows.c.person == ctx.actor.id,
            signing_windows.c.credential == step_up.credential(ctx.actor),
            signing_windows.c.key == key_id,
        )
    ).scalar()
    if window is None:
        raise step_up.required(ctx, "signing by a key's name")
    return window


def mine(scope: Scope) -> list[WindowView]:
    """The actor's open windows."""
    rows = scope.execute(
        sa.select(signing_windows, signing_keys.c.name)
        .join(signing_keys, signing_keys.c.id == signing_windows.c.key)
        .where(*_open(scope), signing_windows.c.person == scope.actor.id)
        .order_by(signing_windows.c.expires_at)
    )
    return [
        WindowView(window=row.id, key=row.key, name=row.name, opened=iso(row.opened_at), expires=iso(row.expires_at))
        for row in rows
    ]


def _open(scope: Scope) -> list[sa.ColumnElement[bool]]:
    return [signing_windows.c.closed_at.is_(None), signing_windows.c.expires_at > scope.now]


def _chosen(ctx: Context, name: str | None) -> Any:
    if name is not None:
        row = keys.named(ctx, name, "$.params.key")
    else:
        rows = ctx.execute(
            sa.select(signing_keys).where(
                signing_keys.c.person == ctx.actor.id,
                signing_keys.c.custody == "hub",
                signing_keys.c.revoked_at.is_(None),
            )
        ).all()
        if len(rows) != 1:
            raise InvalidInput(
                "say which key the window is for" if rows else "you have no hub-held key",
                code="which_key",
                path="$.params.key",
                errors=sorted(row.name for row in rows),
                hint="`key_create` makes one" if not rows else "",
            )
        row = rows[0]
    if row.custody != "hub":
        raise InvalidInput("you hold this key yourself; it needs no window", code="not_hub_held", path="$.params.key")
    if row.revoked_at is not None:
        raise Conflict("this key was revoked", code="key_revoked", path="$.params.key")
    return row
