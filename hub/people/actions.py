"""What can be done about people: accounts, one-time sign-in links, sign-ins, API tokens."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, ClassVar, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotFound
from hub.core.ids import new_id, secret_digest
from hub.core.roles import ALL_PERMISSIONS
from hub.people import accounts, once, operating, password_sign_in, rules, sign_ins  # noqa: F401 - they register
from hub.people.sign_ins import SecondPageView, SignedInView
from hub.people.tables import emails, persons, tokens
from hub.people.tables import sign_ins as stored_sign_ins

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Secret = Annotated[str, Meta(min_length=1, max_length=200)]


class CreateAccount(Action, frozen=True, tag="account_create"):
    """Make an account for a person; they come in by a sign-in link."""

    name: Name
    handle: Annotated[str, Meta(max_length=64)] | None = None
    email: Annotated[str, Meta(max_length=254)] | None = None
    hub_role: Literal["operator", "member"] = "member"


class AccountView(msgspec.Struct, frozen=True):
    """A person, as the hub's people may see them."""

    person: str
    handle: str
    name: str


@handles(CreateAccount, needs="account:create")
def create_account(act: CreateAccount, ctx: Context) -> AccountView:
    """Record the person and make their personal session."""
    ctx.access.hub("account:create")
    if act.handle is not None and accounts.by_handle(ctx.conn, act.handle) is not None:
        raise Conflict(f"the handle {act.handle!r} is taken", code="handle_taken", path="$.handle")
    if act.email is not None:
        taken = ctx.execute(sa.select(emails.c.person).where(emails.c.email == rules.normal_email(act.email))).first()
        if taken is not None:
            raise Conflict("an account with this e-mail exists", code="email_taken", path="$.email")
    person = accounts.make(
        ctx.tx, handle=act.handle, name=act.name, hub_role=act.hub_role, now=ctx.now, email=act.email
    )
    ctx.about("person", person, hub_role=act.hub_role)
    made = ctx.execute(sa.select(persons).where(persons.c.id == person)).one()
    return AccountView(person, made.handle, made.name)


class MakeSignInLink(Action, frozen=True, tag="signin_link"):
    """Make a one-time sign-in link for a person (by handle; without one, for yourself)."""

    person: Annotated[str, Meta(max_length=64)] | None = None


class SignInLinkView(msgspec.Struct, frozen=True):
    """A link that signs its opener in once."""

    url: str
    secret: str
    expires: str


@handles(MakeSignInLink, needs="account:sign_in_link")
def make_sign_in_link(act: MakeSignInLink, ctx: Context) -> SignInLinkView:
    """Derive the secret, store its digest."""
    ctx.access.hub("account:sign_in_link")
    person = ctx.actor.id if act.person is None else accounts.by_handle(ctx.conn, act.person)
    if person is None or accounts.actor_of(ctx.conn, person) is None:
        raise NotFound(f"there is no person {act.person!r}", code="person_not_found", path="$.person")
    link_id = new_id("sil")
    secret = ctx.reveal("secret", "clgs", "sign_in", link_id)
    expires = ctx.now + dt.timedelta(seconds=limits.SIGN_IN_LINK_SECONDS)
    once.issue(ctx.tx, secret, "sign_in", person=person, expires_at=expires)
    ctx.about("person", person, link=link_id)
    return SignInLinkView(f"{ctx.settings.origin}/signin", secret, iso(expires))


class SignIn(Action, frozen=True, tag="sign_in"):
    """Sign in with the secret of a one-time link."""

    secret: Secret
    secret_fields: ClassVar[tuple[str, ...]] = ("secret",)


@handles(SignIn, needs="sign_in:use")
def use_sign_in_link(act: SignIn, ctx: Context) -> SignedInView | SecondPageView:
    """Use the link up and remember the browser, or go on to the second page."""
    ctx.access.hub("sign_in:use")
    used = once.consume(ctx, act.secret, kind="sign_in")
    if used.person is None or accounts.actor_of(ctx.conn, used.person) is None:
        raise NotFound("this account is disabled", code="secret_not_valid")
    return sign_ins.begin_or_ask(ctx, used.person, "link")


