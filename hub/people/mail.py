"""Mail: queued by an action, carried to the operator's server by a worker, and what became of it told on its object.

A step holds no secret: a text names the place where one goes, and the worker derives it again from the hub's key. What
the server refuses for now is tried again for half a day; what it refuses for good (a full mailbox, nobody of that name)
is written down where whoever asked for the mail looks for it. A mail may arrive twice, under one Message-ID.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.policy
import email.utils
import re
import smtplib
import ssl
from collections.abc import Callable
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec
import sqlalchemy as sa

from hub.core import limits, steps
from hub.core.context import Context, Scope
from hub.core.database import Tx
from hub.core.errors import HubError, InvalidInput, Unavailable
from hub.core.house import House
from hub.core.ids import derived_secret, new_id
from hub.core.settings import Settings
from hub.people import rules
from hub.people.tables import mails

STEP = "mail"
SECRET_HERE = "{secret}"  # noqa: S105 - where one goes
_SCHEMES: dict[str, tuple[Literal["plain", "starttls", "tls"], int]] = {
    "smtp": ("plain", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ENHANCED = re.compile(r"\b[245]\.(\d{1,3})\.(\d{1,3})\b")


class Server(msgspec.Struct, frozen=True):
    """The operator's mail server, from its URL."""

    host: str
    port: int
    tls: Literal["plain", "starttls", "tls"]
    user: str
    password: str


def server(url: str) -> Server:
    """What an SMTP URL says. Raises InvalidInput, whose words never repeat the password."""
    hint = "smtp+starttls://USER:PASSWORD@HOST:587, smtps://USER:PASSWORD@HOST:465 or smtp://HOST:25"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInput("this is not the URL of a mail server", code="bad_smtp_url", hint=hint) from None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise InvalidInput("this is not the URL of a mail server", code="bad_smtp_url", hint=hint)
    tls, usual_port = _SCHEMES[parts.scheme]
    if parts.password and tls == "plain" and parts.hostname not in _LOOPBACK:
        raise InvalidInput(
            "a password would go to the mail server unencrypted",
            code="bad_smtp_url",
            hint="write smtp+starttls:// or smtps://",
        )
    return Server(parts.hostname, port or usual_port, tls, unquote(parts.username or ""), unquote(parts.password or ""))


def send(
    ctx: Context, *, to: str, subject: str, text: str, about: str, secret: tuple[str, str, str] | None = None
) -> None:
    """Queue a mail about an object.

    `secret` is (prefix, purpose, object id) of a derived secret, which takes the place of `{secret}` in the text when
    the mail is written. Raises InvalidInput for an address that is none; the caller has checked `can_send`.
    """
    mail = new_id("mail")
    ctx.tx.insert_new(mails, id=mail, about=about, asked_by=ctx.actor.id, at=ctx.now)
    ctx.enqueue(
        STEP,
        about,
        mail=mail,
        to=rules.normal_email(to),
        subject=rules.visible_name(subject),
        text=text,
        secret=None if secret is None else list(secret),
    )


def can_send(settings: Settings) -> bool:
    """Whether this hub was told of a mail server."""
    return bool(settings.smtp_url)


def require_server(settings: Settings) -> None:
    """Raises Unavailable where mail is the only way and there is none."""
    if not can_send(settings):
        raise Unavailable(
            "this hub sends no mail", code="no_mail", hint="whoever runs it sets COLLEGIUM_SMTP_URL, or uses /setup"
        )


@steps.runs(STEP)
def carry(step: steps.Step, house: House) -> None:
    """Deliver one mail; what can pass is tried again, each time later."""
    text = step.args["text"]
    if step.args["secret"] is not None:
        text = text.replace(SECRET_HERE, derived_secret(house.secret, *step.args["secret"]))
    mail = step.args["mail"]
    try:
        deliver(house.settings, step.args["to"], step.args["subject"], text, name=mail)
    except HubError as error:
        if not error.temporary:
            raise
        _note(house, mail, trouble=error.message)
        delay = min(limits.MAIL_AGAIN_SECONDS_MOST, limits.MAIL_AGAIN_SECONDS * 2 ** (step.attempt - 1))
        raise steps.Retry(error.message, delay) from error

    def done(tx: Tx) -> None:
        steps.finish(tx, step, house.clock.now())
        tx.execute(sa.update(mails).where(mails.c.id == mail).values(sent_at=house.clock.now(), trouble=None))

    house.db.write(done)


@steps.when_given_up(STEP)
def give_up(tx: Tx, house: House, step: steps.Step, reason: str) -> None:
    """Refused for good, or not taken for half a day."""
    values = {"refused_at": house.clock.now(), "trouble": reason[:500]}
    tx.execute(sa.update(mails).where(mails.c.id == step.args["mail"]).values(**values))


def _note(house: House, mail: str, *, trouble: str) -> None:
    house.db.write(lambda tx: tx.execute(sa.update(mails).where(mails.c.id == mail).values(trouble=trouble[:500])))


def standing(scope: Scope, about: set[str]) -> dict[str, str]:
    """What became of the newest mail about each of these objects, in words; nothing where there was none."""
    rows = scope.execute(sa.select(mails).where(mails.c.about.in_(about)).order_by(mails.c.at, mails.c.id))
    return {row.about: _words(row) for row in rows}


