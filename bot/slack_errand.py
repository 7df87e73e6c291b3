"""One command of one person, in a thread: a door made for it, the reply, and how much of it may be said here."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bot.cards import Detail, Reply
from bot.carrying import ErrandHub
from bot.chat_hub import Channel, ChatHub
from bot.detail import reduced, reduced_problem, strictest
from bot.door import Door
from bot.hub_client import NoAnswer
from bot.hub_views import Job, Workflow
from bot.problems import NOT_FOUND, Problem
from bot.slack import receive, render
from bot.slack_blocks import Rendered, plain_blocks, problem_blocks
from bot.slack_files import SlackUploads
from bot.slack_spoken import Spoken
from bot.slack_workspaces import Workspace
from bot.uploads import NoUploads
from bot.work_views import Experiment

SUBMISSIONS = (
    ("job", "submit"),
    ("job", "resume"),
    ("workflow", "submit"),
    ("experiment", "submit"),
    ("experiment", "resume"),
)
# How long a session's own word on how much may leave is believed without asking again.
DETAIL_SECONDS = 0.5
Details = dict[str, tuple[float, Detail]]


class Said(msgspec.Struct, frozen=True):
    """An answer: its blocks, who may see it, and what was wrong, if something was."""

    content: Rendered
    is_public: bool = False
    is_secret: bool = False
    problem: Problem | None = None


def carry_out(
    hub: ErrandHub,
    bot: ChatHub,
    spoken: Spoken,
    said: Sequence[str],
    workspace: Workspace,
    folder: Path,
    api_url: str,
    details: Details,
) -> Said:
    """Do it as the person (`hub`); the channel is asked for by the bot itself. Raises NoAnswer."""
    channels: list[Channel] = []

    def channel() -> Channel:
        if not channels:
            place = spoken.place
            # A person's direct messages are no channel anybody could set.
            known = Channel() if spoken.is_direct else bot.channel(place.platform, place.workspace, place.channel)
            channels.append(known)
        return channels[0]

    token = workspace.installation.bot_token
    door = Door(
        lambda: hub,
        uploads=SlackUploads(spoken.files, folder, token, api_url) if spoken.files else NoUploads(),
        session=lambda: channel().session,
        call=spoken.call,
        origin=spoken.origin,
        place=spoken.place,
        now=lambda: spoken.at,
    )
    try:
        reply = receive(said, door)
    except NoAnswer:
        raise
    except Problem as problem:
        return _refused(problem, door, said, spoken, channels, details)
    session, word = hub.detail
    if session:  # the hub said it with the action's answer
        _keep(details, session, strictest(word))
    return _answered(reply, door, said, spoken, channels, details)


def _answered(
    reply: Reply, door: Door, said: Sequence[str], spoken: Spoken, channels: list[Channel], details: Details
) -> Said:
    if reply.is_empty and not reply.title:
        return Said(plain_blocks("Done."))
    detail = "full" if reply.is_common else _detail(door, reply.session or _named(said), channels, details)
    if tuple(said[:2]) in SUBMISSIONS and isinstance(reply.data, Job | Workflow | Experiment):
        # Its card tells the rest, where it was submitted.
        return Said(plain_blocks(reduced(reply, detail).sentence + "."))
    in_channel = channels[0].session if channels else None
    concerns_channel = bool(reply.session) and reply.session == in_channel
    is_public = spoken.is_mention and concerns_channel and not reply.is_private and reply.secret is None
    return Said(render(reply, detail, spoken.call), is_public=is_public, is_secret=reply.secret is not None)


def _refused(
    problem: Problem, door: Door, said: Sequence[str], spoken: Spoken, channels: list[Channel], details: Details
) -> Said:
    if problem.code in ("usage", "chat_not_linked"):
        return Said(problem_blocks(problem, spoken.call), problem=problem)
    shown = reduced_problem(problem, _detail(door, _named(said), channels, details))
    return Said(problem_blocks(shown, spoken.call), problem=shown)


def _detail(door: Door, session: str, channels: list[Channel], details: Details) -> Detail:
    """How much may leave: as the session says that was meant; the strictest word when it cannot be asked."""
    meant = session or vars(door).get("session_in_use") or vars(door).get("personal_session") or ""
    if channels and meant in ("", channels[0].session):
        return strictest(channels[0].chat_detail)
    if not meant:
        return "full"
    known = details.get(meant)
    if known is not None and time.monotonic() - known[0] < DETAIL_SECONDS:
        return known[1]
    try:
        detail = strictest(door.hub.session(meant).chat_detail)
        if "/" in meant:  # its full name: the same session whoever says it
            _keep(details, meant, detail)
        return detail
    except NoAnswer:
        return "ids"
    except Problem as problem:
        return "full" if problem.exit_code == NOT_FOUND else "ids"


def _keep(details: Details, session: str, detail: Detail) -> None:
    if len(details) > 1_000:
        details.clear()
    details[session] = (time.monotonic(), detail)


def _named(said: Sequence[str]) -> str:
    """The session a command names."""
    for at, word in enumerate(said):
        if word in ("-s", "--session"):
            return said[at + 1] if at + 1 < len(said) else ""
        if word.startswith("--session="):
            return word.partition("=")[2]
    return ""
