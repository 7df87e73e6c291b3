"""Invitations: mailed, taken up once, by who holds the link or proved the address, with an account or without one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.errors import Conflict, HubError, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.people import accounts
from hub.people.tables import emails, persons, sign_ins
from hub.sessions import invitations, views
from hub.sessions.tables import grants
from tests.actions.mail_server import Mailbox
from tests.actions.test_mail import run_mails
from tests.actions.test_sharing import role_of
from tests.conftest import Perform, make_person

LEE = "lee@university.edu"
PASSWORD = "seven grey whales singing"


@pytest.fixture
def lab(ana: Actor, perform: Perform) -> str:
    return str(perform(ana, "session_create", name="lab", title="The lab")["session"])


@pytest.fixture
def invited(ana: Actor, lab: str, perform: Perform) -> dict[str, Any]:
    return invite(perform, ana, lab)


def invite(perform: Perform, who: Actor, session: str, email: str = LEE, **more: Any) -> dict[str, Any]:
    shared = perform(who, "session_share", session_id=session, participants=[{"email": email, **more}])
    found: dict[str, Any] = shared["invitations"][0]
    return found


def prove(house: House, who: Actor, email: str) -> None:
    """The address is theirs, as if they had opened the link sent there."""
    now = house.clock.now()
    house.db.write(lambda tx: tx.insert_new(emails, email=email, person=who.id, verified_at=now) and None)


def someone(house: House, handle: str) -> Actor:
    with house.db.read() as conn:
        person = accounts.by_handle(conn, handle)
        actor = None if person is None else accounts.actor_of(conn, person)
    assert actor is not None
    return actor


def test_somebody_without_an_account_makes_one_and_is_in(
    house: House, lab: str, invited: dict[str, Any], perform: Perform
) -> None:
    joined = perform(
        ANYONE, "invitation_join", secret=invited["secret"], name="Lee Park", handle="lee", password=PASSWORD
    )
    assert (joined["handle"], joined["name"], joined["path"]) == ("lee", "ana/lab", "/s/ana/lab")
    assert role_of(house, someone(house, "lee"), lab) == "read"
    with house.db.read() as conn:
        found = accounts.live_sign_in(conn, joined["cookie"], house.clock.now())
        assert found is not None and found.person == joined["person"]
        assert accounts.by_verified_email(conn, LEE) is None  # who invited them held the link as well
    assert perform(ANYONE, "sign_in_password", who="lee", password=PASSWORD)["cookie"]


def test_without_a_password_one_is_signed_in_this_once(invited: dict[str, Any], perform: Perform) -> None:
    joined = perform(ANYONE, "invitation_join", secret=invited["secret"], name="Lee Park")
    assert joined["handle"] == "lee-park" and joined["cookie"]
    with pytest.raises(HubError, match="did not fit"):
        perform(ANYONE, "sign_in_password", who="lee-park", password=PASSWORD)


@pytest.mark.parametrize(
    "wrong",
    [
        {"handle": "ana"},
        {"handle": "Not A Handle"},
        {"name": "\u200b"},
        {"name": "Lee\r\nPark"},
        {"password": "password"},
        {"password": "lee@university.edu"},
        {"password": "short"},
    ],
)
def test_an_account_that_cannot_be_made_spends_no_invitation(
    house: House, invited: dict[str, Any], perform: Perform, wrong: dict[str, str]
) -> None:
    with pytest.raises((InvalidInput, Conflict)):
        perform(ANYONE, "invitation_join", **{"secret": invited["secret"], "name": "Lee", **wrong})
    with house.db.read() as conn:
        assert conn.execute(sa.select(persons.c.handle)).scalars().all() == ["ana"]
        assert conn.execute(sa.select(sign_ins.c.id)).first() is None
    perform(ANYONE, "invitation_join", secret=invited["secret"], name="Lee", password=PASSWORD)


def test_an_invitation_used_twice_lets_one_in(
    house: House, invited: dict[str, Any], ben: Actor, perform: Perform
) -> None:
    perform(ben, "invitation_accept", secret=invited["secret"])
    with pytest.raises(NotFound):
        perform(make_person(house, "eve"), "invitation_accept", secret=invited["secret"])
    with pytest.raises(NotFound):
        perform(ANYONE, "invitation_join", secret=invited["secret"], name="Eve")
    with house.db.read() as conn:
        assert set(conn.execute(sa.select(persons.c.handle)).scalars()) == {"ana", "ben", "eve"}


def test_a_withdrawn_invitation_opens_nothing(
    house: House, ana: Actor, ben: Actor, lab: str, invited: dict[str, Any], perform: Perform
) -> None:
    prove(house, ben, LEE)
    perform(ana, "grant_revoke", session_id=lab, participant=invited["invitation"])
    for attempt in (
        lambda: perform(ben, "invitation_accept", secret=invited["secret"]),
        lambda: perform(ben, "invitation_accept", invitation=invited["invitation"]),
        lambda: perform(ANYONE, "invitation_join", secret=invited["secret"], name="Lee"),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert role_of(house, ben, lab) is None


def test_an_expired_invitation_opens_nothing(
    house: House, ben: Actor, lab: str, invited: dict[str, Any], perform: Perform, clock: FrozenClock
) -> None:
    prove(house, ben, LEE)
    clock.advance(limits.INVITATION_SECONDS + 1)
    for how in ({"secret": invited["secret"]}, {"invitation": invited["invitation"]}):
        with pytest.raises(NotFound):
            perform(ben, "invitation_accept", **how)
    with house.scope(ben) as scope:
        assert invitations.mine(scope) == []
    assert role_of(house, ben, lab) is None


def test_an_invitation_ends_with_what_it_gives(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform, clock: FrozenClock
) -> None:
    shared = perform(
        ana, "session_share", session_id=lab, participants=[{"email": LEE}], expires="2024-06-01T13:00:00Z"
    )
    clock.advance(3601)
    with pytest.raises(NotFound):
        perform(ben, "invitation_accept", secret=shared["invitations"][0]["secret"])
    assert role_of(house, ben, lab) is None


def test_who_proved_the_address_accepts_without_the_link(
    house: House, ben: Actor, lab: str, invited: dict[str, Any], perform: Perform
) -> None:
    with house.scope(ben) as scope:
        assert invitations.mine(scope) == []
    with pytest.raises(NotFound):
        perform(ben, "invitation_accept", invitation=invited["invitation"])
    prove(house, ben, LEE)
    with house.scope(ben) as scope:
        assert [each.session for each in invitations.mine(scope)] == ["ana/lab"]
    perform(ben, "invitation_accept", invitation=invited["invitation"])
    assert role_of(house, ben, lab) == "read"
    with pytest.raises(NotFound):  # the link is spent by that
        perform(make_person(house, "eve"), "invitation_accept", secret=invited["secret"])


def test_an_address_that_was_only_typed_binds_nobody(
    house: House, ben: Actor, ana: Actor, lab: str, perform: Perform
) -> None:
    sent = invite(perform, ana, lab, "ben@university.edu")  # typed when Ben's account was made, never proved
    with house.scope(ben) as scope:
        assert invitations.mine(scope) == []
    with pytest.raises(NotFound):
        perform(ben, "invitation_accept", invitation=sent["invitation"])


def test_the_owner_does_not_use_up_their_own_invitation(
    ana: Actor, ben: Actor, invited: dict[str, Any], perform: Perform
) -> None:
    with pytest.raises(Conflict, match="yours already"):
        perform(ana, "invitation_accept", secret=invited["secret"])
    perform(ben, "invitation_accept", secret=invited["secret"])


def test_who_is_signed_in_makes_no_second_account(ben: Actor, invited: dict[str, Any], perform: Perform) -> None:
    with pytest.raises(Conflict, match="signed in as Ben"):
        perform(ben, "invitation_join", secret=invited["secret"], name="Lee")


def test_inviting_anew_leaves_one_link_that_works(
    house: House, ana: Actor, ben: Actor, lab: str, invited: dict[str, Any], perform: Perform
) -> None:
    again = invite(perform, ana, lab, role="read_write")
    with pytest.raises(NotFound):
        perform(ben, "invitation_accept", secret=invited["secret"])
    perform(ben, "invitation_accept", secret=again["secret"])
    assert role_of(house, ben, lab) == "read_write"


def test_what_a_removed_admin_gave_out_opens_nothing(
    house: House, ana: Actor, ben: Actor, lab: str, invited: dict[str, Any], perform: Perform
) -> None:
    perform(ana, "grant_revoke", session_id=lab, participant=invited["invitation"])
    perform(ben, "invitation_accept", secret=invite(perform, ana, lab, role="admin")["secret"])
    back = invite(perform, ben, lab, "way-back@university.edu")
    perform(ana, "grant_revoke", session_id=lab, participant="ben")
    with pytest.raises(NotFound):
        perform(ben, "invitation_accept", secret=back["secret"])


def test_an_invitation_is_mailed_and_still_returned_to_who_invites(
    mailing: House, mailbox: Mailbox, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    sent = invite(perform, ana, lab, role="read_write")
    assert sent["mailed"] and sent["secret"]
    run_mails(mailing)
    arrived = mailbox.message()
    assert arrived["subject"] == "Ana invites you to “The lab”" and mailbox.arrived[0].rcpt_tos == [LEE]
    assert f"http://hub.test/invitation/{sent['secret']}" in arrived.get_content()
    with mailing.scope(ana) as scope:
        assert [each.mail for each in views.participants(scope, lab).invitations] == ["mailed"]
    perform(ben, "invitation_accept", secret=sent["secret"])


def test_a_full_mailbox_is_told_beside_the_invitation(
    mailing: House, mailbox: Mailbox, ana: Actor, lab: str, perform: Perform
) -> None:
    mailbox.refuses[LEE] = "552 5.2.2 mailbox full"
    invite(perform, ana, lab)
    run_mails(mailing)
    with mailing.scope(ana) as scope:
        told = views.participants(scope, lab).invitations[0].mail
    assert told.startswith("mail refused: mailbox full")


def test_a_withdrawn_invitation_is_not_mailed_any_more(
    mailing: House, mailbox: Mailbox, ana: Actor, lab: str, perform: Perform
) -> None:
    sent = invite(perform, ana, lab)
    perform(ana, "grant_revoke", session_id=lab, participant=sent["invitation"])
    run_mails(mailing)
    assert mailbox.arrived == []


def test_who_is_invited_anew_before_the_first_mail_went_gets_the_newer_one_alone(
    mailing: House, mailbox: Mailbox, ana: Actor, lab: str, perform: Perform
) -> None:
    invite(perform, ana, lab, role="read")
    newer = invite(perform, ana, lab, role="read_write")
    run_mails(mailing)
    assert len(mailbox.arrived) == 1
    assert newer["secret"] in mailbox.message().get_content()


def test_what_somebody_invited_before_they_were_removed_is_not_mailed_any_more(
    mailing: House, mailbox: Mailbox, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    perform(ben, "invitation_accept", secret=invite(perform, ana, lab, "ben@university.edu", role="admin")["secret"])
    run_mails(mailing)
    mailbox.arrived.clear()
    invite(perform, ben, lab)
    perform(ana, "grant_revoke", session_id=lab, participant=ben.id)
    run_mails(mailing)
    assert mailbox.arrived == []


@pytest.mark.parametrize(
    "address", ["lee@x.edu\r\nBcc: all@x.edu", "lee@x.edu\nX: y", "lee@x.edu,all@x.edu", "\u202elee@x.edu"]
)
def test_crlf_in_an_invited_address_is_refused(ana: Actor, lab: str, perform: Perform, address: str) -> None:
    with pytest.raises(InvalidInput):
        invite(perform, ana, lab, address)


def test_a_title_with_a_line_break_makes_no_header(
    mailing: House, mailbox: Mailbox, ana: Actor, perform: Perform
) -> None:
    with mailing.db.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(persons)).scalar() == 1
    made = perform(ana, "session_create", name="x", title="The \u201dlab\u201d")["session"]
    mailing.db.write(
        lambda tx: (
            tx.execute(
                sa.text("update sessions set title = :t where id = :i"), {"t": "Lab\r\nBcc: all@x.edu", "i": made}
            )
            and None
        )
    )
    invite(perform, ana, made)
    run_mails(mailing)
    assert mailbox.message()["bcc"] is None and mailbox.arrived[0].rcpt_tos == [LEE]


def test_of_many_who_open_one_invitation_at_once_one_is_in(
    house: House, lab: str, invited: dict[str, Any], perform: Perform
) -> None:
    crowd = [make_person(house, f"p{number}") for number in range(6)]

    def accept(who: Actor | None) -> bool:
        try:
            if who is None:
                perform(ANYONE, "invitation_join", secret=invited["secret"], name="Lee")
            else:
                perform(who, "invitation_accept", secret=invited["secret"])
        except NotFound:
            return False
        return True

    with ThreadPoolExecutor(9) as pool:
        assert sum(pool.map(accept, [*crowd, None, None, None])) == 1
    with house.db.read() as conn:
        belong = conn.execute(sa.select(grants.c.subject).where(grants.c.session == lab)).scalars().all()
        made = conn.execute(sa.select(sa.func.count()).select_from(persons)).scalar_one()
    assert len(belong) == 1 and made in (7, 8)


def test_a_guest_by_link_may_not_accept_but_may_join(ana: Actor, invited: dict[str, Any], perform: Perform) -> None:
    with pytest.raises(NotAllowed):
        perform(ANYONE, "invitation_accept", secret=invited["secret"])
    assert perform(ANYONE, "invitation_join", secret=invited["secret"], name="Lee")["handle"] == "lee"
