"""How much of a reply may leave for a chat company's servers: the one place where a session's `chat_detail` is applied.

    full    everything
    names   titles, states and names; no log, no text, no result, no name of a file
    ids     kind, number and state, and the address of the page

What may leave is marked where the reply is made (`named`, `ident`, `is_name`); this only leaves out. Whatever nobody
marked stays at the hub, so a new command is silent until somebody has thought about it.
"""

import re
from urllib.parse import urlsplit

import msgspec

from bot.cards import Detail, JobLive, Live, Next, Progress, Reply, Row, Table
from bot.problems import Problem
from bot.words import counted, percent

_RANK = {"ids": 0, "names": 1, "full": 2}
# A page addressed by an opaque id says nothing of what it shows.
_ROOM = re.compile(r"/s/[^/]+/[^/]+")
_OPAQUE = re.compile(r"/(?:[a-z]+/)?[a-z]{2,6}_[0-9a-z]{26}")

_KEPT = "Done. What it says stays at the hub: this session sends no more than {what} to this chat."
_WHAT: dict[Detail, str] = {"names": "titles and states", "ids": "numbers and states", "full": "everything"}
_WITHHELD = "A secret was made for you, and is not sent through this chat; make one on the hub's pages instead."


def strictest(*details: str) -> Detail:
    """The one that lets out least; what nobody knows of counts as `ids`."""
    least = min((_RANK.get(one, 0) for one in details), default=0)
    return next(detail for detail in _WHAT if _RANK[detail] == least)


def reduced(reply: Reply, detail: Detail) -> Reply:
    """The part of a reply that may leave the hub where a session lets out so much."""
    if detail == "full" or reply.is_common or reply.is_empty:
        return reply
    is_named = detail == "names"
    return msgspec.structs.replace(
        reply,
        sentence=(reply.named if is_named else reply.ident) or _KEPT.format(what=_WHAT[detail]),
        title="",
        session=reply.session if is_named else "",
        progress=_progress(reply.progress) if is_named else None,
        fields=tuple(field for field in reply.fields if field.is_name) if is_named else (),
        body=_WITHHELD if reply.secret is not None else "",
        table=None if reply.table is None else _table(reply.table, is_named),
        next=tuple(_next(one) for one in reply.next if one.ident or _may_link(one, is_named)),
        url=reply.url if is_named or is_opaque(reply.url) else "",
        secret=None,
        live=_live(reply.live),
        named=reply.named if is_named else reply.ident,
        data=None,
    )


def reduced_problem(problem: Problem, detail: Detail) -> Problem:
    """A problem in the same way: below `full` by its code alone, unless it is the words typed that were at fault."""
    if detail == "full" or problem.code == "usage":
        return problem
    return Problem(
        problem.code,
        f"Not done: {problem.code.replace('_', ' ')}.",
        status=problem.status,
        hint="" if detail == "ids" else "The hub's pages say more.",
        request_id=problem.request_id,
        exit_code=problem.exit_code,
    )


def is_opaque(url: str) -> bool:
    """Whether an address names nothing but an id."""
    split = urlsplit(url)
    return bool(_OPAQUE.fullmatch(split.path)) and not split.query and not split.fragment


def _progress(progress: Progress | None) -> Progress | None:
    """How far; how the job itself counts that is a line of its log."""
    if progress is None or progress.fraction is None:
        return None
    return Progress(progress.fraction, percent(progress.fraction))


def _table(table: Table, is_named: bool) -> Table | None:
    said = [row.named if is_named else row.ident for row in table.rows]
    kept = tuple(Row((one,), one, named=one, ident=one) for one in said if one)
    left_out = len(said) - len(kept)
    more = f"{counted(left_out, 'line')} not sent to this chat." if left_out else ""
    return Table(("",), kept, more) if kept or more else None


def _next(one: Next) -> Next:
    url = "" if one.ident else one.url
    return Next(one.label, one.ident, url=url, is_dangerous=one.is_dangerous, ident=one.ident)


def _may_link(one: Next, is_named: bool) -> bool:
    """A page that is a session's room says its name and no more."""
    return bool(one.url) and ((is_named and bool(_ROOM.fullmatch(urlsplit(one.url).path))) or is_opaque(one.url))


def _live(live: Live | None) -> Live | None:
    """A job's state may be followed; logs, files and events are what is not to leave."""
    return JobLive(live.job) if isinstance(live, JobLive) else None
