"""Does the mail server take a mail from this hub?"""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.errors import HubError
from hub.core.house import House
from hub.core.settings import Settings
from hub.people import mail
from hub.people.tables import emails
from hub.setup.rules import Check, sentence

SUBJECT = "Mail from your hub works"
TEXT = """This is the test mail of the hub at {origin}.

Somebody who operates it has just set up mail, or tested it again. Nothing needs to be done.
"""


def test(house: House, settings: Settings, by: str | None) -> list[Check]:
    """Sign in to the server; with proof, have it carry a mail to whoever asked."""
    if not mail.can_send(settings):
        return [Check("mail server", False, "None is set.", "Name your mail server.")]
    to = None if by is None else _address(house, by)
    try:
        if by is None:
            mail.greet(settings)
            return [Check("mail server", True, "It lets this hub in.")]
        if to is None:
            mail.greet(settings)
            hint = "Name your address in the step “First owner”, then test again."
            return [Check("mail server", True, "It lets this hub in."), Check("test mail", False, "No address.", hint)]
        mail.deliver(settings, to, SUBJECT, TEXT.format(origin=settings.origin))
    except HubError as error:
        return [Check("mail server", False, f"{sentence(error.message)}.", _remedy(error))]
    return [Check("mail server", True, f"It took a test mail to {to}; see that it arrives.")]


def _remedy(error: HubError) -> str:
    if error.hint:
        return error.hint
    if error.code == "mail_login_refused":
        return "Look at the user name and the password; many servers want one made for an application."
    if error.code == "mail_no_tls":
        return "Choose another kind of encryption; port 465 goes with TLS, port 587 with STARTTLS."
    return "Look at host and port, and at the firewall."


def _address(house: House, person: str) -> str | None:
    """Where to write to a person; a verified address before any other."""
    with house.db.read() as conn:
        found: str | None = conn.execute(
            sa.select(emails.c.email)
            .where(emails.c.person == person)
            .order_by(emails.c.verified_at.is_(None), emails.c.email)
            .limit(1)
        ).scalar()
    return found
