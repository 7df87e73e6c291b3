"""Who writes, signs and revokes at the same moment, on SQLite and on PostgreSQL: an order comes out, and only one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from hub import app
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import HubError
from hub.core.house import House
from hub.core.settings import Settings
from hub.notebook import proofs
from hub.notebook.tables import entries, signatures, signing_keys
from hub.perform import perform
from tests.actions.notebook_fixtures import PLAIN, step_up_code
from tests.conftest import NOW, make_person
from tests.databases import OpenDatabase

RACERS = 8


@pytest.fixture
def house(databases: OpenDatabase, tmp_path: Path) -> Iterator[House]:
    """A hub on the database under test."""
    settings = Settings(data=tmp_path / "data", public_url="http://hub.test")
    house = app.build(settings, clock=FrozenClock(NOW), bus=MemoryBus(), db=databases())
    yield house
    house.close()


@pytest.fixture
def ana(house: House) -> Actor:
    return make_person(house, "ana")


def do(house: House, actor: Actor, action: str, **params: Any) -> Any:
    return perform(house, {"tool": "distributed_collaboration", "params": {"action": action, **params}}, actor).result


def race(*work: Callable[[], Any]) -> list[Any]:
    """Carry all out at once; what was refused comes back as its error."""
    start = Barrier(len(work))

    def run(one: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return one()
        except HubError as refused:
            return refused

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(run, work))


def test_entries_written_at_once_get_each_a_number_without_gap(house: House, ana: Actor) -> None:
    written = race(*(lambda: do(house, ana, "lab_notebook", entry=PLAIN) for _ in range(RACERS)))
    assert sorted(each["number"] for each in written) == list(range(1, RACERS + 1))


def test_of_edits_from_one_version_one_wins_and_the_others_are_told(house: House, ana: Actor) -> None:
    entry = do(house, ana, "lab_notebook", entry=PLAIN)["entry"]

    def edit(number: int) -> Callable[[], Any]:
        text = {**PLAIN, "content": f"edit {number}"}
        return lambda: do(house, ana, "lab_notebook", entry=text, entry_id=entry, base_version=1)

    outcomes = race(*(edit(number) for number in range(RACERS)))
    refused = [each for each in outcomes if isinstance(each, HubError)]
    assert len(refused) == RACERS - 1
    assert {each.code for each in refused} == {"stale_version"}
    with house.db.read() as conn:
        assert conn.execute(sa.select(entries.c.version)).scalar_one() == 2


def test_no_signature_comes_after_the_revocation_of_its_key(house: House, ana: Actor) -> None:
    do(house, ana, "key_create", name="key")
    do(house, ana, "signing_window", key="key", code=step_up_code(house, ana))
    outcomes = race(
        *(lambda: do(house, ana, "lab_notebook", entry=PLAIN, signature="key") for _ in range(RACERS // 2)),
        lambda: do(house, ana, "key_revoke", key="key"),
        *(lambda: do(house, ana, "lab_notebook", entry=PLAIN, signature="key") for _ in range(RACERS // 2)),
    )
    signed = [each for each in outcomes if isinstance(each, dict) and "entry" in each]
    with house.db.read() as conn:
        revoked_line = conn.execute(sa.select(signing_keys.c.revoked_line)).scalar_one()
        lines = conn.execute(sa.select(signatures.c.line)).scalars().all()
    assert len(lines) == len(signed)
    assert all(line < revoked_line for line in lines)
    with house.scope(ana) as scope:
        assert all(proofs.verification(scope, each["entry"]).valid for each in signed)


def test_a_step_up_code_opens_one_window_however_many_try(house: House, ana: Actor) -> None:
    do(house, ana, "key_create", name="key")
    code = step_up_code(house, ana)
    outcomes = race(*(lambda: do(house, ana, "signing_window", key="key", code=code) for _ in range(RACERS)))
    assert sum(isinstance(each, dict) for each in outcomes) == 1
