"""The steps of a workflow and the nodes of an experiment as a graph: a picture with its list twin, tinted by state."""

from __future__ import annotations

import msgspec

from hub.artifacts.lineage import Edge, Graph, Node
from hub.core import actions
from hub.jobs import rules
from hub.jobs.economy import shown_money
from hub.jobs.views import StepView, WorkflowView
from hub.orchestrator.views import ExperimentView, NodeView
from hub.web.pages import words
from hub.web.pages.artifact import Lineage, pictured
from hub.web.pages.faces import job_state

MOST = 100
_LABEL = "Picture of the steps and what they wait for; the list below says the same"


class Pictured(msgspec.Struct, frozen=True):
    """How far the whole is, in a sentence, and its graph."""

    says: str
    graph: Lineage


def of_workflow(view: WorkflowView, current: str = "") -> Pictured:
    """A workflow's steps; an edge is what one step waits for, `current` the job whose page it is on."""
    shown = view.steps[:MOST]
    jobs = {step.step: step.job for step in shown}
    nodes = [
        Node(
            id=step.job,
            kind="step",
            label=step.step,
            detail=_detail(step),
            href=f"/jobs/{step.job}",
            current=step.job == current,
            tint=job_state(step.state).tint,
        )
        for step in shown
    ]
    kept = [
        Node(
            id=each.job,
            kind="step",
            label=each.step,
            detail=f"Kept from before · job {each.number}",
            href=f"/jobs/{each.job}",
            tint="ok",
        )
        for each in view.kept[:MOST]
    ]
    edges = [Edge(jobs[before], step.job) for step in shown for before in step.after if before in jobs]
    taken = {each.step: each.job for each in view.kept[:MOST]} | jobs
    edges += [Edge(each.job, taken[into]) for each in view.kept[:MOST] for into in each.goes_into if into in taken]
    graph = Graph(nodes=[*kept, *nodes], edges=edges, truncated=max(len(view.steps), len(view.kept)) > MOST)
    says = " ".join([_counted([step.state for step in view.steps], "step"), *_terms(view)])
    return Pictured(says, pictured(graph, _LABEL))


def _terms(view: WorkflowView | ExperimentView) -> list[str]:
    """What all its steps or nodes together are to keep."""
    found = []
    if view.budget is not None and view.comes_to is not None:
        found.append(f"It comes to {shown_money(view.comes_to)} at most, of a budget of {shown_money(view.budget)}.")
    if view.deadline is not None:
        found.append(f"It is to have ended by {words.moment(view.deadline)} UTC.")
    return found


def is_over(view: WorkflowView) -> bool:
    """Whether no step of it can change any more."""
    return all(step.state in rules.TERMINAL for step in view.steps)


def of_experiment(view: ExperimentView) -> Pictured:
    """An experiment's nodes, one after the other."""
    shown = view.nodes[:MOST]
    nodes = [
        Node(
            id=str(node.place),
            kind="step",
            label=f"{node.place + 1} · {node.action}",
            detail=f"{job_state(node.state).word} · {tool_word(node)}",
            href=node_href(node),
            tint=job_state(node.state).tint,
        )
        for node in shown
    ]
    edges = [Edge(str(node.place - 1), str(node.place)) for node in shown[1:]]
    graph = Graph(nodes=nodes, edges=edges, truncated=len(view.nodes) > MOST)
    return Pictured(experiment_says(view), pictured(graph, _LABEL))


def experiment_title(view: ExperimentView) -> str:
    """What an experiment is called: by its first and its last node."""
    first, last = view.nodes[0].action, view.nodes[-1].action
    return first if len(view.nodes) == 1 else f"{first} to {last}"


def experiment_says(view: ExperimentView) -> str:
    """How far it is, in a sentence."""
    return " ".join([_counted([node.state for node in view.nodes], "node"), *_terms(view)])


def tool_word(node: NodeView) -> str:
    """What people call the tool; the hub's own has a name of machines."""
    return "the hub" if node.tool == actions.TOOL else node.tool


def node_href(node: NodeView) -> str:
    """Where a node leads: to its job or entry."""
    for prefix, path in (("job_", "/jobs/"), ("entry_", "/entries/")):
        if node.about is not None and node.about.startswith(prefix):
            return path + node.about
    return f"/artifacts/{node.results[0].version}" if node.results else ""


def _detail(step: StepView) -> str:
    return f"{job_state(step.state).word} · job {step.number}"


def _counted(states: list[str], noun: str) -> str:
    done = sum(state == "SUCCEEDED" for state in states)
    bad = sum(state in {"FAILED", "TIMED_OUT", "OUT_OF_MEMORY", "NODE_FAILED", "UNKNOWN_OUTCOME"} for state in states)
    said = f"{words.part(done)} of {words.count(len(states), noun)} done"
    return words.sentence(said + (f", {words.number(bad)} failed" if bad else "")) + "."
