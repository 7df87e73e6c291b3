"""Where an answer is said: to the person alone, in the thread they wrote in, whatever of Slack works at the moment.

What was asked for is recorded by then; an answer that cannot be said anywhere is logged and lost, and nothing else is.
"""

from collections.abc import Mapping

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack_blocks import Rendered
from bot.slack_client import TIMEOUT_SECONDS, Failed, Trouble, call, post
from bot.slack_spoken import Spoken
from bot.slack_workspaces import Workspace, Workspaces

log = structlog.get_logger()


class Answers:
    """Says answers, by the ways that are left."""

    def __init__(self, workspaces: Workspaces, session: aiohttp.ClientSession, api_host: str) -> None:
        self._workspaces = workspaces
        self._session = session
        self._api_host = api_host

    async def say(self, spoken: Spoken, content: Rendered, *, is_public: bool = False, is_secret: bool = False) -> bool:
        """Say it; whether that succeeded. A secret is only ever said where it is not kept."""
        workspace = self._workspaces.get(spoken.team)
        if workspace is None:
            return False
        if is_public and not is_secret:
            return await self._in_channel(workspace, spoken, content) or await self._in_private(
                workspace, spoken, content, is_secret=False
            )
        return await self._in_private(workspace, spoken, content, is_secret=is_secret)

    async def _in_private(self, workspace: Workspace, spoken: Spoken, content: Rendered, *, is_secret: bool) -> bool:
        if spoken.response_url and await self._by_response_url(spoken, content):
            return True
        if spoken.is_direct and not is_secret:
            return await self._in_channel(workspace, spoken, content)
        if await self._to_them_alone(workspace, spoken, content):
            return True
        if is_secret:
            log.warning("slack.secret_not_said", workspace=spoken.team)
            return False
        return await self._directly(workspace, spoken.user, content)

    async def _by_response_url(self, spoken: Spoken, content: Rendered) -> bool:
        """Slack's own way back to who pressed or wrote: five times within half an hour."""
        body = {**content, "response_type": "ephemeral", "replace_original": False}
        if spoken.thread:
            body["thread_ts"] = spoken.thread
        if not spoken.response_url.startswith(("https://hooks.slack.com/", self._api_host)):
            log.warning("slack.foreign_response_url")
            return False
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            async with self._session.post(spoken.response_url, json=body, timeout=timeout) as response:
                if response.status == 200:
                    return True
                log.info("slack.response_url_refused", status=response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("slack.response_url_failed", error=repr(error)[:200])
        return False

    async def _to_them_alone(self, workspace: Workspace, spoken: Spoken, content: Rendered) -> bool:
        where = {"channel": spoken.channel, "user": spoken.user} | _thread(spoken)
        return await self._try(workspace, workspace.client.chat_postEphemeral, content, where)

    async def _in_channel(self, workspace: Workspace, spoken: Spoken, content: Rendered) -> bool:
        where = {"channel": spoken.channel} | _thread(spoken)
        return await self._try(workspace, workspace.client.chat_postMessage, content, where)

    async def _directly(self, workspace: Workspace, user: str, content: Rendered) -> bool:
        """In their direct messages: the bot is not, or no longer, in the channel."""
        try:
            channel = await direct_channel(workspace.client, user)
        except Failed as failed:
            log.warning("slack.answer_lost", error=failed.error)
            await self._workspaces.broken(workspace.installation, failed)
            return False
        return await self._try(workspace, workspace.client.chat_postMessage, content, {"channel": channel})

    async def _try(self, workspace: Workspace, method: object, content: Rendered, where: Mapping[str, str]) -> bool:
        try:
            await post(method, content, **where)  # type: ignore[arg-type]
            return True
        except Failed as failed:
            log.warning("slack.answer_not_said", error=failed.error)
            if failed.trouble is Trouble.TOKENS:
                await self._workspaces.broken(workspace.installation, failed)
            return False


async def direct_channel(client: AsyncWebClient, user: str) -> str:
    """The channel of somebody's direct messages with the bot. Raises Failed."""
    opened = await call(client.conversations_open, users=user)
    return str(opened["channel"]["id"])


def _thread(spoken: Spoken) -> dict[str, str]:
    return {"thread_ts": spoken.thread} if spoken.thread else {}
