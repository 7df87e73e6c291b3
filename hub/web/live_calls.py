"""A call that a media server carries, as the live process asks for it: tokens for who comes, order among the rest."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.routing import Route

from hub.core import features
from hub.core.context import Actor
from hub.core.errors import InvalidInput, Unavailable
from hub.core.house import House
from hub.rooms.media_server import MediaServer, sources
from hub.sessions import views as sessions
from hub.web import endpoints, live


class Calling(msgspec.Struct, frozen=True, kw_only=True):
    """A member on the asking node who takes part; `token` says that they need one to come in."""

    identity: str
    claim: str
    token: bool = False


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Everyone who takes part in a room's call; of those on other nodes only who they are."""

    session: str
    members: list[Calling]
    elsewhere: list[str] = []


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """Where the call is, and the tokens that were asked for."""

    url: str
    tokens: dict[str, str]


def carry(house: House, actor: Actor, body: Any) -> Carried:
    """POST /api/live/call, by the live process. Asking again does no harm.

    Raises Unavailable when there is no media server or it does not answer.
    """
    live.refuse_others(actor)
    try:
        asked = msgspec.convert(body, Call)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from None
    server = MediaServer.of(house.settings)
    if server is None:
        raise Unavailable("this hub has no media server", code="media_server")
    now_seconds = int(house.clock.now().timestamp())
    with house.db.read() as conn:
        offered = sessions.features(conn, {asked.session}).get(asked.session, {})
    may: dict[str, frozenset[str]] = {}
    if any(features.offers(offered, name) for name in ("voice_chat", "screen_sharing")):
        for each in asked.members:
            member = live.member_of(house, asked.session, each.claim)
            if member is not None:
                may[each.identity] = sources(frozenset(member.permissions), offered)
    server.settle(asked.session, {**dict.fromkeys(asked.elsewhere), **may}, now_seconds)
    tokens = {
        each.identity: server.token(asked.session, each.identity, may[each.identity], now_seconds)
        for each in asked.members
        if each.token and each.identity in may
    }
    return Carried(url=server.socket_url, tokens=tokens)


ROUTES = [Route("/api/live/call", endpoints.asks(carry), methods=["POST"])]
