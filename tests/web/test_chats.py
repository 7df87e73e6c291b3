"""What the bot keeps at the hub: only services may ask, rows outlive the asker, one follower at a time writes."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from bot.chat_hub import Card, ChatHub, Claim, Claimed
from bot.hub_client import Unanswered
from bot.problems import Problem
from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.house import House
from hub.core.ids import new_id, new_secret, secret_digest
from hub.ledger.sequencer import pass_once
from hub.people.tables import chat_identities, tokens
from tests.conftest import NOW, Perform
from tests.web.conftest import ORIGIN, Client, act

TOKENS = {"bot_token": "xoxb-the-token", "signing_secret": "the-signing-secret", "app_token": "xapp-the-app"}


class Wire(httpx.BaseTransport):
    """An httpx transport into the web process of a test."""

    def __init__(self, inside: TestClient) -> None:
        self.inside = inside
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.inside.request(
            request.method, str(request.url), content=request.read(), headers=dict(request.headers)
        )
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


def service_token(house: House) -> str:
    """The bot's own token, as an embedded hub makes it."""
    secret = new_secret("clg")
    values = {"id": new_id("tok"), "kind": "service", "name": "bot", "digest": secret_digest(secret)}
    house.db.write(lambda tx: tx.execute(sa.insert(tokens).values(created_at=NOW, **values)))
    return secret


@pytest.fixture
def hub(house: House, client: Client) -> ChatHub:
    return ChatHub(ORIGIN, service_token(house), transport=Wire(client()))


def link_chat(house: House, person: Actor, user: str = "U1", workspace: str = "T1") -> str:
    """The person's chat account; returns the claim under which the bot speaks for them."""
    values = {"platform": "slack", "workspace": workspace, "user": user, "person": person.id}
    house.db.write(
        lambda tx: tx.execute(
            sa.insert(chat_identities).values(shown_name=person.name, via="link", linked_at=NOW, **values)
        )
    )
    return f"chat:slack:{workspace}:{user}"


def test_the_tokens_of_a_workspace_reach_the_bot_and_lie_sealed(
    house: House, hub: ChatHub, operator: Actor, perform: Perform
) -> None:
    perform(operator, "chat_install", platform="slack", **TOKENS)
    (one,) = hub.installations()
    assert (one.bot_token, one.signing_secret, one.app_token) == tuple(TOKENS.values())
    hub.introduce(one, workspace="T1", name="Photonics", bot_user="U9")
    (known,) = hub.installations()
    assert (known.workspace, known.name, known.bot_user, known.bot_token) == ("T1", "Photonics", "U9", "xoxb-the-token")
    stored = b"".join(path.read_bytes() for path in house.settings.data.glob("hub.sqlite3*"))
    assert not any(secret.encode() in stored for secret in TOKENS.values())


def test_a_workspace_that_is_connected_again_has_its_new_tokens_and_one_row(
    hub: ChatHub, operator: Actor, perform: Perform
) -> None:
    perform(operator, "chat_install", platform="slack", workspace="T1", **TOKENS)
    perform(operator, "chat_install", platform="slack", **{**TOKENS, "bot_token": "xoxb-a-newer-one"})
    hub.introduce(hub.installations()[1], workspace="T1", name="Photonics", bot_user="U9")
    assert [one.bot_token for one in hub.installations()] == ["xoxb-a-newer-one"]
    perform(operator, "chat_uninstall", platform="slack", workspace="T1")
    assert hub.installations() == ()


def test_an_operator_is_told_that_a_workspace_takes_its_tokens_no_more(
    hub: ChatHub, operator: Actor, ana: Actor, perform: Perform, client: Client
) -> None:
    perform(operator, "chat_install", platform="slack", workspace="T1", **TOKENS)
    hub.broken("slack", "T1", "token_revoked")
    answer = client(operator).get("/api/chats/installations")
    assert [(one["workspace"], one["broken"]) for one in answer.json()] == [("T1", "token_revoked")]
    assert not any(secret in answer.text for secret in TOKENS.values())
    assert client(ana).get("/api/chats/installations").status_code == 403
    perform(operator, "chat_install", platform="slack", workspace="T1", **TOKENS)
    assert client(operator).get("/api/chats/installations").json()[0]["broken"] is None


