"""How well an ended job used what it held, and that advice is given only where it is worth reading."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import efficiency
from hub.jobs.efficiency import GIB, Ended

HOUR = 3600


def said(job: Ended) -> dict[str, str]:
    return {hint.about: hint.sentence for hint in efficiency.judge(job).hints}


def options(job: Ended) -> list[str]:
    return [hint.option for hint in efficiency.judge(job).hints]


def test_memory_that_was_asked_for_and_not_used_is_told_with_what_would_do() -> None:
    job = Ended(seconds=HOUR, cpu_seconds=HOUR, peak_memory_bytes=int(1.1 * GIB), asked_memory_bytes=32 * GIB)
    assert said(job) == {"memory": "Asked 32 GiB of memory, used 1.1 GiB at most. Next time 2 GiB would do."}
    assert options(job) == ["--memory 2G"]


def test_memory_that_was_nearly_all_used_is_told_with_more() -> None:
    job = Ended(seconds=HOUR, peak_memory_bytes=int(3.9 * GIB), asked_memory_bytes=4 * GIB)
    assert options(job) == ["--memory 6G"]
    assert "That was close" in said(job)["memory"]


def test_cores_that_stood_idle_are_told() -> None:
    job = Ended(seconds=HOUR, cpu_seconds=HOUR, cores=16)
    assert said(job) == {
        "cores": "Asked 16 cores, kept 1.0 busy. A program uses more than one only if it was made for that. "
        "Next time 2 would do."
    }
    assert options(job) == ["--cpus 2"]
    assert efficiency.judge(job).cpu == 1 / 16


def test_cores_on_several_nodes_are_told_for_each_node() -> None:
    job = Ended(seconds=HOUR, cpu_seconds=8 * HOUR, cores=32, nodes=2)
    assert said(job) == {"cores": "Asked 32 cores, kept 8.0 busy. Next time 6 on each node would do."}


def test_one_core_that_waits_is_told_only_when_it_waits_nearly_always_and_no_gpu_works_instead() -> None:
    assert "mostly waited" in said(Ended(seconds=HOUR, cpu_seconds=0.1 * HOUR))["cores"]
    assert said(Ended(seconds=HOUR, cpu_seconds=0.3 * HOUR)) == {}
    assert said(Ended(seconds=HOUR, cpu_seconds=0.1 * HOUR, gpus=1)) == {}


def test_a_time_limit_that_is_far_from_what_was_needed_is_told_in_either_direction() -> None:
    assert options(Ended(seconds=HOUR / 2, asked_seconds=24 * HOUR)) == ["--time 60"]
    assert options(Ended(seconds=1.95 * HOUR, asked_seconds=2 * HOUR)) == ["--time 160"]
    assert options(Ended(seconds=130, asked_seconds=HOUR)) == []
    assert options(Ended(seconds=HOUR, asked_seconds=2 * HOUR)) == []


def test_a_job_that_failed_is_not_told_to_ask_for_less() -> None:
    job = Ended(seconds=HOUR, peak_memory_bytes=GIB, asked_memory_bytes=32 * GIB, asked_seconds=24 * HOUR)
    assert options(job) == ["--memory 2G", "--time 120"]
    failed = Ended(
        seconds=HOUR, peak_memory_bytes=GIB, asked_memory_bytes=32 * GIB, asked_seconds=24 * HOUR, succeeded=False
    )
    assert options(failed) == []


def test_a_short_job_gets_no_hints_but_its_shares() -> None:
    job = Ended(
        seconds=efficiency.SHORTEST_SECONDS - 1,
        cpu_seconds=1,
        cores=64,
        peak_memory_bytes=GIB,
        asked_memory_bytes=64 * GIB,
        asked_seconds=24 * HOUR,
    )
    judged = efficiency.judge(job)
    assert judged.hints == ()
    assert judged.memory == 1 / 64
    assert judged.cpu is not None


def test_what_was_not_measured_is_not_judged() -> None:
    assert efficiency.judge(Ended(seconds=HOUR, cores=64)) == efficiency.Efficiency(None, None, None, ())
    assert efficiency.judge(Ended(seconds=0, cpu_seconds=0)).cpu is None


def test_a_little_memory_is_not_worth_a_word() -> None:
    assert (
        said(Ended(seconds=HOUR, peak_memory_bytes=GIB // 100, asked_memory_bytes=efficiency.SMALLEST_MEMORY - 1)) == {}
    )


jobs = st.builds(
    Ended,
    seconds=st.floats(0, 1e6),
    cpu_seconds=st.none() | st.floats(0, 1e8),
    peak_memory_bytes=st.none() | st.integers(0, 2**42),
    cores=st.integers(1, 512),
    nodes=st.integers(1, 16),
    gpus=st.integers(0, 8),
    asked_memory_bytes=st.none() | st.integers(1, 2**42),
    asked_seconds=st.none() | st.integers(1, 10**6),
    succeeded=st.booleans(),
)


@given(jobs)
def test_shares_are_shares_and_advice_is_never_to_ask_for_what_was_asked_nor_for_less_than_was_used(job: Ended) -> None:
    judged = efficiency.judge(job)
    for share in (judged.cpu, judged.memory, judged.time):
        assert share is None or 0 <= share <= 1
    for hint in judged.hints:
        assert job.seconds >= efficiency.SHORTEST_SECONDS
        if not hint.option:
            continue
        amount = int(re.findall(r"\d+", hint.option)[0])
        if hint.about == "memory":
            assert job.peak_memory_bytes is not None
            assert amount * GIB * job.nodes >= job.peak_memory_bytes
        elif hint.about == "cores":
            assert job.cpu_seconds is not None
            assert amount * job.nodes < job.cores
            assert amount * job.nodes * job.seconds >= job.cpu_seconds * (1 - 1e-9)
        else:
            assert amount * 60 >= job.seconds


@pytest.mark.parametrize("share", [0.0, 0.1, 0.39, 0.4, 0.7, 0.9])
def test_a_share_of_memory_between_the_thresholds_needs_no_word(share: float) -> None:
    job = Ended(seconds=HOUR, peak_memory_bytes=int(share * 100 * GIB), asked_memory_bytes=100 * GIB)
    assert ("memory" in said(job)) == (share < efficiency.LOW_MEMORY)
