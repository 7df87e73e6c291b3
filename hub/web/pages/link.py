"""The landing page of an expiring link, and of an invitation: what it opens, before anything is spent."""

from __future__ import annotations

from urllib.parse import quote

from hub.core.context import Scope
from hub.sessions import links
from hub.web.pages import frames, render, words
from hub.web.pages.faces import Frame

_MAY = {"read": "look around", "read_write": "look around and write"}


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /l/{token}"""
    token = params["token"]
    found = links.landing(scope, token)
    if not found.valid:
        return _page(
            scope,
            "This link opens nothing",
            "It has ended, was taken back or is used up. Whoever sent it can make a fresh one.",
        )
    until = words.moment(frames.instant(found.expires))
    return _page(
        scope,
        f"You are invited to “{found.title}”",
        f"With this link you may {_MAY.get(found.role, found.role)}, until {until} UTC.",
        post=f"/l/{quote(token, safe='')}",
        button="Open it",
        fine="Opening it counts as one use. Rights end the moment the link ends or is taken back.",
    )


def invitation(scope: Scope, params: dict[str, str]) -> str:
    """GET /invitation/{token}"""
    if scope.actor.kind != "person":
        return _page(
            scope,
            "You are invited",
            "Sign in first, then open this link again: an invitation belongs to a person, and opening this page has "
            "spent nothing.",
        )
    return _page(
        scope,
        "You are invited",
        f"Accept, {scope.actor.name}, and the session is yours to enter with the role you were given.",
        post=f"/invitation/{quote(params['token'], safe='')}",
        button="Accept the invitation",
        fine="It works once.",
    )


def _page(scope: Scope, title: str, text: str, *, post: str = "", button: str = "", fine: str = "") -> str:
    frame = Frame(title=title, viewer=frames.viewer(scope))
    return render.html(
        "signin.html", frame, now=scope.now, title=title, text=text, post=post, button=button, fine=fine, ways=[]
    )
