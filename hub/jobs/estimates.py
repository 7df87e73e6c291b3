"""Questions to schedulers, and what they said: asked by whoever is about to submit, answered by an account's agent.

Only rows are written here, which are bookkeeping. An account is asked no more than its agent may ask its scheduler,
and what was answered a moment ago is not asked again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping

import msgspec
import sqlalchemy as sa

from hub.core.context import Scope
from hub.core.database import Tx
from hub.jobs.plan_tables import start_estimates
from hub.jobs.port import Answer, Question

# An answer younger than the first is taken as it stands; one older than the second is worth nothing.
FRESH_SECONDS, STALE_SECONDS = 120, 600
# A question that nobody answered for so long is no longer waited for.
ASKED_SECONDS = 60
FORGOTTEN_SECONDS = 3600
MOST_OPEN = 6


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a start: when (None: nobody can tell) or why never; `is_fresh` when it need not be asked."""

    starts_at: dt.datetime | None = None
    refusal: str = ""
    is_fresh: bool = False


def question(options: Iterable[str]) -> Question:
    """The same options are the same question."""
    asked = tuple(options)
    return Question(hashlib.sha256(msgspec.json.encode(asked)).hexdigest(), asked)


def known(scope: Scope, asked: Mapping[str, Question]) -> dict[str, Known]:
    """What the accounts' schedulers said of these questions lately, by account."""
    rows = scope.execute(
        sa.select(start_estimates).where(
            start_estimates.c.account.in_(list(asked)),
            start_estimates.c.answered_at > scope.now - dt.timedelta(seconds=STALE_SECONDS),
        )
    )
    fresh = scope.now - dt.timedelta(seconds=FRESH_SECONDS)
    return {
        row.account: Known(starts_at=row.starts_at, refusal=row.refusal, is_fresh=row.answered_at > fresh)
        for row in rows
        if row.digest == asked[row.account].digest
    }


def ask(tx: Tx, account: str, asked: Question, now: dt.datetime) -> bool:
    """Have its agent ask, unless it is asked as much as it may be; says whether an answer can be waited for."""
    here = start_estimates.c.account == account
    tx.execute(
        sa.delete(start_estimates).where(
            here, start_estimates.c.asked_at < now - dt.timedelta(seconds=FORGOTTEN_SECONDS)
        )
    )
    is_open = sa.and_(here, _OPEN, start_estimates.c.asked_at > now - dt.timedelta(seconds=ASKED_SECONDS))
    others = start_estimates.c.digest != asked.digest
    count = sa.select(sa.func.count()).select_from(start_estimates).where(is_open, others)
    if tx.execute(count).scalar_one() >= MOST_OPEN:
        return False
    new = tx.insert_new(
        start_estimates, account=account, digest=asked.digest, options=list(asked.options), asked_at=now, refusal=""
    )
    if not new:
        tx.execute(
            sa.update(start_estimates)
            .where(here, start_estimates.c.digest == asked.digest, ~is_open)
            .values(asked_at=now)
        )
    return True


def open_questions(conn: sa.Connection, account: str, now: dt.datetime) -> list[Question]:
    """What the agent of this account is to ask, the oldest first."""
    rows = conn.execute(
        sa.select(start_estimates.c.digest, start_estimates.c.options)
        .where(
            start_estimates.c.account == account,
            _OPEN,
            start_estimates.c.asked_at > now - dt.timedelta(seconds=ASKED_SECONDS),
        )
        .order_by(start_estimates.c.asked_at)
        .limit(MOST_OPEN)
    )
    return [Question(row.digest, tuple(row.options)) for row in rows]


def asked_accounts(now: dt.datetime) -> sa.Select[tuple[str]]:
    """The accounts whose agents are wanted for an answer."""
    since = now - dt.timedelta(seconds=ASKED_SECONDS)
    return sa.select(start_estimates.c.account).where(_OPEN, start_estimates.c.asked_at > since).distinct()


def keep(tx: Tx, account: str, said: Answer, now: dt.datetime) -> None:
    """What the scheduler answered."""
    starts = None if said.starts_at is None else dt.datetime.fromtimestamp(said.starts_at, dt.UTC)
    tx.execute(
        sa.update(start_estimates)
        .where(start_estimates.c.account == account, start_estimates.c.digest == said.digest)
        .values(answered_at=now, starts_at=starts, refusal=said.refusal[:1000])
    )


# Asked again after it was answered, it is open again.
_OPEN = sa.or_(start_estimates.c.answered_at.is_(None), start_estimates.c.answered_at < start_estimates.c.asked_at)
