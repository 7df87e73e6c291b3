"""Who somebody is on a chat platform: linked by a page that names both sides, or made a member by their first command.

An identity is platform, workspace and user id, the platform's own words for somebody; a name that is shown proves
nothing, since two people may bear it. The service that speaks for chat accounts asks for links and joins; only a person
who is signed in here confirms a link, and either side ends it at once.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context, Scope
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable
from hub.core.ids import new_id
from hub.people import accounts, once, rules
from hub.people.tables import chat_identities, emails, persons

Platform = Annotated[str, Meta(pattern=r"^[a-z]{1,16}$")]
Workspace = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-9;-~]+$")]  # a colon parts it from the user
User = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[!-~]+$")]
Shown = Annotated[str, Meta(max_length=1000)]
Secret = Annotated[str, Meta(min_length=1, max_length=200)]
LINK = "chat_link"


class BeginChatLink(Action, frozen=True, tag="chat_link_begin"):
    """Make a private link, good for ten minutes, by which a person here takes a chat account for their own."""

    platform: Platform
    workspace: Workspace
    user: User
    name: Shown
    workspace_name: Shown = ""


class ChatLinkMade(msgspec.Struct, frozen=True):
    """The link; only the chat account it concerns may see it. `join` says whether it could also just join."""

    url: str
    secret: str
    expires: str
    join: bool


@handles(BeginChatLink, needs="chat:serve")
def begin_chat_link(act: BeginChatLink, ctx: Context) -> ChatLinkMade:
    """Nothing is linked yet: that is for the person who opens the link and is signed in."""
    ctx.access.hub("chat:serve")
    if (held := _row(ctx, act.platform, act.workspace, act.user)) is not None:
        raise Conflict(
            "this chat account is linked already",
            code="chat_already_linked",
            hint="unlink it first, here or on the page /me/chats of whoever it is linked to",
            person=held.person,
        )
    link = new_id("chl")
    secret = ctx.reveal("secret", "clgh", LINK, link)
    expires = ctx.now + dt.timedelta(seconds=limits.CHAT_LINK_SECONDS)
    once.issue(
        ctx.tx,
        secret,
        LINK,
        person=None,
        expires_at=expires,
        platform=act.platform,
        workspace=act.workspace,
        user=act.user,
        name=rules.visible_name(act.name),
        workspace_name=rules.visible_name(act.workspace_name),
    )
    ctx.about("chat_link", link, platform=act.platform, workspace=act.workspace, user=act.user)
    return ChatLinkMade(f"{ctx.settings.origin}/chat-link", secret, iso(expires), ctx.settings.join == "workspace")


class ConfirmChatLink(Action, frozen=True, tag="chat_link"):
    """Take the chat account of a private link for your own: what it says in chat is then done as you."""

    secret: Secret
    secret_fields: ClassVar[tuple[str, ...]] = ("secret",)


class ChatIdentityView(msgspec.Struct, frozen=True, kw_only=True):
    """A chat account, and whose it is."""

    platform: str
    workspace: str
    user: str
    name: str
    person: str
    via: str = "link"
    linked: str = ""


@handles(ConfirmChatLink, needs="chat:link")
def confirm_chat_link(act: ConfirmChatLink, ctx: Context) -> ChatIdentityView:
    """An account that is somebody else's stays theirs until it is unlinked; the secret is then not spent."""
    ctx.access.hub("chat:link")
    said = once.consume(ctx, act.secret, kind=LINK).facts
    identity: dict[str, Any] = {name: said[name] for name in ("platform", "workspace", "user")}
    if not _bind(ctx, ctx.actor.id, said["name"], "link", **identity):
        held = _row(ctx, **identity)
        if held is None or held.person != ctx.actor.id:
            raise Conflict(
                "this chat account is linked to somebody else",
                code="chat_linked_elsewhere",
                hint="whoever it is linked to must unlink it first; in chat, the button “This was not me” does so",
            )
    ctx.about("person", ctx.actor.id, **identity)
    return ChatIdentityView(**identity, name=said["name"], person=ctx.actor.id, linked=iso(ctx.now))


class RefuseChatLink(Action, frozen=True, tag="chat_link_refuse"):
    """Spoil a private link that was not meant for you: nobody can use it any more."""

    secret: Secret
    secret_fields: ClassVar[tuple[str, ...]] = ("secret",)


class RefusedLink(msgspec.Struct, frozen=True):
    """The chat account whose link is spoiled."""

    platform: str
    workspace: str
    user: str


@handles(RefuseChatLink, needs="chat:link")
def refuse_chat_link(act: RefuseChatLink, ctx: Context) -> RefusedLink:
    """The chat account may ask for a fresh one."""
    ctx.access.hub("chat:link")
    said = once.consume(ctx, act.secret, kind=LINK).facts
    identity: dict[str, Any] = {name: said[name] for name in ("platform", "workspace", "user")}
    ctx.about("person", ctx.actor.id, **identity)
    return RefusedLink(**identity)


class UnlinkChat(Action, frozen=True, tag="chat_unlink"):
    """End what links a chat account to a person, at once: by that person, or by the chat account itself."""

    platform: Platform
    workspace: Workspace
    user: User


