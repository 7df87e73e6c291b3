"""A house that changes while it runs: what is new is started, what is gone is stopped, what stays is left alone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hub.core.launcher import Child, Launcher

pytestmark = pytest.mark.slow

SLEEP = "import sys, time; print(sys.argv[1], flush=True); time.sleep(600)"


def child(name: str, word: str = "first", edition: str = "") -> Child:
    return Child(name, (sys.executable, "-c", SLEEP, word), edition=edition)


def during(tmp_path: Path, children: list[Child], act: Callable[[Launcher], Awaitable[None]]) -> None:
    """Run a house, act on it, stop it."""

    async def house() -> None:
        launcher = Launcher(children, tmp_path / "logs", grace_seconds=5)

        async def ready() -> None:
            await act(launcher)
            launcher.stop()

        await launcher.run(ready)

    asyncio.run(house())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.real
def test_only_what_changed_is_started_again(tmp_path: Path) -> None:
    async def act(house: Launcher) -> None:
        before = house.pids
        touched = await house.become(
            [child("stays"), child("changes", "second"), child("edition", edition="2"), child("new")]
        )
        assert touched == ["gone", "changes", "edition", "new"]
        await until(
            lambda: all(house.pids.get(name) not in {None, before.get(name)} for name in ("changes", "edition"))
        )
        await until(lambda: "gone" not in house.pids)
        now = house.pids
        assert now["stays"] == before["stays"] and is_alive(now["stays"])
        assert not any(is_alive(before[name]) for name in ("gone", "changes", "edition"))
        # How far the first got before it was stopped is not known.
        await until(lambda: (tmp_path / "logs" / "changes.log").read_text().endswith("second\n"))
        assert await house.become(list(house.children)) == []
        assert house.pids == now

    during(tmp_path, [child("stays"), child("gone"), child("changes"), child("edition", edition="1")], act)


@pytest.mark.real
def test_many_changes_in_a_row_are_no_crashes(tmp_path: Path) -> None:
    """A child that is started again on purpose is not counted among those that end as fast as they start."""

    async def act(house: Launcher) -> None:
        for number in range(7):
            before = house.pids["one"]
            await house.become([child("one", str(number))])
            await until(lambda before=before: house.pids["one"] != before)  # type: ignore[misc]

    during(tmp_path, [child("one")], act)
