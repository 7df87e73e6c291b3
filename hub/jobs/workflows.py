"""The plan of a workflow: which step waits for which, and for which files, decided before anything is recorded.

A dependency is the name of a step or a file. A file that another step declares as its output comes from that step; a
file the session already has is an input; any other must come from an earlier step that declares no outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec


class StepWish(msgspec.Struct, frozen=True):
    """What the plan needs to know of one step."""

    name: str
    dependencies: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    made_by: Mapping[str, str] = {}  # where it is known already, by an earlier run: which step makes which file


class StepPlan(msgspec.Struct, frozen=True):
    """`inputs` exist now; `awaits` maps a file to the step that makes it; `after` are all steps that come first."""

    name: str
    inputs: tuple[str, ...]
    awaits: dict[str, str]
    after: tuple[str, ...]


class BadWorkflow(Exception):
    """Why the workflow cannot run, with everything that is wrong, and the field."""

    def __init__(self, message: str, errors: Sequence[str] = (), path: str = "") -> None:
        super().__init__(message)
        self.errors, self.path = tuple(errors), path


def plan(steps: Sequence[StepWish], existing: Collection[str]) -> list[StepPlan]:
    """Every step's inputs, awaited files and predecessors, in the order given. Raises BadWorkflow."""
    names = Counter(step.name for step in steps)
    if doubled := sorted(name for name, count in names.items() if count > 1):
        raise BadWorkflow(f"several steps are called {', '.join(doubled)}", path="workflow")
    producers: dict[str, str] = {}
    for index, step in enumerate(steps):
        for output in step.outputs:
            if output in producers:
                raise BadWorkflow(
                    f"{output} is an output of both {producers[output]} and {step.name}",
                    path=f"workflow[{index}].outputs",
                )
            producers[output] = step.name
    plans, unknown = [], []
    for index, step in enumerate(steps):
        inputs, awaits, after = [], {}, []
        for place, wanted in enumerate(dict.fromkeys(step.dependencies)):
            producer = step.made_by.get(wanted) or _producer(wanted, index, steps, producers, existing, names)
            if producer is not None:
                after.append(producer)
                if wanted not in names:
                    awaits[wanted] = producer
            elif wanted in existing:
                inputs.append(wanted)
            else:
                unknown.append(f"workflow[{index}].dependencies[{place}]: {wanted}")
        plans.append(StepPlan(step.name, tuple(inputs), awaits, tuple(dict.fromkeys(after))))
    if unknown:
        raise BadWorkflow(
            "these are neither steps nor files of the session, and no earlier step could make them",
            unknown,
            path=unknown[0].partition(":")[0],
        )
    if circle := cycle({each.name: each.after for each in plans}):
        raise BadWorkflow(f"the steps wait for each other: {' -> '.join(circle)}", path="workflow")
    return plans


def _producer(
    wanted: str,
    index: int,
    steps: Sequence[StepWish],
    producers: dict[str, str],
    existing: Collection[str],
    names: Collection[str],
) -> str | None:
    if wanted in names:
        return wanted
    if wanted in producers:
        return producers[wanted]
    if wanted in existing:
        return None
    return next((step.name for step in reversed(steps[:index]) if not step.outputs), None)


def cycle(after: dict[str, tuple[str, ...]]) -> list[str]:
    """One circle of steps that wait for each other, first and last the same; empty when there is none."""
    done: set[str] = set()
    for start in after:
        # Depth first with a stack of our own: five hundred steps in a row must not meet Python's recursion limit.
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                path.pop()
                on_path.discard(name)
                done.add(name)
            elif name in on_path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                on_path.add(name)
                stack.append((name, True))
                stack.extend((before, False) for before in reversed(after.get(name, ())))
    return []
