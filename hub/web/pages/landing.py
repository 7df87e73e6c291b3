"""Pages that stand before something is done for good: what it is, who does it, and the buttons.

Opening one does nothing: chat programs and mail scanners open every link they see, so a secret in an address is spent
by a button alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from hub.core.context import Scope
from hub.web.pages import frames, render
from hub.web.pages.faces import Act, Fact, Frame


def show(
    scope: Scope, title: str, text: str, *, told: Sequence[Fact] = (), acts: Sequence[Act] = (), fine: str = ""
) -> str:
    """One such page."""
    frame = Frame(title=title, viewer=frames.viewer(scope))
    return render.html("landing.html", frame, now=scope.now, title=title, text=text, told=told, acts=acts, fine=fine)


def sign_in(path: str) -> Act:
    """The way to the sign-in page and back here."""
    return Act("Sign in", href=f"/signin?next={quote(path, safe='')}", look="main")


def myself(scope: Scope) -> str:
    """Who is signed in, as a sentence names them."""
    return f"{scope.actor.name} (@{scope.actor.handle})"
