"""Leaving a cluster behind in order: what the hub's jobs left there goes first, while there is still a key for it.

Folders with files that did not come home stay, and it is said where they lie. A cluster that cannot be reached is left
all the same: then everything stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.errors import HubError
from hub.core.house import House
from hub.jobs.backends import far_sweep
from hub.jobs.clusters import keys
from hub.jobs.clusters.rules import Certificate, moment
from hub.jobs.clusters.tables import cluster_accounts
from hub.jobs.clusters.views import Cleared
from hub.jobs.rules import TERMINAL
from hub.jobs.shell import SshError
from hub.jobs.sweeping import never_ran
from hub.jobs.tables import jobs

# A person waits for the answer; what was not come to in this time stays.
SECONDS, SECONDS_FOR_ALL = 40.0, 90.0


def clear(house: House, cluster: Any, account: Any, seconds: float = SECONDS) -> Cleared | None:
    """Remove what may go of an account's ended jobs, over its own connection; None where the hub has none."""
    if account.kind == "agent":
        return None  # this hub never signed in there
    line, told = "", ""
    if account.kind == "certificate":
        told = _certificate_told(cluster, account)
    else:
        line = keys.authorized_line(account.public_key, house.settings.ssh_from)
    found = _what_went(house, cluster, account, line, seconds)
    return msgspec.structs.replace(found, certificate=told)


def _certificate_told(cluster: Any, account: Any) -> str:
    """There is no line to delete; only who signed it can end a certificate before its time."""
    if account.certificate is None:
        return f"No certificate was ever given for {account.login} on {cluster.name}; nothing is to be deleted there."
    given = msgspec.convert(account.certificate, Certificate)
    return (
        f"Nothing is to be deleted on {cluster.name}: the certificate {given.shown} for {account.login} is good until "
        f"{moment(given.ends)}, but the key it is for is erased. Who signed it can revoke it before."
    )


def _what_went(house: House, cluster: Any, account: Any, line: str, seconds: float) -> Cleared:
    going, kept = _runs(house, account.id)
    if cluster.kind != "slurm" or account.tested_at is None or not going:
        return Cleared(line=line, kept=kept)
    if account.private_sealed is None:
        return Cleared(line=line, kept=kept, left=len(going), said="this hub holds no key for it")
    try:
        found, root = asyncio.run(_clear(house, cluster, account, going, seconds, tidy=not kept))
    except (SshError, OSError, HubError) as error:
        return Cleared(line=line, kept=kept, left=len(going), said=str(error)[:500])
    swept = [each for each in found if each.fate == "swept"]
    gone = sum(each.fate in ("swept", "gone") for each in found)
    size = sum(each.size_bytes for each in swept)
    return Cleared(line=line, folders=len(swept), size_bytes=size, kept=kept, left=len(going) - gone, root=root)


def clear_all(house: House, cluster: Any) -> tuple[Cleared, ...]:
    """The same for every account on a cluster, one after the other."""
    with house.db.read() as conn:
        mine = sa.and_(cluster_accounts.c.cluster == cluster.id, cluster_accounts.c.removed_at.is_(None))
        accounts = conn.execute(sa.select(cluster_accounts).where(mine).order_by(cluster_accounts.c.made_at)).all()
    until = time.monotonic() + SECONDS_FOR_ALL
    found = (clear(house, cluster, each, max(1.0, min(SECONDS, until - time.monotonic()))) for each in accounts)
    return tuple(each for each in found if each is not None)


async def _clear(
    house: House, cluster: Any, account: Any, going: Sequence[tuple[str, int]], seconds: float, *, tidy: bool
) -> tuple[list[far_sweep.Removed], str]:
    from hub.jobs.clusters import reaching  # SSH is loaded where it is used, which is seldom here

    until = time.monotonic() + seconds
    backend = reaching.backend_of(house, cluster, account)
    found: list[far_sweep.Removed] = []
    try:
        root = await backend.root()
        for at in range(0, len(going), far_sweep.AT_A_TIME):
            if (left := until - time.monotonic()) <= 0:
                break
            found += await backend.sweep(going[at : at + far_sweep.AT_A_TIME], seconds=left)
        if tidy:
            await backend.tidy()
        return found, root
    finally:
        await backend.connection.close()


def _runs(house: House, account: str) -> tuple[list[tuple[str, int]], int]:
    """The runs whose folders may go, and how many jobs have files there that did not come home."""
    ended = sa.and_(jobs.c.account == account, jobs.c.state.in_(TERMINAL), jobs.c.swept_at.is_(None))
    whole = sa.or_(sa.func.coalesce(jobs.c.unfetched, 1) == 0, never_ran())
    with house.db.read() as conn:
        going = conn.execute(sa.select(jobs.c.id, jobs.c.run).where(ended, whole).order_by(jobs.c.ended_at)).all()
        kept = conn.execute(sa.select(sa.func.count()).select_from(jobs).where(ended, sa.not_(whole))).scalar_one()
    return [(row.id, run) for row in going for run in range(1, max(1, row.run) + 1)], int(kept)
