"""The fake refuses what Slack refuses: seen through Slack's own client, so that neither is only true to itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from tests.bot.fake_slack import FakeSlack, Invalid, Rate, check_message, check_view

pytestmark = pytest.mark.slow


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as fake:
        fake.rate("chat.postMessage", None)
        yield fake


@pytest.fixture
def client(slack: FakeSlack) -> WebClient:
    return WebClient(slack.bot_token, base_url=slack.url, retry_handlers=[])


def refusal(call: object, *args: object, **params: object) -> str:
    with pytest.raises(SlackApiError) as caught:
        call(*args, **params)  # type: ignore[operator]
    return str(caught.value.response.data["error"])


def test_a_message_is_posted_edited_found_and_deleted(slack: FakeSlack, client: WebClient) -> None:
    lab = slack.channel("lab")
    posted = client.chat_postMessage(
        channel=lab, text="one", metadata={"event_type": "card", "event_payload": {"job": "job_1"}}
    )
    client.chat_postMessage(channel=lab, text="a reply", thread_ts=posted["ts"])
    client.chat_update(channel=lab, ts=posted["ts"], text="two")
    assert [(m.text, m.edits) for m in slack.messages] == [("two", 1), ("a reply", 0)]
    found = client.conversations_history(channel=lab, include_all_metadata=True)["messages"]
    assert [(m["text"], m["metadata"]["event_payload"]) for m in found] == [("two", {"job": "job_1"})]
    replies = client.conversations_replies(channel=lab, ts=posted["ts"])["messages"]
    assert [m["text"] for m in replies] == ["two", "a reply"]
    client.chat_delete(channel=lab, ts=posted["ts"])
    assert refusal(client.chat_update, channel=lab, ts=posted["ts"], text="three") == "message_not_found"


def test_tokens_and_scopes_are_checked() -> None:
    with FakeSlack(scopes=frozenset({"commands"})) as slack:
        lab, ana = slack.channel("lab"), slack.person("Ana")

        def with_token(token: str) -> WebClient:
            return WebClient(token, base_url=slack.url)

        assert with_token(slack.bot_token).auth_test()["team_id"] == slack.team
        assert refusal(with_token("xoxb-other").auth_test) == "invalid_auth"
        assert refusal(with_token("").auth_test) == "not_authed"
        assert refusal(with_token(slack.bot_token).chat_postMessage, channel=lab, text="x") == "missing_scope"
        assert refusal(with_token(slack.bot_token).users_info, user=ana) == "missing_scope"
        assert refusal(with_token(slack.app_token).chat_postMessage, channel=lab, text="x") == "not_allowed_token_type"


def test_a_bot_speaks_only_where_it_was_invited(slack: FakeSlack, client: WebClient) -> None:
    assert refusal(client.chat_postMessage, channel="C404", text="x") == "channel_not_found"
    assert refusal(client.chat_postMessage, channel=slack.channel("o", with_bot=False), text="x") == "not_in_channel"
    assert refusal(client.chat_postMessage, channel=slack.channel("a", is_archived=True), text="x") == "is_archived"
    assert refusal(client.api_call, "chat.postMessage", json={"channel": slack.channel("l")}) == "no_text"


def test_one_post_a_second_in_each_channel(slack: FakeSlack, client: WebClient) -> None:
    slack.rate("chat.postMessage", Rate(1, 60, each_channel=True))
    lab, other = slack.channel("lab"), slack.channel("other")
    client.chat_postMessage(channel=lab, text="1")
    client.chat_postMessage(channel=other, text="1")
    with pytest.raises(SlackApiError) as caught:
        client.chat_postMessage(channel=lab, text="2")
    assert caught.value.response.status_code == 429
    assert 1 <= int(caught.value.response.headers["Retry-After"]) <= 60


def test_faults_come_in_their_order_and_may_come_after_the_deed(slack: FakeSlack, client: WebClient) -> None:
    lab = slack.channel("lab")
    slack.fault("chat.postMessage", "fatal_error")
    slack.fault("chat.postMessage", "internal_error", is_late=True)
    assert refusal(client.chat_postMessage, channel=lab, text="x") == "fatal_error"
    assert slack.messages == []
    assert refusal(client.chat_postMessage, channel=lab, text="x") == "internal_error"
    assert [m.text for m in slack.messages] == ["x"]


MRKDWN = {"type": "mrkdwn", "text": "x"}
PLAIN = {"type": "plain_text", "text": "x"}


def button(**facts: object) -> dict[str, object]:
    return {"type": "button", "action_id": "a", "text": PLAIN, **facts}


@pytest.mark.parametrize(
    ("error", "blocks"),
    [
        ("invalid_blocks", [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]),
        ("invalid_blocks", [{"type": "section", "text": {"type": "mrkdwn", "text": ""}}]),
        ("invalid_blocks", [{"type": "section", "fields": [MRKDWN] * 11}]),
        ("invalid_blocks", [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}]),
        ("invalid_blocks", [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]),
        ("invalid_blocks", [{"type": "header", "text": MRKDWN}]),
        ("invalid_blocks", [{"type": "actions", "elements": [button(action_id=str(n)) for n in range(26)]}]),
        ("invalid_blocks", [{"type": "actions", "elements": [button(), button()]}]),
        ("invalid_blocks", [{"type": "actions", "elements": [button(text={"type": "plain_text", "text": "x" * 76})]}]),
        ("invalid_blocks", [{"type": "actions", "elements": [button(value="x" * 2001)]}]),
        ("invalid_blocks", [{"type": "actions", "elements": [button(action_id="x" * 256)]}]),
        ("invalid_blocks", [{"type": "actions", "elements": [button(style="warning")]}]),
        ("invalid_blocks", [{"type": "context", "elements": [MRKDWN] * 11}]),
        ("invalid_blocks", [{"type": "section", "text": MRKDWN, "block_id": "x" * 256}]),
        ("invalid_blocks", [{"type": "section", "text": MRKDWN, "block_id": "same"}] * 2),
        ("invalid_blocks", [{"type": "divider"}] * 51),
        ("invalid_blocks", [{"type": "carousel"}]),
        ("msg_blocks_too_long", [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2700}}] * 5),
    ],
)
def test_block_kit_is_checked(error: str, blocks: list[dict[str, object]]) -> None:
    with pytest.raises(Invalid) as caught:
        check_message("x", blocks)
    assert caught.value.error == error


def test_text_ends_at_40_000_characters() -> None:
    check_message("x" * 40_000, None)
    with pytest.raises(Invalid, match="msg_too_long"):
        check_message("x" * 40_001, None)


def test_a_modal_needs_a_title_and_a_way_to_send_it() -> None:
    field = {
        "type": "input",
        "block_id": "b",
        "label": PLAIN,
        "element": {"type": "plain_text_input", "action_id": "v"},
    }
    whole = {"type": "modal", "title": PLAIN, "submit": PLAIN, "blocks": [field]}
    check_view(whole)
    for broken in (
        {**whole, "title": {"type": "plain_text", "text": "x" * 25}},
        {name: part for name, part in whole.items() if name != "submit"},
        {**whole, "private_metadata": "x" * 3001},
    ):
        with pytest.raises(Invalid):
            check_view(broken)


def test_a_trigger_opens_one_modal_and_only_soon(slack: FakeSlack, client: WebClient) -> None:
    view = {"type": "modal", "title": PLAIN, "blocks": [{"type": "section", "text": PLAIN}]}
    trigger = slack.state.trigger()
    client.views_open(trigger_id=trigger, view=view)
    assert refusal(client.views_open, trigger_id=trigger, view=view) == "exchanged_trigger_id"
    assert refusal(client.views_open, trigger_id="1.2.3", view=view) == "invalid_trigger_id"
    late = slack.state.trigger()
    slack.state.triggers[late] = (time.monotonic() - 3.1, False)
    assert refusal(client.views_open, trigger_id=late, view=view) == "expired_trigger_id"


def test_a_response_url_is_good_five_times(slack: FakeSlack) -> None:
    from slack_sdk.webhook import WebhookClient

    ana, lab = slack.person("Ana"), slack.channel("lab")
    hook = WebhookClient(slack._hook(ana, lab))
    assert [hook.send(text=str(n)).status_code for n in range(6)] == [200] * 5 + [404]
    assert {m.to for m in slack.messages} == {ana}


def test_files_go_up_in_three_steps_and_down_with_the_token(slack: FakeSlack, client: WebClient) -> None:
    lab = slack.channel("lab")
    client.files_upload_v2(channel=lab, filename="log.txt", content="all of it")
    [message] = slack.messages
    assert slack.state.files[message.files[0]]["content"] == b"all of it"
    assert client.files_info(file=message.files[0])["file"]["name"] == "log.txt"


def test_requests_are_signed_as_slack_signs_them(slack: FakeSlack) -> None:
    body = b"token=x&text=%F0%9F%94%AC"
    assert SignatureVerifier(slack.signing_secret).is_valid_request(body, slack.signed(body))
    assert not SignatureVerifier(slack.signing_secret).is_valid_request(body, slack.signed(body, secret="other"))


def test_socket_mode_says_hello_and_takes_acknowledgements(slack: FakeSlack) -> None:
    ana, lab = slack.person("Ana"), slack.channel("lab")
    received: list[str] = []

    async def listen() -> None:
        client = SocketModeClient(app_token=slack.app_token, web_client=AsyncWebClient(base_url=slack.url))

        async def answer(client: object, request: SocketModeRequest) -> None:
            received.append(request.type)
            await client.send_socket_mode_response(  # type: ignore[attr-defined]
                SocketModeResponse(envelope_id=request.envelope_id, payload={"text": "heard"})
            )

        client.socket_mode_request_listeners.append(answer)
        await client.connect()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, slack.sockets.connected.wait, 10)
        delivery = await loop.run_in_executor(None, lambda: slack.command(ana, "/collegium", "help", channel=lab))
        assert delivery.body == {"text": "heard"}
        await client.close()

    asyncio.run(listen())
    assert received == ["slash_commands"]
    assert [m.text for m in slack.seen_by(ana)] == ["heard"]


def test_an_event_nobody_acknowledges_comes_again_as_the_same_event(slack: FakeSlack) -> None:
    slack.deliver_to("http://127.0.0.1:9")  # nobody listens
    ana, lab = slack.person("Ana"), slack.channel("lab")
    delivery = slack.mention(ana, "help", channel=lab)
    assert [(one.status, one.retry) for one in delivery.attempts] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert delivery.event_id.startswith("Ev")
