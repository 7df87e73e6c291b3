"""How often somebody may guess at a password or a code: counted per account and per client address, in SQL.

A guess is counted, and that count committed, before anything is looked at. So cookies, headers, simultaneous requests
and restarts change nothing, and where it cannot be counted nothing is evaluated. Who guessed right gets that one back.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress

import sqlalchemy as sa
import structlog

from hub.core import limits
from hub.core.database import Instant, Tx
from hub.core.errors import TooMany
from hub.core.house import House
from hub.people.tables import guesses

log = structlog.get_logger()
Subjects = dict[str, int]  # what is counted -> how many guesses it has


def at_account(person: str | None, typed: str, address: str) -> Subjects:
    """A guess at an account; one that does not exist has as many guesses as one that does."""
    who = person or "?" + hashlib.sha256(typed.strip().casefold().encode()).hexdigest()[:40]
    return {f"account:{who}": limits.GUESSES_PER_ACCOUNT, f"address:{block(address)}": limits.GUESSES_PER_ADDRESS}


def block(address: str) -> str:
    """What one client can hold of the address space: an IPv4 address, an IPv6 network of 64 bits."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:50]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


def take(house: House, subjects: Subjects) -> None:
    """Count one guess of each. Raises TooMany, and counts none, when one has no more left in its window."""
    now = house.clock.now()

    def work(tx: Tx) -> None:
        for subject, most in sorted(subjects.items()):
            _take(tx, subject, most, now)

    house.db.write(work)


def give_back(tx: Tx, subjects: Subjects) -> None:
    """It was no guess: the one who knew it does not pay for those who do not."""
    tx.execute(
        sa.update(guesses).where(guesses.c.subject.in_(subjects), guesses.c.count > 0).values(count=guesses.c.count - 1)
    )


def forget_old(tx: Tx, now: dt.datetime) -> None:
    """Drop the windows that are over."""
    tx.execute(sa.delete(guesses).where(guesses.c.began_at <= _over(now)))


def _over(now: dt.datetime) -> dt.datetime:
    return now - dt.timedelta(seconds=limits.GUESS_SECONDS)


def _take(tx: Tx, subject: str, most: int, now: dt.datetime) -> None:
    tx.insert_new(guesses, subject=subject, began_at=now, count=0)
    is_over = guesses.c.began_at <= _over(now)
    # One conditional UPDATE: of many at once, exactly as many as are left find the row as they want it.
    left = tx.execute(
        sa.update(guesses)
        .where(guesses.c.subject == subject, sa.or_(is_over, guesses.c.count < most))
        .values(
            count=sa.case((is_over, 1), else_=guesses.c.count + 1),
            began_at=sa.case((is_over, sa.literal(now, Instant())), else_=guesses.c.began_at),
        )
        .returning(guesses.c.count)
    ).scalar()
    if left == most:
        log.warning("sign_in.paused", subject=subject, guesses=most)
    if left is None:
        began = tx.execute(sa.select(guesses.c.began_at).where(guesses.c.subject == subject)).scalar_one()
        raise TooMany(
            "too many tries; nothing was looked at",
            code="too_many_guesses",
            hint="wait a little; a passkey or a one-time link works meanwhile",
            retry_after_seconds=max(1, int((began - _over(now)).total_seconds())),
        )