@handles(UnlinkChat, needs="chat:unlink")
def unlink_chat(act: UnlinkChat, ctx: Context) -> ChatIdentityView:
    """A service speaks for the very chat account that pressed the button; a person, for what is their own."""
    ctx.access.hub("chat:unlink")
    key: dict[str, Any] = {"platform": act.platform, "workspace": act.workspace, "user": act.user}
    condition = _is(**key)
    if ctx.actor.kind != "service":
        condition &= chat_identities.c.person == ctx.actor.id
    row = ctx.execute(sa.delete(chat_identities).where(condition).returning(chat_identities)).first()
    if row is None:
        raise NotFound("there is no such chat account of yours", code="chat_identity_not_found")
    ctx.about("person", row.person, **key)
    return ChatIdentityView(**key, name=row.shown_name, person=row.person, via=row.via, linked=iso(row.linked_at))


class JoinFromChat(Action, frozen=True, tag="chat_join"):
    """Make an account for a full member of a connected chat workspace, by their first command."""

    platform: Platform
    workspace: Workspace
    user: User
    name: Shown
    email: Annotated[str, Meta(max_length=254)] | None = None
    standing: Literal["full", "guest", "stranger"] = "stranger"


class JoinedView(msgspec.Struct, frozen=True):
    """Who the chat account is here; `made` says whether the account is new."""

    person: str
    handle: str
    made: bool


@handles(JoinFromChat, needs="chat:serve")
def join_from_chat(act: JoinFromChat, ctx: Context) -> JoinedView:
    """The platform's e-mail is kept as a claim nobody proved; only the platform's own ids tell people apart."""
    ctx.access.hub("chat:serve")
    identity: dict[str, Any] = {"platform": act.platform, "workspace": act.workspace, "user": act.user}
    if (held := _row(ctx, **identity)) is not None:
        actor = accounts.actor_of(ctx.conn, held.person)
        if actor is None:
            raise NotAllowed("the account this chat account belongs to is disabled", code="account_disabled")
        ctx.about("person", actor.id, **identity)
        return JoinedView(actor.id, actor.handle, False)
    _refuse_who_may_not_join(act, ctx)
    name = rules.visible_name(act.name) or "Somebody from chat"
    person = accounts.make(ctx.tx, handle=None, name=name, hub_role="member", now=ctx.now)
    if not _bind(ctx, person, name, "join", **identity):
        raise Unavailable("this chat account is joining at this very moment", hint="try again", code="joining_now")
    if act.email is not None:
        _claim_email(ctx, person, act.email)
    ctx.about("person", person, **identity)
    handle = ctx.execute(sa.select(persons.c.handle).where(persons.c.id == person)).scalar_one()
    return JoinedView(person, handle, True)


def _refuse_who_may_not_join(act: JoinFromChat, ctx: Context) -> None:
    if act.standing == "stranger":
        raise NotAllowed(
            "this chat account belongs to another workspace; sharing a channel does not make it a member here",
            code="chat_stranger",
            hint="ask somebody of this hub for an invitation, and link the chat account to the account it makes",
        )
    if act.standing == "guest":
        raise NotAllowed(
            "guests of the workspace get no account by themselves",
            code="chat_guest",
            hint="ask somebody of this hub for an invitation, and link the chat account to the account it makes",
        )
    if ctx.settings.join != "workspace":
        raise NotAllowed(
            "accounts of this hub are made by invitation",
            code="join_by_invitation",
            hint="ask somebody of this hub for one; if you have an account, link this chat account to it",
        )


def mine(scope: Scope) -> list[ChatIdentityView]:
    """The chat accounts that speak as the actor, oldest first."""
    rows = scope.execute(
        sa.select(chat_identities)
        .where(chat_identities.c.person == scope.actor.id)
        .order_by(chat_identities.c.linked_at, chat_identities.c.user)
    )
    return [
        ChatIdentityView(
            platform=row.platform,
            workspace=row.workspace,
            user=row.user,
            name=row.shown_name,
            person=row.person,
            via=row.via,
            linked=iso(row.linked_at),
        )
        for row in rows
    ]


class Landing(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of a private link may say before it is confirmed; nothing when it is not good any more."""

    platform: str
    workspace: str
    workspace_name: str
    user: str
    name: str
    is_mine: bool
    is_anothers: bool


def landing(scope: Scope, secret: str) -> Landing | None:
    """Look at a private link without spending it."""
    found = once.look(scope.conn, secret, LINK, scope.now)
    if found is None:
        return None
    identity = {name: found.facts[name] for name in ("platform", "workspace", "user")}
    held = _row(scope, **identity)
    return Landing(
        **identity,
        name=found.facts["name"],
        workspace_name=found.facts["workspace_name"],
        is_mine=held is not None and held.person == scope.actor.id,
        is_anothers=held is not None and held.person != scope.actor.id,
    )


def _is(platform: str, workspace: str, user: str) -> sa.ColumnElement[bool]:
    return (
        (chat_identities.c.platform == platform)
        & (chat_identities.c.workspace == workspace)
        & (chat_identities.c.user == user)
    )


def _row(scope: Scope, platform: str, workspace: str, user: str) -> sa.Row[tuple[str, ...]] | None:
    return scope.execute(sa.select(chat_identities).where(_is(platform, workspace, user))).first()


def _bind(ctx: Context, person: str, name: str, via: str, **identity: str) -> bool:
    return ctx.tx.insert_new(
        chat_identities, **identity, person=person, shown_name=name[:200], via=via, linked_at=ctx.now
    )


def _claim_email(ctx: Context, person: str, email: str) -> None:
    """Remember an address the platform told, unproved; one that cannot be an address is not worth a refusal."""
    try:
        ctx.tx.insert_new(emails, email=rules.normal_email(email), person=person)
    except InvalidInput:
        return
