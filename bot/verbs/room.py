"""`room ...`: what one does in a room, in words: say something, raise a hand, vote, and what moderators do."""

import click

from bot.cards import Reply, Row, Table, fields
from bot.door import Door
from bot.grammar import session_option
from bot.problems import usage
from bot.room_views import (
    Admitted,
    Hand,
    HandAddressed,
    HandRaised,
    Muted,
    Poll,
    RoomDoor,
    Said,
    Standing,
)
from bot.verbs.session import room
from bot.words import counted

__all__ = ["room"]


@room.command("say", fields={"text": "TEXT", "to": "--to", "thread": "--thread", "about": "--about"})
@click.argument("text")
@session_option
@click.option("--to", metavar="PERSON", help="The one person who is to read it.")
@click.option("--thread", metavar="MESSAGE", help="The message it answers.")
@click.option("--about", metavar="THING", help="What it is about: job:REF#L12, artifact:REF, entry:REF, draft:REF.")
@click.pass_obj
def say(door: Door, text: str, session: str | None, to: str | None, thread: str | None, about: str | None) -> Reply:
    """Say something in the session's room."""
    name = door.named_session(session)
    said = door.hub.act(
        "room_message", Said, idempotency_key=door.key(), session_id=name, text=text, to=to, thread=thread, about=about
    )
    sentence = f"Said in {name} as number {said.sequence}."
    return Reply(sentence=sentence, named=sentence, ident="It is said.", session=name, data=said)


@room.command("hand", fields={"question": "QUESTION"})
@click.argument("question", default="")
@session_option
@click.option("--quiet", is_flag=True, help="Seen by those who moderate, and by nobody else.")
@click.pass_obj
def raise_hand(door: Door, question: str, session: str | None, quiet: bool) -> Reply:
    """Raise your hand, perhaps with a question."""
    name = door.named_session(session)
    raised = door.hub.act(
        "room_hand", HandRaised, idempotency_key=door.key(), session_id=name, question=question, quiet=quiet
    )
    said = "you are next" if raised.before == 0 else f"{raised.before} before you"
    return _done(name, f"Your hand is up; {said}.", raised)


@room.command("lower")
@session_option
@click.pass_obj
def lower_hand(door: Door, session: str | None) -> Reply:
    """Lower your hand."""
    name = door.named_session(session)
    lowered = door.hub.act("room_hand", HandRaised, idempotency_key=door.key(), session_id=name, up=False)
    return _done(name, "Your hand is down.", lowered)


@room.command("hands")
@session_option
@click.pass_obj
def list_hands(door: Door, session: str | None) -> Reply:
    """Whose hand is up, first come first."""
    name = door.named_session(session)
    up: tuple[Hand, ...] = door.hub.of_room(name, "hands", tuple[Hand, ...])
    rows = tuple(
        Row(
            (str(hand.place), hand.name, hand.question),
            f"{hand.place}. {hand.name}" + (f": {hand.question}" if hand.question else ""),
            named=f"Hand {hand.place} is up.",
            ident=f"Hand {hand.place} is up.",
        )
        for hand in up
    )
    sentence = f"{counted(len(up), 'hand')} up." if up else "No hand is up."
    table = Table(("place", "who", "question"), rows) if rows else None
    return Reply(sentence=sentence, named=sentence, ident=sentence, session=name, table=table, data=up)


@room.command("next", fields={"person": "PERSON"})
@click.argument("person", required=False)
@session_option
@click.pass_obj
def address_hand(door: Door, person: str | None, session: str | None) -> Reply:
    """Call upon whoever is first, or upon PERSON; their hand goes down."""
    name = door.named_session(session)
    if person is not None:
        up: tuple[Hand, ...] = door.hub.of_room(name, "hands", tuple[Hand, ...])
        person = _the_one(person, {hand.person: hand.name for hand in up}, "nobody of that name has a hand up")
    called = door.hub.act(
        "room_hand_addressed", HandAddressed, idempotency_key=door.key(), session_id=name, person=person
    )
    left = f"{counted(called.left, 'hand')} left." if called.left else "No hand is left."
    return _done(name, f"{called.name} was addressed. {left}", called, plain=f"A hand was addressed. {left}")


