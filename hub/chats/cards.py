"""The rows of cards: claimed before they are posted, fenced by the follower's epoch, kept so that they can be deleted.

A row in state `posting` is a promise, not a fact: whoever finds one that is not theirs looks for the message first.
`wanted` is a card that nobody has begun to post, `held` one that is posted only when its object ends or needs a person,
`digest` one that is told with others.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.chats.follower import refuse_stale
from hub.chats.tables import chat_cards
from hub.core import limits
from hub.core.database import Tx
from hub.core.ids import new_id

State = Literal["wanted", "held", "digest", "posting", "posted", "lost", "forgetting", "forgotten"]
ReplyState = Literal["", "posting", "posted", "lost"]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A thing shown in a channel; `message` and `reply_message` are the platform's ids."""

    id: str
    platform: str
    workspace: str
    channel: str
    thread: str
    kind: str
    object: str
    session: str | None
    person: str | None
    state: str
    message: str | None
    reply: str
    reply_message: str | None
    anew: int
    shown: str
    posting_at: dt.datetime
    settled: bool


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A follower found that a thing is to be shown in a channel."""

    platform: str
    workspace: str
    channel: str
    thread: str = ""
    kind: str
    object: str
    session: str | None = None
    person: str | None = None
    state: Literal["wanted", "held", "digest"] = "wanted"


class Claims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a follower found in one page of events."""

    epoch: int
    claims: Annotated[tuple[Claim, ...], Meta(max_length=limits.CHAT_CARDS_PAGE)]


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """The card's row, and whether it was made just now; if not, somebody shows the thing there already."""

    card: Card
    made: bool


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a card."""

    id: str
    state: State | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType | None = msgspec.UNSET
    reply: ReplyState | msgspec.UnsetType = msgspec.UNSET
    reply_message: str | msgspec.UnsetType | None = msgspec.UNSET
    anew: int | msgspec.UnsetType = msgspec.UNSET
    shown: str | msgspec.UnsetType = msgspec.UNSET
    settled: bool | msgspec.UnsetType = msgspec.UNSET


class Changes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of cards that a follower tells of together."""

    epoch: int
    changes: Annotated[tuple[Change, ...], Meta(max_length=limits.CHAT_CARDS_PAGE)]


def claim(tx: Tx, wanted: Claims, now: dt.datetime) -> list[Claimed]:
    """The rows of things in channels, in order; made unless they are there. Raises Conflict for a stale follower."""
    refuse_stale(tx, wanted.epoch)
    return [_claimed(tx, one, now) for one in wanted.claims]


def change(tx: Tx, made: Changes, now: dt.datetime) -> list[Card | None]:
    """Record what became of cards, in order; None for one that is no more. Raises Conflict for a stale follower."""
    refuse_stale(tx, made.epoch)
    return [_changed(tx, one, now) for one in made.changes]


def _claimed(tx: Tx, wanted: Claim, now: dt.datetime) -> Claimed:
    made = tx.insert_new(chat_cards, id=new_id("crd"), posting_at=now, **msgspec.structs.asdict(wanted))
    row = tx.execute(
        sa.select(chat_cards).where(
            chat_cards.c.platform == wanted.platform,
            chat_cards.c.workspace == wanted.workspace,
            chat_cards.c.channel == wanted.channel,
            chat_cards.c.kind == wanted.kind,
            chat_cards.c.object == wanted.object,
        )
    ).one()
    return Claimed(card=_card(row), made=made)


def _changed(tx: Tx, made: Change, now: dt.datetime) -> Card | None:
    values: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(made).items() if value is not msgspec.UNSET
    }
    del values["id"]
    settled = values.pop("settled", None)
    if settled is not None:
        values["settled_at"] = now if settled else None
    if "posting" in (values.get("state"), values.get("reply")):
        values["posting_at"] = now
    row = tx.execute(
        sa.update(chat_cards)
        # A request to forget outranks whatever its follower was about to write of its state.
        .where(chat_cards.c.id == made.id)
        .values(**_unless_forgetting(values))
        .returning(chat_cards)
    ).first()
    return None if row is None else _card(row)


def _unless_forgetting(values: dict[str, Any]) -> dict[str, Any]:
    if values.get("state", "forgotten") != "forgotten":
        is_asked = chat_cards.c.state == "forgetting"
        values["state"] = sa.case((is_asked, "forgetting"), else_=values["state"])
    if "settled_at" in values and values.get("state") != "forgotten":
        kept = (
            sa.null()
            if values["settled_at"] is None
            else sa.literal(values["settled_at"], chat_cards.c.settled_at.type)
        )
        values["settled_at"] = sa.case((chat_cards.c.state == "forgetting", sa.null()), else_=kept)
    return values


def unsettled(conn: sa.Connection, after: str) -> list[Card]:
    """A page of the cards for which something is left to be done, the oldest first."""
    rows = conn.execute(
        sa.select(chat_cards)
        .where(chat_cards.c.settled_at.is_(None), chat_cards.c.id > after)
        .order_by(chat_cards.c.id)
        .limit(limits.CHAT_CARDS_PAGE)
    )
    return [_card(row) for row in rows]


def _card(row: sa.Row[Any]) -> Card:
    values = {name: getattr(row, name) for name in Card.__struct_fields__ if name != "settled"}
    return Card(settled=row.settled_at is not None, **values)
