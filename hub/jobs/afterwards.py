"""What is told of a job for the next one like it: how well it used what it asked for, and what it cost."""

from __future__ import annotations

from typing import Any

import msgspec

from hub.core import limits
from hub.core.context import Scope
from hub.jobs import economy, efficiency, prices, rules
from hub.jobs.requests import Resources
from hub.jobs.transitions import Job


class HintView(msgspec.Struct, frozen=True, kw_only=True):
    """What an ended job shows for the next one like it; `option` is how to ask for it, where that is one option."""

    about: str
    sentence: str
    option: str


class EfficiencyView(msgspec.Struct, frozen=True, kw_only=True):
    """Shares, from 0 to 1, that an ended job used of its cores, and of the memory and time it asked for itself."""

    cpu: float | None
    memory: float | None
    time: float | None
    hints: tuple[HintView, ...]


class CostView(msgspec.Struct, frozen=True, kw_only=True):
    """What a job has cost so far at the prices of now, and `most` while it is alive: what it can come to.

    Amounts are None where nobody has said what its backend costs.
    """

    core_hours: float
    gpu_hours: float
    amount: float | None
    most: float | None
    currency: str


def efficiency_of(row: Job, resources: Resources, end: dict[str, Any]) -> EfficiencyView | None:
    """Known for jobs whose program ran and ended; of several nodes only time is, since one of them was measured."""
    if row.state not in rules.TERMINAL or not end.get("seconds") or row.attached:
        return None
    alone = resources.nodes == 1 and resources.array is None
    wanted = resources.amounts()
    found = efficiency.judge(
        efficiency.Ended(
            seconds=end["seconds"],
            cpu_seconds=(end.get("cpu_seconds") or None) if alone else None,
            peak_memory_bytes=(end.get("peak_memory_bytes") or None) if alone else None,
            cores=max(resources.cpus_per_node, resources.tasks_per_node),
            gpus=resources.gpus,
            asked_memory_bytes=wanted.memory_bytes,
            asked_seconds=wanted.wall_seconds,
            succeeded=row.state == "SUCCEEDED",
        )
    )
    hints = tuple(HintView(about=each.about, sentence=each.sentence, option=each.option) for each in found.hints)
    return EfficiencyView(cpu=found.cpu, memory=found.memory, time=found.time, hints=hints)


def cost_of(scope: Scope, row: Job, resources: Resources, plan: Any | None) -> CostView | None:
    """By what it holds, as that was counted when it was placed.

    None for a job that ended without having begun, one that is only watched, and one whose array nobody can read.
    """
    over = row.state in rules.TERMINAL
    if row.attached or (over and row.started_at is None):
        return None
    try:
        held = economy.held(resources) if plan is None else economy.Held(plan.cores, plan.gpus)
    except ValueError:
        return None
    price = prices.of(scope).get(row.backend, economy.Prices())
    ran = 0.0 if row.started_at is None else ((row.ended_at or scope.now) - row.started_at).total_seconds()
    longest = resources.amounts().wall_seconds or limits.JOB_WALLTIME_SECONDS
    if plan is not None:
        longest = plan.wall_seconds
        if plan.tasks > 1:  # whose tasks need not all run at once
            ran = min(ran, longest) if plan.held_seconds is None else plan.held_seconds
    now = economy.cost(held, ran, price)
    return CostView(
        core_hours=now.core_hours,
        gpu_hours=now.gpu_hours,
        amount=now.money,
        most=None if over else economy.cost(held, max(ran, longest), price).money,
        currency=scope.settings.currency,
    )
