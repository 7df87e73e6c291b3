"""The Web API: each method as Slack answers it, with its scopes and its errors."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from typing import Any

from tests.bot.fake_slack.blocks import Invalid, check_message, check_view
from tests.bot.fake_slack.state import Message, State

Params = dict[str, Any]
Method = Callable[[State, Params, str], dict[str, Any]]
HOOK_USES, HOOK_SECONDS, TRIGGER_SECONDS = 5, 1800, 3.0

_READ = {"C": "channels:read", "G": "groups:read", "D": "im:read"}
_HISTORY = {"C": "channels:history", "G": "groups:history", "D": "im:history"}


class Refused(Exception):
    """Slack's `ok: false`."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.error, self.more = error, more


def auth_test(state: State, params: Params, url: str) -> dict[str, Any]:
    return {
        "url": "https://lab.slack.test/", "team": "The Lab", "user": "collegium", "team_id": state.team,
        "user_id": state.bot_user, "bot_id": "B0COLLEGIUM", "is_enterprise_install": False,
    }  # fmt: skip


def post_message(state: State, params: Params, url: str) -> dict[str, Any]:
    channel = _channel(state, params, must_join=True)
    text, blocks = _content(params)
    thread = params.get("thread_ts")
    if thread and state.find(channel["id"], thread) is None:
        raise Refused("thread_not_found")
    message = Message(
        channel["id"], state.ts(), text, blocks, state.bot_user, thread=thread, metadata=_object(params.get("metadata"))
    )
    state.messages.append(message)
    return {"channel": channel["id"], "ts": message.ts, "message": _shown(message)}


def post_ephemeral(state: State, params: Params, url: str) -> dict[str, Any]:
    channel = _channel(state, params, must_join=True)
    text, blocks = _content(params)
    user = params.get("user", "")
    if user not in channel["members"]:
        raise Refused("user_not_in_channel")
    message = Message(
        channel["id"], state.ts(), text, blocks, state.bot_user, thread=params.get("thread_ts"), to=user,
        via="chat.postEphemeral",
    )  # fmt: skip
    state.messages.append(message)
    return {"message_ts": message.ts}


def update(state: State, params: Params, url: str) -> dict[str, Any]:
    channel = _channel(state, params)
    message = state.find(channel["id"], params.get("ts", ""))
    if message is None:
        raise Refused("message_not_found")
    if message.user != state.bot_user:
        raise Refused("cant_update_message")
    message.text, message.blocks = _content(params)
    if params.get("metadata") is not None:
        message.metadata = _object(params["metadata"])
    message.edits += 1
    message.edited_at = time.monotonic()
    return {"channel": channel["id"], "ts": message.ts, "text": message.text, "message": _shown(message)}


def delete(state: State, params: Params, url: str) -> dict[str, Any]:
    channel = _channel(state, params)
    message = state.find(channel["id"], params.get("ts", ""))
    if message is None:
        raise Refused("message_not_found")
    if message.user != state.bot_user:
        raise Refused("cant_delete_message")
    message.is_deleted = True
    return {"channel": channel["id"], "ts": message.ts}


def views_open(state: State, params: Params, url: str) -> dict[str, Any]:
    trigger = params.get("trigger_id", "")
    if trigger not in state.triggers:
        raise Refused("invalid_trigger_id")
    at, is_used = state.triggers[trigger]
    if is_used:
        raise Refused("exchanged_trigger_id")
    if time.monotonic() - at > TRIGGER_SECONDS:
        raise Refused("expired_trigger_id")
    view = _view(params)
    state.triggers[trigger] = (at, True)
    view |= {
        "id": f"V{state.number():08d}",
        "team_id": state.team,
        "hash": str(state.number()),
        "state": {"values": {}},
    }
    view.setdefault("private_metadata", "")
    state.views[view["id"]] = view
    return {"view": view}


def views_update(state: State, params: Params, url: str) -> dict[str, Any]:
    known = state.views.get(params.get("view_id", ""))
    if known is None:
        raise Refused("not_found")
    if params.get("hash") not in (None, known["hash"]):
        raise Refused("hash_conflict")
    known |= _view(params) | {"hash": str(state.number())}
    return {"view": known}


def conversations_info(state: State, params: Params, url: str) -> dict[str, Any]:
    channel = _channel(state, params)
    return {"channel": {k: v for k, v in channel.items() if k != "members"} | {"is_member": _is_in(state, channel)}}


