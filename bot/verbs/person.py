"""`whoami`, `link`, `key`, `window`: yourself, the way into a browser, and what you sign with."""

import click

from bot.cards import Next, Reply, Row, Secret, Table, fields
from bot.door import Door
from bot.grammar import Noun, Verb
from bot.hub_views import Ended, Key, SignInLink, Window
from bot.words import counted, moment


@click.command("whoami", cls=Verb)
@click.pass_obj
def whoami(door: Door) -> Reply:
    """Say who the hub takes you for, and which session commands mean."""
    me = door.me
    called = f"{me.name} ({me.handle})" if me.name and me.handle and me.name != me.handle else me.name or me.handle
    return Reply(
        sentence=f"You are {called}, {me.hub_role} of this hub.",
        named=f"You are {called}, {me.hub_role} of this hub.",
        ident=f"You are a {me.hub_role} of this hub.",
        fields=fields("hub session", hub=door.hub.url, session=door.named_session(None)),
        data=me,
    )


@click.command("link", cls=Verb)
@click.argument("person", required=False)
@click.option("--open", "is_opened", is_flag=True, help="Open it in your browser at once.")
@click.pass_obj
def link(door: Door, person: str | None, is_opened: bool) -> Reply:
    """Make a one-time link that signs a browser in: yours, or PERSON's if you are an operator."""
    made = door.hub.act("signin_link", SignInLink, idempotency_key=door.key(), person=person)
    address = f"{made.url}/{made.secret}"
    whose = f"{person}'s browser" if person else "your browser"
    if is_opened and door.open_page(address):
        return Reply(sentence=f"Signing {whose} in.")
    return Reply(
        sentence=f"This link signs {whose} in, once, until {moment(made.expires)}.",
        named="A link is made that signs a browser in, once.",
        ident="A link is made.",
        secret=Secret("link", address, "Give it to nobody else: who opens it is signed in."),
        data=made,
    )


@click.group("key", cls=Noun)
def key() -> None:
    """Signing keys the hub holds for you."""


@key.command("create")
@click.argument("name")
@click.pass_obj
def create_key(door: Door, name: str) -> Reply:
    """Make a signing key called NAME, which the hub keeps for you."""
    made = door.hub.act("key_create", Key, idempotency_key=door.key(), name=name)
    return Reply(
        sentence=f"Key {made.name} is made. The hub holds it, so signatures by it are marked as hub-held.",
        fields=fields(fingerprint=made.fingerprint),
        next=(Next("sign an entry by it", ("note", "sign", "ENTRY", "--key", made.name)),),
        data=made,
    )


@key.command("list")
@click.pass_obj
def list_keys(door: Door) -> Reply:
    """List your signing keys."""
    known = door.hub.keys()
    rows = tuple(
        Row(
            (one.name, _standing(one), one.custody, one.fingerprint),
            f"{one.name}: {_standing(one)}, held by {one.custody}, {one.fingerprint}",
        )
        for one in known
    )
    return Reply(
        sentence=f"You have {counted(len(known), 'key')}.",
        table=Table(("key", "state", "held by", "fingerprint"), rows),
        next=() if known else (Next("make one", ("key", "create", "NAME")),),
        data=known,
    )


def _standing(one: Key) -> str:
    return f"revoked {moment(one.revoked)}" if one.revoked else "good"


@key.command("revoke")
@click.argument("name")
@click.pass_obj
def revoke_key(door: Door, name: str) -> Reply:
    """Revoke a key: what it signed before stays valid, nothing after."""
    gone = door.hub.act("key_revoke", Key, idempotency_key=door.key(), key=name)
    return Reply(sentence=f"Key {name} is revoked. What it signed before stays valid.", data=gone)


@click.group("window", cls=Noun)
def window() -> None:
    """The signing window: minutes in which your hub-held keys sign by name."""


@window.command("open")
@click.argument("code")
@click.option("-k", "--key", help="For this key only.")
@click.pass_obj
def open_window(door: Door, code: str, key: str | None) -> Reply:
    """Open the signing window with the CODE that the step-up page shows."""
    opened = door.hub.act("signing_window", Window, idempotency_key=door.key(), code=code, key=key)
    return Reply(
        sentence=f"You can sign with {opened.name} until {moment(opened.expires)}, through this token only.",
        data=opened,
    )


@window.command("close")
@click.option("-k", "--key", help="This key's only.")
@click.pass_obj
def close_window(door: Door, key: str | None) -> Reply:
    """Close your signing windows before their time."""
    gone = door.hub.act("signing_window_close", Ended, idempotency_key=door.key(), key=key)
    return Reply(sentence=f"{counted(gone.closed, 'signing window')} closed.", data=gone)
