"""A synthetic week of a class, replayed: the hub's placing by price and deadline against first come, first served."""

from __future__ import annotations

import pytest

from tests.rules import class_week
from tests.rules.class_week import Told

HEAD = ("week", "placed by", "jobs", "cost", "deadlines missed", "of them too late for anybody", "waited, min", "moves")
NAMES = ("FIFO", "auto")


def compare(seed: int) -> tuple[Told, Told]:
    return class_week.replay(seed, "fifo"), class_week.replay(seed, "ours")


def together(many: list[Told]) -> Told:
    return Told(
        jobs=sum(each.jobs for each in many),
        cost=sum(each.cost for each in many),
        missed=sum(each.missed for each in many),
        waited=sum(each.waited for each in many) / len(many),
        lost=sum(each.lost for each in many),
        moved=sum(each.moved for each in many),
    )


def table(weeks: dict[int, tuple[Told, Told]]) -> str:
    """Cost and missed deadlines of each week under both, and of all of them together; shown by `pytest -s`."""
    rows = [HEAD]
    for seed, both in weeks.items():
        rows += [_row(str(seed), name, told) for name, told in zip(NAMES, both, strict=True)]
    if len(weeks) > 1:
        for name, many in zip(NAMES, zip(*weeks.values(), strict=True), strict=True):
            rows.append(_row("all", name, together(list(many))))
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _row(week: str, name: str, told: Told) -> tuple[str, ...]:
    numbers = (str(told.missed), str(told.lost), f"{told.waited / 60:.0f}", str(told.moved))
    return (week, name, str(told.jobs), f"{told.cost:.2f}", *numbers)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_week_placed_by_the_hub_misses_fewer_deadlines_than_fifo_and_costs_less(seed: int) -> None:
    fifo, ours = compare(seed)
    print(table({seed: (fifo, ours)}))
    assert ours.missed < fifo.missed
    assert ours.cost < 0.9 * fifo.cost


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_weeks_cost_less_each_and_together_miss_half_of_the_deadlines_that_could_be_met() -> None:
    """Not each week misses fewer: in the last hours before a deadline it is also a matter of luck who fits in."""
    replayed = {seed: compare(seed) for seed in range(50)}
    print(table(replayed))
    assert all(ours.cost < fifo.cost for fifo, ours in replayed.values())
    assert sum(ours.missed > fifo.missed for fifo, ours in replayed.values()) <= 10
    fifo, ours = (together(list(many)) for many in zip(*replayed.values(), strict=True))
    assert ours.missed - ours.lost < 0.55 * (fifo.missed - fifo.lost)
    assert ours.cost < 0.85 * fifo.cost


def test_a_week_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert class_week.replay(7, "ours") == class_week.replay(7, "ours")
    assert class_week.week(7) != class_week.week(8)


def test_every_job_of_the_week_is_sent_before_its_deadline_and_runs_no_longer_than_its_limit() -> None:
    for task in class_week.week(4):
        assert task.at < task.deadline
        assert 0 < task.runs <= task.wall


def test_nothing_moves_more_often_than_the_hub_allows_and_nothing_runs_twice() -> None:
    week = class_week.Ours(5)
    told = week.live()
    assert told.moved > 0
    assert max(kept.moves for kept in week.kept.values()) <= class_week.MOST_MOVES
    assert week.starts == [1] * told.jobs