class EndSignIn(Action, frozen=True, tag="sign_out"):
    """End this browser's sign-in."""


class Ended(msgspec.Struct, frozen=True):
    """The id of what was ended or revoked."""

    ended: str


@handles(EndSignIn, needs="sign_in:end")
def end_sign_in(act: EndSignIn, ctx: Context) -> Ended:
    """Everything that hangs on the sign-in ends with it, open sockets too."""
    ctx.access.hub("sign_in:end")
    if ctx.actor.sign_in_id is None:
        raise InvalidInput("you did not come by a browser's sign-in", hint="revoke a token with token_revoke")
    ctx.execute(sa.update(stored_sign_ins).where(stored_sign_ins.c.id == ctx.actor.sign_in_id).values(ended_at=ctx.now))
    ctx.about("sign_in", ctx.actor.sign_in_id)
    return Ended(ctx.actor.sign_in_id)


class CreateToken(Action, frozen=True, tag="token_create"):
    """Make an API token of your own; it is shown once."""

    name: Name
    scopes: tuple[str, ...] | None = None
    expires: Annotated[dt.datetime, Meta(tz=True)] | None = None


class TokenView(msgspec.Struct, frozen=True):
    """A fresh token; `secret` is shown this once."""

    token: str
    name: str
    secret: str
    scopes: tuple[str, ...] | None
    expires: str | None


@handles(CreateToken, needs="token:create")
def create_token(act: CreateToken, ctx: Context) -> TokenView:
    """Store the digest of a derived secret; a token is never wider than the one who makes it."""
    ctx.access.hub("token:create")
    if act.scopes is not None and (unknown := sorted(set(act.scopes) - ALL_PERMISSIONS)):
        raise InvalidInput(f"unknown scopes: {', '.join(unknown)}", path="$.scopes")
    scopes = act.scopes
    if ctx.actor.scopes is not None:
        scopes = tuple(sorted(ctx.actor.scopes if scopes is None else ctx.actor.scopes & set(scopes)))
    if act.expires is not None and act.expires <= ctx.now:
        raise InvalidInput("this moment has passed", code="expires_in_past", path="$.expires")
    token = new_id("tok")
    secret = ctx.reveal("secret", "clg", "token", token)
    ctx.execute(
        sa.insert(tokens).values(
            id=token,
            person=ctx.actor.id,
            kind="api",
            name=act.name,
            digest=secret_digest(secret),
            scopes=None if scopes is None else list(scopes),
            created_at=ctx.now,
            expires_at=act.expires,
        )
    )
    ctx.about("token", token, person=ctx.actor.id)
    return TokenView(token, act.name, secret, scopes, None if act.expires is None else iso(act.expires))


class RevokeToken(Action, frozen=True, tag="token_revoke"):
    """Revoke one of your API tokens (without a name, the one you came by); it stops working at once, everywhere."""

    token: Annotated[str, Meta(max_length=64)] | None = None


@handles(RevokeToken, needs="token:revoke")
def revoke_token(act: RevokeToken, ctx: Context) -> Ended:
    """Another's token is as unknown as none."""
    ctx.access.hub("token:revoke")
    token = act.token or ctx.actor.token_id
    if token is None:
        raise InvalidInput("you did not come by a token; name the one to revoke", path="$.params.token")
    changed = ctx.execute(
        sa.update(tokens)
        .where(tokens.c.id == token, tokens.c.person == ctx.actor.id, tokens.c.revoked_at.is_(None))
        .values(revoked_at=ctx.now)
    )
    if changed.rowcount != 1:
        raise NotFound(f"you have no token {token[:60]!r} that could be revoked", code="token_not_found")
    ctx.about("token", token, person=ctx.actor.id)
    return Ended(token)
