"""What people, groups and classes may use, whose turn it is by what they used, and warnings of a budget. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """A waiting job, and the accounts it is counted for from the widest to the person (class, group, person).

    `beside` is counted as well, and decides between people who used the same: the session of the job.
    """

    job: str
    accounts: tuple[Account, ...]
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
    claims: Sequence[Claim],
    usage: Mapping[Account, float],
    shares: Mapping[Account, float] | None = None,
    takes: Mapping[str, float] | None = None,
) -> list[str]:
    """The jobs in the order in which they are to start: at every level, whoever used least for their share is next.

    First a class (or whatever is widest) is chosen by what it used for its share, then a group within it, then a
    person, then that person's first job. What a job `takes` (1 where nothing is known) is counted at once for all its
    accounts, so that turns go round. Accounts without a share have 1; a share of nothing comes last. People who used
    the same are told apart by the account beside their first job, then by who waited first.
    """
    shares, takes = shares or {}, takes or {}
    waiting: dict[tuple[Account, ...], list[Claim]] = {}
    for claim in sorted(claims, key=lambda c: c.order, reverse=True):
        waiting.setdefault(claim.accounts, []).append(claim)
    counted = dict(usage)

    def weight(account: Account) -> float:
        share = shares.get(account, 1.0)
        return counted.get(account, 0.0) / share if share > 0 else float("inf")

    order: list[str] = []
    while waiting:
        # Who of equals waited first: the oldest job that anybody below an account has.
        first: dict[Account, int] = {}
        for accounts, jobs in waiting.items():
            for each in accounts:
                first[each] = min(first.get(each, jobs[-1].order), jobs[-1].order)
        path = min(waiting, key=lambda accounts: _due(accounts, waiting[accounts][-1], weight, first))
        claim = waiting[path].pop()
        if not waiting[path]:
            del waiting[path]
        order.append(claim.job)
        for account in (*claim.accounts, *([] if claim.beside is None else [claim.beside])):
            counted[account] = counted.get(account, 0.0) + takes.get(claim.job, 1.0)
    return order


def _due(
    accounts: tuple[Account, ...], claim: Claim, weight: Callable[[Account], float], first: Mapping[Account, int]
) -> list[tuple[float, float, int]]:
    beside = 0.0 if claim.beside is None else weight(claim.beside)
    last = len(accounts) - 1
    return [(weight(each), beside if i == last else 0.0, first[each]) for i, each in enumerate(accounts)]


def factor(usage: float, everybody: float, share: float) -> float:
    """Slurm's fair-share factor: 1 for who used nothing, 0.5 for who used just their share of all, towards 0 beyond.

    `share` is a fraction of everybody's, in (0, 1].
    """
    if everybody <= 0 or usage <= 0:
        return 1.0
    return 0.0 if share <= 0 else float(2.0 ** (-(usage / everybody) / share))


_WORDS = {
    "core_hours": "{} core hours",
    "gpu_hours": "{} GPU hours",
    "money": "a cost of {}",
    "running": "{} jobs running at once",
    "open": "{} jobs that have not ended",
}


def _number(amount: float) -> str:
    return f"{amount:g}" if amount == int(amount) else f"{amount:.1f}"