def forget_old(tx: Tx, before: dt.datetime) -> None:
    """Drop what became of mails that nobody waits for any more."""
    tx.execute(sa.delete(mails).where(mails.c.at < before))


def _words(row: sa.Row[tuple[object, ...]]) -> str:
    if row.sent_at is not None:
        return "mailed"
    if row.refused_at is not None:
        return f"mail refused: {row.trouble}"
    return "mail on its way" if row.trouble is None else f"mail not taken yet: {row.trouble}"


def deliver(settings: Settings, to: str, subject: str, text: str, *, name: str | None = None) -> None:
    """Hand one mail to the server, now. Raises Unavailable for what may pass and InvalidInput for what will not."""
    require_server(settings)
    message = _message(settings, to, subject, text, name or new_id("mail"))
    _talk(settings, to, lambda connection: connection.send_message(message))


def greet(settings: Settings) -> None:
    """Let the server let this hub in, and say good-bye. Raises as `deliver` does."""
    require_server(settings)
    _talk(settings, "nobody", lambda connection: connection.noop())


def _talk(settings: Settings, to: str, say: Callable[[smtplib.SMTP], object]) -> None:
    """Say something to the server once it has let us in."""
    at = server(settings.smtp_url)
    where = f"{at.host}:{at.port}"
    try:
        with _connected(at, urlsplit(settings.origin).hostname or "localhost") as connection:
            if at.user:
                connection.login(at.user, at.password)
            say(connection)
    except smtplib.SMTPRecipientsRefused as refused:
        code, said = next(iter(refused.recipients.values()))
        raise _refusal(code, said, f"the mail server does not take mail for {to}") from refused
    except smtplib.SMTPSenderRefused as refused:
        error, sender = str(refused.smtp_error), f"the mail server does not take mail from {refused.sender}"
        raise _refusal(refused.smtp_code, error, sender) from refused
    except smtplib.SMTPAuthenticationError as refused:
        raise Unavailable(
            f"the mail server {where} refuses the user name or password", code="mail_login_refused"
        ) from refused
    except smtplib.SMTPDataError as refused:
        raise _refusal(refused.smtp_code, refused.smtp_error, "the mail server does not take this mail") from refused
    except smtplib.SMTPNotSupportedError as refused:
        raise Unavailable(
            f"the mail server {where} cannot do what is needed: {refused}", code="mail_no_tls"
        ) from refused
    except ssl.SSLCertVerificationError as refused:
        raise Unavailable(
            f"the certificate of the mail server {where} is not good: {refused.verify_message}",
            code="mail_certificate",
            hint="a private authority is trusted when SSL_CERT_FILE names its certificate",
        ) from refused
    except (smtplib.SMTPException, OSError) as error:
        raise Unavailable(f"the mail server {where} cannot be talked to: {_plain(error)}", code="mail_away") from error


def _connected(at: Server, own_name: str) -> contextlib.AbstractContextManager[smtplib.SMTP]:
    """A connection on which a password may travel; the certificate is checked against the host's name."""
    seconds = limits.MAIL_SECONDS
    if at.tls == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(at.host, at.port, own_name, timeout=seconds, context=context)
    connection = smtplib.SMTP(at.host, at.port, own_name, timeout=seconds)
    if at.tls == "starttls":
        try:
            connection.starttls(context=ssl.create_default_context())
        except BaseException:
            connection.close()
            raise
    return connection


def _message(settings: Settings, to: str, subject: str, text: str, name: str) -> EmailMessage:
    host = urlsplit(settings.origin).hostname or "localhost"
    sender = rules.normal_email(settings.mail_from or f"collegium@{host if '.' in host else host + '.localdomain'}")
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = _address(sender, "Collegium")
    message["To"] = _address(rules.normal_email(to))
    message["Subject"] = rules.visible_name(subject)
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = f"<{name}@{host}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text, cte="quoted-printable")
    return message


def _address(normal: str, shown: str = "") -> Address:
    """An address as a header takes it, the domain as name servers know it. Raises InvalidInput."""
    local, _, domain = normal.rpartition("@")
    try:
        return Address(shown, local, domain if domain.isascii() else domain.encode("idna").decode())
    except (UnicodeError, ValueError):
        raise InvalidInput(f"{normal[:80]!r} is not an e-mail address", code="bad_email") from None


def _refusal(code: int, said: bytes | str, what: str) -> HubError:
    """4xx may pass (a greylist, a mailbox that is full today), 5xx will not."""
    reply = rules.visible_name(said.decode("utf-8", "replace") if isinstance(said, bytes) else said)
    told = f"{_meaning(code, reply)} ({what}; it said: {code} {reply})"
    if code >= 500:
        return InvalidInput(told, code="mail_refused")
    return Unavailable(told, code="mail_deferred")


def _meaning(code: int, reply: str) -> str:
    found = _ENHANCED.search(reply)
    kind = None if found is None else (found[1], found[2])
    if kind == ("2", "2") or (kind is None and code in (452, 552)):
        return "mailbox full"
    if kind == ("1", "1") or (kind is None and code in (550, 551, 553)):
        return "nobody of that name there"
    return "refused" if code >= 500 else "not now"


def _plain(error: BaseException) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return rules.visible_name(f"{error.smtp_code} {said}")
    return rules.visible_name(getattr(error, "strerror", None) or str(error) or type(error).__name__)
