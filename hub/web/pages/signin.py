"""The doors: password, passkey and one-time link; the second page; the landing page of a link.

Opening a landing page spends nothing: link previews open pages, too.
"""

from __future__ import annotations

import contextlib
from urllib.parse import quote, urlencode

from hub.core import limits
from hub.core.context import ANYONE, Scope
from hub.core.errors import HubError, Unavailable
from hub.people import challenges
from hub.web.onward import local
from hub.web.pages import frames, render, words
from hub.web.pages.faces import Frame, Way

SHELL = Way("On the hub's own machine", "Prints a fresh link, which works once.", command="collegium link")
OPERATOR = Way("From an operator", "Whoever runs this hub can make a sign-in link for you; with it you set a password.")


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


def form(scope: Scope, params: dict[str, str], said: HubError | None = None) -> str:
    """GET /signin, and what a wrong password is answered with."""
    here = scope.actor.id != ANYONE.id and said is None
    return render.html(
        "password.html",
        Frame(title="Sign in", viewer=frames.viewer(scope)),
        now=scope.now,
        title="Welcome to Collegium",
        text="Jobs, a signed notebook, versioned files and live rooms for a group that measures and computes.",
        here=f"You are signed in as {scope.actor.name}." if here else "",
        next=local(params.get("next", "")),
        who=params.get("who", "")[:254],
        said=told(said),
        host=passkey_host(scope),
        ways=[SHELL, OPERATOR],
    )


def ask(scope: Scope, params: dict[str, str]) -> str:
    """GET / for somebody not signed in."""
    return form(scope, {"next": params.get("next", "")})


def second(scope: Scope, params: dict[str, str], said: HubError | None = None) -> str:
    """GET /signin/second, and what a wrong code is answered with."""
    onward = local(params.get("next", ""))
    return render.html(
        "second.html",
        Frame(title="Second step"),
        now=scope.now,
        next=onward,
        again=f"/signin?{urlencode({'next': onward})}",
        said=told(said),
        over=said is not None and said.code == "second_page_over",
        minutes=limits.SECOND_PAGE_SECONDS // 60,
    )


def told(error: HubError | None) -> str:
    """What a form says about a try that failed; how long to wait, where that is why."""
    if error is None:
        return ""
    if error.retry_after_seconds is not None:
        return f"Too many tries. The next one counts in {words.duration(error.retry_after_seconds)}."
    if error.code == "sign_in_refused":
        return "That did not fit. Nothing was changed; look at what you typed and try again."
    return words.sentence(error.message) + ("" if error.message.endswith(".") else ".")


def passkey_host(scope: Scope) -> str:
    """The host name a page must be opened under for passkeys to work; empty where they cannot."""
    with contextlib.suppress(Unavailable):
        return challenges.place(scope.settings).host
    return ""
