"""People, moments and names as every card writes them."""

import re
from datetime import datetime

from bot import words
from bot.hub_views import Person


def by_at(who: Person, at: datetime | None) -> str:
    by = called(who)
    return " ".join(part for part in (f"by {by}" if by else "", f"at {words.moment(at)}" if at else "") if part)


def called(who: Person) -> str:
    return who.name or who.handle


def session_of(name: str) -> str:
    """`ana/hcl` of `ana/hcl#12` and of `ana/hcl:data/lines.csv@3`."""
    return re.split("[#:]", name, maxsplit=1)[0] if name else ""


def at(moment: datetime | None) -> str:
    return words.moment(moment) if moment else ""
