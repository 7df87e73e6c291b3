"""Getting submissions of one account to its cluster: each made ready, then as many as wait by one command.

While a command is carried out there, the next is made ready from those who came meanwhile; alone is who comes alone.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from hub.jobs.backends import slurm_prepare, staging
from hub.jobs.backends.slurm import Answered, Parcel, SlurmBackend, Submitted, Told
from hub.jobs.backends.slurm_prepare import Prepared
from hub.jobs.port import ClusterPort, Order
from hub.jobs.together import Together

# Of one command. What comes back comes back at its end, so that it shall not take long even where sbatch does.
MOST, BATCH_SECONDS = 24, 1.0
# How long one submission takes before that was seen; and how much what is seen counts.
EXPECTED_SECONDS, WEIGHT = 0.1, 0.3
# A batch costs a login node and us less for each than single ones do, so that few commands are under way at once, and
# more where sbatch takes longer than this, or one of them so much longer that it may be hanging.
QUICK_SECONDS, HANGS_SECONDS = 0.1, 3.0
# So many that are not small are made ready while others are carried.
PREPARED_AHEAD = 2


class CannotBeAsked(ValueError):
    """What is asked for cannot be put to Slurm; says why."""


class Sender:
    """Takes orders one by one; what goes together goes together."""

    def __init__(self, port: ClusterPort, backend: SlurmBackend) -> None:
        self._port, self._backend = port, backend
        shells = backend.connection.shells
        self._carrying = asyncio.Semaphore(shells + PREPARED_AHEAD)
        self._seconds_each = EXPECTED_SECONDS
        self._most, self._hanging = shells + 1, set[object]()
        self._together: Together[Parcel, Submitted] = Together(self._send_all, fits=self._fits, at_once=self._at_once)

    async def send(self, epoch: int, order: Order) -> Submitted:
        """Have it submitted, unless it ever was. Raises CannotBeAsked, NotStaged, or Unreachable."""
        root = await self._backend.root()
        prepared = await asyncio.to_thread(self._planned, epoch, order, root)
        if prepared.laid.size > staging.INLINE_BYTES:
            async with self._carrying:
                return await self._send_large(order, prepared)
        held = await asyncio.to_thread(staging.held, prepared.laid)
        parcel = Parcel(
            job=order.job,
            run=order.run,
            name=order.name,
            options=prepared.options,
            laid=held,
            packed_bytes=held.packed_bytes,
            at=order.at,
        )
        return await self._together(parcel)

    async def close(self) -> None:
        await self._together.close()

    def _planned(self, epoch: int, order: Order, root: str) -> Prepared:
        try:
            return slurm_prepare.planned(order, root, lambda digest: self._port.content(epoch, order.job, digest))
        except ValueError as fault:
            raise CannotBeAsked(str(fault)) from None

    async def _send_large(self, order: Order, prepared: Prepared) -> Submitted:
        # Not in a folder for temporaries: an agent that is killed leaves it behind, and inputs are nobody else's.
        home = self._port.folder(order.job, order.run)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in home.glob("run.*.tgz"):
            left.unlink(missing_ok=True)
        archive: Path = home / f"run.{secrets.token_hex(4)}.tgz"
        try:
            await asyncio.to_thread(staging.lay, archive, prepared.laid, order.at)
            return await self._backend.submit(order.job, order.run, order.name, archive, prepared.options)
        finally:
            archive.unlink(missing_ok=True)

    async def _send_all(self, batch: list[Parcel], tell: Told) -> Sequence[Answered]:
        began, command = time.monotonic(), object()
        hangs = asyncio.get_running_loop().call_later(HANGS_SECONDS, self._hangs, command)
        try:
            return await self._backend.submit_all(batch, tell)
        finally:
            hangs.cancel()
            self._hanging.discard(command)
            each = (time.monotonic() - began) / len(batch)
            self._seconds_each += WEIGHT * (each - self._seconds_each)

    def _hangs(self, command: object) -> None:
        self._hanging.add(command)
        self._together.look()

    def _at_once(self) -> int:
        """How many commands carry submissions: one that is carried out and one that is made ready, or more."""
        return min(self._most, 1 + math.ceil(max(1.0, self._seconds_each / QUICK_SECONDS)) + len(self._hanging))

    def _fits(self, waiting: Sequence[Parcel]) -> int:
        return min(self._backend.fits(waiting), MOST, round(BATCH_SECONDS / self._seconds_each))
