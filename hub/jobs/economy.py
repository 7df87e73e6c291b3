"""What a job costs, and which of several places it goes to: the cheapest that meets its deadline. Pure.

Money is a number in the one currency of the hub; times are seconds from now. A price of None is one that nobody has
told: what it would cost is then unknown, and an unknown cost is never said to be within a budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hub.jobs import arrays
from hub.jobs.requests import Resources

HOUR = 3600
# A deadline is surely met where it would still be met if the end came later by so much, and by this share of what is
# left to it. Without time to spare, waiting for the cheapest place spends all that a deadline allows, and when others
# crowd in before the same deadline there is no room left to run in: a replayed class then missed more deadlines than
# first come, first served. Twice as much to spare saves no more of them, and costs more (tests/rules/test_job_week.py).
SPARE_SECONDS, SPARE_SHARE = 600, 0.5


class Prices(msgspec.Struct, frozen=True):
    """What an hour of a core, and of a GPU, costs in one place; None where nobody has said."""

    core_hour: float | None = None
    gpu_hour: float | None = None


class Held(msgspec.Struct, frozen=True):
    """What a job keeps from others while it runs, over all its nodes and tasks of an array."""

    cores: int
    gpus: int = 0


class Cost(msgspec.Struct, frozen=True):
    """Hours that are held, and what they cost; `money` is None where a price is unknown."""

    core_hours: float
    gpu_hours: float
    money: float | None


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One place that a job could go to, as far as it can be told now."""

    backend: str
    prices: Prices = Prices()
    starts_in: float | None = None  # None: nobody can tell
    run_seconds: float | None = None  # as jobs like this one ran there; None: as long as it may
    refusals: tuple[str, ...] = ()  # why what was asked cannot be honoured there
    reached: bool = True


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the submitter asks of a place. `ends_within` is the deadline; `budget` is what may be spent at most."""

    held: Held
    wall_seconds: float
    ends_within: float | None = None
    budget: float | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table that is shown before anything is confirmed; `why` tells why it was chosen, or not.

    Times are seconds from now, `cost` is expected, `most` what it can come to.
    """

    backend: str
    starts_in: float | None
    ends_in: float | None
    cost: float | None
    most: float | None
    possible: bool
    in_time: bool | None  # None without a deadline
    chosen: bool
    why: str


class Plan(msgspec.Struct, frozen=True):
    """Every candidate, the chosen one first; `chosen` is None when nothing can be taken. `within` is the deadline."""

    candidates: tuple[Candidate, ...]
    within: float | None = None

    @property
    def chosen(self) -> Candidate | None:
        return self.candidates[0] if self.candidates and self.candidates[0].chosen else None


def tasks_of(array: str | None) -> int:
    """How many tasks `--array` makes. Raises ValueError."""
    return 1 if array is None else len(arrays.numbers(array))


def held(resources: Resources) -> Held:
    """What these resources keep from others; GPUs are asked for per node. Raises ValueError for no array."""
    times = resources.nodes * tasks_of(resources.array)
    return Held(max(resources.cpus_per_node, resources.tasks_per_node) * times, resources.gpus * times)


def held_on_average(tasks: int, ended: int, seconds: float, longest: float) -> float:
    """For how long a task of an array held its part: `ended` of its `tasks` took `seconds` together.

    Of a task whose end nobody wrote down it is only known that it took no longer than `longest`.
    """
    return (seconds + max(0, tasks - ended) * longest) / tasks


def cost(what: Held, seconds: float, prices: Prices) -> Cost:
    """What holding this for so long costs, whether or not it was made use of."""
    hours = max(0.0, seconds) / HOUR
    cores, gpus = what.cores * hours, what.gpus * hours
    parts = [(cores, prices.core_hour), (gpus, prices.gpu_hour)]
    if any(amount and price is None for amount, price in parts):
        return Cost(cores, gpus, None)
    return Cost(cores, gpus, sum(amount * (price or 0.0) for amount, price in parts))


def plan(wish: Wish, offers: Sequence[Offer]) -> Plan:
    """The cheapest place that surely meets the deadline within the budget; if none does, the one that ends first.

    A budget is kept by what the job costs at most, a deadline by what it is expected to take, with time to spare.
    Among equals it is the one that ends first, then the first that was named.
    """
    return decide([candidate(wish, each) for each in offers], within=wish.ends_within)


