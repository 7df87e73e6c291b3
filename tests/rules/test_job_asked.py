"""What a submission holds, read from its options; and when a queue lets a job start, against playing it through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import asked
from hub.jobs.asked import Free
from hub.jobs.backends.slurm_wish import directives, wish
from hub.jobs.economy import Held
from hub.jobs.requests import Resources


def on_slurm(script: str = "", **resources: object) -> asked.Asked:
    return asked.on_slurm(wish(Resources(**resources), directives(script)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("script", "resources", "cores", "gpus", "seconds"),
    [
        ("", {}, 1, 0, None),
        ("", {"nodes": 2, "cpus_per_node": 16, "time": "2:00:00"}, 32, 0, 7200),
        ("", {"tasks_per_node": 4, "nodes": 3}, 12, 0, None),
        ("", {"cpus_per_node": 8, "tasks_per_node": 4}, 8, 0, None),
        ("", {"gpus": 2, "gpu_type": "a100", "nodes": 2}, 2, 4, None),
        ("", {"array": "0-9%2", "cpus_per_node": 4}, 40, 0, None),
        ("#SBATCH -N 2-4 --ntasks-per-node=8 -t 30\n", {}, 32, 0, 1800),
        ("#SBATCH -n 64 -c 2\n", {}, 128, 0, None),
        ("#SBATCH --nodes=1k\n", {}, 1024, 0, None),
        ("#SBATCH --gres=gpu:a100:2,scratch:5 -N 2\n", {}, 2, 4, None),
        ("#SBATCH --gpus=a100:2,v100:1\n", {}, 1, 3, None),
        ("#SBATCH --gpus-per-task=2 --ntasks=3\n", {}, 3, 6, None),
        ("#SBATCH --gpus-per-node=2 --nodes=3\n", {}, 3, 6, None),
        ("#SBATCH --array=1-100\n", {}, 100, 0, None),
        ("#SBATCH --time=nonsense --nodes=many\n", {}, 1, 0, None),
        ("#SBATCH -N 100\n", {"nodes": 2}, 2, 0, None),
    ],
)
def test_the_options_of_a_script_count_as_for_slurm(
    script: str, resources: dict[str, object], cores: int, gpus: int, seconds: int | None
) -> None:
    found = on_slurm(f"#!/bin/sh\n{script}true\n", **resources)
    assert (found.held, found.wall_seconds) == (Held(cores, gpus), seconds)


def test_how_many_tasks_hold_it_together_is_told_of_an_array() -> None:
    assert on_slurm("#!/bin/sh\n#SBATCH --array=1-100%5\ntrue\n").tasks == 100
    assert asked.here(Resources(array="0-9", cpus_per_node=4)) == asked.Asked(Held(40), None, 10)
    assert on_slurm("#!/bin/sh\ntrue\n").tasks == asked.here(Resources()).tasks == 1


@given(st.integers(1, 50), st.integers(1, 8), st.integers(1, 8), st.integers(0, 8))
def test_what_resources_say_is_held_at_least(nodes: int, tasks: int, each: int, gpus: int) -> None:
    resources = Resources(nodes=nodes, tasks_per_node=tasks, cpus_per_node=tasks * each, gpus=gpus)
    assert (
        asked.on_slurm(wish(resources, [])).held
        == asked.here(resources).held
        == Held(nodes * tasks * each, nodes * gpus)
    )


LIMITS = st.lists(st.floats(0, 1000), max_size=8)


def played(places: int, running: list[float], before: list[float]) -> float:
    """Second by second would be the same: each that waits takes the place that is free first."""
    free = sorted(running)
    while len(free) > places:
        free.pop(0)
    free += [0.0] * (places - len(free))
    for seconds in before:
        free.sort()
        free[0] += seconds
    return min(free)


@given(st.integers(1, 5), LIMITS, LIMITS)
def test_a_queue_is_counted_as_it_would_be_played(places: int, running: list[float], before: list[float]) -> None:
    assert asked.starts_after(places, running, before) == pytest.approx(played(places, running, before))


@given(st.integers(1, 5), LIMITS, LIMITS, st.floats(0, 1000))
def test_one_more_before_it_never_lets_it_start_sooner_and_a_place_more_never_later(
    places: int, running: list[float], before: list[float], more: float
) -> None:
    starts = asked.starts_after(places, running, before)
    assert asked.starts_after(places, running, [*before, more]) >= starts
    assert asked.starts_after(places + 1, running, before) <= starts


def test_a_job_starts_at_once_where_so_many_whole_nodes_stand_idle() -> None:
    there = [
        Free(name="debug", is_default=True, idle_nodes=2, cpus=16),
        Free(name="short", idle_nodes=9, cpus=4, wall_seconds=600),
        Free(name="down", up=False, idle_nodes=9, cpus=64),
    ]
    assert asked.idle_now(there, Resources(nodes=2, cpus_per_node=16), None)
    assert not asked.idle_now(there, Resources(nodes=3), None)
    assert not asked.idle_now(there, Resources(cpus_per_node=17), None)
    assert asked.idle_now(there, Resources(nodes=3, time=10), "short")
    assert not asked.idle_now(there, Resources(nodes=3, time=11), "short")
    assert not asked.idle_now(there, Resources(), "down")
    assert not asked.idle_now(there, Resources(), "unknown")