def conversations_open(state: State, params: Params, url: str) -> dict[str, Any]:
    user = str(params.get("users", ""))
    if user not in state.users:
        raise Refused("user_not_found")
    if state.users[user].get("deleted"):
        raise Refused("user_disabled")
    ident = "D" + user[1:]
    direct = {
        "id": ident,
        "is_im": True,
        "user": user,
        "members": {user, state.bot_user},
        "name": "",
        "is_archived": False,
    }
    state.channels.setdefault(ident, direct)
    return {"channel": {"id": ident}}


def conversations_history(state: State, params: Params, url: str) -> dict[str, Any]:
    channel = _channel(state, params, must_join=True)
    found = [m for m in _between(state, channel["id"], params) if m.thread in (None, m.ts)]
    return _page(list(reversed(found)), params)


def conversations_replies(state: State, params: Params, url: str) -> dict[str, Any]:
    channel = _channel(state, params, must_join=True)
    root = params.get("ts", "")
    if state.find(channel["id"], root) is None:
        raise Refused("thread_not_found")
    return _page([m for m in _between(state, channel["id"], params) if root in (m.ts, m.thread)], params)


def users_info(state: State, params: Params, url: str) -> dict[str, Any]:
    user = state.users.get(params.get("user", ""))
    if user is None:
        raise Refused("user_not_found")
    return {"user": user}


def upload_url(state: State, params: Params, url: str) -> dict[str, Any]:
    if not params.get("filename") or int(params.get("length") or 0) <= 0:
        raise Refused("invalid_arguments")
    ident = f"F{state.number():08d}"
    state.files[ident] = {"id": ident, "name": params["filename"], "size": int(params["length"]), "content": None}
    return {"upload_url": f"{url}/upload/{ident}", "file_id": ident}


def complete_upload(state: State, params: Params, url: str) -> dict[str, Any]:
    files = _object(params.get("files")) or []
    for one in files:
        known = state.files.get(one["id"])
        if known is None:
            raise Refused("file_not_found")
        if known["content"] is None:
            raise Refused("file_update_failed")
        known["title"] = one.get("title", known["name"])
    if params.get("channel_id"):
        channel = _channel(state, {"channel": params["channel_id"]}, must_join=True)
        state.messages.append(
            Message(
                channel["id"], state.ts(), params.get("initial_comment", ""), [], state.bot_user,
                thread=params.get("thread_ts"), via="files.completeUploadExternal", files=[one["id"] for one in files],
            )
        )  # fmt: skip
    return {"files": [{"id": one["id"], "title": one.get("title", "")} for one in files]}


def files_info(state: State, params: Params, url: str) -> dict[str, Any]:
    known = state.files.get(params.get("file", ""))
    if known is None:
        raise Refused("file_not_found")
    return {"file": shown_file(known, url)}


def shown_file(known: dict[str, Any], url: str) -> dict[str, Any]:
    address = f"{url}/files-pri/{known['id']}/{known['name']}"
    return {k: v for k, v in known.items() if k != "content"} | {
        "url_private": address, "url_private_download": address, "mode": "hosted", "filetype": "text",
    }  # fmt: skip


def connections_open(state: State, params: Params, url: str) -> dict[str, Any]:
    return {"url": f"{url.replace('http', 'ws', 1)}/link?ticket={state.number()}"}


METHODS: dict[str, tuple[Method, str | Callable[[Params], str]]] = {
    "auth.test": (auth_test, ""),
    "chat.postMessage": (post_message, "chat:write"),
    "chat.postEphemeral": (post_ephemeral, "chat:write"),
    "chat.update": (update, "chat:write"),
    "chat.delete": (delete, "chat:write"),
    "views.open": (views_open, ""),
    "views.update": (views_update, ""),
    "conversations.info": (conversations_info, lambda params: _READ[params.get("channel", "C")[:1]]),
    "conversations.open": (conversations_open, "im:write"),
    "conversations.history": (conversations_history, lambda params: _HISTORY[params.get("channel", "C")[:1]]),
    "conversations.replies": (conversations_replies, lambda params: _HISTORY[params.get("channel", "C")[:1]]),
    "users.info": (users_info, "users:read"),
    "files.getUploadURLExternal": (upload_url, "files:write"),
    "files.completeUploadExternal": (complete_upload, "files:write"),
    "files.info": (files_info, "files:read"),
    "apps.connections.open": (connections_open, "connections:write"),
}


