"""Slack's Web API as the bot uses it: errors by what they mean, patience where Slack asks for it, never a loop.

Every error name falls into one of four classes: the tokens are no good, nobody can be reached there, what was sent is
refused, or Slack is in trouble and may be asked again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.slack_blocks import Rendered

log = structlog.get_logger()

TIMEOUT_SECONDS = 10
_ATTEMPTS = 4
_LONGEST_RETRY_AFTER_SECONDS = 60

Call = Callable[..., Awaitable[AsyncSlackResponse]]


class Trouble(Enum):
    """What an error means for who called."""

    TOKENS = "tokens"
    PLACE = "place"
    CONTENT = "content"
    SLACK = "slack"


TOKENS = frozenset(
    {
        "not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired", "no_permission",
        "org_login_required", "ekm_access_denied", "missing_scope", "not_allowed_token_type", "app_uninstalled",
        "access_denied", "team_access_not_granted", "team_not_found", "enterprise_is_restricted",
    }
)  # fmt: skip
PLACE = frozenset(
    {
        "channel_not_found", "not_in_channel", "is_archived", "user_not_in_channel", "restricted_action",
        "restricted_action_read_only_channel", "restricted_action_thread_only_channel", "user_not_found",
        "restricted_action_non_threadable_channel", "restricted_action_thread_locked", "user_disabled",
        "user_not_visible",
        "cannot_dm_bot", "thread_not_found", "message_not_found", "cant_update_message", "cant_delete_message",
        "edit_window_closed", "channel_type_not_supported", "messages_tab_disabled", "is_inactive", "user_is_bot",
        "method_not_supported_for_channel_type", "as_user_not_supported", "not_reactable",
        "no_dual_broadcast_content_update",
        "used_url", "expired_url", "no_such_url", "external_channel_migrating",
        "slack_connect_file_link_sharing_blocked",
    }
)  # fmt: skip
SLACK = frozenset(
    {
        "ratelimited", "rate_limited", "fatal_error", "internal_error", "service_unavailable", "request_timeout",
        "team_added_to_org", "message_limit_exceeded", "accesslimited", "update_failed",
    }
)  # fmt: skip


def trouble(error: str) -> Trouble:
    """What an error name means; one nobody has heard of is about what was sent."""
    for names, kind in ((TOKENS, Trouble.TOKENS), (PLACE, Trouble.PLACE), (SLACK, Trouble.SLACK)):
        if error in names:
            return kind
    return Trouble.CONTENT


class Failed(Exception):
    """Slack did not do it, also not when asked again."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error
        self.trouble = trouble(error)


def web_client(token: str, api_url: str, session: aiohttp.ClientSession) -> AsyncWebClient:
    """A client on shared connections, which leaves all patience to `call`."""
    return AsyncWebClient(token, base_url=api_url, session=session, timeout=TIMEOUT_SECONDS, retry_handlers=[])


async def call(method: Call, /, **params: Any) -> AsyncSlackResponse:
    """Call a method; wait as long as Slack says and ask again, a few times. Raises Failed."""
    pause = 0.5
    for attempt in range(1, _ATTEMPTS + 1):
        wait = pause
        try:
            return await method(**params)
        except SlackApiError as refused:
            error, wait = _reading(refused, pause)
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as broken:
            error = "request_timeout"
            log.warning("slack.unreachable", error=repr(broken)[:200])
        if trouble(error) is not Trouble.SLACK or attempt == _ATTEMPTS:
            raise Failed(error)
        await pause_for(min(wait, _LONGEST_RETRY_AFTER_SECONDS))
        pause *= 2
    raise AssertionError("the last attempt returned or raised")


async def pause_for(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _reading(refused: SlackApiError, pause: float) -> tuple[str, float]:
    """The error's name, and how long Slack wants to be left alone."""
    response = refused.response
    status = getattr(response, "status_code", 0)
    data = getattr(response, "data", response)
    error = str(data.get("error", "")) if isinstance(data, dict) else ""
    if status == 429 or error in ("ratelimited", "rate_limited"):
        headers = {str(name).lower(): value for name, value in (getattr(response, "headers", None) or {}).items()}
        told = str(headers.get("retry-after", ""))
        return "ratelimited", float(told) if told.isdigit() else pause
    if status >= 500 or not error:
        return "service_unavailable", pause
    return error, pause


async def post(method: Call, content: Rendered, /, **where: Any) -> AsyncSlackResponse:
    """Send a message; when Slack refuses its blocks, its one sentence alone. Raises Failed."""
    quiet = {"unfurl_links": False, "unfurl_media": False}
    try:
        return await call(method, **where, **content, **(quiet if "ts" not in where and "user" not in where else {}))
    except Failed as failed:
        if failed.trouble is not Trouble.CONTENT or "blocks" not in content:
            raise
        log.warning("slack.blocks_refused", error=failed.error)
        return await call(method, **where, text=content["text"], mrkdwn=False)
