"""Messages of a chat platform as cards need them: post, edit, find, delete; every refusal by what it means.

A post that was cut off may have been posted. So each carries a nonce in its metadata, and can be looked for before it
is posted again, where the platform lets a bot read what it wrote.
"""

import asyncio
from enum import Enum
from typing import Any, Protocol

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

Content = dict[str, Any]

EVENT = "collegium_card"
# Clocks differ, and a platform's own time is what its messages are found by.
_MARGIN_SECONDS = 120.0
_PAGE, _PAGES = 100, 10


class Why(Enum):
    """What a refusal means for the card."""

    PLACE = "nobody can be reached there"
    MESSAGE = "the message is not there any more"
    LENGTH = "it is too long"
    RATE = "the platform wants to be left alone"
    TOKENS = "the tokens are not taken any more"
    TROUBLE = "the platform is in trouble; whether it did it is not known"
    SCOPE = "the app was not given the right to do this"
    CONTENT = "what was sent is refused"


class Refused(Exception):
    """The platform did not do it, or did not say that it did."""

    def __init__(self, why: Why, error: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(f"{error}: {why.value}")
        self.why, self.error, self.retry_after_seconds = why, error, retry_after_seconds


class Posts(Protocol):
    """One workspace's messages."""

    async def post(self, channel: str, content: Content, *, nonce: str, thread: str = "") -> str:
        """Post; returns the message's id."""

    async def edit(self, channel: str, message: str, content: Content) -> None:
        """Show something else in its place."""

    async def delete(self, channel: str, message: str) -> None:
        """Take a message away; one that is gone is no error."""

    async def find(self, channel: str, nonce: str, *, since: float, thread: str = "") -> str:
        """The id of the message posted under this nonce since then; empty when there is none."""

    async def direct(self, user: str) -> str:
        """The channel of a person's direct messages with the bot."""


_CLASSES: dict[Why, str] = {
    Why.PLACE: "channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel "
    "restricted_action_thread_only_channel restricted_action_non_threadable_channel restricted_action_thread_locked "
    "user_not_found user_disabled user_not_visible cannot_dm_bot channel_type_not_supported messages_tab_disabled "
    "method_not_supported_for_channel_type is_inactive external_channel_migrating",
    Why.MESSAGE: "message_not_found thread_not_found cant_update_message edit_window_closed cant_delete_message",
    Why.LENGTH: "msg_too_long msg_blocks_too_long blocks_too_long too_many_attachments",
    Why.RATE: "ratelimited rate_limited message_limit_exceeded",
    Why.TOKENS: "invalid_auth token_revoked token_expired account_inactive not_authed no_permission org_login_required "
    "app_uninstalled access_denied team_access_not_granted team_not_found enterprise_is_restricted "
    "ekm_access_denied not_allowed_token_type",
    Why.TROUBLE: "internal_error fatal_error service_unavailable request_timeout team_added_to_org accesslimited "
    "update_failed",
    Why.SCOPE: "missing_scope",
}
_WHY = {error: why for why, errors in _CLASSES.items() for error in errors.split()}


def why_of(error: str) -> Why:
    """What an error name means; one nobody has heard of is about what was sent."""
    return _WHY.get(error, Why.CONTENT)


class SlackPosts:
    """The messages of one Slack workspace."""

    def __init__(self, client: AsyncWebClient, *, timeout_seconds: float = 10.0) -> None:
        self._client, self._timeout = client, timeout_seconds

    async def post(self, channel: str, content: Content, *, nonce: str, thread: str = "") -> str:
        message: dict[str, Any] = {
            **content,
            "channel": channel,
            "metadata": {"event_type": EVENT, "event_payload": {"nonce": nonce}},
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if thread:
            message["thread_ts"] = thread
        answer = await self._call("chat.postMessage", **message)
        return str(answer["ts"])

    async def edit(self, channel: str, message: str, content: Content) -> None:
        await self._call("chat.update", channel=channel, ts=message, **content)

    async def delete(self, channel: str, message: str) -> None:
        try:
            await self._call("chat.delete", channel=channel, ts=message)
        except Refused as refused:
            if refused.why is not Why.MESSAGE:
                raise

    async def find(self, channel: str, nonce: str, *, since: float, thread: str = "") -> str:
        method = "conversations.replies" if thread else "conversations.history"
        asked: dict[str, Any] = {"channel": channel, "limit": _PAGE, "include_all_metadata": "true"}
        asked |= {"ts": thread} if thread else {"oldest": f"{since - _MARGIN_SECONDS:.6f}"}
        for _ in range(_PAGES):
            answer = await self._call(method, is_read=True, **asked)
            for message in answer.get("messages", []):
                metadata = message.get("metadata") or {}
                if metadata.get("event_payload", {}).get("nonce") == nonce:
                    return str(message["ts"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return ""
            asked["cursor"] = cursor
        raise Refused(Why.SCOPE, "too_much_to_read")

    async def direct(self, user: str) -> str:
        answer = await self._call("conversations.open", users=user)
        return str(answer["channel"]["id"])

    async def _call(self, method: str, *, is_read: bool = False, **params: Any) -> dict[str, Any]:
        how: dict[str, Any] = {"http_verb": "GET", "params": params} if is_read else {"json": params}
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._client.api_call(method, **how)
        except SlackApiError as refused:
            raise _told(refused) from refused
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as broken:
            raise Refused(Why.TROUBLE, "request_timeout") from broken
        return dict(answer.data) if isinstance(answer.data, dict) else {}


def _told(refused: SlackApiError) -> Refused:
    response = refused.response
    status = int(getattr(response, "status_code", 0) or 0)
    data = getattr(response, "data", response)
    error = str(data.get("error") or "") if isinstance(data, dict) else ""
    headers = {str(name).lower(): str(value) for name, value in (getattr(response, "headers", None) or {}).items()}
    after = headers.get("retry-after", "")
    if status == 429 or why_of(error) is Why.RATE:
        return Refused(Why.RATE, error or "ratelimited", float(after) if after.isdigit() else 1.0)
    if status >= 500 or not error:
        return Refused(Why.TROUBLE, f"http_{status}")
    return Refused(why_of(error), error)
