"""Slack's way in: one address that takes only what Slack signed, once, and Bolt behind it; or Socket Mode instead.

Bolt runs each listener to its end before it answers, because the answer says that something is recorded. Verifying is
done here, on the raw bytes: Bolt lets a request be replayed for five minutes, and knows of one signing secret.
"""

import re
import time
from collections import OrderedDict
from typing import Any, cast
from urllib.parse import parse_qs

import msgspec
import structlog
from slack_bolt import BoltResponse
from slack_bolt.adapter.starlette.async_handler import to_async_bolt_request, to_starlette_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bot.carrying import Carrier
from bot.delivery import Delivery, Repeated
from bot.problems import Problem
from bot.slack_desk import Desk
from bot.slack_request import OLDEST_SECONDS, Forged, check
from bot.slack_workspaces import PLATFORM, Workspaces

log = structlog.get_logger()

PATH = "/slack/events"
BODY_BYTES = 1_048_576
_NEEDED = {
    "command": ("team_id", "user_id", "channel_id", "trigger_id"),
    "event": ("team_id", "event_id", "event.type"),
    "button": ("team.id", "user.id", "trigger_id", "actions.0.action_id"),
    "form": ("team.id", "user.id", "view.id", "view.private_metadata", "view.state.values"),
}
_EVERYTHING = re.compile(".*", re.DOTALL)


class SlackApp:
    """The ASGI application, and the Bolt app that Socket Mode uses too."""

    def __init__(self, workspaces: Workspaces, carrier: Carrier, desk: Desk, api_url: str) -> None:
        self._workspaces = workspaces
        self._carrier = carrier
        self._desk = desk
        self._seen: OrderedDict[str, float] = OrderedDict()
        self.bolt = _bolt(workspaces, desk, api_url)
        self.app = Starlette(routes=[Route(PATH, self.receive, methods=["POST"])])

    async def receive(self, request: Request) -> Response:
        """Whatever Slack sends: verified, seen for the first time, then Bolt's."""
        since, now = time.monotonic(), time.time()
        body = await _body(request)
        if body is None:
            return PlainTextResponse("", 413)
        secrets = self._workspaces.signing_secrets
        if not secrets:
            return _challenge(body) or PlainTextResponse("no workspace is connected to this hub yet", 503)
        signature = request.headers.get("x-slack-signature", "")
        try:
            check(secrets, request.headers.get("x-slack-request-timestamp", ""), signature, body, now)
            text = body.decode()
        except (Forged, UnicodeDecodeError) as forged:
            log.info("slack.refused", why=str(forged)[:40])
            return PlainTextResponse("", 401)
        if (challenge := _challenge(body)) is not None:
            return challenge
        if not self._is_first_here(signature, now):
            return _replayed()
        kind, content = _told(text)
        if not kind:
            return PlainTextResponse("")  # what nobody waits for is acknowledged, or Slack would send it again
        if not _is_whole(kind, content):
            return PlainTextResponse("", 400)
        delivery = Delivery(PLATFORM, signature)
        asked = to_async_bolt_request(request, body, {"since": since, "at": now, "delivery": delivery})
        answer = await self.bolt.async_dispatch(asked)
        if not await self._is_first_at_the_hub(delivery):
            return _replayed()
        return to_starlette_response(answer)

    def _is_first_here(self, signature: str, now: float) -> bool:
        """Whether these very bytes reach this process for the first time."""
        while self._seen and next(iter(self._seen.values())) < now - 2 * OLDEST_SECONDS:
            self._seen.popitem(last=False)
        if signature in self._seen:
            return False
        self._seen[signature] = now
        return True

    async def _is_first_at_the_hub(self, delivery: Delivery) -> bool:
        """Whether no process took this before: what asked the hub for something was recorded with it already."""
        if delivery.is_repeated or delivery.is_recorded or delivery.is_unsure:
            return not delivery.is_repeated
        try:
            return await self._carrier.ask(lambda: self._carrier.hub.seen(PLATFORM, delivery.key))
        except Problem as problem:
            # Nothing was asked of the hub for it, and nothing is: the answer is the same for everybody.
            log.warning("slack.hub_silent", error=problem.code)
            return True


