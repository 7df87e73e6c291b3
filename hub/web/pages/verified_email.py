"""The page a mailed link opens, which asks whether an address is one's own; and the list of one's addresses."""

from __future__ import annotations

from urllib.parse import quote

from hub.core.context import Scope
from hub.people import mail, verified_email
from hub.people.verified_email import EmailView
from hub.web.pages import frames, landing, own, words
from hub.web.pages.faces import Act, Fact
from hub.web.pages.own import Adds, Item

_LIST = "/me/email"


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /email/{token}"""
    token = params["token"]
    found = verified_email.landing(scope, token)
    if found is None:
        return landing.show(
            scope, "This link opens nothing", "It was used or is too old. Add the address again to get a fresh one."
        )
    told = [Fact("Address", found.email), Fact("Account", f"{found.name} (@{found.handle})")]
    if scope.actor.kind != "person":
        return landing.show(
            scope, "Is this address yours?",
            f"{found.name} says so. Sign in as {found.name} to confirm it. Opening this page has done nothing.",
            told=told, acts=[landing.sign_in(f"/email/{quote(token, safe='')}")],
        )  # fmt: skip
    if not found.is_mine:
        return landing.show(
            scope, "This is for somebody else",
            f"You are signed in as {landing.myself(scope)}, and {found.name} asked for this link. Only {found.name} "
            "can confirm it; if you did not ask for it, there is nothing to do.",
            told=told,
        )  # fmt: skip
    return landing.show(
        scope,
        "Is this address yours?",
        f"Confirm, {found.name}, and invitations sent to {found.email} are for you.",
        told=told,
        acts=[Act("Yes, it is mine", action="email_verify", fields={"secret": token}, next=_LIST, look="main")],
        fine="You did not add this address? Then do not confirm it.",
    )


def mine(scope: Scope, params: dict[str, str]) -> str:
    """GET /me/email"""
    own.require_person(scope)
    found = verified_email.mine(scope)
    proved = sum(each.verified is not None for each in found)
    adds = Adds(
        action="email_add",
        field="email",
        label="Another address",
        button="Send a link there",
        next=_LIST,
        type="email",
        hint="Open the link in this browser; then the address is yours here.",
    )
    return own.show(
        scope,
        "E-mail addresses",
        f"{words.sentence(words.number(proved))} proved to be yours: invitations sent there find you."
        if proved
        else "You proved no address to be yours yet.",
        tab="E-mail",
        heading="Your addresses",
        items=[_item(scope, each) for each in found],
        none="None yet." if mail.can_send(scope.settings) else "None. This hub sends no mail, so none can be proved.",
        adds=adds if mail.can_send(scope.settings) else None,
    )


def _item(scope: Scope, view: EmailView) -> Item:
    if view.verified is not None:
        text = f"Yours since {words.day(frames.instant(view.verified), scope.now)}"
    else:
        text = words.sentence(view.standing or "not proved yet")
        text += "; open the link in it" if view.standing == "mailed" else ""
    act = Act("Remove", action="email_remove", fields={"email": view.email}, next=_LIST, look="danger")
    return Item(view.email, text, act)
