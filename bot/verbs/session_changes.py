"""`session change`, `hand-over`, `leave`: what happens to a session as a whole."""

from collections.abc import Callable

import click

from bot.cards import Next, Reply, fields
from bot.door import Door
from bot.hub_views import ChangedSession, HandedOver, Left
from bot.problems import usage
from bot.verbs.session import session
from bot.words import counted

__all__ = ["session"]


_SWITCHES = {
    "cursors": ("live_cursor", "Whether people in its room see where the others point."),
    "voice": ("voice_chat", "Whether people in its room can talk to and see each other."),
    "screens": ("screen_sharing", "Whether people in its room can show a screen."),
    "private": ("private_messages", "Whether people in its room can write to one person alone."),
}


def _switches(command: Callable[..., Reply]) -> Callable[..., Reply]:
    for name, (_, text) in reversed(_SWITCHES.items()):
        command = click.option(f"--{name}/--no-{name}", default=None, help=text)(command)
    return command


@session.command(
    "change",
    fields={"title": "--title", "visibility": "--visibility", "chat_detail": "--chat-detail"}
    | {f"features.{feature}": f"--{name}" for name, (feature, _) in _SWITCHES.items()},
)
@click.argument("name", metavar="[OWNER/NAME]", required=False)
@click.option("--title", help="What it is about, in a few words.")
@click.option(
    "--visibility",
    type=click.Choice(["session", "hub"]),
    help="Who may look: those who take part, or every member of this hub.",
)
@click.option(
    "--chat-detail",
    type=click.Choice(["full", "names", "ids"]),
    help="How much its cards say in a chat: everything, titles and states, or ids.",
)
@_switches
@click.pass_obj
def change_session(
    door: Door, /, name: str | None, title: str | None, visibility: str | None, chat_detail: str | None,
    **switches: bool | None,
) -> Reply:  # fmt: skip
    """Change a session: its title, who may look, what its cards say in a chat, what its room offers."""
    features = {_SWITCHES[switch][0]: on for switch, on in switches.items() if on is not None}
    if title is None and visibility is None and chat_detail is None and not features:
        options = ["--title", "--visibility", "--chat-detail", *(f"--{switch}" for switch in _SWITCHES)]
        raise usage("Nothing to change was named.", hint=f"Name {', '.join(options[:-1])} or {options[-1]}.")
    changed = door.hub.act(
        "session_change", ChangedSession, idempotency_key=door.key(), session_id=door.named_session(name),
        title=title, visibility=visibility, chat_detail=chat_detail, features=features or None,
    )  # fmt: skip
    offered = [switch for switch, (feature, _) in _SWITCHES.items() if changed.features.get(feature)]
    return Reply(
        sentence=f"{changed.name} is changed.",
        named=f"{changed.name} is changed.",
        ident="The session is changed.",
        session=changed.name,
        fields=fields(
            "title visibility chat_detail room",
            title=changed.title, visibility=changed.visibility, chat_detail=changed.chat_detail,
            room=", ".join(offered) or "none of its features",
        ),
        url=changed.url,
        data=changed,
    )  # fmt: skip


@session.command("hand-over", fields={"to": "PERSON", "name": "--as"})
@click.argument("name", metavar="OWNER/NAME")
@click.argument("person")
@click.option("--as", "new_name", metavar="NAME", help="What it is called from then on, if not the same.")
@click.pass_obj
def hand_over_session(door: Door, name: str, person: str, new_name: str | None) -> Reply:
    """Hand your session over to PERSON, one of its admins; you stay as an admin."""
    handed = door.hub.act(
        "session_hand_over", HandedOver, idempotency_key=door.key(), session_id=name, to=person, name=new_name
    )
    return Reply(
        sentence=f"The session is {person}'s now and is called {handed.name}; you stay as an admin.",
        named=f"The session is called {handed.name} now and has another owner.",
        ident="The session has another owner.",
        session=handed.name,
        url=handed.url,
        next=(Next("use it by its new name", ("use", handed.name)),),
        data=handed,
    )


@session.command("leave")
@click.argument("name", metavar="OWNER/NAME")
@click.pass_obj
def leave_session(door: Door, name: str) -> Reply:
    """Leave a session you take part in; what you made in it stays there."""
    left = door.hub.act("session_leave", Left, idempotency_key=door.key(), session_id=name)
    ended = f" {counted(len(left.links_ended), 'link')} of yours ended with that." if left.links_ended else ""
    said = f"You do not take part in {left.name} any more."
    return Reply(sentence=said + ended, named=said, ident="You left a session.", data=left)
