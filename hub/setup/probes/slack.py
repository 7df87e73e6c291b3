"""Does Slack know the tokens, do they allow what the manifest asks for, and can the bot be heard in a channel?"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from hub import perform
from hub.chats import installations
from hub.chats.actions import InstallChat
from hub.core.context import SYSTEM, Actor, Context
from hub.core.decoding import UNREADABLE
from hub.core.errors import HubError, Unavailable
from hub.core.fetch import Fetched, fetch
from hub.core.house import House
from hub.core.settings import Settings
from hub.people import accounts
from hub.setup import manifest, stored
from hub.setup.rules import Check, is_loopback, sentence

PASTED = "slack_pasted"  # tokens that were pasted and are not proven yet
HELLO = (
    "Collegium is here. `/collegium help` says what it can do; "
    "`/collegium channel use SESSION` ties this channel to a session."
)


_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{7,}")


class Pasted(msgspec.Struct, frozen=True):
    """What was typed into the step."""

    bot_token: str = ""
    signing_secret: str = ""
    app_token: str | None = None
    channel: str = ""


class _Refused(Exception):
    """Slack answered with an error."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


_AGAIN = "Install the app to the workspace again, then paste its new token."
_COPY = "Copy the Bot User OAuth Token (xoxb-...) once more."
_WORDS = {
    "invalid_auth": ("Slack does not know this bot token.", _COPY),
    "not_authed": ("Slack saw no token.", _COPY),
    "token_revoked": ("This bot token was revoked.", _AGAIN),
    "token_expired": ("This bot token has expired.", _AGAIN),
    "account_inactive": ("The app was removed from the workspace.", _AGAIN),
    "not_allowed_token_type": ("This is a token of another kind.", "The bot token begins with xoxb-."),
    "channel_not_found": ("The bot sees no such channel.", "Write its name; invite the bot to a private one."),
    "not_in_channel": ("The bot is not in that channel.", "Invite it: /invite @Collegium"),
    "is_archived": ("That channel is archived.", "Name another one."),
    "ratelimited": ("Slack asks for a pause.", "Test again in a minute."),
}  # fmt: skip


def test(house: House, settings: Settings, by: str | None) -> list[Check]:
    """Ask Slack about the tokens just pasted, else about those of every workspace that is connected."""
    pasted = stored.set_aside(house, PASTED)
    given = msgspec.json.decode(pasted, type=Pasted) if pasted else Pasted()
    if by is not None and given.bot_token:
        return _connect(house, settings, given, by)
    with house.scope(SYSTEM) as scope:
        connected = installations.opened(scope)
    found: list[Check] = []
    for each in (one for one in connected if one.platform == "slack"):
        found += _ask(settings, each.bot_token, each.app_token)
        if by is not None and given.channel:
            found.append(_hello(settings, each.bot_token, given.channel))
    return found or [Check("workspace", False, "None is connected.", "Make the app, install it, paste its tokens.")]


def _connect(house: House, settings: Settings, given: Pasted, by: str) -> list[Check]:
    """Connect the workspace the tokens speak for; tokens Slack does not take are forgotten."""
    try:
        who = _call(settings, "auth.test", given.bot_token)
    except Unavailable as error:
        return [_away(error)]
    except _Refused as refused:
        _forget(house)
        return [_words("workspace", refused.error)]
    install = InstallChat(
        platform="slack",
        bot_token=given.bot_token,
        signing_secret=given.signing_secret,
        app_token=given.app_token,
        workspace=who["team_id"],
        name=str(who.get("team", ""))[:200],
        bot_user=who.get("user_id", ""),
    )
    perform.perform(house, install, _actor(house, by))
    _forget(house, keeping=Pasted(channel=given.channel))
    found = _ask(settings, given.bot_token, given.app_token)
    if given.channel:
        found.append(_hello(settings, given.bot_token, given.channel))
    return found