def decide(seen: Sequence[Candidate], *, within: float | None) -> Plan:
    """As `plan`, of candidates that were each counted for themselves: a job may hold more here than there."""
    able = [each for each in seen if each.possible]
    if not able:
        return Plan(tuple(seen), within)
    sure = [each for each in able if is_sure(each, within)]
    best = min(sure, key=_price_order) if sure else min(able, key=_end_order)
    rest = [
        msgspec.structs.replace(each, why=each.why or _why_not(each, best, within)) for each in seen if each is not best
    ]
    rest.sort(key=lambda each: (not each.possible, each.in_time is False, *_price_order(each)))
    best = msgspec.structs.replace(best, chosen=True, why=_why(best, bool(sure), len(able), within))
    return Plan((best, *rest), within)


def is_sure(one: Candidate, within: float | None) -> bool:
    """Whether a deadline is met even if the end comes later than expected; without a deadline, it is."""
    if within is None:
        return True
    return one.ends_in is not None and one.ends_in + max(SPARE_SECONDS, SPARE_SHARE * one.ends_in) <= within


def shown_money(amount: float | None) -> str:
    """`1.25`, `0.004`, `unknown`."""
    if amount is None:
        return "unknown"
    return f"{amount:.2f}" if amount == 0 or amount >= 0.01 else f"{amount:.1g}" if amount >= 1e-4 else "0.00"


def candidate(wish: Wish, offer: Offer) -> Candidate:
    """A line of the table, before it is decided between them."""
    runs = min(wish.wall_seconds, wish.wall_seconds if offer.run_seconds is None else offer.run_seconds)
    most = cost(wish.held, wish.wall_seconds, offer.prices).money
    ends = None if offer.starts_in is None else max(0.0, offer.starts_in) + runs
    why = ""
    if not offer.reached:
        why = "it does not answer"
    elif offer.refusals:
        why = "; ".join(offer.refusals)
    elif wish.budget is not None and most is None:
        why = "nobody has said what it costs, and there is a budget"
    elif wish.budget is not None and most is not None and most > wish.budget:
        why = f"it may cost {shown_money(most)}, the budget is {shown_money(wish.budget)}"
    return Candidate(
        backend=offer.backend,
        starts_in=offer.starts_in,
        ends_in=ends,
        cost=cost(wish.held, runs, offer.prices).money,
        most=most,
        possible=not why,
        in_time=None if wish.ends_within is None else ends is not None and ends <= wish.ends_within,
        chosen=False,
        why=why,
    )


def _price_order(one: Candidate) -> tuple[bool, float, bool, float]:
    return (one.cost is None, one.cost or 0.0, one.ends_in is None, one.ends_in or 0.0)


def _end_order(one: Candidate) -> tuple[bool, float, bool, float]:
    return (one.ends_in is None, one.ends_in or 0.0, one.cost is None, one.cost or 0.0)


def _why(best: Candidate, is_sure: bool, many: int, within: float | None) -> str:
    if best.in_time is False:
        return "no place meets the deadline; it ends here first" if best.ends_in is not None else _BLIND
    if many == 1:
        return "the only place for it" + ("; it meets the deadline" if best.in_time else "")
    if not is_sure:
        return "every place that meets the deadline has little time to spare; it ends here first"
    return "the cheapest" if within is None else "the cheapest that meets the deadline"


_BLIND = "no place meets the deadline for certain; nobody can tell when it starts"


def _why_not(one: Candidate, best: Candidate, within: float | None) -> str:
    if one.in_time is False:
        if one.ends_in is None:
            return "nobody can tell when it starts"
        return "it misses the deadline" + ("" if best.in_time else " by more")
    if not is_sure(one, within):
        return "it meets the deadline with too little time to spare"
    if one.cost is None and best.cost is not None:
        return "nobody has said what it costs"
    if one.cost is not None and best.cost is not None and one.cost > best.cost:
        return f"it costs {shown_money(one.cost)} instead of {shown_money(best.cost)}"
    if one.ends_in is None and best.ends_in is not None:
        return "it costs the same, and nobody can tell when it starts"
    return "it costs the same and ends later" if one.ends_in != best.ends_in else "it is as good; the other came first"
