"""Mail against a real server on loopback: how it is encrypted, what is refused, what is tried again, what is told."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from hub.core import steps
from hub.core.clock import FrozenClock
from hub.core.context import Actor, Context
from hub.core.errors import HubError, InvalidInput, Unavailable
from hub.core.house import House
from hub.core.settings import Settings
from hub.people import mail
from hub.perform import record
from hub.work.entry import carry_out
from tests.actions.mail_server import Mailbox, authority, running, sign_in

LEE = "lee@university.edu"


def settings(url: str, **more: str) -> Settings:
    return Settings(smtp_url=url, public_url="https://hub.university.edu", **more)


def queue(house: House, who: Actor, to: str = LEE, text: str = "Hello") -> None:
    def work(ctx: Context) -> None:
        ctx.about("person", who.id)
        mail.send(ctx, to=to, subject="A word", text=text, about=who.id, secret=("clgi", "invitation", "inv_x"))

    record(house, "test", work, who)


def run_mails(house: House) -> None:
    with house.db.read() as conn:
        waiting = conn.execute(sa.select(steps.steps.c.id).where(steps.steps.c.kind == "mail")).scalars().all()
    for each in waiting:
        carry_out(house, each)


def told(house: House, who: Actor) -> str:
    with house.scope(who) as scope:
        return mail.standing(scope, {who.id}).get(who.id, "")


def test_a_mail_arrives_whole(mailbox: Mailbox) -> None:
    text = "Grüße an alle.\n\n.\n" + "x" * 2000 + "\nhttps://hub.university.edu/invitation/clgi_" + "a" * 43 + "\n"
    with running(mailbox) as port:
        mail.deliver(settings(f"smtp://127.0.0.1:{port}"), LEE, "Ana lädt ein", text, name="mail_1")
    arrived = mailbox.message()
    assert arrived.get_content().replace("\r\n", "\n") == text
    assert (arrived["subject"], arrived["to"]) == ("Ana lädt ein", LEE)
    assert arrived["from"].addresses[0].addr_spec == "collegium@hub.university.edu"
    assert arrived["message-id"] == "<mail_1@hub.university.edu>"
    assert mailbox.was_encrypted == [False]


def test_starttls_with_a_throwaway_authority(mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted, context = authority(tmp_path)
    with running(mailbox, tls_context=context, authenticator=sign_in, auth_require_tls=True) as port:
        at = settings(f"smtp+starttls://hub:p%40ss%20word@localhost:{port}")
        with pytest.raises(Unavailable, match="certificate") as caught:
            mail.deliver(at, LEE, "s", "t")
        assert caught.value.code == "mail_certificate" and "SSL_CERT_FILE" in caught.value.hint
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        mail.deliver(at, LEE, "s", "t")
        wrong = settings(f"smtp+starttls://hub:no@localhost:{port}")
        with pytest.raises(Unavailable, match="user name or password"):
            mail.deliver(wrong, LEE, "s", "t")
    assert mailbox.was_encrypted == [True]


def test_a_server_that_offers_no_starttls_gets_neither_password_nor_mail(mailbox: Mailbox) -> None:
    with running(mailbox) as port, pytest.raises(Unavailable) as caught:
        mail.deliver(settings(f"smtp+starttls://hub:secret@127.0.0.1:{port}"), LEE, "s", "t")
    assert caught.value.code == "mail_no_tls" and mailbox.arrived == []


def test_tls_from_the_first_byte(mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted, context = authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with running(mailbox, ssl_context=context) as port:
        mail.deliver(settings(f"smtps://localhost:{port}"), LEE, "s", "t")
    assert len(mailbox.arrived) == 1


@pytest.mark.parametrize(
    "url",
    ["", "mail.example.edu", "http://x", "smtp://", "smtp://h:99999", "smtp://h/x", "smtp://u:hidden@mail.example.edu"],
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(HubError) as caught:
        mail.deliver(settings(url), LEE, "s", "t")
    assert "hidden" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "address",
    [
        "lee@x.edu\r\nBcc: all@x.edu",
        "lee@x.edu\nRCPT TO:<all@x.edu>",
        "lee@x.edu\x00",
        "lee\u2028@x.edu",
        "lee@x.edu,all@x.edu",
        "<lee@x.edu>",
        "lee@x.edu ",
        "lee lee@x.edu",
        "\u202elee@x.edu",
        "a@b@x.edu",
        "@x.edu",
        "lee@",
        "lee@" + "\u00fc" * 80 + ".edu",
        '"lee"@x.edu',
    ],
)
def test_crlf_and_its_kin_in_an_address_never_reach_a_server(mailbox: Mailbox, address: str) -> None:
    """A trailing blank is forgiven, and nothing else."""
    with running(mailbox) as port:
        if address.strip(" ") == "lee@x.edu":
            mail.deliver(settings(f"smtp://127.0.0.1:{port}"), address, "s", "t")
            assert mailbox.arrived[0].rcpt_tos == ["lee@x.edu"]
        else:
            with pytest.raises(InvalidInput):
                mail.deliver(settings(f"smtp://127.0.0.1:{port}"), address, "s", "t")
            assert mailbox.arrived == []


@pytest.mark.parametrize("name", ["Ana\r\nBcc: all@x.edu", "Ana\nX: y", "\u202eana", "Ana\x0b\x1c\u0085z"])
def test_crlf_in_a_name_makes_no_header(mailbox: Mailbox, name: str) -> None:
    with running(mailbox) as port:
        mail.deliver(settings(f"smtp://127.0.0.1:{port}"), LEE, f"{name} invites you", "t")
    arrived = mailbox.message()
    assert arrived["bcc"] is None and arrived["x"] is None and "invites you" in arrived["subject"]
    assert mailbox.arrived[0].rcpt_tos == [LEE]


def test_an_address_of_another_script_is_written_as_name_servers_know_it(mailbox: Mailbox) -> None:
    with running(mailbox) as port:
        mail.deliver(settings(f"smtp://127.0.0.1:{port}"), "lee@bücher.example", "s", "t")
    assert mailbox.arrived[0].rcpt_tos == ["lee@xn--bcher-kva.example"]


def test_a_queued_mail_is_carried_once_and_its_secret_is_stored_nowhere(
    mailing: House, mailbox: Mailbox, ana: Actor
) -> None:
    queue(mailing, ana, text="https://hub.test/invitation/{secret}")
    assert told(mailing, ana) == "mail on its way"
    with mailing.db.read() as conn:
        args = str(conn.execute(sa.select(steps.steps.c.args)).scalars().all())
    assert "{secret}" in args and "clgi_" not in args
    run_mails(mailing)
    run_mails(mailing)
    assert len(mailbox.arrived) == 1 and "/invitation/clgi_" in mailbox.message().get_content()
    assert told(mailing, ana) == "mailed"


def test_a_full_mailbox_is_tried_again_and_then_taken(
    mailing: House, mailbox: Mailbox, ana: Actor, clock: FrozenClock
) -> None:
    mailbox.refuses[LEE] = "452 4.2.2 mailbox full"
    queue(mailing, ana)
    run_mails(mailing)
    assert told(mailing, ana).startswith("mail not taken yet: mailbox full")
    run_mails(mailing)  # not due yet
    mailbox.refuses.clear()
    clock.advance(16)
    run_mails(mailing)
    assert told(mailing, ana) == "mailed"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("552 5.2.2 over quota", "mail refused: mailbox full"),
        ("552 no room", "mail refused: mailbox full"),
        ("550 5.1.1 unknown user", "mail refused: nobody of that name there"),
        ("554 5.7.1 \u202espam", "mail refused: refused"),
    ],
)
def test_what_is_refused_for_good_is_told_and_not_tried_again(
    mailing: House, mailbox: Mailbox, ana: Actor, clock: FrozenClock, answer: str, words: str
) -> None:
    mailbox.refuses[LEE] = answer
    queue(mailing, ana)
    run_mails(mailing)
    assert told(mailing, ana).startswith(words) and told(mailing, ana).isprintable()
    mailbox.refuses.clear()
    clock.advance(9999)
    run_mails(mailing)
    assert mailbox.arrived == []


def test_a_mailbox_that_stays_full_is_given_up_after_half_a_day(
    mailing: House, mailbox: Mailbox, ana: Actor, clock: FrozenClock
) -> None:
    mailbox.refuses[LEE] = "452 4.2.2 mailbox full"
    queue(mailing, ana)
    began = clock.now()
    while not told(mailing, ana).startswith("mail refused: mailbox full"):
        run_mails(mailing)
        clock.advance(1800)
        assert (clock.now() - began).days < 2
    assert (clock.now() - began).total_seconds() > 12 * 3600


def test_a_server_that_is_away_is_told(house: House, ana: Actor) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    house.settings = msgspec.structs.replace(house.settings, smtp_url=f"smtp://127.0.0.1:{port}")
    queue(house, ana)
    run_mails(house)
    assert f"the mail server 127.0.0.1:{port} cannot be talked to" in told(house, ana)
