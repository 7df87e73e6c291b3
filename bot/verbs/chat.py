"""`channel` and `notify`: what a chat's channel shows, and when a chat mentions you."""

from typing import Any

import click
import msgspec

from bot.cards import Next, Reply, fields
from bot.door import Door
from bot.grammar import Noun, Verb
from bot.hub_views import View
from bot.problems import usage

CARDS = ("full", "ends", "digest", "off")
_SHOWS = {
    "full": "a card for everything that begins, edited until it ends",
    "ends": "a card for what has ended or needs somebody",
    "digest": "one message an hour with what ended",
    "off": "no cards",
}
NOTIFY = ("all", "ends", "failures", "none", "default")
_MENTIONS = {
    "all": "when it ends and when it needs somebody",
    "ends": "whenever it ends",
    "failures": "when it fails or needs somebody",
    "none": "never",
    "default": "when it fails or needs somebody, and when it succeeds after more than five minutes",
}


class _Channel(View, frozen=True, kw_only=True):
    channel: str
    session: str | None = None
    cards: str = "full"
    chat_detail: str | None = None
    hidden: bool = False


class _Notify(View, frozen=True):
    notify: str | None = None


channel_option = click.option(
    "--channel", "given", metavar="PLATFORM:WORKSPACE:CHANNEL", help="Another channel than the one this is written in."
)


@click.group("channel", cls=Noun)
def channel() -> None:
    """A chat's channel: which session it belongs to, which cards it shows."""


@channel.command("show")
@channel_option
@click.pass_obj
def show_channel(door: Door, given: str | None) -> Reply:
    """Say which session the channel belongs to and which cards it shows."""
    place = _place(door, given)
    one = door.hub.view(f"/api/chats/channels/{place}", _Channel)
    whose = one.session or ("a session you may not see" if one.hidden else "")
    said = f"This channel belongs to {whose}" if whose else "This channel belongs to no session"
    return Reply(
        sentence=f"{said} and shows {_SHOWS.get(one.cards, one.cards)}.",
        named=f"{said} and shows {_SHOWS.get(one.cards, one.cards)}.",
        ident=f"This channel shows {_SHOWS.get(one.cards, one.cards)}.",
        session=one.session or "",
        fields=fields("session cards leaves", session=one.session, cards=one.cards, leaves=one.chat_detail),
        next=() if whose else (Next("give it to a session", ("channel", "use", "SESSION")),),
        data=one,
    )


@channel.command("use", fields={"session_id": "SESSION", "channel": "--channel"})
@click.argument("session", metavar="[SESSION]", required=False)
@click.option("--none", "is_none", is_flag=True, help="No session any more.")
@channel_option
@click.pass_obj
def use_session(door: Door, session: str | None, is_none: bool, given: str | None) -> Reply:
    """Give the channel to SESSION: commands written in it mean that session, and its cards are shown in it."""
    if (session is None) != is_none:
        raise usage("“channel use” needs a session, or --none.", fix="channel use SESSION")
    place = _place(door, given)
    session_id = session if session is not None else msgspec.Raw(b"null")
    return _set(door, place, session_id=session_id)


@channel.command("cards", fields={"channel": "--channel"})
@click.argument("cards", type=click.Choice(CARDS))
@channel_option
@click.pass_obj
def set_cards(door: Door, cards: str, given: str | None) -> Reply:
    """Say which cards the channel shows: all of them, ends only, a digest every hour, or none."""
    return _set(door, _place(door, given), cards=cards)


def _set(door: Door, place: str, **what: Any) -> Reply:
    platform, workspace, ident = place.split(":", 2)
    done = door.hub.act(
        "channel_set",
        _Channel,
        idempotency_key=door.key(),
        platform=platform,
        workspace=workspace,
        channel=ident,
        **what,
    )
    belongs = f"belongs to {done.session}" if done.session else "belongs to no session"
    shows = _SHOWS.get(done.cards, done.cards)
    return Reply(
        sentence=f"The channel {belongs} and shows {shows}.",
        named=f"The channel {belongs} and shows {shows}.",
        ident=f"The channel shows {shows}.",
        session=done.session or "",
        is_private=False,
        data=done,
    )


def _place(door: Door, given: str | None) -> str:
    """The channel that is meant, by its full name."""
    if given is None and door.place is None:
        raise usage(
            "There is no channel here.",
            hint="Write it in the channel itself, or name one: --channel slack:WORKSPACE:CHANNEL",
        )
    if given is None:
        assert door.place is not None
        return door.place.name
    if given.count(":") != 2 or not all(given.split(":")):
        raise usage(
            f"“{given}” names no channel.",
            hint="A channel is written slack:WORKSPACE:CHANNEL, with the platform's ids.",
        )
    return given


@click.command("notify", cls=Verb)
@click.argument("when", metavar=f"[{'|'.join(NOTIFY)}]", type=click.Choice(NOTIFY), required=False)
@click.pass_obj
def notify(door: Door, when: str | None) -> Reply:
    """Say when a chat mentions you about what you submitted; without a word, what is set."""
    if when is None:
        found = door.hub.view("/api/chats/notify", _Notify)
    else:
        value = msgspec.Raw(b"null") if when == "default" else when
        found = door.hub.act("notify_set", _Notify, idempotency_key=door.key(), notify=value)
    said = f"A chat mentions you about your work {_MENTIONS.get(found.notify or 'default', 'as it was set')}."
    return Reply(sentence=said, named=said, ident=said, data=found)
