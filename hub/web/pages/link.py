"""The landing page of an expiring link: what it opens, before anything is spent.

Of a link with a passphrase the page says only that there is one: no title, no role, no end.
"""

from __future__ import annotations

from urllib.parse import quote

from hub.core import limits
from hub.core.context import Scope
from hub.core.errors import HubError
from hub.sessions import links
from hub.web.pages import frames, render, words
from hub.web.pages.faces import Frame

_MAY = {"read": "look around", "read_write": "look around and write"}
_FINE = "Opening it counts as one use. Rights end the moment the link ends or is taken back."


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /l/{token}"""
    return landing(scope, params["token"])


def landing(scope: Scope, token: str, refusal: HubError | None = None) -> str:
    """The page; with what was wrong with the passphrase that was just tried."""
    found = links.landing(scope, token)
    post = f"/l/{quote(token, safe='')}"
    if not found.valid:
        return _page(
            scope,
            "This link opens nothing",
            "It has ended, was taken back or is used up. Whoever sent it can make a fresh one.",
        )
    if found.asks:
        return _page(
            scope,
            "This link asks for a passphrase",
            "Whoever sent it knows it. What the link opens is told when the passphrase is right.",
            post=post,
            button="Open it",
            fine=f"A wrong one spends no use; after {words.number(limits.LINK_TRIES)} the link rests a while. {_FINE}",
            asks=True,
            refusal=refusal,
        )
    until = words.moment(frames.instant(found.expires))
    return _page(
        scope,
        f"You are invited to “{found.title}”",
        f"With this link you may {_MAY.get(found.role, found.role)}, until {until} UTC.",
        post=post,
        button="Open it",
        fine=_FINE,
    )


def _page(
    scope: Scope,
    title: str,
    text: str,
    *,
    post: str = "",
    button: str = "",
    fine: str = "",
    asks: bool = False,
    refusal: HubError | None = None,
) -> str:
    return render.html(
        "link.html",
        Frame(title=title, viewer=frames.viewer(scope)),
        now=scope.now,
        title=title,
        text=text,
        post=post,
        button=button,
        fine=fine,
        asks=asks,
        most=limits.PASSPHRASE_CHARACTERS,
        wrong="" if refusal is None else f"{words.sentence(refusal.message)}.",
        wrong_hint="" if refusal is None else f"{words.sentence(refusal.hint)}.",
    )
