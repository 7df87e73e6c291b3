"""The reader's own page: signing keys and windows, API tokens, signing out."""

from __future__ import annotations

import msgspec

from hub.core import limits
from hub.core.context import Scope
from hub.core.errors import NotSignedIn
from hub.notebook import keys, windows
from hub.notebook.keys import KeyView
from hub.people import step_up
from hub.people import views as people
from hub.people.views import TokenRow
from hub.web.pages import frames, render, security, words
from hub.web.pages.faces import Act, State

_REVOKED = State("Revoked", "stopped")
_HOLDER = {"hub": "Held by this hub", "client": "Held by you"}


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A key, a window or a token in its list."""

    title: str
    text: str
    live: bool
    act: Act | None = None
    state: State = _REVOKED


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /me and /me/signing"""
    if scope.actor.kind != "person":
        raise NotSignedIn("this page is about you, and the hub does not know you yet")
    own, tokens, opened = keys.mine(scope), people.my_tokens(scope), windows.mine(scope)
    usable = [key.name for key in own if key.custody == "hub" and key.revoked is None]
    live = sum(not token.revoked for token in tokens)
    return render.html(
        "me.html",
        frames.own(scope, scope.actor.name, "Keys and tokens"),
        now=scope.now,
        account=f"@{scope.actor.handle}, {scope.actor.hub_role} of this hub",
        operates=scope.actor.hub_role == "operator",
        says=f"You have {words.count(len(usable), 'signing key')} and {words.count(live, 'token')}.",
        keys=[_key(key) for key in own],
        windows=[
            Held(
                title=window.name,
                text=f"Ends {words.until(frames.instant(window.expires), scope.now)}",
                live=True,
                act=Act("Close", action="signing_window_close", fields={"key": window.name}, next="/me/signing"),
            )
            for window in opened
        ],
        usable=[name for name in usable if name not in {window.name for window in opened}],
        fresh=step_up.is_fresh(scope),
        proof=security.proof(scope, "/me/signing", params),
        minutes=limits.SIGNING_WINDOW_SECONDS // 60,
        tokens=[_token(token) for token in tokens],
    )


def _key(key: KeyView) -> Held:
    made = words.moment(frames.instant(key.created))
    return Held(
        title=key.name,
        text=f"{_HOLDER.get(key.custody, key.custody)}, {key.algorithm}, made {made} UTC; {key.fingerprint}",
        live=key.revoked is None,
        act=Act("Revoke", action="key_revoke", fields={"key": key.key}, next="/me", look="danger"),
    )


def _token(token: TokenRow) -> Held:
    made = words.moment(frames.instant(token.created))
    rights = "all your rights" if token.scopes is None else words.listing(token.scopes)
    until = "" if token.expires is None else f", until {words.moment(frames.instant(token.expires))} UTC"
    return Held(
        title=token.name,
        text=f"With {rights}; made {made} UTC{until}",
        live=not token.revoked,
        act=Act("Revoke", action="token_revoke", fields={"token": token.token}, next="/me", look="danger"),
    )
