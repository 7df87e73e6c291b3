"""`experiment`: nodes of tools that run one after the other, each with the results of the one before."""

from collections.abc import Sequence
from typing import Any

import click

from bot.cards import Next, Reply, Table
from bot.door import Door
from bot.faces.experiment import experiment_face, experiment_row
from bot.grammar import Noun, session_option
from bot.problems import INVALID, Problem, usage
from bot.verbs.structured import named, structured
from bot.verbs.submitting import confirm_option, confirmed, whole_terms
from bot.words import counted
from bot.work_views import Experiment

TOOL = "experiment_orchestrator"
_FIELDS = {
    "dag": "FILE", "resume": "EXPERIMENT", "confirm": "--confirm", "experiment": "EXPERIMENT", "within": "--within",
    "budget": "--budget",
}  # fmt: skip


@click.group("experiment", cls=Noun)
def experiment() -> None:
    """Experiments: tools that run one after the other, from data to entry."""


@experiment.command("list")
@session_option
@click.pass_obj
def list_experiments(door: Door, session: str | None) -> Reply:
    """List the session's experiments, newest first."""
    place = door.named_session(session)
    found = door.hub.experiments(place)
    going = sum(not one.is_over for one in found)
    counts = f"{counted(len(found), 'experiment')}, {going} not over."
    return Reply(
        sentence=f"{place}: {counts}",
        named=f"{place}: {counts}",
        ident=counts,
        session=place,
        table=Table(
            ("experiment", "what", "state", "nodes over", "when"),
            tuple(experiment_row(one, door.now()) for one in found),
        ),
        next=(Next("see one", ("experiment", "show", found[0].experiment)),)
        if found
        else (Next("start one", ("experiment", "submit", "FILE")),),
        data=found,
    )


@experiment.command("show")
@click.argument("which", metavar="EXPERIMENT", required=False)
@session_option
@click.pass_obj
def show_experiment(door: Door, which: str | None, session: str | None) -> Reply:
    """Show how EXPERIMENT stands, node by node; without one, the newest."""
    return experiment_face(_one(door, which, session))


@experiment.command("submit", fields=_FIELDS)
@click.argument("file")
@whole_terms
@session_option
@confirm_option
@click.pass_obj
def submit_experiment(door: Door, /, file: str, session: str | None, confirm: tuple[str, ...], **terms: Any) -> Reply:
    """Start the experiment written in FILE: its nodes as JSON or YAML; `-` is standard input.

    FILE holds a list of nodes, or an object with the list in `dag` and `within` and `budget` beside it. All nodes are
    checked first; if one cannot run, or the budget cannot pay it, none does.
    """
    place = door.session(session)
    return _run(door, place, confirm, **_wish(door, file, terms), session_id=place)


@experiment.command("resume", fields=_FIELDS)
@click.argument("which", metavar="EXPERIMENT", required=False)
@click.option("--dag", metavar="FILE", help="Its nodes as they are now; without it, as they were.")
@whole_terms
@session_option
@confirm_option
@click.pass_obj
def resume_experiment(
    door: Door, /, which: str | None, dag: str | None, session: str | None, confirm: tuple[str, ...], **terms: Any
) -> Reply:
    """Run EXPERIMENT again from the first node that no longer stands; without one, the newest."""
    ref = which or _one(door, None, session).experiment
    return _run(door, session, confirm, resume=ref, **(terms if dag is None else _wish(door, dag, terms)))


@experiment.command("cancel", fields=_FIELDS)
@click.argument("which", metavar="EXPERIMENT")
@click.pass_obj
def cancel_experiment(door: Door, which: str) -> Reply:
    """End EXPERIMENT: the job of the node that runs is cancelled, and no other node starts."""
    stopped = door.hub.act("experiment_cancel", Experiment, idempotency_key=door.key(), experiment=which)
    return experiment_face(stopped)


def _run(door: Door, session: str | None, confirm: Sequence[str], **wish: Any) -> Reply:
    made = confirmed(
        door,
        session,
        confirm,
        lambda digests: door.hub.act("run", Experiment, tool=TOOL, idempotency_key=door.key(), **wish, confirm=digests),
    )
    return made if isinstance(made, Reply) else experiment_face(made)


def _one(door: Door, which: str | None, session: str | None) -> Experiment:
    if which is not None:
        return door.hub.experiment(which)
    place = door.named_session(session)
    found = door.hub.experiments(place)
    if not found:
        raise usage(f"{place} has no experiment yet.", fix="experiment submit FILE")
    return found[0]


def _wish(door: Door, file: str, terms: dict[str, Any]) -> dict[str, Any]:
    """What a file says that came with the command; options count before it. Raises Problem for what has no nodes."""
    said = structured(door, file, "experiment submit")
    nodes = said.get("dag") if isinstance(said, dict) else said
    if not isinstance(nodes, list):
        raise Problem(
            "no_dag",
            f"{named(file)} holds no list of nodes.",
            hint='Write a list, or {"dag": [...]}: each node names its `tool` and its `action`.',
            exit_code=INVALID,
        )
    beside = said if isinstance(said, dict) else {}
    return {"dag": nodes, **{name: beside.get(name) if own is None else own for name, own in terms.items()}}