def _bolt(workspaces: Workspaces, desk: Desk, api_url: str) -> AsyncApp:
    """Bolt's dispatcher with one listener for each way of speaking."""

    async def authorize(team_id: str | None = None, **_: Any) -> AuthorizeResult | None:
        found = workspaces.get(team_id or "")
        if found is None:
            return None
        return AuthorizeResult(
            enterprise_id=None, team_id=found.team, bot_token=found.installation.bot_token,
            bot_id=found.bot_user, bot_user_id=found.bot_user,
        )  # fmt: skip

    bolt = AsyncApp(
        name="collegium", process_before_response=True, request_verification_enabled=False, ssl_check_enabled=False,
        attaching_function_token_enabled=False, authorize=cast(Any, authorize), client=AsyncWebClient(base_url=api_url),
    )  # fmt: skip

    @bolt.error
    async def refuse(error: Exception) -> BoltResponse:
        if not isinstance(error, Repeated):
            log.error("slack.listener_failed", error=repr(error)[:300], exc_info=error)
        return BoltResponse(status=401 if isinstance(error, Repeated) else 500, body="")

    @bolt.command(_EVERYTHING)
    async def hear_command(ack: Any, body: dict[str, Any], context: Any) -> None:
        said = await desk.command(body, **_when(context))
        if said is None:
            await ack()
        else:
            await ack(**said, response_type="ephemeral")

    @bolt.event("app_mention")
    async def hear_mention(body: dict[str, Any], context: Any) -> BoltResponse | None:
        return await hear(body, context)

    @bolt.event("message")
    async def hear_message(body: dict[str, Any], context: Any) -> BoltResponse | None:
        return await hear(body, context)

    async def hear(body: dict[str, Any], context: Any) -> BoltResponse | None:
        when = _when(context)
        is_done = await desk.event(body, since=when["since"], delivery=when["delivery"])
        # Not acknowledged, it comes again: the same event, done once.
        return None if is_done else BoltResponse(status=503, body="")

    @bolt.event(_EVERYTHING)
    async def hear_nothing() -> None:
        """Events nobody asked for are acknowledged, or Slack would stop sending the others."""

    @bolt.action(_EVERYTHING)
    async def hear_button(ack: Any, body: dict[str, Any], context: Any) -> None:
        await desk.button(body, **_when(context))
        await ack()

    @bolt.view(_EVERYTHING)
    async def hear_form(ack: Any, body: dict[str, Any], context: Any) -> None:
        wrong = await desk.form_sent(body, **_when(context))
        if wrong:
            await ack(response_action="errors", errors=wrong)
        else:
            await ack()

    return bolt


def _when(context: Any) -> dict[str, Any]:
    """When a request came, by both clocks, and by which delivery; over Socket Mode, now and by none."""
    return {
        "since": context.get("since") or time.monotonic(),
        "at": context.get("at") or time.time(),
        "delivery": context.get("delivery"),
    }


def _replayed() -> Response:
    log.info("slack.refused", why="replayed")
    return PlainTextResponse("", 401)


async def _body(request: Request) -> bytes | None:
    """The raw bytes, or None when they are more than Slack ever sends."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES:
            return None
    return bytes(body)


def _challenge(body: bytes) -> Response | None:
    """Slack asks whether the address is ours before the app has any token; only its own question is sent back."""
    if not body.startswith(b"{"):
        return None
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(asked, dict) or asked.get("type") != "url_verification":
        return None
    challenge = asked.get("challenge")
    return PlainTextResponse(challenge if isinstance(challenge, str) and len(challenge) <= 200 else "")


def _told(text: str) -> tuple[str, dict[str, Any]]:
    """What kind of request this is, and its content; nothing for what nobody waits for."""
    try:
        if text.startswith("{"):
            body = msgspec.json.decode(text)
            return ("event", body) if body.get("type") == "event_callback" else ("", {})
        form = {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
        if "payload" not in form:
            return ("command", form) if "command" in form else ("", {})
        body = msgspec.json.decode(form["payload"])
        return {"view_submission": "form", "block_actions": "button"}.get(body.get("type"), ""), body
    except (msgspec.DecodeError, ValueError, AttributeError, RecursionError):
        return "", {}


def _is_whole(kind: str, body: dict[str, Any]) -> bool:
    """Whether everything is there that is read without asking."""
    try:
        for path in _NEEDED[kind]:
            part: Any = body
            for name in path.split("."):
                part = part[int(name) if name.isdigit() else name]
        return True
    except (KeyError, IndexError, TypeError, ValueError):
        return False
