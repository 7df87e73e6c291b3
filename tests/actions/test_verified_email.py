"""An address is somebody's when they opened the link that was sent there, signed in as who asked for it."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, TooMany, Unavailable
from hub.core.house import House
from hub.people import accounts, verified_email
from hub.people.tables import emails
from tests.actions.mail_server import Mailbox
from tests.actions.test_mail import run_mails
from tests.conftest import Perform

LEE = "lee@university.edu"


def sent(house: House, mailbox: Mailbox, where: str = "email") -> str:
    """The secret in the newest mail."""
    run_mails(house)
    found = re.search(rf"http://hub\.test/{where}/(\S+)", mailbox.message().get_content())
    assert found is not None
    return found[1]


def owner(house: House, address: str) -> str | None:
    with house.db.read() as conn:
        return accounts.by_verified_email(conn, address)


def test_an_address_is_bound_by_the_link_sent_there_and_not_before(
    mailing: House, mailbox: Mailbox, ana: Actor, perform: Perform
) -> None:
    answer = perform(ana, "email_add", email="Lee@University.edu")
    assert answer["email"] == LEE and "secret" not in answer
    secret = sent(mailing, mailbox)
    assert owner(mailing, LEE) is None
    perform(ana, "email_verify", secret=secret)
    assert owner(mailing, LEE) == ana.id
    with pytest.raises(NotFound):
        perform(ana, "email_verify", secret=secret)


def test_another_person_or_nobody_cannot_use_the_link(
    mailing: House, mailbox: Mailbox, ana: Actor, ben: Actor, perform: Perform
) -> None:
    perform(ana, "email_add", email=LEE)
    secret = sent(mailing, mailbox)
    with pytest.raises(NotFound):
        perform(ben, "email_verify", secret=secret)
    with pytest.raises(NotAllowed):
        perform(ANYONE, "email_verify", secret=secret)
    perform(ana, "email_verify", secret=secret)


def test_an_address_somebody_proved_is_not_taken_and_one_merely_typed_is(
    mailing: House, mailbox: Mailbox, ana: Actor, ben: Actor, perform: Perform
) -> None:
    perform(ben, "email_add", email="ana@university.edu")  # typed for Ana when her account was made
    perform(ben, "email_verify", secret=sent(mailing, mailbox))
    assert owner(mailing, "ana@university.edu") == ben.id
    perform(ana, "email_add", email="ana@university.edu")  # the answer tells nobody that it is taken
    with pytest.raises(Conflict):
        perform(ana, "email_verify", secret=sent(mailing, mailbox))
    perform(ben, "email_remove", email="ana@university.edu")
    assert owner(mailing, "ana@university.edu") is None


def test_a_link_ends_after_a_day_and_with_its_address(
    mailing: House, mailbox: Mailbox, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    perform(ana, "email_add", email=LEE)
    first = sent(mailing, mailbox)
    perform(ana, "email_remove", email=LEE)
    perform(ana, "email_add", email=LEE)
    second = sent(mailing, mailbox)
    with pytest.raises(NotFound):
        perform(ana, "email_remove", email="nobodys@university.edu")
    clock.advance(24 * 3600 + 1)
    for secret in (first, second):
        with pytest.raises(NotFound):
            perform(ana, "email_verify", secret=secret)


def test_a_full_mailbox_is_told_to_who_waits_for_the_link(
    mailing: House, mailbox: Mailbox, ana: Actor, perform: Perform
) -> None:
    mailbox.refuses[LEE] = "552 5.2.2 mailbox full"
    perform(ana, "email_add", email=LEE)
    run_mails(mailing)
    with mailing.scope(ana) as scope:
        told = {each.email: each for each in verified_email.mine(scope)}
    assert told[LEE].standing.startswith("mail refused: mailbox full") and told[LEE].verified is None


def test_nobody_makes_the_hub_write_to_strangers_without_end(
    mailing: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    for number in range(limits.EMAIL_LINKS_PER_PERSON):
        perform(ana, "email_add", email=f"x{number}@university.edu")
    with pytest.raises(TooMany):
        perform(ana, "email_add", email=LEE)
    clock.advance(limits.GUESS_SECONDS + 1)
    perform(ana, "email_add", email=LEE)


def test_where_no_mail_is_sent_no_address_is_proved(ana: Actor, perform: Perform) -> None:
    with pytest.raises(Unavailable, match="sends no mail"):
        perform(ana, "email_add", email=LEE)


@pytest.mark.parametrize("address", ["lee", "lee@x.edu\r\nBcc: all@x.edu", "lee@x.edu, all@x.edu", "@x.edu"])
def test_what_is_no_address_is_refused(mailing: House, ana: Actor, perform: Perform, address: str) -> None:
    with pytest.raises(InvalidInput):
        perform(ana, "email_add", email=address)
    with mailing.db.read() as conn:
        assert conn.execute(sa.select(emails.c.email)).scalars().all() == ["ana@university.edu"]
