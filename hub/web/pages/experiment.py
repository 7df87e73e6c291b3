"""An experiment: how far it is, the picture of its nodes with its list twin, and what each node made."""

from __future__ import annotations

import msgspec

from hub.core.context import Scope
from hub.ledger import followers
from hub.orchestrator import views
from hub.orchestrator.views import ExperimentView, NodeView
from hub.sessions import views as sessions
from hub.web.pages import frames, render, steps, words
from hub.web.pages.faces import Act, Fact, State, job_state


class Result(msgspec.Struct, frozen=True):
    """A file a node made."""

    href: str
    path: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A node, with what there is to say of it."""

    title: str
    tool: str
    href: str
    state: State
    text: str
    results: list[Result]


class Resuming(msgspec.Struct, frozen=True, kw_only=True):
    """The form that runs it again within a deadline and a budget of its own; `budget` is what is left of the last."""

    had_terms: bool
    budget: str
    hint: str


class Face(msgspec.Struct, frozen=True, kw_only=True):
    """The experiment itself."""

    id: str
    session: str
    title: str
    state: State
    done: bool
    says: str
    acts: list[Act]
    resumes: Resuming | None


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /experiments/{ref}"""
    after = followers.newest(scope.conn)  # Before it is read, so that no change falls between.
    view = views.experiment(scope, params["ref"])
    session = sessions.session(scope, view.session)
    picture = steps.of_experiment(view)
    return render.html(
        "experiment.html",
        frames.within(scope, session, f"Experiment, {steps.experiment_title(view)}", "Jobs"),
        now=scope.now,
        after=after,
        experiment=_face(scope, view),
        lineage=picture.graph,
        nodes=[_line(node) for node in view.nodes],
        facts=_facts(view),
    )


def _face(scope: Scope, view: ExperimentView) -> Face:
    over = view.state != "RUNNING"
    cancel = Act(
        "Cancel experiment",
        action="experiment_cancel",
        fields={"experiment": view.experiment},
        next=f"/experiments/{view.experiment}",
        look="danger",
        glyph="stop",
    )
    resume = Act(
        "Resume",
        action="run",
        fields={"tool": "experiment_orchestrator", "resume": view.experiment},
        next="/experiments/{experiment}",
    )
    had_terms = view.budget is not None or view.deadline is not None
    stoppable = not over and scope.access.may(view.session, "job:cancel")
    resumable = view.state in {"FAILED", "CANCELLED"} and scope.access.may(view.session, "experiment:run")
    return Face(
        id=view.experiment,
        session=view.session,
        title=steps.experiment_title(view),
        state=job_state(view.state),
        done=over,
        says=steps.experiment_says(view),
        acts=[*([cancel] if stoppable else []), *([resume] if resumable and not had_terms else [])],
        resumes=_resuming(view, scope.settings.currency) if resumable else None,
    )


def _resuming(view: ExperimentView, currency: str) -> Resuming:
    hint = "What it may cost at most" + (f", in {currency}." if currency else ".")
    if view.budget is None:
        return Resuming(had_terms=view.deadline is not None, budget="", hint=hint)
    left = f"{max(0.0, view.budget - (view.comes_to or 0.0)):.2f}"
    return Resuming(had_terms=True, budget=left, hint=f"{hint} Of the last one, {left} is left.")


def _line(node: NodeView) -> Line:
    tried = f" {words.sentence(words.count(node.tries, 'try'))} failed before." if node.tries else ""
    return Line(
        title=f"{node.place + 1} · {node.action}",
        tool=words.sentence(steps.tool_word(node)),
        href=steps.node_href(node),
        state=job_state(node.state),
        text=f"{words.sentence(node.words).rstrip('.')}.{tried}" if node.words else tried.strip(),
        results=[Result(f"/artifacts/{each.version}", each.path) for each in node.results[:20]],
    )


def _facts(view: ExperimentView) -> list[Fact]:
    at = frames.instant(view.at)
    facts = [Fact("Started", words.moment(at), at=at), Fact("By", view.by.name)]
    if view.ended is not None:
        ended = frames.instant(view.ended)
        facts.append(Fact("Ended", words.moment(ended), at=ended))
    if view.resumes is not None:
        facts.append(Fact("Goes on from", "an earlier run", href=f"/experiments/{view.resumes}"))
    return [*facts, Fact("Called", view.experiment, code=True)]
