"""The passphrase of a link: kept as argon2id, and guessed at only a few times in a quarter of an hour.

The count is kept per link, so it does not matter from where the guesses come; it is written even though the action that
guessed is undone, and it spends no use of the link.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Context, Refusal
from hub.core.database import Tx
from hub.core.errors import NotAllowed, TooMany
from hub.people import passwords
from hub.sessions.tables import link_tries

_WINDOW = dt.timedelta(seconds=limits.LINK_TRIES_SECONDS)


def check(ctx: Context, link: sa.Row[Any], given: str | None) -> None:
    """Raises Refusal unless this is the link's passphrase; the caller holds the link's row."""
    if link.passphrase is None:
        return
    tries = ctx.execute(sa.select(link_tries).where(link_tries.c.link == link.id)).first()
    wrong = 0 if tries is None or tries.since + _WINDOW <= ctx.now else tries.wrong
    if wrong >= limits.LINK_TRIES:
        assert tries is not None
        wait = int((tries.since + _WINDOW - ctx.now).total_seconds()) + 1
        raise TooMany(
            "too many wrong passphrases for this link",
            code="passphrase_tries",
            hint=f"it can be tried again in {max(1, round(wait / 60))} minutes",
            retry_after_seconds=wait,
        )
    if given is None:
        raise NotAllowed(
            "this link asks for a passphrase", code="passphrase_needed", hint="whoever sent the link knows it"
        )
    if not passwords.matches(link.passphrase, given):
        now, link_id = ctx.now, str(link.id)
        raise Refusal(
            NotAllowed(
                "this is not the passphrase of the link",
                code="wrong_passphrase",
                hint=f"after {limits.LINK_TRIES} wrong ones the link rests for a while; no use was spent",
            ),
            lambda tx: _count(tx, link_id, now),
        )


def _count(tx: Tx, link: str, now: dt.datetime) -> None:
    if tx.insert_new(link_tries, link=link, since=now, wrong=1):
        return
    begun = link_tries.c.since <= now - _WINDOW
    tx.execute(
        sa.update(link_tries)
        .where(link_tries.c.link == link)
        .values(
            wrong=sa.case((begun, 1), else_=link_tries.c.wrong + 1),
            since=sa.case((begun, sa.literal(now, link_tries.c.since.type)), else_=link_tries.c.since),
        )
    )
