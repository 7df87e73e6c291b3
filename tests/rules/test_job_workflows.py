"""A workflow is planned whole before anything is recorded: producers, inputs, circles, what nobody makes."""

from __future__ import annotations

import pytest

from hub.jobs.workflows import BadWorkflow, StepWish, cycle, plan

SEED = [
    StepWish("data_preprocessing", ("raw_data.csv",)),
    StepWish("analysis", ("preprocessed_data.h5",)),
    StepWish("visualization", ("analysis_results.json",)),
]


def test_the_seeds_workflow_is_a_chain() -> None:
    first, second, third = plan(SEED, {"raw_data.csv"})
    assert (first.inputs, first.awaits, first.after) == (("raw_data.csv",), {}, ())
    assert second.awaits == {"preprocessed_data.h5": "data_preprocessing"}
    assert (third.awaits, third.after) == ({"analysis_results.json": "analysis"}, ("analysis",))


def test_every_missing_input_is_listed_in_the_one_error() -> None:
    with pytest.raises(BadWorkflow, match="neither steps nor files") as caught:
        plan([StepWish("a", ("x.csv", "y.csv")), StepWish("b", ("a",), ("z",))], set())
    assert caught.value.errors == (
        "workflow[0].dependencies[0]: x.csv",
        "workflow[0].dependencies[1]: y.csv",
    )


def test_step_names_and_declared_outputs_lead_to_their_step_wherever_it_stands() -> None:
    plans = plan([StepWish("late", ("made.h5", "early")), StepWish("early", (), ("made.h5",))], set())
    assert (plans[0].awaits, plans[0].after) == ({"made.h5": "early"}, ("early",))


def test_a_declared_output_is_waited_for_even_when_an_older_file_is_there() -> None:
    plans = plan([StepWish("make", (), ("t.csv",)), StepWish("use", ("t.csv",))], {"t.csv"})
    assert (plans[1].inputs, plans[1].awaits) == ((), {"t.csv": "make"})


def test_a_step_that_declares_its_outputs_is_not_taken_for_the_maker_of_anything_else() -> None:
    with pytest.raises(BadWorkflow, match="no earlier step could make them"):
        plan([StepWish("make", (), ("t.csv",)), StepWish("use", ("other.csv",))], set())


def test_a_circle_is_refused_with_its_steps_named() -> None:
    steps = [StepWish("a", ("c",)), StepWish("b", ("a",)), StepWish("c", ("b",)), StepWish("d")]
    with pytest.raises(BadWorkflow, match="wait for each other: a -> c -> b -> a"):
        plan(steps, set())


def test_a_step_that_waits_for_itself_is_a_circle() -> None:
    with pytest.raises(BadWorkflow, match="a -> a"):
        plan([StepWish("a", ("a",))], set())
    with pytest.raises(BadWorkflow, match="a -> a"):
        plan([StepWish("a", ("own.csv",), ("own.csv",))], set())


def test_names_and_outputs_belong_to_one_step() -> None:
    with pytest.raises(BadWorkflow, match="several steps are called a"):
        plan([StepWish("a"), StepWish("a")], set())
    with pytest.raises(BadWorkflow, match="x is an output of both a and b"):
        plan([StepWish("a", (), ("x",)), StepWish("b", (), ("x",))], set())


def test_a_thousand_steps_in_a_row_are_planned_without_recursion() -> None:
    steps = [StepWish("s0"), *(StepWish(f"s{n}", (f"s{n - 1}",)) for n in range(1, 3000))]
    assert plan(steps, set())[-1].after == ("s2998",)
    assert cycle({f"s{n}": (f"s{(n + 1) % 3000}",) for n in range(3000)})[0] == "s0"


def test_a_diamond_is_no_circle() -> None:
    steps = [StepWish("a"), StepWish("b", ("a",)), StepWish("c", ("a",)), StepWish("d", ("b", "c"))]
    assert plan(steps, set())[3].after == ("b", "c")
