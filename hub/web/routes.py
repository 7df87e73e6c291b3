"""The one table of routes: method, path, who answers, and what it is for.

A view is a plain function of a scope and the request's parameters, run in a thread on one snapshot; its rights are
checked inside, by the access door. What streams has an endpoint of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from hub.core.context import Scope
from hub.core.errors import InvalidInput
from hub.ledger.keys import CheckpointKey
from hub.ledger.verification import verify
from hub.people import views as people
from hub.sessions import views as sessions

Query = dict[str, str]


class View(msgspec.Struct, frozen=True):
    """A GET route that answers with a view as JSON."""

    path: str
    answer: Callable[[Scope, Query], Any]
    summary: str
    takes: tuple[str, ...] = ()  # query parameters; others are refused


def number(q: Query, name: str, default: int, least: int = 0, most: int = 2**62) -> int:
    """A whole number from the query. Raises InvalidInput naming the parameter."""
    text = q.get(name)
    if text is None or text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        raise InvalidInput(f"`{name}` must be a whole number", path=name) from None
    if not least <= value <= most:
        raise InvalidInput(f"`{name}` must be from {least} to {most}", path=name)
    return value


def verification(scope: Scope, q: Query) -> Any:
    """The whole ledger, recomputed."""
    scope.access.hub("hub:read")
    key = scope.port(CheckpointKey)
    return verify(scope.conn, key.origin, key.public)


VIEWS: list[View] = [
    View("/api/me", lambda s, q: people.me(s), "Who the hub takes you for"),
    View("/api/tokens", lambda s, q: people.my_tokens(s), "Your API tokens"),
    View("/api/sessions", lambda s, q: sessions.mine(s), "Your sessions"),
    View("/api/verify", verification, "Recompute the whole ledger"),
]
Kind = Literal["view", "page", "endpoint"]
