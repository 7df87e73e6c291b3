"""`room read`, `edit`, `unsay`, `react`, `report`, `reports`, `settle`: what becomes of messages once they are said."""

import click

from bot.cards import Reply, Row, Table
from bot.door import Door
from bot.grammar import session_option
from bot.room_views import Report, Reported, Said, SaidPage
from bot.verbs.room import room
from bot.words import counted, removed_words

__all__ = ["room"]

LATEST = 20


@room.command("read", fields={"thread": "--thread"})
@session_option
@click.option("--thread", metavar="MESSAGE", help="A message and the answers to it, instead of the newest.")
@click.pass_obj
def read(door: Door, session: str | None, thread: str | None) -> Reply:
    """What was said last in the room, each with the id that other commands take."""
    name = door.named_session(session)
    if thread is not None:
        said = door.hub.of_thread(thread, tuple[Said, ...])
    else:
        said = door.hub.of_room(name, "messages", SaidPage, limit=LATEST).messages
    sentence = f"{counted(len(said), 'message')}." if said else "Nothing was said here yet."
    rows = tuple(Row((one.id, one.author.name, _text(one)), f"{one.author.name}: {_text(one)} ({one.id})",
                     named=f"Message {one.sequence}.", ident=f"Message {one.sequence}.") for one in said)  # fmt: skip
    table = Table(("id", "who", "text"), rows) if rows else None
    return Reply(sentence=sentence, named=sentence, ident=sentence, session=name, table=table, data=said)


@room.command("edit", fields={"message": "MESSAGE", "text": "TEXT"})
@click.argument("message")
@click.argument("text")
@click.pass_obj
def edit(door: Door, message: str, text: str) -> Reply:
    """Put MESSAGE of your own in other words; everyone sees that it was edited."""
    said = door.hub.act("message_edit", Said, idempotency_key=door.key(), message=message, text=text)
    return _done("It is edited.", said)


@room.command("unsay", fields={"message": "MESSAGE"})
@click.argument("message")
@click.pass_obj
def unsay(door: Door, message: str) -> Reply:
    """Remove MESSAGE of your own, or another's where you moderate; its text goes for good."""
    said = door.hub.act("message_remove", Said, idempotency_key=door.key(), message=message)
    return _done("It is removed.", said)


@room.command("react", fields={"message": "MESSAGE", "emoji": "EMOJI"})
@click.argument("message")
@click.argument("emoji")
@click.option("--off", is_flag=True, help="Take it back.")
@click.pass_obj
def react(door: Door, message: str, emoji: str, off: bool) -> Reply:
    """Answer MESSAGE with one EMOJI."""
    said = door.hub.act(
        "message_react", Said, idempotency_key=door.key(), message=message, emoji=emoji, on=False if off else None
    )
    return _done("It is taken back." if off else "It is there.", said)


@room.command("report", fields={"message": "MESSAGE", "reason": "REASON"})
@click.argument("message")
@click.argument("reason", default="")
@click.pass_obj
def report(door: Door, message: str, reason: str) -> Reply:
    """Show MESSAGE to those who moderate the room, with a word why."""
    told = door.hub.act("message_report", Reported, idempotency_key=door.key(), message=message, reason=reason)
    return _done("Those who moderate the room can see it; nobody else is told.", told)


@room.command("reports")
@session_option
@click.pass_obj
def list_reports(door: Door, session: str | None) -> Reply:
    """What was reported in the room, for those who moderate it."""
    name = door.named_session(session)
    found: tuple[Report, ...] = door.hub.of_room(name, "reports", tuple[Report, ...])
    rows = tuple(Row((one.id, one.author.name, one.text, one.outcome or "open"),
                     f"{one.reporter.name} reported {one.author.name}: {one.text} ({one.outcome or 'open'}, {one.id})",
                     named="A report.", ident="A report.") for one in found)  # fmt: skip
    sentence = f"{counted(len(found), 'report')}." if found else "Nothing was reported here."
    table = Table(("id", "who", "text", "state"), rows) if rows else None
    return Reply(sentence=sentence, named=sentence, ident=sentence, session=name, table=table, data=found)


@room.command("settle", fields={"report": "REPORT", "outcome": "OUTCOME"})
@click.argument("report")
@click.argument("outcome", type=click.Choice(["removed", "dismissed"]))
@click.pass_obj
def settle(door: Door, report: str, outcome: str) -> Reply:
    """Settle REPORT: the message is removed, or the report dismissed."""
    told = door.hub.act("message_report_settle", Reported, idempotency_key=door.key(), report=report, outcome=outcome)
    return _done("The message is removed." if outcome == "removed" else "The message stands.", told)


def _text(message: Said) -> str:
    """A message in one line, with what is to be known of it."""
    if message.removed:
        return removed_words(message.removed)
    to = f"to {message.to.name} alone: " if message.to else ""
    signs = "".join(f" {one.emoji} {len(one.people)}" for one in message.reactions)
    return to + message.text + (" (edited)" if message.edited else "") + signs


def _done(sentence: str, data: object) -> Reply:
    return Reply(sentence=sentence, named=sentence, ident=sentence, data=data)
