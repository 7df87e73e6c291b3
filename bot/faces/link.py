"""An expiring link: what it allows, whether it still opens, how often it did. Never its secret."""

from bot.cards import Next, Reply, State, fields
from bot.chat_hub import LinkFace
from bot.words import counted, moment

_STATES = {
    "open": State("Open", "○", "run"),
    "expired": State("Expired", "⊘", "quiet"),
    "revoked": State("Revoked", "⊘", "quiet"),
    "used up": State("Used up", "⊘", "quiet"),
}


def link_face(one: LinkFace) -> Reply:
    """A link as one card, with the button that takes it back."""
    state = _STATES.get(one.state, State(one.state.capitalize(), "·"))
    left = "" if one.uses_left is None else f", {counted(one.uses_left, 'use')} left"
    said = f"link to {one.session_name} that allows {one.role}: {state.word.lower()}"
    used = f"{counted(one.uses, 'time')}{left}"
    revoke = ("share", "revoke", one.id)
    return Reply(
        sentence=f"{said}, until {moment(one.expires)}, opened {used}",
        named=f"{said}, until {moment(one.expires)}, opened {used}",
        ident=f"a link, {state.word.lower()}",
        title=f"link · {one.label}" if one.label else "link",
        session=one.session_name,
        state=state,
        fields=fields("allows until opened", allows=one.role, until=moment(one.expires), opened=used),
        next=(Next("revoke it", revoke, is_dangerous=True, ident=revoke),) if one.state == "open" else (),
        is_private=False,
        data=one,
    )
