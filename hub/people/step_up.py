"""Proof, given just now, that the person is here: a one-time code, or a sign-in that is fresh or was proved afresh.

A token that was stolen proves nothing of the kind; that is why signing by name, registering a key and changing what
somebody signs in with ask for it.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Actor, Context, Scope
from hub.core.errors import NotAllowed
from hub.core.ids import new_id
from hub.people import once

Proof = Literal["code", "sign_in"]


class MakeCode(Action, frozen=True, tag="step_up_code"):
    """Make a one-time code that proves elsewhere (in a shell, in chat) that you are here, freshly proved yourself."""


class CodeView(msgspec.Struct, frozen=True):
    """A one-time code, shown this once."""

    proof: str
    secret: str
    expires: str


@handles(MakeCode, needs="account:secure")
def make_code(act: MakeCode, ctx: Context) -> CodeView:
    """Only a fresh sign-in makes one: a code must not make the next."""
    ctx.access.hub("account:secure")
    if not is_fresh(ctx):
        raise required(ctx, "making a one-time code")
    proof = new_id("prf")
    secret = ctx.reveal("secret", "", "step_up", proof)
    expires = ctx.now + dt.timedelta(seconds=limits.STEP_UP_SECONDS)
    once.issue(ctx.tx, secret, "step_up", person=ctx.actor.id, expires_at=expires)
    ctx.about("person", ctx.actor.id, proof=proof)
    return CodeView(proof, secret, iso(expires))


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
