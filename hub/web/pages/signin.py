"""The landing page of a one-time sign-in link. Opening it spends nothing: link previews open pages, too."""

from __future__ import annotations

from urllib.parse import quote

from hub.core.context import Scope
from hub.web.pages import render
from hub.web.pages.faces import Frame, Way

SHELL = Way("On the hub's own machine", "Prints a fresh link.", command="collegium link")


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /signin/{token}"""
    return render.html(
        "signin.html",
        Frame(title="Sign in"),
        now=scope.now,
        title="Sign in to Collegium",
        text="This link works once. Press the button to use it; opening this page has spent nothing.",
        post=f"/signin/{quote(params['token'], safe='')}",
        button="Sign in",
        fine="Somebody else sent you this? Then do not: whoever uses it is signed in as the person it was made for.",
        ways=[],
    )


def ask(scope: Scope, params: dict[str, str]) -> str:
    """GET /signin: nobody is signed in, and no link was brought."""
    return render.html(
        "signin.html",
        Frame(title="Sign in"),
        now=scope.now,
        title="Welcome to Collegium",
        text="Jobs, a signed notebook, versioned files and live rooms for a group that measures and computes. "
        "A one-time link signs you in.",
        post="",
        button="",
        fine="",
        ways=[SHELL, Way("From an operator", "Whoever runs this hub can make a sign-in link for you.")],
    )
