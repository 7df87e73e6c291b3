"""An hour's endings in one message, for channels that want no more."""

from collections.abc import Sequence

from bot.cards import Reply, Row, Table
from bot.words import counted


def digest_face(ended: Sequence[Reply], going_on: int) -> Reply:
    """What ended in an hour, a line each; `going_on` is how many are not over."""
    rest = f", {counted(going_on, 'thing')} not over" if going_on else ""
    said = f"{counted(len(ended), 'thing')} ended this hour{rest}"
    rows = tuple(
        Row((one.sentence,), _marked(one, one.sentence), named=_marked(one, one.named), ident=_marked(one, one.ident))
        for one in ended
    )
    return Reply(
        sentence=said, named=said, ident=said, title="The last hour", table=Table(("",), rows), is_private=False
    )


def _marked(one: Reply, said: str) -> str:
    return f"{one.state.glyph} {said}" if one.state and said else said
