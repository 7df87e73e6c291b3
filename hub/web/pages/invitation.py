"""The landing page of an invitation: who asks whom in, who would accept it, and the ways in for who has no account."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from hub.core import limits
from hub.core.context import Scope
from hub.sessions import invitations
from hub.sessions.invitations import Landing
from hub.web.pages import frames, landing, render, words
from hub.web.pages.faces import Act, Fact, Frame

MAY = {"read": "read along", "read_write": "read and write", "admin": "read, write and share"}
_OVER = {
    "used": "It works once, and somebody accepted it already. If that was not you, tell {by}.",
    "withdrawn": "{by} took it back. If you think that was a mistake, ask for a fresh one.",
    "expired": "It was not accepted in time. {by} can invite you again.",
}


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /invitation/{token}"""
    token = params["token"]
    found = invitations.landing(scope, token)
    if found is None:
        return landing.show(
            scope, "This invitation opens nothing", "It is unknown or long over. Whoever sent it can invite you again."
        )
    if found.state == "mine":
        return landing.show(
            scope, "You accepted this invitation", f"The session “{found.title}” is open to you.",
            acts=[Act("Enter", href=f"/s/{quote(found.session)}", look="main")],
        )  # fmt: skip
    if found.state != "open":
        return landing.show(
            scope, "This invitation opens nothing any more", _OVER[found.state].format(by=found.by.name)
        )
    if scope.actor.kind != "person":
        return _who_are_you(scope, token, found)
    return landing.show(
        scope,
        f"{found.by.name} invites you to “{found.title}”",
        f"Accept, and you may {MAY.get(found.role, found.role)} there, as {scope.actor.name}.",
        told=[*_told(found), Fact("You are signed in as", landing.myself(scope))],
        acts=[
            Act("Accept the invitation", action="invitation_accept", fields={"secret": token}, next="/s/{name}",
                look="main"),
            Act("Not now", href="/", look="quiet"),
        ],
        fine=f"It works once, and would be {scope.actor.name}'s for good. Are you somebody else? Then sign out first; "
        "the link keeps.",
    )  # fmt: skip


def _who_are_you(scope: Scope, token: str, found: Landing) -> str:
    """For who is not signed in: an account that is there, or a fresh one."""
    title = f"{found.by.name} invites you to “{found.title}”"
    return render.html(
        "invitation.html",
        Frame(title=title, viewer=frames.viewer(scope)),
        now=scope.now,
        title=title,
        text=f"Accept, and you may {MAY.get(found.role, found.role)} there. Opening this page has spent nothing.",
        told=_told(found),
        secret=token,
        sign_in=msgspec.structs.replace(landing.sign_in(f"/invitation/{quote(token, safe='')}"), look=""),
        least=limits.PASSWORD_LEAST_CHARACTERS,
    )


def _told(found: Landing) -> list[Fact]:
    return [
        Fact("Session", found.session),
        Fact("Sent to", found.email),
        Fact("Good until", f"{words.moment(frames.instant(found.expires))} UTC", at=frames.instant(found.expires)),
    ]
