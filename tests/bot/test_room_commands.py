"""`room ...` in the shell against a real hub: the queue of hands, polls, the door, standing and mute."""

from bot.problems import CONFLICT, INVALID, NOT_ALLOWED, NOT_FOUND, USAGE
from hub.core.context import Actor
from hub.core.house import House
from hub.rooms.doors import views as doors
from tests.bot.conftest import Collegium


def test_hands_are_raised_listed_and_addressed(collegium: Collegium, lab: str, ben: Actor) -> None:
    assert collegium("room", "hand", "Which gap?", "-s", "ana/lab", by=ben).lines[0] == "Your hand is up; you are next."
    listed = collegium("room", "hands", "-s", "lab")
    assert listed.lines[0] == "1 hand up." and "Ben" in listed.out and "Which gap?" in listed.out
    collegium("room", "next", "cem", "-s", "lab", code=USAGE)
    collegium("room", "next", "-s", "ana/lab", by=ben, code=NOT_ALLOWED)
    assert collegium("room", "next", "ben", "-s", "lab").lines[0] == "Ben was addressed. No hand is left."
    collegium("room", "next", "-s", "lab", code=NOT_FOUND)
    assert collegium("room", "lower", "-s", "lab").lines[0] == "Your hand is down."


def test_a_poll_is_asked_answered_and_closed(collegium: Collegium, lab: str, ben: Actor) -> None:
    collegium("room", "vote", "1", "-s", "ana/lab", by=ben, code=USAGE)
    collegium("room", "poll", "Which gap?", "2886", "-s", "lab", code=INVALID)
    asked = collegium("room", "poll", "Which gap?", "2886", "2868", "-s", "lab")
    assert "2868" in asked.out
    assert "You chose answer 1." in collegium("room", "vote", "1", "-s", "ana/lab", by=ben).out
    collegium("room", "vote", "3", "-s", "ana/lab", by=ben, code=INVALID)
    closed = collegium("room", "poll-close", "-s", "lab", "--json").json
    assert [option["votes"] for option in closed["options"]] == [1, 0]
    assert "It is closed." in collegium("room", "polls", "-s", "ana/lab", by=ben).out


def test_who_may_present_asks_and_ends_a_poll_of_their_own(collegium: Collegium, lab: str, ben: Actor) -> None:
    bens = collegium("room", "poll", "Tea?", "yes, please", "no", "-s", "ana/lab", "--json", by=ben).json
    collegium("room", "poll", "Which gap?", "2886", "2868", "-s", "lab")
    collegium("room", "poll", "More?", "yes", "no", "-s", "ana/lab", by=ben, code=CONFLICT)
    closed = collegium("room", "poll-close", "-s", "ana/lab", "--json", by=ben).json
    assert closed["id"] == bens["id"] and closed["options"][0]["text"] == "yes, please"
    collegium("room", "poll-close", "-s", "ana/lab", by=ben, code=NOT_ALLOWED)
    collegium("room", "poll-close", "-s", "ana/lab")


def test_the_door_is_a_lobby_until_one_is_let_in(collegium: Collegium, house: House, lab: str, ben: Actor) -> None:
    assert collegium("room", "door", "lobby", "-s", "lab").lines[0] == "People wait in the lobby."
    with house.scope(ben) as scope:
        session = scope.access.session("ana/lab", "room:join")
    house.db.write(lambda tx: doors.ask(tx, session, ben.id, ben.name, house.clock.now()))
    assert "Ben" in collegium("room", "door", "-s", "lab").out
    collegium("room", "admit", "cem", "-s", "lab", code=USAGE)
    assert collegium("room", "admit", "ben", "-s", "lab").lines[0] == "Ben was let in."
    assert collegium("room", "door", "open", "-s", "lab").lines[0] == "The door is open."


def test_who_moderates_mutes_and_says_what_others_may(collegium: Collegium, lab: str, ben: Actor) -> None:
    assert collegium("room", "standing", "ben", "observe", "-s", "lab").lines[0] == "ben may look on in the room now."
    collegium("room", "say", "hello", "-s", "ana/lab", by=ben, code=NOT_ALLOWED)
    collegium("room", "standing", "ben", "role", "-s", "lab")
    assert "as number 1" in collegium("room", "say", "hello", "-s", "ana/lab", by=ben).out
    collegium("room", "mute", "-s", "lab", code=USAGE)
    assert collegium("room", "mute", "ben", "-s", "lab").lines[0] == "They are muted."
    assert collegium("room", "mute", "--all", "-s", "lab").lines[0] == "Everybody is muted."


def test_what_was_said_is_read_edited_answered_and_removed(collegium: Collegium, lab: str, ben: Actor) -> None:
    assert collegium("room", "read", "-s", "lab").lines[0] == "Nothing was said here yet."
    said = collegium("room", "say", "2868", "-s", "ana/lab", "--json", by=ben).json["id"]
    collegium("room", "say", "sure?", "-s", "lab", "--thread", said)
    collegium("room", "edit", said, "2886", code=NOT_ALLOWED)
    assert collegium("room", "edit", said, "2886", by=ben).lines[0] == "It is edited."
    collegium("room", "react", said, "ok", code=INVALID)
    collegium("room", "react", said, "👍")
    assert f"Ben: 2886 (edited) 👍 1 ({said})" in collegium("room", "read", "-s", "lab").lines
    assert collegium("room", "read", "-s", "lab", "--thread", said).lines[0] == "2 messages."
    assert collegium("room", "react", said, "👍", "--off").lines[0] == "It is taken back."
    assert collegium("room", "unsay", said).lines[0] == "It is removed."
    assert f"Ben: removed by a moderator ({said})" in collegium("room", "read", "-s", "lab").lines
    collegium("room", "edit", "msg_00000000000000000000000000", "x", code=NOT_FOUND)


def test_a_message_is_reported_and_the_report_settled(collegium: Collegium, lab: str, ben: Actor) -> None:
    rude = collegium("room", "say", "rude", "-s", "lab", "--json").json["id"]
    own = collegium("room", "say", "mine", "-s", "ana/lab", "--json", by=ben).json["id"]
    collegium("room", "report", rude, "not nice", by=ben)
    collegium("room", "reports", "-s", "ana/lab", by=ben, code=NOT_ALLOWED)
    report = collegium("room", "report", own, "spam", "--json").json["report"]
    assert f"Ana reported Ben: mine (open, {report})" in collegium("room", "reports", "-s", "lab").lines
    assert collegium("room", "settle", report, "removed").lines[0] == "The message is removed."
    collegium("room", "settle", report, "dismissed", code=CONFLICT)
