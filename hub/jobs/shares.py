"""What people, groups and classes may use, whose turn it is by what they used, and warnings of a budget. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from hub.jobs.economy import shown_money

Kind = Literal["person", "group", "class", "member", "student"]
WARN_AT = (0.5, 0.8, 0.95, 1.0)
HALF_LIFE_SECONDS = 7 * 86400


class Account(msgspec.Struct, frozen=True, order=True):
    """Somebody or some people whose use is counted: a person, a group, a class, or a person in one."""

    kind: Kind
    id: str


class Used(msgspec.Struct, frozen=True):
    """What was used and is still held: hours and money of ended jobs, and of live ones at their worst."""

    core_hours: float = 0.0
    gpu_hours: float = 0.0
    money: float = 0.0
    running: int = 0
    open: int = 0  # jobs that have not ended, running or not

    def __add__(self, other: Used) -> Used:
        return Used(
            self.core_hours + other.core_hours,
            self.gpu_hours + other.gpu_hours,
            self.money + other.money,
            self.running + other.running,
            self.open + other.open,
        )


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """The most an account may use within a term; None is no bound."""

    core_hours: float | None = None
    gpu_hours: float | None = None
    money: float | None = None
    running: int | None = None
    open: int | None = None


class Over(msgspec.Struct, frozen=True):
    """A bound that a job would break: whose, which, and by what."""

    account: Account
    what: str
    bound: float
    would_be: float

    @property
    def sentence(self) -> str:
        shown = shown_money if self.what == "money" else _number
        allowed = _WORDS[self.what].format(shown(self.bound))
        return f"The {self.account.kind} {self.account.id} may have {allowed}; with this job: {shown(self.would_be)}."


class Warned(msgspec.Struct, frozen=True):
    """A threshold of a budget that spending has just reached."""

    threshold: float
    spent: float
    budget: float

    @property
    def sentence(self) -> str:
        if self.threshold >= 1:
            return f"The budget of {shown_money(self.budget)} is spent: {shown_money(self.spent)}."
        said = f"{shown_money(self.spent)} of the budget of {shown_money(self.budget)} are spent"
        return f"{said}, more than {self.threshold:.0%}."


class Claim(msgspec.Struct, frozen=True):
    """A waiting job, and the account it is counted for; `beside`, its session, decides between who used the same."""

    job: str
    account: Account
    order: int  # grows with the time it was queued
    beside: Account | None = None


def warnings(before: float, after: float, budget: float, at: Sequence[float] = WARN_AT) -> list[Warned]:
    """The one warning for spending that went from `before` to `after`: the highest threshold newly reached, or none.

    Each threshold is told once, because spending passes it once. A budget of nothing warns with the first spending.
    """
    if budget <= 0:
        return [Warned(1.0, after, budget)] if before <= 0 < after else []
    reached = [each for each in at if before < each * budget <= after]
    return [Warned(max(reached), after, budget)] if reached else []


def breaks(wanted: Used, used: Mapping[Account, Used], quotas: Mapping[Account, Quota]) -> list[Over]:
    """Every bound that the accounts in `used` would break with this job; empty when it may go ahead.

    `wanted` is what the job takes at its worst, so that what was allowed is never found to have been too much.
    """
    found = []
    for account in sorted(used):
        quota = quotas.get(account)
        if quota is None:
            continue
        then = used[account] + wanted
        for what in _WORDS:
            bound, would_be = getattr(quota, what), getattr(then, what)
            # What a job takes none of is not its fault.
            if bound is not None and getattr(wanted, what) > 0 and would_be > bound + 1e-9:
                found.append(Over(account, what, bound, would_be))
    return found


def left(used: Used, quota: Quota) -> dict[str, float]:
    """What remains of each bound, never below nothing."""
    return {
        what: max(0.0, getattr(quota, what) - getattr(used, what))
        for what in _WORDS
        if getattr(quota, what) is not None
    }


def decayed(uses: Iterable[tuple[float, float]], now: float, half_life: float = HALF_LIFE_SECONDS) -> float:
    """The sum of (when, how much), each worth half as much after every `half_life` seconds."""
    return sum(amount * float(0.5 ** (max(0.0, now - at) / half_life)) for at, amount in uses)


def fair_order(
    claims: Sequence[Claim], used: Mapping[Account, float], takes: Mapping[str, float] | None = None
) -> list[str]:
    """The jobs in the order in which they are to start: whoever used least is next, with their first job.

    What a job `takes` (1 where nothing is known) is counted at once, for its account and the one beside it, so that
    turns go round. Accounts that used the same are told apart by what the one beside their first job used, then by
    who waited first. So long as it can be, that is n log n: it is asked for at every submission and at every start.
    """
    takes = takes or {}
    counted = dict(used)
    waiting: dict[Account, list[Claim]] = {}
    for claim in sorted(claims, key=lambda each: each.order, reverse=True):
        waiting.setdefault(claim.account, []).append(claim)
    # Of all whose first job has the same account beside it, the one is next who used least: they stand in one line.
    # Of the lines the first ones are compared; an entry of a line that changed since is passed over.
    lines: dict[Account | None, list[tuple[float, int, Account]]] = {}
    firsts: list[tuple[float, float, int, int, Account | None]] = []
    ages: dict[Account | None, int] = {}

    def told(beside: Account | None) -> None:
        ages[beside] = ages.get(beside, 0) + 1
        if line := lines[beside]:
            of_beside = 0.0 if beside is None else counted.get(beside, 0.0)
            heapq.heappush(firsts, (line[0][0], of_beside, line[0][1], ages[beside], beside))

    def stand(account: Account) -> Account | None:
        first = waiting[account][-1]
        line = lines.setdefault(first.beside, [])
        heapq.heappush(line, (counted.get(account, 0.0), first.order, account))
        return first.beside

    for beside in {stand(account) for account in waiting}:
        told(beside)
    order: list[str] = []
    while firsts:
        *_, age, beside = heapq.heappop(firsts)
        if age != ages[beside]:
            continue
        account = heapq.heappop(lines[beside])[2]
        claim = waiting[account].pop()
        order.append(claim.job)
        for each in (account, *(() if beside is None else (beside,))):
            counted[each] = counted.get(each, 0.0) + takes.get(claim.job, 1.0)
        told(beside)
        if waiting[account]:
            told(stand(account))
    return order


_WORDS = {
    "core_hours": "{} core hours",
    "gpu_hours": "{} GPU hours",
    "money": "a cost of {}",
    "running": "{} jobs running at once",
    "open": "{} jobs that have not ended",
}


def _number(amount: float) -> str:
    return f"{amount:g}" if amount == int(amount) else f"{amount:.1f}"
