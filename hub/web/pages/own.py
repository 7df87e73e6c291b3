"""A page with a list of one's own things, each with what ends it, and at most one form that adds to them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hub.core.context import Scope
from hub.core.errors import NotSignedIn
from hub.web.pages import frames, render
from hub.web.pages.faces import Act


class Item(msgspec.Struct, frozen=True):
    """One of the things."""

    title: str
    text: str
    act: Act


class Adds(msgspec.Struct, frozen=True, kw_only=True):
    """The form that adds one."""

    action: str
    field: str
    label: str
    button: str
    next: str
    type: str = "text"
    hint: str = ""


def require_person(scope: Scope) -> None:
    """Such a page is about a person. Raises NotSignedIn for a guest by link."""
    if scope.actor.kind != "person":
        raise NotSignedIn("this page is about you, and the hub does not know you yet")


def show(
    scope: Scope,
    title: str,
    text: str,
    *,
    tab: str,
    heading: str,
    items: Sequence[Item],
    none: str,
    adds: Adds | None = None,
) -> str:
    """One such page."""
    return render.html(
        "own.html",
        frames.own(scope, title, tab),
        now=scope.now,
        title=title,
        text=text,
        heading=heading,
        items=items,
        none=none,
        adds=adds,
    )
