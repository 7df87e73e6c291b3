"""A LiveKit server that carries calls too large for a mesh: tokens to come in with, and order among who is there.

The server knows nothing of rights. A token says which room its bearer may enter and which sources they may publish;
what changes afterwards is made true by comparing whom the server has with whom the hub lets take part. The calls are
its RoomService (Twirp over JSON, https://docs.livekit.io/reference/server/server-apis/).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec

from hub.core import features
from hub.core.decoding import UNREADABLE
from hub.core.errors import Unavailable
from hub.core.fetch import fetch
from hub.core.settings import Settings

TOKEN_SECONDS = 600
_SERVICE_SECONDS = 60
_VOICE = ("microphone", "camera")
_SCREEN = ("screen_share", "screen_share_audio")


def sources(permissions: frozenset[str], offered: Mapping[str, bool]) -> frozenset[str]:
    """What somebody with these rights may publish in a room that offers this."""
    may_speak = "room:voice" in permissions and features.offers(offered, "voice_chat")
    may_show = "room:present" in permissions and features.offers(offered, "screen_sharing")
    return frozenset(_VOICE if may_speak else ()) | frozenset(_SCREEN if may_show else ())


class MediaServer(msgspec.Struct, frozen=True):
    """The LiveKit server of the settings; `url` begins with https, or with http on this machine."""

    url: str
    key: str
    secret: str

    @classmethod
    def of(cls, settings: Settings) -> MediaServer | None:
        return (
            cls(settings.livekit_url.rstrip("/"), settings.livekit_key, settings.livekit_secret)
            if settings.livekit_url
            else None
        )

    @property
    def socket_url(self) -> str:
        """Where browsers connect."""
        return self.url.replace("http", "ws", 1)

    def token(self, room: str, identity: str, may: frozenset[str], now_seconds: int) -> str:
        """Lets its bearer enter one room as `identity`, to hear everyone and to publish these sources."""
        grant = {
            "room": room,
            "roomJoin": True,
            "canSubscribe": True,
            "canPublish": bool(may),
            "canPublishData": False,
            "canPublishSources": sorted(may),
        }
        return self._signed({"sub": identity, "video": grant}, now_seconds, TOKEN_SECONDS)

    def settle(self, room: str, allowed: Mapping[str, frozenset[str] | None], now_seconds: int) -> None:
        """Put out whoever is not in `allowed`, and let the others publish what it says (None: as they may already).

        Raises Unavailable when the server does not answer.
        """
        for each in self._ask("ListParticipants", room, {"room": room}, now_seconds).get("participants", []):
            identity = str(each.get("identity", ""))
            who = {"room": room, "identity": identity}
            if identity not in allowed:
                self._ask("RemoveParticipant", room, who, now_seconds)
            elif (may := allowed[identity]) is not None and may != _published(each.get("permission") or {}):
                permission = {
                    "can_subscribe": True,
                    "can_publish": bool(may),
                    "can_publish_sources": sorted(source.upper() for source in may),
                }
                self._ask("UpdateParticipant", room, {**who, "permission": permission}, now_seconds)

    def _ask(self, method: str, room: str, body: dict[str, Any], now_seconds: int) -> dict[str, Any]:
        token = self._signed({"video": {"roomAdmin": True, "room": room}}, now_seconds, _SERVICE_SECONDS)
        answer = fetch(
            f"{self.url}/twirp/livekit.RoomService/{method}",
            method="POST",
            headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
            body=msgspec.json.encode(body),
            # An operator named it: it stands on the campus, or on this machine.
            allow_private={urlsplit(self.url).hostname or ""},
            plain_loopback=True,
        )
        if answer.status == 404:
            return {}  # No such room, or they have left it: what was wished is so.
        try:
            found = msgspec.json.decode(answer.body)
        except UNREADABLE:
            found = None
        if answer.status != 200 or not isinstance(found, dict):
            raise Unavailable(f"the media server refused {method}: {answer.status}", code="media_server")
        return found

    def _signed(self, claims: dict[str, Any], now_seconds: int, seconds: int) -> str:
        times = {"iss": self.key, "nbf": now_seconds - 10, "exp": now_seconds + seconds}
        return jwt.encode({**claims, **times}, self.secret, algorithm="HS256")


def _published(permission: Mapping[str, Any]) -> frozenset[str]:
    """The sources a participant may publish, as the server tells them."""
    if not permission.get("can_publish"):
        return frozenset()
    return frozenset(str(source).lower() for source in permission.get("can_publish_sources", []))
