"""What an agent does beside its turns: a hub that is away is nobody's failure, and what was begun comes to its end."""

from __future__ import annotations

import asyncio

from hub.jobs.beside import Beside
from hub.jobs.port import Away

RUN = ("job_1", 1)


def beside(*pauses: float) -> Beside:
    return Beside("agent", pauses, is_away=lambda _: False, overtaken=lambda: None)


def test_a_hub_that_is_away_is_no_failure_of_what_was_tried() -> None:
    async def story() -> None:
        work, tried = beside(0.0), []

        async def goes(error: Exception) -> None:
            tried.append(error)
            raise error

        for error in (Away("gone"), OSError("cut"), Away("gone"), OSError("cut")):
            work.start(("fetch", RUN), goes, error)
            await work.drain("fetch", 5)
        assert len(tried) == 4
        assert work.failed(("fetch", RUN)) == 2

    asyncio.run(story())


def test_an_outage_makes_the_pauses_longer_and_is_no_fault_of_what_was_tried() -> None:
    async def story() -> None:
        work = Beside("agent", (0.0, 0.0, 1000.0), is_away=lambda _: True, overtaken=lambda: None,
                      is_fault=lambda error: not isinstance(error, ConnectionError))  # fmt: skip
        tried: list[Exception] = []

        async def goes(error: Exception) -> None:
            tried.append(error)
            raise error

        for error in (
            ConnectionError("no line"),
            OSError("not there"),
            ConnectionError("no line"),
            OSError("too soon"),
        ):
            work.start(("fetch", RUN), goes, error)
            await work.drain("fetch", 5)
        assert [str(error) for error in tried] == ["no line", "not there", "no line"]
        assert work.failed(("fetch", RUN)) == 1

    asyncio.run(story())


def test_what_failed_waits_for_its_pause_unless_something_came_back() -> None:
    async def story() -> None:
        work, tried = beside(1000.0), []

        async def goes() -> None:
            tried.append(1)
            raise OSError("the line is gone")

        for _ in range(3):
            work.start(("submit", RUN), goes)
            await work.drain("submit", 5)
        assert len(tried) == 1
        work.retry()
        work.start(("submit", RUN), goes)
        await work.drain("submit", 5)
        assert len(tried) == 2

    asyncio.run(story())


def test_at_the_end_a_submission_is_waited_for_and_nothing_else() -> None:
    async def story() -> None:
        work, ended = beside(0.0), []

        async def submits() -> None:
            await asyncio.sleep(0.01)
            ended.append("submit")

        async def listens() -> None:
            await asyncio.Event().wait()

        work.start(("listen", RUN), listens)
        work.start(("submit", RUN), submits)
        await work.drain("submit", 5)
        assert ended == ["submit"]
        await work.close()

    asyncio.run(story())
