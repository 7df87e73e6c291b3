"""Ledger events -> cards in the right channels: the follower at work for as long as the bot runs.

Any number of processes may serve; the hub's lease lets one of them follow, and the next goes on where that one ended.
"""

import asyncio
import contextlib

import aiohttp
import structlog

from bot.chat_hub import ChatHub
from bot.follower import Follower, Overtaken
from bot.notify_workspaces import Workspaces
from bot.problems import Problem

log = structlog.get_logger()

_AGAIN_SECONDS = 2.0


async def serve(hub: ChatHub, *, holder: str, api_url: str, stop: asyncio.Event) -> None:
    """Follow the ledger whenever nobody else does, until `stop`; what fails is begun anew."""
    async with aiohttp.ClientSession() as session:
        workspaces = Workspaces(hub, api_url, session)
        serving = asyncio.create_task(_serve(hub, workspaces, holder))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, stopping):
            task.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)
        with contextlib.suppress(Problem):
            await asyncio.to_thread(hub.follow, holder, release=True)


async def _serve(hub: ChatHub, workspaces: Workspaces, holder: str) -> None:
    looking = asyncio.create_task(workspaces.watch())
    try:
        while True:
            await workspaces.known.wait()
            follower = Follower(hub, workspaces.posts, holder, heard=workspaces.heard)
            try:
                await follower.run()
            except Overtaken:
                log.info("follower.waits")
            except Exception:  # the worker's edge: whatever it was, the rows say where to go on
                log.exception("follower.failed")
            await asyncio.sleep(_AGAIN_SECONDS)
    finally:
        looking.cancel()
