"""A person's own agent in a process of its own, to be killed: `python -m tests.real.agent_elsewhere URL FOLDER SOCKET`.

Its clock runs faster than a person's patience, as that of `agent_process` does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hub.core import logs
from hub.core.settings import Settings
from hub.jobs.anywhere import http_port, run
from hub.jobs.anywhere.run import Agent, Way
from tests.real.agent_process import hurry

if __name__ == "__main__":
    hurry()
    http_port.WAIT_SECONDS = 3.0
    http_port.PAUSES_SECONDS = (0.2, 0.5, 1.0, 1.0, 1.0, 1.0)
    url, folder, socket = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    logs.configure(Settings(log_level="warning"))
    token = (folder / "token").read_text().strip()
    asyncio.run(Agent(url, token, "raven", Way(agent_path=socket), folder / "state", run.say).run())
