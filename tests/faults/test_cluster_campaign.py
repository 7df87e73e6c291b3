"""The campaigns of faults that the benchmark runs by thousands, at the length a build machine has time for.

A whole hub with its processes, Redis and all: one hundred seeded runs on the fake Slurm behind a real sshd, thirty on a
real one. The seed is printed; COLLEGIUM_TEST_SEED repeats it, and COLLEGIUM_TEST_STORM says how many runs there are.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.benchmarks.clusters import world
from tests.benchmarks.clusters.faults import campaign

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]

SEED = os.environ.get("COLLEGIUM_TEST_SEED") or str(random.SystemRandom().randrange(10**9))


@pytest.mark.parametrize(("kind", "runs"), [("fake", 100), ("real", 30)])
def test_each_run_begins_once_and_ends_as_it_ended_whatever_dies(kind: str, runs: int) -> None:
    print(f"COLLEGIUM_TEST_SEED={SEED}")
    try:
        found = campaign(kind, int(os.environ.get("COLLEGIUM_TEST_STORM", runs)), SEED)
    finally:
        world.close_slurm()
    assert (found["duplicates"], found["lost"], found["wrong"]) == (0, 0, 0), f"COLLEGIUM_TEST_SEED={SEED}"
