"""How access is said: by what way somebody came in, and until when."""

from __future__ import annotations

import datetime as dt

from hub.core.context import Scope
from hub.sessions.belonging import ParticipantView, WayView
from hub.sessions.reach import OpenLink
from hub.web.pages import frames, words

_VIA = {"owner": "made this session", "share": "added", "link": "came by", "invitation": "was invited"}


def of(scope: Scope, held: ParticipantView) -> str:
    """All ways of a person, as one sentence; the owner's own is said as it is now, since sessions change hands."""
    said = [_way(scope, way) for way in held.ways]
    text = words.sentence(words.listing(list(dict.fromkeys(said))))
    return f"{text}; the account is disabled" if held.disabled else text


def _way(scope: Scope, way: WayView) -> str:
    how = _VIA.get(way.via, f"by {way.via}")
    if way.via == "owner":
        how = "owns this session"
    if way.via == "link":
        how = f"came by the link “{way.label}”" if way.label else "came by a link"
    elif way.by is not None:
        how = f"{how} by {'you' if way.by.id == scope.actor.id else way.by.name}"
    elif way.via == "share":
        how = "added by hand"
    return how if way.expires is None else f"{how} until {words.moment(frames.instant(way.expires))} UTC"


def uses(used: int, left: int | None) -> str:
    """How often a link was used, and how often it still opens."""
    said = "never used" if used == 0 else f"used {'once' if used == 1 else f'{used} times'}"
    return said if left is None else f"{said}, {left} left"


def ends(until: dt.datetime, now: dt.datetime) -> str:
    """When something ends, or that it has."""
    said = words.until(until, now)
    return said if said.startswith("ended") else f"ends {said}"


def open_link(link: OpenLink, now: dt.datetime) -> tuple[str, str]:
    """A link among those who can see something: who may use it, and by what."""
    title = f"Whoever has the link “{link.label}”" if link.label else "Whoever has a link"
    if link.has_passphrase:
        title += " and its passphrase"
    made = f"made by {link.by.name}, {uses(link.uses, link.uses_left)}"
    return title, f"{words.sentence(ends(frames.instant(link.expires), now))}; {made}"
