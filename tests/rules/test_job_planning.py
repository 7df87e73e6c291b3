"""Many jobs and few places: room is promised once, to the most urgent first, and never more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import planning
from hub.jobs.economy import HOUR, Candidate, Held, Prices, Wish
from hub.jobs.planning import Room, Waits

CHEAP = Room(backend="cheap", prices=Prices(1), cores=4)
DEAR = Room(backend="dear", prices=Prices(3), cores=4)


def job(order: int, cores: int = 4, hours: float = 2, within: float | None = None) -> Waits:
    ends = None if within is None else within * HOUR
    return Waits(str(order), Wish(held=Held(cores), wall_seconds=hours * HOUR, ends_within=ends), order)


def planned(waiting: list[Waits], rooms: list[Room], margin: float = 0.0) -> dict[str, tuple[str, float]]:
    found = {}
    for given_ in planning.assign(waiting, rooms, margin=margin):
        chosen = given_.plan.chosen
        if chosen is not None and chosen.starts_in is not None:
            found[given_.job] = (chosen.backend, chosen.starts_in / HOUR)
    return found


def test_the_more_urgent_has_the_cheap_place_and_the_other_waits_for_it_while_it_can() -> None:
    assert planned([job(0, within=9), job(1, within=2)], [CHEAP, DEAR]) == {"1": ("cheap", 0), "0": ("cheap", 2)}


def test_who_cannot_wait_for_the_cheap_place_pays_for_the_dear_one() -> None:
    assert planned([job(0, within=3), job(1, within=2)], [CHEAP, DEAR]) == {"1": ("cheap", 0), "0": ("dear", 0)}


def test_with_a_margin_nobody_waits_until_the_last_hour() -> None:
    assert planned([job(0, within=4), job(1, within=4)], [CHEAP, DEAR])["1"] == ("cheap", 2)
    assert planned([job(0, within=4), job(1, within=4)], [CHEAP, DEAR], HOUR)["1"] == ("dear", 0)


def test_a_small_job_runs_in_a_gap_that_nobody_was_promised() -> None:
    busy = Room(backend="one", prices=Prices(0), cores=4, busy=((3 * HOUR, 2),))
    found = planned([job(0, cores=4), job(1, cores=2, hours=3), job(2, cores=2, hours=3)], [busy])
    assert found == {"0": ("one", 3), "1": ("one", 0), "2": ("one", 5)}


def test_a_place_that_is_not_reached_is_promised_to_nobody() -> None:
    down = Room(backend="cheap", prices=Prices(1), cores=4, reached=False)
    assert planned([job(0, within=9)], [down, DEAR]) == {"0": ("dear", 0)}
    assert planned([job(0, within=9)], [down]) == {}


def test_what_no_place_is_large_enough_for_is_told() -> None:
    [given_] = planning.assign([job(0, cores=5)], [CHEAP])
    assert given_.plan.chosen is None
    assert given_.plan.candidates[0].why == "it has 4 cores, and 5 are asked for"


rooms = st.lists(
    st.builds(
        Room,
        backend=st.sampled_from("abc"),
        prices=st.builds(Prices, st.floats(0, 5)),
        cores=st.just(16),
        busy=st.lists(st.tuples(st.floats(-10, 1e5), st.integers(1, 4)), max_size=4).map(tuple),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each.backend,
)
jobs = st.lists(st.tuples(st.integers(1, 16), st.floats(0.1, 20), st.none() | st.floats(-5, 60)), max_size=12).map(
    lambda all_: [job(i, *each) for i, each in enumerate(all_)]
)


@given(jobs, rooms)
def test_no_place_is_ever_promised_more_than_it_has(waiting: list[Waits], places: list[Room]) -> None:
    of = {each.job: each.wish for each in waiting}
    chosen: list[tuple[str, Candidate]] = []
    for given_ in planning.assign(waiting, places):
        assert given_.plan.chosen is not None
        chosen.append((given_.job, given_.plan.chosen))
    assert sorted(name for name, _ in chosen) == sorted(of)
    for place in places:
        taken = [(c.starts_in or 0.0, (c.starts_in or 0.0) + of[n].wall_seconds, of[n].held.cores)
                 for n, c in chosen if c.backend == place.backend]  # fmt: skip
        taken += [(0.0, max(0.0, at), cores) for at, cores in place.busy]
        for moment, _, _ in taken:
            assert sum(cores for start, end, cores in taken if start <= moment < end) <= place.cores


@given(jobs, rooms)
def test_the_plan_is_the_same_in_whatever_order_the_jobs_are_named(waiting: list[Waits], places: list[Room]) -> None:
    assert planned(waiting, places) == planned(waiting[::-1], places)