def needed_scope(method: str, params: Params) -> str:
    scope = METHODS[method][1]
    return scope if isinstance(scope, str) else scope(params)


def respond(state: State, hook: str, content: Params) -> tuple[int, dict[str, Any]]:
    """What somebody posted to a response_url."""
    known = state.hooks.get(hook)
    if known is None:
        return 404, {"ok": False, "error": "no_such_url"}
    if time.monotonic() - known["at"] > HOOK_SECONDS:
        return 404, {"ok": False, "error": "expired_url"}
    if known["uses"] >= HOOK_USES:
        return 404, {"ok": False, "error": "used_url"}
    known["uses"] += 1
    try:
        text, blocks = _content(content)
    except Refused as refused:
        return 500, {"ok": False, "error": refused.error, **refused.more}
    is_public = content.get("response_type") == "in_channel"
    state.messages.append(
        Message(
            known["channel"], state.ts(), text, blocks, state.bot_user, thread=content.get("thread_ts"),
            to=None if is_public else known["user"], via="response_url",
        )
    )  # fmt: skip
    return 200, {"ok": True}


def _channel(state: State, params: Params, must_join: bool = False) -> dict[str, Any]:
    ident = str(params.get("channel", ""))
    if ident in state.users:  # Slack takes a person's id for their direct messages
        ident = conversations_open(state, {"users": ident}, "")["channel"]["id"]
    if ident.startswith("#"):  # a name stands for its channel, too
        ident = next((key for key, each in state.channels.items() if each.get("name") == ident[1:]), ident)
    if ident.startswith("#"):  # ... and a channel's name
        ident = next((one["id"] for one in state.channels.values() if one["name"] == ident[1:]), ident)
    channel = state.channels.get(ident)
    if channel is None:
        raise Refused("channel_not_found")
    if channel.get("is_archived"):
        raise Refused("is_archived")
    if must_join and not _is_in(state, channel):
        raise Refused("not_in_channel" if not ident.startswith("G") else "channel_not_found")
    return channel


def _is_in(state: State, channel: dict[str, Any]) -> bool:
    return state.bot_user in channel["members"]


def _content(params: Params) -> tuple[str, list[dict[str, Any]]]:
    text, blocks = str(params.get("text") or ""), _object(params.get("blocks"))
    if not text and not blocks and not params.get("delete_original"):
        raise Refused("no_text")
    try:
        check_message(text, blocks)
    except Invalid as invalid:
        raise Refused(invalid.error, response_metadata={"messages": invalid.messages}) from None
    return text, copy.deepcopy(blocks or [])


def _view(params: Params) -> dict[str, Any]:
    view = _object(params.get("view"))
    try:
        check_view(view)
    except Invalid as invalid:
        raise Refused(invalid.error, response_metadata={"messages": invalid.messages}) from None
    return dict(copy.deepcopy(view))


def _between(state: State, channel: str, params: Params) -> list[Message]:
    oldest, latest = float(params.get("oldest") or 0), float(params.get("latest") or 1e12)
    return [
        m for m in state.messages
        if m.channel == channel and m.to is None and not m.is_deleted and oldest <= float(m.ts) <= latest
    ]  # fmt: skip


def _page(found: list[Message], params: Params) -> dict[str, Any]:
    begin, limit = int(params.get("cursor") or 0), int(params.get("limit") or 100)
    more = begin + limit < len(found)
    return {
        "messages": [_shown(m) for m in found[begin : begin + limit]],
        "has_more": more,
        "response_metadata": {"next_cursor": str(begin + limit) if more else ""},
    }


def _shown(message: Message) -> dict[str, Any]:
    shown = {
        "type": "message", "ts": message.ts, "user": message.user, "text": message.text, "blocks": message.blocks,
        "bot_id": "B0COLLEGIUM" if message.user.endswith("BOT") else None, "thread_ts": message.thread,
        "metadata": message.metadata,
    }  # fmt: skip
    return {name: value for name, value in shown.items() if value is not None}


def _object(value: Any) -> Any:
    """Structured parameters come as JSON, or as JSON within a form."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise Refused("invalid_json") from None
