"""How the reader signs in: password, authenticator app, recovery codes, passkeys; and where they are signed in now."""

from __future__ import annotations

import msgspec
import segno
from markupsafe import Markup

from hub.core import limits
from hub.core.context import Scope
from hub.core.errors import NotSignedIn
from hub.people import authenticators, factors, passkeys, sign_ins, step_up
from hub.people.factors import Factors
from hub.people.passkeys import PasskeyRow
from hub.people.sign_ins import SignInRow
from hub.web.pages import frames, render, signin, words
from hub.web.pages.faces import Act

HERE = "/me/security"
_HOW = {"link": "by a one-time link", "password": "by password", "passkey": "by passkey"}
_SAID = {
    "step_up_refused": "That did not fit. Nothing was changed; look at what you typed and try again.",
    "too_many_guesses": "Too many tries. Wait a quarter of an hour; a passkey or a fresh sign-in link works meanwhile.",
    "nothing_to_prove_with": "There is nothing set up yet to prove yourself with. Sign out and in again instead.",
}


class Proof(msgspec.Struct, frozen=True):
    """The form that proves the reader anew: what it asks for, and where it goes on."""

    password: bool
    totp: bool
    host: str  # of passkeys, when the reader has one
    next: str
    said: str

    @property
    def possible(self) -> bool:
        return self.password or self.totp or bool(self.host)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey or a sign-in in its list."""

    title: str
    text: str
    act: Act | None = None
    warning: str = ""


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /me/security"""
    if scope.actor.kind != "person":
        raise NotSignedIn("this page is about you, and the hub does not know you yet")
    have, fresh = factors.of(scope.conn, scope.actor.id), step_up.is_fresh(scope)
    keys, places = passkeys.mine(scope), sign_ins.mine(scope)
    setup = authenticators.setup(scope)
    return render.html(
        "security.html",
        frames.own(scope, "How you sign in", "Signing in"),
        now=scope.now,
        handle=scope.actor.handle,
        act_add_app=Act("Set up an app", action="account_authenticator_begin", next=HERE, look="main"),
        act_remove_app=Act("Remove the app", action="account_authenticator_remove", next=HERE, look="danger"),
        act_codes=Act("New recovery codes", action="account_recovery_codes", next=HERE),
        act_end_others=Act("End all others", action="sign_out_others", next=HERE, look="danger"),
        says=_says(have),
        must=scope.actor.must_enrol,
        have=have,
        fresh=fresh,
        minutes=limits.STEP_UP_SECONDS // 60,
        proof=proof(scope, HERE, params),
        least=limits.PASSWORD_LEAST_CHARACTERS,
        seed=" ".join(words.groups(setup.seed, 4)) if setup else "",
        setup=setup,
        picture=_picture(setup.url) if setup else "",
        host=signin.passkey_host(scope),
        keys=[_key(each, fresh) for each in keys],
        places=[_place(each, scope) for each in sorted(places, key=lambda each: not each.here)],
        others=len([each for each in places if not each.here]),
    )


def proof(scope: Scope, onward: str, params: dict[str, str]) -> Proof:
    """What this person is asked to prove themselves with, on whichever page needs it."""
    have = factors.of(scope.conn, scope.actor.id)
    return Proof(
        have.password,
        have.authenticator,
        signin.passkey_host(scope) if have.passkeys else "",
        onward,
        _SAID.get(params.get("said", ""), ""),
    )


def _says(have: Factors) -> str:
    means = [
        *(["a password"] if have.password else []),
        *(["an authenticator app"] if have.authenticator else []),
        *([words.count(have.passkeys, "passkey")] if have.passkeys else []),
    ]
    return (
        f"You have {words.listing(means)}." if means else "You sign in by one-time links only. Set something up here."
    )


def _picture(url: str) -> Markup:
    """The QR code, dark on white in either theme: cameras expect that."""
    made = segno.make(url, error="l", micro=False)
    return Markup(made.svg_inline(omitsize=True, svgclass="qr", lineclass=None, dark="#000", light="#fff", border=3))  # noqa: S704 - made here, of our own text


def _key(row: PasskeyRow, fresh: bool) -> Line:
    made = words.moment(frames.instant(row.made))
    used = "never used" if row.used is None else f"last used {words.moment(frames.instant(row.used))} UTC"
    warning = ""
    if row.warned is not None:
        warning = (
            f"On {words.moment(frames.instant(row.warned))} UTC its count went backwards: it may have been copied. "
            "If you did not restore a device, remove it."
        )
    act = Act("Remove", action="account_passkey_remove", fields={"passkey": row.passkey}, next=HERE, look="danger")
    return Line(title=row.name, text=f"Made {made} UTC, {used}", warning=warning, act=act if fresh else None)


def _place(row: SignInRow, scope: Scope) -> Line:
    since = words.moment(frames.instant(row.at))
    seen = frames.instant(row.seen)
    hour = scope.now.replace(minute=0, second=0, microsecond=0)
    last = "now" if row.here else "within this hour" if seen >= hour else words.ago(seen, scope.now)
    act = Act("End", action="sign_out_other", fields={"sign_in": row.sign_in}, next=HERE)
    return Line(
        title=row.agent[:1].upper() + row.agent[1:] + (", this one" if row.here else ""),
        text=f"Signed in {since} UTC {_HOW.get(row.how, row.how)}; last seen {last}",
        act=None if row.here else act,
    )
