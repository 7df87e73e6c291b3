"""The fake itself: a server in a thread, and the hands of the people who use Slack."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import uvicorn

from tests.bot.fake_slack.blocks import check_message
from tests.bot.fake_slack.socket_mode import SocketMode
from tests.bot.fake_slack.state import ALL_SCOPES, Attempt, Call, Delivery, Fault, Message, Rate, State
from tests.bot.fake_slack.web_api import WebApi
from tests.waiting import wait_for

ACK_SECONDS = 3.0
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


class FakeSlack:
    """One workspace on loopback. `retry_seconds` is when an event is delivered again that was not acknowledged."""

    def __init__(
        self,
        team: str = "T0LAB",
        *,
        scopes: frozenset[str] = ALL_SCOPES,
        retry_seconds: tuple[float, ...] = (0.0, 0.05, 0.1),
        signing_secret: str = SIGNING_SECRET,
    ) -> None:
        self.team, self.bot_user, self.app_id = team, "U0BOT", "A0COLLEGIUM"
        self.bot_token, self.app_token, self.signing_secret = "xoxb-0-fake", "xapp-1-fake", signing_secret
        self.retry_seconds = retry_seconds
        self.state = State(team, self.app_id, self.bot_user)
        self.tokens = {self.bot_token: scopes, self.app_token: frozenset({"connections:write"})}
        self.sockets = SocketMode(self.state)
        self._to: httpx.Client | None = None
        self._signed_at: dict[bytes, int] = {}
        self._listen = socket.create_server(("127.0.0.1", 0))
        self.port = self._listen.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/api/"
        config = uvicorn.Config(
            WebApi(self.state, self.tokens, self.sockets).app, log_level="error", access_log=False, lifespan="off",
            ws="websockets-sansio", timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listen]}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < deadline and self._thread.is_alive(), "the fake Slack did not start"
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listen.close()
        if self._to is not None:
            self._to.close()

    # What is there, and what was done.

    @property
    def messages(self) -> list[Message]:
        return [m for m in self.state.messages if not m.is_deleted]

    @property
    def calls(self) -> list[Call]:
        return self.state.calls

    def called(self, method: str) -> list[Call]:
        return [call for call in self.state.calls if call.method == method]

    def seen_by(self, user: str) -> list[Message]:
        """What this person sees: everything in their channels, and what is for them alone."""
        return [
            m for m in self.messages
            if m.to == user or (m.to is None and user in self.state.channels[m.channel]["members"])
        ]  # fmt: skip

    def wait_for(self, holds: Any, seconds: float = 10.0) -> Any:
        """The first true value of `holds()`; an assertion fails when there is none in time."""
        return wait_for(holds, seconds, lambda: f"seen were {[(m.via, m.text) for m in self.messages]}")

    # The workspace.

    def person(self, name: str, *, ident: str = "", email: str = "", **facts: Any) -> str:
        """Somebody; facts as users.info has them: is_restricted, is_ultra_restricted, is_stranger, is_bot, deleted."""
        ident = ident or f"U{self.state.number():08d}"
        defaults = {"is_restricted": False, "is_ultra_restricted": False, "is_bot": False, "deleted": False}
        self.state.users[ident] = {
            "id": ident, "team_id": self.team, "name": name.lower(), "real_name": name,
            "profile": {"email": email, "real_name": name, "display_name": name}, **defaults, **facts,
        }  # fmt: skip
        for channel in self.state.channels.values():
            if not channel.get("is_im"):
                channel["members"].add(ident)
        return ident

    def channel(self, name: str, *, is_private: bool = False, with_bot: bool = True, **facts: Any) -> str:
        """A channel everybody is in."""
        ident = f"{'G' if is_private else 'C'}{self.state.number():08d}"
        members = {user for user in self.state.users if user != self.bot_user}
        self.state.channels[ident] = {
            "id": ident, "name": name, "is_channel": not is_private, "is_private": is_private, "is_archived": False,
            "members": members | ({self.bot_user} if with_bot else set()), **facts,
        }  # fmt: skip
        return ident

    def direct(self, user: str) -> str:
        """The person's direct messages with the bot."""
        ident = "D" + user[1:]
        members = {user, self.bot_user}
        self.state.channels.setdefault(
            ident, {"id": ident, "is_im": True, "user": user, "members": members, "name": ""}
        )
        return ident

    def file(self, name: str, content: bytes) -> str:
        """A file somebody put into Slack."""
        ident = f"F{self.state.number():08d}"
        self.state.files[ident] = {"id": ident, "name": name, "title": name, "size": len(content), "content": content}
        return ident

    def fault(
        self, method: str, error: str = "", *, times: int = 1, status: int = 200, retry_after: int | None = None,
        seconds: float = 0.0, is_late: bool = False,
    ) -> None:  # fmt: skip
        """Let the next calls of a method fail: by name, by status, by silence; `is_late` after having been done."""
        for _ in range(times):
            self.state.faults[method].append(Fault(error, status, retry_after, seconds, is_late))

    def rate(self, method: str, rate: Rate | None) -> None:
        self.state.rates[method] = rate

    # People's hands.

    def deliver_to(self, url: str = "http://bot", *, uds: str | None = None) -> None:
        """Where the bot's request URLs are: `{url}/slack/events`, over a Unix socket when one is named."""
        if self._to is not None:
            self._to.close()
        transport = httpx.HTTPTransport(uds=uds, limits=httpx.Limits(max_connections=200))
        self._to = httpx.Client(base_url=url, transport=transport, timeout=30)

    def command(self, user: str, command: str, text: str = "", *, channel: str = "", **facts: Any) -> Delivery:
        """Somebody writes a slash command. What is acknowledged with is shown to them alone."""
        channel = channel or self.direct(user)
        trigger, hook = self.state.trigger(), self._hook(user, channel)
        form = {
            "token": "legacy", "team_id": self.team, "team_domain": "lab", "channel_id": channel,
            "channel_name": self.state.channels[channel].get("name") or "directmessage", "user_id": user,
            "user_name": self.state.users[user]["name"], "command": command, "text": text, "api_app_id": self.app_id,
            "is_enterprise_install": "false", "response_url": hook, "trigger_id": trigger, **facts,
        }  # fmt: skip
        delivery = Delivery(trigger=trigger, response_url=hook)
        delivery.attempts.append(self._send("slash_commands", form))
        self._show(delivery, user, channel)
        return delivery

    def mention(
        self,
        user: str,
        text: str,
        *,
        channel: str,
        thread: str | None = None,
        files: tuple[str, ...] = (),
        **facts: Any,
    ) -> Delivery:
        """Somebody writes a message that names the bot."""
        return self._said("app_mention", user, f"<@{self.bot_user}> {text}", channel, thread, files, facts)

    def say(
        self, user: str, text: str, *, channel: str = "", thread: str | None = None, files: tuple[str, ...] = (),
        **facts: Any,
    ) -> Delivery:  # fmt: skip
        """Somebody writes a message where the bot listens: in their direct messages unless a channel is named."""
        channel = channel or self.direct(user)
        kind = {"C": "channel", "G": "group", "D": "im"}[channel[0]]
        return self._said("message", user, text, channel, thread, files, {"channel_type": kind, **facts})

    def event(self, event: dict[str, Any], *, retries: bool = True, **outer: Any) -> Delivery:
        """Any event, delivered again until it is acknowledged, under the same event_id and a new signature."""
        event_id = outer.pop("event_id", f"Ev{self.state.number():08d}")
        body = {
            "token": "legacy", "team_id": self.team, "api_app_id": self.app_id, "event": event,
            "type": "event_callback", "event_id": event_id, "event_time": int(time.time()),
            "is_ext_shared_channel": False,
            "authorizations": [{"team_id": self.team, "user_id": self.bot_user, "is_bot": True}], **outer,
        }  # fmt: skip
        delivery = Delivery(event_id=event_id)
        for number, pause in enumerate((0.0, *(self.retry_seconds if retries else ()))):
            time.sleep(pause)
            delivery.attempts.append(self._send("events_api", body, retry=number))
            if 200 <= delivery.status < 300:
                break
        return delivery

    def click(self, user: str, message: Message, label: str) -> Delivery:
        """Somebody presses a button (and confirms, where it asks)."""
        button = message.buttons[label]
        trigger, hook = self.state.trigger(), self._hook(user, message.channel)
        action = {
            "type": "button", "action_id": button["action_id"], "block_id": button["block_id"], "text": button["text"],
            "action_ts": self.state.ts(), **({"value": button["value"]} if "value" in button else {}),
        }  # fmt: skip
        container = {
            "type": "message", "message_ts": message.ts, "channel_id": message.channel,
            "is_ephemeral": message.is_ephemeral,
            **({"thread_ts": message.thread} if message.thread else {}),
        }  # fmt: skip
        payload = {
            "type": "block_actions", "user": self._user(user), "team": {"id": self.team, "domain": "lab"},
            "api_app_id": self.app_id, "container": container, "trigger_id": trigger, "response_url": hook,
            "channel": {"id": message.channel, "name": "x"}, "actions": [action], "is_enterprise_install": False,
        }  # fmt: skip
        if not message.is_ephemeral:
            payload["message"] = {"ts": message.ts, "text": message.text, "blocks": message.blocks}
        delivery = Delivery(trigger=trigger, response_url=hook)
        delivery.attempts.append(self._send("interactive", payload))
        return delivery

    def submit(self, user: str, view: dict[str, Any], **values: str) -> Delivery:
        """Somebody fills a modal in and sends it; values by block id. Field errors must name blocks of the view."""
        state: dict[str, Any] = {}
        for block in view["blocks"]:
            if block["type"] != "input":
                continue
            element = block["element"]
            value = values.get(block["block_id"], element.get("initial_value"))
            if value is None and not block.get("optional"):
                raise AssertionError(f"Slack's own form asks for {block['block_id']}")
            told: dict[str, Any] = {"type": element["type"]}
            if element["type"] == "static_select":
                known = [one for one in element["options"] if one["value"] == value]
                told["selected_option"] = known[0] if known else element.get("initial_option")
            else:
                told["value"] = value
            state[block["block_id"]] = {element["action_id"]: told}
        trigger = self.state.trigger()
        payload = {
            "type": "view_submission", "user": self._user(user), "team": {"id": self.team, "domain": "lab"},
            "api_app_id": self.app_id, "trigger_id": trigger, "view": view | {"state": {"values": state}},
            "response_urls": [], "is_enterprise_install": False,
        }  # fmt: skip
        delivery = Delivery(trigger=trigger)
        delivery.attempts.append(self._send("interactive", payload))
        if isinstance(delivery.body, dict) and delivery.body.get("response_action") == "errors":
            unknown = set(delivery.body["errors"]) - {block.get("block_id") for block in view["blocks"]}
            assert not unknown, f"errors for fields that are not in the view: {unknown}"
        return delivery

    # The wire.

    def signed(self, body: bytes, *, at: int | str | None = None, secret: str | None = None) -> dict[str, str]:
        """The headers Slack signs a body with: each delivery of the same body in a second of its own."""
        if at is None:
            self._signed_at[body] = at = max(int(time.time()), self._signed_at.get(body, 0) + 1)
        stamp = str(at)
        key = (secret or self.signing_secret).encode()
        digest = hmac.new(key, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}

    def post(self, body: bytes, headers: Mapping[str, str | bytes], path: str = "/slack/events") -> httpx.Response:
        """Exactly these bytes to the bot."""
        assert self._to is not None, "first say where the bot is: deliver_to(url)"
        raw = [
            (name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers.items()
        ]
        return self._to.post(path, content=body, headers=raw)

    def _send(self, kind: str, payload: dict[str, Any], retry: int = 0) -> Attempt:
        started = time.monotonic()
        if self._to is None:
            status, answer = self.sockets.send(kind, payload, retry, ACK_SECONDS)
            return Attempt(status, answer, time.monotonic() - started, retry)
        if kind == "events_api":
            body, content_type = json.dumps(payload).encode(), "application/json"
        else:
            form = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
            body, content_type = urlencode(form).encode(), "application/x-www-form-urlencoded"
        headers = {"Content-Type": content_type, **self.signed(body)}
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
        try:
            response = self._to.post("/slack/events", content=body, headers=headers, timeout=ACK_SECONDS)
        except httpx.HTTPError:
            return Attempt(0, None, time.monotonic() - started, retry)
        is_json = "json" in response.headers.get("content-type", "")
        return Attempt(
            response.status_code, response.json() if is_json and response.content else response.text,
            time.monotonic() - started, retry,
        )  # fmt: skip

    def _said(
        self,
        kind: str,
        user: str,
        text: str,
        channel: str,
        thread: str | None,
        files: tuple[str, ...],
        facts: dict[str, Any],
    ) -> Delivery:
        message = Message(channel, self.state.ts(), text, [], user, thread=thread, via="person", files=list(files))
        self.state.messages.append(message)
        event: dict[str, Any] = {
            "type": kind, "user": user, "text": text, "ts": message.ts, "channel": channel, "event_ts": message.ts,
            "team": self.team,
        }  # fmt: skip
        if thread:
            event["thread_ts"] = thread
        if files:
            known = [self.state.files[one] for one in files]
            event["files"] = [
                {k: v for k, v in one.items() if k != "content"}
                | {"url_private_download": f"{self.origin}/files-pri/{one['id']}/{one['name']}", "mode": "hosted"}
                for one in known
            ]
            if kind == "message":
                event["subtype"] = "file_share"
        return self.event(event | facts)

    def _show(self, delivery: Delivery, user: str, channel: str) -> None:
        """What a command was acknowledged with, as the person sees it."""
        body = delivery.body
        if not 200 <= delivery.status < 300 or not body:
            return
        answer = {"text": body} if isinstance(body, str) else body
        check_message(answer.get("text", ""), answer.get("blocks"))
        to = None if answer.get("response_type") == "in_channel" else user
        text, blocks = answer.get("text", ""), answer.get("blocks", [])
        self.state.messages.append(Message(channel, self.state.ts(), text, blocks, self.bot_user, to=to, via="ack"))

    def _hook(self, user: str, channel: str) -> str:
        ident = f"{self.state.number():024x}"
        self.state.hooks[ident] = {"user": user, "channel": channel, "uses": 0, "at": time.monotonic()}
        return f"{self.origin}/hook/{ident}"

    def _user(self, user: str) -> dict[str, Any]:
        return {"id": user, "username": self.state.users[user]["name"], "team_id": self.team}
