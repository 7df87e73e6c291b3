"""Who somebody in Slack is here: a private link for who is not linked, an account in one click, and the way back.

Only the platform's ids count: two people may bear one name. Whether somebody is a full member is asked of Slack, never
read from what they sent.
"""

from typing import Any, Literal

import msgspec
import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.carrying import Carrier
from bot.hub_views import View
from bot.problems import Problem
from bot.slack_answers import direct_channel
from bot.slack_blocks import VALUE, Rendered, button, plain_blocks, problem_blocks
from bot.slack_client import Failed, call, post
from bot.slack_spoken import Spoken
from bot.slack_workspaces import Workspace

log = structlog.get_logger()

Standing = Literal["full", "guest", "stranger", "nobody"]

STRANGER = (
    "You belong to another workspace. Sharing a channel does not make you a member of this hub; nothing was done."
)
GUEST = "Guests of this workspace get no account by themselves; nothing was done. If you have an account here, link it."
UNKNOWN = "The hub does not know you yet; nothing was done. Link this Slack account to your account"
NOT_ME = "This was not me"


class _LinkMade(View, frozen=True, kw_only=True):
    url: str
    secret: str
    join: bool = False


class _Joined(View, frozen=True, kw_only=True):
    handle: str
    made: bool = False


class _Unlinked(View, frozen=True, kw_only=True):
    user: str


class Face(msgspec.Struct, frozen=True):
    """Somebody as Slack tells of them."""

    standing: Standing
    name: str = ""
    email: str | None = None


def face_of(user: dict[str, Any], team: str) -> Face:
    """What users.info says of somebody. Pure."""
    profile = user.get("profile") or {}
    name = profile.get("real_name") or user.get("real_name") or user.get("name") or ""
    email = profile.get("email") or None
    standing: Standing = "full"
    if user.get("deleted") or user.get("is_bot") or user.get("is_workflow_bot"):
        standing = "nobody"
    elif user.get("is_stranger") or user.get("team_id", team) != team:
        standing = "stranger"
    elif user.get("is_restricted") or user.get("is_ultra_restricted"):
        standing = "guest"
    return Face(standing, str(name)[:1000], email)


async def look_up(workspace: Workspace, user: str) -> Face:
    """Ask Slack who somebody is; whom it does not tell of is a guest at most."""
    try:
        told = await call(workspace.client.users_info, user=user)
    except Failed as failed:
        log.warning("slack.user_unknown", error=failed.error)
        return Face("guest")
    return face_of(dict(told["user"]), workspace.team)


async def introduce(carrier: Carrier, workspace: Workspace, spoken: Spoken, said: list[str]) -> Rendered:
    """What somebody is told whom the hub does not know: how to become known, for them alone."""
    face = await look_up(workspace, spoken.user)
    if face.standing in ("stranger", "nobody"):
        return plain_blocks(STRANGER)
    try:
        made = await carrier.ask(lambda: _begin(carrier, workspace, spoken, face))
    except Problem as problem:
        return problem_blocks(problem, spoken.call)
    buttons = [button("link my account", "chat:link", url=f"{made.url}/{made.secret}", style="primary")]
    if face.standing == "guest":
        return plain_blocks(GUEST, buttons)
    if not made.join:
        return plain_blocks(f"{UNKNOWN}: the link is yours alone and good for ten minutes.", buttons)
    value = msgspec.json.encode(said).decode()
    buttons.append(button("make my account", "chat:join", value=value if len(value) <= VALUE else "[]"))
    return plain_blocks(f"{UNKNOWN}, or make one with one click. The link is yours alone, for ten minutes.", buttons)


def _begin(carrier: Carrier, workspace: Workspace, spoken: Spoken, face: Face) -> _LinkMade:
    return carrier.hub.act(
        "chat_link_begin",
        _LinkMade,
        idempotency_key=f"{spoken.origin}:link",
        platform="slack",
        workspace=spoken.team,
        user=spoken.user,
        name=face.name,
        workspace_name=workspace.installation.name,
    )


async def join(carrier: Carrier, workspace: Workspace, spoken: Spoken) -> str:
    """Make an account for who pressed the button; returns its handle. Raises Problem for who may have none."""
    face = await look_up(workspace, spoken.user)
    standing = "stranger" if face.standing == "nobody" else face.standing
    joined = await carrier.ask(
        lambda: carrier.hub.act(
            "chat_join",
            _Joined,
            idempotency_key=f"{spoken.origin}:join",
            platform="slack",
            workspace=spoken.team,
            user=spoken.user,
            name=face.name,
            email=face.email,
            standing=standing,
        )
    )
    return joined.handle


async def unlink(carrier: Carrier, spoken: Spoken) -> Rendered:
    """Somebody says it was not they who linked this account: the link ends at once."""
    try:
        await carrier.ask(
            lambda: carrier.hub.act(
                "chat_unlink",
                _Unlinked,
                idempotency_key=f"{spoken.origin}:unlink",
                platform="slack",
                workspace=spoken.team,
                user=spoken.user,
            )
        )
    except Problem as problem:
        return problem_blocks(problem, spoken.call)
    return plain_blocks("The link is ended: this Slack account speaks for nobody here any more.")


async def tell_linked(client: AsyncWebClient, user: str, name: str = "") -> None:
    """Tell a chat account that it was just linked, with the button for who did not do that. Raises Failed."""
    channel = await direct_channel(client, user)
    whom = f"the account of {name}" if name else "an account of the hub"
    asked = "End the link between this Slack account and that account?"
    said = plain_blocks(
        f"This Slack account is now linked to {whom}: what you say to me is done as that person.",
        [button(NOT_ME, "chat:not_me", value="not_me", style="danger", confirm=asked)],
    )
    await post(client.chat_postMessage, said, channel=channel)
