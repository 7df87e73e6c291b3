"""What an action answered that is shown only once: the address of a link, the secret of a token.

The form door sends everybody on to `next` after an action, except when there is a secret to hand over; then this page
stands between, and is never kept.
"""

from __future__ import annotations

from typing import Any

from hub.core.context import Scope
from hub.web.pages import frames, render
from hub.web.pages.faces import Act

_SAYS = {
    "link_create": ("The link is made", "Whoever has it comes in with its role, until it ends."),
    "token_create": ("The token is made", "It acts with your rights. Put it where the shell looks for it."),
    "signin_link": ("The sign-in link is made", "It signs its opener in, once."),
    "session_share": ("The invitations are made", "Pass each on to the person it is for."),
}


def secrets_in(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What must be handed over now, each with its label."""
    found = []
    for each in result.get("invitations") or ():
        if each.get("secret"):
            found.append((str(each.get("email", "Invitation")), f"{each['url']}/{each['secret']}"))
    secret = result.get("secret") or result.get("token_secret")
    if secret:
        url = result.get("url")
        address = str(url) if url and str(secret) in str(url) else f"{url}/{secret}" if url else str(secret)
        found.append(("", address))
    return found


def show(scope: Scope, action: str, result: dict[str, Any], following: str) -> str | None:
    """The page that hands over what is shown once; None when there is nothing of the kind."""
    handed = secrets_in(result)
    if not handed:
        return None
    title, text = _SAYS.get(action, ("Done", ""))
    return render.html(
        "done.html",
        frames.plain(scope, title),
        now=scope.now,
        title=title,
        text=f"{text} It is shown only now.",
        handed=handed,
        acts=[Act("Go on", href=following or "/", look="main")],
    )
