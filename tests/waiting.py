"""Waiting for what is to come: it is given when it is there, and a test that waits in vain says for what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_SECONDS = 0.02


def wait_for(look: Callable[[], T | None], seconds: float, what: str | Callable[[], object]) -> T:
    """The first true value of `look()`; `what` names it, or tells how things are instead."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, _in_vain(seconds, what)
        time.sleep(LOOK_EVERY_SECONDS)
    return found


async def come(look: Callable[[], T | None], seconds: float, what: str | Callable[[], object]) -> T:
    """As `wait_for`, while everything else in the loop goes on."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, _in_vain(seconds, what)
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return found


def _in_vain(seconds: float, what: str | Callable[[], object]) -> str:
    return f"not within {seconds:g} s: {what if isinstance(what, str) else what()}"
