"""Signing a shell in from elsewhere: it shows a short code, its person confirms the code in a browser, it gets a token.

Whoever begins is nobody yet, so beginning is rationed per address and for everybody together, and so are guesses at
codes. The person is shown which machine asks and from where; the token is made by their confirming, an action like any
other, and handed over once. (RFC 8628, with our own words.)
"""

from __future__ import annotations

import datetime as dt
import hmac
import secrets
from typing import Annotated, ClassVar, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Actor, Context
from hub.core.database import Tx
from hub.core.errors import Conflict, HubError, NotAllowed, NotFound, TooMany
from hub.core.house import House
from hub.core.ids import derived_secret, new_id, new_secret, secret_digest
from hub.people import guesses, rules
from hub.people.tables import device_codes, tokens

# Twenty letters nobody mistakes for one another, and no vowel to make a word of.
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_LENGTH = 8
Code = Annotated[str, Meta(min_length=1, max_length=40)]


class Begun(msgspec.Struct, frozen=True):
    """What the shell needs: a secret to ask with, a code to show, and the page it is typed into."""

    device_code: str
    user_code: str
    url: str
    expires: str
    interval: int


class Token(msgspec.Struct, frozen=True):
    """What the shell was waiting for, or that it has to wait on."""

    state: Literal["waiting", "approved"]
    interval: int
    token: str | None = None
    secret: str | None = None
    expires: str | None = None


class Asking(msgspec.Struct, frozen=True):
    """What the page shows of a shell that asks."""

    code: str
    host: str
    address: str
    same_address: bool
    begun: str
    expires: str


def begin(house: House, actor: Actor, host: str) -> Begun:
    """Remember a shell that asks. Raises TooMany for one address, or everybody, beginning too often."""
    _take(
        house,
        {
            f"device:{guesses.block(actor.address)}": limits.DEVICE_CODES_PER_ADDRESS,
            "device:everybody": limits.DEVICE_CODES,
        },
        "many shells ask to sign in just now",
    )
    now = house.clock.now()
    expires = now + dt.timedelta(seconds=limits.DEVICE_CODE_SECONDS)
    row = {
        "id": new_id("dev"),
        "host": rules.visible_name(host)[:100] or "a machine that does not say its name",
        "address": actor.address[:60],
        "at": now,
        "expires_at": expires,
        "poll_after": now,
        "interval": limits.DEVICE_POLL_SECONDS,
    }
    device_code = new_secret("clgd")

    def work(tx: Tx) -> str:
        while True:
            code = "".join(secrets.choice(LETTERS) for _ in range(_LENGTH))
            digest = _digest(house, code)
            if tx.insert_new(device_codes, digest=secret_digest(device_code), user_digest=digest, **row):
                return code

    code = house.db.write(work)
    written = f"{code[:4]}-{code[4:]}"
    return Begun(device_code, written, f"{house.settings.origin}/device", iso(expires), limits.DEVICE_POLL_SECONDS)


def poll(house: House, device_code: str) -> Token:
    """Hand the token over once it was confirmed, once. Raises HubError for what will not come, and for haste."""

    def work(tx: Tx) -> Token | HubError:
        now = house.clock.now()
        row = tx.execute(
            sa.select(device_codes).where(device_codes.c.digest == secret_digest(device_code)).with_for_update()
        ).first()
        if row is None or row.expires_at <= now or row.taken_at is not None:
            return NotFound(
                "this sign-in is unknown, expired or finished",
                code="device_code_over",
                hint="begin again: collegium login",
            )
        if row.refused:
            return NotAllowed("the sign-in was refused in the browser", code="device_refused")
        own = device_codes.c.id == row.id
        if now < row.poll_after:
            slower = min(60, row.interval + limits.DEVICE_POLL_SECONDS)
            after = now + dt.timedelta(seconds=slower)
            tx.execute(sa.update(device_codes).where(own).values(interval=slower, poll_after=after))
            return TooMany(
                "asked again too soon", code="slow_down", hint="wait a little longer", retry_after_seconds=slower
            )
        if row.token is None:
            # A second of grace, since clocks and networks are not exact.
            after = now + dt.timedelta(seconds=row.interval - 1)
            tx.execute(sa.update(device_codes).where(own).values(poll_after=after))
            return Token("waiting", row.interval)
        tx.execute(sa.update(device_codes).where(own).values(taken_at=now))
        token = tx.execute(sa.select(tokens).where(tokens.c.id == row.token)).one()
        secret = derived_secret(house.secret, "clg", "device", row.id)
        return Token("approved", row.interval, row.token, secret, iso(token.expires_at))

    outcome = house.db.write(work)
    if isinstance(outcome, HubError):
        raise outcome
    return outcome


def look(house: House, actor: Actor, typed: str) -> Asking:
    """What asks under this code. Counted, because a code is short. Raises NotFound and TooMany."""
    subjects = _guess(house, actor)

    def work(tx: Tx) -> Asking | HubError:
        row = _open(tx, _digest(house, typed), house.clock.now())
        if isinstance(row, HubError):
            return row
        guesses.give_back(tx, subjects)
        return Asking(
            _plain(typed), row.host, row.address, row.address == actor.address[:60], iso(row.at), iso(row.expires_at)
        )

    outcome = house.db.write(work)
    if isinstance(outcome, HubError):
        raise outcome
    return outcome


