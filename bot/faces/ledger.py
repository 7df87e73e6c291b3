"""The ledger: whether it holds, and its lines in words."""

from bot import words
from bot.cards import Reply, State, fields
from bot.hub_views import Event, LedgerVerification
from bot.problems import OTHER


def ledger_card(one: LedgerVerification) -> Reply:
    """Whether the whole ledger is what was recorded."""
    count = words.counted(one.lines, "line")
    said = f"The ledger holds: {count}." if one.holds else f"The ledger does not hold: {one.fault}."
    return Reply(
        sentence=said,
        named="The ledger holds." if one.holds else "The ledger does not hold.",
        ident="The ledger holds." if one.holds else "The ledger does not hold.",
        state=State("Holds", "✓", "ok") if one.holds else State("Does not hold", "✗", "bad"),
        fields=fields(
            erased_bodies=one.erased or None,
            checkpoints=one.checkpoints,
            root=one.root,
            verifier_key=one.verifier_key,
        ),
        exit_code=0 if one.holds else OTHER,
        data=one,
    )


def event_line(one: Event) -> str:
    """One line of the ledger in words: who did what to what."""
    return f"{one.sequence} {one.action.replace('_', ' ')} {one.object or ''} by {one.actor}"