def _ask(settings: Settings, bot_token: str, app_token: str | None) -> list[Check]:
    """What Slack says about tokens; nothing is posted."""
    try:
        answer = _answer(settings, "auth.test", bot_token)
        who = _body(answer)
    except Unavailable as error:
        return [_away(error)]
    except _Refused as refused:
        return [_words("workspace", refused.error)]
    found = [Check("workspace", True, f"{who.get('team', who['team_id'])}, as @{who.get('user', 'the bot')}.")]
    found.append(_scopes(answer.headers.get("x-oauth-scopes", "")))
    found.append(_way_in(settings, app_token))
    return found


def _scopes(given: str) -> Check:
    wanted = manifest.bot_scopes(manifest.text())
    missing = sorted(wanted - {scope.strip() for scope in given.split(",")})
    if not missing:
        return Check("scopes", True, "The app may do all that its manifest asks for.")
    return Check(
        "scopes",
        False,
        f"The app may not {', '.join(missing)}.",
        "Add these scopes to the app, and install it to the workspace again; its token stays.",
    )


def _way_in(settings: Settings, app_token: str | None) -> Check:
    """How Slack reaches the bot: over a socket the bot opens, or at the public address."""
    if app_token:
        try:
            _call(settings, "apps.connections.open", app_token)
        except Unavailable as error:
            return _away(error)
        except _Refused as refused:
            words = _words("way in", refused.error)
            return msgspec.structs.replace(words, words=words.words.replace("bot token", "app-level token"))
        return Check("way in", True, "The bot calls Slack (Socket Mode).")
    if settings.is_loopback:
        hint = "Paste an app-level token (xapp-...) with connections:write, or set a public address first."
        return Check("way in", False, "Slack cannot reach this hub, and there is no app-level token.", hint)
    return Check("way in", True, f"Slack calls {settings.origin}/slack/.")


def _hello(settings: Settings, token: str, channel: str) -> Check:
    try:
        _call(settings, "chat.postMessage", token, channel=_named(channel), text=HELLO)
    except Unavailable as error:
        return _away(error)
    except _Refused as refused:
        return _words("hello", refused.error)
    return Check("hello", True, f"Posted to {channel}.")


def _named(channel: str) -> str:
    """A channel as Slack takes it: its id as it is, a name behind a #."""
    return channel if _CHANNEL_ID.fullmatch(channel) else f"#{channel.removeprefix('#')}"


def _call(settings: Settings, method: str, token: str, **params: str) -> dict[str, Any]:
    return _body(_answer(settings, method, token, **params))


def _answer(settings: Settings, method: str, token: str, **params: str) -> Fetched:
    api = settings.slack_api_url.rstrip("/")
    host = urlsplit(api).hostname or ""
    return fetch(
        f"{api}/{method}",
        method="POST",
        headers={"authorization": f"Bearer {token}", "content-type": "application/x-www-form-urlencoded"},
        body=urlencode(params).encode(),
        plain_loopback=is_loopback(host),
    )


def _body(answer: Fetched) -> dict[str, Any]:
    if answer.status == 429:
        raise _Refused("ratelimited")
    try:
        body: dict[str, Any] = msgspec.json.decode(answer.body, type=dict)
    except UNREADABLE:
        raise Unavailable(f"Slack answered with status {answer.status} and no JSON", code="slack_away") from None
    if body.get("ok") is not True:
        raise _Refused(str(body.get("error", "unknown_error"))[:100])
    return body


def _words(name: str, error: str) -> Check:
    words, hint = _WORDS.get(error, (f"Slack refuses: {error}.", "Look the word up in Slack's documentation."))
    return Check(name, False, words, hint)


def _away(error: HubError) -> Check:
    return Check("Slack", False, f"{sentence(error.message)}.", "Look at the way to the network, then test again.")


def _actor(house: House, person: str) -> Actor:
    with house.db.read() as conn:
        actor = accounts.actor_of(conn, person)
    if actor is None:
        raise Unavailable("whoever pasted the tokens has no account any more", code="person_gone")
    return actor


def _forget(house: House, keeping: Pasted | None = None) -> None:
    text = "" if keeping is None or not keeping.channel else msgspec.json.encode(keeping).decode()

    def work(ctx: Context) -> None:
        stored.put_aside(ctx, PASTED, text)
        ctx.about("setup", "slack")

    perform.record(house, "setup_tokens_forgotten", work)
