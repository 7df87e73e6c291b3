"""A deadline and a budget of a whole workflow or experiment: shared out over its steps. Pure.

The deadline is shared out along the critical path, in proportion to how long steps take: each is to have ended when
what comes after it still fits, stretched or pressed as the whole is. The budget is kept by what steps may cost at most:
none may spend what the others need at least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from hub.jobs.economy import shown_money


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """The longest way through a workflow: its steps, how long it takes, and what comes after each step at most."""

    steps: tuple[str, ...]
    seconds: float
    left: Mapping[str, float]


class CannotPay(Exception):
    """The step that the rest of a budget cannot pay, and why, in words."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step = step


def in_order(after: Mapping[str, Sequence[str]]) -> list[str]:
    """The steps so that each comes behind what it waits for; nothing goes round in a circle."""
    waits = {step: {each for each in before if each in after} for step, before in after.items()}
    followers: dict[str, list[str]] = {step: [] for step in after}
    for step, before in waits.items():
        for each in before:
            followers[each].append(step)
    ready = [step for step, before in waits.items() if not before]
    for step in ready:  # it grows while it is gone through
        for each in followers[step]:
            waits[each].discard(step)
            if not waits[each]:
                ready.append(each)
    return ready


def critical_path(seconds: Mapping[str, float], after: Mapping[str, Sequence[str]]) -> Path:
    """By how long each step takes, once it has started."""
    order = in_order(after)
    followers: dict[str, list[str]] = {step: [] for step in after}
    for step in order:
        for each in after[step]:
            if each in followers:
                followers[each].append(step)
    left: dict[str, float] = {}
    following: dict[str, str | None] = {}
    for step in reversed(order):
        longest = max(followers[step], key=lambda each: seconds[each] + left[each], default=None)
        left[step] = 0.0 if longest is None else seconds[longest] + left[longest]
        following[step] = longest
    at: str | None = max(order, key=lambda each: seconds[each] + left[each], default=None)
    total = 0.0 if at is None else seconds[at] + left[at]
    steps = []
    while at is not None:
        steps.append(at)
        at = following[at]
    return Path(steps=tuple(steps), seconds=total, left=left)


def ends_by(within: float, path: Path) -> dict[str, float]:
    """Seconds from now by which each step is to have ended, so that the last one ends within the deadline."""
    stretch = within / path.seconds if path.seconds > 0 else 1.0
    return {step: within - left * stretch for step, left in path.left.items()}


def window(step: str, ends: Mapping[str, float], after: Mapping[str, Sequence[str]]) -> float:
    """How long a step has, from when all it waits for was to have ended."""
    return ends[step] - max((ends[each] for each in after[step] if each in ends), default=0.0)


def allowances(
    budget: float,
    least: Mapping[str, float | None],
    order: Sequence[str],
    spent: float = 0.0,
    whole: str = "workflow",
    part: str = "step",
) -> dict[str, float]:
    """What each step may cost at most if those before it cost the least they can: the rest of the budget, less what
    those after it need at least. Raises CannotPay for the first step that the rest cannot pay.

    `spent` of the budget is gone already; `whole` has it, of which each step is a `part`, in words.
    """
    rest = budget - spent
    for at, step in enumerate(order):
        costs = least[step]
        if costs is None:
            raise CannotPay(step, f"nobody has said what {part} {step} costs, and the {whole} has a budget")
        if costs > rest + 1e-9:
            raise CannotPay(
                step,
                f"{part} {step} may cost {shown_money(costs)} at least, and {shown_money(max(0.0, rest))} of the "
                f"{whole}'s budget of {shown_money(budget)} is left" + (f" by the {part}s before it" if at else ""),
            )
        rest -= costs
    return {step: rest + (least[step] or 0.0) for step in order}


def shares(budget: float, most: Mapping[str, float]) -> dict[str, float]:
    """The budget as each step's own, in proportion to what it may cost: together they are never more."""
    total = sum(most.values())
    if total <= 0:
        return {step: budget / len(most) for step in most}
    return {step: budget * (each / total) for step, each in most.items()}


def unpaid(budget: float, spent: float, wanted: float, whole: str = "workflow", what: str = "it") -> str:
    """Why a step is not tried again; empty where the rest of the budget pays it."""
    if spent + wanted <= budget + 1e-9:
        return ""
    return (
        f"Not tried again: {what} may cost {shown_money(wanted)}, and {shown_money(max(0.0, budget - spent))} of the "
        f"{whole}'s budget of {shown_money(budget)} is left."
    )
