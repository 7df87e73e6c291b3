"""A synthetic week of a class, replayed: placing by price and deadline against first come, first served."""

from __future__ import annotations

import pytest

from tests.rules import class_week

HEAD = ("week", "placed by", "jobs", "cost", "deadlines missed", "waited, min")


def compare(seed: int) -> tuple[class_week.Told, class_week.Told]:
    return class_week.replay(seed, "fifo"), class_week.replay(seed, "ours")


def table(weeks: dict[int, tuple[class_week.Told, class_week.Told]]) -> str:
    """Cost and missed deadlines of each week under both, and of all of them together; shown by `pytest -s`."""
    rows = [HEAD]
    for seed, both in weeks.items():
        rows += [_row(str(seed), name, told) for name, told in zip(("FIFO", "auto"), both, strict=True)]
    if len(weeks) > 1:
        for name, many in zip(("FIFO", "auto"), zip(*weeks.values(), strict=True), strict=True):
            together = class_week.Told(
                jobs=sum(each.jobs for each in many),
                cost=sum(each.cost for each in many),
                missed=sum(each.missed for each in many),
                waited=sum(each.waited for each in many) / len(many),
            )
            rows.append(_row("all", name, together))
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _row(week: str, name: str, told: class_week.Told) -> tuple[str, ...]:
    return (week, name, str(told.jobs), f"{told.cost:.2f}", str(told.missed), f"{told.waited / 60:.0f}")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_week_placed_by_us_misses_no_more_deadlines_than_fifo_and_costs_less(seed: int) -> None:
    fifo, ours = compare(seed)
    print(table({seed: (fifo, ours)}))
    assert ours.missed <= fifo.missed
    assert ours.cost < fifo.cost


@pytest.mark.slow
def test_fifty_weeks_miss_no_more_each_and_cost_less_together() -> None:
    """A single week may cost a little more where it misses fewer: 0.2 % in one of the fifty."""
    replayed = {seed: compare(seed) for seed in range(50)}
    print(table(replayed))
    weeks = list(replayed.values())
    for fifo, ours in weeks:
        assert ours.missed <= fifo.missed
        assert ours.cost <= fifo.cost * (1.0 if ours.missed == fifo.missed else 1.01)
    assert sum(ours.missed for _, ours in weeks) < sum(fifo.missed for fifo, _ in weeks)
    assert sum(ours.cost for _, ours in weeks) < 0.95 * sum(fifo.cost for fifo, _ in weeks)


def test_a_week_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert class_week.replay(7, "ours") == class_week.replay(7, "ours")
    assert class_week.week(7) != class_week.week(8)


def test_every_job_of_the_week_is_sent_before_its_deadline_and_runs_no_longer_than_its_limit() -> None:
    for task in class_week.week(4):
        assert task.at < task.deadline
        assert 0 < task.runs <= task.wall
