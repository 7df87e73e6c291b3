"""A hub inside a pod, as its service account: `python -m tests.real.hub_in_pod DESCRIPTION.json`, a story in one go.

It makes the cluster known that it runs on, tries it, has one job run there by its agent, and prints what came of each.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hub import app
from hub.core.bus import MemoryBus
from hub.core.context import Actor
from hub.core.database import metadata
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs import rules, views
from hub.jobs.backends import kubernetes_api
from hub.jobs.clusters.serving import Accounts
from hub.people import accounts
from hub.perform import perform
from tests.jobs import run_steps

SCRIPT = "#!/bin/sh\necho said from $SLURM_ARRAY_TASK_ID > made.$SLURM_ARRAY_TASK_ID\n"
SECONDS = 120.0
AUTHORITY = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
SERVICE = "kubernetes.default.svc"


def person(house: House, handle: str, role: Any) -> Actor:
    made = house.db.write(
        lambda tx: accounts.make(tx, handle=handle, name=handle, hub_role=role, now=house.clock.now(), email=None)
    )
    with house.db.read() as conn:
        actor = accounts.actor_of(conn, made)
    assert actor is not None
    return actor


def answers_to_its_name() -> bool:
    """Whether the API server proves to be the Service by its name, to whom the pod's account is told to trust."""
    trust = ssl.create_default_context(cafile=AUTHORITY)
    with socket.create_connection((SERVICE, 443), 10) as raw, trust.wrap_socket(raw, server_hostname=SERVICE):
        return True


def story(house: House, described: dict[str, Any]) -> dict[str, Any]:
    def act(actor: Actor, action: str, **params: Any) -> Any:
        return perform(
            house, {"tool": "distributed_collaboration", "params": {"action": action, **params}}, actor
        ).result

    operator, ana = person(house, "olga", "operator"), person(house, "ana", "member")
    known = {"described": described, "in_cluster": True, "attest": True, "every_session": True}
    act(operator, "cluster_add", name="here", **known)
    tried = act(operator, "cluster_test", cluster="here")
    small = {"memory": "64M", "time": "5", "array": "1-2"}
    job = act(ana, "job_submit", script=SCRIPT, cluster="here", resources=small)["id"]

    def look() -> views.JobView:
        with house.scope(ana) as scope:
            return views.job(scope, job)

    async def serve() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(Accounts(house, "agent-in-pod").run(stop))
        until = time.monotonic() + SECONDS
        while (await asyncio.to_thread(look)).state not in rules.TERMINAL and time.monotonic() < until:
            await asyncio.to_thread(run_steps, house)
            await asyncio.sleep(0.2)
        stop.set()
        await serving

    asyncio.run(serve())
    seen = look()
    return {
        "server": kubernetes_api.configuration(None).host,
        "by_name": answers_to_its_name(),
        "version": tried["standing"]["version"],
        "login": tried["login"],
        "state": seen.state,
        "reason": seen.reason,
        "outputs": [each.path for each in seen.outputs],
    }


def main(described: dict[str, Any]) -> None:
    app.register_features()
    with tempfile.TemporaryDirectory() as folder:
        house = app.build(Settings(data=Path(folder), public_url="http://hub.test"), bus=MemoryBus())
        try:
            metadata.create_all(house.db.write_engine)
            print("CAME", json.dumps(story(house, described)))
        finally:
            house.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
