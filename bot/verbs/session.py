"""`session`, `use`, `room`: which workspace is meant, and its room."""

import click

from bot.cards import Next, Reply, Row, Table, fields
from bot.door import Door
from bot.grammar import Noun, Verb, session_option
from bot.hub_views import MadeSession
from bot.problems import usage
from bot.words import counted


@click.group("session", cls=Noun)
def session() -> None:
    """Shared workspaces: list them, make one, see who takes part."""


@session.command("list")
@click.pass_obj
def list_sessions(door: Door) -> Reply:
    """List the sessions you take part in; the one in use is marked."""
    known = door.hub.sessions()
    in_use = door.session_in_use
    rows = []
    for one in known:
        is_meant = one.name == in_use or (in_use is None and one.personal)
        what = one.title if one.title != one.name.partition("/")[2] else ""
        role = one.role or "reader"
        said = ", ".join(part for part in (one.name, f"you are {role}", what, "in use" if is_meant else "") if part)
        rows.append(Row((("→ " if is_meant else "  ") + one.name, role, what), said, named=said))
    return Reply(
        sentence=f"You take part in {counted(len(known), 'session')}.",
        named=f"You take part in {counted(len(known), 'session')}.",
        ident=f"You take part in {counted(len(known), 'session')}.",
        table=Table(("  session", "your role", "title"), tuple(rows)),
        data=known,
    )


@session.command("create")
@click.argument("name")
@click.option("--title", default="", help="What it is about, in a few words.")
@click.option("--use", "is_used", is_flag=True, help="Use it from now on.")
@click.pass_obj
def create_session(door: Door, name: str, title: str, is_used: bool) -> Reply:
    """Make a session of your own called NAME."""
    made = door.hub.act("session_create", MadeSession, idempotency_key=door.key(), name=name, title=title)
    if is_used:
        door.remember_session(made.name)
    return Reply(
        sentence=f"Session {made.name} is made" + (" and in use." if is_used else "."),
        named=f"Session {made.name} is made" + (" and in use." if is_used else "."),
        ident="A session is made" + (" and in use." if is_used else "."),
        session=made.name,
        url=made.url,
        next=() if is_used else (Next("work in it from now on", ("use", made.name)),),
        is_private=False,
        data=made,
    )


@session.command("show")
@click.argument("name", metavar="[OWNER/NAME]", required=False)
@click.pass_obj
def show_session(door: Door, name: str | None) -> Reply:
    """Show a session and who takes part in it."""
    one = door.hub.session(door.named_session(name))
    people = door.hub.participants(one.name)
    rows = [
        Row(
            (who.person.name or who.person.handle, who.role, who.via),
            f"{who.person.name or who.person.handle}: {who.role}",
            named=f"{who.person.name or who.person.handle}: {who.role}",
        )
        for who in people.participants
    ]
    rows += [Row((one.email, one.role, "invited"), f"{one.email}: invited as {one.role}") for one in people.invitations]
    return Reply(
        sentence=f"{one.name}, {counted(len(people.participants), 'person', 'people')}.",
        named=f"{one.name}, {counted(len(people.participants), 'person', 'people')}.",
        ident=f"A session, {counted(len(people.participants), 'person', 'people')}.",
        title=one.title or one.name,
        session=one.name,
        fields=fields(your_role=one.role),
        table=Table(("who", "role", "by"), tuple(rows)),
        url=one.url,
        data={"session": one, "people": people},
    )


@click.command("use", cls=Verb)
@click.argument("name", metavar="[OWNER/NAME]", required=False)
@click.option("--personal", is_flag=True, help="Your own session again.")
@click.pass_obj
def use(door: Door, name: str | None, personal: bool) -> Reply:
    """Use a session from now on; without a name, say which one is used."""
    if name and personal:
        raise usage("Either a name or --personal.")
    if personal:
        door.remember_session(None)
        return Reply(sentence=f"From now on commands mean your own session, {door.personal_session}.")
    if not name:
        meant = door.named_session(None)
        said = f"Commands mean the session {meant}."
        return Reply(sentence=said, named=said, session=meant, data={"session": meant})
    one = door.hub.session(name)
    kept = door.remember_session(one.name)
    said = f"From now on commands mean {one.name}, where you are {one.role or 'a reader'}."
    return Reply(
        sentence=said,
        named=said,
        session=one.name,
        fields=fields(kept_in=kept),
        data=one,
    )


@click.group("room", cls=Noun)
def room() -> None:
    """The room of a session."""


@room.command("open")
@click.argument("name", metavar="[OWNER/NAME]", required=False)
@session_option
@click.option("--print", "is_printed", is_flag=True, help="Print the address and open no browser.")
@click.pass_obj
def open_room(door: Door, name: str | None, session: str | None, is_printed: bool) -> Reply:
    """Open the session's room in the browser, or give its address."""
    one = door.hub.session(door.named_session(name or session))
    is_open = not is_printed and door.open_page(one.url)
    return Reply(
        sentence=f"The room of {one.name}" + (" opens in your browser." if is_open else "."),
        named=f"The room of {one.name}.",
        ident="The room is open.",
        session=one.name,
        url=one.url,
        next=() if is_open else (Next("sign a browser in, once", ("link",)),),
        data=one,
    )