QUESTIONS = (
    "installations introduce broken seen channel person follow cards/claim cards/change cards/unsettled cards/look"
)


@pytest.mark.parametrize("path", QUESTIONS.split())
def test_nobody_but_a_service_asks_these(client: Client, ana: Actor, operator: Actor, path: str) -> None:
    for who in (ana, operator):
        answer = client(who).post(f"/api/chats/{path}", json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert client().post(f"/api/chats/{path}", json={}).status_code == 401


def test_a_service_that_acts_as_somebody_is_that_person_here_too(
    house: House, hub: ChatHub, operator: Actor, perform: Perform
) -> None:
    perform(operator, "chat_install", platform="slack", workspace="T1", **TOKENS)
    with pytest.raises(Problem) as refused:
        hub.as_(link_chat(house, operator)).installations()
    assert refused.value.status == 403


def test_an_event_is_seen_once_and_forgotten_after_an_hour(hub: ChatHub, clock: FrozenClock) -> None:
    assert [hub.seen("slack", "Ev1"), hub.seen("slack", "Ev1"), hub.seen("slack", "Ev2")] == [True, False, True]
    clock.advance(limits.CHAT_SEEN_SECONDS + 1)
    assert hub.seen("slack", "Ev1")


def test_an_event_that_cannot_be_recorded_is_refused(
    house: House, hub: ChatHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(house.db, "write", broken)
    with pytest.raises(Problem) as refused:
        hub.seen("slack", "Ev1")
    assert refused.value.status == 503


def test_the_bot_speaks_for_a_linked_account_and_the_ledger_knows_where_from(
    house: House, hub: ChatHub, ana: Actor
) -> None:
    claim = link_chat(house, ana)
    for_ana = hub.as_(claim, "slack:T1:C1:17.5", deadline_seconds=2.0)
    assert for_ana.me().handle == "ana"
    for_ana.act("session_create", dict[str, Any], name="hcl")
    with house.db.read() as conn:
        body = conn.exec_driver_sql("SELECT bytes FROM ledger_bodies ORDER BY line DESC").scalar_one()
    assert msgspec.json.decode(body)["came_by"] == "slack:T1:C1:17.5"
    with pytest.raises(Problem) as unknown:
        hub.as_("chat:slack:T1:U404").me()
    assert (unknown.value.status, unknown.value.code) == (401, "chat_not_linked")
    # The one it came from speaks for nobody still.
    assert hub.installations() == ()


def test_a_deadline_holds_over_everything_asked_under_it(hub: ChatHub) -> None:
    with pytest.raises(Unanswered):
        hub.as_("per_1", deadline_seconds=0.0).me()


def test_a_channel_is_read_by_the_bot_and_by_people(
    house: House, hub: ChatHub, ana: Actor, ben: Actor, perform: Perform, client: Client
) -> None:
    perform(ana, "session_create", name="hcl")
    assert hub.channel("slack", "T1", "C1").session is None
    hub.as_(link_chat(house, ana), "slack:T1:C1").act(
        "channel_set", dict[str, Any], platform="slack", workspace="T1", channel="C1", session_id="hcl", cards="ends"
    )
    one = hub.channel("slack", "T1", "C1")
    assert (one.session, one.cards, one.chat_detail) == ("ana/hcl", "ends", "full")
    assert client(ana).get("/api/chats/channels/slack:T1:C1").json()["session"] == "ana/hcl"
    seen_by_ben = client(ben).get("/api/chats/channels/slack:T1:C1").json()
    assert (seen_by_ben["session"], seen_by_ben["hidden"], seen_by_ben["cards"]) == (None, True, "ends")
    assert client(ana).get("/api/chats/channels/nowhere").status_code == 400
    assert [c.channel for c in hub.look(sessions=(one.session_id or "",)).sessions[0].channels] == ["slack:T1:C1"]


def test_people_say_when_they_are_mentioned(
    house: House, hub: ChatHub, ana: Actor, perform: Perform, client: Client
) -> None:
    link_chat(house, ana)
    assert hub.mentioned(ana.id, "slack", "T1").notify is None
    perform(ana, "notify_set", notify="ends")
    known = hub.mentioned(ana.id, "slack", "T1")
    assert (known.notify, known.users) == ("ends", ("U1",))
    assert client(ana).get("/api/chats/notify").json() == {"notify": "ends"}
    perform(ana, "notify_set", notify=None)
    assert hub.mentioned(ana.id, "slack", "T2").notify is None
    assert act(client(ana), "notify_set", notify="sometimes").status_code == 400


def claim(hub: ChatHub, epoch: int, **more: Any) -> Claimed:
    place = {"platform": "slack", "workspace": "T1", "channel": "C1"}
    (claimed,) = hub.claim_cards(epoch, [Claim(**place, kind="job", object="job_1", **more)])
    return claimed


def change(hub: ChatHub, epoch: int, card: str, **what: Any) -> Card:
    changed, nobody = hub.change_cards(epoch, [{"id": card, **what}, {"id": "crd_none", "shown": "x"}])
    assert nobody is None and changed is not None
    return changed


def test_one_process_follows_at_a_time_and_the_next_goes_on_where_it_stopped(
    house: House, hub: ChatHub, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    perform(ana, "session_create", name="one")
    pass_once(house.db, "test", house.clock.now())
    first = hub.follow("a")
    assert first.held
    assert not hub.follow("b").held
    assert hub.follow("a", first.sequence).epoch == first.epoch
    clock.advance(limits.CHAT_LEASE_SECONDS + 1)
    second = hub.follow("b")
    assert (second.held, second.epoch, second.sequence) == (True, first.epoch + 1, first.sequence)
    with pytest.raises(Problem) as stale:
        claim(hub, first.epoch)
    assert stale.value.code == "stale_follower"
    hub.follow("b", release=True)
    assert hub.follow("a").held


def test_a_card_is_claimed_once_and_its_row_keeps_what_became_of_it(hub: ChatHub) -> None:
    epoch = hub.follow("a").epoch
    made = claim(hub, epoch, session="ses_1", person="per_1")
    again = claim(hub, epoch)
    assert (made.made, again.made, again.card.id, again.card.state) == (True, False, made.card.id, "wanted")
    change(hub, epoch, made.card.id, state="posted", message="17.5", shown="abc")
    (open_card,) = hub.unsettled_cards()
    assert (open_card.state, open_card.message, open_card.shown) == ("posted", "17.5", "abc")
    change(hub, epoch, made.card.id, settled=True)
    assert hub.unsettled_cards() == []


def test_messages_about_a_job_are_forgotten_on_request_of_who_may_share(
    hub: ChatHub, ana: Actor, ben: Actor, perform: Perform, client: Client
) -> None:
    session = perform(ana, "session_create", name="hcl")["session"]
    epoch = hub.follow("a").epoch
    card = claim(hub, epoch, session=session).card
    change(hub, epoch, card.id, state="posted", message="17.5", settled=True)
    assert act(client(ben), "chat_forget", object="job_1").status_code == 404
    assert perform(ana, "chat_forget", object="job_1")["cards"] == 1
    # What its follower writes of the card meanwhile does not undo the request.
    assert change(hub, epoch, card.id, state="posted", settled=True).state == "forgetting"
    (asked,) = hub.unsettled_cards()
    assert asked.state == "forgetting"
    assert change(hub, epoch, card.id, state="forgotten", settled=True).state == "forgotten"
    assert hub.unsettled_cards() == []
