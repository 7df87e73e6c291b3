"""`verify`: does everything hold that was signed and recorded?"""

import click

from bot.cards import Reply
from bot.door import Door
from bot.faces.entry import verification_card
from bot.faces.ledger import ledger_card
from bot.grammar import Verb, session_option


@click.command("verify", cls=Verb)
@click.argument("which", metavar="[ENTRY]", required=False)
@session_option
@click.pass_obj
def verify(door: Door, which: str | None, session: str | None) -> Reply:
    """Check the whole hub's ledger, or the signatures and attachments of one ENTRY.

    The exit code is 0 only when everything holds.
    """
    if which is None:
        return ledger_card(door.hub.verify())
    return verification_card(door.hub.verification(door.ref(which, session)))
