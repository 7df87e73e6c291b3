"""`channel` and `notify`, by a real hub: from within a channel, from the shell, and what is told when it is wrong."""

from __future__ import annotations

import httpx
import pytest

from bot.cards import Reply
from bot.chat_hub import ChatHub
from bot.commands import run
from bot.door import Door, Place
from bot.problems import USAGE, Problem
from hub.core.context import Actor
from hub.core.house import House
from hub.sessions.tables import grants, sessions
from tests.bot.conftest import Shell
from tests.bot.fake_hub import FakeHub
from tests.conftest import Perform
from tests.web.conftest import ORIGIN, Client, application, client  # noqa: F401 - fixtures
from tests.web.test_chats import Wire, link_chat, service_token

HERE = Place("slack", "T1", "C1")


class Chat:
    """What somebody writes in a channel, carried out as the bot does."""

    def __init__(self, house: House, wire: httpx.BaseTransport, person: Actor, user: str) -> None:
        self.hub = ChatHub(ORIGIN, service_token(house), transport=wire)
        self.claim = link_chat(house, person, user)

    def __call__(self, said: str, place: Place = HERE) -> Reply:
        return run(said, Door(lambda: self.hub.as_(self.claim, place.came_by), place=place, call="/collegium "))


@pytest.fixture
def as_ana(house: House, client: Client, ana: Actor) -> Chat:  # noqa: F811
    return Chat(house, Wire(client()), ana, "U1")


@pytest.fixture
def as_ben(house: House, client: Client, ben: Actor) -> Chat:  # noqa: F811
    return Chat(house, Wire(client()), ben, "U2")


def test_a_channel_is_given_to_a_session_and_taken_again(as_ana: Chat) -> None:
    as_ana("session create hcl")
    assert "belongs to no session" in as_ana("channel show").sentence
    given = as_ana("channel use hcl")
    assert given.sentence.startswith("The channel belongs to ana/hcl and shows a card for everything")
    assert not given.is_private
    assert "an hour" in as_ana("channel cards digest").sentence
    assert (
        as_ana("channel show").sentence
        == "This channel belongs to ana/hcl and shows one message an hour with what ended."
    )
    assert "no session" in as_ana("channel use --none").sentence
    # What it shows stays as it was set.
    assert "one message an hour" in as_ana("channel show").sentence


def test_a_channel_of_anothers_session_is_nobody_elses_to_give_away(as_ana: Chat, as_ben: Chat) -> None:
    as_ana("session create hcl")
    as_ana("channel use hcl")
    as_ben("session create mine")
    shown = as_ben("channel show")
    assert "a session you may not see" in shown.sentence and "hcl" not in str(shown)
    for line in ("channel use mine", "channel use --none", "channel cards off"):
        with pytest.raises(Problem) as refused:
            as_ben(line)
        assert (refused.value.status, refused.value.code) == (403, "channel_of_another_session")
    assert "ana/hcl" in as_ana("channel show").sentence


def test_a_channel_is_not_given_to_a_session_one_may_only_read(
    as_ana: Chat, as_ben: Chat, ben: Actor, house: House
) -> None:
    as_ana("session create hcl")
    with house.db.read() as conn:
        session = conn.execute(sessions.select().where(sessions.c.name == "hcl")).one().id
    values = {"session": session, "subject": ben.id, "via": "share", "role": "read_write", "at": house.clock.now()}
    house.db.write(lambda tx: tx.execute(grants.insert().values(**values)))
    with pytest.raises(Problem) as refused:
        as_ben("channel use ana/hcl")
    assert refused.value.status == 403


def test_a_channel_is_given_from_within_it_or_by_who_has_it_already(
    as_ana: Chat, operator: Actor, perform: Perform
) -> None:
    as_ana("session create hcl")
    elsewhere = Place("slack", "T1", "C9")
    with pytest.raises(Problem) as refused:
        as_ana("channel use hcl --channel slack:T1:C1", elsewhere)
    assert (refused.value.status, refused.value.code) == (403, "not_in_channel")
    as_ana("channel use hcl")
    assert "card for what has ended" in as_ana("channel cards ends --channel slack:T1:C1", elsewhere).sentence
    # A channel whose name begins alike is another channel.
    with pytest.raises(Problem):
        as_ana("channel use hcl --channel slack:T1:C2", Place("slack", "T1", "C22"))
    perform(operator, "session_create", name="ops")
    done = perform(operator, "channel_set", platform="slack", workspace="T1", channel="C77", session_id="ops")
    assert done["session"] == "olga/ops"


def test_when_one_is_mentioned_is_set_shown_and_unset(as_ana: Chat) -> None:
    assert "after more than five minutes" in as_ana("notify").sentence
    assert as_ana("notify ends").sentence == "A chat mentions you about your work whenever it ends."
    assert as_ana("notify").sentence.endswith("whenever it ends.")
    assert "never" in as_ana("notify none").sentence
    assert "five minutes" in as_ana("notify default").sentence
    with pytest.raises(Problem) as wrong:
        as_ana("notify sometimes")
    assert wrong.value.exit_code == USAGE


def test_in_the_shell_a_channel_is_named_and_wrong_use_is_told(shell: Shell) -> None:
    hub = FakeHub()
    nowhere = shell("channel", "use", "hcl", transport=hub)
    assert nowhere.code == USAGE
    assert "There is no channel here." in nowhere.err and "--channel slack:WORKSPACE:CHANNEL" in nowhere.err
    assert "names no channel" in shell("channel", "show", "--channel", "general", transport=hub).err
    assert "needs a session, or --none" in shell("channel", "use", "--channel", "slack:T1:C1", transport=hub).err
    both = shell("channel", "use", "hcl", "--none", "--channel", "slack:T1:C1", transport=hub)
    assert both.code == USAGE
    meant = shell("channel", "cards", "endz", "--channel", "slack:T1:C1", transport=hub)
    assert meant.code == USAGE and "ends" in meant.err
    hub.results["channel_set"] = {"channel": "slack:T1:C1", "session": "ana/hcl", "cards": "ends"}
    done = shell("channel", "cards", "ends", "--channel", "slack:T1:C1", transport=hub)
    assert done.code == 0 and "ana/hcl" in done.out
    assert hub.acted[-1] == ("channel_set", {"platform": "slack", "workspace": "T1", "channel": "C1", "cards": "ends"})
    shell("channel", "use", "--none", "--channel", "slack:T1:C1", transport=hub)
    assert hub.acted[-1][1]["session_id"] is None