@room.command("poll", fields={"question": "QUESTION", "options": "ANSWER"})
@click.argument("question")
@click.argument("answers", nargs=-1, metavar="ANSWER ANSWER...", required=True)
@session_option
@click.option("--named", is_flag=True, help="Show who chose what.")
@click.option("--open-count", is_flag=True, help="Show the count while the poll runs.")
@click.pass_obj
def ask_poll(
    door: Door, question: str, answers: tuple[str, ...], session: str | None, named: bool, open_count: bool
) -> Reply:
    """Ask the room QUESTION, with two to eight answers to choose from; whoever may present may ask."""
    name = door.named_session(session)
    asked = door.hub.act(
        "room_poll", Poll, idempotency_key=door.key(), session_id=name, question=question, options=answers,
        anonymous=not named, shown_at_end=not open_count,
    )  # fmt: skip
    return _poll(name, asked, f"Asked in {name}.")


@room.command("vote", fields={"option": "NUMBER", "poll": "--poll"})
@click.argument("number", type=click.IntRange(1, 8))
@session_option
@click.option("--poll", metavar="ID", help="Which poll; else the newest one that is open.")
@click.pass_obj
def vote(door: Door, number: int, session: str | None, poll: str | None) -> Reply:
    """Choose answer NUMBER of the poll that is open."""
    name = door.named_session(session)
    poll = poll or _open_poll(door, name)
    voted = door.hub.act("room_vote", Poll, idempotency_key=door.key(), poll=poll, option=number)
    return _poll(name, voted, f"You chose answer {number}.")


@room.command("polls")
@session_option
@click.pass_obj
def show_polls(door: Door, session: str | None) -> Reply:
    """The newest poll of the room, and what was chosen once that is shown."""
    name = door.named_session(session)
    asked: tuple[Poll, ...] = door.hub.of_room(name, "polls", tuple[Poll, ...])
    if not asked:
        return _done(name, "Nothing was asked in this room yet.", asked)
    closed = " It is closed." if asked[0].closed else ""
    return _poll(name, asked[0], f"{counted(asked[0].votes, 'vote')}.{closed}")


@room.command("poll-close", fields={"poll": "--poll"})
@session_option
@click.option("--poll", metavar="ID", help="Which poll; else the newest of yours that is open, or of anybody's.")
@click.pass_obj
def close_poll(door: Door, session: str | None, poll: str | None) -> Reply:
    """End the poll and show what was chosen; whoever asked it may, and whoever moderates."""
    name = door.named_session(session)
    poll = poll or _open_poll(door, name, prefers=door.me.id)
    closed = door.hub.act("room_poll_close", Poll, idempotency_key=door.key(), poll=poll)
    return _poll(name, closed, f"The poll is closed with {counted(closed.votes, 'vote')}.")


@room.command("door", fields={"state": "STATE"})
@click.argument("state", type=click.Choice(["open", "lobby", "locked"]), required=False)
@session_option
@click.pass_obj
def set_door(door: Door, state: str | None, session: str | None) -> Reply:
    """Set the room's door: open, a lobby where people wait, or locked; without STATE, show it and who waits."""
    name = door.named_session(session)
    if state is not None:
        stands = door.hub.act("room_door", RoomDoor, idempotency_key=door.key(), session_id=name, state=state)
    else:
        stands = door.hub.of_room(name, "door", RoomDoor)
    words = {"open": "The door is open.", "lobby": "People wait in the lobby.", "locked": "The room is locked."}
    rows = tuple(Row((one.name,), f"{one.name} waits.", "Somebody waits.", "Somebody waits.") for one in stands.waiting)
    sentence = words.get(stands.state, f"The door is {stands.state}.")
    return Reply(
        sentence=sentence, named=sentence, ident=sentence, session=name, data=stands,
        table=Table(("waits",), rows) if rows else None,
    )  # fmt: skip


@room.command("admit", fields={"person": "PERSON"})
@click.argument("person")
@session_option
@click.option("--not", "is_refused", is_flag=True, help="Turn them away instead.")
@click.pass_obj
def admit(door: Door, person: str, session: str | None, is_refused: bool) -> Reply:
    """Let PERSON in who waits in the lobby."""
    name = door.named_session(session)
    stands = door.hub.of_room(name, "door", RoomDoor)
    who = _the_one(person, {one.person: one.name for one in stands.waiting}, "nobody of that name waits in the lobby")
    told = door.hub.act(
        "room_admit", Admitted, idempotency_key=door.key(), session_id=name, person=who, admit=not is_refused
    )
    deed = "let in" if told.admitted else "turned away"
    return _done(name, f"{told.name} was {deed}.", told, plain=f"Somebody was {deed}.")


