"""Slack's door: receive words, render the reply, update what is alive in it.

The shell has a module with the same three functions. What is alive in a terminal is not alive here: a job's card
follows from the ledger, in the channel the job was submitted from; so a reply only says how things stand.
"""

from collections.abc import Sequence
from urllib.parse import quote

import msgspec
from slack_sdk.web.async_client import AsyncWebClient

from bot.cards import Detail, EventsLive, FileLive, LogLive, Reply
from bot.commands import run
from bot.detail import reduced
from bot.door import Door
from bot.slack_blocks import Rendered, reply_blocks
from bot.text import safe_for_terminal

LOG_BYTES = 8 * 1024
LOG_LINES = 40


def receive(said: Sequence[str], door: Door) -> Reply:
    """Carry out one command. Raises Problem for everything that is not done."""
    return _at_rest(run(list(said), door), door)


def render(reply: Reply, detail: Detail = "full", call: str = "/collegium ") -> Rendered:
    """`text` and `blocks`, with no more of the reply than may leave for the platform."""
    return reply_blocks(reduced(reply, detail), call)


async def update(client: AsyncWebClient, channel: str, ts: str, reply: Reply, detail: Detail = "full") -> None:
    """Show a later state of a message in its place. Raises SlackApiError."""
    await client.chat_update(channel=channel, ts=ts, **render(reply, detail))


def _at_rest(reply: Reply, door: Door) -> Reply:
    """The reply without its live part."""
    live = reply.live
    if isinstance(live, LogLive):
        tail = _log_tail(live, door)
        return msgspec.structs.replace(reply, live=None, body=tail or "The log is empty so far.")
    if isinstance(live, FileLive):
        return msgspec.structs.replace(reply, live=None, sentence=reply.sentence or f"{live.name} is on its page.")
    if isinstance(live, EventsLive):
        sentence = reply.sentence or f"What happens in {live.session} is shown in its room."
        return msgspec.structs.replace(reply, live=None, sentence=sentence)
    return reply if live is None else msgspec.structs.replace(reply, live=None)


def _log_tail(live: LogLive, door: Door) -> str:
    """The last lines of a log, without reading the rest of it."""
    path = f"/api/jobs/{quote(live.job, safe='')}/log"
    size = int(door.hub.send("GET", path, params={"limit": 1}).headers.get("Collegium-Log-Size", 0))
    offset = live.offset or max(0, size - LOG_BYTES)
    if size <= offset:
        return ""
    content = door.hub.send("GET", path, params={"offset": offset, "limit": LOG_BYTES}).content
    text = safe_for_terminal(content.decode("utf-8", "replace"))
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.rstrip("\n").split("\n")]
    if offset and not live.offset and len(lines) > 1:
        lines = lines[1:]  # begun in the middle
    return "\n".join(lines[-(live.tail_lines or LOG_LINES) :])