class ApproveDevice(Action, frozen=True, tag="device_approve"):
    """Confirm that a shell showing this code is yours: it gets a token that may do what you may."""

    user_code: Code
    secret_fields: ClassVar[tuple[str, ...]] = ("user_code",)


class RefuseDevice(Action, frozen=True, tag="device_refuse"):
    """Refuse the shell that shows this code."""

    user_code: Code
    secret_fields: ClassVar[tuple[str, ...]] = ("user_code",)


class AnsweredView(msgspec.Struct, frozen=True):
    """Which machine was answered, and the token it gets when it was confirmed."""

    host: str
    token: str | None = None


def _count(act: ApproveDevice | RefuseDevice, house: House, actor: Actor) -> guesses.Subjects:
    return _guess(house, actor)


@handles(ApproveDevice, needs="device:approve", before=_count)
def approve_device(act: ApproveDevice, ctx: Context) -> AnsweredView:
    """The token's secret is derived, so that only the shell is ever told it."""
    ctx.access.hub("device:approve")
    row = _answer(ctx, act.user_code)
    token = new_id("tok")
    ctx.execute(
        sa.insert(tokens).values(
            id=token,
            person=ctx.actor.id,
            kind="api",
            name=f"shell on {row.host}",
            digest=secret_digest(derived_secret(ctx.house.secret, "clg", "device", row.id)),
            created_at=ctx.now,
            expires_at=ctx.now + dt.timedelta(seconds=limits.SHELL_TOKEN_SECONDS),
        )
    )
    ctx.execute(sa.update(device_codes).where(device_codes.c.id == row.id).values(token=token))
    ctx.about("token", token, person=ctx.actor.id, device=row.id)
    return AnsweredView(row.host, token)


@handles(RefuseDevice, needs="device:approve", before=_count)
def refuse_device(act: RefuseDevice, ctx: Context) -> AnsweredView:
    """The shell is told so at its next question."""
    ctx.access.hub("device:approve")
    row = _answer(ctx, act.user_code)
    ctx.execute(sa.update(device_codes).where(device_codes.c.id == row.id).values(refused=True))
    ctx.about("device", row.id, person=ctx.actor.id)
    return AnsweredView(row.host)


def _answer(ctx: Context, typed: str) -> sa.Row[tuple[str, ...]]:
    """Take the open code for an answer: one conditional UPDATE, so that of two only one is given."""
    if ctx.actor.kind != "person" or ctx.actor.sign_in_id is None or ctx.actor.by_service is not None:
        raise NotAllowed("a shell is confirmed in your browser, by yourself", code="browser_needed")
    found = _open(ctx.tx, _digest(ctx.house, typed), ctx.now)
    if isinstance(found, HubError):
        raise found
    row = ctx.execute(
        sa.update(device_codes)
        .where(device_codes.c.id == found.id, device_codes.c.answered_at.is_(None))
        .values(answered_at=ctx.now)
        .returning(device_codes)
    ).first()
    if row is None:
        raise _answered()
    guesses.give_back(ctx.tx, ctx.prepared)
    return row


def _open(tx: Tx, digest: bytes, now: dt.datetime) -> sa.Row[tuple[str, ...]] | HubError:
    row = tx.execute(
        sa.select(device_codes).where(device_codes.c.user_digest == digest, device_codes.c.expires_at > now)
    ).first()
    if row is None:
        return NotFound(
            "no shell shows this code now",
            code="device_code_unknown",
            hint="look at the code again; it is good for ten minutes",
            path="$.params.user_code",
        )
    return row if row.answered_at is None else _answered()


def _answered() -> Conflict:
    return Conflict("this code was answered already", code="device_answered", hint="begin again: collegium login")


def _plain(typed: str) -> str:
    """`bcdf ghjk` and `BCDF-GHJK` are the same code."""
    return "".join(c for c in typed.upper() if c.isalpha())


def _digest(house: House, typed: str) -> bytes:
    """Under the hub's key: a plain digest of eight letters could be guessed at."""
    return hmac.digest(house.secret, b"device\x00" + _plain(typed).encode(), "sha256")


def _guess(house: House, actor: Actor) -> guesses.Subjects:
    subjects = {
        f"code:{actor.id}": limits.GUESSES_PER_ACCOUNT,
        f"code_at:{guesses.block(actor.address)}": limits.GUESSES_PER_ADDRESS,
    }
    _take(house, subjects, "too many codes were tried")
    return subjects


def _take(house: House, subjects: guesses.Subjects, said: str) -> None:
    try:
        guesses.take(house, subjects)
    except TooMany as error:
        raise TooMany(
            said, code="too_many_guesses", hint="wait a little", retry_after_seconds=error.retry_after_seconds
        ) from None


def forget_lapsed(tx: Tx, before: dt.datetime) -> None:
    """Drop what expired before this moment."""
    tx.execute(sa.delete(device_codes).where(device_codes.c.expires_at < before))
