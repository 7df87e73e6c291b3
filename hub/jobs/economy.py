"""What a job costs, and which of several places it goes to: the cheapest that meets its deadline. Pure.

Money is a number in the one currency of the hub; times are seconds from now. A price of None is one that nobody has
told: what it would cost is then unknown, and an unknown cost is never said to be within a budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hub.jobs import arrays
from hub.jobs.amounts import shown_seconds
from hub.jobs.requests import Resources

HOUR = 3600
# An estimate has slipped when the end moves by more than this, and by this share of what was left to it.
SLIP_SECONDS, SLIP_SHARE = 600, 0.2
MOST_MOVES = 3
ON_TIME = "It ends about when it was promised."


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
    """Every candidate, the chosen one first; `chosen` is None when nothing can be taken."""

    candidates: tuple[Candidate, ...]

    @property
    def chosen(self) -> Candidate | None:
        return self.candidates[0] if self.candidates and self.candidates[0].chosen else None


class Promise(msgspec.Struct, frozen=True):
    """What was told about a job when it was placed: where, and when it ends. `moves` counts its earlier places."""

    backend: str
    ends_in: float
    moves: int = 0


class Again(msgspec.Struct, frozen=True):
    """Whether a waiting job is to go elsewhere: `to` is the backend, None when it stays; and why."""

    to: str | None
    why: str


def tasks_of(array: str | None) -> int:
    """How many tasks `--array` makes. Raises ValueError."""
    return 1 if array is None else len(arrays.numbers(array))


def held(resources: Resources) -> Held:
    """What these resources keep from others; GPUs are asked for per node. Raises ValueError for no array."""
    times = resources.nodes * tasks_of(resources.array)
    return Held(max(resources.cpus_per_node, resources.tasks_per_node) * times, resources.gpus * times)


def cost(what: Held, seconds: float, prices: Prices) -> Cost:
    """What holding this for so long costs, whether or not it was made use of."""
    hours = max(0.0, seconds) / HOUR
    cores, gpus = what.cores * hours, what.gpus * hours
    parts = [(cores, prices.core_hour), (gpus, prices.gpu_hour)]
    if any(amount and price is None for amount, price in parts):
        return Cost(cores, gpus, None)
    return Cost(cores, gpus, sum(amount * (price or 0.0) for amount, price in parts))


def plan(wish: Wish, offers: Sequence[Offer]) -> Plan:
    """The cheapest place that meets the deadline within the budget; if none meets it, the one that ends first.

    A budget is kept by what the job costs at most, a deadline by what it is expected to take. Among equals it is the
    one that ends first, then the first that was named.
    """
    return decide([candidate(wish, each) for each in offers], with_deadline=wish.ends_within is not None)


def decide(seen: Sequence[Candidate], *, with_deadline: bool) -> Plan:
    """As `plan`, of candidates that were each counted for themselves: a job may hold more here than there."""
    able = [each for each in seen if each.possible]
    if not able:
        return Plan(tuple(seen))
    in_time = [each for each in able if each.in_time is not False]
    best = min(in_time, key=_price_order) if in_time else min(able, key=_end_order)
    late = not in_time
    rest = [msgspec.structs.replace(each, why=each.why or _why_not(each, best)) for each in seen if each is not best]
    rest.sort(key=lambda each: (not each.possible, each.in_time is False, *_price_order(each)))
    return Plan((msgspec.structs.replace(best, chosen=True, why=_why(best, late, len(able), with_deadline)), *rest))


def slipped(promise: Promise, ends_in: float | None) -> bool:
    """Whether a job ends so much later than was promised that its place is to be thought over."""
    if ends_in is None:
        return True
    return ends_in - promise.ends_in > max(SLIP_SECONDS, SLIP_SHARE * max(0.0, promise.ends_in))


def think_again(promise: Promise, wish: Wish, offers: Sequence[Offer]) -> Again:
    """Whether a job that still waits goes elsewhere, now that its estimate may have slipped.

    It moves only for a gain: into its deadline, or where no deadline can be met any more, to an end that is earlier by
    more than a slip. So two places with nearly equal queues never pass a job to and fro, and after MOST_MOVES it
    stays. `promise.ends_in` and the wish are counted from now, as the offers are.
    """
    return reconsider(promise, plan(wish, offers))


def reconsider(promise: Promise, table: Plan) -> Again:
    """As `think_again`, by a table that was made already."""
    here = next((each for each in table.candidates if each.backend == promise.backend), None)
    if here is None or not here.possible:
        if table.chosen is None or table.chosen.backend == promise.backend:
            return Again(None, "It cannot go on waiting where it is, and there is no other place for it.")
        return Again(table.chosen.backend, f"{promise.backend} cannot take it any more.")
    late = here.in_time is False
    if not late and not slipped(promise, here.ends_in):
        return Again(None, ON_TIME)
    if promise.moves >= MOST_MOVES:
        return Again(None, f"It was moved {promise.moves} times already and stays where it is.")
    best = table.chosen
    if best is None or best.backend == here.backend:
        return Again(None, "It ends later than was promised, and no other place suits it better.")
    if late and best.in_time:
        return Again(best.backend, f"It would miss its deadline on {here.backend}, and meets it on {best.backend}.")
    if best.ends_in is not None and (here.ends_in is None or slipped(Promise("", best.ends_in), here.ends_in)):
        return Again(best.backend, f"It ends earlier on {best.backend}, now that {here.backend} keeps it waiting.")
    return Again(None, "It ends later than was promised; elsewhere it would gain too little.")


def table(made: Plan) -> list[tuple[str, str, str, str, str]]:
    """(where, starts, ends, cost, why) of each candidate in words, with a head."""
    rows = [("where", "starts", "ends", "cost", "why")]
    for each in made.candidates:
        money = shown_money(each.cost)
        if each.most is not None and shown_money(each.most) != money:
            money += f" (at most {shown_money(each.most)})"
        rows.append((each.backend, _in(each.starts_in), _in(each.ends_in), money, each.why))
    return rows


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


def _why(best: Candidate, late: bool, many: int, with_deadline: bool) -> str:
    if late:
        return "no place meets the deadline; it ends here first" if best.ends_in is not None else _BLIND
    if many == 1:
        return "the only place for it" + ("; it meets the deadline" if best.in_time else "")
    return "the cheapest that meets the deadline" if with_deadline else "the cheapest"


_BLIND = "no place meets the deadline for certain; nobody can tell when it starts"


def _why_not(one: Candidate, best: Candidate) -> str:
    if one.in_time is False:
        if one.ends_in is None:
            return "nobody can tell when it starts"
        return "it misses the deadline" + ("" if best.in_time else " by more")
    if one.cost is None and best.cost is not None:
        return "nobody has said what it costs"
    if one.cost is not None and best.cost is not None and one.cost > best.cost:
        return f"it costs {shown_money(one.cost)} instead of {shown_money(best.cost)}"
    if one.ends_in is None and best.ends_in is not None:
        return "it costs the same, and nobody can tell when it starts"
    return "it costs the same and ends later" if one.ends_in != best.ends_in else "it is as good; the other came first"


def _in(seconds: float | None) -> str:
    return "unknown" if seconds is None else "now" if seconds < 1 else f"in {shown_seconds(seconds)}"
