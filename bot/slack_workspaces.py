"""The workspaces this bot serves, as the hub keeps them: read every few seconds, so that nothing need be restarted."""

import asyncio
from collections.abc import Iterable, Iterator

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.carrying import Carrier
from bot.chat_hub import Installation
from bot.problems import Problem
from bot.slack_client import Failed, Trouble, call, web_client

log = structlog.get_logger()

LOOK_SECONDS = 2.0
PLATFORM = "slack"


class Workspace:
    """One installation: its tokens, and a client that speaks with them."""

    def __init__(self, installation: Installation, client: AsyncWebClient) -> None:
        self.installation = installation
        self.client = client

    @property
    def team(self) -> str:
        return self.installation.workspace

    @property
    def bot_user(self) -> str:
        return self.installation.bot_user


class Workspaces:
    """Every connected workspace of Slack, by its id."""

    def __init__(self, carrier: Carrier, api_url: str, session: aiohttp.ClientSession) -> None:
        self._carrier = carrier
        self._api_url = api_url
        self._session = session
        self._by_team: dict[str, Workspace] = {}
        self._refused: dict[str, str] = {}

    def __iter__(self) -> Iterator[Workspace]:
        return iter(list(self._by_team.values()))

    def __len__(self) -> int:
        return len(self._by_team)

    def get(self, team: str) -> Workspace | None:
        return self._by_team.get(team)

    def client(self, team: str) -> AsyncWebClient | None:
        """The client of a workspace; None when it is not, or no longer, connected."""
        found = self._by_team.get(team)
        return None if found is None else found.client

    @property
    def signing_secrets(self) -> list[str]:
        return [one.installation.signing_secret for one in self]

    async def look(self) -> None:
        """Read the installations anew. Raises Problem when the hub does not answer; what was known then stands."""
        found = await self._carrier.ask(self._carrier.hub.installations)
        known = {one.workspace: one for one in found if one.platform == PLATFORM}
        for team in set(self._by_team) - set(known):
            del self._by_team[team]
        for installation in known.values():
            before = self._by_team.get(installation.workspace)
            if before is None or before.installation != installation:
                await self._take(installation)

    async def _take(self, installation: Installation) -> None:
        client = web_client(installation.bot_token, self._api_url, self._session)
        if not (installation.workspace and installation.bot_user):
            await self._introduce(installation, client)
            return
        self._by_team[installation.workspace] = Workspace(installation, client)
        self._refused.pop(installation.bot_token, None)

    async def _introduce(self, installation: Installation, client: AsyncWebClient) -> None:
        """Ask Slack whom the tokens speak for, and tell the hub; it is read anew at the next look."""
        try:
            told = await call(client.auth_test)
        except Failed as failed:
            await self.broken(installation, failed)
            return
        facts = {"workspace": str(told["team_id"]), "name": str(told["team"]), "bot_user": str(told["user_id"])}
        await self._carrier.ask(lambda: self._carrier.hub.introduce(installation, **facts))
        log.info("slack.introduced", workspace=facts["workspace"])

    async def broken(self, installation: Installation, failed: Failed) -> None:
        """Slack takes the tokens no more: say so to the hub, once for each reason."""
        if failed.trouble is not Trouble.TOKENS or self._refused.get(installation.bot_token) == failed.error:
            return
        self._refused[installation.bot_token] = failed.error
        log.error("slack.tokens_refused", workspace=installation.workspace, error=failed.error)
        try:
            await self._carrier.ask(
                lambda: self._carrier.hub.broken(PLATFORM, installation.workspace, failed.error[:100])
            )
        except Problem as problem:
            log.warning("slack.hub_not_told", error=problem.code)

    async def watch(self, changed: asyncio.Event) -> None:
        """Look every few seconds, for ever; `changed` is set whenever the workspaces are others than before."""
        before: Iterable[str] | None = None
        while True:
            try:
                await self.look()
            except Problem as problem:
                log.warning("slack.hub_silent", error=problem.code)
            now = [one.installation.bot_token + (one.installation.app_token or "") for one in self]
            if now != before:
                before = now
                changed.set()
            await asyncio.sleep(LOOK_SECONDS)
