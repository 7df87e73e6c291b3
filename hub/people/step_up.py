"""Proof, given just now, that the person is here: a one-time code, or a sign-in that is fresh or was proved afresh.

A token that was stolen proves nothing of the kind; that is why signing by name, registering a key and changing what
somebody signs in with ask for it.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

from hub.core import limits
from hub.core.context import Actor, Context, Scope
from hub.core.errors import NotAllowed
from hub.people import once

Proof = Literal["code", "sign_in"]


def prove(ctx: Context, code: str | None, what: str) -> Proof:
    """How the person proved to be here. Raises NotAllowed with the way to do it, NotFound for a code no longer good."""
    if code is not None:
        once.consume(ctx, code, kind="step_up", person=ctx.actor.id)
        return "code"
    if is_fresh(ctx):
        return "sign_in"
    raise required(ctx, what)


def is_fresh(scope: Scope) -> bool:
    """Whether the actor signed in, or proved themselves to this sign-in, within the last minutes."""
    since = scope.actor.signed_in_at
    # A service that acts for somebody has seen no sign-in of theirs, whatever it says.
    if since is None or scope.actor.sign_in_id is None or scope.actor.by_service is not None:
        return False
    return scope.now - since <= dt.timedelta(seconds=limits.STEP_UP_SECONDS)


def required(scope: Scope, what: str) -> NotAllowed:
    """The one answer to whoever must first prove to be here."""
    url = f"{scope.settings.origin}/me/signing"
    return NotAllowed(
        f"{what} needs a fresh proof that it is you; nothing was stored",
        code="step_up_required",
        hint=f"open {url} and prove it there; that lasts for {limits.STEP_UP_SECONDS // 60} minutes",
        url=url,
    )


def credential(actor: Actor) -> str:
    """What the actor came with, by id: a window opened with one credential serves no other."""
    if actor.by_service is not None:
        return f"service:{actor.by_service}"
    if actor.token_id is not None:
        return f"token:{actor.token_id}"
    if actor.sign_in_id is not None:
        return f"sign_in:{actor.sign_in_id}"
    return "house"
