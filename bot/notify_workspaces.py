"""The workspaces cards are posted to, as the hub keeps them: read every few seconds, so nothing need be restarted."""

import asyncio

import aiohttp
import structlog

from bot.chat_hub import ChatHub
from bot.hub_views import Event
from bot.posts import Posts, SlackPosts
from bot.problems import Problem
from bot.slack_client import Failed, web_client
from bot.slack_people import tell_linked

log = structlog.get_logger()

LOOK_SECONDS = 3.0


class Workspaces:
    """Connected workspaces by platform and id; `known` once the hub was asked."""

    def __init__(self, hub: ChatHub, api_url: str, session: aiohttp.ClientSession) -> None:
        self._hub, self._api_url, self._session = hub, api_url, session
        self._tokens: dict[tuple[str, str], str] = {}
        self._posts: dict[tuple[str, str], SlackPosts] = {}
        self.known = asyncio.Event()

    def posts(self, platform: str, workspace: str) -> Posts | None:
        """The messages of a workspace; None when it is not connected (any more)."""
        return self._posts.get((platform, workspace))

    async def watch(self) -> None:
        """Read the installations for ever; one whose token changed gets a client of its own."""
        while True:
            try:
                self._take({
                    (one.platform, one.workspace): one.bot_token
                    for one in await asyncio.to_thread(self._hub.installations)
                    if one.platform == "slack" and one.workspace
                })  # fmt: skip
                self.known.set()
            except Problem as problem:
                log.warning("notify.installations_unread", code=problem.code)
            await asyncio.sleep(LOOK_SECONDS)

    def _take(self, tokens: dict[tuple[str, str], str]) -> None:
        for key, token in tokens.items():
            if self._tokens.get(key) != token:
                self._posts[key] = SlackPosts(web_client(token, self._api_url, self._session))
        for gone in self._posts.keys() - tokens.keys():
            del self._posts[gone]
        self._tokens = tokens

    async def heard(self, event: Event) -> None:
        """A chat account that was linked is told so where it is, at most once, with the way to say "not me"."""
        workspace, user = event.facts.get("workspace"), event.facts.get("user")
        token = self._tokens.get(("slack", str(workspace)))
        if event.action != "chat_link" or token is None or not isinstance(user, str):
            return
        if await asyncio.to_thread(self._hub.seen, "slack", f"linked:{event.sequence}"):
            try:
                await tell_linked(web_client(token, self._api_url, self._session), user)
            except Failed as failed:
                log.warning("notify.linked_not_told", error=failed.error)
