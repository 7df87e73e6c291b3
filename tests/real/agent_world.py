"""What tests say of a hub whose jobs an agent in this process carries elsewhere, whatever the scheduler is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import rules, views


class HasTurns(Protocol):
    """An agent, as far as a test drives it."""

    async def turn(self) -> bool: ...

    async def close(self) -> None: ...


class AgentWorld:
    """A hub, somebody in it, and the agent of their account."""

    house: House
    actor: Actor
    agent: HasTurns

    def job(self, ref: str) -> views.JobView:
        with self.house.scope(self.actor) as scope:
            return views.job(scope, ref)

    def log(self, ref: str) -> bytes:
        with self.house.scope(self.actor) as scope:
            return views.log_piece(scope, ref).data

    def over(self, *jobs: str) -> Callable[[], bool]:
        return lambda: all(self.job(job).state in rules.TERMINAL for job in jobs)

    def play(self, story: Callable[[], Any]) -> None:
        """One event loop for the whole of a test, and the agent's connection closed at its end."""

        async def whole() -> None:
            try:
                await story()
            finally:
                await self.agent.close()

        asyncio.run(whole())
