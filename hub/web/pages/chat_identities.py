"""The page that names a chat account and a person before they are linked, and the list of one's chat accounts."""

from __future__ import annotations

from urllib.parse import quote

from hub.core.context import Scope
from hub.people import chat_identities
from hub.people.chat_identities import ChatIdentityView, Landing
from hub.web.pages import frames, landing, own, words
from hub.web.pages.faces import Act, Fact
from hub.web.pages.own import Item

_PLATFORMS = {"slack": "Slack", "matrix": "Matrix"}
_LIST = "/me/chats"


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /chat-link/{token}"""
    token = params["token"]
    found = chat_identities.landing(scope, token)
    if found is None:
        return landing.show(
            scope, "This link opens nothing",
            "It was used, refused or is older than ten minutes. Ask for a fresh one in your chat.",
        )  # fmt: skip
    account = _account(found)
    told = [Fact("Chat account", account), Fact("Its id there", f"{found.workspace} {found.user}", code=True)]
    if scope.actor.kind != "person":
        return landing.show(
            scope, "Is this chat account yours?",
            "Sign in to link it to your account here. Opening this page has done nothing.",
            told=told, acts=[landing.sign_in(f"/chat-link/{quote(token, safe='')}")],
        )  # fmt: skip
    told.append(Fact("Account here", landing.myself(scope)))
    if found.is_anothers:
        return landing.show(
            scope, "This chat account is somebody else's",
            "It is linked to another account of this hub. Whoever that is must unlink it first.",
            told=told, acts=[_refuse(token)],
        )  # fmt: skip
    return landing.show(
        scope,
        "Is this chat account yours?",
        f"If you confirm, whatever {found.name or found.user} asks for on {_platform(found.platform)} "
        f"is done as {scope.actor.name}.",
        told=told,
        acts=[
            Act("Yes, link them", action="chat_link", fields={"secret": token}, next=_LIST, look="main"),
            _refuse(token),
        ],
        fine="Confirm only what you asked for yourself, a moment ago, in your own chat. Somebody else sent you this? "
        "Then they would act as you: refuse it.",
    )


def mine(scope: Scope, params: dict[str, str]) -> str:
    """GET /me/chats"""
    own.require_person(scope)
    found = chat_identities.mine(scope)
    return own.show(
        scope,
        "Chat accounts",
        f"{words.sentence(words.count(len(found), 'chat account'))} {'acts' if len(found) == 1 else 'act'} as you here."
        if found
        else "No chat account acts as you here.",
        tab="Chat accounts",
        heading="Linked to you",
        items=[_item(scope, each) for each in found],
        none="To link one, write “/collegium link” in your chat and open the private link that answers.",
    )


def _item(scope: Scope, view: ChatIdentityView) -> Item:
    how = "by a private link" if view.via == "link" else "by its first command"
    when = words.day(frames.instant(view.linked), scope.now)
    fields = {"platform": view.platform, "workspace": view.workspace, "user": view.user}
    return Item(
        f"{view.name or view.user} on {_platform(view.platform)}",
        f"{view.workspace} {view.user}, linked {how}, {when}",
        Act("Unlink", action="chat_unlink", fields=fields, next=_LIST, look="danger"),
    )


def _refuse(token: str) -> Act:
    return Act("No, refuse", action="chat_link_refuse", fields={"secret": token}, next="/", look="quiet")


def _account(found: Landing) -> str:
    where = found.workspace_name or found.workspace
    return f"{found.name or found.user} in {where} on {_platform(found.platform)}"


def _platform(name: str) -> str:
    return _PLATFORMS.get(name, name)
