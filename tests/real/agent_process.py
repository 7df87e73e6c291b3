"""The agents of a hub's accounts in a process of their own, to be killed: `python -m tests.real.agent_process DATA`.

Its clock runs faster than a person's patience: what takes a minute with a real scheduler takes seconds here, by the
same rules.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from hub import app
from hub.core.bus import MemoryBus
from hub.core.settings import Settings
from hub.jobs import breaker
from hub.jobs.backends import judging, pace, slurm
from hub.jobs.clusters.serving import Accounts


def hurry() -> None:
    """The same rules, with less patience."""
    pace.SOONEST, pace.LATEST, pace.PER_MINUTE = 0.7, 2.0, 200
    judging.QUIET_SECONDS, judging.FILES_SECONDS, judging.ACCOUNTING_SECONDS = 2.0, 20.0, 40.0
    slurm.SUBMIT_SECONDS, slurm.QUERY_SECONDS = 3.0, 10.0
    breaker.PAUSES_SECONDS = (0.2, 0.5, 1.0)


async def main(data: Path) -> None:
    house = app.build(Settings(data=data, public_url="http://hub.test"), bus=MemoryBus())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await Accounts(house, f"agent-{os.getpid()}").run(stop)
    house.close()


if __name__ == "__main__":
    hurry()
    asyncio.run(main(Path(sys.argv[1])))