@room.command("standing", fields={"person": "PERSON", "standing": "STANDING"})
@click.argument("person")
@click.argument("standing", type=click.Choice(["present", "speak", "write", "caption", "observe", "role"]))
@session_option
@click.pass_obj
def set_standing(door: Door, person: str, standing: str, session: str | None) -> Reply:
    """Say what PERSON may do in the room: present, speak, write, caption, observe; `role`: what their role says."""
    name = door.named_session(session)
    said = door.hub.act(
        "room_standing", Standing, idempotency_key=door.key(), session_id=name, person=person,
        standing=None if standing == "role" else standing,
    )  # fmt: skip
    words = {
        "present": "may present",
        "speak": "may speak",
        "write": "may write",
        "caption": "may caption",
        "observe": "may look on",
    }
    what = words.get(said.standing or "", "may do what their role says")
    return _done(name, f"{person} {what} in the room now.", said, plain=f"Somebody {what} in the room now.")


@room.command("mute", fields={"person": "PERSON"})
@click.argument("person", required=False)
@session_option
@click.option("--all", "is_all", is_flag=True, help="Everybody who does not moderate.")
@click.option("--camera", is_flag=True, help="Switch the camera off too.")
@click.pass_obj
def mute(door: Door, person: str | None, session: str | None, is_all: bool, camera: bool) -> Reply:
    """Switch PERSON's microphone off; they can switch it on again."""
    if is_all == (person is not None):
        raise usage("Whom to mute was not said.", hint="Name somebody, or say --all.")
    name = door.named_session(session)
    muted = door.hub.act(
        "room_mute", Muted, idempotency_key=door.key(), session_id=name, person=person, camera=camera or None
    )
    return _done(name, "Everybody is muted." if is_all else "They are muted.", muted)


def _done(session: str, sentence: str, data: object, plain: str = "") -> Reply:
    plain = plain or sentence
    return Reply(sentence=sentence, named=plain, ident=plain, session=session, data=data)


def _poll(session: str, poll: Poll, sentence: str) -> Reply:
    rows = tuple(
        Row(
            (str(one.number), one.text, "" if one.votes is None else str(one.votes)),
            f"{one.number}. {one.text}" + ("" if one.votes is None else f": {counted(one.votes, 'vote')}"),
            named=f"Answer {one.number}" + ("." if one.votes is None else f": {counted(one.votes, 'vote')}."),
            ident=f"Answer {one.number}" + ("." if one.votes is None else f": {counted(one.votes, 'vote')}."),
        )
        for one in poll.options
    )
    plain = sentence.replace(f" in {session}", "")
    return Reply(
        sentence=sentence, named=plain, ident=plain, session=session, title=poll.question,
        fields=fields("", poll=poll.id), table=Table(("number", "answer", "votes"), rows), data=poll,
    )  # fmt: skip


def _open_poll(door: Door, session: str, prefers: str = "") -> str:
    """The newest poll that is open, asked by whom `prefers` names if there is one."""
    asked: tuple[Poll, ...] = door.hub.of_room(session, "polls", tuple[Poll, ...])
    still_open = [poll for poll in asked if poll.closed is None]
    if still_open:
        return next((poll for poll in still_open if poll.by.id == prefers), still_open[0]).id
    raise usage("No poll is open in this room.", hint="See the last one with `room polls`.")


def _the_one(said: str, known: dict[str, str], otherwise: str) -> str:
    """The id of the person somebody means: by id, or by the name that is shown."""
    wanted = said.removeprefix("@").casefold()
    found = [person for person, name in known.items() if wanted in (person.casefold(), name.casefold())]
    if len(found) == 1:
        return found[0]
    if found:
        raise usage(f"More than one is called {said}.", hint=f"Say which by id: {', '.join(found)}.")
    raise usage(f"{otherwise[:1].upper()}{otherwise[1:]}.", hint=f"There are: {', '.join(known.values()) or 'nobody'}.")
