"""One live process for all tests of this folder; each test has a room and people of its own."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.live.loopback import Hub, hub

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
SCENARIO_SECONDS = 20


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as found:
        yield found


@pytest.fixture
def run(runner: asyncio.Runner) -> Run:
    """Run a scenario to its end; nothing in it may take long."""

    def bounded(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def within() -> None:
            async with asyncio.timeout(SCENARIO_SECONDS):
                await scenario()

        runner.run(within())

    return bounded


@pytest.fixture(scope="session")
def standing_hub(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    standing = hub(tmp_path_factory.mktemp("live"))
    yield runner.run(standing.__aenter__())
    runner.run(standing.__aexit__(None, None, None))


@pytest.fixture
def live(standing_hub: Hub) -> Hub:
    """The running hub with nobody in it and a session that no test has used."""
    standing_hub.web.reset()
    return standing_hub
