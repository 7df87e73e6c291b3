"""A web process in memory, and browsers and programs that talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.clusters.tables import clusters
from hub.web.application import create
from tests.conftest import Perform

ORIGIN = "http://hub.test"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGh5cG90aGV0aWNhbGhvc3RrZXlvZmFjbHVzdGVy"
Client = Callable[..., TestClient]


@pytest.fixture
def application(house: House) -> Starlette:
    return create(house)


@pytest.fixture
def client(application: Starlette, perform: Perform) -> Iterator[Client]:
    """`client(ana)` is a program with a token of Ana's; `client()` one without."""
    with TestClient(application, base_url=ORIGIN) as running:

        def make(actor: Actor | None = None, **token: Any) -> TestClient:
            headers = {}
            if actor is not None:
                secret = perform(actor, "token_create", name="test", **token)["secret"]
                headers["Authorization"] = f"Bearer {secret}"
            made = TestClient(
                application,
                base_url=ORIGIN,
                headers=headers,
                raise_server_exceptions=False,
                follow_redirects=False,
            )
            made.portal = running.portal  # one event loop and one lifespan for them all
            return made

        yield make


def act(client: TestClient, action: str, *, key: str | None = None, **params: Any) -> Any:
    """Post an action; returns the response."""
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(
        "/api/actions",
        json={"tool": "distributed_collaboration", "params": {"action": action, **params}},
        headers=headers,
    )


@pytest.fixture
def raven(house: House, operator: Actor) -> str:
    """A cluster that nobody connects to."""
    row = {"id": "cl_raven", "name": "raven", "kind": "slurm", "host": "raven.example", "port": 22, "path": []}
    row |= {"host_keys": [HOST_KEY], "defaults": {}, "made_by": operator.id, "made_at": house.clock.now()}
    house.db.write(lambda tx: tx.execute(sa.insert(clusters).values(**row)))
    return "raven"


@pytest.fixture
def secret(raven: str, ana: Actor, perform: Perform) -> str:
    """The token of an agent of Ana's for her account there."""
    return str(perform(ana, "cluster_join", cluster=raven, login="ana1", agent=True)["secret"])
